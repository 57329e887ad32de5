//! Aggregation that a minority of hostile clients cannot steer.
//!
//! | rule | what it makes | file |
//! |---|---|---|
//! | [`NormBound`] | the mean of steps that are cut to a bound | `norm_bound.rs` |
//! | [`CentredClipping`] | the same, around a centre that moves | `centred_clipping.rs` |
//! | [`Robust::coordinate_median`], [`Robust::trimmed_mean`] | the middle of each value | `coordinate.rs` |
//! | [`Robust::multi_krum`] | the mean of the updates with the nearest neighbours | `krum.rs` |
//! | [`Robust::geometric_median`] | the point with the least sum of distances | `geometric_median.rs` |
//! | [`NearestMixing`] | each update as the mean of its nearest, for another rule | `nearest_mixing.rs` |
//!
//! What they share: `held.rs` keeps the updates of a round, `step.rs` has lengths and bounds of steps, `gram.rs` the distances between
//! products B A, `gauge.rs` brings factors that say the same in another way to one form, `weighting.rs` says what a client's claim of records counts.
//!
//! **Too few.** A rule that needs more updates than came keeps the global adapter, and the report's `discarded` says why: a round ends no run.
//!
//! **Records.** A count of records is a client's own word. Every client counts once, unless the settings of a rule say
//! [`weights = "records"`](Weighting). One that trained on none counts nowhere.

mod bounded;
mod centred_clipping;
mod coordinate;
mod gauge;
mod geometric_median;
mod gram;
mod held;
mod krum;
mod nearest_mixing;
mod norm_bound;
mod step;
mod weighting;

pub use centred_clipping::{CentredClipping, CentredClippingConfig};
pub use coordinate::TrimmedMeanConfig;
pub use geometric_median::GeometricMedianConfig;
pub use held::Robust;
pub use krum::MultiKrumConfig;
pub use nearest_mixing::NearestMixing;
pub use norm_bound::{NormBound, NormBoundConfig};
pub use weighting::Weighting;

/// The most clients that a rule may be set to tolerate or cut: far above any round, and small enough to compute with.
const MOST: usize = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod testing;
