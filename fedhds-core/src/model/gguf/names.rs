//! From llama.cpp's tensor names and order of values to Hugging Face's, and back.

use super::header::Header;
use crate::model::config::names::{Module, Names};
use crate::model::config::{self, WeightLayout};
use std::collections::BTreeMap;

/// What llama.cpp's converter did to a tensor and has to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// Nothing.
    None,
    /// Rows reordered within each of `heads` heads, so that RoPE turns neighbours `(2i, 2i+1)` where Hugging Face turns
    /// `(i, i + d/2)`; done to the queries and keys of the `llama` architecture.
    InterleavedHeads {
        /// Heads in the tensor's rows.
        heads: usize,
    },
    /// Transposed: GPT-2's `Conv1D` keeps `[in, out]`.
    Transposed,
}

/// A file's architecture: its names, and what its converter does to tensors.
#[derive(Debug, Clone, Copy)]
pub struct Architecture {
    names: Names,
    /// Heads of the queries and of the keys, where their rows are reordered.
    interleaved: Option<(usize, usize)>,
}

impl Architecture {
    /// That of `general.architecture`, with so many heads of queries and of keys and values.
    pub fn new(name: &str, heads: usize, heads_kv: usize) -> Self {
        let names = match name {
            "gpt2" => config::gpt2::NAMES,
            "bert" => config::bert::NAMES,
            _ => config::llama::NAMES,
        };
        Self { names, interleaved: (name == "llama").then_some((heads, heads_kv)) }
    }

    /// Hugging Face's name of every tensor of the file: llama.cpp's name, and what was done to the tensor.
    /// Tensors that no family knows keep llama.cpp's name, so that a loader can name them.
    pub fn table(&self, header: &Header) -> BTreeMap<String, (String, Conversion)> {
        let entry = |name: &String| match self.translate(name) {
            Some((own, conversion)) => (own, (name.clone(), conversion)),
            None => (name.clone(), (name.clone(), Conversion::None)),
        };
        header.tensors.keys().map(entry).collect()
    }

    /// llama.cpp's name of a layer's module, and what the converter does to its weight: `model.layers.3.self_attn.q_proj` is
    /// `blk.3.attn_q`.
    pub fn module(&self, path: &str) -> Option<(String, Conversion)> {
        let (layer, name) = path.strip_prefix(self.names.layers)?.strip_prefix('.')?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let module = self.names.of_layer().find(|module| module.name == name)?;
        Some((format!("blk.{layer}.{}", module.gguf), self.conversion(module, "weight")))
    }

    /// Hugging Face's name of a tensor, and what was done to it.
    fn translate(&self, stored: &str) -> Option<(String, Conversion)> {
        let (module, end) = stored.rsplit_once('.')?;
        match module.strip_prefix("blk.") {
            Some(rest) => {
                let (layer, name) = rest.split_once('.')?;
                let module = self.names.of_layer().find(|module| module.gguf == name)?;
                // One name for each tensor: `01` and `+1` are no layers.
                let number: usize = layer.parse().ok().filter(|number: &usize| number.to_string() == layer)?;
                let path = self.names.path(number, module);
                Some((format!("{path}.{end}"), self.conversion(module, end)))
            }
            None => {
                let module = self.names.outside.iter().find(|known| known.gguf == module)?;
                Some((format!("{}.{end}", module.name), Conversion::None))
            }
        }
    }

    /// What the converter does to `MODULE.END` of a layer.
    fn conversion(&self, module: Module, end: &str) -> Conversion {
        let transposed = self.names.layout == WeightLayout::InOut && end == "weight";
        match self.interleaved {
            Some((heads, _)) if module == config::llama::QUERY => Conversion::InterleavedHeads { heads },
            Some((_, heads)) if module == config::llama::KEY => Conversion::InterleavedHeads { heads },
            _ if transposed && self.names.linears.contains(&module) => Conversion::Transposed,
            _ => Conversion::None,
        }
    }
}

/// Undoes the reordering of [`Conversion::InterleavedHeads`]; `columns` is 1 for a bias, and of values that are stored in blocks a row's bytes.
/// Sizes are checked by the caller.
pub fn split_heads<T: Copy>(values: &[T], heads: usize, columns: usize) -> Vec<T> {
    let rows = values.len() / columns.max(1);
    let head = rows / heads.max(1);
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (h, r) = (row / head, row % head);
        // Row (half, i) of a head comes from the file's row 2i + half.
        let (half, i) = (r / (head / 2), r % (head / 2));
        let from = (h * head + 2 * i + half) * columns;
        out.extend_from_slice(&values[from..from + columns]);
    }
    out
}

