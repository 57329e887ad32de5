//! A LoRA adapter as llama.cpp reads it.
//!
//! One file: `general.type = "adapter"`, `adapter.type = "lora"`, `adapter.lora.alpha`, and for each adapted weight the tensors
//! `NAME.lora_a` (`[r, in]`, in GGUF's order of dimensions `[in, r]`) and `NAME.lora_b` (`[out, r]`). llama.cpp scales by
//! `alpha / r`, and 0 would drop the scale. The rows of B are in the order of the base file's rows: for the queries and keys of the
//! `llama` architecture that is the interleaved order of RoPE's pairs.

use super::names::{Architecture, Conversion, join_heads};
use crate::error::{Error, Result};
use crate::files::atomic_write;
use crate::model::ModelConfig;
use crate::types::{Adapter, AdapterTensor};
use rlx_gguf::{GgmlType, GgufWriter, MetaValue};
use std::io::Cursor;
use std::path::Path;

/// Writes the adapter of a model with this configuration; the file is whole or not there at all.
///
/// # Errors
/// [`Error::Adapter`] for a tensor that llama.cpp has no name for, one of another shape than the model's, or an alpha of 0;
/// [`Error::Parameter`] for a family whose adapters llama.cpp does not read (encoders); [`Error::Io`].
pub fn write_adapter(path: impl AsRef<Path>, adapter: &Adapter, config: &ModelConfig) -> Result<()> {
    atomic_write(path, &adapter_bytes(adapter, config)?)
}

/// The bytes of that file.
///
/// # Errors
/// As [`write_adapter`].
pub fn adapter_bytes(adapter: &Adapter, config: &ModelConfig) -> Result<Vec<u8>> {
    let (architecture, heads, heads_kv) = match config {
        // Qwen2 alone has biases on q, k and v without one on the output; its rows keep their order.
        ModelConfig::Llama(c) => {
            let name = if c.qkv_bias && !c.output_bias { "qwen2" } else { "llama" };
            (name, c.num_attention_heads, c.num_key_value_heads)
        }
        ModelConfig::Gpt2(c) => ("gpt2", c.n_head, c.n_head),
        ModelConfig::Bert(_) => {
            return Err(Error::parameter("model", "a causal family, whose adapters llama.cpp reads", "an encoder"));
        }
    };
    let names = Architecture::new(architecture, heads, heads_kv);
    let alpha = llama_cpp_alpha(adapter)?;
    let mut writer = GgufWriter::new();
    writer.set_arch(architecture);
    for (key, value) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        writer.set_meta(key, MetaValue::String(value.into()));
    }
    writer.set_meta("adapter.lora.alpha", MetaValue::F32(alpha));
    for (name, tensor) in &adapter.tensors {
        let (module, end) = match (name.strip_suffix(".lora_A.weight"), name.strip_suffix(".lora_B.weight")) {
            (Some(module), _) => (module, "lora_a"),
            (None, Some(module)) => (module, "lora_b"),
            (None, None) => {
                return Err(Error::adapter(
                    name,
                    "a name that ends with .lora_A.weight or .lora_B.weight",
                    "this name",
                ));
            }
        };
        let Some((stored, conversion)) = names.module(module) else {
            return Err(Error::adapter(name, format!("a module that a {architecture} file has"), module));
        };
        let [rows, columns] = tensor.shape;
        let values = match conversion {
            Conversion::InterleavedHeads { heads } if end == "lora_b" => interleaved(name, tensor, heads)?,
            // A transposed weight of GPT-2 is stored as every linear layer is, and A and B are for that form.
            _ => tensor.data.clone(),
        };
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        writer
            .add_tensor_bytes(format!("{stored}.weight.{end}"), vec![columns, rows], GgmlType::F32, bytes)
            .map_err(|e| Error::adapter(name, format!("{rows} x {columns} values"), e.to_string()))?;
    }
    let mut file = Cursor::new(Vec::new());
    writer.write(&mut file).map_err(|e| Error::adapter("GGUF file", "one that can be written", e.to_string()))?;
    Ok(file.into_inner())
}

