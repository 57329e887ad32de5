//! The stage traits, nothing else: implement one to replace a step of the method.
//!
//! A client runs [`FeatureExtractor`] and [`Scorer`] -> [`Reducer`] -> [`Clusterer`] -> [`Upload`]; the server runs [`Clusterer`] and
//! [`Selector`] on the groups that came, with what its [`Memory`] knows of earlier rounds; the client runs [`Selector`] in the chosen
//! groups, then [`Trainer`]; the server runs [`Aggregator`]. All are object-safe and free of any tensor library's types. The pipeline
//! checks what a stage returns, so that a user's own stage fails with its name and what was wrong.

mod reason;

pub use reason::{Coverage, Nearness, Watch};

use crate::error::Result;
use crate::protocol::ClientSummary;
use crate::types::{Adapter, ClientId, ClusterId, Context, Factors, Matrix, Record, Round, RowId, Scores, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Groups of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    /// One per row; `None` is noise. Ids are dense: every id below `centroids.rows()` occurs.
    pub labels: Vec<Option<ClusterId>>,
    /// Membership strength per row, in [0, 1]; 0 for noise.
    pub strength: Vec<f32>,
    /// `[k, d]`; row j belongs to `ClusterId(j)`: the strength-weighted mean of its rows.
    pub centroids: Matrix,
}

/// Points that earlier rounds have covered: what a server's [`Memory`] keeps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Covered {
    /// `[m, d]`, in the coordinate space of the uploaded centroids.
    pub points: Matrix,
    /// Records that were trained on at each point, `[m]`, above 0.
    pub mass: Vec<f32>,
}

/// What a selection is to lie near: the groups that the server knows of all clients, those of other rounds too.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Targets {
    /// `[m, d]`, in the coordinates of the rows.
    pub points: Matrix,
    /// How much each counts, `[m]`, finite and at least 0.
    pub weights: Vec<f32>,
}

/// How many records the rows of a selection may give.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Room<'a> {
    /// The most of each row, `[n]`.
    pub of_rows: &'a [u32],
    /// The most of each owner; an owner that is not named has no limit of its own.
    pub of_owners: &'a BTreeMap<ClientId, u32>,
}

impl<'a> Room<'a> {
    /// These limits.
    pub fn new(of_rows: &'a [u32], of_owners: &'a BTreeMap<ClientId, u32>) -> Self {
        Self { of_rows, of_owners }
    }
}

/// What clusterers and selectors look at: records on a client, uploaded groups on the server.
///
/// Made by [`Rows::new`] and the methods that add what there is beside the points; a later release may add fields.
///
/// ```
/// use fedhds_core::stage::Rows;
/// use fedhds_core::types::Matrix;
///
/// let points = Matrix::zeros(3, 2);
/// let rows = Rows::new(&points).weights(&[1.0, 4.0, 2.0]);
/// assert_eq!((rows.len(), rows.weight(1)), (3, 4.0));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// `[n, d]`; no columns where no features were looked at.
    pub points: &'a Matrix,
    /// How many records each row stands for, `[n]`, each finite and at least 0; empty where every row is one record.
    pub weights: &'a [f32],
    /// Numbers of each row, `[n, k]`: of a record, or the mean over a group's records.
    pub scores: Option<&'a Scores>,
    /// The client that sent each row, `[n]`; empty where there is one owner.
    pub owners: &'a [ClientId],
    /// The groups of the rows, for selectors whose method has a clusterer before them.
    pub groups: Option<&'a Clustering>,
    /// What earlier rounds have covered, for the server's stages where the method has a memory.
    pub covered: Option<&'a Covered>,
    /// A random key of each row, `[n]`, which stays the same in all rounds; empty where none are known. Who draws rows takes those of the
    /// smallest keys: methods that are compared then differ only where they decide differently.
    pub keys: &'a [u64],
    /// Which near copy each row is of, `[n]`: rows of one number say the same. Empty where each row says something of its own, or nothing
    /// is known.
    pub copies: &'a [u32],
    /// The same of rows that each count and may train for itself, `[n]`: it says how many distinct records a group has, where that must be
    /// so many, and nothing else. Empty where nothing is known.
    pub alike: &'a [u32],
    /// Features of the rows' prompts alone, `[n, p]`, which tell topics apart where records are ranked by decoys; without them the points do.
    pub prompts: Option<&'a Matrix>,
    /// What a selection is to lie near, for the server's selector where the server keeps the clients' groups; else the rows themselves.
    pub targets: Option<&'a Targets>,
    /// Tokens of each row, `[n]`, on a client: prompt, response and end of sequence, at least 1; empty where they are not known. A budget in
    /// tokens needs them.
    pub tokens: &'a [u32],
    /// Who is told in which order the selector takes rows; none where nobody asks.
    pub watch: Option<&'a dyn Watch>,
}

