//! What each preset is made of.

use super::config::{ClientConfig, FeatureSource, Frame, MethodConfig, ServerConfig};
use super::count::Count;
use super::gate::GateConfig;
use super::kinds::{
    ClientClusterer, ClientSelector, NoParams, ReducerConfig, ServerClusterer, ServerGate, ServerMemory, ServerSelector,
};
use super::name::Preset;
use super::options::{Copies, Limits, Noise, Regroup, Repeats, Ungrouped};
use crate::cluster::{HdbscanConfig, KMeansConfig};
use crate::privacy::UploadConfig;
use crate::reduce::{Layers, PerplexityLimit, TsneConfig};
use crate::select::CoverageMemoryConfig;

/// Distinct records of a group in the presets that are not the paper's: the mean of three is no record's features.
const MIN_GROUP_SIZE: usize = 3;

/// The most that a client gives in the presets that are not the paper's, in shares of an equal one.
const SHARE_CAP: f64 = 1.5;

/// The budget of the presets that have one: records a round.
const BUDGET: Count = Count::Budget(10);

impl Preset {
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
                    min_group_size: MIN_GROUP_SIZE,
                    ..paper_client()
                };
                let clusterer = ServerClusterer::Kmeans(KMeansConfig::default());
                let server = ServerConfig { clusterer, share_cap: Some(SHARE_CAP), ..paper_server() };
                (FeatureSource::Model, client, server, BUDGET)
            }
            Preset::FedhdsCoverage => {
                let client = ClientConfig {
                    layer_norm: true,
                    reducer: ReducerConfig::None(NoParams {}),
                    clusterer: ClientClusterer::Kmeans(KMeansConfig::with_clusters(3)),
                    frame: Frame::Shared,
                    repeats: Repeats::Avoid,
                    min_group_size: MIN_GROUP_SIZE,
                    ..paper_client()
                };
                let server =
                    ServerConfig { share_cap: Some(SHARE_CAP), ..flat_server(ServerSelector::FacilityLocation) };
                (FeatureSource::Model, client, server, BUDGET)
            }
            Preset::FedhdsRobust => {
                let client = ClientConfig {
                    reducer: ReducerConfig::None(NoParams {}),
                    clusterer: ClientClusterer::Kmeans(KMeansConfig {
                        n_clusters: 24,
                        min_rows_per_cluster: 6,
                        n_init: 1,
                        ..KMeansConfig::default()
                    }),
                    frame: Frame::Shared,
                    ungrouped: Ungrouped::OneGroup,
                    selector: ClientSelector::RandomMember,
                    repeats: Repeats::Never,
                    regroup: Regroup::Once,
                    min_group_size: MIN_GROUP_SIZE,
                    near_copies: Copies::Collapse,
                    ..paper_client()
                };
                let server = ServerConfig {
                    memory: ServerMemory::Coverage(CoverageMemoryConfig::default()),
                    share_cap: Some(SHARE_CAP),
                    gate: ServerGate::Ranks(GateConfig::default()),
                    ..flat_server(ServerSelector::SaturatedCoverage)
                };
                (FeatureSource::Text, client, server, BUDGET)
            }
            Preset::Random => (FeatureSource::None, no_groups(), flat_server(ServerSelector::Random), BUDGET),
            Preset::Stratified => (FeatureSource::None, no_groups(), flat_server(ServerSelector::Stratified), BUDGET),
            Preset::Perplexity => {
                let client = ClientConfig { selector: ClientSelector::PerplexityMiddle, ..no_groups() };
                (FeatureSource::None, client, flat_server(ServerSelector::Random), BUDGET)
            }
            Preset::GlobalSelect => {
                let client = ClientConfig {
                    layer_norm: true,
                    reducer: ReducerConfig::None(NoParams {}),
                    clusterer: ClientClusterer::Each(NoParams {}),
                    frame: Frame::Shared,
                    repeats: Repeats::Avoid,
                    ..paper_client()
                };
                let clusterer = ServerClusterer::Kmeans(KMeansConfig::default());
                (FeatureSource::Model, client, ServerConfig { clusterer, ..paper_server() }, BUDGET)
            }
            Preset::All => (FeatureSource::None, no_groups(), flat_server(ServerSelector::Random), Count::All),
        };
        MethodConfig { preset: self, name: self.name().into(), features, client, server, count }
    }
}

fn hdbscan(min_cluster_size: usize) -> HdbscanConfig {
    HdbscanConfig { min_cluster_size, ..HdbscanConfig::default() }
}

fn paper_client() -> ClientConfig {
    ClientConfig {
        layers: Layers::All,
        layer_norm: false,
        reducer: ReducerConfig::Tsne(TsneConfig { perplexity_limit: PerplexityLimit::Rows, ..TsneConfig::default() }),
        clusterer: ClientClusterer::Hdbscan(hdbscan(5)),
        noise: Noise::Drop,
        ungrouped: Ungrouped::Skip,
        frame: Frame::PerClient,
        shared_dims: 128,
        selector: ClientSelector::Nearest,
        repeats: Repeats::Allow,
        share_scores: false,
        upload: UploadConfig::default(),
        regroup: Regroup::EachRound,
        min_group_size: 1,
        near_copies: Copies::Keep,
    }
}

fn paper_server() -> ServerConfig {
    ServerConfig {
        clusterer: ServerClusterer::Hdbscan(hdbscan(2)),
        noise: Noise::Drop,
        selector: ServerSelector::Nearest,
        memory: ServerMemory::None(NoParams {}),
        share_cap: None,
        limits: Limits::default(),
        gate: ServerGate::None(NoParams {}),
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
    ServerConfig { clusterer: ServerClusterer::None(NoParams {}), selector, ..paper_server() }
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
