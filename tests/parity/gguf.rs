//! GGUF: every storage type as the `gguf` package dequantises it, and tiny models of each family as transformers runs them.

use fedhds_core::features::{FeatureParams, extract_tokens};
use fedhds_core::model::gguf::GgufFile;
use fedhds_core::model::gguf::quantization::Quantization;
use fedhds_core::model::tensor::to_vec;
use fedhds_core::model::{Batch, ModelConfig, Transformer, WeightSource, hidden_states};
use fedhds_core::types::Context;
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/gguf").join(name)
}

/// A tensor of f32 from a safetensors file: its shape and values.
pub fn floats(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    let values = view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    (view.shape().to_vec(), values)
}

/// The largest difference, relative to the largest expected value.
pub fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    got.iter().zip(expected).fold(0f32, |m, (g, e)| m.max((g - e).abs())) / largest
}

#[test]
fn every_storage_type_is_dequantised_as_the_reference_does() {
    let bytes = std::fs::read(fixture("quantizations.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let file = GgufFile::open(fixture("quantizations.gguf")).unwrap();
    assert_eq!(expected.names().len(), Quantization::ALL.len());
    for quantization in Quantization::ALL {
        let name = quantization.name();
        assert_eq!(file.header().tensors[name].quantization, *quantization);
        let (shape, values) = file.raw_tensor(name).unwrap();
        let (expected_shape, expected) = floats(&expected, name);
        assert_eq!(shape, expected_shape);
        let worst = difference(&values, &expected);
        assert!(worst < 1e-6, "{name}: {worst:e}");
    }
}

fn load(name: &str) -> Box<dyn Transformer> {
    let file = GgufFile::open(fixture(&format!("{name}.gguf"))).unwrap();
    let config = ModelConfig::from_json(file.path(), &file.config_json().unwrap().to_string()).unwrap();
    config.build(&file, &crate::models::device()).unwrap()
}

/// Matrices that stay as the file stores them hold the values that their tensors have, to the last bit.
fn check_matrices(file: &GgufFile) {
    let mut stored = 0;
    for name in file.names() {
        let tensor = file.tensor(&name).unwrap();
        if tensor.shape.len() != 2 {
            continue;
        }
        let matrix = file.matrix(&name).unwrap();
        assert_eq!([matrix.rows(), matrix.columns()], tensor.shape[..]);
        let mut values = vec![f32::NAN; tensor.data.len()];
        matrix.decode(0..matrix.rows(), &mut values);
        assert!(values == tensor.data, "{name}, {matrix:?}");
        stored += usize::from(matrix.bytes() < 4 * values.len());
    }
    assert!(stored > 0, "{}: nothing is stored in fewer bytes", file.path().display());
}

fn check_model(name: &str) {
    check_matrices(&GgufFile::open(fixture(&format!("{name}.gguf"))).unwrap());
    let model = load(name);
    let bytes = std::fs::read(fixture(&format!("{name}.safetensors"))).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let view = expected.tensor("ids").unwrap();
    let (rows, width) = (view.shape()[0], view.shape()[1]);
    let ids: Vec<u32> = view.data().as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as u32).collect();
    let sequences: Vec<Vec<u32>> = ids.chunks(width).map(<[u32]>::to_vec).collect();

    // Every layer's hidden state of the last token; transformers: [states, rows, width, hidden].
    let params = FeatureParams { embedding: true, ..FeatureParams::default() };
    let features = extract_tokens(model.as_ref(), &sequences, None, &params, &Context::new(0)).unwrap();
    let (shape, states) = floats(&expected, "hidden_states");
    let hidden = shape[3];
    assert_eq!(features.cols(), shape[0] * hidden);
    for row in 0..rows {
        for state in 0..shape[0] {
            let at = ((state * rows + row) * width + width - 1) * hidden;
            let got = &features.row(row)[state * hidden..(state + 1) * hidden];
            let worst = difference(got, &states[at..at + hidden]);
            assert!(worst < 1e-4, "{name}: row {row}, state {state}: {worst:e}");
        }
    }
    if model.spec().causal {
        let batch = Batch::new(&sequences, 0).unwrap();
        let hidden_state = hidden_states(model.as_ref(), &batch, None).unwrap().reshape([rows * width, hidden]);
        let logits = to_vec(model.logits(model.final_norm(hidden_state)).unwrap()).unwrap();
        let worst = difference(&logits, &floats(&expected, "logits").1);
        assert!(worst < 1e-4, "{name}: logits {worst:e}");
    }
}

/// Tied embeddings; Q4_1, Q8_0, Q4_0.
#[test]
fn llama() {
    check_model("llama");
}

/// An output projection of its own; F16, Q8_0, BF16, Q5_1.
#[test]
fn llama_2() {
    check_model("llama2");
}

/// RoPE scaling as factors.
#[test]
fn llama_3() {
    check_model("llama3");
}

/// Biases; no reordering of heads.
#[test]
fn qwen_2() {
    check_model("qwen2");
}

/// Learnt positions; matrices stored the other way round.
#[test]
fn gpt_2() {
    check_model("gpt2");
}

/// An encoder.
#[test]
fn bert() {
    check_model("bert");
}
