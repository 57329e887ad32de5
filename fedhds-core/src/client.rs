//! A client's half of the selection: message in, message out. No I/O, no clock, no global state.

use crate::cluster::check_clustering;
use crate::error::{Error, Result};
use crate::method::checked::run_selector;
use crate::method::{ClientStages, Pipeline, Repeats};
use crate::protocol::{Ask, ClientSummary, Group, LocalUpdate, MAX_RECORDS, RoundStart, SelectionOrder, Wire as _};
use crate::stage::{Budget, Candidates, Clustering, Trained};
use crate::types::{ClientId, ClusterId, Context, Matrix, Round, RowId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a client remembers between its summary and the order that answers it. Serialisable, so that a client may end in
/// between and go on elsewhere (with Flower: in `context.state`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientState {
    /// Whose it is.
    pub client: ClientId,
    /// The round of the summary.
    pub round: Round,
    /// Its records in the frame of the uploaded centroids, `[records, dims]`; no columns where no features were looked at.
    pub points: Matrix,
    /// The groups of its records, row i being record i; centroids in the same frame.
    pub clustering: Clustering,
}

/// A client of the federation.
///
/// [`summarize`](Client::summarize) answers a [`RoundStart`] and keeps which record is in which group;
/// [`choose`](Client::choose) turns the server's order into records (eq. 10). Record numbers never leave it.
///
/// Row i of the features is record i, in both calls and in the answer: the caller extracts in any order it likes, but
/// hands the rows over in the order of its records. (The released code extracts in shuffled order and indexes the
/// unshuffled records, which makes its choice random.)
#[derive(Clone)]
pub struct Client {
    id: ClientId,
    stages: ClientStages,
    state: Option<ClientState>,
    trained: BTreeSet<RowId>,
}

impl Client {
    /// A client that has sent nothing yet.
    pub fn new(id: ClientId, pipeline: &Pipeline) -> Self {
        Self { id, stages: pipeline.client.clone(), state: None, trained: BTreeSet::new() }
    }

    /// Who it is.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Groups the records and reports the groups (steps 2 to 4 of the method).
    ///
    /// `features` is `[records, d]`, row i of record i; methods that look at no features take a matrix of `[records, 0]`.
    /// `context.seed` is this client's for this round. No records, or records that form no group, give a summary
    /// without groups, unless [`Ungrouped::OneGroup`](crate::method::Ungrouped) says otherwise. A second call replaces
    /// what the first one remembered.
    ///
    /// # Errors
    /// [`Error::NotFinite`] and [`Error::Input`] for features that cannot be used, [`Error::Protocol`] when the server asks for what
    /// this client's method does not give, [`Error::Stage`] and the stages' own errors, [`Error::Cancelled`].
    pub fn summarize(&mut self, start: &RoundStart, features: &Matrix, context: &Context) -> Result<ClientSummary> {
        start.check()?;
        let ours = match (&self.stages.clusterer, &self.stages.frame) {
            (None, _) => "counts",
            (Some(_), None) => "groups",
            (Some(_), Some(_)) => "shared_groups",
        };
        let theirs = match start.ask {
            Ask::Counts => "counts",
            Ask::Groups => "groups",
            Ask::SharedGroups { .. } => "shared_groups",
        };
        if ours != theirs {
            return Err(Error::protocol("round_start: ask", format!("{ours}, which is this client's method"), theirs));
        }
        if let (Ask::SharedGroups { dims, .. }, Some(frame)) = (start.ask, &self.stages.frame)
            && dims != frame.dims()
        {
            return Err(Error::protocol("round_start: dims", frame.dims().to_string(), dims));
        }
        if features.rows() > MAX_RECORDS {
            return Err(Error::input("features", format!("at most {MAX_RECORDS} records"), features.rows()));
        }
        let (points, clustering) = self.stages.group(features, start.ask, context)?;
        let mut groups: Vec<Group> =
            (0..clustering.centroids.rows()).map(|j| Group { cluster: ClusterId(j as u32), size: 0 }).collect();
        for label in clustering.labels.iter().flatten() {
            groups[label.index()].size += 1;
        }
        let centroids = clustering.centroids.clone();
        let summary = ClientSummary { client: self.id, round: start.round, groups, centroids };
        summary.check()?;
        tracing::debug!(
            client = %self.id,
            round = %start.round,
            records = features.rows(),
            groups = summary.groups.len(),
            "records are grouped"
        );
        self.state = Some(ClientState { client: self.id, round: start.round, points, clustering });
        Ok(summary)
    }

