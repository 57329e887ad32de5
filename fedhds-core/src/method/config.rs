//! A method as configuration.

use super::count::Count;
use super::frame::SharedFrame;
use super::kinds::{
    ClientClusterer, ClientSelector, LayerNormalizer, LayerPicker, ReducerConfig, ServerClusterer, ServerGate,
    ServerMemory, ServerSelector,
};
use super::name::Preset;
use super::options::{Copies, Limits, Noise, Regroup, Repeats, Ungrouped};
use super::pipeline::{ClientStages, Pipeline, ServerStages};
use crate::error::{Error, Result};
use crate::privacy::UploadConfig;
use crate::protocol::MAX_DIMS;
use crate::reduce::{Identity, Layers, SharedProjection, SharedProjectionConfig};
use crate::stage::{Reducer, Selector};
use crate::types::RunIdentity;
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
    /// The records' own text, by [`TextFeatures`](crate::features::TextFeatures): no model at all, and the same coordinates on every client.
    Text,
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
    /// The layers of a model's features that count: `"all"` (the paper), `"last"`, or `{ chosen = [6, 12] }`, numbered from 1. What is
    /// extracted stays the same, so that methods of other layers share it.
    #[serde(default, skip_serializing_if = "Layers::is_all")]
    pub layers: Layers,
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
    /// Whether the mean of each score over each group goes up with the groups, where a scorer gives any.
    pub share_scores: bool,
    /// What a client does to its groups before it sends them; the default sends them as they are.
    pub upload: UploadConfig,
    /// When the records are grouped. `once` lets the server remember the groups, and needs the shared projection.
    pub regroup: Regroup,
    /// Distinct records that a group has at least; smaller ones join the nearest. A group of one record shows its features, so only the
    /// paper's presets have 1.
    pub min_group_size: usize,
    /// Whether near copies among a client's records count as one, where the records' texts are there to tell
    /// ([`near_copies`](crate::features::near_copies())): one of them stands for all and may train.
    pub near_copies: Copies,
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
    /// What the server keeps of the selection between rounds.
    pub memory: ServerMemory,
    /// The most that one client gives, in shares of what each would give of the budget if all clients of the round gave alike; at
    /// least 1, rounded up to whole records. It does not depend on the sizes that clients claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_cap: Option<f64>,
    /// What is accepted of one client.
    pub limits: Limits,
    /// Whether bad records are left out where there are enough of them.
    pub gate: ServerGate,
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
    /// Records a round: `"per_cluster"`, `{ budget = N }`, `{ budget = { tokens = N } }`, `{ ratio = R }` or `"all"`.
    pub count: Count,
}

impl MethodConfig {
    /// Whether the options fit together and every setting is in range.
    ///
    /// # Errors
    /// [`Error::Config`] that names the key.
    pub fn check(&self) -> Result<()> {
        self.pipeline(self.client.layers.least()).map(|_| ())
    }