/// The reordering of [`Conversion::InterleavedHeads`], as the converter does it: the inverse of [`split_heads`].
pub fn join_heads(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let head = rows / heads.max(1);
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (h, r) = (row / head, row % head);
        // The file's row 2i + half of a head is row (half, i).
        let from = (h * head + (r % 2) * (head / 2) + r / 2) * columns;
        out.extend_from_slice(&values[from..from + columns]);
    }
    out
}

/// `[rows, columns]` -> `[columns, rows]`.
pub fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for c in 0..columns {
        out.extend((0..rows).map(|r| values[r * columns + c]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_each_family() {
        let t = |a: &str, n: &str| Architecture::new(a, 4, 2).translate(n).map_or(String::new(), |(name, _)| name);
        assert_eq!(t("llama", "blk.12.attn_q.weight"), "model.layers.12.self_attn.q_proj.weight");
        assert_eq!(t("qwen2", "blk.0.attn_k.bias"), "model.layers.0.self_attn.k_proj.bias");
        assert_eq!(t("llama", "output_norm.weight"), "model.norm.weight");
        assert_eq!(t("gpt2", "blk.3.ffn_down.bias"), "transformer.h.3.mlp.c_proj.bias");
        assert_eq!(t("bert", "blk.1.layer_output_norm.weight"), "encoder.layer.1.output.LayerNorm.weight");
        for layer in ["x", "01", "+1", ""] {
            assert_eq!(t("llama", &format!("blk.{layer}.attn_q.weight")), "");
        }
        assert_eq!(t("llama", "rope_freqs.weight"), "");
        let module = |a: &str, n: &str| Architecture::new(a, 4, 2).module(n).map_or(String::new(), |(name, _)| name);
        assert_eq!(module("llama", "model.layers.12.self_attn.q_proj"), "blk.12.attn_q");
        assert_eq!(module("gpt2", "transformer.h.3.mlp.c_proj"), "blk.3.ffn_down");
        assert_eq!(module("llama", "lm_head"), "");
    }

    #[test]
    fn what_the_converter_did_is_known() {
        let done = |a: &str, n: &str| Architecture::new(a, 4, 2).translate(n).map(|(_, conversion)| conversion);
        assert_eq!(done("llama", "blk.0.attn_q.weight"), Some(Conversion::InterleavedHeads { heads: 4 }));
        assert_eq!(done("llama", "blk.0.attn_k.bias"), Some(Conversion::InterleavedHeads { heads: 2 }));
        assert_eq!(done("llama", "blk.0.attn_v.weight"), Some(Conversion::None));
        assert_eq!(done("qwen2", "blk.0.attn_q.weight"), Some(Conversion::None));
        assert_eq!(done("bert", "blk.0.attn_q.weight"), Some(Conversion::None));
        for name in ["attn_qkv", "attn_output", "ffn_up", "ffn_down"] {
            assert_eq!(done("gpt2", &format!("blk.0.{name}.weight")), Some(Conversion::Transposed));
            assert_eq!(done("gpt2", &format!("blk.0.{name}.bias")), Some(Conversion::None));
        }
        assert_eq!(done("gpt2", "blk.0.attn_norm.weight"), Some(Conversion::None));
        assert_eq!(done("gpt2", "token_embd.weight"), Some(Conversion::None));
    }

    #[test]
    fn heads_are_split_as_the_converter_joined_them() {
        // convert_hf_to_gguf: reshape(heads, 2, d / 2, columns).swapaxes(1, 2): rows 0 1 2 3 of one head -> 0 2 1 3.
        let joined = [0., 0., 2., 2., 1., 1., 3., 3., 10., 10., 12., 12., 11., 11., 13., 13.];
        let split = [0., 0., 1., 1., 2., 2., 3., 3., 10., 10., 11., 11., 12., 12., 13., 13.];
        assert_eq!(split_heads(&joined, 2, 2), split);
        assert_eq!(join_heads(&split, 2, 2), joined);
        assert_eq!(transpose(&[1., 2., 3., 4., 5., 6.], 2, 3), [1., 4., 2., 5., 3., 6.]);
    }
}
