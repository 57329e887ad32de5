//! Training and generation equal PEFT, `torch.optim.Adam` and transformers (fixtures/train/make.py).
//!
//! `FEDHDS_TEST_DEVICE` names the device, `cpu` where it is not set.

use fedhds_core::generate::{GenerateConfig, generate, response_losses};
use fedhds_core::model::tensor::to_vec;
use fedhds_core::model::{
    Batch, Device, InMemoryWeights, LoraWeights, ModelConfig, Transformer, WeightData, hidden_states, take_tokens,
};
use fedhds_core::train::loss::LossRows;
use fedhds_core::train::step::backward;
use fedhds_core::train::{Example, TrainConfig, check_adapter, read_adapter, train_adapter, write_adapter};
use fedhds_core::types::{Adapter, Context, Control};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

const FAMILIES: [&str; 2] = ["llama", "gpt2"];

struct Fixture {
    folder: PathBuf,
    model: Box<dyn Transformer>,
    adapter: Adapter,
    cases: Value,
    expected: BTreeMap<String, WeightData>,
}

fn device() -> Device {
    Device::parse(&std::env::var("FEDHDS_TEST_DEVICE").unwrap_or("cpu".into())).unwrap()
}

fn tensors(path: PathBuf) -> BTreeMap<String, WeightData> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            (name.to_string(), WeightData { shape: view.shape().to_vec(), data })
        })
        .collect()
}

impl Fixture {
    fn load(family: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/train").join(family);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let config = ModelConfig::from_json(&folder.join("config.json"), &read("config.json")).unwrap();
        let weights = InMemoryWeights::new(tensors(folder.join("model.safetensors")));
        Self {
            model: config.build(&weights, &device()).unwrap(),
            adapter: read_adapter(folder.join("adapter")).unwrap(),
            cases: serde_json::from_str(&read("cases.json")).unwrap(),
            expected: tensors(folder.join("expected.safetensors")),
            folder,
        }
    }

    fn lora(&self) -> LoraWeights {
        LoraWeights::from_adapter(&self.adapter, self.model.spec(), &self.model.device()).unwrap()
    }

    fn examples(&self) -> Vec<Example> {
        let parse =
            |e: &Value| Example { ids: ids(&e["ids"]), response_start: e["response_start"].as_u64().unwrap() as usize };
        self.cases["examples"].as_array().unwrap().iter().map(parse).collect()
    }

    fn train(&self, config: TrainConfig) -> fedhds_core::stage::Trained {
        let learning_rate = self.cases["learning_rate"].as_f64().unwrap();
        let config = TrainConfig { learning_rate, ..config };
        train_adapter(&*self.model, &self.adapter, &self.examples(), &config, &Context::new(3)).unwrap()
    }

