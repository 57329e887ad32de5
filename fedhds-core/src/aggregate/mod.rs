//! Many adapters to one.
//!
//! | aggregator | what it makes | file |
//! |---|---|---|
//! | [`WeightedMean`] | the mean by records: FedAvg, FedIT | `weighted_mean.rs` |
//! | [`ServerOptimizer`] | a step from the global adapter towards the mean: FedAvgM, FedAdam | `server_optimizer.rs` |
//! | [`FlexLora`] | the best adapter of the global rank for the mean of the products B A | `flexlora.rs` |
//! | [`FfaLora`] | the mean of B; A stays | `ffa_lora.rs` |
//! | [`RoLora`] | the mean of B and of A in turn | `rolora.rs` |
//! | [`FedSvd`] | the mean of B; A becomes the directions of the product | `fedsvd.rs` |
//! | [`robust`] | what a minority of hostile clients cannot steer | `robust/` |
//!
//! [`AggregatorConfig`] names them in a configuration. What they share: `product.rs` has the arithmetic of products B A, `product_error.rs` the measure that
//! each reports, `factor_mean.rs` the mean while a factor is frozen. [`truncated`] is what a client of a smaller rank starts from.

mod config;
mod factor_mean;
mod fedsvd;
mod ffa_lora;
mod flexlora;
mod product;
mod product_error;
pub mod robust;
mod rolora;
mod server_optimizer;
mod shape;
pub(crate) mod step;
mod truncate;
mod weighted_mean;

pub use config::{AggregatorConfig, NearestMixingConfig, NoSettings};
pub use fedsvd::FedSvd;
pub use ffa_lora::FfaLora;
pub use flexlora::{FlexLora, FlexLoraConfig};
pub use rolora::RoLora;
pub use server_optimizer::{FedAdamConfig, FedAvgMConfig, ServerOptimizer};
pub use shape::AdapterShape;
pub use truncate::truncated;
pub use weighted_mean::WeightedMean;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
