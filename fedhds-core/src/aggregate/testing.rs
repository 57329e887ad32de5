//! Adapters of small layers, and their products written out.

use super::product::modules;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, AdapterConfig, AdapterTensor, ClientId, Round, Seed};
use faer::Mat;
use rand::RngExt as _;

pub(super) const A: &str = "layers.0.q_proj.lora_A.weight";
pub(super) const B: &str = "layers.0.q_proj.lora_B.weight";

/// A layer of these values: A `[r, n]`, B `[m, r]`, and scale 1.
pub(super) fn layer(r: usize, a: &[f32], b: &[f32]) -> Adapter {
    let config = AdapterConfig { r, lora_alpha: r as f32, target_modules: vec!["q_proj".into()], ..Default::default() };
    let tensors = [
        (A.to_owned(), AdapterTensor { shape: [r, a.len() / r], data: a.to_vec() }),
        (B.to_owned(), AdapterTensor { shape: [b.len() / r, r], data: b.to_vec() }),
    ];
    Adapter { config, tensors: tensors.into() }
}

/// Random layers: one of `m x n` and a turned one, of this rank and alpha.
pub(super) fn random(r: usize, alpha: f32, [m, n]: [usize; 2], seed: u64) -> Adapter {
    let mut rng = Seed(seed).derive("test", 0).rng();
    let mut tensor = |shape: [usize; 2]| {
        let data = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        AdapterTensor { shape, data }
    };
    let tensors = [
        (A.to_owned(), tensor([r, n])),
        (B.to_owned(), tensor([m, r])),
        ("layers.1.q_proj.lora_A.weight".to_owned(), tensor([r, m])),
        ("layers.1.q_proj.lora_B.weight".to_owned(), tensor([n, r])),
    ];
    let config = AdapterConfig { r, lora_alpha: alpha, target_modules: vec!["q_proj".into()], ..Default::default() };
    Adapter { config, tensors: tensors.into() }
}

/// `s B A` of each module.
pub(super) fn products(adapter: &Adapter) -> Vec<Mat<f64>> {
    let scale = f64::from(adapter.config.scaling());
    let dense = |tensor: &AdapterTensor| {
        let [rows, cols] = tensor.shape;
        Mat::from_fn(rows, cols, |i, j| f64::from(tensor.data[i * cols + j]))
    };
    let modules = modules(adapter).unwrap();
    modules.iter().map(|module| module.factors(adapter).unwrap()).map(|(a, b)| dense(b) * dense(a) * scale).collect()
}

/// `W*` of each module.
pub(super) fn target(updates: &[ClientUpdate]) -> Vec<Mat<f64>> {
    let total: usize = updates.iter().map(|update| update.records).sum();
    let mut sum: Option<Vec<Mat<f64>>> = None;
    for update in updates {
        let share = update.records as f64 / total as f64;
        let terms = products(&update.adapter).into_iter().map(|product| product * share);
        sum = Some(match sum {
            None => terms.collect(),
            Some(sum) => sum.into_iter().zip(terms).map(|(sum, term)| sum + term).collect(),
        });
    }
    sum.unwrap()
}

/// The Frobenius norm over all modules.
pub(super) fn norm(products: &[Mat<f64>]) -> f64 {
    products.iter().map(Mat::squared_norm_l2).sum::<f64>().sqrt()
}

/// How far two lists of products lie apart, relative to the larger of the second's norm and 1.
pub(super) fn apart(got: &[Mat<f64>], expected: &[Mat<f64>]) -> f64 {
    let differences: Vec<Mat<f64>> = got.iter().zip(expected).map(|(got, expected)| got - expected).collect();
    norm(&differences) / norm(expected).max(1.0)
}

/// Updates of clients 0, 1, ...
pub(super) fn updates(adapters: impl IntoIterator<Item = (Adapter, usize)>) -> Vec<ClientUpdate> {
    let update = |(client, (adapter, records))| ClientUpdate::new(ClientId(client), adapter, records);
    (0..).zip(adapters).map(update).collect()
}

/// One round.
pub(super) fn round(
    aggregator: &mut dyn Aggregator,
    number: u32,
    global: &Adapter,
    updates: &[ClientUpdate],
) -> Aggregated {
    aggregator.begin(global, Round(number)).unwrap();
    updates.iter().for_each(|update| aggregator.add(update).unwrap());
    aggregator.finish().unwrap()
}
