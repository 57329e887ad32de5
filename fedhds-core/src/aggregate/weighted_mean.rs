//! FedAvg over adapters: the mean of the clients' tensors, weighted by records.

use super::AdapterShape;
use super::product_error::{PRODUCT_ERROR, ProductError};
use crate::error::{Error, Result};
use crate::sorting;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, ClientId, Round};

/// The weighted mean of the clients' adapters (McMahan et al. 2017; FedHDS eq. 12):
/// `w = sum_i n_i * w_i / sum_i n_i`, where `n_i` is the number of records that client i trained on.
///
/// Streaming: one running sum in f64 is kept, whatever the number of clients. A client that trained on no record has no
/// weight; a round in which no client has any ends with `None`, and the global adapter stays as it was. Nothing is kept
/// between rounds.
///
/// A and B are averaged separately, as the paper does (FedIT): their product is not the mean of the products B A. The report's measure `product_error`
/// says how far it is from it; [`FlexLora`](super::FlexLora) and the others of this module keep the product right.
#[derive(Debug, Clone, Default)]
pub struct WeightedMean {
    running: Option<Running>,
}

/// The running sum of a round that has begun.
#[derive(Debug, Clone)]
struct Running {
    shape: AdapterShape,
    global: Adapter,
    /// Clients in ascending order with their records.
    records: Vec<(ClientId, usize)>,
    /// `sum_i n_i * w_i` by tensor, in the order of their names.
    sums: Vec<Vec<f64>>,
    /// None where the tensors are no pairs of factors.
    error: Option<ProductError>,
}

impl WeightedMean {
    /// An aggregator that has not begun.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Aggregator for WeightedMean {
    fn begin(&mut self, global: &Adapter, _round: Round) -> Result<()> {
        let sums = global.tensors.values().map(|tensor| vec![0.0; tensor.data.len()]).collect();
        let (shape, error) = (AdapterShape::of(global), ProductError::new(global));
        // What the mean carries over are names, shapes and settings.
        let mut global = global.clone();
        global.tensors.values_mut().for_each(|tensor| tensor.data = Vec::new());
        self.running = Some(Running { shape, global, records: Vec::new(), sums, error });
        Ok(())
    }

