//! What it took one run to reach its target: a part of the run record.

use super::super::spent;
use crate::protocol::Direction;
use crate::simulate::{RoundRecord, Until};
use serde::{Deserialize, Serialize};

/// A target, and what it took a run to reach it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UntilRecord {
    /// The target, and when the run looked.
    pub target: Until,
    /// The first look that was at or below it; none where no look was.
    pub reached: Option<Reached>,
}

/// What all clients spent in all rounds until a run reached its target. Its evaluations are the experimenter's and cost no client anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Rounds, that of the look included.
    pub rounds: usize,
    /// The loss that the look found, in nats.
    pub loss: f64,
    /// Records trained on, each as often as it was.
    pub records: usize,
    /// Records trained on at least once, by their ids: near copies count each.
    pub distinct: usize,
    /// Tokens that went through the model in training.
    pub tokens: u64,
    /// Seconds.
    pub seconds: f64,
    /// Bytes from clients to the server.
    pub up: u64,
    /// Bytes from the server to clients.
    pub down: u64,
}

impl UntilRecord {
    /// What the rounds of a whole run say of a target.
    pub(in crate::experiment) fn of(target: Until, rounds: &[RoundRecord]) -> Self {
        // A run that stopped did so after a look: that its rounds are fewer than planned makes no difference.
        let reached = target.reached(rounds, rounds.len()).and_then(|taken| {
            let rounds = rounds.get(..taken)?;
            Some(Reached {
                rounds: taken,
                loss: rounds.last()?.evaluation.as_ref()?.loss,
                records: spent::records(rounds),
                distinct: spent::distinct_records(rounds),
                tokens: spent::tokens(rounds),
                seconds: spent::seconds(rounds),
                up: spent::bytes(rounds, Direction::Up),
                down: spent::bytes(rounds, Direction::Down),
            })
        });
        Self { target, reached }
    }

    /// This record without times.
    #[must_use]
    pub(in crate::experiment) fn without_times(&self) -> Self {
        let reached = self.reached.clone().map(|reached| Reached { seconds: 0.0, ..reached });
        Self { reached, ..self.clone() }
    }
}
