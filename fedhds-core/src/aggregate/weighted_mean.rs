//! FedAvg over adapters: the mean of the clients' tensors, weighted by records.

use crate::error::{Error, Result};
use crate::stage::{Aggregator, ClientUpdate};
use crate::types::{Adapter, AdapterConfig, AdapterTensor, ClientId};
use std::collections::BTreeMap;

/// The weighted mean of the clients' adapters (McMahan et al. 2017; FedHDS eq. 12):
/// `w = sum_i n_i * w_i / sum_i n_i`, where `n_i` is the number of records that client i trained on.
///
/// Streaming: one running sum in f64 is kept, whatever the number of clients. A client that trained on no record has no
/// weight; a round in which no client has any ends with `None`, and the global adapter stays as it was.
///
/// A and B are averaged separately, as the paper does; the mean of the products B*A is another aggregator's business.
#[derive(Debug, Clone, Default)]
pub struct WeightedMean {
    state: Option<State>,
}

/// The running sum of a round that has begun.
#[derive(Debug, Clone)]
struct State {
    config: AdapterConfig,
    first: ClientId,
    last: ClientId,
    records: u64,
    sums: BTreeMap<String, Sum>,
}

/// `sum_i n_i * w_i` of one tensor.
#[derive(Debug, Clone)]
struct Sum {
    shape: [usize; 2],
    values: Vec<f64>,
}

