//! The quality gate: whether enough of the clients' answers are bad to leave bad ones out.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the quality gate.
///
/// A good response is likelier under its own prompt than under another one's (a decoy of another topic); a bad one, swapped or junk, is
/// as likely under any: its score `ln(decoy loss) - ln(own loss)` is as often below 0 as above. Each client scores a few of its records,
/// once, with any model that gives losses, and sends a histogram of the scores. Twice the share of scores below 0 is then the share of bad
/// records plus a base that good ones have, with no clean data to compare with (the target-decoy idea of proteomics; knockoffs,
/// arXiv 2301.00545). The gate opens where that is surely above a margin; until then nothing more is scored and nothing changes. With an
/// open gate a record trains only where its own score is above a limit, which the histogram sets too: bad records lie symmetrically, so
/// that as many of them pass a limit as lie below its negative.
///
/// All this asks for a judge that tells own prompts from decoys. Where scores of good records lie close to 0, more of them are below it than
/// the base, and the estimate is too high. What lies far above 0 shows that, whatever the share of bad records, as these lie symmetrically:
/// the part of what is above 0, less what is below, that is above .4, less what is below -.4. Where it is less than `separation`, the gate
/// stays closed.
///
/// The defaults were fixed on the development seeds of the embedded tasks; `docs/selection.md` has the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// Records that each client scores, 4 to 64; default 8.
    pub representatives: u32,
    /// Decoys of each of them, 1 to 63; default 4.
    pub rank_decoys: u32,
    /// Distinct topics that they have at least; default 5. A client of fewer abstains: where all prompts are alike, own and decoy say the
    /// same.
    pub topics: u32,
    /// Records of all clients that are scored before the gate may open; default 48.
    pub counted: u32,
    /// What the lower 95% bound of the doubled share must exceed, in [0, 1]; default 0.2.
    pub margin: f64,
    /// The doubled share where no record is bad, in [0, 1); default 0.155.
    pub base: f64,
    /// The part of the scores that tell good from bad which lies beyond .4, at least, in [0, 1); default 0.4. The embedded model has .8,
    /// SmolLM2-135M-Instruct .65, a model that hardly tells prompts apart .2.
    pub separation: f64,
    /// The share of bad records among those that pass which the limit aims at, in (0, 1); default 0.1.
    pub bad_passing: f64,
    /// Decoys of a record that wants to pass an open gate, 1 to 63; default 2.
    pub decoys: u32,
    /// Records that are scored at most for each that is ordered, from 1; default 3.
    pub tries: u32,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            representatives: 8,
            rank_decoys: 4,
            topics: 5,
            counted: 48,
            margin: 0.2,
            base: 0.155,
            separation: 0.4,
            bad_passing: 0.1,
            decoys: 2,
            tries: 3,
        }
    }
}

impl GateConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        let whole = |name: &str, value: u32, range: std::ops::RangeInclusive<u32>| match range.contains(&value) {
            true => Ok(()),
            false => Err(Error::parameter(name, format!("{} to {}", range.start(), range.end()), value)),
        };
        whole("representatives", self.representatives, 4..=64)?;
        whole("rank_decoys", self.rank_decoys, 1..=63)?;
        whole("decoys", self.decoys, 1..=63)?;
        whole("topics", self.topics, 2..=self.representatives)?;
        whole("counted", self.counted, 1..=u32::MAX)?;
        whole("tries", self.tries, 1..=1000)?;
        if !(0.0..=1.0).contains(&self.margin) {
            return Err(Error::parameter("margin", "0 to 1", self.margin));
        }
        if !(0.0..1.0).contains(&self.base) {
            return Err(Error::parameter("base", "at least 0 and below 1", self.base));
        }
        if !(0.0..1.0).contains(&self.separation) {
            return Err(Error::parameter("separation", "at least 0 and below 1", self.separation));
        }
        if !(self.bad_passing > 0.0 && self.bad_passing < 1.0) {
            return Err(Error::parameter("bad_passing", "above 0 and below 1", self.bad_passing));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        GateConfig::default().check().unwrap();
        type Spoil = fn(&mut GateConfig);
        let cases: [(&str, Spoil); 10] = [
            ("representatives", |c| c.representatives = 3),
            ("rank_decoys", |c| c.rank_decoys = 0),
            ("decoys", |c| c.decoys = 64),
            ("topics", |c| c.topics = 9),
            ("counted", |c| c.counted = 0),
            ("margin", |c| c.margin = f64::NAN),
            ("base", |c| c.base = 1.0),
            ("separation", |c| c.separation = 1.0),
            ("bad_passing", |c| c.bad_passing = 0.0),
            ("tries", |c| c.tries = 0),
        ];
        for (name, spoil) in cases {
            let mut config = GateConfig::default();
            spoil(&mut config);
            assert!(config.check().unwrap_err().to_string().starts_with(name), "{name}");
        }
    }
}
