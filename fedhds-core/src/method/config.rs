//! A method as configuration.

use super::frame::SharedFrame;
use super::name::Preset;
use super::options::{Count, Noise, Repeats, Ungrouped};
use super::pipeline::{ClientStages, Pipeline, ServerStages};
use super::stages;
use super::stages::{ClientClusterer, ClientSelector, LayerNorm, ReducerConfig, ServerClusterer, ServerSelector};
use crate::error::{Error, Result};
use crate::protocol::MAX_DIMS;
use crate::reduce::{SharedProjection, SharedProjectionConfig};
use crate::stage::{Reducer, Selector};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whose hidden states the features are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSource {
    /// Nobody's: the method looks at no features.
    None,
    /// The tuned model's, with its adapter as it is in the round (FedHDS): they follow what the model has learnt.
    Model,
    /// A small frozen model's (FedHDS-Turbo): extracted once, at a fraction of the cost.
    Proxy,
}

/// The frame of the centroids that clients upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// The reducer's own coordinates on each client (the paper). With t-SNE, coordinates of two clients cannot be compared.
    PerClient,
    /// Mean features under one random projection, the same for all clients by its seed: clusters across clients mean topics.
    Shared,
}

/// What runs on each client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Normalise each layer's part of a feature vector first. Hidden states grow with depth, so that without it the last layers
    /// decide alone; it needs no statistics that clients would have to share. The paper does not.
    pub layer_norm: bool,
    /// What comes before clustering.
    pub reducer: ReducerConfig,
    /// What groups the records.
    pub clusterer: ClientClusterer,
    /// What happens to records that are in no group.
    pub noise: Noise,
    /// What a client sends that found no group.
    pub ungrouped: Ungrouped,
    /// The frame of the uploaded centroids.
    pub frame: Frame,
    /// Coordinates of a centroid in the shared frame, 1 to 65,536; default 128: fewer blur topics (nearest-neighbour accuracy of
    /// task families .39, .62, .65 at 8, 32, 128), more cost bytes (four each).
    pub shared_dims: u32,
    /// Which records of a chosen group train.
    pub selector: ClientSelector,
    /// Whether records of earlier rounds train again.
    pub repeats: Repeats,
}

/// What runs on the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// What groups the centroids of all clients.
    pub clusterer: ServerClusterer,
    /// What happens to centroids that are in no cluster. With a budget they are picked last all the same.
    pub noise: Noise,
    /// Which groups give records.
    pub selector: ServerSelector,
}

/// A method: where its features come from, what runs on both levels, and how many records train in a round.
///
/// It is read as a preset and what differs from it; a bare name is the preset itself:
///
/// ```
/// use fedhds_core::method::{Count, MethodConfig, Preset};
///
/// # fn main() -> fedhds_core::Result<()> {
/// let config = MethodConfig::from_toml_str(
///     r#"
///     preset = "fedhds_shared"
///     name = "shared, 20 records"
///     count = { budget = 20 }
///     [client]
///     noise = "singletons"
///     clusterer = { min_cluster_size = 2 }
///     "#,
/// )?;
/// assert_eq!(config.count, Count::Budget(20));
/// assert_eq!(config.preset, Preset::FedhdsShared);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodConfig {
    /// The preset that it was made from.
    pub preset: Preset,
    /// What tables and run records call it; the preset's name by default.
    pub name: String,
    /// Whose features.
    pub features: FeatureSource,
    /// On each client.
    pub client: ClientConfig,
    /// On the server.
    pub server: ServerConfig,
    /// Records a round: `"per_cluster"`, `{ budget = N }`, `{ ratio = R }` or `"all"`.
    pub count: Count,
}

