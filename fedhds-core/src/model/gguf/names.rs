//! llama.cpp's tensor names and layouts, and Hugging Face's.

use super::header::Header;
use std::collections::BTreeMap;

/// What llama.cpp's converter did to a tensor and has to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As Hugging Face has it.
    Same,
    /// Rows reordered within each of `heads` heads, so that RoPE turns neighbours `(2i, 2i+1)` where Hugging Face turns
    /// `(i, i + d/2)`; done to the queries and keys of the `llama` architecture.
    InterleavedHeads {
        /// Heads in the tensor's rows.
        heads: usize,
    },
    /// Transposed: GPT-2's `Conv1D` keeps `[in, out]`.
    Transposed,
}

/// The names of a layer's tensors after `blk.N.`, and the module path after the layer's in Hugging Face's naming.
const LLAMA: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
const LLAMA_ROOT: &[(&str, &str)] =
    &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

const GPT2: &[(&str, &str)] = &[
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];
const GPT2_ROOT: &[(&str, &str)] = &[
    ("token_embd", "transformer.wte"),
    ("position_embd", "transformer.wpe"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
];

const BERT: &[(&str, &str)] = &[
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];
const BERT_ROOT: &[(&str, &str)] = &[
    ("token_embd", "embeddings.word_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
];

/// Hugging Face's name of every tensor of the file: llama.cpp's name and layout.
/// Tensors that no table knows keep llama.cpp's name, so that a loader can name them.
pub fn table(architecture: &str, header: &Header, heads: usize, heads_kv: usize) -> BTreeMap<String, (String, Layout)> {
    let mut table = BTreeMap::new();
    for name in header.tensors.keys() {
        let (module, end) = name.rsplit_once('.').unwrap_or_default();
        let layout = layout_of(architecture, module, end, heads, heads_kv);
        table.insert(translate(architecture, name).unwrap_or_else(|| name.clone()), (name.clone(), layout));
    }
    table
}

/// What the converter did to the tensor `MODULE.END`, for example of module `blk.0.attn_q` and end `weight`.
pub fn layout_of(architecture: &str, module: &str, end: &str, heads: usize, heads_kv: usize) -> Layout {
    match architecture {
        "llama" if module.ends_with(".attn_q") => Layout::InterleavedHeads { heads },
        "llama" if module.ends_with(".attn_k") => Layout::InterleavedHeads { heads: heads_kv },
        "gpt2"
            if end == "weight"
                && [".attn_qkv", ".attn_output", ".ffn_up", ".ffn_down"].iter().any(|s| module.ends_with(s)) =>
        {
            Layout::Transposed
        }
        _ => Layout::Same,
    }
}

type Names = &'static [(&'static str, &'static str)];

/// The names within a layer, those outside of layers, and what stands before a layer's number in Hugging Face's naming.
fn names_of(architecture: &str) -> (Names, Names, &'static str) {
    match architecture {
        "gpt2" => (GPT2, GPT2_ROOT, "transformer.h"),
        "bert" => (BERT, BERT_ROOT, "encoder.layer"),
        _ => (LLAMA, LLAMA_ROOT, "model.layers"),
    }
}

/// llama.cpp's name of a layer's module: `model.layers.3.self_attn.q_proj` is `blk.3.attn_q`.
pub fn module_name(architecture: &str, module: &str) -> Option<String> {
    let (names, _, layers) = names_of(architecture);
    let (layer, module) = module.strip_prefix(layers)?.strip_prefix('.')?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (stored, _) = names.iter().find(|(_, ours)| *ours == module)?;
    Some(format!("blk.{layer}.{stored}"))
}

fn translate(architecture: &str, name: &str) -> Option<String> {
    let (layer_names, root_names, layers) = names_of(architecture);
    let (module, end) = name.rsplit_once('.')?;
    let find = |names: &[(&str, &'static str)], key: &str| names.iter().find(|(n, _)| *n == key).map(|(_, to)| *to);
    match module.strip_prefix("blk.") {
        Some(rest) => {
            let (layer, module) = rest.split_once('.')?;
            let layer: usize = layer.parse().ok()?;
            Some(format!("{layers}.{layer}.{}.{end}", find(layer_names, module)?))
        }
        None => Some(format!("{}.{end}", find(root_names, module)?)),
    }
}

/// Undoes the reordering of [`Layout::InterleavedHeads`]; `columns` is 1 for a bias. Sizes are checked by the caller.
pub fn split_heads(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
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

/// The reordering of [`Layout::InterleavedHeads`], as the converter does it: the inverse of [`split_heads`].
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
        let t = |a, n| translate(a, n).unwrap_or_default();
        assert_eq!(t("llama", "blk.12.attn_q.weight"), "model.layers.12.self_attn.q_proj.weight");
        assert_eq!(t("qwen2", "blk.0.attn_k.bias"), "model.layers.0.self_attn.k_proj.bias");
        assert_eq!(t("llama", "output_norm.weight"), "model.norm.weight");
        assert_eq!(t("gpt2", "blk.3.ffn_down.bias"), "transformer.h.3.mlp.c_proj.bias");
        assert_eq!(t("bert", "blk.1.layer_output_norm.weight"), "encoder.layer.1.output.LayerNorm.weight");
        assert_eq!(translate("llama", "blk.x.attn_q.weight"), None);
        assert_eq!(translate("llama", "rope_freqs.weight"), None);
        assert_eq!(module_name("llama", "model.layers.12.self_attn.q_proj").as_deref(), Some("blk.12.attn_q"));
        assert_eq!(module_name("gpt2", "transformer.h.3.mlp.c_proj").as_deref(), Some("blk.3.ffn_down"));
        assert_eq!(module_name("llama", "lm_head"), None);
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
