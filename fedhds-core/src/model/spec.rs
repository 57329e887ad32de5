//! What a model says of itself: its sizes, and which of its layers an adapter can change.

use crate::error::{Error, Result};
use crate::types::AdapterConfig;

/// A linear layer that an adapter can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSpec {
    /// PEFT's name, for example `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Columns that go in.
    pub input: usize,
    /// Columns that come out.
    pub output: usize,
}

/// The sizes of a model and the names of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// Number of layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_positions: usize,
    /// Every linear layer that can be adapted, in the order of the forward pass.
    pub modules: Vec<ModuleSpec>,
    /// Last name components of the modules that are adapted unless others are named.
    pub default_targets: Vec<String>,
    /// Whether the weights lie as `[in, out]` (PEFT's `fan_in_fan_out`).
    pub fan_in_fan_out: bool,
    /// Whether the model predicts the next token; encoders do not.
    pub causal: bool,
}

impl ModelSpec {
    /// The modules that an adapter with this configuration changes: those whose path is a target or ends with `.target`.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names a target without any module.
    pub fn targets(&self, config: &AdapterConfig) -> Result<Vec<&ModuleSpec>> {
        let names = if config.target_modules.is_empty() { &self.default_targets } else { &config.target_modules };
        let matches = |module: &ModuleSpec, name: &str| {
            module.path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some(name) = names.iter().find(|name| !self.modules.iter().any(|m| matches(m, name))) {
            let mut known: Vec<&str> = self.modules.iter().filter_map(|m| m.path.rsplit('.').next()).collect();
            known.sort_unstable();
            known.dedup();
            return Err(Error::adapter("target_modules", format!("names among {}", known.join(", ")), name));
        }
        Ok(self.modules.iter().filter(|m| names.iter().any(|name| matches(m, name))).collect())
    }
}
