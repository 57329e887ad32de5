//! The stages of a method, put together.

use super::checked::{run_clusterer, run_reducer};
use super::frame::SharedFrame;
use super::options::{Count, Noise, Repeats, Ungrouped};
use crate::cluster::centroid::weighted_centroids;
use crate::error::{Error, Result};
use crate::protocol::Ask;
use crate::select::Random;
use crate::stage::{Clusterer, Clustering, Memory, Reducer, Rows, Selector, Upload};
use crate::types::{ClusterId, Context, Matrix, Seed};
use std::borrow::Cow;
use std::sync::Arc;

/// The stages on a client: features -> normalizer -> reducer -> clusterer, and the selector within the chosen groups.
#[derive(Clone)]
pub struct ClientStages {
    /// Before everything else, for example layer-norm per layer; none leaves the features as they are.
    pub normalizer: Option<Arc<dyn Reducer>>,
    /// Before clustering, t-SNE in the paper (eq. 7); none clusters the features themselves.
    pub reducer: Option<Arc<dyn Reducer>>,
    /// Groups the reduced rows, HDBSCAN in the paper. None: no features are looked at, and all records are one group
    /// without coordinates.
    pub clusterer: Option<Arc<dyn Clusterer>>,
    /// What happens to noise.
    pub noise: Noise,
    /// What is sent where no group was found.
    pub ungrouped: Ungrouped,
    /// The frame of the uploaded centroids: none is the client's own (the paper).
    pub frame: Option<SharedFrame>,
    /// Picks the records of a chosen group (eq. 10).
    pub selector: Arc<dyn Selector>,
    /// Whether records of earlier rounds train again.
    pub repeats: Repeats,
    /// Whether the mean of each score over each group goes up with the groups. Without it scores stay on the client.
    pub share_scores: bool,
    /// What happens to a summary before it leaves the client; none sends it as it is (the paper).
    pub upload: Option<Arc<dyn Upload>>,
}

impl Default for ClientStages {
    /// No features: all records are one group, of which some are picked uniformly at random.
    fn default() -> Self {
        Self {
            normalizer: None,
            reducer: None,
            clusterer: None,
            noise: Noise::Drop,
            ungrouped: Ungrouped::Skip,
            frame: None,
            selector: Arc::new(Random),
            repeats: Repeats::Allow,
            share_scores: false,
            upload: None,
        }
    }
}

/// Makes the memory of one server: a pipeline is shared, what is remembered is not.
pub type MakeMemory = dyn Fn() -> Result<Box<dyn Memory>> + Send + Sync;

/// The stages on the server: groups -> clusterer -> selector, and what is kept between rounds.
#[derive(Clone)]
pub struct ServerStages {
    /// Groups the centroids of all clients (eq. 8); with a budget it is told to make one cluster for each record. None: with
    /// [`Count::PerCluster`] every uploaded group gives a record (the paper's ablation without the inter-client level); with a
    /// budget the selector sees the uploaded groups alone.
    pub clusterer: Option<Arc<dyn Clusterer>>,
    /// What happens to centroids that the clusterer calls noise.
    pub noise: Noise,
    /// Picks the representatives (eq. 9).
    pub selector: Arc<dyn Selector>,
    /// How many records train.
    pub count: Count,
    /// What the server keeps of the selection between rounds; none in the paper.
    pub memory: Option<Arc<MakeMemory>>,
}

impl Default for ServerStages {
    /// No clusterer, rows uniformly at random, every record, no memory.
    fn default() -> Self {
        Self { clusterer: None, noise: Noise::Drop, selector: Arc::new(Random), count: Count::All, memory: None }
    }
}

/// A method: the stages of both levels. From a [`MethodConfig`](super::MethodConfig), or put together by hand:
///
/// ```
/// use fedhds_core::cluster::{KMeans, KMeansConfig};
/// use fedhds_core::method::{ClientStages, Count, Pipeline, ServerStages};
/// use fedhds_core::select::{FacilityLocation, NearestCentroid};
/// use std::sync::Arc;
///
/// # fn main() -> fedhds_core::Result<()> {
/// let pipeline = Pipeline {
///     client: ClientStages {
///         clusterer: Some(Arc::new(KMeans::new(KMeansConfig::with_clusters(3))?)),
///         selector: Arc::new(NearestCentroid),
///         ..Default::default()
///     },
///     server: ServerStages { selector: Arc::new(FacilityLocation), count: Count::Budget(20), ..Default::default() },
/// };
/// pipeline.check()?;
/// # Ok(())
/// # }
/// ```
///
/// What every stage returns is checked: rows, finiteness, dense ids, distinct picks, exact counts. A stage that breaks
/// its promise is [`Error::Stage`] with its name: `client.normalizer`, `client.reducer`, `client.clusterer`, `client.frame`,
/// `client.upload`, `client.selector`, `server.clusterer`, `server.selector` or `server.memory`.
#[derive(Clone, Default)]
pub struct Pipeline {
    /// What runs on each client.
    pub client: ClientStages,
    /// What runs on the server.
    pub server: ServerStages,
}

