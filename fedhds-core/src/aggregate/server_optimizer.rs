//! FedAvgM and FedAdam: the clients' mean as a gradient for an optimiser on the server.

use super::{AdapterShape, WeightedMean};
use crate::error::{Error, Result};
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, Round};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of FedAvgM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FedAvgMConfig {
    /// Server learning rate, above 0; default 1: without momentum that is FedAvg.
    pub learning_rate: f64,
    /// Momentum, in [0, 1); default 0.9.
    pub momentum: f64,
}

impl Default for FedAvgMConfig {
    fn default() -> Self {
        Self { learning_rate: 1.0, momentum: 0.9 }
    }
}

/// Settings of FedAdam; the defaults of Reddi et al. 2020.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FedAdamConfig {
    /// Server learning rate, above 0; default 0.01.
    pub learning_rate: f64,
    /// Decay of the mean of steps, in [0, 1); default 0.9.
    pub beta_1: f64,
    /// Decay of the mean of squared steps, in [0, 1); default 0.99.
    pub beta_2: f64,
    /// What is added to the root of the squares, above 0; default 0.001. The larger, the less adaptive.
    pub tau: f64,
}

impl Default for FedAdamConfig {
    fn default() -> Self {
        Self { learning_rate: 0.01, beta_1: 0.9, beta_2: 0.99, tau: 1e-3 }
    }
}

/// An optimiser on the server (Reddi et al. 2020, *Adaptive Federated Optimization*, algorithm 2): with the global adapter `x`, the
/// clients' mean by records `w`, and the step `d = w - x`,
///
/// - FedAvgM: `m = momentum * m + d`, `x = x + learning_rate * m`;
/// - FedAdam: `m = beta_1 * m + (1 - beta_1) * d`, `v = beta_2 * v + (1 - beta_2) * d^2`, `x = x + learning_rate * m / (sqrt(v) + tau)`,
///   without bias correction, `v` from `tau^2`, as the paper has it.
///
/// What the next round needs (`m`, `v`, in f64) is its [`state`](Aggregator::state); a round without an update leaves it as it is.
/// A and B are stepped separately, as [`WeightedMean`] averages them.
#[derive(Debug, Clone)]
pub struct ServerOptimizer {
    rule: Rule,
    mean: WeightedMean,
    /// The adapter that the round began from.
    global: Option<Adapter>,
    moments: Moments,
}

#[derive(Debug, Clone)]
enum Rule {
    Momentum(FedAvgMConfig),
    Adam(FedAdamConfig),
}

/// `m` and `v` by tensor; empty before the first step, and no `v` with momentum alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Moments {
    first: BTreeMap<String, Vec<f64>>,
    second: BTreeMap<String, Vec<f64>>,
}

fn above_zero(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::parameter(name, "a finite number above 0", value))
}

fn decay(name: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(name, "at least 0 and below 1", value))
}

impl ServerOptimizer {
    /// The mean with server momentum.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range.
    pub fn fedavgm(config: &FedAvgMConfig) -> Result<Self> {
        above_zero("learning_rate", config.learning_rate)?;
        decay("momentum", config.momentum)?;
        Ok(Self::new(Rule::Momentum(config.clone())))
    }

    /// Adam on the server.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range.
    pub fn fedadam(config: &FedAdamConfig) -> Result<Self> {
        above_zero("learning_rate", config.learning_rate)?;
        decay("beta_1", config.beta_1)?;
        decay("beta_2", config.beta_2)?;
        above_zero("tau", config.tau)?;
        Ok(Self::new(Rule::Adam(config.clone())))
    }

    fn new(rule: Rule) -> Self {
        Self { rule, mean: WeightedMean::new(), global: None, moments: Moments::default() }
    }
}

impl Moments {
    /// Whether these moments are of an adapter of this shape, or of none yet.
    fn fit(&self, adapter: &Adapter) -> bool {
        let of = |moments: &BTreeMap<String, Vec<f64>>| {
            moments.is_empty()
                || (moments.len() == adapter.tensors.len()
                    && moments.iter().all(|(n, m)| adapter.tensors.get(n).is_some_and(|t| t.data.len() == m.len())))
        };
        of(&self.first) && of(&self.second)
    }
}

/// How far two values lie apart, also where that is beyond the range of f32.
fn apart(a: f32, b: f32) -> f64 {
    let short = a - b;
    if short.is_finite() { f64::from(short) } else { f64::from(a) - f64::from(b) }
}

