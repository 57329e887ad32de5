//! What noise is worth: epsilon at a delta for Gaussian noise, over any number of releases.
//!
//! [`Release`] says how noisy, how the units were drawn and how often; [`epsilon`] what all of them cost together, [`noise_for`] how much noise a
//! budget asks for and [`times_for`] how often it lasts. [`Guarantee`] names what is guaranteed against whom, and refuses what would not be sound.
//! [`together`] is for selection and training on one drawn sample: they are one release, not two.
//!
//! An accountant says nothing of where noise comes from: noise from a seed that a server knows protects nobody.
//!
//! | file | |
//! |---|---|
//! | `rdp.rs` | Renyi differential privacy of the Gaussian, with Poisson sampling, and without replacement |
//! | `pld.rs` | privacy loss distributions: nearly exact |
//! | `gaussian.rs` | the Gaussian without sampling, exactly |
//! | `guarantee.rs` | what is guaranteed, against whom |

mod fft;
mod gaussian;
mod guarantee;
mod pld;
mod rdp;
mod special;

pub use guarantee::{Adversary, Guarantee, Relation, Unit};

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the units of a round are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// All take part, or who does is known to whom the guarantee is against.
    None,
    /// Each by itself with this probability, in [0, 1], in secret.
    Poisson(f64),
    /// A fixed number without replacement, this share of all, in [0, 1], in secret.
    FixedSize(f64),
}

impl Sampling {
    fn rate(self) -> f64 {
        match self {
            Sampling::None => 1.0,
            Sampling::Poisson(rate) | Sampling::FixedSize(rate) => rate,
        }
    }
}

/// Releases of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Standard deviation of the noise over the L2 sensitivity of what is released, above 0. With [`Sampling::FixedSize`] the sensitivity is that of one
    /// unit that is replaced by another, twice that of one which is added or removed.
    pub noise: f64,
    /// How units are drawn.
    pub sampling: Sampling,
    /// How often; 0 costs nothing.
    pub times: u64,
}

/// How epsilon is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accountant {
    /// By Renyi divergences: quick, for every sampling, an upper bound that is some tenths too large.
    Rdp,
    /// By privacy loss distributions: nearly exact, never below, some seconds where noise is small; not for [`Sampling::FixedSize`], nor for delta below
    /// 1e-10, which sums in f64 do not keep apart from nothing.
    Pld,
}

/// The least delta that [`Accountant::Pld`] takes.
const LEAST_DELTA: f64 = 1e-10;
/// The largest noise that [`noise_for`] looks at.
const MOST_NOISE: f64 = 1e6;

/// The noise of two releases of one drawn sample as one: `(sum z_i^-2)^(-1/2)`. Selection and training of one round on the same sample are one
/// release of this noise; to account them as two, each with its own sampling, claims too little.
///
/// # Errors
/// [`Error::Parameter`] for no noise, or one that is not above 0.
pub fn together(noises: &[f64]) -> Result<f64> {
    if noises.is_empty() {
        return Err(Error::parameter("noise", "at least one", "none"));
    }
    noises.iter().try_for_each(|noise| check_noise(*noise))?;
    Ok(noises.iter().map(|noise| noise.powi(-2)).sum::<f64>().powf(-0.5))
}

