//! Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) as tensors on a device.

use super::device::Device;
use super::spec::ModelSpec;
use super::tensor::{Tensor, like, plain, to_vec};
use crate::error::{Error, Result};
use crate::types::{Adapter, AdapterConfig, AdapterTensor, Seed};
use fedhds_kernels::low_rank;
use rand::Rng as _;
use std::collections::BTreeMap;

/// The two factors of one module's update.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// `[r, in]`.
    pub a: Tensor<2>,
    /// `[out, r]`.
    pub b: Tensor<2>,
}

/// Dropout on the adapters' inputs: active while training only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of the inputs that are zeroed, in [0, 1); the others are scaled by 1 / (1 - p).
    pub p: f32,
    /// The seed of this one step: a layer that is computed again draws the same mask again.
    pub seed: Seed,
}

/// The adapters of a model by module path, for example `model.layers.0.self_attn.q_proj`.
#[derive(Debug, Clone)]
pub struct LoraWeights {
    /// The factors by module path.
    pub modules: BTreeMap<String, LoraPair>,
    /// The factor on B A.
    pub scaling: f32,
    /// Dropout, or none outside of training.
    pub dropout: Option<Dropout>,
}

impl LoraWeights {
    /// An adapter's tensors on a device, checked against the model, without dropout.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the first tensor that is missing, does not belong to the model or has another shape.
    pub fn from_adapter(adapter: &Adapter, spec: &ModelSpec, device: &Device) -> Result<Self> {
        let targets = spec.targets(&adapter.config)?;
        let r = adapter.config.r;
        let fetch = |name: &str, shape: [usize; 2]| {
            let expected = || format!("shape {shape:?}");
            let tensor = adapter.tensors.get(name).ok_or_else(|| Error::adapter(name, expected(), "no such tensor"))?;
            if tensor.shape != shape {
                return Err(Error::adapter(name, expected(), format!("shape {:?}", tensor.shape)));
            }
            device.tensor(tensor.data.clone(), shape)
        };
        let mut modules = BTreeMap::new();
        for module in &targets {
            let a = fetch(&key_a(&module.path), [r, module.input])?;
            let b = fetch(&key_b(&module.path), [module.output, r])?;
            modules.insert(module.path.clone(), LoraPair { a, b });
        }
        if let Some(name) = adapter.tensors.keys().find(|name| !is_key_of(&modules, name)) {
            let names: Vec<&str> = modules.keys().take(3).map(String::as_str).collect();
            return Err(Error::adapter(
                name,
                format!("a module of the model, such as {}", names.join(", ")),
                "this name",
            ));
        }
        Ok(Self { modules, scaling: adapter.config.scaling(), dropout: None })
    }

    /// The values as an adapter with these settings.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub fn to_adapter(&self, config: &AdapterConfig) -> Result<Adapter> {
        let mut tensors = BTreeMap::new();
        for (path, pair) in &self.modules {
            for (name, tensor) in [(key_a(path), &pair.a), (key_b(path), &pair.b)] {
                let shape = tensor.dims();
                tensors.insert(name, AdapterTensor { shape, data: to_vec(plain(tensor.clone()))? });
            }
        }
        Ok(Adapter { config: config.clone(), tensors })
    }

    /// The same adapters with each tensor replaced; `f` is given the names of [`Adapter::tensors`].
    #[must_use]
    pub fn map(&self, mut f: impl FnMut(&str, Tensor<2>) -> Tensor<2>) -> Self {
        let modules = self
            .modules
            .iter()
            .map(|(path, pair)| {
                let a = f(&key_a(path), pair.a.clone());
                let b = f(&key_b(path), pair.b.clone());
                (path.clone(), LoraPair { a, b })
            })
            .collect();
        Self { modules, scaling: self.scaling, dropout: self.dropout }
    }

    /// The same adapters with dropout as in step `seed` of a training, none where `p` is 0.
    #[must_use]
    pub fn with_dropout(mut self, p: f32, seed: Seed) -> Self {
        self.dropout = (p > 0.0).then_some(Dropout { p, seed });
        self
    }

    /// The update of one module for its input, scaling * dropout(x) A^T B^T, where the module is adapted.
    ///
    /// # Shapes
    /// - x: `[n, in]`
    /// - returns `[n, out]`
    pub fn update(&self, path: &str, x: &Tensor<2>) -> Option<Tensor<2>> {
        let pair = self.modules.get(path)?;
        let input = match &self.dropout {
            None => x.clone(),
            Some(dropout) => x.clone() * like(dropout.mask(path, x), x),
        };
        let a = like(pair.a.clone(), x);
        let b = like(pair.b.clone(), x);
        // The scaling goes onto the narrow product: r columns instead of `out`.
        Some(input.matmul(a.transpose()).mul_scalar(self.scaling).matmul(b.transpose()))
    }
}

impl Dropout {
    /// Which of so many inputs of one module stay: 1 for those, else 0.
    pub(super) fn kept(&self, path: &str, count: usize) -> Vec<u8> {
        // Two bytes a draw: p is met within 1/65,536, and a mask costs half as much as with four.
        let mut bytes = vec![0u8; count * 2];
        self.seed.derive(path, 0).rng().fill_bytes(&mut bytes);
        low_rank::kept(&bytes, (f64::from(self.p) * 65_536.0).round() as u32)
    }

