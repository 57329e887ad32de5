//! Keys and values of the tokens that a model has read, so that generation computes each token once.

use super::batch::Batch;
use super::tensor::Tensor;
use crate::error::{Error, Result};

/// The keys and values of a batch of sequences, layer by layer.
///
/// All rows share one width: shorter prompts leave unused slots behind, which no later token sees, and every row goes on
/// right after its own last token as far as positions are concerned. So a batch of different lengths generates what each
/// sequence would alone.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<Option<(Tensor<4>, Tensor<4>)>>,
    /// The position of the token in each slot of each row, none for padding.
    slots: Vec<Vec<Option<usize>>>,
}

impl KvCache {
    /// An empty cache for a model of so many layers.
    pub fn new(layers: usize) -> Self {
        Self { layers: vec![None; layers], slots: Vec::new() }
    }

    /// Number of sequences; 0 while nothing was read.
    pub fn rows(&self) -> usize {
        self.slots.len()
    }

    /// Number of tokens of each sequence, padding not counted: the `starts` of the next batch.
    pub fn lengths(&self) -> Vec<usize> {
        self.slots.iter().map(|row| row.iter().flatten().count()).collect()
    }

    /// The batch that continues each sequence by one token.
    ///
    /// # Errors
    /// [`Error::Input`] when there is not one token for each sequence.
    pub fn next_batch(&self, tokens: &[u32]) -> Result<Batch> {
        let rows: Vec<[u32; 1]> = tokens.iter().map(|&t| [t]).collect();
        Batch::continued(&rows, &self.lengths(), 0)
    }

    /// Keeps these sequences, in this order: a finished one need not be computed on.
    ///
    /// # Errors
    /// [`Error::Input`] when there are none, or one that the cache does not hold.
    pub fn keep_rows(&mut self, rows: &[usize]) -> Result<()> {
        if rows.is_empty() {
            return Err(Error::input("rows to keep", "at least one", 0));
        }
        let slots = rows
            .iter()
            .map(|&row| {
                self.slots
                    .get(row)
                    .cloned()
                    .ok_or_else(|| Error::input("row to keep", format!("below {}", self.slots.len()), row))
            })
            .collect::<Result<Vec<_>>>()?;
        self.slots = slots;
        let indices: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        for layer in &mut self.layers {
            if let Some((k, v)) = layer.take() {
                let device = super::Device::of(&k);
                let index = device.int_tensor(indices.clone(), [indices.len()])?;
                *layer = Some((k.select(0, index.clone()), v.select(0, index)));
            }
        }
        Ok(())
    }

    /// Takes note of a batch's tokens; returns for every row the positions by slot, the new ones included.
    pub(crate) fn extend(&mut self, batch: &Batch) -> Result<&[Vec<Option<usize>>]> {
        if self.slots.is_empty() {
            self.slots = vec![Vec::new(); batch.rows()];
        }
        if self.slots.len() != batch.rows() {
            return Err(Error::input("batch for a cache", format!("{} rows", self.slots.len()), batch.rows()));
        }
        let lengths = self.lengths();
        if let Some(row) = (0..lengths.len()).find(|&row| batch.starts()[row] != lengths[row]) {
            return Err(Error::input(
                &format!("start of row {row}"),
                format!("{}, the tokens in the cache", lengths[row]),
                batch.starts()[row],
            ));
        }
        let starts = batch.starts().iter().zip(batch.lengths());
        for (slots, (&start, &length)) in self.slots.iter_mut().zip(starts) {
            slots.extend((0..batch.width()).map(|column| (column < length).then_some(start + column)));
        }
        Ok(&self.slots)
    }

    /// Appends new keys and values (`[b, kv_heads, t, head_dim]`) of a layer; returns all of them.
    pub(crate) fn append(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> Result<(Tensor<4>, Tensor<4>)> {
        let count = self.layers.len();
        let slot =
            self.layers.get_mut(layer).ok_or_else(|| Error::input("cache", format!("layers below {count}"), layer))?;
        let (k, v) = match slot.take() {
            None => (k, v),
            Some((old_k, old_v)) => (Tensor::cat(vec![old_k, k], 2), Tensor::cat(vec![old_v, v], 2)),
        };
        *slot = Some((k.clone(), v.clone()));
        Ok((k, v))
    }
}
