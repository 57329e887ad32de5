//! A fresh adapter, as PEFT makes it.

use crate::error::Result;
use crate::model::ModelSpec;
use crate::model::lora::{key_a, key_b};
use crate::types::{Adapter, AdapterConfig, AdapterTensor, Seed};
use rand::RngExt as _;
use std::collections::BTreeMap;

/// An adapter that changes nothing yet: A kaiming-uniform with a = sqrt(5), that is uniform in
/// (-1/sqrt(in), 1/sqrt(in)); B zero (PEFT's `reset_lora_parameters` with `init_lora_weights=True`).
///
/// Target modules that are not named become the model family's own.
///
/// # Errors
/// [`Error::Parameter`](crate::Error::Parameter) or [`Error::Adapter`](crate::Error::Adapter) that names the setting which is out of range or matches no module.
pub fn init_adapter(config: &AdapterConfig, spec: &ModelSpec, seed: Seed) -> Result<Adapter> {
    config.check()?;
    let mut config = config.clone();
    if config.target_modules.is_empty() {
        config.target_modules.clone_from(&spec.default_targets);
    }
    config.target_modules.sort_unstable();
    config.target_modules.dedup();
    let mut tensors = BTreeMap::new();
    for module in spec.targets(&config)? {
        let bound = 1.0 / (module.input as f32).sqrt();
        // A stream for each module: what one draws does not depend on which others are adapted.
        let mut rng = seed.derive(&module.path, 0).rng();
        let data = (0..config.r * module.input).map(|_| rng.random_range(-bound..bound)).collect();
        tensors.insert(key_a(&module.path), AdapterTensor { shape: [config.r, module.input], data });
        let data = vec![0.0; module.output * config.r];
        tensors.insert(key_b(&module.path), AdapterTensor { shape: [module.output, config.r], data });
    }
    Ok(Adapter { config, tensors })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::ModuleSpec;

    fn spec() -> ModelSpec {
        let module = |path: &str, input, output| ModuleSpec { path: path.into(), input, output };
        ModelSpec {
            layers: 1,
            hidden_size: 64,
            vocab_size: 10,
            max_positions: 16,
            modules: vec![module("layers.0.v_proj", 64, 32), module("layers.0.down_proj", 256, 64)],
            default_targets: vec!["v_proj".into(), "down_proj".into()],
            fan_in_fan_out: false,
            causal: true,
        }
    }

    #[test]
    fn a_is_uniform_and_b_is_zero() {
        let adapter = init_adapter(&AdapterConfig::default(), &spec(), Seed(1)).unwrap();
        assert_eq!(adapter.config.target_modules, ["down_proj", "v_proj"]);
        assert_eq!(adapter.tensors.len(), 4);
        for (name, bound) in [("layers.0.v_proj.lora_A.weight", 0.125f32), ("layers.0.down_proj.lora_A.weight", 0.0625)]
        {
            let data = &adapter.tensors[name].data;
            assert!(data.iter().all(|v| v.abs() <= bound));
            // The variance of a uniform value in (-bound, bound) is bound^2 / 3.
            let variance = data.iter().map(|v| v * v).sum::<f32>() / data.len() as f32;
            assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.15, "{variance}");
            assert!(data.iter().sum::<f32>().abs() / (data.len() as f32) < bound * 0.1);
        }
        assert!(adapter.tensors["layers.0.v_proj.lora_B.weight"].data.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn the_seed_decides() {
        let init = |seed| init_adapter(&AdapterConfig::default(), &spec(), Seed(seed)).unwrap();
        assert_eq!(init(1), init(1));
        assert_ne!(init(1), init(2));
        let config = AdapterConfig { target_modules: vec!["v_proj".into()], ..AdapterConfig::default() };
        let fewer = init_adapter(&config, &spec(), Seed(1)).unwrap();
        let name = "layers.0.v_proj.lora_A.weight";
        assert_eq!(fewer.tensors[name], init(1).tensors[name]);
    }

    #[test]
    fn bad_settings_are_named() {
        let fails = |config| init_adapter(&config, &spec(), Seed(0)).unwrap_err().to_string();
        assert!(fails(AdapterConfig { r: 0, ..AdapterConfig::default() }).starts_with("r: "));
        assert!(fails(AdapterConfig { lora_dropout: 1.0, ..AdapterConfig::default() }).contains("lora_dropout"));
        assert!(fails(AdapterConfig { lora_alpha: f32::NAN, ..AdapterConfig::default() }).contains("lora_alpha"));
        let config = AdapterConfig { target_modules: vec!["q_proj".into()], ..AdapterConfig::default() };
        assert!(fails(config).contains("q_proj"));
    }
}
