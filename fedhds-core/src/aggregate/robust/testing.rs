//! Small adapters for the tests of robust rules.

use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, AdapterConfig, AdapterTensor, ClientId, Round};

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

/// One tensor that is no factor: a plain vector.
pub(super) fn vector(values: &[f32]) -> Adapter {
    let tensor = AdapterTensor { shape: [1, values.len()], data: values.to_vec() };
    Adapter { tensors: [("x".to_owned(), tensor)].into(), ..Adapter::default() }
}

/// The values of [`vector`].
pub(super) fn values(adapter: &Adapter) -> &[f32] {
    &adapter.tensors["x"].data
}

/// Updates of clients 0, 1, ... of one record each.
pub(super) fn updates(adapters: impl IntoIterator<Item = Adapter>) -> Vec<ClientUpdate> {
    (0..).zip(adapters).map(|(client, adapter)| ClientUpdate::new(ClientId(client), adapter, 1)).collect()
}

/// One round.
pub(super) fn round(aggregator: &mut dyn Aggregator, global: &Adapter, updates: &[ClientUpdate]) -> Aggregated {
    aggregator.begin(global, Round(0)).unwrap();
    updates.iter().for_each(|update| aggregator.add(update).unwrap());
    aggregator.finish().unwrap()
}

/// One round of vectors from zero: what it ends with.
pub(super) fn of_vectors(aggregator: &mut dyn Aggregator, rows: &[&[f32]]) -> Vec<f32> {
    let global = vector(&vec![0.0; rows[0].len()]);
    let aggregated = round(aggregator, &global, &updates(rows.iter().map(|row| vector(row))));
    values(&aggregated.adapter.unwrap()).to_vec()
}

/// The rows of the published fixtures.
pub(super) const ROWS: [&[f32]; 3] = [&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], &[7.0, 8.0, 9.0]];

pub(super) fn near(got: &[f32], expected: &[f32], tolerance: f32) {
    assert!(
        got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance),
        "{got:?}, not {expected:?}"
    );
}
