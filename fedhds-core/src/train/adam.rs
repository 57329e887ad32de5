//! Adam, step for step as `torch.optim.Adam`.

use crate::error::{Error, Result};
use crate::model::Device;
use crate::model::tensor::{Tensor, plain, to_vec};
use crate::types::range::{above_zero, below_one, not_negative};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of [`Adam`], with the defaults of `torch.optim.Adam`; the learning rate is the paper's on Natural Instructions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Step size alpha, above 0.
    pub learning_rate: f64,
    /// Decay of the mean of gradients, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of squared gradients, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment, above 0.
    pub epsilon: f64,
    /// Pull towards 0 that is added to the gradient, at least 0.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { learning_rate: 3e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamConfig {
    /// # Errors
    /// [`Error::Parameter`] that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        above_zero("learning_rate", self.learning_rate)?;
        below_one("beta1", self.beta1)?;
        below_one("beta2", self.beta2)?;
        above_zero("epsilon", self.epsilon)?;
        not_negative("weight_decay", self.weight_decay)
    }
}

/// Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) with its state by the parameters' names.
///
/// With gradient g of step t:
/// ```text
/// m = beta1 m + (1 - beta1) g
/// v = beta2 v + (1 - beta2) g^2
/// w = w - learning_rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
/// A parameter's t counts its own updates, as in PyTorch.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    moments: BTreeMap<String, Moments>,
}

#[derive(Debug, Clone)]
struct Moments {
    step: u64,
    /// m, flattened.
    first: Tensor<1>,
    /// v, flattened.
    second: Tensor<1>,
}

/// The state of [`Adam`] as data, to be written and read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AdamState {
    /// By the parameters' names.
    pub moments: BTreeMap<String, AdamMoments>,
}

/// One parameter's part of an [`AdamState`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AdamMoments {
    /// Updates so far.
    pub step: u64,
    /// Decaying mean of gradients, flattened.
    pub first: Vec<f32>,
    /// Decaying mean of squared gradients, flattened; as long as `first`.
    pub second: Vec<f32>,
}

