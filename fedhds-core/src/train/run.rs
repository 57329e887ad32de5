//! The loop of local training: batches in seeded order, steps of Adam, steps that must not be taken left out.

use super::adam::{Adam, AdamConfig};
use super::config::TrainConfig;
use super::example::Example;
use super::gradients::{clip_factor, global_norm};
use super::init::check_config;
use super::loss::LossRows;
use super::step::{AdapterGradients, backward};
use crate::error::{Error, Result};
use crate::model::{Batch, LoraWeights, Transformer};
use crate::stage::Trained;
use crate::types::{Adapter, Context};
use rand::seq::SliceRandom as _;

/// Trains an adapter on examples: the mean cross entropy on response tokens, the prompt masked, with a fresh Adam.
///
/// The order of the examples in each epoch and the dropout masks come from the context's seed. A step whose loss or gradient
/// is not finite is reported, counted and not taken. Nothing but the adapter and Adam's moments lives from step to step.
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
    check_config(&adapter.config)?;
    check_examples(model, examples, config)?;
    let lora = LoraWeights::from_adapter(adapter, model.spec(), &model.device())?;
    let adam = Adam::new(AdamConfig { learning_rate: config.learning_rate, ..AdamConfig::default() })?;
    let mut run = Run { model, config, context, lora, adam, losses: Vec::new(), skipped: 0, tokens: 0, batches: 0 };
    context.control.begin("train", Some(config.steps(examples.len()) as u64));
    let result = run.epochs(examples, adapter.config.lora_dropout);
    context.control.end("train");
    result?;
    Ok(Trained {
        adapter: run.lora.to_adapter(&adapter.config)?,
        losses: run.losses,
        skipped: run.skipped,
        tokens: run.tokens,
    })
}

fn check_examples(model: &dyn Transformer, examples: &[Example], config: &TrainConfig) -> Result<()> {
    if examples.is_empty() {
        return Err(Error::input("training records", "at least one", 0));
    }
    let most = config.max_tokens.min(model.spec().max_positions);
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
struct Run<'a> {
    model: &'a dyn Transformer,
    config: &'a TrainConfig,
    context: &'a Context,
    lora: LoraWeights,
    adam: Adam,
    losses: Vec<f32>,
    skipped: usize,
    tokens: u64,
    /// Batches so far: what dropout masks are drawn by.
    batches: u64,
}

impl Run<'_> {
    fn epochs(&mut self, examples: &[Example], dropout: f32) -> Result<()> {
        let total = self.config.steps(examples.len());
        let mut order: Vec<usize> = (0..examples.len()).collect();
        let per_step = self.config.batch_size.saturating_mul(self.config.gradient_accumulation_steps);
        for epoch in 0..self.config.local_epochs {
            order.sort_unstable();
            order.shuffle(&mut self.context.seed.derive("order", epoch as u64).rng());
            for numbers in order.chunks(per_step) {
                if self.losses.len() + self.skipped == total {
                    return Ok(());
                }
                let chosen: Vec<&Example> = numbers.iter().filter_map(|&i| examples.get(i)).collect();
                self.step(&chosen, dropout)?;
                self.context.control.advance("train", 1);
            }
        }
        Ok(())
    }

    /// One optimiser step on these examples, as many batches as it takes.
    fn step(&mut self, examples: &[&Example], dropout: f32) -> Result<()> {
        let batches = examples.chunks(self.config.batch_size).map(prepare).collect::<Result<Vec<_>>>()?;
        let tokens: usize = batches.iter().map(|(_, rows)| rows.count()).sum();
        let mut loss = 0.0;
        let mut gradients = Some(AdapterGradients::new());
        for (batch, rows) in &batches {
            self.context.control.check()?;
            let seed = self.context.seed.derive("dropout", self.batches);
            self.batches += 1;
            self.tokens += batch.lengths().iter().sum::<usize>() as u64;
            let lora = self.lora.clone().with_dropout(dropout, seed);
            let checkpointing = self.config.gradient_checkpointing;
            let pass = backward(self.model, &lora, batch, rows, 1.0 / tokens as f64, checkpointing)?;
            loss += pass.loss;
            gradients = match (gradients, pass.gradients) {
                (Some(sum), Some(new)) => Some(add(sum, new)),
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
        self.lora = self.lora.map(|name, tensor| {
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

fn prepare(examples: &[&Example]) -> Result<(Batch, LossRows)> {
    let ids: Vec<&[u32]> = examples.iter().map(|example| example.ids.as_slice()).collect();
    let starts: Vec<usize> = examples.iter().map(|example| example.response_start).collect();
    let batch = Batch::new(&ids, 0)?;
    let rows = LossRows::from_starts(&batch, &starts)?;
    Ok((batch, rows))
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