impl<'a> Rows<'a> {
    /// These points, each one record of one owner, and nothing else known of them.
    pub fn new(points: &'a Matrix) -> Self {
        Self {
            points,
            weights: &[],
            scores: None,
            owners: &[],
            groups: None,
            covered: None,
            keys: &[],
            copies: &[],
            alike: &[],
            prompts: None,
            targets: None,
            tokens: &[],
            watch: None,
        }
    }

    /// Says how many records each row stands for, `[n]`.
    #[must_use]
    pub fn weights(self, weights: &'a [f32]) -> Self {
        Self { weights, ..self }
    }

    /// Adds numbers of each row, `[n, k]`.
    #[must_use]
    pub fn scores(self, scores: impl Into<Option<&'a Scores>>) -> Self {
        Self { scores: scores.into(), ..self }
    }

    /// Says which client sent each row, `[n]`.
    #[must_use]
    pub fn owners(self, owners: &'a [ClientId]) -> Self {
        Self { owners, ..self }
    }

    /// Adds the groups of the rows.
    #[must_use]
    pub fn groups(self, groups: impl Into<Option<&'a Clustering>>) -> Self {
        Self { groups: groups.into(), ..self }
    }

    /// Adds what earlier rounds have covered.
    #[must_use]
    pub fn covered(self, covered: impl Into<Option<&'a Covered>>) -> Self {
        Self { covered: covered.into(), ..self }
    }

    /// Adds a random key of each row, `[n]`, the same in all rounds.
    #[must_use]
    pub fn keys(self, keys: &'a [u64]) -> Self {
        Self { keys, ..self }
    }

    /// Says which near copy each row is of, `[n]`.
    #[must_use]
    pub fn copies(self, copies: &'a [u32]) -> Self {
        Self { copies, ..self }
    }

    /// Says which near copy each row is of, `[n]`, only for how many distinct records a group has.
    #[must_use]
    pub fn alike(self, alike: &'a [u32]) -> Self {
        Self { alike, ..self }
    }

    /// Adds features of the rows' prompts alone, `[n, p]`.
    #[must_use]
    pub fn prompts(self, prompts: impl Into<Option<&'a Matrix>>) -> Self {
        Self { prompts: prompts.into(), ..self }
    }

    /// Adds what a selection is to lie near.
    #[must_use]
    pub fn targets(self, targets: impl Into<Option<&'a Targets>>) -> Self {
        Self { targets: targets.into(), ..self }
    }

    /// Says how many tokens each row has, `[n]`: prompt, response and end of sequence.
    #[must_use]
    pub fn tokens(self, tokens: &'a [u32]) -> Self {
        Self { tokens, ..self }
    }

    /// Says who is told in which order the selector takes rows.
    #[must_use]
    pub fn watch(self, watch: impl Into<Option<&'a dyn Watch>>) -> Self {
        Self { watch: watch.into(), ..self }
    }

    /// A selector says that it takes this row next, and what the row adds to what it maximises. It changes nothing.
    pub fn took(&self, row: usize, gain: f64) {
        if let Some(watch) = self.watch {
            watch.took(row, gain);
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.points.rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many records row `i` stands for.
    pub fn weight(&self, i: usize) -> f32 {
        self.weights.get(i).copied().unwrap_or(1.0)
    }
}

impl<'a> From<&'a Matrix> for Rows<'a> {
    fn from(points: &'a Matrix) -> Self {
        Self::new(points)
    }
}

/// How many rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Budget {
    /// So many per cluster (the paper: 1).
    PerCluster(usize),
    /// So many in all, met exactly where there are so many rows.
    Total(usize),
}

/// Vectors of records.
pub trait FeatureExtractor: Send + Sync {
    /// Features `[n, d]` of the records, with `adapter` applied to the model where the extractor uses the tuned model.
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix>;

    /// Whether the adapter is ignored: a frozen proxy's features never change, and are extracted once for all rounds.
    fn is_frozen(&self) -> bool;

    /// Identifies model and settings: equal fingerprints promise equal features.
    fn fingerprint(&self) -> String;
}

/// Fewer columns: `[n, d] -> [n, k]`.
pub trait Reducer: Send + Sync {
    /// One row out for each row in.
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix>;
}

/// Numbers of records: losses, ranks, lengths. A client's clusterer and selector see them; with
/// [`share_scores`](crate::method::ClientStages::share_scores) the mean over each group goes up to the server's.
pub trait Scorer: Send + Sync {
    /// What the numbers are called, one name for each column of [`score`](Scorer::score), always the same.
    fn names(&self) -> Vec<String>;

