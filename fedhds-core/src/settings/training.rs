//! How an adapter is trained.

use super::MAX_TOKENS;
use crate::error::Result;
use crate::types::range::{above_zero, at_least};
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
    // Left out where it is not set: runs of files from before there was such a limit are still known again.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// names it. Not in an experiment's file: there it is `data.max_tokens`.
    #[serde(skip)]
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
            max_tokens: MAX_TOKENS,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        above_zero("learning_rate", self.learning_rate)?;
        at_least("batch_size", self.batch_size, 1)?;
        at_least("local_epochs", self.local_epochs, 1)?;
        self.max_steps.map_or(Ok(()), |steps| at_least("max_steps", steps, 1))?;
        at_least("gradient_accumulation_steps", self.gradient_accumulation_steps, 1)?;
        self.max_grad_norm.map_or(Ok(()), |norm| above_zero("max_grad_norm", norm))?;
        at_least("max_tokens", self.max_tokens, 2)
    }

    /// Optimiser steps that training on so many records takes.
    pub fn steps(&self, records: usize) -> usize {
        let batches = records.div_ceil(self.batch_size.max(1));
        let steps = batches.div_ceil(self.gradient_accumulation_steps.max(1)).saturating_mul(self.local_epochs);
        self.max_steps.map_or(steps, |most| steps.min(most))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_range() {
        let paper = TrainConfig::default();
        paper.check().unwrap();
        let says = |config: TrainConfig| config.check().unwrap_err().to_string();
        for (value, shown) in
            [(f64::NAN, "nan"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf"), (0.0, "0.0"), (-3e-4, "-0.0003")]
        {
            let wrong = TrainConfig { learning_rate: value, ..paper.clone() };
            assert_eq!(says(wrong), format!("learning_rate: expected a number above 0, got {shown}"));
            let wrong = TrainConfig { max_grad_norm: Some(value), ..paper.clone() };
            assert_eq!(says(wrong), format!("max_grad_norm: expected a number above 0, got {shown}"));
        }
        for (name, least, wrong) in [
            ("batch_size", 1, TrainConfig { batch_size: 0, ..paper.clone() }),
            ("local_epochs", 1, TrainConfig { local_epochs: 0, ..paper.clone() }),
            ("max_steps", 1, TrainConfig { max_steps: Some(0), ..paper.clone() }),
            ("gradient_accumulation_steps", 1, TrainConfig { gradient_accumulation_steps: 0, ..paper.clone() }),
            ("max_tokens", 2, TrainConfig { max_tokens: 1, ..paper.clone() }),
        ] {
            let got = least - 1;
            assert_eq!(says(wrong), format!("{name}: expected a whole number of at least {least}, got {got}"));
        }
    }

    #[test]
    fn the_largest_values_fit_and_are_counted_with() {
        let most = usize::MAX;
        let config = TrainConfig {
            learning_rate: f64::MAX,
            batch_size: 1,
            local_epochs: most,
            max_steps: Some(most),
            gradient_accumulation_steps: 1,
            max_grad_norm: Some(f64::MAX),
            gradient_checkpointing: true,
            max_tokens: most,
        };
        config.check().unwrap();
        assert_eq!(config.steps(3), most);
        assert_eq!(TrainConfig { batch_size: most, gradient_accumulation_steps: most, ..config }.steps(3), most);
    }

    #[test]
    fn a_file_says_neither_less_nor_more() {
        assert_eq!(toml::from_str::<TrainConfig>("").unwrap(), TrainConfig::default());
        let read: TrainConfig = toml::from_str("learning_rate = 1e-3\nmax_steps = 4").unwrap();
        assert_eq!((read.learning_rate, read.max_steps, read.max_tokens), (1e-3, Some(4), MAX_TOKENS));
        assert!(toml::from_str::<TrainConfig>("max_tokens = 9").is_err());
        let written = toml::to_string(&read).unwrap();
        assert_eq!(toml::from_str::<TrainConfig>(&written).unwrap(), read);
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
