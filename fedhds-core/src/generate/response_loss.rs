//! The loss on response tokens, record by record.

use crate::error::{Error, Result};
use crate::model::fused::{PACKED_ROWS, Tokens, packs};
use crate::model::tensor::{Tensor, to_vec};
use crate::model::{Batch, Example, Fused, KvCache, LoraWeights, Transformer, take_tokens};
use crate::parallel;
use crate::train::loss::{LossRows, cross_entropy, predicted};
use crate::types::Control;
use crate::types::range::at_least;
use fedhds_kernels::scratch;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Rows that go through the output projection at once: what bounds the memory for scores.
const PROJECTED_ROWS: usize = 256;

/// The mean loss on the response tokens of each example, in nats, in the order of the examples.
///
/// Examples of like length share a batch of at most `batch_size` rows; only response tokens go through the output projection.
/// `batches_at_once` batches are at work at the same time, each on a thread of its own; the losses do not depend on it.
///
/// # Errors
/// [`Error::Parameter`] for a batch size of 0; [`Error::Input`] for an example that
/// the model cannot read or that has no response; [`Error::Cancelled`].
pub fn response_losses(
    model: &dyn Transformer,
    examples: &[Example],
    batch_size: usize,
    lora: Option<&LoraWeights>,
    batches_at_once: usize,
    control: &Control,
) -> Result<Vec<f64>> {
    at_least("batch_size", batch_size, 1)?;
    if let Some(fused) = model.fused() {
        return packed_losses(fused, examples, lora, batches_at_once, control);
    }
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

/// The same on packed tokens: what examples begin with in common is computed once.
fn packed_losses(
    model: &Fused,
    examples: &[Example],
    lora: Option<&LoraWeights>,
    batches_at_once: usize,
    control: &Control,
) -> Result<Vec<f64>> {
    let all: Vec<&[u32]> = examples.iter().map(|example| example.ids.as_slice()).collect();
    model.check(&all)?;
    for (number, example) in examples.iter().enumerate() {
        predicted(number, example.response_start, example.ids.len())?;
    }
    let adapters = model.adapters(lora)?;
    let mut losses = vec![0.0; examples.len()];
    let work = |numbers: &mut Vec<usize>| {
        control.check()?;
        let tokens = Tokens::shared(&numbers.iter().map(|&i| all[i]).collect::<Vec<_>>());
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (sequence, &i) in numbers.iter().enumerate() {
            let start = examples[i].response_start.max(1);
            rows.extend(tokens.rows(sequence).skip(start - 1).take(all[i].len() - start));
            targets.extend_from_slice(&all[i][start..]);
        }
        let stop = |_: usize, _: &[f32]| control.check();
        let found = scratch::scope(|| {
            let x = model.run(&tokens, model.layers(), adapters.as_ref(), Some(&rows), None, stop)?;
            Ok::<_, Error>(model.losses(&x, &targets))
        })?;
        let mut found = found.into_iter();
        let mut mean = |i: &usize| {
            let count = all[*i].len() - examples[*i].response_start.max(1);
            found.by_ref().take(count).map(f64::from).sum::<f64>() / count as f64
        };
        let means: Vec<f64> = numbers.iter().map(&mut mean).collect();
        Ok((std::mem::take(numbers), means))
    };
    let mut packs = packs(&all, PACKED_ROWS);
    parallel::each(batches_at_once, &mut packs, work, |_, (numbers, found)| {
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
    projected(model, hidden, rows)
}

/// As [`response_losses`], for examples that share prompts: each distinct prompt is read once, and its keys and values serve every response
/// under it.
///
/// # Errors
/// As [`response_losses`].
pub fn losses_under_prompts(
    model: &dyn Transformer,
    examples: &[Example],
    batch_size: usize,
    lora: Option<&LoraWeights>,
    control: &Control,
) -> Result<Vec<f64>> {
    at_least("batch_size", batch_size, 1)?;
    if let Some(fused) = model.fused() {
        return packed_losses(fused, examples, lora, 1, control);
    }
    let mut prompts: BTreeMap<&[u32], Vec<usize>> = BTreeMap::new();
    for (i, example) in examples.iter().enumerate() {
        prompts.entry(example.prompt()).or_default().push(i);
    }
    // Longest first: what is too much for the memory fails at once; prompts of like length share a batch.
    let mut prompts: Vec<(&[u32], Vec<usize>)> = prompts.into_iter().collect();
    prompts.sort_by_key(|(prompt, under)| (Reverse(prompt.len()), under.first().copied()));
    let mut losses = vec![0.0; examples.len()];
    for several in prompts.chunks(batch_size) {
        control.check()?;
        // A prompt's last token predicts the first of each response, and is read with it.
        let heads: Vec<&[u32]> = several.iter().map(|(prompt, _)| &prompt[..prompt.len().saturating_sub(1)]).collect();
        let cache = match heads.iter().any(|head| head.is_empty()) {
            true => None, // a prompt of one token: nothing to share
            false => Some(read(model, &heads, lora)?),
        };
        let under: Vec<(usize, usize)> =
            several.iter().enumerate().flat_map(|(row, (_, under))| under.iter().map(move |&i| (row, i))).collect();
        for part in under.chunks(batch_size) {
            control.check()?;
            let chosen: Vec<&Example> = part.iter().map(|(_, i)| &examples[*i]).collect();
            let found = match &cache {
                None => {
                    let (batch, rows) = LossRows::of_examples(&chosen)?;
                    rows.mean_by_row(&batch_losses(model, &batch, &rows, lora)?, chosen.len())
                }
                Some(cache) => {
                    let mut cache = cache.clone();
                    cache.keep_rows(&part.iter().map(|(row, _)| *row).collect::<Vec<_>>())?;
                    let rest = |example: &&Example| {
                        let start = example.response_start - 1;
                        Example { ids: example.ids[start..].to_vec(), response_start: 1 }
                    };
                    let rests: Vec<Example> = chosen.iter().map(rest).collect();
                    continued_losses(model, &rests, &mut cache, lora)?
                }
            };
            part.iter().zip(found).for_each(|((_, i), loss)| losses[*i] = loss);
        }
    }
    Ok(losses)
}

/// The keys and values of these sequences.
fn read(model: &dyn Transformer, rows: &[&[u32]], lora: Option<&LoraWeights>) -> Result<KvCache> {
    let mut cache = KvCache::new(model.spec().layers);
    let batch = Batch::new(rows, 0)?;
    let pass = model.pass(&batch, Some(&mut cache))?;
    let mut hidden = model.embed(&batch)?;
    for index in 0..model.spec().layers {
        hidden = model.layer(index, hidden, &pass, lora, Some(&mut cache))?;
    }
    Ok(cache)
}

/// The mean loss of each continuation of a sequence in the cache.
fn continued_losses(
    model: &dyn Transformer,
    rests: &[Example],
    cache: &mut KvCache,
    lora: Option<&LoraWeights>,
) -> Result<Vec<f64>> {
    // Its rows are numbered as those of the batch below: both are as wide as the longest.
    let (_, rows) = LossRows::of_examples(&rests.iter().collect::<Vec<_>>())?;
    let ids: Vec<&[u32]> = rests.iter().map(|rest| rest.ids.as_slice()).collect();
    let batch = Batch::continued(&ids, &cache.lengths(), 0)?;
    let pass = model.pass(&batch, Some(cache))?;
    let mut hidden = model.embed(&batch)?;
    for index in 0..model.spec().layers {
        hidden = model.layer(index, hidden, &pass, lora, Some(cache))?;
    }
    Ok(rows.mean_by_row(&projected(model, hidden, &rows)?, rests.len()))
}

/// The loss of each predicted token, of hidden states `[b, t, hidden]` of the last layer.
fn projected(model: &dyn Transformer, hidden: Tensor<3>, rows: &LossRows) -> Result<Vec<f32>> {
    let mut losses = Vec::with_capacity(rows.count());
    for (tokens, targets) in rows.tokens().chunks(PROJECTED_ROWS).zip(rows.targets().chunks(PROJECTED_ROWS)) {
        let chosen = take_tokens(hidden.clone(), tokens)?;
        losses.extend(to_vec(cross_entropy(model.logits(model.final_norm(chosen))?, targets)?)?);
    }
    Ok(losses)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::train::test_model::{examples, small_model};

    #[test]
    fn shared_prompts_are_read_once_and_change_nothing() {
        let model = small_model();
        let base = examples(5);
        // Every response under every prompt.
        let under = |prompt: &Example, response: &Example| Example {
            ids: [prompt.prompt(), &response.ids[response.response_start..]].concat(),
            response_start: prompt.response_start,
        };
        let pairs: Vec<Example> = base.iter().flat_map(|p| base.iter().map(|r| under(p, r))).collect();
        let control = Control::default();
        let plain = response_losses(model.as_ref(), &pairs, 3, None, 1, &control).unwrap();
        for batch_size in [1, 2, 5, 64] {
            let shared = losses_under_prompts(model.as_ref(), &pairs, batch_size, None, &control).unwrap();
            for (a, b) in plain.iter().zip(&shared) {
                assert!((a - b).abs() < 1e-4, "{a} {b} at batch size {batch_size}");
            }
        }
        assert!(losses_under_prompts(model.as_ref(), &[], 2, None, &control).unwrap().is_empty());
    }
}
