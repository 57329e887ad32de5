//! The loop of local training: batches in seeded order, steps of Adam, steps that must not be taken left out.

use super::adam::{Adam, AdamConfig};
use super::gradients::{clip_factor, global_norm};
use super::loss::LossRows;
use super::step::{AdapterGradients, Step, Trainable};
use crate::error::{Error, Result};
use crate::model::soft_prompt::placed;
use crate::model::{Example, LoraWeights, SoftPrompt, Transformer};
use crate::settings::TrainConfig;
use crate::stage::Trained;
use crate::types::seed::first_eight;
use crate::types::{Adapter, AdapterKind, Context};
use fedhds_kernels::scratch;

/// Trains an adapter on examples: the mean cross entropy on response tokens, the prompt masked, with a fresh Adam.
///
/// The order of the examples in each epoch and the dropout masks come from the context's seed and each example's own tokens, so that two
/// trainings of one seed that share examples take these in the same order under the same masks. A step whose loss or gradient
/// is not finite is reported, counted and not taken. Nothing but the adapter and Adam's moments lives from step to step.
///
/// Where the context says that one factor is trained, the other gets no step, has no part in the norm that is clipped, and stays as it is to the bit.
///
/// # Errors
/// Before any work: [`Error::Parameter`] for a setting out of range, [`Error::Input`] without examples or for one (numbered)
/// that is too long or has no response, [`Error::Adapter`] for an adapter that does not fit the model. Then
/// [`Error::Cancelled`].
pub fn train_adapter(
    model: &dyn Transformer,
    adapter: &Adapter,
    examples: &[Example],
    config: &TrainConfig,
    context: &Context,
) -> Result<Trained> {
    config.check()?;
    adapter.config.check()?;
    if adapter.config.kind() == AdapterKind::LowRank {
        check_examples(model, examples, config.max_tokens)?;
        let lora = LoraWeights::from_adapter(adapter, model.spec(), &model.device())?;
        return run(lora, model, adapter, examples, config, context);
    }
    let prompt = SoftPrompt::from_adapter(adapter, model.spec(), &model.device())?;
    let vectors = adapter.config.r;
    let behind = |example: &Example| Example {
        ids: placed(&example.ids, vectors),
        response_start: example.response_start + vectors,
    };
    let examples: Vec<Example> = examples.iter().map(behind).collect();
    check_examples(model, &examples, config.max_tokens.saturating_add(vectors))?;
    run(prompt, model, adapter, &examples, config, context)
}

fn run<T: Trainable>(
    tensors: T,
    model: &dyn Transformer,
    adapter: &Adapter,
    examples: &[Example],
    config: &TrainConfig,
    context: &Context,
) -> Result<Trained> {
    let adam = Adam::new(AdamConfig { learning_rate: config.learning_rate, ..AdamConfig::default() })?;
    let mut run = Run { model, config, context, tensors, adam, losses: Vec::new(), skipped: 0, tokens: 0 };
    context.control.begin("train", Some(config.steps(examples.len()) as u64));
    let result = scratch::scope(|| run.epochs(examples, adapter.config.lora_dropout));
    context.control.end("train");
    result?;
    tracing::debug!(
        steps = run.losses.len(),
        skipped = run.skipped,
        tokens = run.tokens,
        loss = run.losses.last(),
        "an adapter is trained"
    );
    let mut trained = run.tensors.values(&adapter.config)?;
    // Whatever a device makes of numbers that it is only shown.
    context.factors.restore(adapter, &mut trained);
    Ok(Trained { adapter: trained, losses: run.losses, skipped: run.skipped, tokens: run.tokens })
}

fn check_examples(model: &dyn Transformer, examples: &[Example], max_tokens: usize) -> Result<()> {
    if examples.is_empty() {
        return Err(Error::input("training records", "at least one", 0));
    }
    let most = max_tokens.min(model.spec().max_positions);
    for (i, example) in examples.iter().enumerate() {
        let length = example.ids.len();
        if length > most {
            return Err(Error::input(
                &format!("training record {i}"),
                format!("at most {most} tokens with its response"),
                length,
            ));
        }
        if example.response_start.max(1) >= length {
            return Err(Error::input(
                &format!("training record {i}"),
                "at least one token of prompt and one of response",
                format!("{length} tokens, the response from token {}", example.response_start),
            ));
        }
    }
    Ok(())
}