    /// `[n, k]`: one row for each record, with `adapter` applied to the model where the scorer uses the tuned model. A value may be NaN
    /// where there is nothing to say of a record; it is never infinite.
    fn score(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix>;

    /// Whether the adapter is ignored: such scores never change, and are made once for all rounds.
    fn is_frozen(&self) -> bool;

    /// Identifies model and settings: equal fingerprints promise equal scores.
    fn fingerprint(&self) -> String;

    /// How many passes of a model over a whole record scoring these records takes, at least 0: what a comparison at equal compute counts.
    /// The default is one for each; a scorer that makes less of what records share says so.
    fn passes(&self, records: &[Record]) -> Result<f64> {
        Ok(records.len() as f64)
    }
}

/// Groups of rows.
pub trait Clusterer: Send + Sync {
    /// A label for each row. `wanted` is how many groups the method needs, where it knows (on the server with a budget); a clusterer
    /// that finds the number by itself ignores it.
    fn cluster(&self, rows: &Rows<'_>, wanted: Option<usize>, context: &Context) -> Result<Clustering>;
}

/// The rows that stand for all.
pub trait Selector: Send + Sync {
    /// Distinct rows, in ascending order.
    fn select(&self, rows: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>>;

    /// Whether [`Rows::groups`] have a say in how a total is chosen (with [`Budget::PerCluster`] they always have). A method that
    /// clusters for a selector which says no is refused, since the clustering would have no effect; one that does not cluster
    /// for a selector which says yes, likewise.
    fn uses_groups(&self) -> bool;

    /// Whether [`Rows::covered`] has a say: a method with a [`Memory`] is refused where it has none.
    fn uses_covered(&self) -> bool {
        false
    }

    /// How many records each row gives, `[n]`, where a row stands for several (on the server, with a budget): within the room, and summing
    /// to `total` or to what the room allows. `None`, the default, leaves it to [`select`](Selector::select): each picked row gives one
    /// record, and what is left once all are picked is spread over them in proportion to their weights.
    fn allocate(
        &self,
        _rows: &Rows<'_>,
        _room: &Room<'_>,
        _total: usize,
        _context: &Context,
    ) -> Result<Option<Vec<u32>>> {
        Ok(None)
    }

    /// By what it measures how covered a place is, where [`Rows::covered`] has a say: what explains a selection measures by the same.
    fn nearness(&self) -> Option<Nearness> {
        None
    }
}

/// What a client sends, between grouping and sending: clipping, noise, groups that are too small to show.
pub trait Upload: Send + Sync {
    /// The summary as it may leave the client. It keeps client and round, and its groups keep their ids; groups may be left out, and
    /// sizes, centroids and sections changed. What is drawn comes from `secret`, which the server does not know. It is called
    /// once a round: a summary that is asked for again is the same bytes again.
    ///
    /// A size that is changed may be larger than the group: an order for more than a group holds is an order for all of it.
    fn release(&self, summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary>;
}

/// Records of one uploaded group that were trained on, as the server knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TrainedGroup<'a> {
    /// Whose group it is.
    pub client: ClientId,
    /// The client's number for it.
    pub cluster: ClusterId,
    /// Its centroid as it was uploaded, `[d]`.
    pub centroid: &'a [f32],
    /// Records of it that were trained on, at least 1.
    pub records: usize,
}

impl<'a> TrainedGroup<'a> {
    /// Records of a group with this centroid.
    pub fn new(client: ClientId, cluster: ClusterId, centroid: &'a [f32], records: usize) -> Self {
        Self { client, cluster, centroid, records }
    }
}

/// What the server keeps of the selection between rounds.
pub trait Memory: Send + Sync {
    /// A round begins. What an earlier one began and never committed is forgotten.
    fn begin(&mut self, round: Round) -> Result<()>;

    /// A round ended: what the accepted updates trained on, in the order of (client, cluster). A round without any ends likewise. What fails
    /// here changes nothing: the server calls again.
    fn commit(&mut self, trained: &[TrainedGroup<'_>]) -> Result<()>;

    /// What is covered: [`Rows::covered`] of the server's stages.
    fn covered(&self) -> &Covered;

    /// Everything it knows, for a checkpoint.
    fn state(&self) -> Result<Vec<u8>>;

    /// Goes on from what [`state`](Memory::state) gave; bytes that are none of its own are an error.
    fn resume(&mut self, state: &[u8]) -> Result<()>;

    /// The most points that it ever keeps: what bounds its size, and the cost of a selection.
    fn bound(&self) -> usize;
}

/// What one local training returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The adapter after training.
    pub adapter: Adapter,
    /// Mean loss on response tokens of each optimiser step, in order.
    pub losses: Vec<f32>,
    /// Steps whose loss or gradient was not finite: reported and not taken.
    pub skipped: usize,
    /// Tokens that went through the model.
    pub tokens: u64,
}

/// Local training of an adapter.
pub trait Trainer: Send + Sync {
    /// A fresh adapter for this trainer's model.
    fn init(&self, context: &Context) -> Result<Adapter>;

