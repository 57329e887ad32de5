//! Hostile GGUF files: cut off anywhere, or with bytes changed: an error or a model, never a panic or a huge allocation.

use fedhds_core::model::gguf::GgufFile;
use fedhds_core::model::{ModelConfig, WeightSource};
use fedhds_core::types::Seed;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/gguf").join(name);
    std::fs::read(path).unwrap()
}

/// Reads all that a file offers; `Err` holds the first message.
fn read_all(path: &Path) -> Result<(), String> {
    let file = GgufFile::open(path).map_err(|e| e.to_string())?;
    let config = file.config_json().map_err(|e| e.to_string());
    let parsed = config.and_then(|json| ModelConfig::from_json(path, &json.to_string()).map_err(|e| e.to_string()));
    let tokenizer = file.tokenizer().map(|_| ()).map_err(|e| e.to_string());
    for name in file.names() {
        file.tensor(&name).map_err(|e| e.to_string())?;
    }
    parsed.map(|_| ()).and(tokenizer)
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_that_says_so() {
    let whole = fixture("llama.gguf");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    let lengths = (0..200).chain((200..whole.len()).step_by(499)).chain([whole.len() - 1]);
    for length in lengths {
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = read_all(&path).expect_err(&format!("cut at {length}"));
        assert!(message.contains("cut off"), "cut at {length}: {message}");
    }
    std::fs::write(&path, &whole).unwrap();
    read_all(&path).unwrap();
}

#[test]
fn changed_bytes_never_panic() {
    let whole = fixture("llama.gguf");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    for round in 0..400 {
        let mut changed = whole.clone();
        for change in 0..1 + round % 4 {
            let draw = |what, below| (Seed(8).derive("round", round).derive(what, change).0 % below) as usize;
            // Most of the file is weights, where any byte is valid: three of four changes go to the header.
            let end = if draw("where", 4) == 0 { whole.len() as u64 } else { 12_000 };
            changed[draw("at", end)] = match draw("kind", 3) {
                0 => 0xff,
                1 => 0,
                _ => draw("byte", 256) as u8,
            };
        }
        std::fs::write(&path, &changed).unwrap();
        let _ = read_all(&path);
    }
}

/// A header with these metadata entries (already encoded) and tensor entries.
fn header(metadata: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    bytes.extend(metadata.concat());
    bytes.extend(tensors.concat());
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.to_le_bytes(), value].concat()
}

fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

#[test]
fn each_lie_of_a_header_is_named() {
    let architecture = entry("general.architecture", 8, &text("llama"));
    let heads = entry("llama.attention.head_count", 4, &2u32.to_le_bytes());
    let whole = [architecture.clone(), heads.clone()];
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("no GGUF", b"PK\x03\x04 and more".to_vec(), &["magic", "GGUF"]),
        ("version", [&b"GGUF"[..], &9u32.to_le_bytes()].concat(), &["version", "9"]),
        ("big endian", [&b"GGUF"[..], &3u32.to_be_bytes()].concat(), &["big-endian"]),
        ("text length", header(&[[&u64::MAX.to_le_bytes()[..], b"x"].concat()], &[]), &["cut off", "metadata key 0"]),
        (
            "list length",
            header(&[entry("k", 9, &[&4u32.to_le_bytes()[..], &(u64::MAX / 2).to_le_bytes()].concat())], &[]),
            &["`k`", "cut off"],
        ),
        ("value type", header(&[entry("k", 99, &[])], &[]), &["99"]),
        ("alignment", header(&[entry("general.alignment", 4, &0u32.to_le_bytes())], &[]), &["general.alignment"]),
        ("twice", header(&[architecture.clone(), architecture.clone()], &[]), &["general.architecture", "twice"]),
        (
            "architecture",
            header(&[entry("general.architecture", 8, &text("mamba"))], &[]),
            &["mamba", "llama, qwen2, gpt2, bert"],
        ),
        ("no architecture", header(&[], &[]), &["general.architecture", "missing"]),
        ("no heads", header(std::slice::from_ref(&architecture), &[]), &["llama.attention.head_count", "missing"]),
        ("tensor type", header(&whole, &[tensor("w", &[32], 4242, 0)]), &["w", "4242", "Q4_K"]),
        ("dimensions", header(&whole, &[tensor("w", &[1; 5], 0, 0)]), &["w", "5"]),
        ("too big", header(&whole, &[tensor("w", &[u64::MAX, u64::MAX], 0, 0)]), &["w"]),
        ("ragged", header(&whole, &[tensor("w", &[33, 2], 2, 0)]), &["w", "32", "Q4_0"]),
        ("beyond the end", header(&whole, &[tensor("w", &[32], 0, u64::MAX)]), &["w", "cut off"]),
        (
            "shared",
            [header(&whole, &[tensor("w", &[4], 0, 0), tensor("x", &[2], 0, 8)]), vec![0; 64]].concat(),
            &["w", "x", "of its own"],
        ),
        ("short", header(&whole, &[tensor("w", &[1 << 40], 0, 0)]), &["w", "cut off"]),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (case, bytes, expected) in cases {
        let path = folder.path().join("lie.gguf");
        std::fs::write(&path, bytes).unwrap();
        let message = GgufFile::open(&path).map(|_| ()).expect_err(case).to_string();
        assert!(message.contains("lie.gguf"), "{case}: {message}");
        for part in expected {
            assert!(message.contains(&part.replace('`', "")), "{case}: {message}");
        }
    }
}
