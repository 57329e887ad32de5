//! Hostile model folders: configurations, tokenizers and templates that were made to end the process, and those that would load as another model.

use fedhds_core::model::{ChatMessage, Device, LanguageModel, ModelConfig, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name)
}

/// A copy of a fixture, to be spoilt.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("reference") {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn read(folder: &Path, file: &str) -> Value {
    std::fs::read_to_string(folder.join(file)).map_or(json!({}), |text| serde_json::from_str(&text).unwrap())
}

fn change(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let mut value = read(folder, file);
    change(&mut value);
    std::fs::write(folder.join(file), value.to_string()).unwrap();
}

fn load(folder: &Path) -> Result<LanguageModel, String> {
    LanguageModel::load(folder, &Device::cpu()).map_err(|e| e.to_string())
}

#[test]
fn a_billion_layers_are_refused_before_memory_is_asked_for() {
    for (name, key) in [("llama", "num_hidden_layers"), ("gpt2", "n_layer"), ("bert", "num_hidden_layers")] {
        for layers in [json!(1_000_000_000), json!(u64::MAX), json!(-1), json!(0), json!(1.5)] {
            let folder = copy(name);
            change(folder.path(), "config.json", |config| config[key] = layers.clone());
            let error = load(folder.path()).unwrap_err();
            assert!(error.contains(key), "{name}, {layers}: {error}");
        }
        // What a model may have, but this file has not.
        let folder = copy(name);
        change(folder.path(), "config.json", |config| {
            config[key] = json!(16_000);
            config.as_object_mut().unwrap().remove("layer_types");
        });
        let error = load(folder.path()).unwrap_err();
        assert!(error.contains("tensor `") && error.contains("not there"), "{name}: {error}");
    }
}

#[test]
fn settings_that_change_the_model_are_named() {
    let refused = |file: &str, edit: fn(&mut Value)| {
        let folder = copy("llama");
        change(folder.path(), file, edit);
        load(folder.path()).unwrap_err()
    };
    for (named, file, edit) in [
        (
            "fp8",
            "config.json",
            (|config| config["quantization_config"] = json!({"quant_method": "fp8", "weight_block_size": [128, 128]}))
                as fn(&mut Value),
        ),
        ("gptq", "config.json", |config| config["quantization_config"] = json!({"quant_method": "gptq", "bits": 4})),
        ("quantize_config.json", "quantize_config.json", |config| config["bits"] = json!(4)),
        ("yarn", "config.json", |config| {
            config["rope_scaling"] = Value::Null;
            config["rope_parameters"] = json!({"full_attention": {"rope_type": "yarn", "factor": 4.0}});
        }),
        ("dropout", "tokenizer.json", |tokenizer| tokenizer["model"]["dropout"] = json!(0.5)),
        ("add_bos_token", "tokenizer_config.json", |config| config["add_bos_token"] = json!("yes")),
    ] {
        let error = refused(file, edit);
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn an_index_cannot_leave_its_folder() {
    for file in ["../model.safetensors", "/etc/passwd", "a/../../b", "..", "."] {
        let folder = copy("llama-bf16-sharded");
        change(folder.path(), "model.safetensors.index.json", |index| {
            for (_, place) in index["weight_map"].as_object_mut().unwrap() {
                *place = json!(file);
            }
        });
        let error = load(folder.path()).unwrap_err();
        assert!(error.contains("expected"), "{file}: {error}");
    }
}

#[test]
fn equal_prints_promise_equal_tokens() {
    let print = |edit: &dyn Fn(&Path)| {
        let folder = copy("llama");
        edit(folder.path());
        load(folder.path()).unwrap().fingerprint().to_string()
    };
    let plain = print(&|_| {});
    assert_eq!(plain, print(&|_| {}));
    let others = [
        print(&|folder| std::fs::write(folder.join("chat_template.jinja"), "{{ messages[0].content }}").unwrap()),
        print(&|folder| {
            std::fs::remove_file(folder.join("chat_template.jinja")).unwrap();
            change(folder, "tokenizer_config.json", |config| {
                config["chat_template"] = json!("{{ messages[0].content }}!")
            });
        }),
        print(&|folder| {
            change(folder, "tokenizer_config.json", |config| {
                let other = if config["eos_token"] == config["bos_token"] { "pad_token" } else { "bos_token" };
                config["eos_token"] = config[other].clone();
            });
        }),
        print(&|folder| change(folder, "tokenizer_config.json", |config| config["add_eos_token"] = json!(true))),
    ];
    for (number, other) in others.iter().enumerate() {
        assert_ne!(&plain, other, "{number}");
    }
}

fn words(changes: &Value) -> Value {
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null, "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "<u>": 4, "<|x|>": 5}, "unk_token": "<u>"},
    });
    for (key, value) in changes.as_object().unwrap() {
        tokenizer[key] = value.clone();
    }
    tokenizer
}