    /// The stages. `layers` is the number of equal parts, one a layer, that a feature vector consists of; only
    /// `client.layer_norm` asks for it, and an extractor of one vector has 1.
    ///
    /// # Errors
    /// [`Error::Config`] that names the key, [`Error::Parameter`] for 0 layers.
    pub fn pipeline(&self, layers: usize) -> Result<Pipeline> {
        // What belongs to no stage: whose features they are.
        let grouped = !matches!(self.client.clusterer, ClientClusterer::None(_));
        match (grouped, self.features) {
            (true, FeatureSource::None) => {
                let message =
                    "expected `model`, `proxy` or `text`, whose features `client.clusterer` groups, got `none`";
                return Err(Error::config("features", message));
            }
            (false, FeatureSource::Model | FeatureSource::Proxy | FeatureSource::Text) => {
                return Err(Error::config("features", "expected `none`, as `client.clusterer` is `none`"));
            }
            _ => {}
        }
        let dims = self.client.shared_dims;
        if !(1..=MAX_DIMS).contains(&(dims as usize)) {
            return Err(Error::config("client.shared_dims", format!("expected 1 to {MAX_DIMS}, got {dims}")));
        }
        let text = self.features == FeatureSource::Text;
        if text && self.client.layer_norm {
            return Err(Error::config("client.layer_norm", "expected `false`, as features of text have no layers"));
        }
        let normalizer = self.normalizer(layers)?;
        let n_components = self.client.shared_dims as usize;
        let frame = (self.client.frame == Frame::Shared).then(|| {
            SharedFrame::new(self.client.shared_dims, move |seed| -> Result<Arc<dyn Reducer>> {
                if text {
                    return Ok(Arc::new(Identity)); // they are hashed into the shared coordinates
                }
                Ok(Arc::new(SharedProjection::new(SharedProjectionConfig { n_components, seed })?))
            })
        });
        let clusterer = located("client.clusterer", self.client.clusterer.build())?;
        // Records without coordinates have no centre.
        let selector: Arc<dyn Selector> = match clusterer {
            None if !self.client.selector.needs_scores() => ClientSelector::RandomMember.build(),
            _ => self.client.selector.build(),
        };
        let identity = self.identity(layers)?;
        let pipeline = Pipeline {
            client: ClientStages {
                normalizer,
                reducer: located("client.reducer", self.client.reducer.build())?,
                clusterer,
                noise: self.client.noise,
                ungrouped: self.client.ungrouped,
                frame,
                selector,
                repeats: self.client.repeats,
                share_scores: self.client.share_scores,
                upload: located("client.upload", self.client.upload.build())?,
                regroup: self.client.regroup,
                min_group_size: self.client.min_group_size,
                least_shown: self.client.upload.min_group_size as usize,
                near_copies: self.client.near_copies,
                identity: identity.clone(),
            },
            server: ServerStages {
                clusterer: located("server.clusterer", self.server.clusterer.build())?,
                noise: self.server.noise,
                selector: self.server.selector.build(),
                count: self.count.clone(),
                memory: located("server.memory", self.server.memory.build())?,
                share_cap: self.server.share_cap,
                limits: self.server.limits.clone(),
                gate: located("server.gate", self.server.gate.build())?,
                identity,
            },
        };
        // The rulebook's names are a configuration's keys.
        pipeline.check().map_err(|error| match error {
            Error::Parameter { name, expected, got } => Error::config(name, format!("expected {expected}, got {got}")),
            other => other,
        })?;
        Ok(pipeline)
    }

    /// What brings the features of `layers` layers to what is compared.
    fn normalizer(&self, layers: usize) -> Result<Option<Arc<dyn Reducer>>> {
        let picked = &self.client.layers;
        if layers == 0 && (self.client.layer_norm || !picked.is_all()) {
            return Err(Error::parameter("layers", "at least 1", 0));
        }
        let of_a_model = matches!(self.features, FeatureSource::Model | FeatureSource::Proxy);
        if !picked.is_all() && !of_a_model {
            let message = "expected `all`: only the features of a `model` or `proxy` have layers";
            return Err(Error::config("client.layers", message));
        }
        let kept = located("client.layers", picked.count(layers))?;
        let norm = self.client.layer_norm.then(|| Arc::new(LayerNormalizer { layers: kept }) as Arc<dyn Reducer>);
        if picked.is_all() {
            return Ok(norm);
        }
        Ok(Some(Arc::new(LayerPicker { layers, picked: picked.clone(), then: norm })))
    }

    /// Every setting by its name, and the layers; not what the method is called.
    fn identity(&self, layers: usize) -> Result<RunIdentity> {
        let mut settings = serde_json::to_value(self).map_err(|e| Error::config("(document)", e.to_string()))?;
        if let Some(settings) = settings.as_object_mut() {
            settings.remove("name");
        }
        let mut identity = RunIdentity::default();
        identity.set_json("method", &settings);
        identity.set("layers", layers);
        Ok(identity)
    }
}

/// A stage's settings that are out of range, with the stage's key.
fn located<T>(key: &str, built: Result<T>) -> Result<T> {
    built.map_err(|error| Error::config(key, error.to_string()))
}