impl Rule {
    /// The new value of one tensor; `m` and `v` move with it.
    fn step(&self, x: &mut [f32], mean: &[f32], m: &mut [f64], v: &mut [f64]) {
        for (i, (x, &mean)) in x.iter_mut().zip(mean).enumerate() {
            let from = f64::from(*x);
            let d = f64::from(mean) - from;
            *x = match self {
                Rule::Momentum(config) => {
                    m[i] = config.momentum * m[i] + d;
                    from + config.learning_rate * m[i]
                }
                Rule::Adam(config) => {
                    m[i] = config.beta_1 * m[i] + (1.0 - config.beta_1) * d;
                    v[i] = config.beta_2 * v[i] + (1.0 - config.beta_2) * d * d;
                    from + config.learning_rate * m[i] / (v[i].sqrt() + config.tau)
                }
            } as f32;
        }
    }
}

impl Aggregator for ServerOptimizer {
    /// # Errors
    /// [`Error::Adapter`] for an adapter of other names or shapes than the moments of earlier rounds are of.
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        if !self.moments.fit(global) {
            let expected = "the names and shapes of the adapter of earlier rounds, whose moments are kept";
            return Err(Error::adapter("global adapter", expected, "others"));
        }
        self.mean.begin(global, round)?;
        self.global = Some(global.clone());
        Ok(())
    }

    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.mean.add(update)
    }

    /// Where the step would leave the range of f32, moments and adapter stay as before the round, and the report says so.
    fn finish(&mut self) -> Result<Aggregated> {
        let mut aggregated = self.mean.finish()?;
        let (Some(mean), Some(mut adapter)) = (aggregated.adapter.take(), self.global.take()) else {
            return Ok(aggregated);
        };
        let shape = AdapterShape::of(&adapter);
        let mut moments = self.moments.clone();
        let mut squares = 0.0;
        for (name, tensor) in &mut adapter.tensors {
            let Some(to) = mean.tensors.get(name) else { continue };
            let n = tensor.data.len();
            squares += to.data.iter().zip(&tensor.data).map(|(&a, &b)| apart(a, b).powi(2)).sum::<f64>();
            let m = moments.first.entry(name.clone()).or_insert_with(|| vec![0.0; n]);
            match &self.rule {
                Rule::Momentum(_) => self.rule.step(&mut tensor.data, &to.data, m, &mut []),
                Rule::Adam(config) => {
                    let start = || vec![config.tau * config.tau; n];
                    let v = moments.second.entry(name.clone()).or_insert_with(start);
                    self.rule.step(&mut tensor.data, &to.data, m, v);
                }
            }
        }
        aggregated.report.measures.insert("mean_step_norm".into(), squares.sqrt());
        match shape.check(&adapter) {
            Err(error) => aggregated.report.discarded = Some(format!("a step that is not finite: {error}")),
            Ok(()) => {
                self.moments = moments;
                aggregated.adapter = Some(adapter);
            }
        }
        Ok(aggregated)
    }

    fn state(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(&self.moments).map_err(|e| Error::stage("aggregator", e.to_string()))
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        let wrong = |got: String| Error::input("state of the server optimizer", "what `state` gave", got);
        let (moments, rest): (Moments, _) = postcard::take_from_bytes(state).map_err(|e| wrong(e.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong(format!("{} bytes more", rest.len())));
        }
        let adam = matches!(self.rule, Rule::Adam(_));
        let values = || moments.first.values().chain(moments.second.values()).flatten();
        if (adam && moments.first.len() != moments.second.len()) || (!adam && !moments.second.is_empty()) {
            return Err(wrong("moments of another optimiser".into()));
        }
        if values().any(|value| !value.is_finite()) || moments.second.values().flatten().any(|v| *v < 0.0) {
            return Err(wrong("moments that are not finite".into()));
        }
        self.moments = moments;
        Ok(())
    }

    /// The mean's, the global adapter, and two sets of moments in f64, of which one is being made.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        let moments = if matches!(self.rule, Rule::Adam(_)) { 2 } else { 1 };
        self.mean.memory(clients, values) + (4 + 2 * 8 * moments) * values as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{AdapterTensor, ClientId};

    fn adapter(values: &[f32]) -> Adapter {
        let tensor = AdapterTensor { shape: [1, values.len()], data: values.to_vec() };
        Adapter { tensors: [("a".to_owned(), tensor)].into(), ..Adapter::default() }
    }

    /// One round from `global` with one client that lands on `to`.
    fn round(optimizer: &mut ServerOptimizer, global: &[f32], to: &[f32]) -> Vec<f32> {
        optimizer.begin(&adapter(global), Round(0)).unwrap();
        optimizer.add(&ClientUpdate::new(ClientId(0), adapter(to), 3)).unwrap();
        optimizer.finish().unwrap().adapter.unwrap().tensors["a"].data.clone()
    }

    #[test]
    fn without_momentum_it_is_the_mean() {
        let config = FedAvgMConfig { momentum: 0.0, ..Default::default() };
        let mut plain = ServerOptimizer::fedavgm(&config).unwrap();
        assert_eq!(round(&mut plain, &[1.0, -2.0], &[0.25, 4.0]), [0.25, 4.0]);
    }

    #[test]
    fn momentum_goes_on_by_the_formula() {
        let mut optimizer = ServerOptimizer::fedavgm(&FedAvgMConfig { learning_rate: 0.5, momentum: 0.9 }).unwrap();
        // m = 1, x = .5; then m = .9 + .5 = 1.4, x = 1.2.
        assert_eq!(round(&mut optimizer, &[0.0], &[1.0]), [0.5]);
        assert!((round(&mut optimizer, &[0.5], &[1.0])[0] - 1.2).abs() < 1e-6);
    }

    #[test]
    fn adam_goes_on_by_the_formula() {
        let config = FedAdamConfig { learning_rate: 0.1, beta_1: 0.9, beta_2: 0.99, tau: 1e-3 };
        let mut optimizer = ServerOptimizer::fedadam(&config).unwrap();
        let (mut x, mut m, mut v) = (0.0f64, 0.0f64, 1e-6f64);
        for _ in 0..4 {
            let d = 1.0 - f64::from(x as f32);
            m = 0.9 * m + 0.1 * d;
            v = 0.99 * v + 0.01 * d * d;
            let expected = f64::from(x as f32) + 0.1 * m / (v.sqrt() + 1e-3);
            let got = round(&mut optimizer, &[x as f32], &[1.0])[0];
            assert!((f64::from(got) - expected).abs() < 1e-6, "{got} in place of {expected}");
            x = f64::from(got);
        }
    }

    #[test]
    fn a_resumed_one_ends_with_the_same_bits() {
        for adam in [false, true] {
            let make = || match adam {
                true => ServerOptimizer::fedadam(&FedAdamConfig::default()).unwrap(),
                false => ServerOptimizer::fedavgm(&FedAvgMConfig::default()).unwrap(),
            };
            let mut one = make();
            let x = round(&mut one, &[0.0, 5.0], &[1.0, 2.0]);
            let mut two = make();
            two.resume(&one.state().unwrap()).unwrap();
            assert_eq!(round(&mut two, &x, &[3.0, 1.0]), round(&mut one, &x, &[3.0, 1.0]));
            // A fresh one does not: it lost the momentum.
            assert_ne!(round(&mut make(), &x, &[3.0, 1.0]), round(&mut two, &x, &[3.0, 1.0]));
            assert!(two.resume(b"something else").is_err());
            assert!(two.resume(&[one.state().unwrap(), vec![0]].concat()).is_err());
        }
        let adam = ServerOptimizer::fedadam(&FedAdamConfig::default()).unwrap();
        let mut momentum = ServerOptimizer::fedavgm(&FedAvgMConfig::default()).unwrap();
        let mut stepped = adam.clone();
        round(&mut stepped, &[0.0], &[1.0]);
        assert!(momentum.resume(&stepped.state().unwrap()).unwrap_err().to_string().contains("another optimiser"));
    }

    #[test]
    fn rounds_without_updates_and_steps_out_of_range_change_nothing() {
        let mut optimizer = ServerOptimizer::fedavgm(&FedAvgMConfig::default()).unwrap();
        round(&mut optimizer, &[0.0], &[1.0]);
        let before = optimizer.state().unwrap();
        optimizer.begin(&adapter(&[1.0]), Round(1)).unwrap();
        assert_eq!(optimizer.finish().unwrap().adapter, None);
        let far = FedAvgMConfig { learning_rate: 10.0, momentum: 0.0 };
        let mut far = ServerOptimizer::fedavgm(&far).unwrap();
        far.begin(&adapter(&[0.0]), Round(0)).unwrap();
        far.add(&ClientUpdate::new(ClientId(0), adapter(&[1e38]), 1)).unwrap();
        let finished = far.finish().unwrap();
        assert!(finished.adapter.is_none() && finished.report.discarded.unwrap().contains("not finite"));
        assert_eq!(optimizer.state().unwrap(), before);
        let error = optimizer.begin(&adapter(&[1.0, 2.0]), Round(2)).unwrap_err().to_string();
        assert!(error.contains("earlier rounds"), "{error}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let message = |config: FedAdamConfig| ServerOptimizer::fedadam(&config).unwrap_err().to_string();
        assert!(message(FedAdamConfig { beta_2: 1.0, ..Default::default() }).contains("beta_2"));
        assert!(message(FedAdamConfig { learning_rate: f64::NAN, ..Default::default() }).contains("learning_rate"));
        assert!(ServerOptimizer::fedavgm(&FedAvgMConfig { momentum: -0.1, ..Default::default() }).is_err());
    }
}