impl Adam {
    /// Without any history.
    ///
    /// # Errors
    /// [`Error::Parameter`] as of [`AdamConfig::check`].
    pub fn new(config: AdamConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, moments: BTreeMap::new() })
    }

    /// The settings.
    pub fn config(&self) -> &AdamConfig {
        &self.config
    }

    /// Sets the step size of the updates to come, for a schedule.
    ///
    /// # Errors
    /// [`Error::Parameter`] when it is not finite or below 0; 0 is allowed, as a warm-up begins there.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        not_negative("learning_rate", learning_rate)?;
        self.config.learning_rate = learning_rate;
        Ok(())
    }

    /// The parameter `name` after a step along its gradient. Both may be on the autodiff side; the result is not: lift it
    /// and ask for a gradient again before the next forward pass.
    ///
    /// # Errors
    /// [`Error::Input`] when the gradient or the state under this name has another size.
    pub fn update<const D: usize>(
        &mut self,
        name: &str,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
    ) -> Result<Tensor<D>> {
        let shape = parameter.dims();
        let count = shape.iter().product::<usize>();
        if gradient.dims() != shape {
            return Err(Error::input(
                &format!("gradient of `{name}`"),
                format!("shape {shape:?}"),
                format!("{:?}", gradient.dims()),
            ));
        }
        let AdamConfig { learning_rate, beta1, beta2, epsilon, weight_decay } = self.config;
        let w = plain(parameter).reshape([count]);
        let mut g = plain(gradient).reshape([count]);
        if weight_decay > 0.0 {
            g = g + w.clone().mul_scalar(weight_decay);
        }
        let Moments { step, first, second } = match self.moments.remove(name) {
            None => Moments { step: 0, first: w.zeros_like(), second: w.zeros_like() },
            Some(moments) if moments.first.dims() == [count] => moments,
            Some(moments) => {
                return Err(Error::input(
                    &format!("optimiser state of `{name}`"),
                    format!("{count} values"),
                    moments.first.dims()[0],
                ));
            }
        };
        let step = step + 1;
        let first = first.mul_scalar(beta1) + g.clone().mul_scalar(1.0 - beta1);
        let second = second.mul_scalar(beta2) + (g.clone() * g).mul_scalar(1.0 - beta2);
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - beta1.powi(power);
        let correction2 = 1.0 - beta2.powi(power);
        let denominator = second.clone().sqrt().div_scalar(correction2.sqrt()).add_scalar(epsilon);
        let w = w - (first.clone() / denominator).mul_scalar(learning_rate / correction1);
        self.moments.insert(name.to_string(), Moments { step, first, second });
        Ok(w.reshape(shape))
    }

    /// [`Adam::update`] of a parameter that is first shrunk by `learning_rate * decay`, which is AdamW (Loshchilov and Hutter 2019,
    /// arXiv 1711.05101, algorithm 2): the decay does not pass through the moments, as that of [`AdamConfig`] does.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the decay is not finite or below 0; [`Error::Input`] as of [`Adam::update`].
    #[cfg(feature = "pretrain")]
    pub fn update_decayed<const D: usize>(
        &mut self,
        name: &str,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        decay: f64,
    ) -> Result<Tensor<D>> {
        if !decay.is_finite() || decay < 0.0 {
            return Err(Error::parameter("decay", "a finite value of at least 0", decay));
        }
        let shrunk = plain(parameter).mul_scalar(1.0 - self.config.learning_rate * decay);
        self.update(name, shrunk, gradient)
    }

    /// The state as data.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub fn state(&self) -> Result<AdamState> {
        let moments = (self.moments.iter())
            .map(|(name, m)| {
                let (first, second) = (to_vec(m.first.clone())?, to_vec(m.second.clone())?);
                Ok((name.clone(), AdamMoments { step: m.step, first, second }))
            })
            .collect::<Result<_>>()?;
        Ok(AdamState { moments })
    }

    /// Takes up where a written state ended.
    ///
    /// # Errors
    /// [`Error::Parameter`] as of [`AdamConfig::check`]; [`Error::Input`] for moments of different lengths.
    pub fn resume(config: AdamConfig, state: AdamState, device: &Device) -> Result<Self> {
        config.check()?;
        let moments = (state.moments.into_iter())
            .map(|(name, m)| {
                let count = m.first.len();
                if m.second.len() != count {
                    return Err(Error::input(
                        &format!("second moment of `{name}`"),
                        format!("{count} values"),
                        m.second.len(),
                    ));
                }
                let (first, second) = (device.tensor(m.first, [count])?, device.tensor(m.second, [count])?);
                Ok((name, Moments { step: m.step, first, second }))
            })
            .collect::<Result<_>>()?;
        Ok(Self { config, moments })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// The rule in f64, written as in the paper.
    fn oracle(config: &AdamConfig, decoupled: f64, mut w: f64, gradients: &[f64]) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (t, &g) in gradients.iter().enumerate() {
            let t = t as i32 + 1;
            w -= config.learning_rate * decoupled * w;
            let g = g + config.weight_decay * w;
            m = config.beta1 * m + (1.0 - config.beta1) * g;
            v = config.beta2 * v + (1.0 - config.beta2) * g * g;
            let m_hat = m / (1.0 - config.beta1.powi(t));
            let v_hat = v / (1.0 - config.beta2.powi(t));
            w -= config.learning_rate * m_hat / (v_hat.sqrt() + config.epsilon);
        }
        w
    }

    fn one(value: f32) -> Tensor<2> {
        Device::cpu().tensor(vec![value], [1, 1]).unwrap()
    }

    fn run(adam: &mut Adam, w: f32, gradients: &[f64]) -> f32 {
        let mut w = one(w);
        for &g in gradients {
            w = adam.update("w", w, one(g as f32)).unwrap();
        }
        to_vec(w).unwrap()[0]
    }

    const GRADIENTS: [f64; 6] = [0.5, -2.0, 1e-6, 0.0, 3.0, -0.25];

    #[test]
    fn follows_the_paper() {
        for config in [
            AdamConfig { learning_rate: 0.1, ..AdamConfig::default() },
            AdamConfig { learning_rate: 0.1, weight_decay: 0.1, ..AdamConfig::default() },
            AdamConfig { learning_rate: 0.1, beta1: 0.0, ..AdamConfig::default() },
        ] {
            let got = run(&mut Adam::new(config.clone()).unwrap(), 1.5, &GRADIENTS);
            let expected = oracle(&config, 0.0, 1.5, &GRADIENTS);
            assert!((f64::from(got) - expected).abs() < 2e-6, "{got} {expected} {config:?}");
        }
    }

    #[test]
    #[cfg(feature = "pretrain")]
    fn decoupled_decay_follows_its_paper() {
        let config = AdamConfig { learning_rate: 0.1, beta1: 0.0, ..AdamConfig::default() };
        let mut adam = Adam::new(config.clone()).unwrap();
        let mut w = one(1.5);
        for g in GRADIENTS {
            w = adam.update_decayed("w", w, one(g as f32), 0.1).unwrap();
        }
        let (got, expected) = (to_vec(w).unwrap()[0], oracle(&config, 0.1, 1.5, &GRADIENTS));
        assert!((f64::from(got) - expected).abs() < 2e-6, "{got} {expected}");
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            let error = adam.update_decayed("w", one(1.0), one(1.0), bad).unwrap_err().to_string();
            assert!(error.contains("decay"), "{error}");
        }
    }

    #[test]
    fn a_state_resumes_with_the_same_bits() {
        let mut whole = Adam::new(AdamConfig::default()).unwrap();
        let expected = run(&mut whole, 1.0, &GRADIENTS);
        let mut half = Adam::new(AdamConfig::default()).unwrap();
        let w = run(&mut half, 1.0, &GRADIENTS[..3]);
        let mut rest = Adam::resume(AdamConfig::default(), half.state().unwrap(), &Device::cpu()).unwrap();
        assert_eq!(run(&mut rest, w, &GRADIENTS[3..]), expected);
        assert_eq!(rest.state().unwrap(), whole.state().unwrap());
    }

    #[test]
    fn bad_settings_and_shapes_are_errors() {
        let says = |config| Adam::new(config).unwrap_err().to_string();
        let paper = AdamConfig::default();
        for (value, shown) in [(f64::NAN, "nan"), (f64::INFINITY, "inf"), (-1.0, "-1.0")] {
            let rate = AdamConfig { learning_rate: value, ..paper.clone() };
            assert_eq!(says(rate), format!("learning_rate: expected a number above 0, got {shown}"));
            let epsilon = AdamConfig { epsilon: value, ..paper.clone() };
            assert_eq!(says(epsilon), format!("epsilon: expected a number above 0, got {shown}"));
            let beta1 = AdamConfig { beta1: value, ..paper.clone() };
            assert_eq!(says(beta1), format!("beta1: expected a number in [0, 1), got {shown}"));
            let decay = AdamConfig { weight_decay: value, ..paper.clone() };
            assert_eq!(says(decay), format!("weight_decay: expected a number of at least 0, got {shown}"));
        }
        for zero in [AdamConfig { learning_rate: 0.0, ..paper.clone() }, AdamConfig { epsilon: 0.0, ..paper.clone() }] {
            assert!(says(zero).ends_with("above 0, got 0.0"));
        }
        assert_eq!(says(AdamConfig { beta2: 1.0, ..paper }), "beta2: expected a number in [0, 1), got 1.0");
        let mut adam = Adam::new(AdamConfig::default()).unwrap();
        assert!(adam.set_learning_rate(-1.0).is_err());
        let two = Device::cpu().tensor(vec![0.0, 1.0], [1, 2]).unwrap();
        assert!(adam.update("w", one(1.0), two.clone()).is_err());
        adam.update("w", one(1.0), one(1.0)).unwrap();
        assert!(adam.update("w", two.clone(), two).unwrap_err().to_string().contains("optimiser state of `w`"));
    }
}
