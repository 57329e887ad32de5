//! What all layers of one forward pass share: which token sees which, and the rotations of the positions.

use super::batch::Batch;
use super::cache::KvCache;
use super::device::Device;
use super::rope::RopeTable;
use super::tensor::Tensor;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// What is added to the score of a token that must not be seen. Finite, so that a row without any visible token stays finite.
const HIDDEN: f32 = -1e30;

/// Shared by the layers of one forward pass; made by [`super::Transformer::pass`].
#[derive(Debug, Clone)]
pub struct Pass {
    rows: usize,
    width: usize,
    /// The masks by window (`None` is the whole past); a mask that hides nothing is `None`.
    masks: BTreeMap<Option<usize>, Option<Tensor<2>>>,
    /// The rotations of queries and of keys.
    pub(crate) rope: Option<(RopeTable, RopeTable)>,
}

impl Pass {
    /// A pass in which each token sees itself and those before it, at most `window` tokens back for each of `windows`.
    pub(crate) fn causal(
        batch: &Batch,
        cache: Option<&mut KvCache>,
        windows: &[Option<usize>],
        heads: usize,
        device: &Device,
    ) -> Result<Self> {
        let (rows, width) = (batch.rows(), batch.width());
        let mut masks = BTreeMap::new();
        match cache {
            None => {
                if let Some(start) = batch.starts().iter().find(|&&s| s > 0) {
                    return Err(Error::input("batch without a cache", "sequences from their start", start));
                }
                for &window in windows {
                    // Padding stands at the right, behind every token that could see it: one mask serves all rows.
                    let mask = mask(width, width, |q, k| k <= q && window.is_none_or(|w| q - k < w));
                    masks.insert(window, upload(vec![mask], heads, rows, [width, width], device)?);
                }
            }
            Some(cache) => {
                let slots = cache.extend(batch)?;
                let total = slots.first().map_or(0, Vec::len);
                for &window in windows {
                    let each = slots
                        .iter()
                        .zip(batch.starts())
                        .map(|(slots, start)| {
                            mask(width, total, |q, k| {
                                let q = start + q;
                                slots[k].is_some_and(|k| k <= q && window.is_none_or(|w| q - k < w))
                            })
                        })
                        .collect();
                    masks.insert(window, upload(each, heads, rows, [width, total], device)?);
                }
            }
        }
        Ok(Self { rows, width, masks, rope: None })
    }

    /// A pass in which each token sees every token of its sequence.
    pub(crate) fn bidirectional(batch: &Batch, heads: usize, device: &Device) -> Result<Self> {
        let (rows, width) = (batch.rows(), batch.width());
        let each = batch.lengths().iter().map(|&length| mask(width, width, |_, k| k < length)).collect();
        let mask = upload(each, heads, rows, [width, width], device)?;
        Ok(Self { rows, width, masks: BTreeMap::from([(None, mask)]), rope: None })
    }

    /// Number of sequences, b.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of new tokens in the longest sequence, t.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What is added to the scores: `[1 or b * heads, t * s]`, or none where every token is seen.
    pub(crate) fn mask(&self, window: Option<usize>) -> Option<&Tensor<2>> {
        self.masks.get(&window).and_then(Option::as_ref)
    }

    /// Checks hidden states against the batch that this pass was made for.
    pub(crate) fn check(&self, hidden: &Tensor<3>, hidden_size: usize) -> Result<()> {
        let expected = [self.rows, self.width, hidden_size];
        if hidden.dims() == expected {
            return Ok(());
        }
        Err(Error::input("hidden states", format!("shape {expected:?}"), format!("{:?}", hidden.dims())))
    }
}

fn mask(queries: usize, keys: usize, visible: impl Fn(usize, usize) -> bool) -> Vec<f32> {
    let visible = &visible;
    (0..queries).flat_map(|q| (0..keys).map(move |k| if visible(q, k) { 0.0 } else { HIDDEN })).collect()
}

/// One mask for all rows where they agree, else one for each row and head, written out: an addition that repeats a whole row is
/// fast, one that repeats in the middle is not.
fn upload(
    each: Vec<Vec<f32>>,
    heads: usize,
    rows: usize,
    [queries, keys]: [usize; 2],
    device: &Device,
) -> Result<Option<Tensor<2>>> {
    if each.iter().all(|mask| mask.iter().all(|&v| v == 0.0)) {
        return Ok(None);
    }
    let agree = each.windows(2).all(|pair| pair[0] == pair[1]);
    let repeated: Vec<f32> = if agree {
        each.into_iter().next().unwrap_or_default()
    } else {
        each.iter().flat_map(|mask| std::iter::repeat_n(mask, heads).flatten()).copied().collect()
    };
    let first = if agree { 1 } else { rows * heads };
    device.tensor(repeated, [first, queries * keys]).map(Some)
}