    /// By what those that stay are multiplied.
    pub(super) fn factor(&self) -> f32 {
        1.0 / (1.0 - self.p)
    }

    /// A mask of 0 and 1 / (1 - p) for the input of one module, drawn on the CPU: the same on every device.
    fn mask(&self, path: &str, x: &Tensor<2>) -> Tensor<2> {
        let [rows, cols] = x.dims();
        let keep = self.factor();
        let values = self.kept(path, rows * cols).into_iter().map(|kept| f32::from(kept) * keep).collect();
        let device = Device::of(x);
        Tensor::from_data(burn::tensor::TensorData::new::<f32, _>(values, [rows, cols]), device.inner())
    }
}

/// The name of A in an adapter.
pub fn key_a(path: &str) -> String {
    format!("{path}.lora_A.weight")
}

/// The name of B in an adapter.
pub fn key_b(path: &str) -> String {
    format!("{path}.lora_B.weight")
}

fn is_key_of(modules: &BTreeMap<String, LoraPair>, name: &str) -> bool {
    name.strip_suffix(".lora_A.weight")
        .or_else(|| name.strip_suffix(".lora_B.weight"))
        .is_some_and(|path| modules.contains_key(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::spec::ModuleSpec;

    fn spec() -> ModelSpec {
        let module = |path: &str| ModuleSpec { path: path.into(), input: 3, output: 2 };
        ModelSpec {
            layers: 1,
            hidden_size: 3,
            vocab_size: 5,
            max_positions: 8,
            modules: ["h.0.attn.c_proj", "h.0.mlp.c_proj", "h.0.mlp.c_fc"].map(module).to_vec(),
            default_targets: vec!["c_fc".into()],
            fan_in_fan_out: false,
            causal: true,
        }
    }

    fn adapter() -> Adapter {
        let config = AdapterConfig { r: 1, lora_alpha: 3.0, ..AdapterConfig::default() };
        let tensor = |shape: [usize; 2], data: &[f32]| AdapterTensor { shape, data: data.to_vec() };
        let tensors = BTreeMap::from([
            (key_a("h.0.mlp.c_fc"), tensor([1, 3], &[1.0, 0.0, 2.0])),
            (key_b("h.0.mlp.c_fc"), tensor([2, 1], &[1.0, -1.0])),
        ]);
        Adapter { config, tensors }
    }

    #[test]
    fn the_update_is_scaled_b_a_x() {
        let lora = LoraWeights::from_adapter(&adapter(), &spec(), &Device::cpu()).unwrap();
        let x = Device::cpu().tensor(vec![1.0, 5.0, 0.5], [1, 3]).unwrap();
        assert_eq!(to_vec(lora.update("h.0.mlp.c_fc", &x).unwrap()).unwrap(), [6.0, -6.0]);
        assert!(lora.update("h.0.attn.c_proj", &x).is_none());
        assert_eq!(lora.to_adapter(&adapter().config).unwrap(), adapter());
    }

    #[test]
    fn names_and_shapes_are_checked() {
        let load = |adapter: &Adapter| LoraWeights::from_adapter(adapter, &spec(), &Device::cpu());
        let mut foreign = adapter();
        let tensor = foreign.tensors[&key_a("h.0.mlp.c_fc")].clone();
        foreign.tensors.insert(key_a("h.9.mlp.c_fc"), tensor);
        assert!(load(&foreign).unwrap_err().to_string().contains("h.9.mlp.c_fc"));
        let mut missing = adapter();
        missing.tensors.remove(&key_b("h.0.mlp.c_fc"));
        assert!(load(&missing).unwrap_err().to_string().contains("lora_B"));
        let mut misshaped = adapter();
        misshaped.config.r = 2;
        assert!(load(&misshaped).unwrap_err().to_string().contains("[2, 3]"));
        let mut target = adapter();
        target.config.target_modules = vec!["q_proj".into()];
        let error = load(&target).unwrap_err().to_string();
        assert!(error.contains("q_proj") && error.contains("c_fc, c_proj"), "{error}");
    }

    #[test]
    fn targets_match_whole_components() {
        let spec = spec();
        let paths = |target: &str| {
            let config = AdapterConfig { target_modules: vec![target.into()], ..AdapterConfig::default() };
            spec.targets(&config).map(|t| t.iter().map(|m| m.path.clone()).collect::<Vec<_>>())
        };
        assert_eq!(paths("c_proj").unwrap().len(), 2);
        assert_eq!(paths("mlp.c_proj").unwrap(), ["h.0.mlp.c_proj"]);
        assert!(paths("proj").is_err());
    }

    #[test]
    fn dropout_repeats_for_a_seed_and_keeps_the_mean() {
        let x = Tensor::<2>::ones([200, 100], Device::cpu().inner());
        let mask = |seed, path: &str| to_vec(Dropout { p: 0.25, seed: Seed(seed) }.mask(path, &x)).unwrap();
        assert_eq!(mask(1, "a"), mask(1, "a"));
        assert_ne!(mask(1, "a"), mask(2, "a"));
        assert_ne!(mask(1, "a"), mask(1, "b"));
        let mean = mask(1, "a").iter().sum::<f32>() / 20_000.0;
        // Five standard deviations of a mean of 20,000 draws.
        assert!((mean - 1.0).abs() < 5.0 * (0.25f32 / 0.75 / 20_000.0).sqrt(), "{mean}");
        assert!(mask(1, "a").iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    }
}
