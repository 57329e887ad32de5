//! What every feature extractor promises: a row for each record, in order, whatever else is asked for beside it.

use fedhds_core::dataset::PromptTemplate;
use fedhds_core::error::Error;
use fedhds_core::features::{Cached, FeatureParams, LayerFeatures, Layers, Pooling, TextFeatures, TextFeaturesConfig};
use fedhds_core::model::{Device, LanguageModel};
use fedhds_core::stage::FeatureExtractor;
use fedhds_core::types::{Adapter, AdapterConfig, AdapterTensor, Context, Record, Seed};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

fn model(name: &str) -> LanguageModel {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/gguf").join(format!("{name}.gguf"));
    LanguageModel::load(path, &Device::cpu()).unwrap()
}

fn layers(name: &str, params: FeatureParams) -> LayerFeatures {
    LayerFeatures::new(model(name), Arc::new(PromptTemplate::Raw), "raw", params).unwrap()
}

fn records() -> Vec<Record> {
    let texts = ["the fox", "classify: positive", "a dog", "the fox", "12 + 3", "say yes", "x", "no prices"];
    texts
        .iter()
        .enumerate()
        .map(|(i, text)| Record {
            id: format!("r{i}"),
            instruction: text.to_string(),
            responses: vec![["yes", "no"][i % 2].into()],
            ..Record::default()
        })
        .collect()
}

/// An adapter of rank 2 on `q_proj` with random values.
fn adapter(model: &LanguageModel) -> Adapter {
    let config = AdapterConfig { r: 2, target_modules: vec!["q_proj".into()], ..AdapterConfig::default() };
    let spec = model.transformer.spec();
    let mut tensors = BTreeMap::new();
    for module in spec.targets(&config).unwrap() {
        for (end, shape) in [("lora_A", [2, module.input]), ("lora_B", [module.output, 2])] {
            let name = format!("{}.{end}.weight", module.path);
            let value = |i: usize| (Seed(3).derive(&name, i as u64).0 % 1000) as f32 / 1000.0 - 0.5;
            let data = (0..shape[0] * shape[1]).map(value).collect();
            tensors.insert(name.clone(), AdapterTensor { shape, data });
        }
    }
    Adapter { config, tensors }
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + a.abs()))
}

fn check(extractor: &dyn FeatureExtractor, name: &str) {
    let (context, records) = (Context::new(1), records());
    let features = extractor.extract(&records, None, &context).unwrap();
    assert_eq!(features.rows(), records.len(), "{name}");
    assert!(features.cols() > 0, "{name}");
    features.check_finite(name).unwrap();
    assert_eq!(features, extractor.extract(&records, None, &context).unwrap(), "{name}: repeated");
    assert_eq!(features, extractor.extract(&records, None, &Context::new(2)).unwrap(), "{name}: another seed");
    // Records in another order, alone, and one that occurs twice in other places.
    let order = [5, 2, 7, 0, 3, 1];
    let shuffled: Vec<Record> = order.iter().map(|&i| records[i].clone()).collect();
    let shuffled = extractor.extract(&shuffled, None, &context).unwrap();
    for (row, &i) in order.iter().enumerate() {
        assert!(same(shuffled.row(row), features.row(i)), "{name}: record {i}");
        let alone = extractor.extract(&records[i..=i], None, &context).unwrap();
        assert!(same(alone.row(0), features.row(i)), "{name}: record {i} alone");
    }
    assert!(!same(features.row(0), features.row(1)), "{name}: different records");
    assert_eq!(extractor.extract(&[], None, &context).unwrap().rows(), 0, "{name}: nothing");
    let stopped = Context::new(1);
    stopped.control.cancel.cancel();
    assert!(matches!(extractor.extract(&records[..1], None, &stopped), Err(Error::Cancelled)), "{name}: cancelled");
}

#[test]
fn every_extractor_keeps_the_contract() {
    check(&TextFeatures::new(TextFeaturesConfig::default()).unwrap(), "text");
    for name in ["llama", "llama2", "qwen2", "gpt2", "bert"] {
        check(&layers(name, FeatureParams::default()), name);
        check(
            &layers(name, FeatureParams { pooling: Pooling::Mean, batch_tokens: Some(64), ..FeatureParams::default() }),
            name,
        );
        check(&layers(name, FeatureParams::sentence_encoder()).frozen(), name);
        let folder = tempfile::tempdir().unwrap();
        check(&Cached::new(layers(name, FeatureParams::default()), folder.path()).unwrap().with_chunk(3), name);
    }
}

