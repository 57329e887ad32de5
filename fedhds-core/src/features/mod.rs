//! Features of records.
//!
//! [`RecordCache`] keeps what was computed of records, with what it cost; [`Cached`] is any extractor with such a cache. With the
//! feature `model`, `LayerFeatures` is the paper's extractor (eq. 6) over any language model.

mod cache;
mod cached;
mod content;
#[cfg(feature = "model")]
mod extractor;
#[cfg(feature = "model")]
mod forward;
mod memory;
#[cfg(feature = "model")]
mod params;
mod row_file;
mod rows;

#[cfg(feature = "model")]
pub use crate::model::Pooling;
pub use cache::{CacheKey, Compute, RecordCache};
pub use cached::Cached;
pub use content::content_hash;
#[cfg(feature = "model")]
pub use extractor::LayerFeatures;
#[cfg(feature = "model")]
pub use forward::extract_tokens;
#[cfg(feature = "model")]
pub use params::{FeatureParams, Layers};
pub use rows::CachedRows;
