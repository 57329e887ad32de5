//! Greedy generation: the most probable token, again and again.

use crate::error::{Error, Result};
use crate::model::fused::{Memory, Tokens};
use crate::model::tensor::to_vec;
use crate::model::{Batch, KvCache, LoraWeights, Transformer, take_tokens};
use crate::parallel;
use crate::settings::GenerateConfig;
use crate::types::Control;
use fedhds_kernels::scratch;
use std::cmp::Reverse;

/// Continues each prompt greedily; a tie goes to the smaller id. A continuation ends with the first of the ids `eos`, which it
/// includes, after `max_new_tokens`, or where the model's longest sequence is reached.
///
/// Prompts of like length share a batch. Keys and values of what was read are kept, so that each token is computed once; a
/// finished row leaves the batch.
///
/// # Errors
/// [`Error::Parameter`] as of [`GenerateConfig::check`]; [`Error::Input`] that numbers a prompt without tokens or as long as the
/// model's longest sequence; [`Error::Stage`] for scores that are not numbers; [`Error::Cancelled`].
pub fn generate<P: AsRef<[u32]> + Sync>(
    model: &dyn Transformer,
    prompts: &[P],
    eos: &[u32],
    config: &GenerateConfig,
    lora: Option<&LoraWeights>,
    control: &Control,
) -> Result<Vec<Vec<u32>>> {
    config.check()?;
    let longest = model.spec().max_positions;
    for (i, prompt) in prompts.iter().enumerate() {
        let length = prompt.as_ref().len();
        if length == 0 || length >= longest {
            return Err(Error::input(&format!("prompt {i}"), format!("1 to {} tokens", longest - 1), length));
        }
    }
    if let Some(fused) = model.fused() {
        fused.check(&prompts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
    }
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    // Longest first: what is too much for the memory fails at once.
    order.sort_by_key(|&i| (Reverse(prompts[i].as_ref().len()), i));
    let mut outputs = vec![Vec::new(); prompts.len()];
    let work = |numbers: &mut &[usize]| {
        let rows: Vec<&[u32]> = numbers.iter().map(|&i| prompts[i].as_ref()).collect();
        let continued = continue_batch(model, &rows, eos, config.max_new_tokens, lora, control)?;
        Ok((numbers.to_vec(), continued))
    };
    let mut batches: Vec<&[usize]> = order.chunks(config.batch_size).collect();
    parallel::each(config.batches_at_once, &mut batches, work, |_, (numbers, continued)| {
        control.advance("generate", numbers.len() as u64);
        numbers.into_iter().zip(continued).for_each(|(i, output)| outputs[i] = output);
        Ok(())
    })?;
    Ok(outputs)
}

fn continue_batch(
    model: &dyn Transformer,
    prompts: &[&[u32]],
    eos: &[u32],
    max_new_tokens: usize,
    lora: Option<&LoraWeights>,
    control: &Control,
) -> Result<Vec<Vec<u32>>> {
    let spec = model.spec();
    let limits = Limits { eos, max_new_tokens, longest: spec.max_positions, vocab: spec.vocab_size };
    if let Some(fused) = model.fused() {
        let adapters = fused.adapters(lora)?;
        let mut memory = Memory::new(fused.layers());
        let read = |step: Step<'_>| {
            let tokens = match step {
                // What prompts begin with in common is read once.
                Step::First => Tokens::shared(prompts),
                Step::Next { kept, tokens } => {
                    memory.keep(kept);
                    Tokens::continued(&tokens.chunks(1).collect::<Vec<_>>(), &memory.lengths())
                }
            };
            let rows: Vec<usize> = (0..tokens.ends().len()).map(|row| tokens.last_row(row)).collect();
            let stop = |_: usize, _: &[f32]| control.check();
            let x = fused.run(&tokens, fused.layers(), adapters.as_ref(), Some(&rows), Some(&mut memory), stop)?;
            let scores = fused.scores(&x);
            scratch::give(x);
            Ok(scores)
        };
        return scratch::scope(|| continue_rows(prompts, &limits, read));
    }
    let mut cache = KvCache::new(spec.layers);
    continue_rows(prompts, &limits, |step| {
        control.check()?;
        let batch = match step {
            Step::First => Batch::new(prompts, 0)?,
            Step::Next { kept, tokens } => {
                if kept.len() < cache.rows() {
                    cache.keep_rows(kept)?;
                }
                cache.next_batch(tokens)?
            }
        };
        let pass = model.pass(&batch, Some(&mut cache))?;
        let mut hidden = model.embed(&batch)?;
        for index in 0..spec.layers {
            hidden = model.layer(index, hidden, &pass, lora, Some(&mut cache))?;
        }
        let last = take_tokens(hidden, &batch.last_tokens())?;
        to_vec(model.logits(model.final_norm(last))?)
    })
}