/// The state of one training.
struct Run<'a, T> {
    model: &'a dyn Transformer,
    config: &'a TrainConfig,
    context: &'a Context,
    tensors: T,
    adam: Adam,
    losses: Vec<f32>,
    skipped: usize,
    tokens: u64,
}

impl<T: Trainable> Run<'_, T> {
    fn epochs(&mut self, examples: &[Example], dropout: f32) -> Result<()> {
        let total = self.config.steps(examples.len());
        let contents: Vec<u64> = examples.iter().map(content).collect();
        let mut order: Vec<usize> = (0..examples.len()).collect();
        let per_step = self.config.batch_size.saturating_mul(self.config.gradient_accumulation_steps);
        for epoch in 0..self.config.local_epochs {
            let seed = self.context.seed.derive("order", epoch as u64);
            order.sort_by_cached_key(|&i| (seed.derive("example", contents[i]).0, i));
            for numbers in order.chunks(per_step) {
                if self.losses.len() + self.skipped == total {
                    return Ok(());
                }
                let chosen: Vec<(&Example, u64)> = numbers.iter().map(|&i| (&examples[i], contents[i])).collect();
                self.step(&chosen, epoch, dropout)?;
                self.context.control.advance("train", 1);
            }
        }
        Ok(())
    }

    /// One optimiser step on these examples, as many batches as it takes.
    fn step(&mut self, examples: &[(&Example, u64)], epoch: usize, dropout: f32) -> Result<()> {
        let read = |chunk: &[(&Example, u64)]| {
            let seed = self.context.seed.derive("dropout", epoch as u64);
            let seed = chunk.iter().fold(seed, |seed, (_, content)| seed.derive("example", *content));
            let chosen: Vec<&Example> = chunk.iter().map(|(example, _)| *example).collect();
            LossRows::of_examples(&chosen).map(|(batch, rows)| (batch, rows, seed))
        };
        let batches = examples.chunks(self.config.batch_size).map(read).collect::<Result<Vec<_>>>()?;
        let tokens: usize = batches.iter().map(|(_, rows, _)| rows.count()).sum();
        let mut loss = 0.0;
        let mut gradients = Some(AdapterGradients::new());
        for (batch, rows, seed) in &batches {
            self.context.control.check()?;
            self.tokens += batch.lengths().iter().sum::<usize>() as u64;
            let checkpointing = self.config.gradient_checkpointing;
            let step = Step { scale: 1.0 / tokens as f64, checkpointing, dropout, seed: *seed };
            let pass = self.tensors.pass(self.model, batch, rows, step)?;
            loss += pass.loss;
            gradients = match (gradients, pass.gradients) {
                (Some(sum), Some(mut new)) => {
                    new.retain(|name, _| self.context.factors.trains(name));
                    Some(add(sum, new))
                }
                _ => None,
            };
        }
        let norm = match &gradients {
            None => f64::NAN,
            Some(gradients) => {
                global_norm(gradients.values().map(|g| g.clone().reshape([g.dims().iter().product::<usize>()])))?
            }
        };
        match gradients.filter(|_| loss.is_finite() && norm.is_finite()) {
            None => {
                let step = self.losses.len() + self.skipped;
                tracing::warn!(step, loss, gradient_norm = norm, "a step that is not finite is not taken");
                self.skipped += 1;
            }
            Some(gradients) => {
                self.update(gradients, norm)?;
                self.losses.push(loss as f32);
            }
        }
        Ok(())
    }

    fn update(&mut self, gradients: AdapterGradients, norm: f64) -> Result<()> {
        let factor = match self.config.max_grad_norm {
            None => 1.0,
            Some(most) => clip_factor(norm, most)?,
        };
        let mut failed = None;
        let adam = &mut self.adam;
        let mut gradients = gradients;
        self.tensors = self.tensors.replaced(|name, tensor| {
            let Some(gradient) = gradients.remove(name) else { return tensor };
            let gradient = if factor < 1.0 { gradient.mul_scalar(factor) } else { gradient };
            adam.update(name, tensor.clone(), gradient).unwrap_or_else(|error| {
                failed = Some(error);
                tensor
            })
        });
        failed.map_or(Ok(()), Err)
    }
}

