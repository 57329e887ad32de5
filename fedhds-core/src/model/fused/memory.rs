//! Keys and values of what was read, so that generation computes each token once.

use super::tokens::Tokens;
use fedhds_kernels::attention::Segment;
use std::sync::Arc;

/// Keys and values of tokens that stand one after the other, by layer, `[tokens, kv_heads * head_dim]` each.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeysValues {
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl KeysValues {
    fn of_layers(layers: usize) -> Self {
        Self { keys: vec![Vec::new(); layers], values: vec![Vec::new(); layers] }
    }

    fn segment(&self, layer: usize) -> Segment<'_> {
        Segment { keys: &self.keys[layer], values: &self.values[layer] }
    }

    fn add(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        self.keys[layer].extend_from_slice(keys);
        self.values[layer].extend_from_slice(values);
    }
}

/// What was read of one sequence.
#[derive(Debug, Clone)]
struct Row {
    /// Pieces that other sequences may share.
    read: Vec<Arc<KeysValues>>,
    /// What came since.
    own: KeysValues,
    tokens: usize,
}

/// What was read of some sequences.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    layers: usize,
    rows: Vec<Row>,
    /// While sequences are read for the first time: what each piece gives.
    pieces: Vec<KeysValues>,
}

impl Memory {
    /// Of a model of so many layers, nothing.
    pub fn new(layers: usize) -> Self {
        Self { layers, rows: Vec::new(), pieces: Vec::new() }
    }

    /// Tokens of each sequence.
    pub fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.tokens).collect()
    }

    /// Keeps these sequences, in ascending order.
    pub fn keep(&mut self, rows: &[usize]) {
        if rows.len() == self.rows.len() {
            return;
        }
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
    }

    /// Takes a layer's keys and values of the pass.
    pub(super) fn take(&mut self, layer: usize, tokens: &Tokens, width: usize, keys: &[f32], values: &[f32]) {
        if self.rows.is_empty() && layer == 0 {
            self.pieces = vec![KeysValues::of_layers(self.layers); tokens.pieces.len()];
        }
        let first = self.rows.is_empty();
        for (i, piece) in tokens.pieces.iter().enumerate() {
            let range = piece.first * width..(piece.first + piece.len) * width;
            // Later passes have one piece for each sequence.
            let to = if first { &mut self.pieces[i] } else { &mut self.rows[i].own };
            to.add(layer, &keys[range.clone()], &values[range]);
        }
    }

    /// After the last layer of a pass.
    pub(super) fn finish(&mut self, tokens: &Tokens) {
        if !self.rows.is_empty() {
            self.rows.iter_mut().zip(&tokens.pieces).for_each(|(row, piece)| row.tokens += piece.len);
            return;
        }
        let pieces: Vec<Arc<KeysValues>> = std::mem::take(&mut self.pieces).into_iter().map(Arc::new).collect();
        self.rows = tokens
            .ends()
            .iter()
            .map(|&end| {
                let path = tokens.path(end);
                Row {
                    tokens: path.iter().map(|&piece| tokens.pieces[piece].len).sum(),
                    read: path.into_iter().map(|piece| Arc::clone(&pieces[piece])).collect(),
                    own: KeysValues::of_layers(self.layers),
                }
            })
            .collect();
    }

    /// What a sequence holds of a layer, in the order of its tokens; none before anything was read.
    pub(super) fn segments(&self, layer: usize, row: usize) -> Option<Vec<Segment<'_>>> {
        let row = self.rows.get(row)?;
        let own = (!row.own.keys[layer].is_empty()).then(|| row.own.segment(layer));
        Some(row.read.iter().map(|read| read.segment(layer)).chain(own).collect())
    }
}
