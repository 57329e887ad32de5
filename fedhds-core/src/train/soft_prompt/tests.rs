use super::super::adapter_config::AdapterFileConfig;
use super::super::adapter_file::{check_adapter, from_bytes, read_adapter, to_bytes, write_adapter};
use super::super::run::train_adapter;
use super::super::test_model::{POISON, examples, small_model};
use super::*;
use crate::generate::{generate, response_losses};
use crate::model::soft_prompt::{PROMPT, init_soft_prompt};
use crate::model::tensor::to_vec;
use crate::model::{Device, Example, InMemoryWeights, ModelConfig, Tuned};
use crate::settings::{GenerateConfig, TrainConfig};
use crate::types::{AdapterKind, AdapterTensor, Context, Control, Seed};
use std::collections::BTreeMap;
use std::path::Path;

const KINDS: [&str; 2] = [AdapterConfig::PROMPT_TUNING, AdapterConfig::P_TUNING];

/// A model that adds positions to its tokens.
fn gpt2() -> Box<dyn Transformer> {
    let text = r#"{"model_type": "gpt2", "vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 24,
        "initializer_range": 0.3}"#;
    let config = ModelConfig::from_json(Path::new("(test)"), text).unwrap();
    config.build(&InMemoryWeights::random(&config, Seed(2)).unwrap(), &Device::cpu()).unwrap()
}

fn settings(kind: &str, r: usize) -> AdapterConfig {
    AdapterConfig { r, target_modules: vec![kind.into()], ..AdapterConfig::default() }
}

fn fresh(kind: &str, r: usize, model: &dyn Transformer) -> Adapter {
    init_soft_prompt(&settings(kind, r), model, Seed(3)).unwrap()
}

/// The soft prompt that says what these tokens say.
fn of_tokens(model: &dyn Transformer, ids: &[u32]) -> Adapter {
    let rows = to_vec(plain(model.token_embeddings(ids).unwrap())).unwrap();
    let tensor = AdapterTensor { shape: [ids.len(), model.spec().hidden_size], data: rows };
    Adapter { config: settings(KINDS[0], ids.len()), tensors: BTreeMap::from([(PROMPT.to_owned(), tensor)]) }
}

#[test]
fn vectors_of_tokens_are_those_tokens() {
    let words = [7, 31, 4];
    for model in [small_model(), gpt2()] {
        let model = model.as_ref();
        let adapter = of_tokens(model, &words);
        let tuned = Tuned::new(model, Some(&adapter)).unwrap();
        let (control, settings) = (Control::default(), GenerateConfig { max_new_tokens: 6, ..Default::default() });
        let longer: Vec<Example> = examples(5)
            .into_iter()
            .map(|e| Example { ids: [&words[..], &e.ids].concat(), response_start: e.response_start + words.len() })
            .collect();
        let expected = response_losses(model, &longer, 2, None, 1, &control).unwrap();
        let got = response_losses(tuned.model(), &tuned.examples(examples(5)), 2, tuned.lora(), 1, &control).unwrap();
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
        let prompts: Vec<&[u32]> = longer.iter().map(Example::prompt).collect();
        let expected = generate(model, &prompts, &[], &settings, None, &control).unwrap();
        let own: Vec<Vec<u32>> = examples(5).iter().map(|example| tuned.tokens(example.prompt())).collect();
        let got = generate(tuned.model(), &own, &[], &settings, tuned.lora(), &control).unwrap();
        assert_eq!(got, expected);
    }
}

fn step(checkpointing: bool) -> Step {
    Step { scale: 0.25, checkpointing, dropout: 0.0, seed: Seed(0) }
}