    /// The records to train on: of each group in the order as many as it says, ascending, none twice (eq. 10). With
    /// [`Repeats::Avoid`] those that it trained on before ([`mark_trained`](Client::mark_trained)) come last.
    ///
    /// # Errors
    /// [`Error::Protocol`] when no summary was sent, when the order is for another client or round, or when it asks for a group
    /// that was not reported or for more records than the group holds; [`Error::Stage`] and the selector's own errors.
    pub fn choose(&self, order: &SelectionOrder, context: &Context) -> Result<Vec<RowId>> {
        order.check()?;
        let Some(state) = &self.state else {
            return Err(Error::protocol("selection_order", "a summary before the order", "no summary was made"));
        };
        if order.client != self.id {
            return Err(Error::protocol("selection_order: client", self.id.to_string(), order.client));
        }
        if order.round != state.round {
            return Err(Error::protocol("selection_order: round", state.round.to_string(), order.round));
        }
        let mut members = vec![Vec::new(); state.clustering.centroids.rows()];
        for (row, label) in state.clustering.labels.iter().enumerate() {
            if let Some(label) = label {
                members[label.index()].push(row);
            }
        }
        let mut chosen = Vec::with_capacity(order.records().min(state.points.rows()));
        for wanted in &order.clusters {
            let Some(rows) = members.get(wanted.cluster.index()) else {
                let expected = format!("an id below {}", members.len());
                return Err(Error::protocol("selection_order: cluster", expected, wanted.cluster));
            };
            let count = wanted.count as usize;
            if count > rows.len() {
                let expected = format!("at most {} records of cluster {}", rows.len(), wanted.cluster);
                return Err(Error::protocol("selection_order: count", expected, count));
            }
            let context = context.derive("choose", wanted.cluster.0.into());
            let known =
                |row: &usize| self.stages.repeats == Repeats::Avoid && self.trained.contains(&RowId(*row as u32));
            let (old, new): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| known(row));
            let fresh = count.min(new.len());
            chosen.extend(self.pick(state, wanted.cluster, new, fresh, &context)?);
            chosen.extend(self.pick(state, wanted.cluster, old, count - fresh, &context.derive("again", 0))?);
        }
        chosen.sort_unstable();
        tracing::debug!(client = %self.id, round = %order.round, records = chosen.len(), "records are chosen");
        Ok(chosen)
    }

    /// `count` of these rows of one group.
    fn pick(
        &self,
        state: &ClientState,
        cluster: ClusterId,
        rows: Vec<usize>,
        count: usize,
        context: &Context,
    ) -> Result<Vec<RowId>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let group = Clustering {
            labels: vec![Some(ClusterId(0)); rows.len()],
            strength: rows.iter().map(|&row| state.clustering.strength[row]).collect(),
            centroids: state.clustering.centroids.take_rows(&[cluster.index()])?,
        };
        let candidates = Candidates {
            points: &state.points.take_rows(&rows)?,
            weights: &vec![1.0; rows.len()],
            clustering: Some(&group),
            owners: &[],
        };
        let budget = Budget::Total(count);
        let picks = run_selector("client.selector", self.stages.selector.as_ref(), &candidates, budget, context)?;
        Ok(picks.into_iter().map(|pick| RowId(rows[pick.index()] as u32)).collect())
    }

    /// Remembers records that it has trained on, for [`Repeats::Avoid`]. A client that does not live on between rounds marks
    /// those of all earlier rounds (with Flower: keep [`trained`](Client::trained) in `context.state`).
    pub fn mark_trained(&mut self, rows: impl IntoIterator<Item = RowId>) {
        self.trained.extend(rows);
    }

    /// The records that were marked as trained on, ascending.
    pub fn trained(&self) -> impl Iterator<Item = RowId> + '_ {
        self.trained.iter().copied()
    }

    /// The message of what training on the ordered records gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] for an order of another client or without records, and for an adapter with values that are not finite.
    pub fn update(&self, order: &SelectionOrder, trained: Trained) -> Result<LocalUpdate> {
        if order.client != self.id {
            return Err(Error::protocol("selection_order: client", self.id.to_string(), order.client));
        }
        let update = LocalUpdate {
            client: self.id,
            round: order.round,
            records: u32::try_from(order.records()).unwrap_or(u32::MAX),
            adapter: trained.adapter,
            losses: trained.losses,
            skipped: u32::try_from(trained.skipped).unwrap_or(u32::MAX),
            tokens: trained.tokens,
        };
        update.check()?;
        Ok(update)
    }

    /// What it remembers of its last summary; none before the first.
    pub fn state(&self) -> Option<&ClientState> {
        self.state.as_ref()
    }

    /// Goes on from a state that [`state`](Client::state) gave, here or in another process.
    ///
    /// # Errors
    /// [`Error::Protocol`] when it is another client's, [`Error::Input`] or [`Error::Stage`] when it does not fit together.
    pub fn resume(&mut self, state: ClientState) -> Result<()> {
        if state.client != self.id {
            return Err(Error::protocol("client state: client", self.id.to_string(), state.client));
        }
        // A deserialised matrix is checked by nobody before this.
        let ClientState { client, round, points, clustering } = state;
        let whole = |m: Matrix| Matrix::new(m.rows(), m.cols(), m.into_vec());
        let (points, centroids) = (whole(points)?, whole(clustering.centroids)?);
        let clustering = Clustering { centroids, ..clustering };
        check_clustering("client state", &clustering, points.rows(), points.cols())?;
        self.state = Some(ClientState { client, round, points, clustering });
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