/// What tells an example from others: BLAKE3 of its tokens and of where its response begins.
fn content(example: &Example) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(example.response_start as u64).to_le_bytes());
    example.ids.iter().for_each(|id| {
        hasher.update(&id.to_le_bytes());
    });
    first_eight(&hasher)
}

/// The sum by name; a name of one side alone is kept.
fn add(mut sum: AdapterGradients, new: AdapterGradients) -> AdapterGradients {
    for (name, gradient) in new {
        let total = match sum.remove(&name) {
            None => gradient,
            Some(before) => before + gradient,
        };
        sum.insert(name, total);
    }
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::init::init_adapter;
    use super::super::test_model::{POISON, examples, small_model};
    use super::*;
    use crate::types::{AdapterConfig, Control, Factors, Progress, Seed};
    use std::sync::{Arc, Mutex};

    fn adapter(dropout: f32) -> Adapter {
        let config = AdapterConfig { r: 4, lora_dropout: dropout, ..AdapterConfig::default() };
        init_adapter(&config, small_model().spec(), Seed(2)).unwrap()
    }

    fn train(adapter: &Adapter, examples: &[Example], config: &TrainConfig, seed: u64) -> Trained {
        train_adapter(small_model().as_ref(), adapter, examples, config, &Context::new(seed)).unwrap()
    }

    fn fast() -> TrainConfig {
        TrainConfig { learning_rate: 0.01, ..TrainConfig::default() }
    }

    #[test]
    fn the_loss_falls() {
        let config = TrainConfig { local_epochs: 12, ..fast() };
        let trained = train(&adapter(0.05), &examples(4), &config, 1);
        assert_eq!((trained.losses.len(), trained.skipped), (48, 0));
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        assert!(mean(&trained.losses[44..]) < 0.7 * mean(&trained.losses[..4]), "{:?}", trained.losses);
        assert!(trained.adapter.tensors.values().all(|t| t.data.iter().any(|&v| v != 0.0)));
    }

    #[test]
    fn the_seed_decides_order_and_dropout() {
        let (start, few) = (adapter(0.2), examples(5));
        assert_eq!(train(&start, &few, &fast(), 1), train(&start, &few, &fast(), 1));
        assert_ne!(train(&start, &few, &fast(), 1).losses, train(&start, &few, &fast(), 2).losses);
        // Without an order to choose, the masks alone differ.
        let one = examples(1);
        assert_ne!(train(&start, &one, &fast(), 1).adapter, train(&start, &one, &fast(), 2).adapter);
        let start = adapter(0.0);
        assert_eq!(train(&start, &one, &fast(), 1).adapter, train(&start, &one, &fast(), 2).adapter);
    }

    #[test]
    fn a_layer_computed_again_draws_the_same_mask() {
        let start = adapter(0.3);
        let plain = train(&start, &examples(4), &fast(), 1);
        let recomputed = train(&start, &examples(4), &TrainConfig { gradient_checkpointing: true, ..fast() }, 1);
        assert_eq!(plain.losses.len(), recomputed.losses.len());
        for (name, tensor) in &plain.adapter.tensors {
            for (a, b) in tensor.data.iter().zip(&recomputed.adapter.tensors[name].data) {
                assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn a_step_that_is_not_finite_is_not_taken() {
        let mut bad = examples(1);
        bad[0].ids[1] = POISON;
        for checkpointing in [false, true] {
            let config = TrainConfig { gradient_checkpointing: checkpointing, ..fast() };
            let trained = train(&adapter(0.0), &bad, &config, 1);
            assert_eq!(trained.adapter, adapter(0.0));
            assert_eq!((trained.losses.len(), trained.skipped), (0, 1));
            let mixed = [examples(3), bad.clone()].concat();
            let trained = train(&adapter(0.0), &mixed, &config, 1);
            assert_eq!((trained.losses.len(), trained.skipped), (3, 1));
            assert!(trained.adapter.tensors.values().all(|t| t.data.iter().all(|v| v.is_finite())));
            assert_ne!(trained.adapter, adapter(0.0));
            // One bad batch spoils its step.
            let config = TrainConfig { gradient_accumulation_steps: 4, ..config };
            assert_eq!(train(&adapter(0.0), &mixed, &config, 1).skipped, 1);
        }
    }

    #[test]
    fn a_frozen_factor_stays_to_the_bit_and_the_other_learns() {
        let config = TrainConfig { local_epochs: 4, ..fast() };
        let both = train(&adapter(0.05), &examples(3), &config, 1).adapter;
        for checkpointing in [false, true] {
            let config =
                TrainConfig { gradient_checkpointing: checkpointing, max_grad_norm: Some(0.5), ..config.clone() };
            // B first: as long as it is zero, A has no gradient.
            let mut start = adapter(0.05);
            for factors in [Factors::B, Factors::A] {
                let context = Context::new(1).training(factors);
                let after =
                    train_adapter(small_model().as_ref(), &start, &examples(3), &config, &context).unwrap().adapter;
                factors.check_frozen(&start, &after).unwrap();
                for (name, tensor) in after.tensors.iter().filter(|(name, _)| factors.trains(name)) {
                    assert_ne!(tensor, &start.tensors[name], "{name}");
                }
                assert_ne!(after, both);
                start = after;
            }
        }
    }

    #[test]
    fn steps_and_tokens_are_counted() {
        let config = TrainConfig { batch_size: 2, gradient_accumulation_steps: 2, local_epochs: 2, ..fast() };
        let trained = train(&adapter(0.0), &examples(5), &config, 1);
        assert_eq!(trained.losses.len(), 4);
        assert_eq!(trained.tokens, 2 * examples(5).iter().map(|e| e.ids.len() as u64).sum::<u64>());
        let trained = train(&adapter(0.0), &examples(5), &TrainConfig { max_steps: Some(3), ..config }, 1);
        assert_eq!(trained.losses.len(), 3);
    }

    #[test]
    fn bad_input_is_refused_before_any_work() {
        let model = small_model();
        let fails = |adapter: &Adapter, examples: &[Example], config: &TrainConfig| {
            train_adapter(model.as_ref(), adapter, examples, config, &Context::new(1)).unwrap_err().to_string()
        };
        let (start, good) = (adapter(0.0), examples(2));
        assert!(fails(&start, &[], &fast()).contains("at least one"));
        assert!(fails(&start, &good, &TrainConfig { batch_size: 0, ..fast() }).contains("batch_size"));
        let message = fails(&start, &good, &TrainConfig { max_tokens: 6, ..fast() });
        assert!(message.contains("training record 1") && message.contains("at most 6"), "{message}");
        let long = Example { ids: vec![1; 25], response_start: 2 };
        assert!(fails(&start, &[long], &fast()).contains("at most 24"));
        let mute = Example { ids: vec![1, 2], response_start: 2 };
        assert!(fails(&start, &[mute], &fast()).contains("response"));
        let mut other = start.clone();
        other.tensors.pop_last();
        assert!(fails(&other, &good, &fast()).contains("lora_"));
    }

    #[test]
    fn work_is_reported_and_can_be_stopped() {
        #[derive(Default)]
        struct Heard(Mutex<Vec<String>>);
        impl Progress for Heard {
            fn begin(&self, stage: &str, total: Option<u64>) {
                self.0.lock().unwrap().push(format!("begin {stage} {}", total.unwrap()));
            }
            fn advance(&self, stage: &str, units: u64) {
                self.0.lock().unwrap().push(format!("{stage} {units}"));
            }
            fn end(&self, stage: &str) {
                self.0.lock().unwrap().push(format!("end {stage}"));
            }
        }
        let heard = Arc::new(Heard::default());
        let control = Control { progress: Some(heard.clone()), ..Control::default() };
        let context = Context { control, ..Context::new(1) };
        let model = small_model();
        train_adapter(model.as_ref(), &adapter(0.0), &examples(2), &fast(), &context).unwrap();
        assert_eq!(*heard.0.lock().unwrap(), ["begin train 2", "train 1", "train 1", "end train"]);
        context.control.cancel.cancel();
        let result = train_adapter(model.as_ref(), &adapter(0.0), &examples(2), &fast(), &context);
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(heard.0.lock().unwrap().last().unwrap(), "end train");
    }
}
