//! Many adapters to one.
//!
//! | aggregator | what it makes | file |
//! |---|---|---|
//! | [`WeightedMean`] | the mean by records: FedAvg, FedIT | `weighted_mean.rs` |
//! | [`ServerOptimizer`] | a step from the global adapter towards the mean: FedAvgM, FedAdam | `server_optimizer.rs` |
//! | [`robust`] | what a minority of hostile clients cannot steer | `robust/` |
//!
//! [`AggregatorConfig`] names them in a configuration.

mod config;
pub mod robust;
mod server_optimizer;
mod shape;
pub(crate) mod step;
mod weighted_mean;

pub use config::{AggregatorConfig, NoSettings};
pub use server_optimizer::{FedAdamConfig, FedAvgMConfig, ServerOptimizer};
pub use shape::AdapterShape;
pub use weighted_mean::WeightedMean;
