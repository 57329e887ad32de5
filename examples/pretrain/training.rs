//! One step of pretraining: gradients of the shards of a batch, clipped, and an AdamW update.

use crate::sequences::Row;
use fedhds_core::model::tensor::{Tensor, lifted, like, plain, to_vec};
use fedhds_core::model::{Batch, Transformer, Weight, hidden_states};
use fedhds_core::train::Adam;
use fedhds_core::train::gradients::{clip_factor, global_norm};
use fedhds_core::train::loss::{LossRows, token_losses};
use fedhds_core::{Error, Result};
use std::collections::BTreeMap;

/// Decoupled decay of every weight.
const DECAY: f64 = 0.1;

/// Linear warm-up, the peak, then a cosine down to a twentieth of the peak over the last 40% of the steps.
///
/// A constant part in place of a cosine over all steps lets a run be made shorter or longer while it runs (Hu et al. 2024,
/// arXiv 2404.06395).
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
}

impl Schedule {
    /// The learning rate of step `step`, from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let falls = self.steps * 3 / 5;
        let part = step.saturating_sub(falls) as f64 / self.steps.saturating_sub(falls).max(1) as f64;
        let lowest = 0.05;
        self.peak * (lowest + (1.0 - lowest) * 0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos()))
    }
}

/// The tokens of rows of equal length, and the weight of each but the first of a row.
fn batch(rows: &[Row], pad: u32) -> Result<(Batch, Vec<f32>)> {
    let ids: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
    let weights = rows.iter().flat_map(|row| row.weights.iter().skip(1).copied()).collect();
    Ok((Batch::new(&ids, pad)?, weights))
}

/// Mean loss in nats, without gradients: on every token, and on those of answers.
///
/// # Errors
/// As of [`Transformer::pass`].
pub fn loss(model: &dyn Transformer, rows: &[Row], pad: u32) -> Result<(f64, f64)> {
    let (mut all, mut answers) = ((0.0, 0), (0.0, 0));
    for rows in rows.chunks(8) {
        let (batch, weights) = batch(rows, pad)?;
        let losses = to_vec(token_losses(model, hidden_states(model, &batch, None)?, &LossRows::all(&batch)?)?)?;
        for (loss, weight) in losses.into_iter().map(f64::from).zip(weights) {
            all = (all.0 + loss, all.1 + 1);
            if weight == 1.0 {
                answers = (answers.0 + loss, answers.1 + 1);
            }
        }
    }
    let mean = |(sum, count): (f64, usize)| sum / count.max(1) as f64;
    Ok((mean(all), mean(answers)))
}

/// The weighted mean loss of a shard and its gradient by weight, flattened.
fn gradients(model: &dyn Transformer, rows: &[Row], pad: u32) -> Result<(f64, BTreeMap<String, Tensor<1>>)> {
    let mut leaves: BTreeMap<String, Weight> = BTreeMap::new();
    let model = model.map_weights(&mut |name, weight| {
        let leaf = weight.map(|m| lifted(plain(m)).require_grad(), |v| lifted(plain(v)).require_grad());
        leaves.insert(name.to_owned(), leaf.clone());
        leaf
    })?;
    let (batch, weights) = batch(rows, pad)?;
    let losses = token_losses(&*model, hidden_states(&*model, &batch, None)?, &LossRows::all(&batch)?)?;
    let (count, total) = (weights.len(), weights.iter().copied().map(f64::from).sum::<f64>());
    let weights = like(model.device().tensor(weights, [count])?, &losses);
    let loss = (losses * weights).sum_dim(0).div_scalar(total);
    let mut gradients = loss.backward();
    let value = to_vec(plain(loss))?.first().copied().map_or(f64::NAN, f64::from);
    let mut flat = BTreeMap::new();
    for (name, leaf) in leaves {
        let gradient: Option<Tensor<1>> = match leaf {
            Weight::Matrix(leaf) => {
                let [a, b] = leaf.dims();
                leaf.grad_remove(&mut gradients).map(|g| plain(g).reshape([a * b]))
            }
            Weight::Vector(leaf) => leaf.grad_remove(&mut gradients).map(plain),
        };
        let gradient =
            gradient.ok_or_else(|| Error::stage("pretraining", format!("weight `{name}` has no gradient")))?;
        flat.insert(name, gradient);
    }
    Ok((value, flat))
}

