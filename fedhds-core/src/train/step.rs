//! One forward and backward pass: the loss of a batch and its gradients with respect to the adapter.

use super::loss::{LossRows, sum, token_losses};
use crate::error::{Error, Result};
use crate::model::fused::{Padded, PairGradient, Tokens};
use crate::model::lora::{key_a, key_b};
use crate::model::tensor::{Gradients, Tensor, lifted, to_vec};
use crate::model::{Batch, Device, Fused, LoraWeights, Transformer};
use crate::types::{Adapter, AdapterConfig, Seed};
use std::collections::BTreeMap;

/// Gradients by the names of an adapter's tensors, in their order.
pub type AdapterGradients = BTreeMap<String, Tensor<2>>;

/// How a pass is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// By what the sum of the losses is multiplied.
    pub(super) scale: f64,
    /// Whether layers are computed again in place of being recorded.
    pub(super) checkpointing: bool,
    /// Share of the adapter's inputs that are zeroed.
    pub(super) dropout: f32,
    /// The seed of that.
    pub(super) seed: Seed,
}

/// What can be trained: the tensors of an adapter on a device.
pub(super) trait Trainable: Sized {
    /// The loss of a batch and its gradients.
    fn pass(&self, model: &dyn Transformer, batch: &Batch, rows: &LossRows, step: Step) -> Result<Backward>;

    /// The same with each tensor replaced.
    fn replaced(&self, f: impl FnMut(&str, Tensor<2>) -> Tensor<2>) -> Self;

    /// The values.
    fn values(&self, config: &AdapterConfig) -> Result<Adapter>;
}

impl Trainable for LoraWeights {
    fn pass(&self, model: &dyn Transformer, batch: &Batch, rows: &LossRows, step: Step) -> Result<Backward> {
        let lora = self.clone().with_dropout(step.dropout, step.seed);
        backward(model, &lora, batch, rows, step.scale, step.checkpointing)
    }

    fn replaced(&self, f: impl FnMut(&str, Tensor<2>) -> Tensor<2>) -> Self {
        self.map(f)
    }

    fn values(&self, config: &AdapterConfig) -> Result<Adapter> {
        self.to_adapter(config)
    }
}

/// What a backward pass gives.
#[derive(Debug, Clone)]
pub struct Backward {
    /// `scale` times the sum of the losses of all chosen tokens, in nats.
    pub loss: f64,
    /// The gradients of that loss; none where it is not finite.
    pub gradients: Option<AdapterGradients>,
}

/// The loss `scale * sum(-log p(token))` over the chosen tokens, and its gradients. With `scale` 1 / tokens it is their mean.
///
/// The model's own weights are frozen and get no gradient. With `checkpointing` only each layer's input is kept, and a layer
/// is computed again when its gradient is wanted (Chen et al. 2016, arXiv 1604.06174); dropout draws the same mask both times.
///
/// # Errors
/// [`Error::Input`] for a batch that the model cannot read.
pub fn backward(
    model: &dyn Transformer,
    lora: &LoraWeights,
    batch: &Batch,
    rows: &LossRows,
    scale: f64,
    checkpointing: bool,
) -> Result<Backward> {
    if let Some(fused) = model.fused() {
        return packed(fused, lora, batch, rows, scale, checkpointing);
    }
    let leaves = lora.map(|_, tensor| lifted(tensor).require_grad());
    if checkpointing {
        recomputed(model, lora, &leaves, batch, rows, scale)
    } else {
        recorded(model, &leaves, batch, rows, scale)
    }
}

/// By arithmetic of our own, on the batch's tokens without its padding.
fn packed(
    model: &Fused,
    lora: &LoraWeights,
    batch: &Batch,
    rows: &LossRows,
    scale: f64,
    checkpointing: bool,
) -> Result<Backward> {
    if let Some(start) = batch.starts().iter().find(|&&start| start > 0) {
        return Err(Error::input("batch", "sequences from their start", start));
    }
    let Some(adapters) = model.adapters(Some(lora))? else {
        return Err(Error::input("adapters", "those that are trained", "none"));
    };
    let width = batch.width();
    let sequences: Vec<&[u32]> =
        batch.lengths().iter().zip(batch.ids().chunks_exact(width)).map(|(&length, ids)| &ids[..length]).collect();
    model.check(&sequences)?;
    let tokens = Tokens::apart(&sequences);
    let places: Vec<usize> =
        batch.lengths().iter().enumerate().flat_map(|(row, &length)| row * width..row * width + length).collect();
    // Where the padded batch's rows went: places are in order.
    let row_of = |place: &usize| {
        places.binary_search(place).map_err(|_| Error::input("token number", "a token of the batch", place))
    };
    let chosen = rows.tokens().iter().map(row_of).collect::<Result<Vec<usize>>>()?;
    let vocab = model.vocab_size();
    if let Some(target) = rows.targets().iter().find(|&&target| target as usize >= vocab) {
        return Err(Error::input("target", format!("an id below {vocab}"), target));
    }
    let padded = Padded { rows: batch.rows() * width, places: &places };
    let tuned = model.backward(&tokens, padded, &adapters, &chosen, rows.targets(), scale, checkpointing);
    let Some(found) = tuned.gradients else { return Ok(Backward { loss: tuned.loss, gradients: None }) };
    let device = Device::cpu();
    let mut gradients = AdapterGradients::new();
    for (path, PairGradient { a, b }) in found {
        let Some(pair) = lora.modules.get(&path) else { continue };
        let [r, input] = pair.a.dims();
        let output = pair.b.dims()[0];
        let turned = (0..output * r).map(|i| b[i % r * output + i / r]).collect();
        gradients.insert(key_a(&path), device.tensor(a, [r, input])?);
        gradients.insert(key_b(&path), device.tensor(turned, [output, r])?);
    }
    Ok(Backward { loss: tuned.loss, gradients: Some(gradients) })
}