impl WeightedMean {
    /// An aggregator without updates.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Aggregator for WeightedMean {
    /// # Errors
    /// [`Error::Input`] when the update's client does not come after the one before it; [`Error::Adapter`] that names the
    /// setting or tensor which differs from the first update's, or the client and tensor that hold a value that is not
    /// finite. After an error the sum is as it was before the update.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        check_values(update)?;
        match &mut self.state {
            None => self.state = Some(State::begin(update)),
            Some(state) => {
                state.check(update)?;
                state.add(update);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Adapter>> {
        Ok(self.state.take().filter(|state| state.records > 0).map(State::mean))
    }
}

impl State {
    fn begin(update: &ClientUpdate) -> Self {
        let sums = (update.adapter.tensors.iter())
            .map(|(name, tensor)| (name.clone(), Sum { shape: tensor.shape, values: vec![0.0; tensor.data.len()] }))
            .collect();
        let mut state =
            Self { config: update.adapter.config.clone(), first: update.client, last: update.client, records: 0, sums };
        state.add(update);
        state
    }

    /// Whether the update fits the ones before it.
    fn check(&self, update: &ClientUpdate) -> Result<()> {
        let (client, first) = (update.client, self.first);
        if client <= self.last {
            return Err(Error::input(
                "order of client updates",
                format!("a client after client {}", self.last),
                format!("client {client}"),
            ));
        }
        check_config(&self.config, &update.adapter.config, first, client)?;
        for (name, sum) in &self.sums {
            match update.adapter.tensors.get(name) {
                None => {
                    return Err(Error::adapter(
                        name,
                        format!("a tensor of shape {:?}, as client {first} sent it", sum.shape),
                        format!("no such tensor from client {client}"),
                    ));
                }
                Some(tensor) if tensor.shape != sum.shape => {
                    return Err(Error::adapter(
                        name,
                        format!("shape {:?}, as client {first} sent it", sum.shape),
                        format!("shape {:?} from client {client}", tensor.shape),
                    ));
                }
                Some(_) => {}
            }
        }
        match update.adapter.tensors.keys().find(|name| !self.sums.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(Error::adapter(
                name,
                format!("only the {} tensors that client {first} sent", self.sums.len()),
                format!("this tensor too from client {client}"),
            )),
        }
    }

    /// Adds an update that was checked.
    fn add(&mut self, update: &ClientUpdate) {
        let weight = update.records as f64;
        for (sum, tensor) in self.sums.values_mut().zip(update.adapter.tensors.values()) {
            for (sum, &value) in sum.values.iter_mut().zip(&tensor.data) {
                *sum += weight * f64::from(value);
            }
        }
        self.records += update.records as u64;
        self.last = update.client;
    }

    fn mean(self) -> Adapter {
        let total = self.records as f64;
        let tensors = (self.sums.into_iter())
            .map(|(name, sum)| {
                let data = sum.values.into_iter().map(|value| (value / total) as f32).collect();
                (name, AdapterTensor { shape: sum.shape, data })
            })
            .collect();
        Adapter { config: self.config, tensors }
    }
}

/// Whether every tensor of the update is whole and finite.
fn check_values(update: &ClientUpdate) -> Result<()> {
    let client = update.client;
    for (name, tensor) in &update.adapter.tensors {
        let [rows, cols] = tensor.shape;
        if rows.checked_mul(cols) != Some(tensor.data.len()) {
            return Err(Error::adapter(
                name,
                format!("{rows} x {cols} values"),
                format!("{} values from client {client}", tensor.data.len()),
            ));
        }
        if let Some(at) = tensor.data.iter().position(|value| !value.is_finite()) {
            return Err(Error::adapter(
                name,
                "finite values",
                format!("{} at row {}, column {} from client {client}", tensor.data[at], at / cols, at % cols),
            ));
        }
    }
    Ok(())
}

/// Whether two clients' adapters mean the same: adapters of another rank, scale or target are not comparable.
/// Dropout acts in training alone and may differ.
fn check_config(expected: &AdapterConfig, got: &AdapterConfig, first: ClientId, client: ClientId) -> Result<()> {
    let differs = |name: &str, expected: String, got: String| {
        Err(Error::adapter(
            name,
            format!("{expected}, as client {first} sent it"),
            format!("{got} from client {client}"),
        ))
    };
    if got.r != expected.r {
        return differs("r", expected.r.to_string(), got.r.to_string());
    }
    if got.lora_alpha != expected.lora_alpha {
        return differs("lora_alpha", expected.lora_alpha.to_string(), got.lora_alpha.to_string());
    }
    if got.use_rslora != expected.use_rslora {
        return differs("use_rslora", expected.use_rslora.to_string(), got.use_rslora.to_string());
    }
    if got.target_modules != expected.target_modules {
        return differs(
            "target_modules",
            format!("{:?}", expected.target_modules),
            format!("{:?}", got.target_modules),
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "layers.0.q_proj.lora_A.weight";
    const B: &str = "layers.0.q_proj.lora_B.weight";

    fn update(client: u32, records: usize, a: &[f32], b: &[f32]) -> ClientUpdate {
        let config = AdapterConfig { r: 1, target_modules: vec!["q_proj".into()], ..AdapterConfig::default() };
        let tensors = BTreeMap::from([
            (A.to_string(), AdapterTensor { shape: [1, a.len()], data: a.to_vec() }),
            (B.to_string(), AdapterTensor { shape: [b.len(), 1], data: b.to_vec() }),
        ]);
        ClientUpdate { client: ClientId(client), adapter: Adapter { config, tensors }, records }
    }

    fn error(updates: &[ClientUpdate]) -> String {
        let mut mean = WeightedMean::new();
        (updates.iter().find_map(|u| mean.add(u).err())).expect("an update is refused").to_string()
    }

    #[test]
    fn records_are_the_weights() {
        let mut mean = WeightedMean::new();
        mean.add(&update(0, 1, &[0.0, 4.0], &[1.0])).unwrap();
        mean.add(&update(3, 3, &[4.0, 0.0], &[5.0])).unwrap();
        let adapter = mean.finish().unwrap().unwrap();
        assert_eq!(adapter.tensors[A], AdapterTensor { shape: [1, 2], data: vec![3.0, 1.0] });
        assert_eq!(adapter.tensors[B], AdapterTensor { shape: [1, 1], data: vec![4.0] });
        assert_eq!(adapter.config.target_modules, ["q_proj"]);
        assert!(mean.finish().unwrap().is_none(), "finish empties the aggregator");
    }

    #[test]
    fn a_round_without_weight_changes_nothing() {
        let mut mean = WeightedMean::new();
        assert!(mean.finish().unwrap().is_none());
        mean.add(&update(0, 0, &[1.0], &[1.0])).unwrap();
        assert!(mean.finish().unwrap().is_none());
        mean.add(&update(0, 0, &[9.0], &[9.0])).unwrap();
        mean.add(&update(1, 2, &[1.0], &[2.0])).unwrap();
        let adapter = mean.finish().unwrap().unwrap();
        assert_eq!((adapter.tensors[A].data[0], adapter.tensors[B].data[0]), (1.0, 2.0));
    }

    #[test]
    fn a_misfit_is_named() {
        let good = update(1, 1, &[1.0, 2.0], &[1.0]);
        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.config.r = 4;
        let message = error(&[good.clone(), other]);
        assert!(message.contains("`r`") && message.contains("4 from client 2"), "{message}");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.config.target_modules = vec!["v_proj".into()];
        assert!(error(&[good.clone(), other]).contains("target_modules"));

        let message = error(&[good.clone(), update(2, 1, &[1.0], &[1.0])]);
        assert!(message.contains(A) && message.contains("[1, 2]") && message.contains("[1, 1]"), "{message}");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.tensors.remove(B);
        assert!(error(&[good.clone(), other.clone()]).contains(B));
        assert!(error(&[other, update(4, 1, &[1.0, 2.0], &[1.0])]).contains(B));

        let message = error(&[good.clone(), update(2, 1, &[1.0, f32::NAN], &[1.0])]);
        assert!(message.contains("client 2") && message.contains(A) && message.contains("column 1"), "{message}");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.tensors.get_mut(A).unwrap().data.pop();
        assert!(error(&[good.clone(), other]).contains("1 values from client 2"));
        assert!(error(&[good.clone(), good]).contains("after client 1"));
    }

    #[test]
    fn a_refused_update_leaves_the_sum_as_it_was() {
        let mut mean = WeightedMean::new();
        mean.add(&update(0, 2, &[1.0], &[1.0])).unwrap();
        mean.add(&update(1, 2, &[f32::INFINITY], &[1.0])).unwrap_err();
        mean.add(&update(1, 2, &[3.0], &[1.0])).unwrap();
        assert_eq!(mean.finish().unwrap().unwrap().tensors[A].data, [2.0]);
    }

    proptest! {
        #[test]
        fn equals_the_naive_mean(
            clients in prop::collection::vec((0usize..50, prop::collection::vec(-10f32..10.0, 6)), 1..8)
        ) {
            let mut mean = WeightedMean::new();
            for (i, (records, values)) in clients.iter().enumerate() {
                mean.add(&update(i as u32, *records, &values[..4], &values[4..])).unwrap();
            }
            let total: f64 = clients.iter().map(|(n, _)| *n as f64).sum();
            let result = mean.finish().unwrap();
            prop_assert_eq!(result.is_none(), total == 0.0);
            if let Some(adapter) = result {
                let got = [&adapter.tensors[A].data[..], &adapter.tensors[B].data[..]].concat();
                for (j, &value) in got.iter().enumerate() {
                    let expected: f64 = clients.iter().map(|(n, v)| *n as f64 * f64::from(v[j]) / total).sum();
                    prop_assert!((f64::from(value) - expected).abs() <= 1e-6 * expected.abs().max(1.0));
                }
            }
        }

        #[test]
        fn equal_adapters_stay_as_they_are(
            values in prop::collection::vec(-1e3f32..1e3, 3), records in prop::collection::vec(1usize..1000, 1..6)
        ) {
            let mut mean = WeightedMean::new();
            for (i, &n) in records.iter().enumerate() {
                mean.add(&update(i as u32, n, &values[..2], &values[2..])).unwrap();
            }
            let adapter = mean.finish().unwrap().unwrap();
            prop_assert_eq!(&adapter.tensors[A].data[..], &values[..2]);
            prop_assert_eq!(&adapter.tensors[B].data[..], &values[2..]);
        }
    }
}
