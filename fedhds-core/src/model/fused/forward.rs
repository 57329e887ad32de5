//! A forward pass on packed tokens, without a record.

use super::Fused;
use super::adapters::Adapters;
use super::layer::Adapted;
use super::memory::Memory;
use super::tokens::Tokens;
use crate::error::{Error, Result};
use fedhds_kernels::attention::{self, Segment, Span};
use fedhds_kernels::rope::Rotation;
use fedhds_kernels::{Inputs, cross_entropy, norm, scratch};

impl Fused {
    /// Checks sequences before they are packed, while they have their numbers.
    ///
    /// # Errors
    /// [`Error::Input`] that numbers a sequence without tokens, longer than the model allows, or with an id outside of the vocabulary.
    pub(crate) fn check(&self, sequences: &[&[u32]]) -> Result<()> {
        let (vocab, longest) = (self.config.vocab_size, self.config.max_position_embeddings);
        for (number, ids) in sequences.iter().enumerate() {
            let what = format!("sequence {number}");
            if ids.is_empty() || ids.len() > longest {
                return Err(Error::input(&what, format!("1 to {longest} tokens"), ids.len()));
            }
            if let Some(at) = ids.iter().position(|&id| id as usize >= vocab) {
                return Err(Error::input(&format!("token {at} of {what}"), format!("an id below {vocab}"), ids[at]));
            }
        }
        Ok(())
    }

    /// The embedded tokens, `[rows, hidden]`.
    pub(super) fn embed(&self, tokens: &Tokens) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut x = scratch::take(tokens.ids.len() * width);
        for (row, &id) in x.chunks_exact_mut(width).zip(&tokens.ids) {
            self.embedding.decode(id as usize..id as usize + 1, row);
        }
        x
    }

    pub(super) fn rotation(&self, tokens: &Tokens) -> Rotation {
        Rotation::new(tokens.positions.iter().copied(), &self.frequencies)
    }

    /// Runs the first `layers` layers; `seen` is handed what goes into layer 0 and what comes out of each, `[rows, hidden]`, with its
    /// number from 0. With a memory the tokens go on from what it holds, and it holds them afterwards; that takes all layers. Where `only` some
    /// rows of the last of the layers are wanted, these alone come out of it, in their order.
    ///
    /// Without a memory a token's states have the same bits whatever is read with it, and whether its beginning is shared or not.
    ///
    /// # Errors
    /// What `seen` returns: the sequences were [checked](Self::check).
    pub(crate) fn run(
        &self,
        tokens: &Tokens,
        layers: usize,
        adapters: Option<&Adapters>,
        only: Option<&[usize]>,
        mut memory: Option<&mut Memory>,
        mut seen: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let mut x = self.embed(tokens);
        seen(0, &x)?;
        let rotation = self.rotation(tokens);
        let layers = layers.min(self.layers.len());
        // A step of a generation, a token of each sequence.
        let step = memory.is_some() && tokens.pieces.iter().all(|piece| piece.len == 1);
        for index in 0..layers {
            let adapted = adapters.map(|adapters| Adapted {
                pairs: &adapters.layers[index],
                scaling: adapters.scaling,
                masks: Default::default(),
            });
            let memory = memory.as_deref_mut();
            x = self.layer(
                index,
                x,
                &rotation,
                adapted.as_ref(),
                only.filter(|_| index + 1 == layers),
                self.activations,
                |heads, q, k, v, _| {
                    let kv = heads.kv_heads * heads.dim;
                    let memory = memory.map(|memory| {
                        memory.take(index, tokens, kv, &k, &v);
                        &*memory
                    });
                    let here = |piece: usize| {
                        let piece = &tokens.pieces[piece];
                        let range = piece.first * kv..(piece.first + piece.len) * kv;
                        Segment { keys: &k[range.clone()], values: &v[range] }
                    };
                    let spans: Vec<Span<'_>> = tokens
                        .pieces
                        .iter()
                        .enumerate()
                        .map(|(i, piece)| {
                            let remembered = memory.and_then(|memory| memory.segments(index, i));
                            let segments = remembered.unwrap_or_else(|| tokens.path(i).into_iter().map(here).collect());
                            Span { first: piece.first, len: piece.len, segments }
                        })
                        .collect();
                    let mut mixed = scratch::take(q.len());
                    match step {
                        true => attention::step(q, &spans, heads, &mut mixed),
                        false => attention::forward(q, &spans, heads, &mut mixed),
                    }
                    drop(spans);
                    [k, v].into_iter().for_each(scratch::give);
                    mixed
                },
                None,
            );
            seen(index + 1, &x)?;
        }
        if let Some(memory) = memory {
            memory.finish(tokens);
        }
        Ok(x)
    }

    /// Hidden states `[n, hidden]` after the last normalisation.
    pub(crate) fn normalized(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        norm::forward(x, &self.norm, self.config.rms_norm_eps, &mut out);
        out
    }

    /// These rows of hidden states `[rows, hidden]`.
    pub(crate) fn rows(&self, x: &[f32], rows: &[usize]) -> Vec<f32> {
        let width = self.config.hidden_size;
        rows.iter().flat_map(|&row| &x[row * width..(row + 1) * width]).copied().collect()
    }

    /// The loss of each target, in nats, predicted by hidden states of the last layer, `[n, hidden]`.
    pub(crate) fn losses(&self, x: &[f32], targets: &[u32]) -> Vec<f32> {
        let mut losses = vec![0.0; targets.len()];
        cross_entropy::losses(&self.normalized(x), self.output(), targets, self.activations, &mut losses);
        losses
    }

    /// The scores of every id by hidden states of the last layer, `[n, hidden]`: `[n, vocab]`.
    pub(crate) fn scores(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.config.hidden_size;
        let mut scores = vec![0.0; rows * self.vocab_size()];
        let inputs = Inputs::new(&self.normalized(x), rows, self.activations, &[self.output()]);
        inputs.forward(self.output(), &mut scores);
        inputs.give();
        scores
    }

    pub(super) fn final_norm(&self) -> (&[f32], f64) {
        (&self.norm, self.config.rms_norm_eps)
    }
}
