//! Features of records from the layers of a model.

mod cache;
mod forward;
mod params;

pub use crate::model::Pooling;
pub use cache::Cached;
pub use forward::extract_tokens;
pub use params::{FeatureParams, Layers};
