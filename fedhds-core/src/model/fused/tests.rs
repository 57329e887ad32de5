//! What the arithmetic of our own gives, beside what the layers give that burn runs.

use crate::features::extract_tokens;
use crate::features::{FeatureParams, Layers};
use crate::generate::{generate, losses_under_prompts, response_losses};
use crate::model::config::{LlamaConfig, RopeScaling};
use crate::model::tensor::to_vec;
use crate::model::testing::Recorded;
use crate::model::{
    Batch, Device, Example, Fused, InMemoryWeights, LoraPair, LoraWeights, ModelConfig, Pooling, Transformer,
    WeightData, WeightSource,
};
use crate::settings::GenerateConfig;
use crate::train::loss::LossRows;
use crate::train::step::backward;
use crate::types::{AdapterConfig, Context, Control, Seed};
use fedhds_kernels::{Form, Matrix};
use std::path::Path;

/// Models that differ in what a layer may have.
fn configs() -> Vec<LlamaConfig> {
    let mut plain = LlamaConfig::new(60, 24, 3, 6);
    plain.num_key_value_heads = 2;
    plain.intermediate_size = 40;
    plain.initializer_range = 0.3;
    plain.max_position_embeddings = 128;
    let mut biased = plain.clone();
    (biased.qkv_bias, biased.output_bias, biased.mlp_bias) = (true, true, true);
    biased.tie_word_embeddings = false;
    let mut windowed = plain.clone();
    windowed.windows = vec![Some(3), None, Some(5)];
    windowed.head_dim = 10;
    windowed.rope.scaling = RopeScaling::Linear { factor: 4.0 };
    vec![plain, biased, windowed]
}

/// The same weights twice, biases that are not 0 among them.
fn both(config: LlamaConfig) -> (Box<dyn Transformer>, Recorded) {
    let config = ModelConfig::Llama(config);
    let mut weights = InMemoryWeights::random(&config, Seed(1)).unwrap();
    for (name, weight) in weights.tensors_mut() {
        if weight.shape.len() == 1 {
            let bias = name.ends_with(".bias");
            let value = |i: usize| ((i * 7 % 11) as f32 - 5.0) / 10.0 + if bias { 0.0 } else { 1.0 };
            weight.data = (0..weight.data.len()).map(value).collect();
        }
    }
    let build = || config.build(&weights, &Device::cpu()).unwrap();
    (build(), Recorded::new(build()))
}

/// Adapters of all modules, or of some.
fn lora(model: &dyn Transformer, targets: &[&str], dropout: f32) -> LoraWeights {
    let config = AdapterConfig {
        r: 3,
        lora_alpha: 6.0,
        target_modules: targets.iter().map(|&target| target.into()).collect(),
        ..AdapterConfig::default()
    };
    let device = Device::cpu();
    let value = |i: usize, shift: usize| (((i + shift) * 37 % 101) as f32 - 50.0) / 200.0;
    let modules = model.spec().targets(&config).unwrap().into_iter().enumerate().map(|(shift, module)| {
        let of = |rows: usize, columns: usize| {
            device.tensor((0..rows * columns).map(|i| value(i, shift)).collect(), [rows, columns]).unwrap()
        };
        (module.path.clone(), LoraPair { a: of(3, module.input), b: of(module.output, 3) })
    });
    LoraWeights { modules: modules.collect(), scaling: config.scaling(), dropout: None }.with_dropout(dropout, Seed(9))
}

/// Sequences of which some begin alike.
fn sequences() -> Vec<Vec<u32>> {
    let head: Vec<u32> = (0..20).map(|i| i * 7 % 60).collect();
    let tail = |n: u32| (0..n).map(move |i| (i * 11 + n) % 60).collect::<Vec<u32>>();
    vec![[head.clone(), tail(5)].concat(), tail(3), [head.clone(), tail(9)].concat(), tail(1), tail(40), head]
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let far = a.iter().zip(b).find(|(a, b)| (*a - *b).abs() > 2e-4 * (1.0 + b.abs()));
    assert!(far.is_none(), "{what}: {far:?}");
}

#[test]
fn features_are_the_same() {
    for config in configs() {
        let (fused, recorded) = both(config);
        assert!(fused.fused().is_some() && recorded.fused().is_none());
        let adapters = lora(fused.as_ref(), &["q_proj", "down_proj"], 0.0);
        for pooling in [Pooling::LastToken, Pooling::Mean] {
            for layers in [Layers::All, Layers::Chosen(vec![2])] {
                for lora in [None, Some(&adapters)] {
                    for batch_tokens in [None, Some(30)] {
                        let params =
                            FeatureParams { pooling, layers: layers.clone(), batch_tokens, ..FeatureParams::default() };
                        let of = |model: &dyn Transformer| {
                            extract_tokens(model, &sequences(), lora, &params, &Context::new(0)).unwrap()
                        };
                        close(of(fused.as_ref()).as_slice(), of(&recorded).as_slice(), "features");
                    }
                }
            }
        }
    }
}