/// What a step did.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Weighted mean loss of the batch before the update, in nats.
    pub loss: f64,
    /// Norm of the gradients before clipping; the update was skipped where it is not finite.
    pub norm: f64,
}

/// One step on a batch, whose rows are dealt to `shards` threads; the result does not depend on the number of cores.
///
/// # Errors
/// As of [`Transformer::pass`]; [`Error::Stage`] where a weight has no gradient or a thread ends early.
pub fn step(
    model: &dyn Transformer,
    adam: &mut Adam,
    rows: &[Row],
    pad: u32,
    shards: usize,
    clip: f64,
) -> Result<(Box<dyn Transformer>, Step)> {
    let shard = rows.len().div_ceil(shards.max(1)).max(1);
    let parts: Vec<Result<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = rows.chunks(shard).map(|rows| scope.spawn(move || gradients(model, rows, pad))).collect();
        let ended = || Err(Error::stage("pretraining", "a thread ended early"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| ended())).collect()
    });
    let (mut loss, mut total): (f64, BTreeMap<String, Tensor<1>>) = (0.0, BTreeMap::new());
    for (part, rows_of_part) in parts.into_iter().zip(rows.chunks(shard)) {
        let (value, gradients) = part?;
        let share = rows_of_part.len() as f64 / rows.len() as f64;
        loss += share * value;
        for (name, gradient) in gradients {
            let gradient = gradient.mul_scalar(share);
            let sum = match total.remove(&name) {
                Some(sum) => sum + gradient,
                None => gradient,
            };
            total.insert(name, sum);
        }
    }
    let norm = global_norm(total.values().cloned())?;
    if !norm.is_finite() {
        return Ok((model.map_weights(&mut |_, weight| weight)?, Step { loss, norm }));
    }
    let factor = clip_factor(norm, clip)?;
    let mut failed = None;
    let updated = model.map_weights(&mut |name, weight| {
        let Some(gradient) = total.remove(name) else { return weight };
        let gradient = gradient.mul_scalar(factor);
        let result = match weight.clone() {
            Weight::Matrix(w) => {
                let shape = w.dims();
                adam.update_decayed(name, w, gradient.reshape(shape), DECAY).map(Weight::Matrix)
            }
            Weight::Vector(w) => adam.update_decayed(name, w, gradient, DECAY).map(Weight::Vector),
        };
        result.unwrap_or_else(|e| {
            failed.get_or_insert(e);
            weight
        })
    })?;
    failed.map_or(Ok((updated, Step { loss, norm })), Err)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use fedhds_core::model::{Device, InMemoryWeights, LlamaConfig, ModelConfig};
    use fedhds_core::train::AdamConfig;
    use fedhds_core::types::Seed;

    #[test]
    fn the_schedule_rises_and_falls() {
        let schedule = Schedule { peak: 1.0, warmup: 10, steps: 100 };
        assert!((schedule.rate(0) - 0.1).abs() < 1e-12 && (schedule.rate(9) - 1.0).abs() < 1e-12);
        assert!((schedule.rate(60) - 1.0).abs() < 1e-9 && (schedule.rate(80) - 0.525).abs() < 1e-9);
        assert!((schedule.rate(100) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn steps_lower_the_loss_and_shards_do_not_matter() {
        let config = ModelConfig::Llama(LlamaConfig::new(32, 16, 2, 2));
        let weights = InMemoryWeights::random(&config, Seed(1)).unwrap();
        let row = |r: u32| Row { ids: (0..12).map(|i| (i * 3 + r) % 32).collect(), weights: vec![1.0; 12] };
        let rows: Vec<Row> = (0..4).map(row).collect();
        let run = |shards: usize| {
            let mut model = config.build(&weights, &Device::cpu()).unwrap();
            let mut adam = Adam::new(AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() }).unwrap();
            let mut losses = Vec::new();
            for _ in 0..12 {
                let (next, done) = step(&*model, &mut adam, &rows, 0, shards, 1.0).unwrap();
                model = next;
                losses.push(done.loss);
            }
            losses
        };
        let (one, two) = (run(1), run(2));
        assert!(one[11] < 0.7 * one[0], "{one:?}");
        assert!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() < 1e-3), "{one:?} {two:?}");
    }
}
