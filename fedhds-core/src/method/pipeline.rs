//! The stages of a method, put together.

use super::checked::{run_clusterer, run_reducer};
use super::count::Count;
use super::frame::SharedFrame;
use super::gate::GateConfig;
use super::options::{Copies, Limits, Noise, Regroup, Repeats, Ungrouped};
use crate::cluster::centroid::weighted_centroids;
use crate::cluster::{distinct_records, merge_small};
use crate::error::{Error, Result};
use crate::protocol::Ask;
use crate::select::Random;
use crate::sorting;
use crate::stage::{Clusterer, Clustering, Memory, Reducer, Rows, Selector, Upload};
use crate::types::{ClusterId, Context, Matrix, RunIdentity};
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// When the records are grouped.
    pub regroup: Regroup,
    /// Distinct records that a group has at least, from 1 (the paper). A smaller one becomes part of the group whose centroid is nearest;
    /// a client of fewer distinct records sends one group without a centroid, which is chosen last.
    pub min_group_size: usize,
    /// Distinct records that a group has at least to be in a summary, from 1 (the paper). A smaller one is left out, and trains nothing.
    pub least_shown: usize,
    /// What near copies count for, where whoever runs the client can tell them ([`Rows::copies`]).
    pub near_copies: Copies,
    /// What the method is, by name and value: a client's saved state is refused where it is of another. A
    /// [`MethodConfig`](super::MethodConfig) says it; whoever puts stages of their own in may add to it.
    pub identity: RunIdentity,
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
            regroup: Regroup::EachRound,
            min_group_size: 1,
            least_shown: 1,
            near_copies: Copies::Keep,
            identity: RunIdentity::default(),
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
    /// The most that one client of a round gives, in shares of what each would give of the budget if all gave alike, at least 1; rounded up.
    /// None: no limit (the paper). It does not depend on the sizes that clients claim.
    pub share_cap: Option<f64>,
    /// What is accepted of one client.
    pub limits: Limits,
    /// Whether bad records are left out where there are enough of them; never in the paper.
    pub gate: Option<GateConfig>,
    /// What the method is, as in [`ClientStages::identity`], for the server's saved state.
    pub identity: RunIdentity,
}

impl Default for ServerStages {
    /// No clusterer, rows uniformly at random, every record, no memory.
    fn default() -> Self {
        Self {
            clusterer: None,
            noise: Noise::Drop,
            selector: Arc::new(Random),
            count: Count::All,
            memory: None,
            share_cap: None,
            limits: Limits::default(),
            gate: None,
            identity: RunIdentity::default(),
        }
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
    /// What the server asks of clients.
    pub fn ask(&self) -> Ask {
        match (&self.client.clusterer, &self.client.frame) {
            (None, _) => Ask::Counts,
            (Some(_), None) => Ask::Groups,
            (Some(_), Some(frame)) => Ask::SharedGroups { seed: frame.seed(), dims: frame.dims() },
        }
    }
}

/// What a client makes of its records.
pub(crate) struct Grouped {
    /// `[n, k]`, in the coordinates of the uploaded centroids.
    pub points: Matrix,
    /// The groups; rows that are near copies of others are in none.
    pub clustering: Clustering,
    /// Whether the one group is too small to show its centroid.
    pub hidden: bool,
    /// Distinct records of each group, counted up to what it needs to be shown; empty where no features were looked at.
    pub distinct: Vec<u32>,
}

impl ClientStages {
    /// The rows in the frame of the uploaded centroids `[n, k]`, and their groups with centroids in that frame.
    /// `records` has the features `[n, d]`, and scores where there are any; `ask` is what the server wants. Of near copies one stands for
    /// all, that of the smallest key; the others are in no group.
    pub(crate) fn group(&self, records: &Rows<'_>, ask: Ask, context: &Context) -> Result<Grouped> {
        if records.copies.is_empty() {
            return self.group_distinct(records, ask, context);
        }
        let n = records.len();
        let mut first: BTreeMap<u32, usize> = BTreeMap::new();
        for row in 0..n {
            let key = |row: usize| (records.keys.get(row), row);
            let best = first.entry(records.copies[row]).or_insert(row);
            *best = std::cmp::min_by_key(*best, row, |&row| key(row));
        }
        let mut kept: Vec<usize> = first.values().copied().collect();
        sorting::sort(&mut kept);
        let points = records.points.take_rows(&kept)?;
        let scores = records.scores.map(|scores| scores.take_rows(&kept)).transpose()?;
        let grouped = self.group_distinct(&Rows::new(&points).scores(scores.as_ref()), ask, context)?;
        let at: BTreeMap<usize, usize> = sorting::map(kept.iter().copied().zip(0..));
        // A copy lies where what stands for it lies.
        let stands: Vec<usize> = (0..n).map(|row| at[&first[&records.copies[row]]]).collect();
        let mut clustering = grouped.clustering.clone();
        let own = |row: usize| at.get(&row).copied();
        clustering.labels = (0..n).map(|row| own(row).and_then(|at| clustering.labels[at])).collect();
        clustering.strength = (0..n).map(|row| own(row).map_or(0.0, |at| clustering.strength[at])).collect();
        Ok(Grouped { points: grouped.points.take_rows(&stands)?, clustering, ..grouped })
    }

