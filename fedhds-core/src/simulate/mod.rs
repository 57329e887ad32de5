//! The federation in one process: client sampling, messages through the protocol, checkpoints, progress.
//!
//! [`Simulation`] runs over the stage traits alone. Every byte that would cross a network goes through
//! [`protocol`](crate::protocol) and is counted. A [`Checkpoint`] after each round makes a killed run go on to the same bits.

mod active;
mod attack;
mod checkpoint;
mod clients;
mod failures;
mod federation;
mod gate_only;
mod layer_score;
mod map;
mod memory;
#[cfg(feature = "experiment")]
mod progress;
mod reason;
mod round;
mod round_record;
mod sampling;
mod schedule;
mod settings;
mod simulation;
mod test_set;
mod until;
mod views;

pub use crate::features::content_hash;
pub use crate::files::atomic_write;
pub use crate::locks::{FileLock, FolderLock};
pub use crate::types::RunIdentity;
pub use attack::{AttackConfig, AttackKind, Hostile};
pub use checkpoint::Checkpoint;
pub use clients::{ClientFile, Clients};
pub use federation::Outcome;
pub use gate_only::{ClientPilot, GateOutcome};
pub use layer_score::LayerScore;
pub use map::{GroupMap, SelectionMap};
pub use memory::peak_memory;
#[cfg(feature = "experiment")]
pub use progress::{LogWriter, TerminalProgress};
pub use reason::{GroupRecord, RecordReason};
pub use round_record::{ClientRecord, EvaluationRecord, RoundRecord};
pub use sampling::Participation;
pub use schedule::EvaluationSchedule;
pub use settings::SimulationSettings;
pub use simulation::{CountTokens, Simulation, WatchRounds};
pub use test_set::TestSet;
pub use until::Until;
pub use views::Views;

#[cfg(test)]
#[path = "../../../tests/toy/mod.rs"]
pub(crate) mod toy;

#[cfg(test)]
mod tests;
