//! Features of records without a model: what letters their texts are made of.

use super::text_config::TextFeaturesConfig;
use super::text_hasher::TextHasher;
use crate::error::Result;
use crate::loops;
use crate::stage::FeatureExtractor;
use crate::types::{Adapter, Context, Control, Matrix, Record};

/// Records that one task reads: enough to be worth handing out, few enough to stop soon.
const RECORDS: usize = 16;

/// Cosine from which two instructions are one, with other words around it.
const ONE_INSTRUCTION: f32 = 0.5;

/// Texts as features, `[n, dims]`: a signed sparse hash of the character n-grams of instruction and answered input, straight into the frame
/// that all clients share. No model, no vocabulary, no statistics over records or clients.
///
/// A row is what [`TextHasher`] makes of the record's instruction, and of its input and first response; it has length 1, or is all 0
/// where the record has no text. Whoever takes these features needs no random projection after them: the map from n-grams to columns
/// is one. A row depends on nothing but the record and the settings, to the last bit.
#[derive(Debug, Clone)]
pub struct TextFeatures {
    config: TextFeaturesConfig,
    hasher: TextHasher,
}

impl TextFeatures {
    /// # Errors
    /// [`Error::Parameter`](crate::error::Error::Parameter), see [`TextFeaturesConfig::check`].
    pub fn new(config: TextFeaturesConfig) -> Result<Self> {
        Ok(Self { hasher: TextHasher::new(&config)?, config })
    }

    /// The settings.
    pub fn config(&self) -> &TextFeaturesConfig {
        &self.config
    }

    /// What makes the rows one by one, for texts that are no records or do not fit into memory together.
    pub fn hasher(&self) -> &TextHasher {
        &self.hasher
    }
}

impl TextFeatures {
    /// The rows of the records' instructions alone, `[n, dims]`: what tells topics apart where records are ranked among decoys
    /// ([`Rows::prompts`](crate::stage::Rows)).
    ///
    /// Where all records have one instruction, in whatever clothes, which tells nothing apart, the rows are of their categories.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::error::Error::Cancelled).
    pub fn prompts(&self, records: &[Record], control: &Control) -> Result<Matrix> {
        let rows = self.rows(records, control, |record, row| self.hasher.row(&record.instruction, &[], row))?;
        // Rows have length 1, or are 0.
        let alike = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() >= ONE_INSTRUCTION;
        if (1..rows.rows()).any(|row| !alike(rows.row(0), rows.row(row))) {
            return Ok(rows);
        }
        self.rows(records, control, |record, row| self.hasher.row(&record.category, &[], row))
    }

    fn rows(
        &self,
        records: &[Record],
        control: &Control,
        fill: impl Fn(&Record, &mut [f32]) -> Result<()> + Sync,
    ) -> Result<Matrix> {
        let dims = self.hasher.dims();
        let mut features = Matrix::zeros(records.len(), dims);
        loops::try_parts(features.as_mut_slice(), RECORDS * dims, 1, |block, rows| {
            control.check()?;
            let records = records.iter().skip(block * RECORDS);
            rows.chunks_mut(dims).zip(records).try_for_each(|(row, record)| fill(record, row))
        })?;
        Ok(features)
    }
}

impl FeatureExtractor for TextFeatures {
    /// `[n, dims]`; neither adapter nor the context's seed has a say.
    fn extract(&self, records: &[Record], _: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        self.rows(records, &context.control, |record, row| {
            self.hasher.row(&record.instruction, &[&record.input, record.response()], row)
        })
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        // The first number is the version of the rows: it changes with any change of their bits.
        format!("text-1-{}-{}", self.config.dims, self.config.seed.0)
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