#[test]
fn a_record_gives_the_same_bits_in_any_company() {
    let extractor = layers("llama", FeatureParams::default());
    let context = Context::new(1);
    let mut many = Vec::new();
    (0..9).for_each(|_| many.extend(records()));
    let features = extractor.extract(&many, None, &context).unwrap();
    for (i, record) in records().iter().enumerate() {
        let alone = extractor.extract(std::slice::from_ref(record), None, &context).unwrap();
        for copy in 0..9 {
            assert_eq!(alone.row(0), features.row(copy * 8 + i), "record {i}");
        }
    }
}

#[test]
fn an_adapter_counts_unless_the_extractor_is_frozen() {
    let model = model("llama");
    let (adapter, context) = (adapter(&model), Context::new(1));
    let tuned = layers("llama", FeatureParams::default());
    let plain = tuned.extract(&records(), None, &context).unwrap();
    let adapted = tuned.extract(&records(), Some(&adapter), &context).unwrap();
    assert!(!same(plain.row(0), adapted.row(0)));
    let zero = Adapter {
        tensors: adapter
            .tensors
            .iter()
            .map(|(name, t)| {
                let data = if name.contains("lora_B") { vec![0.0; t.data.len()] } else { t.data.clone() };
                (name.clone(), AdapterTensor { shape: t.shape, data })
            })
            .collect(),
        ..adapter.clone()
    };
    assert!(same(plain.row(0), tuned.extract(&records(), Some(&zero), &context).unwrap().row(0)));
    let frozen = tuned.clone().frozen();
    assert!(frozen.is_frozen() && !tuned.is_frozen());
    assert_eq!(plain, frozen.extract(&records(), Some(&adapter), &context).unwrap());
    // An adapter of another model is an error that names a tensor.
    let wrong = layers("gpt2", FeatureParams::default()).extract(&records(), Some(&adapter), &context);
    assert!(matches!(wrong, Err(Error::Adapter { .. })), "{wrong:?}");
}

#[test]
fn fingerprints_tell_models_settings_and_prompts_apart() {
    let make = |name: &str, params: &FeatureParams, prompt: &str| {
        LayerFeatures::new(model(name), Arc::new(PromptTemplate::Raw), prompt, params.clone()).unwrap().fingerprint()
    };
    let params = FeatureParams::default();
    let last = FeatureParams { layers: Layers::Last, ..FeatureParams::default() };
    let first = make("llama", &params, "raw");
    assert_eq!(first, make("llama", &params, "raw"));
    for other in [make("llama2", &params, "raw"), make("llama", &last, "raw"), make("llama", &params, "other")] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_record_that_is_too_long_is_named_or_cut_off() {
    let mut long = records();
    long[4].instruction = "word ".repeat(300);
    let context = Context::new(1);
    // The models of the fixtures take 128 tokens.
    for (name, params) in [
        ("llama", FeatureParams::default()),
        ("llama", FeatureParams { max_tokens: 20, ..FeatureParams::default() }),
        ("bert", FeatureParams { max_tokens: 20, ..FeatureParams::default() }),
    ] {
        let message = layers(name, params.clone()).extract(&long, None, &context).unwrap_err().to_string();
        assert!(
            message.contains("record `r4`") && message.contains(&params.max_tokens.min(128).to_string()),
            "{message}"
        );
        let truncate = FeatureParams { truncate: true, ..params.clone() };
        let extractor = layers(name, truncate);
        assert_eq!(extractor.tokens(&long).unwrap()[4].len(), params.max_tokens.min(128));
        assert_eq!(extractor.extract(&long, None, &context).unwrap().rows(), 8);
    }
}

#[test]
fn bad_parameters_are_found_before_any_work() {
    let new = |params| LayerFeatures::new(model("llama"), Arc::new(PromptTemplate::Raw), "raw", params);
    let chosen = new(FeatureParams { layers: Layers::Chosen(vec![3]), ..FeatureParams::default() });
    assert!(chosen.unwrap_err().to_string().contains("from 1 to 2"));
    assert!(new(FeatureParams { batch_tokens: Some(0), ..FeatureParams::default() }).is_err());
}
