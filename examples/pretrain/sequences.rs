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

/// Rows `first..first + count`, each of `width` tokens: whole documents between [`crate::vocabulary::BOS`] and
/// [`crate::vocabulary::EOS`], the last cut at the end. A row depends on its number only, so that a run can begin anywhere.
///
/// # Errors
/// [`Error::Stage`] where the tokenizer fails.
pub fn rows(corpus: &Corpus, tokenizer: &Tokenizer, first: u64, count: usize, width: usize) -> Result<Vec<Vec<u32>>> {
    (0..count as u64)
        .into_par_iter()
        .map(|row| {
            let mut ids = Vec::with_capacity(width + 128);
            for number in 0..DOCUMENTS {
                let text = corpus.document((first + row) * DOCUMENTS + number);
                let encoding = tokenizer.encode(text, true).map_err(|e| Error::stage("tokenizer", e.to_string()))?;
                ids.extend_from_slice(encoding.get_ids());
                ids.push(IDS[2]);
                if ids.len() >= width {
                    break;
                }
            }
            ids.truncate(width);
            Ok(ids)
        })
        .collect()
}

/// Rows that are never trained on.
///
/// # Errors
/// As of [`rows`].
pub fn held_out(corpus: &Corpus, tokenizer: &Tokenizer, count: usize, width: usize) -> Result<Vec<Vec<u32>>> {
    rows(corpus, tokenizer, HELD_OUT, count, width)
}
