//! The methods by name.

use super::config::{ClientConfig, FeatureSource, Frame, MethodConfig, ServerConfig};
use super::options::{Count, Noise, Repeats, Ungrouped};
use super::stages::{
    ClientClusterer, ClientSelector, NoParams, ReducerConfig, ServerClusterer, ServerKMeans, ServerSelector,
};
use crate::cluster::{HdbscanConfig, KMeansConfig};
use crate::error::{Error, Result};
use crate::parse;
use crate::reduce::{PerplexityLimit, TsneConfig};
use serde::{Deserialize, Serialize};

/// A method by name: where a configuration starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The paper, faithfully: features of the tuned model, t-SNE and HDBSCAN on each client, HDBSCAN over the clients' own
    /// coordinates, one record per cluster. The count is what the clustering makes of it, and may be none in a round.
    Fedhds,
    /// The paper's Turbo: the same with the features of a small frozen proxy, which are extracted once.
    FedhdsTurbo,
    /// The same local groups; their centroids are mean features under one projection that all clients share, after layer-norm
    /// per layer; the server's k-means meets the budget. Coordinates of different t-SNEs cannot be compared, and a count that
    /// varies by seed cannot be planned: this mends both.
    FedhdsShared,
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
    pub const ALL: [Preset; 7] = [
        Preset::Fedhds,
        Preset::FedhdsTurbo,
        Preset::FedhdsShared,
        Preset::FedhdsCoverage,
        Preset::Random,
        Preset::Stratified,
        Preset::All,
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Fedhds => "fedhds",
            Preset::FedhdsTurbo => "fedhds_turbo",
            Preset::FedhdsShared => "fedhds_shared",
            Preset::FedhdsCoverage => "fedhds_coverage",
            Preset::Random => "random",
            Preset::Stratified => "stratified",
            Preset::All => "all",
        }
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// [`Error::Config`] that lists the names, and says which may be meant.
    pub fn from_name(name: &str) -> Result<Self> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name()).collect();
            Error::config("preset", parse::unknown_name(name, &names))
        })
    }

    /// Its configuration.
    pub fn config(self) -> MethodConfig {
        let (features, client, server, count) = match self {
            Preset::Fedhds => (FeatureSource::Model, paper_client(), paper_server(), Count::PerCluster),
            Preset::FedhdsTurbo => (FeatureSource::Proxy, paper_client(), paper_server(), Count::PerCluster),
            Preset::FedhdsShared => {
                let client = ClientConfig {
                    layer_norm: true,
                    // The paper's limit, n - 1, makes all affinities of a small client alike.
                    reducer: ReducerConfig::Tsne(TsneConfig::default()),
                    frame: Frame::Shared,
                    ungrouped: Ungrouped::OneGroup,
                    repeats: Repeats::Avoid,
                    ..paper_client()
                };
                let clusterer = ServerClusterer::Kmeans(ServerKMeans::default());
                let server = ServerConfig { clusterer, ..paper_server() };
                (FeatureSource::Model, client, server, BUDGET)
            }
            Preset::FedhdsCoverage => {
                let client = ClientConfig {
                    layer_norm: true,
                    reducer: ReducerConfig::None(NoParams {}),
                    clusterer: ClientClusterer::Kmeans(KMeansConfig::with_clusters(3)),
                    frame: Frame::Shared,
                    repeats: Repeats::Avoid,
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

fn hdbscan(min_cluster_size: usize) -> HdbscanConfig {
    HdbscanConfig { min_cluster_size, ..HdbscanConfig::default() }
}

fn paper_client() -> ClientConfig {
    ClientConfig {
        layer_norm: false,
        reducer: ReducerConfig::Tsne(TsneConfig { perplexity_limit: PerplexityLimit::Rows, ..TsneConfig::default() }),
        clusterer: ClientClusterer::Hdbscan(hdbscan(5)),
        noise: Noise::Drop,
        ungrouped: Ungrouped::Skip,
        frame: Frame::PerClient,
        shared_dims: 128,
        selector: ClientSelector::Nearest,
        repeats: Repeats::Allow,
    }
}

fn paper_server() -> ServerConfig {
    ServerConfig {
        clusterer: ServerClusterer::Hdbscan(hdbscan(2)),
        noise: Noise::Drop,
        selector: ServerSelector::Nearest,
    }
}

fn no_groups() -> ClientConfig {
    ClientConfig {
        reducer: ReducerConfig::None(NoParams {}),
        clusterer: ClientClusterer::None(NoParams {}),
        selector: ClientSelector::RandomMember,
        repeats: Repeats::Avoid,
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
        assert!(error.contains("fedhds_turbo") && error.contains("fedhds_tubro"), "{error}");
    }

    #[test]
    fn turbo_differs_from_the_paper_by_the_extractor_alone() {
        let turbo = Preset::FedhdsTurbo.config();
        let paper = Preset::Fedhds.config();
        assert_eq!(turbo.features, FeatureSource::Proxy);
        assert_eq!((turbo.client, turbo.server, turbo.count), (paper.client, paper.server, paper.count));
    }
}