#[test]
fn a_record_has_the_same_bits_whatever_is_read_with_it() {
    let (fused, _) = both(configs().remove(2));
    let examples: Vec<Example> = sequences()
        .into_iter()
        .chain((0..9).map(|n| vec![n + 3; 2]))
        // More of one record than it has tokens.
        .chain((0..9).map(|_| vec![1, 2, 3]))
        .filter(|ids| ids.len() > 1)
        .map(|ids| Example { response_start: ids.len() / 2, ids })
        .collect();
    let ids: Vec<Vec<u32>> = examples.iter().map(|example| example.ids.clone()).collect();
    let adapters = lora(fused.as_ref(), &["q_proj", "down_proj"], 0.0);
    let control = Control::default();
    let mut found = Vec::new();
    for layers in [Layers::All, Layers::Last, Layers::Chosen(vec![2])] {
        let params = FeatureParams { layers, ..FeatureParams::default() };
        let of =
            |ids: &[Vec<u32>]| extract_tokens(fused.as_ref(), ids, Some(&adapters), &params, &Context::new(0)).unwrap();
        let all = of(&ids);
        for (i, one) in ids.iter().enumerate() {
            assert_eq!(of(std::slice::from_ref(one)).row(0), all.row(i), "{i}");
        }
        found.push(all);
    }
    // And a layer the same whatever other layers are asked for, the last that is run or not.
    for row in 0..ids.len() {
        let [all, last, second] = [0, 1, 2].map(|of| found[of].row(row));
        assert_eq!((&all[48..], &all[24..48]), (last, second));
    }
    let of =
        |examples: &[Example]| losses_under_prompts(fused.as_ref(), examples, 8, Some(&adapters), &control).unwrap();
    let all = of(&examples);
    for (i, one) in examples.iter().enumerate() {
        assert_eq!(of(std::slice::from_ref(one)), all[i..=i], "{i}");
    }
}

#[test]
fn losses_are_the_same() {
    let examples: Vec<Example> = sequences()
        .into_iter()
        .filter(|ids| ids.len() > 1)
        .enumerate()
        .map(|(i, ids)| Example { response_start: [0, 1, ids.len() / 2, ids.len() - 1][i % 4], ids })
        .collect();
    for config in configs() {
        let (fused, recorded) = both(config);
        let adapters = lora(fused.as_ref(), &["v_proj", "up_proj"], 0.0);
        for lora in [None, Some(&adapters)] {
            let of = |model: &dyn Transformer, workers| {
                let losses = response_losses(model, &examples, 2, lora, workers, &Control::default()).unwrap();
                losses.into_iter().map(|loss| loss as f32).collect::<Vec<_>>()
            };
            let expected = of(&recorded, 1);
            close(&of(fused.as_ref(), 1), &expected, "losses");
            assert_eq!(of(fused.as_ref(), 2), of(fused.as_ref(), 1));
            let under = losses_under_prompts(fused.as_ref(), &examples, 2, lora, &Control::default()).unwrap();
            close(&under.into_iter().map(|loss| loss as f32).collect::<Vec<_>>(), &expected, "losses under prompts");
        }
        let bad = [Example { ids: vec![1, 2], response_start: 2 }];
        let message = |model: &dyn Transformer| {
            response_losses(model, &bad, 2, None, 1, &Control::default()).unwrap_err().to_string()
        };
        assert_eq!(message(fused.as_ref()), message(&recorded));
    }
}

#[test]
fn continuations_are_the_same() {
    for config in configs() {
        let (fused, recorded) = both(config);
        let adapters = lora(fused.as_ref(), &["o_proj", "gate_proj"], 0.0);
        for lora in [None, Some(&adapters)] {
            for batch_size in [1, 4] {
                let settings = GenerateConfig { max_new_tokens: 12, batch_size, ..GenerateConfig::default() };
                let of = |model: &dyn Transformer, eos: &[u32]| {
                    generate(model, &sequences(), eos, &settings, lora, &Control::default()).unwrap()
                };
                let free = of(&recorded, &[]);
                assert_eq!(of(fused.as_ref(), &[]), free);
                let eos = [free[0][4], free[2][1]];
                assert_eq!(of(fused.as_ref(), &eos), of(&recorded, &eos));
            }
        }
    }
}

