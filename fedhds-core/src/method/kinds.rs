//! The built-in stages by name, with their settings.

use crate::cluster::{EachRow, Hdbscan, HdbscanConfig, KMeans, KMeansConfig};
use crate::error::Result;
use crate::reduce::{KernelPca, KernelPcaConfig, Layers, Pca, PcaConfig, Tsne, TsneConfig, layer_norm_per_layer};
use crate::select::{
    Band, CoverageMemory, CoverageMemoryConfig, FacilityLocation, NearestCentroid, Perplexity, Random, RandomMember,
    SaturatedCoverage, Stratified,
};
use crate::stage::{Clusterer, Reducer, Selector};
use crate::types::{Context, Matrix};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::gate::GateConfig;
use super::pipeline::MakeMemory;

/// A choice without settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// What comes before a client's clustering: `{ kind = "tsne", perplexity = 30 }`, or the bare name for the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReducerConfig {
    /// Nothing: the features themselves are clustered. HDBSCAN finds next to nothing in them at the size of a client, k-means
    /// does.
    None(NoParams),
    /// t-SNE (the paper, eq. 7): what makes local groups exist.
    Tsne(TsneConfig),
    /// PCA (the paper's ablation): linear and quick.
    Pca(PcaConfig),
    /// Kernel PCA (the paper's ablation).
    KernelPca(KernelPcaConfig),
}

impl ReducerConfig {
    /// The stage; none for `none`.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of range.
    pub fn build(&self) -> Result<Option<Arc<dyn Reducer>>> {
        Ok(match self {
            ReducerConfig::None(_) => None,
            ReducerConfig::Tsne(config) => Some(Arc::new(Tsne::new(config.clone())?)),
            ReducerConfig::Pca(config) => Some(Arc::new(Pca::new(config.clone())?)),
            ReducerConfig::KernelPca(config) => Some(Arc::new(KernelPca::new(config.clone())?)),
        })
    }
}

/// What groups a client's records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClientClusterer {
    /// Nothing: no features are looked at (random, stratified, all).
    None(NoParams),
    /// HDBSCAN (the paper): finds the number of groups, and noise. `min_cluster_size` 5 on Natural Instructions, 2 on Dolly.
    Hdbscan(HdbscanConfig),
    /// k-means: a fixed number of groups, no noise; every record is represented.
    Kmeans(KMeansConfig),
    /// Every record by itself (the paper's ablation GlobalSelect): the server sees the features of each, and `server.limits.max_groups` records
    /// of a client at most.
    Each(NoParams),
}

impl ClientClusterer {
    /// The stage; none for `none`.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of range.
    pub fn build(&self) -> Result<Option<Arc<dyn Clusterer>>> {
        Ok(match self {
            ClientClusterer::None(_) => None,
            ClientClusterer::Hdbscan(config) => Some(Arc::new(Hdbscan::new(config.clone())?)),
            ClientClusterer::Kmeans(config) => Some(Arc::new(KMeans::new(config.clone())?)),
            ClientClusterer::Each(_) => Some(Arc::new(EachRow)),
        })
    }
}

/// How a client picks the records of a chosen group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientSelector {
    /// The records nearest to the group's centroid (the paper, eq. 10).
    Nearest,
    /// Records of the group uniformly at random: the one nearest to a centre can be too typical.
    RandomMember,
    /// Records that together cover the group (facility location): the medoid first, further ones spread out.
    Spread,
    /// Those of the lowest perplexity, by a scorer's `loss`.
    PerplexityLow,
    /// Those around the median perplexity (Marion et al. 2023).
    PerplexityMiddle,
    /// Those of the highest perplexity.
    PerplexityHigh,
}

impl ClientSelector {
    /// The stage.
    pub fn build(self) -> Arc<dyn Selector> {
        match self {
            ClientSelector::Nearest => Arc::new(NearestCentroid),
            ClientSelector::RandomMember => Arc::new(RandomMember),
            ClientSelector::Spread => Arc::new(FacilityLocation),
            ClientSelector::PerplexityLow => Arc::new(Perplexity { band: Band::Low }),
            ClientSelector::PerplexityMiddle => Arc::new(Perplexity { band: Band::Middle }),
            ClientSelector::PerplexityHigh => Arc::new(Perplexity { band: Band::High }),
        }
    }

