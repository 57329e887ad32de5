//! The loss on response tokens, record by record.

use crate::error::Result;
use crate::model::tensor::to_vec;
use crate::model::{Batch, Example, LoraWeights, Transformer, take_tokens};
use crate::parallel;
use crate::train::loss::{LossRows, cross_entropy};
use crate::types::Control;
use crate::types::range::at_least;
use std::cmp::Reverse;

/// Rows that go through the output projection at once: what bounds the memory for scores.
const PROJECTED_ROWS: usize = 256;

/// The mean loss on the response tokens of each example, in nats, in the order of the examples.
///
/// Examples of like length share a batch of at most `batch_size` rows; only response tokens go through the output projection.
/// `batches_at_once` batches are at work at the same time, each on a thread of its own; the losses do not depend on it.
///
/// # Errors
/// [`Error::Parameter`](crate::Error::Parameter) for a batch size of 0; [`Error::Input`](crate::Error::Input) for an example that
/// the model cannot read or that has no response; [`Error::Cancelled`](crate::Error::Cancelled).
pub fn response_losses(
    model: &dyn Transformer,
    examples: &[Example],
    batch_size: usize,
    lora: Option<&LoraWeights>,
    batches_at_once: usize,
    control: &Control,
) -> Result<Vec<f64>> {
    at_least("batch_size", batch_size, 1)?;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    // Longest first: what is too much for the memory fails at once.
    order.sort_by_key(|&i| (Reverse(examples[i].ids.len()), i));
    let mut losses = vec![0.0; examples.len()];
    let work = |numbers: &mut &[usize]| {
        control.check()?;
        let chosen: Vec<&Example> = numbers.iter().map(|&i| &examples[i]).collect();
        let (batch, rows) = LossRows::of_examples(&chosen)?;
        let per_token = batch_losses(model, &batch, &rows, lora)?;
        Ok((numbers.to_vec(), rows.mean_by_row(&per_token, numbers.len())))
    };
    let mut batches: Vec<&[usize]> = order.chunks(batch_size).collect();
    parallel::each(batches_at_once, &mut batches, work, |_, (numbers, found)| {
        numbers.iter().zip(found).for_each(|(&i, loss)| losses[i] = loss);
        control.advance("loss", numbers.len() as u64);
        Ok(())
    })?;
    Ok(losses)
}

fn batch_losses(
    model: &dyn Transformer,
    batch: &Batch,
    rows: &LossRows,
    lora: Option<&LoraWeights>,
) -> Result<Vec<f32>> {
    let pass = model.pass(batch, None)?;
    let mut hidden = model.embed(batch)?;
    for index in 0..model.spec().layers {
        hidden = model.layer(index, hidden, &pass, lora, None)?;
    }
    let mut losses = Vec::with_capacity(rows.count());
    for (tokens, targets) in rows.tokens().chunks(PROJECTED_ROWS).zip(rows.targets().chunks(PROJECTED_ROWS)) {
        let chosen = take_tokens(hidden.clone(), tokens)?;
        losses.extend(to_vec(cross_entropy(model.logits(model.final_norm(chosen))?, targets)?)?);
    }
    Ok(losses)
}
