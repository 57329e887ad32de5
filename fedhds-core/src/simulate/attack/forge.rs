//! What a hostile client sends in the place of its update.

use super::normal::quantile;
use super::{AttackConfig, AttackKind};
use crate::types::{Adapter, AdapterTensor, Seed};
use rand_distr::{Distribution, StandardNormal};

/// What the attackers of a round know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    /// The round's global adapter.
    pub(super) global: &'a Adapter,
    /// The honest clients' updates, in the order of their ids.
    pub(super) honest: &'a [&'a Adapter],
    /// What the hostile clients trained, likewise; at least one.
    pub(super) hostile: &'a [&'a Adapter],
}

/// The adapter that a client sends which trained `own`. `first` is what it sent the first time, where it did; `seed` is of round and client.
/// What needs honest updates takes the hostile ones' where nobody is honest.
pub(super) fn forge(
    attack: &AttackConfig,
    scene: &Scene<'_>,
    own: &Adapter,
    first: Option<&Adapter>,
    seed: Seed,
) -> Adapter {
    let known = if scene.honest.is_empty() { scene.hostile } else { scene.honest };
    match attack.kind {
        AttackKind::SignFlip => along(scene.global, own, -attack.factor.unwrap_or(1.0)),
        AttackKind::Ipm => {
            let tau = attack.tau.unwrap_or(2.0);
            by_value(scene.global, own, known, |from, values| from - tau * (mean(values) - from))
        }
        AttackKind::Alie => {
            let z = attack.z.unwrap_or_else(|| hidden(scene.honest.len(), scene.hostile.len()));
            by_value(scene.global, own, known, |_, values| mean(values) - z * deviation(values))
        }
        AttackKind::Gaussian => {
            let (std, mut rng) = (attack.std.unwrap_or(1.0), seed.rng());
            by_value(scene.global, own, &[], |from, _| {
                let normal: f64 = StandardNormal.sample(&mut rng);
                from + std * normal
            })
        }
        AttackKind::Scale => along(scene.global, own, attack.factor.unwrap_or(1e3)),
        AttackKind::Gauge => regauged(own, attack.factor.unwrap_or(1e3)),
        AttackKind::Mimic => known.first().map_or_else(|| own.clone(), |adapter| (*adapter).clone()),
        AttackKind::Zero => filled(own, 0.0),
        AttackKind::Nan => filled(own, f32::NAN),
        AttackKind::Infinity => filled(own, f32::INFINITY),
        AttackKind::Huge => filled(own, 1e38),
        AttackKind::Replay => first.unwrap_or(own).clone(),
        AttackKind::Collude => {
            let first = scene.hostile.first().copied().unwrap_or(own);
            along(scene.global, first, -attack.factor.unwrap_or(1.0))
        }
        // What is wrong is what they train on, or what they say beside the adapter.
        AttackKind::LabelFlip | AttackKind::Stale | AttackKind::HugeCount => own.clone(),
    }
}

/// How many standard deviations hide among `honest` and `hostile` clients (Baruch et al. 2019, algorithm 3, step 2), at least 0.
pub(super) fn hidden(honest: usize, hostile: usize) -> f64 {
    let n = honest + hostile;
    let supporters = (n / 2 + 1).saturating_sub(hostile);
    let covered = honest.saturating_sub(supporters) as f64 / honest.max(1) as f64;
    quantile(covered).max(0.0)
}

/// `g + factor (x - g)`.
fn along(global: &Adapter, own: &Adapter, factor: f64) -> Adapter {
    let mut adapter = own.clone();
    for (name, tensor) in &mut adapter.tensors {
        let from = global.tensors.get(name).map(|tensor| &tensor.data[..]).unwrap_or_default();
        for (at, value) in tensor.data.iter_mut().enumerate() {
            let from = from.get(at).copied().map_or(0.0, f64::from);
            *value = sent(from + factor * (f64::from(*value) - from));
        }
    }
    adapter
}

/// A value of f64 as it is sent: at most the end of the range of f32, since what is not finite is another attack.
fn sent(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// An adapter like `own`, each value made of the global one and of the known updates'.
fn by_value(global: &Adapter, own: &Adapter, known: &[&Adapter], mut make: impl FnMut(f64, &[f64]) -> f64) -> Adapter {
    let mut adapter = own.clone();
    let mut values = Vec::with_capacity(known.len());
    for (name, tensor) in &mut adapter.tensors {
        let value = |tensor: Option<&AdapterTensor>, at: usize| tensor.and_then(|t| t.data.get(at)).copied();
        let from = global.tensors.get(name);
        for (at, out) in tensor.data.iter_mut().enumerate() {
            values.clear();
            let of = known.iter().filter_map(|adapter| value(adapter.tensors.get(name), at));
            values.extend(of.map(f64::from));
            *out = sent(make(value(from, at).map_or(0.0, f64::from), &values));
        }
    }
    adapter
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation of a sample; 0 of fewer than two.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let middle = mean(values);
    (values.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// `(factor B, A / factor)`, told apart by name; a tensor that is neither stays.
fn regauged(own: &Adapter, factor: f64) -> Adapter {
    let mut adapter = own.clone();
    for (name, tensor) in &mut adapter.tensors {
        let by = match name.split('.').find(|part| ["lora_A", "lora_B"].contains(part)) {
            Some("lora_A") => 1.0 / factor,
            Some(_) => factor,
            None => continue,
        };
        tensor.data.iter_mut().for_each(|value| *value = sent(f64::from(*value) * by));
    }
    adapter
}

fn filled(own: &Adapter, value: f32) -> Adapter {
    let mut adapter = own.clone();
    adapter.tensors.values_mut().for_each(|tensor| tensor.data.fill(value));
    adapter
}