#[test]
fn gradients_are_the_same() {
    let sequences = sequences();
    let rows: Vec<&Vec<u32>> = [&sequences[0], &sequences[1], &sequences[4]].to_vec();
    for config in configs() {
        let (fused, recorded) = both(config);
        for (targets, dropout) in [
            (&["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"][..], 0.0),
            (&["k_proj", "down_proj"][..], 0.3),
        ] {
            let adapters = lora(fused.as_ref(), targets, dropout);
            for count in [1, 3] {
                let batch = Batch::new(&rows[..count], 0).unwrap();
                let chosen = LossRows::from_starts(&batch, &[7, 1, 20][..count]).unwrap();
                for checkpointing in [false, true] {
                    let of = |model: &dyn Transformer| {
                        backward(model, &adapters, &batch, &chosen, 0.25, checkpointing).unwrap()
                    };
                    let (found, expected) = (of(fused.as_ref()), of(&recorded));
                    assert!((found.loss - expected.loss).abs() < 1e-4, "{} {}", found.loss, expected.loss);
                    let (found, expected) = (found.gradients.unwrap(), expected.gradients.unwrap());
                    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
                    for (name, expected) in expected {
                        let values = to_vec(expected).unwrap();
                        close(&to_vec(found[&name].clone()).unwrap(), &values, &name);
                        assert!(values.iter().any(|value| value.abs() > 1e-4), "{name} has a gradient");
                    }
                }
            }
        }
    }
}

