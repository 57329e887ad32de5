//! A share of trials with its interval.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal};

/// How many of so many trials came out, with Wilson's score interval: it holds where all or none did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Trials that came out.
    pub count: usize,
    /// All trials.
    pub of: usize,
    /// `count / of`, in [0, 1].
    pub share: f64,
    /// Lower and upper end, in [0, 1].
    pub interval: [f64; 2],
}

impl Share {
    /// The share with its interval at `level` (0.95, for example) of confidence (Wilson 1927).
    ///
    /// # Errors
    /// [`Error::Parameter`] for a level outside (0, 1); [`Error::Input`] for no trials, and for more that came out than there were.
    pub fn of(count: usize, of: usize, level: f64) -> Result<Self> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::parameter("level", "between 0 and 1", level));
        }
        if of == 0 || count > of {
            return Err(Error::input("trials", "at least one, and as many as came out", format!("{count} of {of}")));
        }
        let (n, share) = (of as f64, count as f64 / of as f64);
        let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
        let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        // At the ends the bound is the end itself, which rounding may miss.
        let low = if count == 0 { 0.0 } else { (middle - half).max(0.0) };
        let high = if count == of { 1.0 } else { (middle + half).min(1.0) };
        Ok(Self { count, of, share, interval: [low, high] })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
        for (count, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let share = Share::of(count, of, 0.95).unwrap();
            assert!((share.interval[0] - low).abs() < 5e-5, "{share:?}");
            assert!((share.interval[1] - high).abs() < 5e-5, "{share:?}");
            assert_eq!(share.share, count as f64 / of as f64);
        }
        assert_eq!(Share::of(20, 20, 0.95).unwrap().interval[1], 1.0);
    }

    #[test]
    fn what_is_no_share_is_refused() {
        assert!(Share::of(0, 0, 0.95).unwrap_err().to_string().contains("0 of 0"));
        assert!(Share::of(3, 2, 0.95).unwrap_err().to_string().contains("3 of 2"));
        assert!(Share::of(1, 2, 1.0).unwrap_err().to_string().starts_with("level"));
    }
}