/// The whole pass in one record.
fn recorded(
    model: &dyn Transformer,
    leaves: &LoraWeights,
    batch: &Batch,
    rows: &LossRows,
    scale: f64,
) -> Result<Backward> {
    let pass = model.pass(batch, None)?;
    let mut hidden = lifted(model.embed(batch)?);
    for index in 0..model.spec().layers {
        hidden = model.layer(index, hidden, &pass, Some(leaves), None)?;
    }
    let (loss, objective) = objective(model, hidden, rows, scale)?;
    if !loss.is_finite() {
        return Ok(Backward { loss, gradients: None });
    }
    let mut gradients = AdapterGradients::new();
    collect(leaves, &mut objective.backward(), &mut gradients);
    Ok(Backward { loss, gradients: Some(gradients) })
}

/// A pass without a record that keeps the layers' inputs, then one record for each layer, the last first.
fn recomputed(
    model: &dyn Transformer,
    plain: &LoraWeights,
    leaves: &LoraWeights,
    batch: &Batch,
    rows: &LossRows,
    scale: f64,
) -> Result<Backward> {
    let pass = model.pass(batch, None)?;
    let mut inputs = Vec::with_capacity(model.spec().layers);
    let mut hidden = model.embed(batch)?;
    for index in 0..model.spec().layers {
        inputs.push(hidden.clone());
        hidden = model.layer(index, hidden, &pass, Some(plain), None)?;
    }
    let top = lifted(hidden).require_grad();
    let (loss, objective) = objective(model, top.clone(), rows, scale)?;
    if !loss.is_finite() {
        return Ok(Backward { loss, gradients: None });
    }
    let mut gradients = AdapterGradients::new();
    let mut upstream = gradient_of(&top, &mut objective.backward())?;
    while let Some(input) = inputs.pop() {
        let index = inputs.len();
        // Nothing below the first layer is trained.
        let input = if index == 0 { lifted(input) } else { lifted(input).require_grad() };
        let output = model.layer(index, input.clone(), &pass, Some(leaves), None)?;
        // The gradient of <output, upstream> is upstream carried back through the layer.
        let count = output.dims().iter().product::<usize>();
        let objective = sum((output * lifted(upstream)).reshape([count]));
        let mut record = objective.backward();
        collect(leaves, &mut record, &mut gradients);
        if index == 0 {
            break;
        }
        upstream = gradient_of(&input, &mut record)?;
    }
    Ok(Backward { loss, gradients: Some(gradients) })
}

pub(super) fn objective(
    model: &dyn Transformer,
    hidden: Tensor<3>,
    rows: &LossRows,
    scale: f64,
) -> Result<(f64, Tensor<1>)> {
    let objective = sum(token_losses(model, hidden, rows)?).mul_scalar(scale);
    let loss = to_vec(objective.clone().inner())?.first().copied().map_or(f64::NAN, f64::from);
    Ok((loss, objective))
}

pub(super) fn gradient_of<const D: usize>(tensor: &Tensor<D>, record: &mut Gradients) -> Result<Tensor<D>> {
    let missing = || Error::stage("model", "expected the loss to depend on every layer's input, got no gradient");
    tensor.grad_remove(record).ok_or_else(missing)
}

/// Takes the adapter's gradients out of a backward pass's record; a factor that took no part has none.
fn collect(leaves: &LoraWeights, record: &mut Gradients, gradients: &mut AdapterGradients) {
    // `map` walks the tensors with their names; nothing is replaced.
    let _ = leaves.map(|name, leaf| {
        if let Some(gradient) = leaf.grad_remove(record) {
            gradients.insert(name.to_string(), gradient);
        }
        leaf
    });
}