#[test]
fn layers_below_the_lowest_adapter_are_not_carried_back() {
    let (fused, recorded) = both(configs().remove(0));
    let mut adapters = lora(fused.as_ref(), &["v_proj"], 0.0);
    adapters.modules.retain(|path, _| path.contains("layers.2"));
    let batch = Batch::new(&[&sequences()[0]], 0).unwrap();
    let rows = LossRows::all(&batch).unwrap();
    for checkpointing in [false, true] {
        let of = |model: &dyn Transformer| backward(model, &adapters, &batch, &rows, 1.0, checkpointing).unwrap();
        let (found, expected) = (of(fused.as_ref()).gradients.unwrap(), of(&recorded).gradients.unwrap());
        assert_eq!(found.len(), 2);
        for (name, expected) in expected {
            close(&to_vec(found[&name].clone()).unwrap(), &to_vec(expected).unwrap(), &name);
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (fused, _) = both(configs().remove(0));
    let (model, control) = (fused.as_ref(), Control::default());
    let mut adapters = lora(model, &["v_proj"], 0.0);
    let batch = Batch::new(&[&sequences()[0]], 0).unwrap();
    let step =
        |lora: &LoraWeights, rows: &LossRows| backward(model, lora, &batch, rows, 1.0, false).unwrap_err().to_string();
    // Rows of another batch: a place that it does not have, a target that the model does not have.
    let longer = LossRows::all(&Batch::new(&[&[1; 50]], 0).unwrap()).unwrap();
    assert!(step(&adapters, &longer).contains("a token of the batch"));
    let foreign = LossRows::all(&Batch::new(&[[1, 60]], 0).unwrap()).unwrap();
    assert!(step(&adapters, &foreign).contains("an id below 60"));
    // Factors of another shape.
    let rows = LossRows::all(&batch).unwrap();
    let (path, pair) = adapters.modules.pop_first().unwrap();
    let wrong = LoraPair { a: pair.b.clone(), b: pair.a.clone() };
    adapters.modules.insert(path.clone(), wrong);
    let message = step(&adapters, &rows);
    assert!(message.contains(&path) && message.contains("[r, 24]"), "{message}");
    // A sequence is numbered, whatever it is packed with.
    let of = |bad: Vec<u32>| {
        let ids = [sequences(), vec![bad]].concat();
        extract_tokens(model, &ids, None, &FeatureParams::default(), &Context::new(0)).unwrap_err().to_string()
    };
    assert!(of(vec![1; 129]).contains("sequence 6") && of(vec![1, 60]).contains("sequence 6"));
    let examples: Vec<Example> =
        sequences().into_iter().chain([vec![1]]).map(|ids| Example { response_start: 0, ids }).collect();
    let message = response_losses(model, &examples, 2, None, 1, &control).unwrap_err().to_string();
    assert!(message.contains("sequence 3"), "{message}");
}

#[test]
fn weights_come_back_as_they_were() {
    for config in configs() {
        let config = ModelConfig::Llama(config);
        let weights = InMemoryWeights::random(&config, Seed(3)).unwrap();
        let model = config.build(&weights, &Device::cpu()).unwrap();
        let fused: &Fused = model.fused().unwrap();
        for (name, weight) in weights.tensors() {
            assert_eq!(&crate::model::WeightSource::tensor(fused, name).unwrap(), weight, "{name}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let (fused, _) = both(configs().remove(0));
    let adapters = lora(fused.as_ref(), &["q_proj", "up_proj"], 0.1);
    let batch = Batch::new(&sequences(), 0).unwrap();
    let rows = LossRows::from_starts(&Batch::new(&sequences()[..1], 0).unwrap(), &[3]).unwrap();
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let found = backward(fused.as_ref(), &adapters, &batch, &rows, 1.0, false).unwrap();
            let values = found.gradients.unwrap().into_values().map(|tensor| to_vec(tensor).unwrap());
            (found.loss.to_bits(), values.collect::<Vec<_>>())
        })
    };
    let one = run(1);
    assert!([2, 3].iter().all(|&threads| run(threads) == one));
}

/// Weights of which the linear layers' are in Q8_0.
struct InBlocks(InMemoryWeights);

impl WeightSource for InBlocks {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn tensor(&self, name: &str) -> crate::Result<WeightData> {
        let mut weight = self.0.tensor(name)?;
        if let [rows, columns] = weight.shape[..] {
            self.matrix(name)?.decode(0..rows, &mut weight.data);
            assert_eq!(weight.data.len(), rows * columns);
        }
        Ok(weight)
    }

    fn matrix(&self, name: &str) -> crate::Result<Matrix> {
        let weight = self.0.tensor(name)?;
        let block = |values: &[f32]| {
            let scale = half::f16::from_f32(values.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0);
            let round = |v: &f32| (v / scale.to_f32()).round() as i8 as u8;
            scale.to_le_bytes().into_iter().chain(values.iter().map(round)).collect::<Vec<u8>>()
        };
        let bytes: Vec<u8> = weight.data.chunks(32).flat_map(block).collect();
        Ok(Matrix::stored(weight.shape[0], weight.shape[1], Form::Q8_0, &bytes).unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[test]
fn rows_in_8_bits_give_about_the_same() {
    let mut config = LlamaConfig::new(60, 64, 3, 4);
    config.num_key_value_heads = 2;
    config.intermediate_size = 96;
    config.initializer_range = 0.1;
    config.max_position_embeddings = 128;
    let config = ModelConfig::Llama(config);
    let weights = InBlocks(InMemoryWeights::random(&config, Seed(1)).unwrap());
    let exact = config.build(&weights, &Device::cpu()).unwrap();
    let mut rounded = config.build(&weights, &Device::cpu()).unwrap();
    assert!(rounded.round_rows());
    let mut plain = config.build(&weights.0, &Device::cpu()).unwrap();
    assert!(!plain.round_rows(), "no weights in blocks");
    let sequences = sequences();
    let features = |model: &dyn Transformer, sequences: &[Vec<u32>]| {
        let params = FeatureParams { layers: Layers::All, normalize: true, ..FeatureParams::default() };
        extract_tokens(model, sequences, None, &params, &Context::new(0)).unwrap()
    };
    let (of_exact, of_rounded) = (features(exact.as_ref(), &sequences), features(rounded.as_ref(), &sequences));
    assert!(of_exact != of_rounded, "rows are rounded");
    for (a, b) in of_exact.as_slice().chunks(64).zip(of_rounded.as_slice().chunks(64)) {
        let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.998, "{cosine}");
    }
    // The same bits in other company, and losses beside those of f32.
    let alone = features(rounded.as_ref(), &sequences[2..3]);
    assert_eq!(alone.row(0), of_rounded.row(2));
    let examples: Vec<Example> = sequences
        .iter()
        .filter(|ids| ids.len() > 2)
        .map(|ids| Example { ids: ids.clone(), response_start: 1 })
        .collect();
    let losses = |model: &dyn Transformer| response_losses(model, &examples, 4, None, 1, &Control::default()).unwrap();
    let (a, b) = (losses(exact.as_ref()), losses(rounded.as_ref()));
    assert!(a != b);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 0.02 * a, "{a} {b}");
    }
    let prompts: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let config = GenerateConfig { max_new_tokens: 8, ..GenerateConfig::default() };
    let continued = generate(rounded.as_ref(), &prompts, &[], &config, None, &Control::default()).unwrap();
    assert!(continued.iter().all(|ids| ids.len() == 8));
    // Training multiplies in f32: the same step, to the last bit.
    let batch = Batch::new(&[&sequences[0]], 0).unwrap();
    let step = |model: &dyn Transformer| {
        let adapters = lora(model, &["q_proj", "down_proj"], 0.0);
        backward(model, &adapters, &batch, &LossRows::all(&batch).unwrap(), 1.0, false).unwrap()
    };
    let (exact, rounded) = (step(exact.as_ref()), step(rounded.as_ref()));
    assert_eq!(exact.loss.to_bits(), rounded.loss.to_bits());
    let (exact, rounded) = (exact.gradients.unwrap(), rounded.gradients.unwrap());
    for (name, exact) in exact {
        assert_eq!(to_vec(exact).unwrap(), to_vec(rounded[&name].clone()).unwrap(), "{name}");
    }
}