    fn group_distinct(&self, records: &Rows<'_>, ask: Ask, context: &Context) -> Result<Grouped> {
        let shown = |points: Matrix, clustering: Clustering| Grouped {
            points,
            clustering,
            hidden: false,
            distinct: Vec::new(),
        };
        let features = records.points;
        let n = features.rows();
        let Some(clusterer) = &self.clusterer else {
            return Ok(shown(Matrix::zeros(n, 0), one_group(&Matrix::zeros(n, 0))?));
        };
        features.check_finite("features")?;
        if n == 0 {
            return Ok(shown(Matrix::zeros(0, 0), one_group(&Matrix::zeros(0, 0))?));
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
        let reduced_rows = Rows::new(&reduced).scores(records.scores);
        let mut clustering =
            run_clusterer("client.clusterer", clusterer.as_ref(), &reduced_rows, None, &context_cluster)?;
        if self.noise == Noise::Singletons {
            clustering = keep_noise(clustering, &reduced)?;
        }
        if self.ungrouped == Ungrouped::OneGroup && clustering.centroids.rows() == 0 {
            clustering = one_group(&reduced)?;
        }
        let mut hidden = false;
        if self.min_group_size > 1 {
            let merged =
                merge_small(clustering, &reduced, &rows, records.alike, self.min_group_size, &context.control)?;
            clustering = match merged {
                Some(clustering) => clustering,
                None => {
                    hidden = true;
                    one_group(&reduced)?
                }
            };
        }
        let distinct = self.distinct(&clustering, &rows, records.alike)?;
        let (Ask::SharedGroups { seed, dims }, Some(frame)) = (ask, &self.frame) else {
            return Ok(Grouped { points: reduced, clustering, hidden, distinct });
        };
        let projection = frame.projection(seed)?;
        let shared = run_reducer("client.frame", projection.as_ref(), &rows, &context.derive("frame", 0))?;
        if shared.cols() != dims as usize {
            return Err(Error::stage("client.frame", format!("expected {dims} columns, got {}", shared.cols())));
        }
        let k = clustering.centroids.rows();
        clustering.centroids = weighted_centroids(&shared, &clustering.labels, &clustering.strength, k)?;
        Ok(Grouped { points: shared, clustering, hidden, distinct })
    }

    /// Distinct records of each group, where a group must have so many to be shown.
    fn distinct(&self, clustering: &Clustering, features: &Matrix, alike: &[u32]) -> Result<Vec<u32>> {
        if self.least_shown <= 1 {
            return Ok(Vec::new());
        }
        let mut members = vec![Vec::new(); clustering.centroids.rows()];
        for (row, label) in clustering.labels.iter().enumerate() {
            if let Some(label) = label {
                members[label.index()].push(row);
            }
        }
        let count = |rows: &Vec<usize>| distinct_records(features, alike, rows, self.least_shown).map(|n| n as u32);
        members.iter().map(count).collect()
    }

    /// Whether it matters how many distinct records a group has.
    pub fn counts_distinct(&self) -> bool {
        self.clusterer.is_some() && (self.min_group_size > 1 || self.least_shown > 1)
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
