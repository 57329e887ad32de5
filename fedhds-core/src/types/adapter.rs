//! A LoRA adapter as data: what is trained, sent and averaged.

use super::range::{above_zero, below_one, within};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings of a LoRA adapter, named as in PEFT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// Rank r of the update, 1 to [`AdapterConfig::MAX_RANK`]; of a soft prompt the number of its vectors.
    pub r: usize,
    /// Above 0: the update is scaled by `lora_alpha / r` (`lora_alpha / sqrt(r)` with `use_rslora`).
    pub lora_alpha: f32,
    /// Dropout on the adapter's input while training, in [0, 1).
    pub lora_dropout: f32,
    /// Names of the linear layers that are adapted, as their last path component, sorted; for example `q_proj`, `c_attn`. `prompt_tuning` or
    /// `p_tuning` alone is a soft prompt instead.
    pub target_modules: Vec<String>,
    /// Scale by `lora_alpha / sqrt(r)` (Kalajdzievski 2023).
    pub use_rslora: bool,
}

impl Default for AdapterConfig {
    /// The paper's settings: r 8, alpha 16, dropout 0.05; no target modules named means the model family's own default.
    fn default() -> Self {
        Self { r: 8, lora_alpha: 16.0, lora_dropout: 0.05, target_modules: Vec::new(), use_rslora: false }
    }
}

/// What an adapter changes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterKind {
    /// Low-rank factors beside linear layers (LoRA).
    LowRank,
    /// Trained vectors in front of a text (Lester et al. 2021).
    PromptTuning,
    /// The same, made by a small trained network (Liu et al. 2021).
    PTuning,
}

impl AdapterConfig {
    /// The only target module of a soft prompt by prompt tuning; `r` is then its number of vectors, and alpha and dropout say nothing.
    pub const PROMPT_TUNING: &str = "prompt_tuning";
    /// The same of P-tuning.
    pub const P_TUNING: &str = "p_tuning";

    /// What the adapter changes: low-rank factors, unless its only target is [`PROMPT_TUNING`](Self::PROMPT_TUNING) or
    /// [`P_TUNING`](Self::P_TUNING).
    pub fn kind(&self) -> AdapterKind {
        match self.target_modules.as_slice() {
            [one] if one == Self::PROMPT_TUNING => AdapterKind::PromptTuning,
            [one] if one == Self::P_TUNING => AdapterKind::PTuning,
            _ => AdapterKind::LowRank,
        }
    }

    /// The largest rank: wider than any hidden state of the model families here, so that a typing error does not ask for all
    /// memory.
    pub const MAX_RANK: usize = 1 << 14;

    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        within("r", self.r, 1..=Self::MAX_RANK)?;
        above_zero("lora_alpha", self.lora_alpha)?;
        below_one("lora_dropout", self.lora_dropout)
    }

    /// The factor on B*A.
    pub fn scaling(&self) -> f32 {
        let r = self.r as f32;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }
}

/// One tensor of an adapter, row-major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterTensor {
    /// `[r, in]` for A, `[out, r]` for B.
    pub shape: [usize; 2],
    /// The values, row after row.
    pub data: Vec<f32>,
}

/// A LoRA adapter: its settings and its tensors by module path.
///
/// Keys are PEFT's without the prefix `base_model.model.`, for example
/// `model.layers.0.self_attn.q_proj.lora_A.weight`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Adapter {
    /// Rank, alpha, dropout and target modules.
    pub config: AdapterConfig,
    /// The tensors in the order of their names: the order in which everything walks them.
    pub tensors: BTreeMap<String, AdapterTensor>,
}

impl Adapter {
    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|t| t.data.len()).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_range() {
        let paper = AdapterConfig::default();
        paper.check().unwrap();
        AdapterConfig { r: 1 << 14, lora_alpha: f32::MAX, lora_dropout: 0.0, ..paper.clone() }.check().unwrap();
        let says = |config: AdapterConfig| config.check().unwrap_err().to_string();
        for r in [0, (1 << 14) + 1, usize::MAX] {
            let wrong = AdapterConfig { r, ..paper.clone() };
            assert_eq!(says(wrong), format!("r: expected a whole number from 1 to 16384, got {r}"));
        }
        for (value, shown) in [(f32::NAN, "nan"), (f32::INFINITY, "inf"), (0.0, "0.0"), (-16.0, "-16.0")] {
            let wrong = AdapterConfig { lora_alpha: value, ..paper.clone() };
            assert_eq!(says(wrong), format!("lora_alpha: expected a number above 0, got {shown}"));
        }
        for (value, shown) in [(f32::NAN, "nan"), (f32::INFINITY, "inf"), (1.0, "1.0"), (-0.05, "-0.05")] {
            let wrong = AdapterConfig { lora_dropout: value, ..paper.clone() };
            assert_eq!(says(wrong), format!("lora_dropout: expected a number in [0, 1), got {shown}"));
        }
    }
}
