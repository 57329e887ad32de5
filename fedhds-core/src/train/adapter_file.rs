//! Adapters on disk and as bytes, in PEFT's format: `adapter_config.json` beside `adapter_model.safetensors`.

use super::adapter_config::{AdapterFileConfig, module_of, to_json};
use super::soft_prompt_file;
use crate::error::{Error, Result};
use crate::files::{atomic_write, read_bounded, read_text};
use crate::model::lora::{key_a, key_b};
use crate::model::soft_prompt::{self, PROMPT};
use crate::model::tensor::to_vec;
use crate::model::{Device, ModelSpec, SoftPrompt};
use crate::types::{Adapter, AdapterConfig, AdapterKind, AdapterTensor};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The settings' file in an adapter's folder.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The tensors' file in an adapter's folder.
pub const TENSOR_FILE: &str = "adapter_model.safetensors";
/// Largest file of settings, in bytes.
const LARGEST_CONFIG: u64 = 16 << 20;
/// Largest file of tensors, in bytes.
const LARGEST_TENSORS: u64 = 64 << 30;
/// What PEFT puts before the name of every module.
const PREFIX: &str = "base_model.model.";

/// Reads an adapter's folder. Tensors may be f32, f16 or bf16.
///
/// That the names belong to a model is checked by [`check_adapter`], and again wherever an adapter meets a model.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read; [`Error::Adapter`] that names the key or tensor which is not understood, not
/// supported, or whose other half is missing.
pub fn read_adapter(folder: impl AsRef<Path>) -> Result<Adapter> {
    let folder = folder.as_ref();
    let config_path = folder.join(CONFIG_FILE);
    let text = read_text(&config_path, LARGEST_CONFIG)?;
    let config = AdapterFileConfig::from_json(&config_path.display().to_string(), &text)?;
    let path = folder.join(TENSOR_FILE);
    if !path.exists() && folder.join("adapter_model.bin").exists() {
        return Err(Error::adapter(
            path.display().to_string(),
            "tensors in safetensors",
            "adapter_model.bin, a pickle: save the adapter again with safe_serialization=True",
        ));
    }
    let bytes = read_bounded(&path, LARGEST_TENSORS)?;
    read_tensors(&path.display().to_string(), &bytes, config)
}

