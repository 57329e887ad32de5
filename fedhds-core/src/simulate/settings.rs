//! Rounds, participation and evaluation of a simulation.

use super::{EvaluationSchedule, Participation};
use crate::error::Result;
use crate::types::range::{at_least, within};
use crate::types::{AdapterConfig, ClientId};
use serde::{Deserialize, Serialize};

/// Rounds, participation and evaluation of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationSettings {
    /// Rounds, 1 to [`SimulationSettings::MAX_ROUNDS`].
    pub rounds: usize,
    /// Clients in a round.
    pub participation: Participation,
    /// After which rounds the adapter is evaluated.
    pub evaluate: EvaluationSchedule,
    /// Ranks of the clients, each at least 1: client i trains an adapter of rank `ranks[i mod their number]` where that is below the adapter's own.
    /// Empty, the default: all train the whole. The aggregator must take ranks, as FlexLoRA does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<usize>,
}

impl Default for SimulationSettings {
    /// The paper's: 40 rounds of 5% of the clients, evaluated after the last.
    fn default() -> Self {
        Self {
            rounds: 40,
            participation: Participation::default(),
            evaluate: EvaluationSchedule::default(),
            ranks: Vec::new(),
        }
    }
}

impl SimulationSettings {
    /// The most rounds: their numbers have 32 bits.
    pub const MAX_ROUNDS: usize = u32::MAX as usize;

    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        at_least("rounds", self.rounds, 1)?;
        within("rounds", self.rounds, 1..=Self::MAX_ROUNDS)?;
        self.participation.check()?;
        self.evaluate.check()?;
        self.ranks.iter().try_for_each(|&rank| within("ranks", rank, 1..=AdapterConfig::MAX_RANK))
    }

    /// The rank of a client; none where it trains the whole.
    pub(super) fn rank_of(&self, client: ClientId) -> Option<usize> {
        self.ranks.get(client.index().checked_rem(self.ranks.len())?).copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_range() {
        let paper = SimulationSettings::default();
        paper.check().unwrap();
        SimulationSettings { rounds: SimulationSettings::MAX_ROUNDS, ..paper.clone() }.check().unwrap();
        let says = |settings: SimulationSettings| settings.check().unwrap_err().to_string();
        let none = SimulationSettings { rounds: 0, ..paper.clone() };
        assert_eq!(says(none), "rounds: expected a whole number of at least 1, got 0");
        let many = SimulationSettings { rounds: SimulationSettings::MAX_ROUNDS + 1, ..paper.clone() };
        assert_eq!(says(many), "rounds: expected a whole number from 1 to 4294967295, got 4294967296");
        let share = |fraction| Participation::Fraction(fraction);
        for (participation, message) in [
            (Participation::Count(0), "participation.count: expected a whole number of at least 1, got 0"),
            (share(0.0), "participation.fraction: expected a number in (0, 1], got 0.0"),
            (share(-0.5), "participation.fraction: expected a number in (0, 1], got -0.5"),
            (share(1.5), "participation.fraction: expected a number in (0, 1], got 1.5"),
            (share(f64::NAN), "participation.fraction: expected a number in (0, 1], got nan"),
            (share(f64::INFINITY), "participation.fraction: expected a number in (0, 1], got inf"),
        ] {
            assert_eq!(says(SimulationSettings { participation, ..paper.clone() }), message);
        }
        let wrong = SimulationSettings { evaluate: EvaluationSchedule::Every(0), ..paper.clone() };
        assert_eq!(says(wrong), "evaluate.every: expected a whole number of at least 1, got 0");
        let wrong = SimulationSettings { ranks: vec![4, 0], ..paper };
        assert_eq!(says(wrong), "ranks: expected a whole number from 1 to 16384, got 0");
    }

    #[test]
    fn ranks_go_round_among_the_clients() {
        let settings = SimulationSettings { ranks: vec![2, 8], ..Default::default() };
        assert_eq!((0..3).map(|i| settings.rank_of(ClientId(i))).collect::<Vec<_>>(), [Some(2), Some(8), Some(2)]);
        assert_eq!(SimulationSettings::default().rank_of(ClientId(7)), None);
        let text = toml::to_string(&SimulationSettings::default()).unwrap();
        assert!(!text.contains("ranks"), "settings without ranks are written as ever: {text}");
        let read: SimulationSettings = toml::from_str("ranks = [2, 8]").unwrap();
        assert_eq!(read.ranks, settings.ranks);
    }
}
