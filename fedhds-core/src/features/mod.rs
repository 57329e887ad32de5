//! Features of records.
//!
//! [`RecordCache`] keeps what was computed of records, with what it cost; [`Cached`] is any extractor with such a cache. With the
//! feature `model`, `LayerFeatures` is the paper's extractor (eq. 6) over any language model. [`TextFeatures`] needs no model, and
//! [`near_copies()`] finds the records of a client that say the same.

mod cache;
mod cached;
mod content;
#[cfg(feature = "model")]
mod extractor;
#[cfg(feature = "model")]
mod forward;
mod memory;
mod near_copies;
mod normal_form;
#[cfg(feature = "model")]
mod params;
mod row_file;
mod rows;
mod text;
mod text_config;
mod text_hasher;
mod words;

#[cfg(feature = "model")]
pub use crate::model::Pooling;
pub use crate::reduce::Layers;
pub use cache::{CacheKey, Compute, RecordCache};
pub use cached::Cached;
pub use content::content_hash;
#[cfg(feature = "model")]
pub use extractor::LayerFeatures;
#[cfg(feature = "model")]
pub use forward::extract_tokens;
pub use near_copies::{NearCopies, NearCopiesConfig, near_copies};
#[cfg(feature = "model")]
pub use params::FeatureParams;
pub use rows::CachedRows;
pub use text::TextFeatures;
pub use text_config::{TEXT_SEED, TextFeaturesConfig};
pub use text_hasher::TextHasher;