/// The least epsilon that the accountant can show at `delta`, for all these releases on one data set. Infinite where they show none.
///
/// ```
/// use fedhds_core::privacy::accountant::{Accountant, Release, Sampling, epsilon};
///
/// let rounds = Release { noise: 1.0, sampling: Sampling::Poisson(0.05), times: 40 };
/// let spent = epsilon(&[rounds], 1e-5, Accountant::Pld)?;
/// assert!((spent - 2.468).abs() < 1e-3);
/// # Ok::<(), fedhds_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for noise that is not above 0, a rate outside [0, 1], delta outside (0, 1), and what the accountant does not take.
pub fn epsilon(releases: &[Release], delta: f64, accountant: Accountant) -> Result<f64> {
    if !(delta > 0.0 && delta < 1.0) {
        return Err(Error::parameter("delta", "above 0 and below 1", delta));
    }
    releases.iter().try_for_each(Release::check)?;
    let live: Vec<&Release> = releases.iter().filter(|r| r.times > 0 && r.sampling.rate() > 0.0).collect();
    match accountant {
        Accountant::Rdp => {
            let orders = rdp::orders();
            let of = |order: f64| (order, live.iter().map(|release| release.divergence(order)).sum::<f64>());
            Ok(if live.is_empty() { 0.0 } else { rdp::epsilon(orders.into_iter().map(of), delta) })
        }
        Accountant::Pld => {
            if live.iter().any(|r| matches!(r.sampling, Sampling::FixedSize(_))) {
                let expected = "`none` or `poisson` (`rdp` takes a fixed size)";
                return Err(Error::parameter("sampling", expected, "`fixed_size`"));
            }
            if delta < LEAST_DELTA {
                return Err(Error::parameter("delta", format!("at least {LEAST_DELTA:e} (`rdp` takes any)"), delta));
            }
            if live.iter().all(|r| r.sampling.rate() == 1.0) {
                let square: f64 = live.iter().map(|r| r.times as f64 * r.noise.powi(-2)).sum();
                return Ok(gaussian::epsilon(square.sqrt(), delta));
            }
            let parts: Vec<(f64, f64, u64)> = live.iter().map(|r| (r.sampling.rate(), r.noise, r.times)).collect();
            pld::epsilon(&parts, delta).ok_or_else(|| {
                Error::parameter("noise", "enough for losses that fit into memory (or `rdp`)", parts[0].1)
            })
        }
    }
}

/// The least noise, up to .1% too much and never too little, with which so many releases stay within a budget.
///
/// # Errors
/// As [`epsilon`]; [`Error::Parameter`] for an epsilon that is not above 0, or one that not even a noise of a million reaches.
pub fn noise_for(budget: f64, delta: f64, sampling: Sampling, times: u64, accountant: Accountant) -> Result<f64> {
    check_budget(budget)?;
    let fits = |noise: f64| Ok(epsilon(&[Release { noise, sampling, times }], delta, accountant)? <= budget);
    let mut high = 1.0;
    while !fits(high)? {
        high *= 2.0;
        if high > MOST_NOISE {
            return Err(Error::parameter("epsilon", format!("one that a noise of {MOST_NOISE:e} reaches"), budget));
        }
    }
    let mut low = high / 2.0;
    while fits(low)? {
        (low, high) = (low / 2.0, low);
        if low < 1e-3 {
            return Ok(high);
        }
    }
    while high - low > 1e-3 * high {
        let middle = 0.5 * (low + high);
        if fits(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// How many releases of this noise a budget lasts for, at most `most`; 0 where it does not last for one.
///
/// # Errors
/// As [`epsilon`]; [`Error::Parameter`] for an epsilon that is not above 0.
pub fn times_for(
    budget: f64,
    delta: f64,
    noise: f64,
    sampling: Sampling,
    most: u64,
    accountant: Accountant,
) -> Result<u64> {
    check_budget(budget)?;
    let fits = |times: u64| Ok(epsilon(&[Release { noise, sampling, times }], delta, accountant)? <= budget);
    if fits(most)? {
        return Ok(most);
    }
    let (mut low, mut high) = (0, most);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

impl Release {
    fn check(&self) -> Result<()> {
        check_noise(self.noise)?;
        let rate = self.sampling.rate();
        if (0.0..=1.0).contains(&rate) { Ok(()) } else { Err(Error::parameter("rate", "from 0 to 1", rate)) }
    }

    /// The Renyi divergence of all its releases.
    fn divergence(&self, order: f64) -> f64 {
        let one = match self.sampling {
            Sampling::None => rdp::gaussian(self.noise, order),
            Sampling::Poisson(rate) => rdp::poisson(rate, self.noise, order),
            Sampling::FixedSize(rate) => rdp::without_replacement(rate, self.noise, order),
        };
        self.times as f64 * one
    }
}

fn check_noise(noise: f64) -> Result<()> {
    if (1e-3..=1e9).contains(&noise) {
        return Ok(());
    }
    Err(Error::parameter("noise", "from 1e-3 to 1e9 sensitivities", noise))
}

fn check_budget(epsilon: f64) -> Result<()> {
    if epsilon > 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(Error::parameter("epsilon", "a finite number above 0", epsilon))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
