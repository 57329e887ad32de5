//! Adapters of many clients become one.

mod weighted_mean;

pub use weighted_mean::WeightedMean;
