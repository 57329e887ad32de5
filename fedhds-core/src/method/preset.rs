//! The methods by name.

use super::config::{ClientConfig, FeatureSource, Frame, MethodConfig, ServerConfig};
use super::pipeline::{Count, Noise, Ungrouped};
use super::stages::{ClientClusterer, ClientSelector, NoParams, ReducerConfig, ServerClusterer, ServerSelector};
use crate::cluster::KMeansConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A method by name: where a configuration starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Local k-means, the shared projection, and greedy facility location to the budget, weighted by group size: no record is
    /// noise, and nothing is fitted that could fail on few records.
    FedhdsCoverage,
    /// Any records of the round's clients, to the budget: the paper's baseline.
    Random,
    /// Any records, spread over the round's clients, to the budget. Where one client is one task this explains what selection
    /// gains, so selection must be measured against it.
    Stratified,
    /// Every record of every client of the round: FedIT.
    All,
}

/// The budget of the presets that have one: records a round.
const BUDGET: Count = Count::Budget(10);

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 4] = [Preset::FedhdsCoverage, Preset::Random, Preset::Stratified, Preset::All];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Preset::FedhdsCoverage => "fedhds_coverage",
            Preset::Random => "random",
            Preset::Stratified => "stratified",
            Preset::All => "all",
        }
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// [`Error::Config`] that lists the names.
    pub fn from_name(name: &str) -> Result<Self> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name()).collect();
            Error::config("preset", format!("expected one of {}, got `{name}`", names.join(", ")))
        })
    }

    /// Its configuration.
    pub fn config(self) -> MethodConfig {
        let (features, client, server, count) = match self {
            Preset::FedhdsCoverage => {
                let client = ClientConfig {
                    layer_norm: true,
                    reducer: ReducerConfig::None(NoParams {}),
                    clusterer: ClientClusterer::Kmeans(KMeansConfig::with_clusters(3)),
                    frame: Frame::Shared,
                    ..paper_client()
                };
                (FeatureSource::Model, client, flat_server(ServerSelector::FacilityLocation), BUDGET)
            }
            Preset::Random => (FeatureSource::None, no_groups(), flat_server(ServerSelector::Random), BUDGET),
            Preset::Stratified => (FeatureSource::None, no_groups(), flat_server(ServerSelector::Stratified), BUDGET),
            Preset::All => (FeatureSource::None, no_groups(), flat_server(ServerSelector::Random), Count::All),
        };
        MethodConfig { preset: self, name: self.name().into(), features, client, server, count }
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn paper_client() -> ClientConfig {
    ClientConfig {
        layer_norm: false,
        reducer: ReducerConfig::None(NoParams {}),
        clusterer: ClientClusterer::None(NoParams {}),
        noise: Noise::Drop,
        ungrouped: Ungrouped::Skip,
        frame: Frame::PerClient,
        shared_dims: 128,
        selector: ClientSelector::Nearest,
    }
}

fn no_groups() -> ClientConfig {
    ClientConfig {
        reducer: ReducerConfig::None(NoParams {}),
        clusterer: ClientClusterer::None(NoParams {}),
        selector: ClientSelector::RandomMember,
        ..paper_client()
    }
}

fn flat_server(selector: ServerSelector) -> ServerConfig {
    ServerConfig { clusterer: ServerClusterer::None(NoParams {}), noise: Noise::Drop, selector }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_builds_under_its_name() {
        for preset in Preset::ALL {
            assert_eq!(Preset::from_name(preset.name()).unwrap(), preset);
            let config = preset.config();
            config.check().unwrap();
            config.pipeline(4).unwrap();
            assert_eq!(config.name, preset.name());
        }
        let error = Preset::from_name("fedhds_tubro").unwrap_err().to_string();
        assert!(error.contains("fedhds_coverage") && error.contains("fedhds_tubro"), "{error}");
    }
}
