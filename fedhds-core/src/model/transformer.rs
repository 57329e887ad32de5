//! What every model family offers: one layer at a time, so that features stop early, training can recompute a layer, and
//! generation passes a cache.

use super::batch::Batch;
use super::cache::KvCache;
use super::device::Device;
use super::fused::Fused;
use super::lora::LoraWeights;
use super::pass::Pass;
use super::spec::ModelSpec;
use super::tensor::Tensor;
use crate::error::{Error, Result};

/// A weight on its way through [`Transformer::map_weights`].
#[derive(Debug, Clone)]
pub enum Weight {
    /// A matrix: linear layers and embeddings.
    Matrix(Tensor<2>),
    /// A vector: norms and biases.
    Vector(Tensor<1>),
}

impl Weight {
    /// The same weight with `matrix` or `vector` applied.
    #[must_use]
    pub fn map(self, matrix: impl FnOnce(Tensor<2>) -> Tensor<2>, vector: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        match self {
            Self::Matrix(tensor) => Self::Matrix(matrix(tensor)),
            Self::Vector(tensor) => Self::Vector(vector(tensor)),
        }
    }

    /// The weight on another device.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Self {
        self.map(|m| m.to_device(device.inner()), |v| v.to_device(device.inner()))
    }

    pub(crate) fn map_matrix(
        name: &str,
        tensor: &Tensor<2>,
        f: &mut dyn FnMut(&str, Weight) -> Weight,
    ) -> Result<Tensor<2>> {
        match f(name, Self::Matrix(tensor.clone())) {
            Self::Matrix(new) if new.dims() == tensor.dims() => Ok(new),
            other => Err(other.misfit(name, &tensor.dims())),
        }
    }

    pub(crate) fn map_vector(
        name: &str,
        tensor: &Tensor<1>,
        f: &mut dyn FnMut(&str, Weight) -> Weight,
    ) -> Result<Tensor<1>> {
        match f(name, Self::Vector(tensor.clone())) {
            Self::Vector(new) if new.dims() == tensor.dims() => Ok(new),
            other => Err(other.misfit(name, &tensor.dims())),
        }
    }

    fn misfit(&self, name: &str, expected: &[usize]) -> Error {
        let got = match self {
            Self::Matrix(tensor) => format!("{:?}", tensor.dims()),
            Self::Vector(tensor) => format!("{:?}", tensor.dims()),
        };
        Error::input(&format!("weight `{name}`"), format!("shape {expected:?}"), got)
    }
}

/// A language model or encoder.
///
/// Hidden states decide the mode: plain ones run without a record; autodiff ones (`tensor::lifted`) record, and weights,
/// masks and rotations are lifted as they are used. Frozen weights are held as plain tensors and get no gradient; weights
/// that [`Transformer::map_weights`] made trainable do.
///
/// ```text
/// let pass = model.pass(&batch, None)?;
/// let mut hidden = model.embed(&batch)?;                       // [b, t, hidden]
/// for i in 0..model.spec().layers {
///     hidden = model.layer(i, hidden, &pass, lora, None)?;
/// }
/// let logits = model.logits(model.final_norm(rows(hidden)))?;  // [n, vocab]
/// ```
pub trait Transformer: Send + Sync + std::fmt::Debug {
    /// Sizes and names.
    fn spec(&self) -> &ModelSpec;

    /// Where the weights are.
    fn device(&self) -> Device;

    /// What the layers share for this batch. With a cache, the cache takes note of the batch's tokens, and every layer must
    /// then be run on it once.
    ///
    /// # Errors
    /// [`Error::Input`] for a sequence longer than the model allows, an id outside of the vocabulary, or a batch that does not
    /// continue the cache.
    fn pass(&self, batch: &Batch, cache: Option<&mut KvCache>) -> Result<Pass>;

    /// The embedded tokens, `[b, t, hidden]`.
    ///
    /// # Errors
    /// [`Error::Input`] as for [`Transformer::pass`].
    fn embed(&self, batch: &Batch) -> Result<Tensor<3>>;

    /// The rows of the embedding table alone, without positions: `[n, hidden]` for `n` ids.
    ///
    /// # Errors
    /// [`Error::Input`] for an id outside of the vocabulary.
    fn token_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>>;

    /// Layer `index` (from 0): `[b, t, hidden]` to the same.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no such layer, or `hidden` has another shape than the batch of `pass`.
    fn layer(
        &self,
        index: usize,
        hidden: Tensor<3>,
        pass: &Pass,
        lora: Option<&LoraWeights>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>>;

    /// The last normalisation, for any rows `[n, hidden]`; the identity where a family has none.
    fn final_norm(&self, rows: Tensor<2>) -> Tensor<2>;

    /// Scores of every token id for normalised rows: `[n, hidden]` to `[n, vocab]`.
    ///
    /// # Errors
    /// [`Error::Input`] for an encoder, which has no output projection.
    fn logits(&self, rows: Tensor<2>) -> Result<Tensor<2>>;

    /// The same model by arithmetic of our own, for passes that need no other record than the gradients of adapters; none where there is
    /// none, as on a GPU. A model that wraps another and looks at its layers gives none either.
    fn fused(&self) -> Option<&Fused> {
        None
    }

    /// From now on rounds the rows of passes without a gradient ([`Activations::Int8`](super::Activations::Int8)); false, and nothing changes, where
    /// the model cannot.
    fn round_rows(&mut self) -> bool {
        false
    }

    /// The same model over other weights: `f` is given each weight with its name in transformers and returns what takes its
    /// place, of the same shape: lifted to autodiff, on another device, or trainable.
    ///
    /// # Errors
    /// [`Error::Input`] that names a weight that came back in another shape.
    fn map_weights(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>>;
}

/// The hidden states after all layers, before the last normalisation, `[b, t, hidden]`.
///
/// # Errors
/// As for [`Transformer::pass`].
pub fn hidden_states(model: &dyn Transformer, batch: &Batch, lora: Option<&LoraWeights>) -> Result<Tensor<3>> {
    let pass = model.pass(batch, None)?;
    let mut hidden = model.embed(batch)?;
    for index in 0..model.spec().layers {
        hidden = model.layer(index, hidden, &pass, lora, None)?;
    }
    Ok(hidden)
}

/// The rows of these numbers (into `[b * t]`) of hidden states: `[b, t, hidden]` to `[n, hidden]`.
///
/// # Errors
/// [`Error::Input`] when a number is not below b * t.
pub fn take_tokens(hidden: Tensor<3>, tokens: &[usize]) -> Result<Tensor<2>> {
    let [b, t, width] = hidden.dims();
    if let Some(token) = tokens.iter().find(|&&token| token >= b * t) {
        return Err(Error::input("token number", format!("below {}", b * t), token));
    }
    let indices = tokens.iter().map(|&token| token as i32).collect();
    let indices = Device::of(&hidden).int_tensor(indices, [tokens.len()])?;
    Ok(hidden.reshape([b * t, width]).select(0, indices))
}

/// No such layer.
pub(crate) fn no_layer(index: usize, layers: usize) -> Error {
    Error::input("layer", format!("a number below {layers}"), index)
}