fn tokenizer(files: &[(&str, Value)]) -> Result<Tokenizer, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in files {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    Tokenizer::from_folder(folder.path()).map_err(|e| e.to_string())
}

#[test]
fn ends_are_added_as_the_settings_say() {
    let named = |changes: Value| {
        let mut config = json!({"bos_token": "<s>", "eos_token": "</s>"});
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    };
    let template = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}});
    for (begins, changes, ids) in [
        (false, json!({}), vec![2, 3]),
        (true, json!({}), vec![0, 2, 3]),
        (false, json!({"add_bos_token": true}), vec![0, 2, 3]),
        (false, json!({"add_eos_token": true}), vec![2, 3, 1]),
        (true, json!({"add_eos_token": true}), vec![0, 2, 3, 1]),
        (true, json!({"add_bos_token": false}), vec![2, 3]),
        (true, json!({"add_bos_token": false, "add_eos_token": true}), vec![2, 3, 1]),
        (true, json!({"add_bos_token": true, "add_eos_token": null}), vec![0, 2, 3]),
    ] {
        let json = words(&if begins { json!({"post_processor": template}) } else { json!({}) });
        let tokenizer =
            tokenizer(&[("tokenizer.json", json), ("tokenizer_config.json", named(changes.clone()))]).unwrap();
        assert_eq!(tokenizer.encode("a b", true).unwrap(), ids, "{begins}, {changes}");
        assert_eq!(tokenizer.encode("a b", false).unwrap(), [2, 3]);
        let prompt: Vec<u32> = ids.iter().copied().filter(|id| *id != 1).collect();
        assert_eq!(tokenizer.encode_prompt("a b").unwrap(), prompt, "{changes}");
    }
    let error =
        tokenizer(&[("tokenizer.json", words(&json!({}))), ("tokenizer_config.json", json!({"add_bos_token": true}))])
            .unwrap_err();
    assert!(error.contains("add_bos_token"), "{error}");
}

#[test]
fn tokens_beside_tokenizer_json_are_tokens() {
    let token = |content: &str| json!({"content": content, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false});
    let plain = tokenizer(&[("tokenizer.json", words(&json!({})))]).unwrap();
    assert!(!plain.encode("a<|x|>b", false).unwrap().contains(&5));
    for files in [
        vec![("tokenizer_config.json", json!({"added_tokens_decoder": {"5": token("<|x|>")}}))],
        vec![("tokenizer_config.json", json!({"additional_special_tokens": ["<|x|>"]}))],
        vec![("tokenizer_config.json", json!({"pad_token": "<|x|>"}))],
        vec![("special_tokens_map.json", json!({"additional_special_tokens": [token("<|x|>")]}))],
        vec![("special_tokens_map.json", json!({"eos_token": token("<|x|>")}))],
        vec![("added_tokens.json", json!({"<|x|>": 5}))],
    ] {
        let told = format!("{files:?}");
        let tokenizer = tokenizer(&[vec![("tokenizer.json", words(&json!({})))], files].concat()).unwrap();
        assert_eq!(tokenizer.encode("a<|x|>b", false).unwrap(), [2, 5, 3], "{told}");
    }
    let config = json!({"sep_token": token("<|x|>"), "chat_template": "{{ sep_token }}{{ cls_token is defined }}"});
    let named = tokenizer(&[("tokenizer.json", words(&json!({}))), ("tokenizer_config.json", config)]).unwrap();
    assert_eq!(named.apply_chat_template(&[], true).unwrap(), "<|x|>False");
    let new = [("tokenizer.json", words(&json!({}))), ("added_tokens.json", json!({"<new>": 6}))];
    assert_eq!(tokenizer(&new).unwrap().encode("a<new>", false).unwrap(), [2, 6]);
    let elsewhere = [("tokenizer.json", words(&json!({}))), ("added_tokens.json", json!({"<new>": 60}))];
    let error = tokenizer(&elsewhere).unwrap_err();
    assert!(error.contains("added_tokens.json") && error.contains("<new>") && error.contains("60"), "{error}");
}

