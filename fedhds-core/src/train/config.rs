//! How an adapter is trained.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of local training; the defaults are the paper's on Natural Instructions (section 5.1 and appendix B).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Adam's step size, above 0. The paper: 3e-4 on Natural Instructions, 3e-5 on Dolly.
    pub learning_rate: f64,
    /// Records in one forward pass, at least 1.
    pub batch_size: usize,
    /// Times that every record is trained on, at least 1.
    pub local_epochs: usize,
    /// Stop after so many optimiser steps, at least 1; none: only the epochs count.
    pub max_steps: Option<usize>,
    /// Batches whose gradients make one optimiser step, at least 1. The loss is the mean over the response tokens of all of
    /// them, so that 2 batches of 2 records step as one batch of 4 does.
    pub gradient_accumulation_steps: usize,
    /// Gradients are scaled down to this norm over all of them, above 0; none: never.
    pub max_grad_norm: Option<f64>,
    /// Keep only the input of each layer and compute the layer again in the backward pass: the same result, less memory,
    /// about a third more time.
    pub gradient_checkpointing: bool,
    /// Longest record in tokens, prompt, response and end of sequence together, at least 2; a longer one is an error that
    /// names it.
    pub max_tokens: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            batch_size: 1,
            local_epochs: 1,
            max_steps: None,
            gradient_accumulation_steps: 1,
            max_grad_norm: None,
            gradient_checkpointing: false,
            max_tokens: 1024,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// [`Error::Parameter`] that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        let at_least = [
            ("batch_size", self.batch_size, 1),
            ("local_epochs", self.local_epochs, 1),
            ("max_steps", self.max_steps.unwrap_or(1), 1),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps, 1),
            ("max_tokens", self.max_tokens, 2),
        ];
        if let Some((name, value, least)) = at_least.iter().find(|(_, value, least)| value < least) {
            return Err(Error::parameter(name, format!("at least {least}"), value));
        }
        let above_zero = [("learning_rate", Some(self.learning_rate)), ("max_grad_norm", self.max_grad_norm)];
        for (name, value) in above_zero {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value <= 0.0) {
                return Err(Error::parameter(name, "a finite value above 0", value));
            }
        }
        Ok(())
    }

    /// Optimiser steps that training on so many records takes.
    pub fn steps(&self, records: usize) -> usize {
        let batches = records.div_ceil(self.batch_size.max(1));
        let steps = batches.div_ceil(self.gradient_accumulation_steps.max(1)) * self.local_epochs;
        self.max_steps.map_or(steps, |most| steps.min(most))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        TrainConfig::default().check().unwrap();
        let fails = |config: TrainConfig| config.check().unwrap_err().to_string();
        assert!(fails(TrainConfig { batch_size: 0, ..TrainConfig::default() }).contains("batch_size"));
        assert!(fails(TrainConfig { max_steps: Some(0), ..TrainConfig::default() }).contains("max_steps"));
        assert!(fails(TrainConfig { max_tokens: 1, ..TrainConfig::default() }).contains("max_tokens"));
        assert!(
            fails(TrainConfig { learning_rate: f64::INFINITY, ..TrainConfig::default() }).contains("learning_rate")
        );
        assert!(fails(TrainConfig { max_grad_norm: Some(0.0), ..TrainConfig::default() }).contains("max_grad_norm"));
    }

    #[test]
    fn steps_are_counted() {
        let config =
            TrainConfig { batch_size: 2, gradient_accumulation_steps: 3, local_epochs: 2, ..TrainConfig::default() };
        assert_eq!(config.steps(13), 6);
        assert_eq!(config.steps(0), 0);
        assert_eq!(TrainConfig { max_steps: Some(4), ..config }.steps(13), 4);
    }
}
