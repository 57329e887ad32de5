//! Documents packed into rows of equal length.

use crate::corpus::Corpus;
use crate::vocabulary::IDS;
use fedhds_core::{Error, Result};
use rayon::prelude::*;
use tokenizers::Tokenizer;

/// Documents that one row may take at most; row r draws those from r * this on.
const DOCUMENTS: u64 = 256;
/// The first row of the held-out part: no run gets that far.
const HELD_OUT: u64 = 1 << 40;

/// Weight of a token that is no part of an answer, where an answer's tokens weigh 1: what is drawn at random teaches little
/// and its gradients are noise.
const OTHER: f32 = 0.2;

/// Tokens, each with its weight in the loss.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// The ids.
    pub ids: Vec<u32>,
    /// The weights, in (0, 1].
    pub weights: Vec<f32>,
}

/// Rows `first..first + count`, each of `width` tokens: whole documents between [`crate::vocabulary::BOS`] and
/// [`crate::vocabulary::EOS`], the last cut at the end. A row depends on its number only, so that a run can begin anywhere.
///
/// # Errors
/// [`Error::Stage`] where the tokenizer fails.
pub fn rows(corpus: &Corpus, tokenizer: &Tokenizer, first: u64, count: usize, width: usize) -> Result<Vec<Row>> {
    (0..count as u64)
        .into_par_iter()
        .map(|row| {
            let mut packed = Row::default();
            for number in 0..DOCUMENTS {
                let document = corpus.document((first + row) * DOCUMENTS + number);
                let encoding = tokenizer.encode(document.text.as_str(), true);
                let encoding = encoding.map_err(|e| Error::stage("tokenizer", e.to_string()))?;
                for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
                    let answers = document.answers.iter().any(|answer| answer.start < *end && *start < answer.end);
                    packed.ids.push(*id);
                    packed.weights.push(if answers { 1.0 } else { OTHER });
                }
                packed.ids.push(IDS[2]);
                packed.weights.push(1.0);
                if packed.ids.len() >= width {
                    break;
                }
            }
            packed.ids.truncate(width);
            packed.weights.truncate(width);
            Ok(packed)
        })
        .collect()
}

/// Rows that are never trained on.
///
/// # Errors
/// As of [`rows`].
pub fn held_out(corpus: &Corpus, tokenizer: &Tokenizer, count: usize, width: usize) -> Result<Vec<Row>> {
    rows(corpus, tokenizer, HELD_OUT, count, width)
}
