//! A model that tests look into.
#![allow(clippy::unwrap_used)]

use super::tensor::Tensor;
use super::{Batch, Device, KvCache, LoraWeights, ModelSpec, Pass, Transformer, Weight};
use crate::error::Result;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model as burn runs it, without arithmetic of its own; it counts what is run.
#[derive(Debug)]
pub(crate) struct Recorded {
    model: Box<dyn Transformer>,
    layers: AtomicUsize,
    projections: AtomicUsize,
}

impl Recorded {
    pub(crate) fn new(model: Box<dyn Transformer>) -> Self {
        Self { model, layers: AtomicUsize::new(0), projections: AtomicUsize::new(0) }
    }

    /// Layers, and output projections, that were run since the last look.
    pub(crate) fn take(&self) -> (usize, usize) {
        (self.layers.swap(0, Ordering::Relaxed), self.projections.swap(0, Ordering::Relaxed))
    }
}

impl Transformer for Recorded {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }
    fn device(&self) -> Device {
        self.model.device()
    }
    fn pass(&self, batch: &Batch, cache: Option<&mut KvCache>) -> Result<Pass> {
        self.model.pass(batch, cache)
    }
    fn embed(&self, batch: &Batch) -> Result<Tensor<3>> {
        self.model.embed(batch)
    }
    fn token_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>> {
        self.model.token_embeddings(ids)
    }
    fn layer(
        &self,
        index: usize,
        hidden: Tensor<3>,
        pass: &Pass,
        lora: Option<&LoraWeights>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>> {
        self.layers.fetch_add(1, Ordering::Relaxed);
        self.model.layer(index, hidden, pass, lora, cache)
    }
    fn final_norm(&self, rows: Tensor<2>) -> Tensor<2> {
        self.model.final_norm(rows)
    }
    fn logits(&self, rows: Tensor<2>) -> Result<Tensor<2>> {
        self.projections.fetch_add(1, Ordering::Relaxed);
        self.model.logits(rows)
    }
    fn map_weights(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>> {
        self.model.map_weights(f)
    }
}