    /// Trains `adapter` on `records` (one local epoch unless the trainer is set otherwise).
    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> Result<Trained>;
}

/// What evaluation finds of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordScore {
    /// The record's id.
    pub id: String,
    /// Its task or category.
    pub category: String,
    /// Mean loss on its response tokens, in nats.
    pub loss: f64,
    /// The greedy generation, where one was made.
    pub output: Option<String>,
    /// Rouge-L F1 of the generation against its best reference, in [0, 1].
    pub rouge_l: Option<f64>,
    /// Whether the generation equals a reference after trimming.
    pub exact_match: Option<bool>,
}

/// Measures a model with an adapter on records.
pub trait Evaluator: Send + Sync {
    /// One score for each record, in order; generates text only if `generate`.
    fn evaluate(
        &self,
        adapter: Option<&Adapter>,
        records: &[Record],
        generate: bool,
        context: &Context,
    ) -> Result<Vec<RecordScore>>;
}

/// One client's result of a round, as the server sees it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClientUpdate {
    /// Who trained.
    pub client: ClientId,
    /// The adapter after training: names, shapes and settings of the global one, every value finite. The rank may be smaller where the aggregator
    /// [takes ranks](Aggregator::takes_ranks).
    pub adapter: Adapter,
    /// Records trained on: the weight in the mean (eq. 12).
    pub records: usize,
    /// Mean loss over the steps, in nats, where the trainer measured one.
    pub loss: Option<f32>,
}

impl ClientUpdate {
    /// An update without a loss.
    pub fn new(client: ClientId, adapter: Adapter, records: usize) -> Self {
        Self { client, adapter, records, loss: None }
    }
}

/// What aggregation made of a round.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Aggregated {
    /// The new global adapter; `None` where nothing was added that counts: the global adapter stays as it was.
    pub adapter: Option<Adapter>,
    /// How it came about.
    pub report: AggregationReport,
}

impl Aggregated {
    /// An adapter, or none, with nothing to report.
    pub fn new(adapter: Option<Adapter>) -> Self {
        Self { adapter, report: AggregationReport::default() }
    }
}

/// How an aggregation came about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AggregationReport {
    /// The weight of each client in the result, as shares that sum to 1.
    pub weights: BTreeMap<ClientId, f64>,
    /// Clients whose update was cut down or left out, and why.
    pub limited: BTreeMap<ClientId, String>,
    /// What the aggregator measured, by name: norms, scales, errors.
    pub measures: BTreeMap<String, f64>,
    /// Why what was aggregated is not taken and the global adapter stays, where that is so.
    pub discarded: Option<String>,
}

/// Makes the clients' adapters one, one at a time: nothing but the running state is kept.
///
/// A round is [`begin`](Aggregator::begin), any number of [`add`](Aggregator::add), [`finish`](Aggregator::finish).
pub trait Aggregator: Send + Sync {
    /// A round begins from this global adapter. What an earlier round began and never finished is forgotten.
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()>;

    /// Takes in one update; updates come in the order of client ids. After an error everything is as if the update had not come.
    fn add(&mut self, update: &ClientUpdate) -> Result<()>;

    /// The aggregated adapter and a report.
    fn finish(&mut self) -> Result<Aggregated>;

    /// Which factors of the adapter a round trains; both, where it does not say. Clients are told, and an update whose frozen factor moved is
    /// refused. It follows from the settings and the round alone.
    fn trains(&self, _round: Round) -> Factors {
        Factors::Both
    }

    /// Whether updates may have a rank below the global one. Where it says no, the default, such an update is refused and its client named.
    fn takes_ranks(&self) -> bool {
        false
    }

    /// What it keeps between rounds (momentum, ranks, norms), for a checkpoint; empty where it keeps nothing.
    fn state(&self) -> Result<Vec<u8>>;

    /// Goes on from what [`state`](Aggregator::state) gave; bytes that are none of its own are an error.
    fn resume(&mut self, state: &[u8]) -> Result<()>;

    /// The most bytes that it holds at once, for so many clients in a round and values in an adapter.
    fn memory(&self, clients: usize, values: usize) -> u64;
}
