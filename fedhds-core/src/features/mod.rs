//! Features of records from the layers of a model.
//!
//! [`LayerFeatures`] is the paper's extractor (eq. 6) over any model; [`Cached`] keeps the features of any extractor on disk.

mod cache;
mod extractor;
mod forward;
mod params;

pub use crate::model::Pooling;
pub use cache::Cached;
pub use extractor::LayerFeatures;
pub use forward::extract_tokens;
pub use params::{FeatureParams, Layers};
