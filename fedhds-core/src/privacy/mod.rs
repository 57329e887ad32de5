//! What a client does to its summary before it leaves the device.
//!
//! [`MinGroupSize`], [`ClipCentroids`] and [`GaussianNoise`] are [`Upload`](crate::stage::Upload) stages; [`UploadSteps`] runs several.
//! None of them claims an epsilon: what the noise is worth depends on how often and of whom it is drawn. [`accountant`] says it, where the noise is
//! on something of a small sensitivity, which centroids of groups are not.

pub mod accountant;
mod upload;

pub(crate) use upload::keep_groups;
pub use upload::{ClipCentroids, GaussianNoise, MinGroupSize, UploadConfig, UploadSteps};
