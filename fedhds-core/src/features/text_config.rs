//! Settings of the features of texts.

use crate::error::Result;
use crate::types::Seed;
use crate::types::range::within;
use serde::{Deserialize, Serialize};

/// The seed of the frame that clients share unless they agree on another: the paper's number, arXiv 2410.10926. It never changes.
pub const TEXT_SEED: Seed = Seed(241_010_926);

/// Settings of [`TextFeatures`](super::TextFeatures). Clients whose rows are to be compared have them alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextFeaturesConfig {
    /// Columns of the features, from 4 to 4,096; default 128, where a dot product of two rows is off by .09 (standard deviation).
    pub dims: usize,
    /// The seed of the hash: rows of one seed lie in one frame, whoever made them. Default [`TEXT_SEED`].
    pub seed: Seed,
}

impl Default for TextFeaturesConfig {
    fn default() -> Self {
        Self { dims: 128, seed: TEXT_SEED }
    }
}

impl TextFeaturesConfig {
    /// # Errors
    /// [`Error::Parameter`](crate::error::Error::Parameter) for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        within("dims", self.dims, 4..=4096)
    }
}