impl MethodConfig {
    /// Whether the options fit together and every setting is in range.
    ///
    /// # Errors
    /// [`Error::Config`] that names the key.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, message: String| Err(Error::config(key, message));
        let (client, server) = (&self.client, &self.server);
        let grouped = !matches!(client.clusterer, ClientClusterer::None(_));
        let looks = self.features != FeatureSource::None;
        if grouped && !looks {
            return fail("features", "expected `model` or `proxy`, whose features `client.clusterer` groups".into());
        }
        if !grouped && looks {
            return fail("features", "expected `none`, as `client.clusterer` is `none`".into());
        }
        if !grouped && client.frame == Frame::Shared {
            return fail("client.frame", "expected `per_client`, as there are no groups to compare".into());
        }
        if !(1..=MAX_DIMS).contains(&(client.shared_dims as usize)) {
            return fail("client.shared_dims", format!("expected 1 to {MAX_DIMS}, got {}", client.shared_dims));
        }
        let per_cluster = self.count == Count::PerCluster;
        self.count.check().map_err(|e| Error::config("count", e.to_string()))?;
        if per_cluster && !grouped {
            return fail("count", "expected a budget, a ratio or `all`, as nothing is clustered".into());
        }
        if per_cluster && matches!(server.clusterer, ServerClusterer::Kmeans(_)) {
            return fail(
                "count",
                "expected a budget, which is the number of clusters of `server.clusterer` kmeans".into(),
            );
        }
        let clustered = !matches!(server.clusterer, ServerClusterer::None(_));
        let by_cluster = matches!(server.selector, ServerSelector::Nearest | ServerSelector::RandomMember);
        if !per_cluster && self.count != Count::All && by_cluster && !clustered {
            let message = "expected `hdbscan` or `kmeans`, whose clusters `server.selector` picks from";
            return fail("server.clusterer", message.into());
        }
        if !per_cluster && !by_cluster && clustered {
            let message = "expected `none`: with a budget this `server.selector` does not look at clusters";
            return fail("server.clusterer", message.into());
        }
        let in_range = |key: &str, result: Result<()>| result.map_err(|e| Error::config(key, e.to_string()));
        in_range("client.reducer", client.reducer.build().map(|_| ()))?;
        in_range("client.clusterer", client.clusterer.build().map(|_| ()))?;
        in_range("server.clusterer", server.clusterer.build().map(|_| ()))
    }

    /// The stages. `layers` is the number of equal parts, one a layer, that a feature vector consists of; only
    /// `client.layer_norm` asks for it, and an extractor of one vector has 1.
    ///
    /// # Errors
    /// [`Error::Config`] as [`check`](MethodConfig::check), [`Error::Parameter`] for 0 layers.
    pub fn pipeline(&self, layers: usize) -> Result<Pipeline> {
        self.check()?;
        let normalizer: Option<Arc<dyn Reducer>> = match (self.client.layer_norm, layers) {
            (false, _) => None,
            (true, 0) => return Err(Error::parameter("layers", "at least 1", 0)),
            (true, layers) => Some(Arc::new(LayerNorm { layers })),
        };
        let n_components = self.client.shared_dims as usize;
        let frame = (self.client.frame == Frame::Shared).then(|| {
            SharedFrame::new(self.client.shared_dims, move |seed| -> Result<Arc<dyn Reducer>> {
                Ok(Arc::new(SharedProjection::new(SharedProjectionConfig { n_components, seed })?))
            })
        });
        let clusterer = self.client.clusterer.build()?;
        // Records without coordinates have no centre.
        let selector: Arc<dyn Selector> = match clusterer {
            None => stages::ClientSelector::RandomMember.build(),
            Some(_) => self.client.selector.build(),
        };
        let pipeline = Pipeline {
            client: ClientStages {
                normalizer,
                reducer: self.client.reducer.build()?,
                clusterer,
                noise: self.client.noise,
                ungrouped: self.client.ungrouped,
                frame,
                selector,
                repeats: self.client.repeats,
            },
            server: ServerStages {
                grouping: self.server.clusterer.build()?,
                noise: self.server.noise,
                selector: self.server.selector.build(),
                count: self.count.clone(),
            },
        };
        pipeline.check()?;
        Ok(pipeline)
    }
}