    /// The largest difference of the adapter's tensors from the expected ones, relative to each tensor's size; and the
    /// difference of the changes since the start, relative to the changes.
    fn distance(&self, adapter: &Adapter, key: &str) -> (f64, f64) {
        let (mut values, mut changes) = (0.0f64, 0.0f64);
        for (name, tensor) in &adapter.tensors {
            let expected = &self.expected[&format!("{key}.{name}")];
            assert_eq!(expected.shape, tensor.shape, "{name}");
            let before = &self.adapter.tensors[name].data;
            values = values.max(relative(&tensor.data, &expected.data));
            let change = |after: &[f32]| after.iter().zip(before).map(|(a, b)| a - b).collect::<Vec<f32>>();
            changes = changes.max(norm_distance(&change(&tensor.data), &change(&expected.data)));
        }
        assert!(self.expected.keys().filter(|k| k.starts_with(&format!("{key}."))).count() == adapter.tensors.len());
        (values, changes)
    }
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn id_lists(value: &Value) -> Vec<Vec<u32>> {
    value.as_array().unwrap().iter().map(ids).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The largest difference, relative to the largest expected value.
fn relative(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let size = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let difference = got.iter().zip(expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    f64::from(difference / size)
}

fn norm_distance(got: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    square(&mut got.iter().zip(expected).map(|(a, b)| a - b)) / square(&mut expected.iter().copied())
}

fn close(got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance * expected.abs(), "{got} {expected}");
}

#[test]
fn an_adapter_saved_by_peft_gives_the_logits_of_peft() {
    for family in FAMILIES {
        let fixture = Fixture::load(family);
        check_adapter(&fixture.adapter, fixture.model.spec()).unwrap();
        let batch = Batch::new(&[ids(&fixture.cases["longest"])], 0).unwrap();
        let lora = fixture.lora();
        for (key, lora) in [("logits.base", None), ("logits.tuned", Some(&lora))] {
            let hidden = hidden_states(&*fixture.model, &batch, lora).unwrap();
            let all: Vec<usize> = (0..batch.width()).collect();
            let rows = take_tokens(hidden, &all).unwrap();
            let logits = to_vec(fixture.model.logits(fixture.model.final_norm(rows)).unwrap()).unwrap();
            let distance = relative(&logits, &fixture.expected[key].data);
            assert!(distance < 1e-4, "{family} {key}: {distance}");
        }
        let base = &fixture.expected["logits.base"].data;
        assert!(relative(&fixture.expected["logits.tuned"].data, base) > 0.1, "the adapter changes nothing");
    }
}

#[test]
fn a_written_adapter_is_read_back_and_has_peft_names() {
    for family in FAMILIES {
        let fixture = Fixture::load(family);
        let folder = tempfile::tempdir().unwrap();
        write_adapter(folder.path(), &fixture.adapter, Some(family)).unwrap();
        assert_eq!(read_adapter(folder.path()).unwrap(), fixture.adapter);
        let file = "adapter_model.safetensors";
        assert_eq!(tensors(folder.path().join(file)), tensors(fixture.folder.join("adapter").join(file)));
        let text = |path: PathBuf| -> Value { serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap() };
        let written = text(folder.path().join("adapter_config.json"));
        let saved = text(fixture.folder.join("adapter/adapter_config.json"));
        for (key, value) in written.as_object().unwrap() {
            assert_eq!(value.as_f64().is_some(), saved[key].as_f64().is_some(), "{key}");
            assert!(value == &saved[key] || value.as_f64() == saved[key].as_f64(), "{key}");
        }
    }
}

#[test]
fn losses_and_gradients_equal_pytorchs() {
    for family in FAMILIES {
        let fixture = Fixture::load(family);
        let examples = fixture.examples();
        let rows: Vec<&[u32]> = examples.iter().map(|e| e.ids.as_slice()).collect();
        let starts: Vec<usize> = examples.iter().map(|e| e.response_start).collect();
        let batch = Batch::new(&rows, 0).unwrap();
        let rows = LossRows::from_starts(&batch, &starts).unwrap();
        for checkpointing in [false, true] {
            let scale = 1.0 / rows.count() as f64;
            let pass = backward(&*fixture.model, &fixture.lora(), &batch, &rows, scale, checkpointing).unwrap();
            close(pass.loss, fixture.cases["mean_loss"].as_f64().unwrap(), 1e-5);
            let gradients = pass.gradients.unwrap();
            assert_eq!(gradients.len(), fixture.adapter.tensors.len());
            for (name, gradient) in gradients {
                let expected = &fixture.expected[&format!("gradient.{name}")];
                let distance = relative(&to_vec(gradient).unwrap(), &expected.data);
                assert!(distance < 1e-4, "{family} {name} {checkpointing}: {distance}");
            }
        }
    }
}

#[test]
fn steps_equal_torch_adam() {
    // The four examples of the fixture make one step, as one batch or as several, whatever their order.
    let whole = TrainConfig { batch_size: 4, ..TrainConfig::default() };
    let halves = TrainConfig { batch_size: 2, gradient_accumulation_steps: 2, ..TrainConfig::default() };
    let quarters = TrainConfig {
        batch_size: 1,
        gradient_accumulation_steps: 4,
        gradient_checkpointing: true,
        ..TrainConfig::default()
    };
    for family in FAMILIES {
        let fixture = Fixture::load(family);
        for config in [&whole, &halves, &quarters] {
            let clip = fixture.cases["clip"].as_f64();
            for (key, steps, max_grad_norm, tolerance) in
                [("step1", 1, None, 1e-4), ("step10", 10, None, 1e-3), ("clipped10", 10, clip, 1e-3)]
            {
                let trained = fixture.train(TrainConfig { local_epochs: steps, max_grad_norm, ..config.clone() });
                let (values, changes) = fixture.distance(&trained.adapter, key);
                println!("{family} {key} batch {}: values {values:.1e}, changes {changes:.1e}", config.batch_size);
                assert!(values < tolerance, "{family} {key}: {values}");
                assert!(changes < 1e-2, "{family} {key}: {changes}");
                let expected = numbers(&fixture.cases["step_losses"][key]);
                assert_eq!(trained.losses.len(), expected.len());
                for (got, expected) in trained.losses.iter().zip(expected) {
                    close(f64::from(*got), expected, 1e-4);
                }
                assert_eq!(trained.skipped, 0);
                let tokens: usize = fixture.examples().iter().map(|e| e.ids.len()).sum();
                assert_eq!(trained.tokens, (tokens * steps) as u64);
            }
        }
    }
}

#[test]
fn clipping_acts() {
    let fixture = Fixture::load("llama");
    let name = fixture.adapter.tensors.keys().next().unwrap();
    let of = |key: &str| fixture.expected[&format!("{key}.{name}")].data.clone();
    assert_ne!(of("step10"), of("clipped10"), "the fixture's clip changes nothing");
}

#[test]
fn response_losses_equal_transformers() {
    for family in FAMILIES {
        let fixture = Fixture::load(family);
        let lora = fixture.lora();
        for (key, lora) in [("losses", Some(&lora)), ("base_losses", None)] {
            for batch_size in [1, 3, 8] {
                let losses =
                    response_losses(&*fixture.model, &fixture.examples(), batch_size, lora, 2, &Control::default())
                        .unwrap();
                for (got, expected) in losses.into_iter().zip(numbers(&fixture.cases[key])) {
                    close(got, expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn greedy_generation_equals_transformers() {
    for family in FAMILIES {
        let fixture = Fixture::load(family);
        let prompts = id_lists(&fixture.cases["prompts"]);
        let max_new_tokens = fixture.cases["max_new_tokens"].as_u64().unwrap() as usize;
        let eos = [fixture.cases["eos"].as_u64().unwrap() as u32];
        let lora = fixture.lora();
        for (key, eos, lora) in [
            ("greedy_base", &eos[..0], None),
            ("greedy_tuned", &eos[..0], Some(&lora)),
            ("greedy_until_eos", &eos[..], Some(&lora)),
        ] {
            for batch_size in [1, 2, 5] {
                let config = GenerateConfig { max_new_tokens, batch_size, ..GenerateConfig::default() };
                let got = generate(&*fixture.model, &prompts, eos, &config, lora, &Control::default()).unwrap();
                assert_eq!(got, id_lists(&fixture.cases[key]), "{family} {key} {batch_size}");
            }
        }
    }
}