/// Writes an adapter's folder in f32, making the folder where there is none. Each file is whole or not there at all.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be written; [`Error::Adapter`] as of [`to_bytes`].
pub fn write_adapter(folder: impl AsRef<Path>, adapter: &Adapter, base_model: Option<&str>) -> Result<()> {
    let folder = folder.as_ref();
    let (config, tensors) = (to_json(adapter, base_model)?, to_bytes(adapter)?);
    for (name, bytes) in [(TENSOR_FILE, tensors.as_slice()), (CONFIG_FILE, config.as_bytes())] {
        atomic_write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// The tensors as the bytes of a safetensors file, in f32, under PEFT's names.
///
/// # Errors
/// [`Error::Adapter`] that names a tensor whose data and shape do not agree.
pub fn to_bytes(adapter: &Adapter) -> Result<Vec<u8>> {
    let made = vectors_of(adapter)?;
    let prefix = if adapter.config.kind() == AdapterKind::LowRank { PREFIX } else { "" };
    let mut parts = Vec::with_capacity(adapter.tensors.len() + 1);
    for (name, tensor) in adapter.tensors.iter().chain(made.iter().map(|(name, tensor)| (name, tensor))) {
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        parts.push((name, tensor, bytes));
    }
    let views = parts
        .iter()
        .map(|(name, tensor, bytes)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.to_vec(), bytes).map_err(|_| {
                Error::adapter(
                    name.as_str(),
                    format!("as many values as the shape {:?} has", tensor.shape),
                    tensor.data.len(),
                )
            })?;
            Ok((format!("{prefix}{name}"), view))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = Some(std::collections::HashMap::from([("format".to_string(), "pt".to_string())]));
    safetensors::serialize(views, metadata).map_err(|e| Error::adapter(TENSOR_FILE, "tensors that can be written", e))
}

/// What PEFT keeps of P-tuning: the vectors that the network makes.
fn vectors_of(adapter: &Adapter) -> Result<Option<(String, AdapterTensor)>> {
    if adapter.config.kind() != AdapterKind::PTuning {
        return Ok(None);
    }
    let width = adapter.tensors.values().map(|tensor| tensor.shape[1]).next().unwrap_or(0);
    let vectors = SoftPrompt::of_width(adapter, width, &Device::cpu())?.vectors()?;
    Ok(Some((PROMPT.to_owned(), AdapterTensor { shape: vectors.dims(), data: to_vec(vectors)? })))
}

/// The adapter with these settings and the tensors of a safetensors file's bytes.
///
/// # Errors
/// [`Error::Adapter`] as of [`read_adapter`].
pub fn from_bytes(bytes: &[u8], config: &AdapterConfig) -> Result<Adapter> {
    let targets_are_names = !config.target_modules.is_empty();
    read_tensors("adapter", bytes, AdapterFileConfig { adapter: config.clone(), targets_are_names, base_model: None })
}

/// Whether an adapter's tensors are the ones that a model with these settings has, by name and shape.
///
/// # Errors
/// [`Error::Adapter`] that lists the names which were expected.
pub fn check_adapter(adapter: &Adapter, spec: &ModelSpec) -> Result<()> {
    if let Some(shapes) = soft_prompt::shapes(&adapter.config, spec.hidden_size) {
        return soft_prompt::check(adapter, &shapes);
    }
    let mut expected = BTreeMap::new();
    for module in spec.targets(&adapter.config)? {
        expected.insert(key_a(&module.path), [adapter.config.r, module.input]);
        expected.insert(key_b(&module.path), [module.output, adapter.config.r]);
    }
    if let Some(name) = adapter.tensors.keys().find(|name| !expected.contains_key(*name)) {
        let names: Vec<&str> = expected.keys().map(String::as_str).collect();
        return Err(Error::adapter(name, format!("one of the names {}", names.join(", ")), "this name"));
    }
    for (name, shape) in expected {
        match adapter.tensors.get(&name) {
            None => return Err(Error::adapter(name, format!("a tensor of shape {shape:?}"), "no such tensor")),
            Some(tensor) if tensor.shape != shape => {
                return Err(Error::adapter(name, format!("shape {shape:?}"), format!("shape {:?}", tensor.shape)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn read_tensors(source: &str, bytes: &[u8], config: AdapterFileConfig) -> Result<Adapter> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::adapter(source, "a safetensors file", e))?;
    let at = |name: &str| format!("{source}: {name}");
    let mut tensors = BTreeMap::new();
    let mut modules = BTreeSet::new();
    if config.adapter.kind() != AdapterKind::LowRank {
        for (name, view) in file.iter() {
            let [rows, cols] = *view.shape() else {
                return Err(Error::adapter(at(name), "a matrix", format!("shape {:?}", view.shape())));
            };
            let tensor = AdapterTensor { shape: [rows, cols], data: values(&at(name), &view)? };
            tensors.insert(name.to_string(), tensor);
        }
        return soft_prompt_file::of_tensors(source, Adapter { config: config.adapter, tensors });
    }
    for (full_name, view) in file.iter() {
        let name = full_name.strip_prefix(PREFIX).unwrap_or(full_name);
        let Some(module) = module_of(name) else {
            return Err(Error::adapter(
                at(full_name),
                format!("a name like {PREFIX}MODULE.lora_A.weight or .lora_B.weight"),
                "this name",
            ));
        };
        let r = config.adapter.r;
        let is_a = name.ends_with(".lora_A.weight");
        let shape = match *view.shape() {
            [rows, cols] if (if is_a { rows } else { cols }) == r => [rows, cols],
            ref other => {
                let expected = if is_a { format!("shape [{r}, in]") } else { format!("shape [out, {r}]") };
                return Err(Error::adapter(at(full_name), expected, format!("shape {other:?}")));
            }
        };
        modules.insert(module.to_string());
        tensors.insert(name.to_string(), AdapterTensor { shape, data: values(&at(full_name), &view)? });
    }
    if modules.is_empty() {
        return Err(Error::adapter(source, format!("tensors like {PREFIX}MODULE.lora_A.weight"), "no tensors"));
    }
    for name in modules.iter().flat_map(|module| [key_a(module), key_b(module)]) {
        if !tensors.contains_key(&name) {
            return Err(Error::adapter(at(&format!("{PREFIX}{name}")), "both factors of a module", "no such tensor"));
        }
    }
    let mut adapter = config.adapter;
    if config.targets_are_names {
        check_targets(source, &adapter.target_modules, &modules)?;
    } else {
        adapter.target_modules = modules.into_iter().collect();
    }
    Ok(Adapter { config: adapter, tensors })
}

/// Whether each named target has a module, and each module is a target.
fn check_targets(source: &str, targets: &[String], modules: &BTreeSet<String>) -> Result<()> {
    let fits = |module: &str, target: &str| {
        module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if let Some(target) = targets.iter().find(|target| !modules.iter().any(|module| fits(module, target))) {
        return Err(Error::adapter(
            format!("{source}: target_modules"),
            format!("tensors of the target `{target}`"),
            "none",
        ));
    }
    match modules.iter().find(|module| !targets.iter().any(|target| fits(module, target))) {
        None => Ok(()),
        Some(module) => Err(Error::adapter(
            format!("{source}: {module}"),
            format!("a module among the targets {}", targets.join(", ")),
            "this module",
        )),
    }
}

fn values(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Ok(data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        Dtype::BF16 => Ok(data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        other => Err(Error::adapter(name, "values of type F32, F16 or BF16", format!("{other:?}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::ModuleSpec;

    const MODULE: &str = "model.layers.0.self_attn.q_proj";

    fn adapter() -> Adapter {
        let config = AdapterConfig { r: 2, target_modules: vec!["q_proj".into()], ..AdapterConfig::default() };
        let a = AdapterTensor { shape: [2, 3], data: vec![0.5, -1.0, 2.0, 3.5, f32::MIN_POSITIVE, 0.0] };
        let b = AdapterTensor { shape: [1, 2], data: vec![1.0, 1e-3] };
        Adapter { config, tensors: BTreeMap::from([(key_a(MODULE), a), (key_b(MODULE), b)]) }
    }

    fn spec() -> ModelSpec {
        ModelSpec {
            layers: 1,
            hidden_size: 3,
            vocab_size: 4,
            max_positions: 8,
            modules: vec![ModuleSpec { path: MODULE.into(), input: 3, output: 1 }],
            default_targets: vec!["q_proj".into()],
            fan_in_fan_out: false,
            causal: true,
        }
    }

    fn bytes_of(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(n, t, s, d)| (*n, TensorView::new(*t, s.clone(), d).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn a_folder_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/adapter");
        write_adapter(&path, &adapter(), Some("base")).unwrap();
        assert_eq!(read_adapter(&path).unwrap(), adapter());
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
        check_adapter(&adapter(), &spec()).unwrap();
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let bytes = to_bytes(&adapter()).unwrap();
        assert_eq!(from_bytes(&bytes, &adapter().config).unwrap(), adapter());
        let unnamed = AdapterConfig { target_modules: Vec::new(), ..adapter().config };
        assert_eq!(from_bytes(&bytes, &unnamed).unwrap().config.target_modules, [MODULE]);
        let mut torn = adapter();
        torn.tensors.get_mut(&key_a(MODULE)).unwrap().data.pop();
        assert!(to_bytes(&torn).unwrap_err().to_string().contains("lora_A"));
    }

    #[test]
    fn half_precision_is_read() {
        let config = AdapterConfig { r: 1, target_modules: vec!["q".into()], ..AdapterConfig::default() };
        let halves = |v: [f32; 2]| v.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect::<Vec<u8>>();
        let brains = |v: [f32; 2]| v.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect::<Vec<u8>>();
        let bytes = bytes_of(&[
            ("base_model.model.q.lora_A.weight", Dtype::F16, vec![1, 2], halves([0.5, -2.0])),
            ("base_model.model.q.lora_B.weight", Dtype::BF16, vec![2, 1], brains([1.5, 3e30])),
        ]);
        let adapter = from_bytes(&bytes, &config).unwrap();
        assert_eq!(adapter.tensors["q.lora_A.weight"].data, [0.5, -2.0]);
        assert!((adapter.tensors["q.lora_B.weight"].data[1] / 3e30 - 1.0).abs() < 0.01);
    }

    #[test]
    fn broken_files_are_named() {
        let config = AdapterConfig { r: 1, target_modules: vec!["q".into()], ..AdapterConfig::default() };
        let fails = |bytes: &[u8]| from_bytes(bytes, &config).unwrap_err().to_string();
        assert!(fails(b"short").contains("safetensors"));
        let good = to_bytes(&adapter()).unwrap();
        assert!(fails(&good[..good.len() - 1]).contains("safetensors"));
        assert!(fails(&bytes_of(&[])).contains("no tensors"));
        let a = |shape: Vec<usize>| ("base_model.model.q.lora_A.weight", Dtype::F32, shape, vec![0; 8]);
        assert!(fails(&bytes_of(&[a(vec![1, 2])])).contains("q.lora_B.weight"));
        assert!(fails(&bytes_of(&[a(vec![2, 1])])).contains("[1, in]"));
        assert!(fails(&bytes_of(&[a(vec![2])])).contains("shape [2]"));
        let odd = ("base_model.model.q.lora_embedding_A", Dtype::F32, vec![1, 2], vec![0; 8]);
        assert!(fails(&bytes_of(&[odd])).contains("lora_embedding_A"));
        let ints = ("base_model.model.q.lora_A.weight", Dtype::I64, vec![1, 1], vec![0; 8]);
        assert!(fails(&bytes_of(&[ints])).contains("I64"));
    }

    #[test]
    fn targets_and_tensors_must_agree() {
        let bytes = to_bytes(&adapter()).unwrap();
        let with = |targets: &[&str]| AdapterConfig {
            target_modules: targets.iter().map(ToString::to_string).collect(),
            ..adapter().config
        };
        assert!(from_bytes(&bytes, &with(&["self_attn.q_proj"])).is_ok());
        assert!(from_bytes(&bytes, &with(&["q_proj", "v_proj"])).unwrap_err().to_string().contains("v_proj"));
        assert!(from_bytes(&bytes, &with(&["_proj"])).is_err());
    }

    #[test]
    fn names_of_another_model_are_listed() {
        let mut other = adapter();
        let tensor = other.tensors.remove(&key_a(MODULE)).unwrap();
        other.tensors.insert("transformer.h.0.q_proj.lora_A.weight".into(), tensor);
        let error = check_adapter(&other, &spec()).unwrap_err().to_string();
        assert!(error.contains("transformer.h.0") && error.contains(&key_a(MODULE)), "{error}");
        let mut other = adapter();
        other.tensors.remove(&key_b(MODULE));
        assert!(check_adapter(&other, &spec()).unwrap_err().to_string().contains("lora_B"));
        let mut other = adapter();
        other.tensors.get_mut(&key_b(MODULE)).unwrap().shape = [2, 2];
        assert!(check_adapter(&other, &spec()).unwrap_err().to_string().contains("[1, 2]"));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = read_adapter("no/such/folder").unwrap_err().to_string();
        assert!(error.contains("no/such/folder"), "{error}");
    }
}