    /// # Errors
    /// [`Error::Input`] before [`begin`](Aggregator::begin) and when the update's client does not come after the one before it;
    /// [`Error::Adapter`] that names the client and the setting or tensor which differs from the global adapter's or holds a value
    /// that is not finite. After an error the sum is as it was before the update.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let client = update.client;
        let Some(running) = &mut self.running else {
            return Err(Error::input("weighted mean", "`begin` before `add`", format!("an update of client {client}")));
        };
        running.shape.check(&update.adapter).map_err(|error| error.of_client(client.0))?;
        if let Some((last, _)) = running.records.last()
            && client <= *last
        {
            let expected = format!("a client after client {last}");
            return Err(Error::input("order of client updates", expected, format!("client {client}")));
        }
        let weight = update.records as f64;
        if let Some(error) = &mut running.error {
            error.add(weight, &update.adapter)?;
        }
        for (sum, tensor) in running.sums.iter_mut().zip(update.adapter.tensors.values()) {
            for (sum, &value) in sum.iter_mut().zip(&tensor.data) {
                *sum += weight * f64::from(value);
            }
        }
        running.records.push((client, update.records));
        Ok(())
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let Some(running) = self.running.take() else { return Ok(Aggregated::default()) };
        let Running { mut global, records, sums, error, .. } = running;
        let total = records.iter().map(|&(_, n)| n as u64).sum::<u64>() as f64;
        if total == 0.0 {
            return Ok(Aggregated::default());
        }
        for (tensor, sum) in global.tensors.values_mut().zip(sums) {
            tensor.data = sum.into_iter().map(|value| (value / total) as f32).collect();
        }
        let error = error.map(|error| error.of(&global, total)).transpose()?.flatten();
        let mut aggregated = Aggregated::new(Some(global));
        aggregated.report.measures.extend(error.map(|error| (PRODUCT_ERROR.to_owned(), error)));
        aggregated.report.weights = sorting::map(records.into_iter().map(|(client, n)| (client, n as f64 / total)));
        Ok(aggregated)
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        match state {
            [] => Ok(()),
            _ => Err(Error::input("state of the weighted mean", "no bytes: it keeps nothing", state.len())),
        }
    }

    /// The sum in f64, the adapter that is being added, and what measures the error of the product.
    fn memory(&self, _clients: usize, values: usize) -> u64 {
        12 * values as u64 + ProductError::memory(values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{AdapterConfig, AdapterTensor};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const A: &str = "layers.0.q_proj.lora_A.weight";
    const B: &str = "layers.0.q_proj.lora_B.weight";

    fn update(client: u32, records: usize, a: &[f32], b: &[f32]) -> ClientUpdate {
        let config = AdapterConfig { r: 1, target_modules: vec!["q_proj".into()], ..AdapterConfig::default() };
        let tensors = BTreeMap::from([
            (A.to_string(), AdapterTensor { shape: [1, a.len()], data: a.to_vec() }),
            (B.to_string(), AdapterTensor { shape: [b.len(), 1], data: b.to_vec() }),
        ]);
        ClientUpdate::new(ClientId(client), Adapter { config, tensors }, records)
    }

    /// A mean that has begun from an adapter of `a` and `b` values.
    fn begun(a: usize, b: usize) -> WeightedMean {
        let mut mean = WeightedMean::new();
        mean.begin(&update(0, 1, &vec![0.0; a], &vec![0.0; b]).adapter, Round(0)).unwrap();
        mean
    }

    fn finish(mean: &mut WeightedMean) -> Option<Adapter> {
        mean.finish().unwrap().adapter
    }

    fn error(updates: &[ClientUpdate]) -> String {
        let mut mean = begun(2, 1);
        (updates.iter().find_map(|u| mean.add(u).err())).expect("an update is refused").to_string()
    }

    #[test]
    fn records_are_the_weights() {
        let mut mean = begun(2, 1);
        mean.add(&update(0, 1, &[0.0, 4.0], &[1.0])).unwrap();
        mean.add(&update(3, 3, &[4.0, 0.0], &[5.0])).unwrap();
        let aggregated = mean.finish().unwrap();
        assert_eq!(aggregated.report.weights, BTreeMap::from([(ClientId(0), 0.25), (ClientId(3), 0.75)]));
        let adapter = aggregated.adapter.unwrap();
        assert_eq!(adapter.tensors[A], AdapterTensor { shape: [1, 2], data: vec![3.0, 1.0] });
        assert_eq!(adapter.tensors[B], AdapterTensor { shape: [1, 1], data: vec![4.0] });
        assert_eq!(adapter.config.target_modules, ["q_proj"]);
        assert!(finish(&mut mean).is_none(), "finish empties the aggregator");
        assert!(mean.add(&update(4, 1, &[0.0, 4.0], &[1.0])).unwrap_err().to_string().contains("begin"));
    }

    #[test]
    fn a_round_without_weight_changes_nothing() {
        let mut mean = begun(1, 1);
        assert!(finish(&mut mean).is_none());
        let mut mean = begun(1, 1);
        mean.add(&update(0, 0, &[1.0], &[1.0])).unwrap();
        assert!(finish(&mut mean).is_none());
        let mut mean = begun(1, 1);
        mean.add(&update(0, 0, &[9.0], &[9.0])).unwrap();
        mean.add(&update(1, 2, &[1.0], &[2.0])).unwrap();
        let adapter = finish(&mut mean).unwrap();
        assert_eq!((adapter.tensors[A].data[0], adapter.tensors[B].data[0]), (1.0, 2.0));
    }

    #[test]
    fn a_misfit_is_named() {
        let good = update(1, 1, &[1.0, 2.0], &[1.0]);
        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.config.r = 4;
        let message = error(&[good.clone(), other]);
        assert!(message.contains("client 2: r`") && message.contains("got 4"), "{message}");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.config.target_modules = vec!["v_proj".into()];
        assert!(error(&[good.clone(), other]).contains("target_modules"));

        let message = error(&[good.clone(), update(2, 1, &[1.0], &[1.0])]);
        assert!(message.contains(A) && message.contains("[1, 2]") && message.contains("[1, 1]"), "{message}");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.tensors.remove(B);
        assert!(error(&[good.clone(), other.clone()]).contains(B));
        assert!(error(&[other]).contains("client 2"), "also where it comes first");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.tensors.insert("more".into(), AdapterTensor { shape: [1, 1], data: vec![1.0] });
        assert!(error(&[other]).contains("only the 2 tensors"));

        let message = error(&[good.clone(), update(2, 1, &[1.0, f32::NAN], &[1.0])]);
        assert!(message.contains("client 2") && message.contains(A) && message.contains("column 1"), "{message}");

        let mut other = update(2, 1, &[1.0, 2.0], &[1.0]);
        other.adapter.tensors.get_mut(A).unwrap().data.pop();
        assert!(error(&[good.clone(), other]).contains("got 1 values"));
        assert!(error(&[good.clone(), good]).contains("after client 1"));
    }

    #[test]
    fn a_refused_update_leaves_the_sum_as_it_was() {
        let mut mean = begun(1, 1);
        mean.add(&update(0, 2, &[1.0], &[1.0])).unwrap();
        mean.add(&update(1, 2, &[f32::INFINITY], &[1.0])).unwrap_err();
        mean.add(&update(1, 2, &[3.0], &[1.0])).unwrap();
        assert_eq!(finish(&mut mean).unwrap().tensors[A].data, [2.0]);
    }

    proptest! {
        #[test]
        fn equals_the_naive_mean(
            clients in prop::collection::vec((0usize..50, prop::collection::vec(-10f32..10.0, 6)), 1..8)
        ) {
            let mut mean = begun(4, 2);
            for (i, (records, values)) in clients.iter().enumerate() {
                mean.add(&update(i as u32, *records, &values[..4], &values[4..])).unwrap();
            }
            let total: f64 = clients.iter().map(|(n, _)| *n as f64).sum();
            let result = finish(&mut mean);
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
            let mut mean = begun(2, 1);
            for (i, &n) in records.iter().enumerate() {
                mean.add(&update(i as u32, n, &values[..2], &values[2..])).unwrap();
            }
            let adapter = finish(&mut mean).unwrap();
            prop_assert_eq!(&adapter.tensors[A].data[..], &values[..2]);
            prop_assert_eq!(&adapter.tensors[B].data[..], &values[2..]);
        }
    }
}