#[test]
fn gradients_are_those_of_differences_with_checkpoints_or_without() {
    for model in [small_model(), gpt2()] {
        let model = model.as_ref();
        for kind in KINDS {
            let adapter = fresh(kind, 3, model);
            let tuned = Tuned::new(model, Some(&adapter)).unwrap();
            let behind = tuned.examples(examples(3));
            let (batch, rows) = LossRows::of_examples(&behind.iter().collect::<Vec<_>>()).unwrap();
            let pass = |adapter: &Adapter, checkpointing| {
                let prompt = SoftPrompt::from_adapter(adapter, model.spec(), &model.device()).unwrap();
                prompt.pass(model, &batch, &rows, step(checkpointing)).unwrap()
            };
            let (plain, again) = (pass(&adapter, false), pass(&adapter, true));
            assert!((plain.loss - again.loss).abs() < 1e-5);
            let (plain, again) = (plain.gradients.unwrap(), again.gradients.unwrap());
            assert!(plain.keys().eq(adapter.tensors.keys()));
            for (name, gradient) in &plain {
                let [values, others] =
                    [gradient, &again[name]].map(|g| to_vec(crate::model::tensor::plain(g.clone())).unwrap());
                assert!(values.iter().zip(&others).all(|(a, b)| (a - b).abs() < 1e-4), "{kind} {name}");
                // Along the gradient itself the loss grows by its squared length.
                let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
                let moved = |by: f64| {
                    let mut adapter = adapter.clone();
                    let tensor = adapter.tensors.get_mut(name).unwrap();
                    let reach = by / square.sqrt();
                    tensor.data.iter_mut().zip(&values).for_each(|(x, g)| *x += (reach * f64::from(*g)) as f32);
                    pass(&adapter, false).loss
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((slope - square.sqrt()).abs() < 0.05 * square.sqrt() + 1e-4, "{kind} {name}: {slope} {square}");
            }
        }
    }
}

#[test]
fn training_lowers_the_loss_and_repeats_to_the_bit() {
    let model = small_model();
    let config = TrainConfig { learning_rate: 0.05, local_epochs: 8, batch_size: 2, ..TrainConfig::default() };
    for kind in KINDS {
        let start = fresh(kind, 4, model.as_ref());
        let train = || train_adapter(model.as_ref(), &start, &examples(6), &config, &Context::new(5)).unwrap();
        let trained = train();
        assert_eq!(trained.adapter, train().adapter);
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (first, last) = (mean(&trained.losses[..3]), mean(&trained.losses[trained.losses.len() - 3..]));
        assert!(last < 0.9 * first, "{kind}: {first} to {last}");
        check_adapter(&trained.adapter, model.spec()).unwrap();
    }
    // 24 positions: vectors and tokens together.
    let full = fresh(KINDS[0], 17, model.as_ref());
    let error = train_adapter(model.as_ref(), &full, &examples(3), &config, &Context::new(5)).unwrap_err().to_string();
    assert!(error.contains("at most 24 tokens"), "{error}");
    let poisoned = Example { ids: vec![POISON, 3, 4], response_start: 1 };
    let trained =
        train_adapter(model.as_ref(), &fresh(KINDS[0], 2, model.as_ref()), &[poisoned], &config, &Context::new(5));
    assert_eq!(trained.unwrap().skipped, 8);
}

#[test]
fn files_are_pefts_and_come_back() {
    let model = small_model();
    for kind in KINDS {
        let adapter = fresh(kind, 5, model.as_ref());
        let folder = tempfile::tempdir().unwrap();
        write_adapter(folder.path(), &adapter, Some("a model")).unwrap();
        assert_eq!(read_adapter(folder.path()).unwrap(), adapter);
        assert_eq!(from_bytes(&to_bytes(&adapter).unwrap(), &adapter.config).unwrap(), adapter);
        let text = std::fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["num_virtual_tokens"], &json["token_dim"]), (&5.into(), &16.into()));
        assert_eq!(json["peft_type"], if kind == KINDS[0] { "PROMPT_TUNING" } else { "P_TUNING" });
        // What PEFT writes of P-tuning are the vectors alone.
        let bytes = std::fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let vectors = file.tensor(PROMPT).unwrap();
        assert_eq!(vectors.shape(), [5, 16]);
        let alone = safetensors::serialize([(PROMPT, vectors)], None).unwrap();
        std::fs::write(folder.path().join("adapter_model.safetensors"), alone).unwrap();
        let read = read_adapter(folder.path()).unwrap();
        assert_eq!(read.config.kind(), AdapterKind::PromptTuning);
        let losses = |adapter: &Adapter| {
            let tuned = Tuned::new(model.as_ref(), Some(adapter)).unwrap();
            response_losses(tuned.model(), &tuned.examples(examples(2)), 2, None, 1, &Control::default()).unwrap()
        };
        assert_eq!(losses(&read), losses(&adapter));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let read = |text: &str| AdapterFileConfig::from_json("adapter_config.json", text).unwrap_err().to_string();
    for (text, word) in [
        (r#"{"peft_type": "PROMPT_TUNING"}"#, "num_virtual_tokens"),
        (r#"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 0}"#, "num_virtual_tokens"),
        (r#"{"peft_type": "P_TUNING", "num_virtual_tokens": 2, "encoder_reparameterization_type": "LSTM"}"#, "LSTM"),
        (r#"{"peft_type": "P_TUNING", "num_virtual_tokens": 2, "num_transformer_submodules": 2}"#, "submodules"),
        (r#"{"peft_type": "P_TUNING", "num_virtual_tokens": 2, "of_tomorrow": 2}"#, "of_tomorrow"),
    ] {
        assert!(read(text).contains(word), "{text}: {}", read(text));
    }
    let model = small_model();
    let says = |config: AdapterConfig| init_soft_prompt(&config, model.as_ref(), Seed(0)).unwrap_err().to_string();
    assert!(says(settings(KINDS[0], 24)).contains("24 positions"));
    assert!(says(settings("q_proj", 4)).contains("soft prompt"));
    let mut adapter = fresh(KINDS[1], 2, model.as_ref());
    let tuned = |adapter: &Adapter| Tuned::new(model.as_ref(), Some(adapter)).map(|_| ()).unwrap_err().to_string();
    adapter.tensors.get_mut("prompt_encoder.mlp_head.2.bias").unwrap().shape = [16, 1];
    assert!(tuned(&adapter).contains("mlp_head.2.bias"));
    adapter.tensors.remove("prompt_encoder.mlp_head.2.bias");
    assert!(tuned(&adapter).contains("no such tensor"));
    let mut adapter = fresh(KINDS[0], 2, model.as_ref());
    adapter.tensors.insert("more".into(), AdapterTensor { shape: [1, 1], data: vec![0.0] });
    assert!(tuned(&adapter).contains("more"));
}