    /// Whether it ranks records by a scorer's numbers, and so can pick among records without coordinates.
    pub fn needs_scores(self) -> bool {
        use ClientSelector::{PerplexityHigh, PerplexityLow, PerplexityMiddle};
        matches!(self, PerplexityLow | PerplexityMiddle | PerplexityHigh)
    }
}

/// What groups the centroids of all clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServerClusterer {
    /// Nothing: for selectors that look at the centroids themselves; with `count = "per_cluster"` every uploaded group gives a
    /// record (the paper's ablation without the inter-client level).
    None(NoParams),
    /// HDBSCAN (the paper, eq. 8; `min_cluster_size` 2): finds the number of clusters, and with it the number of records.
    Hdbscan(HdbscanConfig),
    /// k-means: with a budget as many clusters as records are wanted, else `n_clusters`.
    Kmeans(KMeansConfig),
}

impl ServerClusterer {
    /// The stage; none for `none`.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of range.
    pub fn build(&self) -> Result<Option<Arc<dyn Clusterer>>> {
        Ok(match self {
            ServerClusterer::None(_) => None,
            ServerClusterer::Hdbscan(config) => Some(Arc::new(Hdbscan::new(config.clone())?)),
            ServerClusterer::Kmeans(config) => Some(Arc::new(KMeans::new(config.clone())?)),
        })
    }
}

/// What the server keeps of the selection between rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServerMemory {
    /// Nothing (the paper): each round selects as if it were the first.
    None(NoParams),
    /// What was trained on, as points in the shared projection: a selector that looks at it prefers what no round has covered.
    Coverage(CoverageMemoryConfig),
}

impl ServerMemory {
    /// What makes a server's memory; none for `none`.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of range.
    pub fn build(&self) -> Result<Option<Arc<MakeMemory>>> {
        Ok(match self {
            ServerMemory::None(_) => None,
            ServerMemory::Coverage(config) => {
                config.check()?;
                let config = config.clone();
                Some(Arc::new(move || Ok(Box::new(CoverageMemory::new(config.clone())?))))
            }
        })
    }
}

/// Whether bad records are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServerGate {
    /// Never (the paper).
    None(NoParams),
    /// Where enough of the answers are bad, by the ranks of own prompts among decoys.
    Ranks(GateConfig),
}

impl ServerGate {
    /// The settings; none for `none`.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting out of range.
    pub fn build(&self) -> Result<Option<GateConfig>> {
        match self {
            ServerGate::None(_) => Ok(None),
            ServerGate::Ranks(config) => config.check().map(|()| Some(config.clone())),
        }
    }
}

/// How the server picks the groups that stand for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerSelector {
    /// The groups nearest to the weighted centre of their cluster (the paper, eq. 9).
    Nearest,
    /// A group of each cluster uniformly at random.
    RandomMember,
    /// Groups that together lie near all groups, each weighted by its records.
    FacilityLocation,
    /// Groups near what is least covered over all rounds, each weighted by the square root of its records.
    SaturatedCoverage,
    /// Records (without features) or groups uniformly at random.
    Random,
    /// The same, spread over the clients.
    Stratified,
}

impl ServerSelector {
    /// The stage.
    pub fn build(self) -> Arc<dyn Selector> {
        match self {
            ServerSelector::Nearest => Arc::new(NearestCentroid),
            ServerSelector::RandomMember => Arc::new(RandomMember),
            ServerSelector::FacilityLocation => Arc::new(FacilityLocation),
            ServerSelector::SaturatedCoverage => Arc::new(SaturatedCoverage::default()),
            ServerSelector::Random => Arc::new(Random),
            ServerSelector::Stratified => Arc::new(Stratified),
        }
    }
}

/// Some of the layers alone, and what comes after that.
pub(super) struct LayerPicker {
    /// Equal parts of a feature vector, one a layer, at least 1.
    pub layers: usize,
    pub picked: Layers,
    pub then: Option<Arc<dyn Reducer>>,
}

impl Reducer for LayerPicker {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        let picked = self.picked.pick(features, self.layers)?;
        match &self.then {
            None => Ok(picked),
            Some(then) => then.reduce(&picked, context),
        }
    }
}

/// Layer-norm per layer as a stage, see [`layer_norm_per_layer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerNormalizer {
    /// Equal parts of a feature vector, one a layer, at least 1.
    pub layers: usize,
}

impl Reducer for LayerNormalizer {
    fn reduce(&self, features: &Matrix, _context: &Context) -> Result<Matrix> {
        layer_norm_per_layer(features, self.layers)
    }
}
