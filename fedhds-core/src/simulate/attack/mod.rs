//! Hostile clients in a simulated federation: what an aggregator is to withstand, tried.
//!
//! | file | |
//! |---|---|
//! | `kind.rs` | the attacks by name, and which settings each has |
//! | `hostile.rs` | which clients are hostile |
//! | `forge.rs` | what a hostile client sends in the place of its update |
//! | `labels.rs` | what it trains on, where the data are what is spoilt |
//! | `crew.rs` | the hostile clients of a run, and what they keep between rounds |
//! | `normal.rs` | quantiles of the normal distribution, for ALIE |
//!
//! Attacks that need the honest clients' updates (IPM, ALIE, mimic) are given them by the simulation, which holds all of them. Nothing outside of
//! it can: no message of the protocol carries one client's update to another.

mod crew;
mod forge;
mod hostile;
mod kind;
mod labels;
mod normal;

pub(super) use crew::{Crew, Sent};
pub use hostile::Hostile;
pub use kind::AttackKind;
pub(super) use labels::flipped;

use crate::error::{Error, Result};
use crate::types::range::{above_zero, not_negative};
use serde::{Deserialize, Serialize};

/// An attack: what hostile clients do, and who they are.
///
/// In TOML:
/// ```
/// # use fedhds_core::simulate::{AttackConfig, AttackKind};
/// # #[allow(clippy::unwrap_used)] {
/// let attack: AttackConfig = toml::from_str("kind = \"alie\"\nclients = 0.2\nz = 1.5").unwrap();
/// assert_eq!(attack.kind, AttackKind::Alie);
/// attack.check().unwrap();
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackConfig {
    /// What they do.
    pub kind: AttackKind,
    /// Which clients: a share of all in [0, 1], drawn by the run's seed, or a list of their numbers. In a round those of them are hostile that
    /// take part.
    pub clients: Hostile,
    /// Of `sign_flip`, `scale`, `gauge` and `collude`: the factor, above 0. Left out: 1, 1,000, 1,000 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Of `ipm`: how many times the honest mean is turned round, above 0. Left out: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// Of `alie`: standard deviations from the honest mean, at least 0. Left out: as many as hide among the honest (see [`AttackKind::Alie`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
    /// Of `gaussian`: the standard deviation of each value, above 0, in the adapter's own unit. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
}

impl AttackConfig {
    /// This attack by these clients, with the settings of its kind's default.
    pub fn new(kind: AttackKind, clients: Hostile) -> Self {
        Self { kind, clients, factor: None, tau: None, z: None, std: None }
    }

    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range, and for one that the kind does not have.
    pub fn check(&self) -> Result<()> {
        self.clients.check()?;
        let settings = [("factor", self.factor), ("tau", self.tau), ("z", self.z), ("std", self.std)];
        for (name, value) in settings {
            let Some(value) = value else { continue };
            if !self.kind.settings().contains(&name) {
                let expected = format!("none, as `{}` has no such setting", self.kind.name());
                return Err(Error::parameter(name, expected, value));
            }
            if name == "z" { not_negative(name, value)? } else { above_zero(name, value)? }
        }
        Ok(())
    }
}

impl std::fmt::Display for AttackConfig {
    /// The kind, its settings and who they are, as tables say it: `ipm (tau 2), 0.2 of the clients`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let settings = [("factor", self.factor), ("tau", self.tau), ("z", self.z), ("std", self.std)];
        let given: Vec<String> =
            settings.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))).collect();
        let given = if given.is_empty() { String::new() } else { format!(" ({})", given.join(", ")) };
        write!(f, "{}{given}, {}", self.kind.name(), self.clients)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
