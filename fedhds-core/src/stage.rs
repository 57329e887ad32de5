//! The stage traits, nothing else: implement one to replace a step of the method.
//!
//! A client runs [`FeatureExtractor`] -> [`Reducer`] -> [`Clusterer`]; the server runs [`Clusterer`] and [`Selector`] on
//! the centroids; the client runs [`Selector`] in the chosen groups, then [`Trainer`]; the server runs [`Aggregator`].
//! All are object-safe and free of any tensor library's types. The pipeline checks what a stage returns, so that a user's
//! own stage fails with its name and what was wrong.

use crate::error::Result;
use crate::types::{Adapter, ClientId, ClusterId, Context, Matrix, Record, RowId};
use serde::{Deserialize, Serialize};

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

/// What a selector chooses from. Rows are records on a client, uploaded centroids on the server.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// `[n, d]`.
    pub points: &'a Matrix,
    /// How many records each row stands for, `[n]`.
    pub weights: &'a [f32],
    /// The groups of the rows, where the selector's clusterer made any.
    pub clustering: Option<&'a Clustering>,
    /// The owner of each row (the client that sent it), `[n]`; empty where there is one owner.
    pub owners: &'a [ClientId],
}

/// How many rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// Groups of rows.
pub trait Clusterer: Send + Sync {
    /// A label for each row.
    fn cluster(&self, points: &Matrix, context: &Context) -> Result<Clustering>;
}

/// The rows that stand for all.
pub trait Selector: Send + Sync {
    /// Distinct rows, in ascending order.
    fn select(&self, candidates: &Candidates<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>>;
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
pub struct ClientUpdate {
    /// Who trained.
    pub client: ClientId,
    /// The adapter after training.
    pub adapter: Adapter,
    /// Records trained on: the weight in the mean (eq. 12).
    pub records: usize,
}

/// Joins the clients' adapters, one at a time: nothing but the running state is kept.
pub trait Aggregator: Send + Sync {
    /// Takes in one update; updates come in the order of client ids.
    fn add(&mut self, update: &ClientUpdate) -> Result<()>;

    /// The joined adapter, or `None` when nothing was added: the global adapter stays as it was. Empties the aggregator.
    fn finish(&mut self) -> Result<Option<Adapter>>;
}