/// When a continuation ends.
struct Limits<'a> {
    eos: &'a [u32],
    max_new_tokens: usize,
    longest: usize,
    vocab: usize,
}

/// What a model reads next.
enum Step<'a> {
    /// The prompts.
    First,
    /// One token for each of the rows that go on, which were so many before.
    Next { kept: &'a [usize], tokens: &'a [u32] },
}

/// Goes on as long as a row does; `read` gives the scores of every id behind each row, `[rows, vocab]`.
fn continue_rows(
    prompts: &[&[u32]],
    limits: &Limits<'_>,
    mut read: impl FnMut(Step<'_>) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<u32>>> {
    let mut outputs = vec![Vec::new(); prompts.len()];
    // The prompt's number of each row that is still going on.
    let mut active: Vec<usize> = (0..prompts.len()).collect();
    let mut scores = read(Step::First)?;
    loop {
        let (mut kept, mut next) = (Vec::with_capacity(active.len()), Vec::with_capacity(active.len()));
        // On the host: the first of equal scores wins on every device, and a score that is not a number is seen.
        for (row, (&i, scores)) in active.iter().zip(scores.chunks_exact(limits.vocab)).enumerate() {
            let token = argmax(scores)?;
            let output: &mut Vec<u32> = &mut outputs[i];
            output.push(token);
            let full = prompts[i].len() + output.len() >= limits.longest;
            if !limits.eos.contains(&token) && output.len() < limits.max_new_tokens && !full {
                kept.push(row);
                next.push(token);
            }
        }
        if kept.is_empty() {
            return Ok(outputs);
        }
        active = kept.iter().map(|&row| active[row]).collect();
        scores = read(Step::Next { kept: &kept, tokens: &next })?;
    }
}

fn argmax(scores: &[f32]) -> Result<u32> {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &score) in scores.iter().enumerate() {
        if score.is_nan() {
            return Err(Error::stage("model", format!("expected scores that are numbers, got NaN for token {id}")));
        }
        if score > best.1 {
            best = (id, score);
        }
    }
    Ok(best.0 as u32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::train::test_model::{POISON, small_model};

    #[test]
    fn the_first_of_equal_scores_wins() {
        assert_eq!(argmax(&[0.0, 2.0, 1.0, 2.0]).unwrap(), 1);
        assert_eq!(argmax(&[-3.0, f32::NEG_INFINITY]).unwrap(), 0);
        assert!(argmax(&[0.0, f32::NAN]).unwrap_err().to_string().contains("token 1"));
    }

    fn run(prompts: &[Vec<u32>], eos: &[u32], max_new_tokens: usize, batch_size: usize) -> Result<Vec<Vec<u32>>> {
        let config = GenerateConfig { max_new_tokens, batch_size, ..GenerateConfig::default() };
        generate(small_model().as_ref(), prompts, eos, &config, None, &Control::default())
    }

    fn prompts() -> Vec<Vec<u32>> {
        [3usize, 1, 9, 3, 5].iter().map(|&n| (0..n as u32).map(|t| (t * 5 + n as u32) % 49).collect()).collect()
    }

    #[test]
    fn a_batch_gives_what_each_prompt_gives_alone() {
        let free = run(&prompts(), &[], 8, 1).unwrap();
        assert!(free.iter().all(|output| output.len() == 8));
        for batch_size in [2, 5] {
            assert_eq!(run(&prompts(), &[], 8, batch_size).unwrap(), free);
        }
        // With a token of the first output as the end, every output stops at its first such token.
        let eos = free[0][3];
        for (output, free) in run(&prompts(), &[eos], 8, 5).unwrap().iter().zip(&free) {
            let length = free.iter().position(|&t| t == eos).map_or(8, |at| at + 1);
            assert_eq!(output, &free[..length]);
        }
    }

    #[test]
    fn generation_ends_where_the_model_does() {
        let lengths: Vec<usize> = run(&prompts(), &[], 100, 3).unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [21, 23, 15, 21, 19]);
        assert_eq!(run(&[vec![1; 23]], &[], 100, 1).unwrap()[0].len(), 1);
    }

    #[test]
    fn bad_prompts_are_numbered() {
        let fails = |prompts: &[Vec<u32>]| run(prompts, &[], 4, 2).unwrap_err().to_string();
        assert!(fails(&[vec![1], vec![]]).contains("prompt 1"));
        assert!(fails(&[vec![1; 24]]).contains("1 to 23 tokens"));
        assert!(fails(&[vec![50]]).contains("id below 50"));
        assert!(fails(&[vec![POISON]]).contains("NaN"));
        assert!(run(&[], &[], 4, 2).unwrap().is_empty());
    }

    #[test]
    fn generation_can_be_stopped() {
        let control = Control::default();
        control.cancel.cancel();
        let config = GenerateConfig::default();
        let result = generate(small_model().as_ref(), &prompts(), &[], &config, None, &control);
        assert!(matches!(result, Err(Error::Cancelled)));
    }
}
