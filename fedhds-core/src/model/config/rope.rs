//! Frequencies of rotary position embedding (Su et al. 2021, arXiv 2104.09864), and the ways that longer contexts scale them.

use crate::error::{Error, Result};

/// Base and scaling of the rotation.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies, above 1.
    pub theta: f64,
    /// How frequencies are changed for longer contexts.
    pub scaling: RopeScaling,
}

/// How frequencies are changed for longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided by `factor` (at least 1).
    Linear {
        /// By what.
        factor: f64,
    },
    /// Equal to no scaling up to `max_position_embeddings`, which is the limit here.
    Dynamic {
        /// The growth that is allowed beyond it elsewhere.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        /// Divisor of long wavelengths, at least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are long.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are short; above `low_freq_factor`.
        high_freq_factor: f64,
        /// The context that the model was first trained with, in tokens.
        original_max_position_embeddings: usize,
    },
}

impl Default for RopeConfig {
    /// Theta 10,000, no scaling.
    fn default() -> Self {
        Self { theta: 1e4, scaling: RopeScaling::None }
    }
}

impl RopeConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the first value out of range.
    pub fn check(&self) -> Result<()> {
        let at_least_one = |name: &str, value: f64| {
            // The comparison is written so that NaN fails it.
            if value >= 1.0 && value.is_finite() { Ok(()) } else { Err(Error::parameter(name, "at least 1", value)) }
        };
        at_least_one("rope_theta", self.theta)?;
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => at_least_one("factor", *factor),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                at_least_one("factor", *factor)?;
                if !(*low_freq_factor > 0.0 && high_freq_factor > low_freq_factor) {
                    let expected = format!("above low_freq_factor, {low_freq_factor}, which is positive");
                    return Err(Error::parameter("high_freq_factor", expected, high_freq_factor));
                }
                if *original_max_position_embeddings == 0 {
                    return Err(Error::parameter("original_max_position_embeddings", "at least 1", 0));
                }
                Ok(())
            }
        }
    }

    /// Radians a position for each pair of a head of width `head_dim`, `[head_dim / 2]`.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2).map(|i| self.scaled(1.0 / self.theta.powf(2.0 * i as f64 / head_dim as f64)) as f32).collect()
    }

    fn scaled(&self, frequency: f64) -> f64 {
        match &self.scaling {
            RopeScaling::None | RopeScaling::Dynamic { .. } => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let context = *original_max_position_embeddings as f64;
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                if wavelength < context / high_freq_factor {
                    frequency
                } else if wavelength > context / low_freq_factor {
                    frequency / factor
                } else {
                    let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn llama3_scaling_keeps_short_wavelengths() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let scaled = RopeConfig { theta: 5e5, scaling }.frequencies(128);
        let plain = RopeConfig { theta: 5e5, scaling: RopeScaling::None }.frequencies(128);
        assert_eq!(scaled[0], plain[0]);
        assert!((scaled[63] * 8.0 / plain[63] - 1.0).abs() < 1e-5);
        assert!(scaled.iter().zip(&plain).all(|(s, p)| s <= p));
    }

    #[test]
    fn ranges_are_checked() {
        assert!(RopeConfig { theta: f64::NAN, scaling: RopeScaling::None }.check().is_err());
        assert!(RopeConfig { theta: 1e4, scaling: RopeScaling::Linear { factor: 0.5 } }.check().is_err());
    }
}
