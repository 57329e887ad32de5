//! One forward and backward pass of a soft prompt: the loss of a batch and its gradients with respect to what makes the vectors.

use super::loss::{LossRows, sum};
use super::step::{AdapterGradients, Backward, Step, Trainable, gradient_of, objective};
use crate::error::Result;
use crate::model::tensor::{Gradients, Tensor, lifted, plain};
use crate::model::{Batch, Prompted, SoftPrompt, Transformer};
use crate::types::{Adapter, AdapterConfig};

impl Trainable for SoftPrompt {
    /// The batch has placeholders before its tokens. Dropout says nothing: there are no inputs to drop.
    fn pass(&self, model: &dyn Transformer, batch: &Batch, rows: &LossRows, step: Step) -> Result<Backward> {
        let leaves = self.map(|_, tensor| lifted(tensor).require_grad());
        let vectors = leaves.vectors()?;
        if step.checkpointing {
            return recomputed(model, &leaves, vectors, batch, rows, step.scale);
        }
        let prompted = Prompted::new(model, vectors);
        let pass = prompted.pass(batch, None)?;
        let mut hidden = prompted.embed(batch)?;
        for index in 0..model.spec().layers {
            hidden = prompted.layer(index, hidden, &pass, None, None)?;
        }
        let (loss, objective) = objective(&prompted, hidden, rows, step.scale)?;
        if !loss.is_finite() {
            return Ok(Backward { loss, gradients: None });
        }
        let gradients = collect(&leaves, &mut objective.backward());
        Ok(Backward { loss, gradients: Some(gradients) })
    }

    fn replaced(&self, f: impl FnMut(&str, Tensor<2>) -> Tensor<2>) -> Self {
        self.map(f)
    }

    fn values(&self, config: &AdapterConfig) -> Result<Adapter> {
        self.to_adapter(config)
    }
}

/// A pass without a record that keeps the layers' inputs, then one record for each layer, the last first, and one for the vectors.
fn recomputed(
    model: &dyn Transformer,
    leaves: &SoftPrompt,
    vectors: Tensor<2>,
    batch: &Batch,
    rows: &LossRows,
    scale: f64,
) -> Result<Backward> {
    let still = Prompted::new(model, plain(vectors.clone()));
    let pass = still.pass(batch, None)?;
    let mut inputs = Vec::with_capacity(model.spec().layers);
    let mut hidden = still.embed(batch)?;
    for index in 0..model.spec().layers {
        inputs.push(hidden.clone());
        hidden = still.layer(index, hidden, &pass, None, None)?;
    }
    let top = lifted(hidden).require_grad();
    let (loss, objective) = objective(model, top.clone(), rows, scale)?;
    if !loss.is_finite() {
        return Ok(Backward { loss, gradients: None });
    }
    // The gradient of <output, upstream> is upstream carried back.
    let carried = |output: Tensor<3>, upstream: Tensor<3>| {
        let count = output.dims().iter().product::<usize>();
        sum((output * lifted(upstream)).reshape([count])).backward()
    };
    let mut upstream = gradient_of(&top, &mut objective.backward())?;
    while let Some(input) = inputs.pop() {
        let input = lifted(input).require_grad();
        let output = model.layer(inputs.len(), input.clone(), &pass, None, None)?;
        upstream = gradient_of(&input, &mut carried(output, upstream))?;
    }
    let first = Prompted::new(model, vectors).embed(batch)?;
    let gradients = collect(leaves, &mut carried(first, upstream));
    Ok(Backward { loss, gradients: Some(gradients) })
}

fn collect(leaves: &SoftPrompt, record: &mut Gradients) -> AdapterGradients {
    let mut gradients = AdapterGradients::new();
    // `map` walks the tensors with their names; nothing is replaced.
    let _ = leaves.map(|name, leaf| {
        if let Some(gradient) = leaf.grad_remove(record) {
            gradients.insert(name.to_string(), gradient);
        }
        leaf
    });
    gradients
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