/// The alpha that gives our scale as `alpha / r`.
fn llama_cpp_alpha(adapter: &Adapter) -> Result<f32> {
    let config = &adapter.config;
    let alpha = config.scaling() * config.r as f32;
    if alpha == 0.0 || !alpha.is_finite() {
        return Err(Error::adapter(
            "lora_alpha",
            "a finite value other than 0, which llama.cpp takes for no scaling",
            alpha,
        ));
    }
    Ok(alpha)
}

fn interleaved(name: &str, tensor: &AdapterTensor, heads: usize) -> Result<Vec<f32>> {
    let [rows, columns] = tensor.shape;
    if heads == 0 || rows == 0 || !rows.is_multiple_of(2 * heads) || rows * columns != tensor.data.len() {
        return Err(Error::adapter(name, format!("rows for {heads} heads of even size"), format!("{rows} rows")));
    }
    Ok(join_heads(&tensor.data, heads, columns))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::header::{Header, Value};
    use super::*;
    use crate::model::LlamaConfig;
    use crate::types::AdapterConfig;

    fn tensor(shape: [usize; 2]) -> AdapterTensor {
        AdapterTensor { shape, data: (0..shape[0] * shape[1]).map(|i| i as f32).collect() }
    }

    fn adapter(module: &str, out: usize) -> Adapter {
        let config = AdapterConfig { r: 2, lora_alpha: 6.0, use_rslora: true, ..AdapterConfig::default() };
        let tensors = [
            (format!("{module}.lora_A.weight"), tensor([2, 8])),
            (format!("{module}.lora_B.weight"), tensor([out, 2])),
        ];
        Adapter { config, tensors: tensors.into() }
    }

    #[test]
    fn a_file_is_read_back() {
        let config = ModelConfig::Llama(LlamaConfig::new(16, 8, 1, 2));
        let bytes = adapter_bytes(&adapter("model.layers.0.self_attn.q_proj", 8), &config).unwrap();
        let header = Header::read(bytes.as_slice(), bytes.len() as u64, Path::new("adapter.gguf")).unwrap();
        let read = |name: &str| {
            let info = &header.tensors[name];
            let data = &bytes[info.offset as usize..info.offset as usize + info.bytes];
            let values: Vec<f32> = data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            (info.shape.clone(), values)
        };
        assert_eq!(read("blk.0.attn_q.weight.lora_a"), (vec![2, 8], tensor([2, 8]).data));
        let (shape, b) = read("blk.0.attn_q.weight.lora_b");
        // Two heads of 4 rows: 0 1 2 3 of each become 0 2 1 3.
        let rows: Vec<f32> = b.chunks(2).map(|row| row[0] / 2.0).collect();
        assert_eq!((shape, rows), (vec![8, 2], vec![0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]));
        // alpha / sqrt(r), as rsLoRA scales, is what llama.cpp has to get from alpha / r.
        let alpha = (6.0 / 2f32.sqrt()) * 2.0;
        assert_eq!(header.metadata["adapter.lora.alpha"], Value::Float(f64::from(alpha)));
        assert_eq!(header.metadata["general.type"], Value::String("adapter".into()));
    }

    #[test]
    fn what_llama_cpp_could_not_use_is_refused() {
        let config = ModelConfig::Llama(LlamaConfig::new(16, 8, 1, 2));
        let error = adapter_bytes(&adapter("model.layers.0.self_attn.nope", 8), &config).unwrap_err().to_string();
        assert!(error.contains("nope"), "{error}");
        let error = adapter_bytes(&adapter("model.layers.0.self_attn.k_proj", 6), &config).unwrap_err().to_string();
        assert!(error.contains("6 rows"), "{error}");
        let mut mute = adapter("model.layers.0.self_attn.v_proj", 8);
        adapter_bytes(&mute, &config).unwrap();
        mute.config.lora_alpha = 0.0;
        assert!(adapter_bytes(&mute, &config).unwrap_err().to_string().contains("lora_alpha"));
    }
}