#[test]
fn tokenizers_that_would_end_the_process_are_refused_or_bounded() {
    let doubled: Vec<Value> =
        (0..40).map(|_| json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})).collect();
    let growing = words(&json!({"normalizer": {"type": "Sequence", "normalizers": doubled}}));
    let error = tokenizer(&[("tokenizer.json", growing)]).unwrap().encode("a", false).unwrap_err().to_string();
    assert!(error.contains("at most"), "{error}");
    let cut = words(
        &json!({"model": {"type": "BPE", "vocab": {"a": 0, "é": 1, "a\u{a9}": 2}, "merges": [["a", "é"]], "continuing_subword_prefix": "#"}}),
    );
    let error = tokenizer(&[("tokenizer.json", cut)]).unwrap_err();
    assert!(error.contains("model.merges"), "{error}");
    // What only its own code sees is an error when it is met.
    let empty = words(&json!({"pre_tokenizer": {"type": "FixedLength", "length": 0}}));
    let error = tokenizer(&[("tokenizer.json", empty)]).unwrap().encode("a b", false).unwrap_err().to_string();
    assert!(error.contains("its code failed"), "{error}");
    let deep = "[".repeat(100_000);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), deep).unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.len() < 1_000, "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_refused() {
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        let folder = copy("llama");
        let _ = std::fs::remove_file(folder.path().join(name));
        std::os::unix::fs::symlink("/dev/zero", folder.path().join(name)).unwrap();
        let error = load(folder.path()).unwrap_err();
        assert!(error.contains(name), "{name}: {error}");
    }
}

/// Values of every kind in the place of a file's own.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|v| json!(v)),
        any::<i64>().prop_map(|v| json!(v)),
        any::<u64>().prop_map(|v| json!(v)),
        any::<f64>().prop_map(|v| json!(v)),
        "\\PC{0,4}".prop_map(|v| json!(v)),
        Just(json!("é".repeat(3_000))),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[["a", "b"]]])),
        Just(json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]})),
        Just(json!({"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": "ab"})),
        Just(json!({"type": "Replace", "pattern": {"String": ""}, "content": "ab"})),
        Just(json!({"type": "Strip", "content": "a", "start": 1_000_000_000, "stop": 1_000_000_000})),
        Just(json!({"type": "FixedLength", "length": 0})),
        Just(json!({"type": "Unigram", "vocab": [["a", 0.0], ["", -1.0]], "unk_id": 7})),
        Just(
            json!({"type": "WordPiece", "vocab": {"##": 0}, "unk_token": "x", "continuing_subword_prefix": "##", "max_input_chars_per_word": 3})
        ),
    ]
}

/// Puts another value to where the numbers lead: each picks a child.
fn put(value: &mut Value, way: &[usize], other: Value) {
    let children: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    match (way.split_first(), children.len()) {
        (Some((first, rest)), count @ 1..) => put(children.into_iter().nth(first % count).unwrap(), rest, other),
        _ => *value = other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Any value in any place of a configuration: a model, or an error.
    #[test]
    fn any_configuration_is_read_or_refused(
        name in proptest::sample::select(vec!["llama", "mistral", "qwen2", "gpt2", "bert"]),
        way in proptest::collection::vec(0..100usize, 1..3),
        value in any_value(),
    ) {
        let mut config = read(&fixture(name), "config.json");
        put(&mut config, &way, value);
        if let Ok(config) = ModelConfig::from_json(Path::new("folder"), &config.to_string()) {
            prop_assert!(config.vocab_size() > 0);
        }
    }

    /// Any value in any place of a tokenizer.json: it is refused, or it encodes and decodes, or says why it cannot.
    #[test]
    fn any_tokenizer_is_read_or_refused(
        name in proptest::sample::select(vec!["llama", "gpt2", "bert"]),
        way in proptest::collection::vec(0..100usize, 1..6),
        value in any_value(),
        text in "\\PC{0,20}",
    ) {
        let mut json = read(&fixture(name), "tokenizer.json");
        put(&mut json, &way, value);
        match tokenizer(&[("tokenizer.json", json)]) {
            Ok(tokenizer) => {
                if let Ok(ids) = tokenizer.encode(&text, true) {
                    let _ = tokenizer.decode(&ids, false);
                }
                let _ = tokenizer.encode_prompt(&text);
            }
            Err(error) => prop_assert!(error.len() < 2_000, "{}", error),
        }
    }

    /// A conversation of any texts comes out of an honest template whole.
    #[test]
    fn any_conversation_is_rendered(texts in proptest::collection::vec("\\PC{0,200}", 1..6)) {
        let json = words(&json!({}));
        let template = "{% for m in messages %}[{{ m.content }}]{% endfor %}";
        let tokenizer = tokenizer(&[("tokenizer.json", json), ("tokenizer_config.json", json!({"chat_template": template}))]).unwrap();
        let messages: Vec<_> = texts.iter().map(|text| ChatMessage::new("user", text)).collect();
        let expected: String = texts.iter().map(|text| format!("[{text}]")).collect();
        prop_assert_eq!(tokenizer.apply_chat_template(&messages, true).unwrap(), expected);
    }
}