impl Pipeline {
    /// What the server asks of clients; `shared` is the seed of the shared frame, where there is one.
    pub fn ask(&self, shared: Seed) -> Ask {
        match (&self.client.clusterer, &self.client.frame) {
            (None, _) => Ask::Counts,
            (Some(_), None) => Ask::Groups,
            (Some(_), Some(frame)) => Ask::SharedGroups { seed: shared, dims: frame.dims() },
        }
    }
}

impl ClientStages {
    /// The rows in the frame of the uploaded centroids `[n, k]`, and their groups with centroids in that frame.
    /// `records` has the features `[n, d]`, and scores where there are any; `ask` is what the server wants.
    pub(crate) fn group(&self, records: &Rows<'_>, ask: Ask, context: &Context) -> Result<(Matrix, Clustering)> {
        let features = records.points;
        let n = features.rows();
        let Some(clusterer) = &self.clusterer else {
            return Ok((Matrix::zeros(n, 0), one_group(&Matrix::zeros(n, 0))?));
        };
        features.check_finite("features")?;
        if n == 0 {
            return Ok((Matrix::zeros(0, 0), one_group(&Matrix::zeros(0, 0))?));
        }
        let rows = match &self.normalizer {
            Some(normalizer) => {
                let context = context.derive("normalizer", 0);
                Cow::Owned(run_reducer("client.normalizer", normalizer.as_ref(), features, &context)?)
            }
            None => Cow::Borrowed(features),
        };
        let reduced = match &self.reducer {
            Some(reducer) => run_reducer("client.reducer", reducer.as_ref(), &rows, &context.derive("reducer", 0))?,
            None => rows.as_ref().clone(),
        };
        let context_cluster = context.derive("clusterer", 0);
        let reduced_rows = Rows { points: &reduced, ..*records };
        let mut clustering =
            run_clusterer("client.clusterer", clusterer.as_ref(), &reduced_rows, None, &context_cluster)?;
        if self.noise == Noise::Singletons {
            clustering = keep_noise(clustering, &reduced)?;
        }
        if self.ungrouped == Ungrouped::OneGroup && clustering.centroids.rows() == 0 {
            clustering = one_group(&reduced)?;
        }
        let (Ask::SharedGroups { seed, dims }, Some(frame)) = (ask, &self.frame) else {
            return Ok((reduced, clustering));
        };
        let projection = frame.projection(seed)?;
        let shared = run_reducer("client.frame", projection.as_ref(), &rows, &context.derive("frame", 0))?;
        if shared.cols() != dims as usize {
            return Err(Error::stage("client.frame", format!("expected {dims} columns, got {}", shared.cols())));
        }
        let k = clustering.centroids.rows();
        clustering.centroids = weighted_centroids(&shared, &clustering.labels, &clustering.strength, k)?;
        Ok((shared, clustering))
    }
}

/// All rows as one group, each with strength 1; no group where there are no rows.
pub(crate) fn one_group(points: &Matrix) -> Result<Clustering> {
    let n = points.rows();
    let labels = vec![Some(ClusterId(0)); n];
    let strength = vec![1.0; n];
    let centroids = weighted_centroids(points, &labels, &strength, n.min(1))?;
    Ok(Clustering { labels, strength, centroids })
}

/// Each row as a group of its own.
pub(crate) fn each_alone(points: &Matrix) -> Clustering {
    Clustering {
        labels: (0..points.rows()).map(|row| Some(ClusterId(row as u32))).collect(),
        strength: vec![1.0; points.rows()],
        centroids: points.clone(),
    }
}

/// Each noise row becomes a group of its own, numbered after the others in the order of rows, with strength 1.
pub(crate) fn keep_noise(mut clustering: Clustering, points: &Matrix) -> Result<Clustering> {
    let mut alone = Vec::new();
    let first = clustering.centroids.rows();
    for (row, (label, strength)) in clustering.labels.iter_mut().zip(&mut clustering.strength).enumerate() {
        if label.is_none() {
            *label = Some(ClusterId((first + alone.len()) as u32));
            *strength = 1.0;
            alone.push(row);
        }
    }
    let alone = points.take_rows(&alone)?;
    clustering.centroids = if first == 0 { alone } else { Matrix::stack([&clustering.centroids, &alone])? };
    Ok(clustering)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_kept_as_groups_of_one() {
        let points = Matrix::new(4, 1, vec![5.0, 1.0, 7.0, 3.0]).unwrap();
        let clustering = Clustering {
            labels: vec![None, Some(ClusterId(0)), None, Some(ClusterId(0))],
            strength: vec![0.0, 1.0, 0.0, 1.0],
            centroids: Matrix::new(1, 1, vec![2.0]).unwrap(),
        };
        let kept = keep_noise(clustering, &points).unwrap();
        assert_eq!(kept.labels, [1, 0, 2, 0].map(|c| Some(ClusterId(c))));
        assert_eq!(kept.centroids.as_slice(), [2.0, 5.0, 7.0]);
        crate::cluster::check_clustering("kept", &kept, 4, 1).unwrap();
    }
}
