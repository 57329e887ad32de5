//! The built-in aggregators by name, with their settings.

use super::robust::{
    CentredClipping, CentredClippingConfig, GeometricMedianConfig, MultiKrumConfig, NearestMixing, NormBound,
    NormBoundConfig, Robust, TrimmedMeanConfig,
};
use super::{
    FedAdamConfig, FedAvgMConfig, FedSvd, FfaLora, FlexLora, FlexLoraConfig, RoLora, ServerOptimizer, WeightedMean,
};
use crate::error::{Error, Result};
use crate::stage::Aggregator;
use serde::{Deserialize, Serialize};

/// How the clients' adapters become one: `kind = "fedadam"`, and what differs from that kind's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AggregatorConfig {
    /// The mean weighted by records (the paper, eq. 12).
    WeightedMean(NoSettings),
    /// The mean with server momentum (Hsu et al. 2019; Reddi et al. 2020).
    #[serde(rename = "fedavgm")]
    FedAvgM(FedAvgMConfig),
    /// Adam on the server (Reddi et al. 2020, algorithm 2).
    #[serde(rename = "fedadam")]
    FedAdam(FedAdamConfig),
    /// The best adapter of the global rank for the mean of the products (Bai et al. 2024).
    #[serde(rename = "flexlora")]
    FlexLora(FlexLoraConfig),
    /// The mean of B with a fixed A (Sun et al. 2024).
    #[serde(rename = "ffa_lora")]
    FfaLora(NoSettings),
    /// The means of B and A in turn (Chen et al. 2025).
    #[serde(rename = "rolora")]
    RoLora(NoSettings),
    /// The mean of B with an A that follows the product (Lee et al. 2025).
    #[serde(rename = "fedsvd")]
    FedSvd(NoSettings),
    /// The mean of steps that are cut to a bound (Sun et al. 2019).
    NormBound(NormBoundConfig),
    /// The mean of steps that are cut around a centre (Karimireddy et al. 2021).
    CentredClipping(CentredClippingConfig),
    /// The median of each value (Yin et al. 2018).
    CoordinateMedian(NoSettings),
    /// The mean of each value without the smallest and the largest (Yin et al. 2018).
    TrimmedMean(TrimmedMeanConfig),
    /// The mean of the updates with the nearest neighbours (Blanchard et al. 2017).
    MultiKrum(MultiKrumConfig),
    /// The point with the least sum of distances (Pillutla et al. 2022).
    GeometricMedian(GeometricMedianConfig),
    /// Each update as the mean of its nearest, for another rule (Allouah et al. 2023).
    #[serde(rename = "nnm")]
    NearestMixing(NearestMixingConfig),
}

/// Settings of a kind that has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl Default for AggregatorConfig {
    fn default() -> Self {
        AggregatorConfig::WeightedMean(NoSettings {})
    }
}

impl AggregatorConfig {
    /// The names of the kinds.
    pub const KINDS: [&str; 14] = [
        "weighted_mean",
        "fedavgm",
        "fedadam",
        "flexlora",
        "ffa_lora",
        "rolora",
        "fedsvd",
        "norm_bound",
        "centred_clipping",
        "coordinate_median",
        "trimmed_mean",
        "multi_krum",
        "geometric_median",
        "nnm",
    ];

    /// The aggregator, before its first round.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range.
    pub fn build(&self) -> Result<Box<dyn Aggregator>> {
        Ok(match self {
            AggregatorConfig::WeightedMean(NoSettings {}) => Box::new(WeightedMean::new()),
            AggregatorConfig::FedAvgM(config) => Box::new(ServerOptimizer::fedavgm(config)?),
            AggregatorConfig::FedAdam(config) => Box::new(ServerOptimizer::fedadam(config)?),
            AggregatorConfig::FlexLora(config) => Box::new(FlexLora::new(config)),
            AggregatorConfig::FfaLora(NoSettings {}) => Box::new(FfaLora::new()),
            AggregatorConfig::RoLora(NoSettings {}) => Box::new(RoLora::new()),
            AggregatorConfig::FedSvd(NoSettings {}) => Box::new(FedSvd::new()),
            AggregatorConfig::NormBound(config) => Box::new(NormBound::new(config)?),
            AggregatorConfig::CentredClipping(config) => Box::new(CentredClipping::new(config)?),
            AggregatorConfig::CoordinateMedian(NoSettings {}) => Box::new(Robust::coordinate_median()),
            AggregatorConfig::TrimmedMean(config) => Box::new(Robust::trimmed_mean(config)?),
            AggregatorConfig::MultiKrum(config) => Box::new(Robust::multi_krum(config)?),
            AggregatorConfig::GeometricMedian(config) => Box::new(Robust::geometric_median(config)?),
            AggregatorConfig::NearestMixing(config) => Box::new(config.build()?),
        })
    }
}

/// Settings of nearest-neighbour mixing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearestMixingConfig {
    /// Hostile clients of a round that are tolerated, at most 1,048,576; default 1.
    pub f: usize,
    /// What takes the mixed updates: any other aggregator. Default: the trimmed mean without the smallest and the largest value.
    pub inner: Box<AggregatorConfig>,
}

impl Default for NearestMixingConfig {
    fn default() -> Self {
        Self { f: 1, inner: Box::new(AggregatorConfig::TrimmedMean(Default::default())) }
    }
}

impl NearestMixingConfig {
    /// A mixing that has not begun.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range, the inner rule's too, and for another mixing inside.
    pub fn build(&self) -> Result<NearestMixing> {
        if matches!(*self.inner, AggregatorConfig::NearestMixing(_)) {
            return Err(Error::parameter("inner", "an aggregator that does not mix itself", "nnm"));
        }
        NearestMixing::around(self.f, self.inner.build().map_err(inside)?)
    }
}

fn inside(error: Error) -> Error {
    match error {
        Error::Parameter { name, expected, got } => Error::Parameter { name: format!("inner.{name}"), expected, got },
        error => error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_written_and_built() {
        for kind in AggregatorConfig::KINDS {
            let config: AggregatorConfig = toml::from_str(&format!("kind = \"{kind}\"")).unwrap();
            config.build().unwrap();
            let written = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<AggregatorConfig>(&written).unwrap(), config);
        }
        for kind in ["fedadam", "weighted_mean"] {
            let unknown = format!("kind = \"{kind}\"\nmomentum = 0.5");
            assert!(toml::from_str::<AggregatorConfig>(&unknown).is_err(), "{kind}");
        }
        let nested = "kind = \"nnm\"\nf = 2\ninner = { kind = \"trimmed_mean\", b = 2 }";
        let nested: AggregatorConfig = toml::from_str(nested).unwrap();
        assert_eq!(toml::from_str::<AggregatorConfig>(&toml::to_string(&nested).unwrap()).unwrap(), nested);
        let config: AggregatorConfig = toml::from_str("kind = \"fedadam\"\ntau = -1.0").unwrap();
        assert!(config.build().map(|_| ()).unwrap_err().to_string().contains("tau"));
    }
}
