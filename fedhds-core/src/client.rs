//! A client's half of the selection: message in, message out. No I/O, no clock, no global state.

use crate::cluster::check_clustering;
use crate::error::{Error, Result};
use crate::method::checked::{run_selector, run_upload};
use crate::method::{ClientStages, Pipeline, Repeats};
use crate::protocol::{
    Ask, ClientSummary, Group, GroupScores, LocalUpdate, MAX_RECORDS, RecordKeys, RoundStart, SelectionOrder,
    TrainedGroups, Wire as _,
};
use crate::saved;
use crate::stage::{Budget, Clustering, Rows, Trained};
use crate::types::{ClientId, ClusterId, Context, Matrix, Round, RowId, Scores, Secret, Seed};
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
    /// Scores of its records, where it has any.
    pub scores: Option<Scores>,
    /// What was sent, where an upload stage made something else of the groups: it is sent again when it is asked for again.
    pub released: Option<ClientSummary>,
    /// What the random keys of its records come from, where the server said so.
    pub keys: Option<Seed>,
}

/// Everything that a client keeps from one process to the next. It holds its secret, so it belongs on the client's disk alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SavedClient {
    /// What it remembers of its last summary.
    pub state: Option<ClientState>,
    /// The records that were marked as trained on, ascending.
    pub trained: Vec<RowId>,
    /// The secret of its upload stage, with how often it was drawn from, so that no draw comes twice.
    pub secret: Option<Secret>,
}

impl SavedClient {
    const HEAD: &[u8] = b"FHDS client state 2\n";

    /// As bytes, for [`from_bytes`](SavedClient::from_bytes).
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        saved::write("client state", Self::HEAD, self)
    }

    /// From bytes that [`to_bytes`](SavedClient::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] for other bytes, those of another release among them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        saved::read("client state", Self::HEAD, bytes)
    }
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
    secret: Option<Secret>,
}

impl Client {
    /// A client that has sent nothing yet.
    pub fn new(id: ClientId, pipeline: &Pipeline) -> Self {
        Self { id, stages: pipeline.client.clone(), state: None, trained: BTreeSet::new(), secret: None }
    }

    /// Who it is.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Groups the records and reports the groups (steps 2 to 4 of the method).
    ///
    /// `records` are the features `[records, d]`, row i of record i, with scores where a [`Scorer`](crate::stage::Scorer) gave any
    /// (`&features`, or `Rows::new(&features).scores(&scores)`); methods that look at no features take a matrix of `[records, 0]`.
    /// `context.seed` is this client's for this round. No records, or records that form no group, give a summary
    /// without groups, unless [`Ungrouped::OneGroup`](crate::method::Ungrouped) says otherwise. A second call replaces
    /// what the first one remembered; with an upload stage a second call for one round gives the first one's answer again.
    ///
    /// # Errors
    /// [`Error::NotFinite`] and [`Error::Input`] for features that cannot be used, [`Error::Protocol`] when the server asks for what
    /// this client's method does not give, [`Error::Stage`] and the stages' own errors, [`Error::Cancelled`].
    pub fn summarize<'a>(
        &mut self,
        start: &RoundStart,
        records: impl Into<Rows<'a>>,
        context: &Context,
    ) -> Result<ClientSummary> {
        let records: Rows<'_> = records.into();
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
        if let Some(ClientState { round, released: Some(released), .. }) = &self.state
            && *round == start.round
        {
            return Ok(released.clone());
        }
        if records.len() > MAX_RECORDS {
            return Err(Error::input("features", format!("at most {MAX_RECORDS} records"), records.len()));
        }
        if let Some(scores) = records.scores
            && scores.rows() != records.len()
        {
            return Err(Error::input("scores", format!("{} rows, one for each record", records.len()), scores.rows()));
        }
        let (points, clustering) = self.stages.group(&records, start.ask, context)?;
        let mut groups: Vec<Group> =
            (0..clustering.centroids.rows()).map(|j| Group { cluster: ClusterId(j as u32), size: 0 }).collect();
        for label in clustering.labels.iter().flatten() {
            groups[label.index()].size += 1;
        }
        let centroids = clustering.centroids.clone();
        let mut summary = ClientSummary::new(self.id, start.round, groups, centroids);
        if let Some(scores) = records.scores
            && self.stages.share_scores
        {
            summary.sections.set(&GroupScores(mean_scores(scores, &clustering)?))?;
        }
        summary.check()?;
        let mut released = None;
        if let Some(upload) = &self.stages.upload {
            let secret = match &mut self.secret {
                Some(secret) => secret,
                none => none.insert(Secret::from_system()?),
            };
            summary = run_upload(upload.as_ref(), summary, secret)?;
            released = Some(summary.clone());
        }
        tracing::debug!(
            client = %self.id,
            round = %start.round,
            records = records.len(),
            groups = summary.groups.len(),
            "records are grouped"
        );
        let scores = records.scores.cloned();
        let keys = start.sections.get::<RecordKeys>()?.map(|RecordKeys(seed)| seed);
        self.state =
            Some(ClientState { client: self.id, round: start.round, points, clustering, scores, released, keys });
        Ok(summary)
    }

    /// The records to train on: of each group in the order as many as it says, ascending, none twice (eq. 10). With
    /// [`Repeats::Avoid`] those that it trained on before ([`mark_trained`](Client::mark_trained)) come last. Where an upload stage may have
    /// changed what the server knows, an order for more than a group holds is an order for all of it.
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
            let mut count = wanted.count as usize;
            if let Some(released) = &state.released {
                if released.groups.binary_search_by_key(&wanted.cluster, |group| group.cluster).is_err() {
                    let got = format!("cluster {}, which was not sent", wanted.cluster);
                    return Err(Error::protocol("selection_order: cluster", "groups of the summary", got));
                }
                count = count.min(rows.len());
            }
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
        let points = state.points.take_rows(&rows)?;
        let scores = state.scores.as_ref().map(|scores| scores.take_rows(&rows)).transpose()?;
        let key = |seed| rows.iter().map(|&row| RecordKeys(seed).of(self.id, RowId(row as u32))).collect();
        let keys: Vec<u64> = state.keys.map(key).unwrap_or_default();
        let candidates = Rows::new(&points).groups(&group).scores(scores.as_ref()).keys(&keys);
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

    /// The message of what training on these rows of the order gave: those that [`choose`](Client::choose) answered, or fewer.
    ///
    /// # Errors
    /// [`Error::Protocol`] for an order of another client, for no rows, and for an adapter with values that are not finite;
    /// [`Error::Input`] for a row that is in none of the order's groups or there twice.
    pub fn update(&self, order: &SelectionOrder, rows: &[RowId], trained: Trained) -> Result<LocalUpdate> {
        if order.client != self.id {
            return Err(Error::protocol("selection_order: client", self.id.to_string(), order.client));
        }
        // In the order of the client's groups: how many records of each.
        let known = self.state.as_ref().map_or(0, |state| state.clustering.centroids.rows());
        let mut groups = vec![0u32; known];
        let mut seen = BTreeSet::new();
        for row in rows {
            let label =
                self.state.as_ref().and_then(|state| state.clustering.labels.get(row.index()).copied().flatten());
            match label.filter(|label| order.clusters.iter().any(|c| c.cluster == *label)) {
                Some(label) if seen.insert(*row) => groups[label.index()] += 1,
                _ => return Err(Error::input("trained rows", "distinct rows of the ordered groups", row)),
            }
        }
        let records = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let mut update = LocalUpdate::new(self.id, order.round, records, trained.adapter);
        let finite: Vec<f64> = trained.losses.iter().filter(|l| l.is_finite()).map(|l| f64::from(*l)).collect();
        update.loss = (!finite.is_empty()).then(|| (finite.iter().sum::<f64>() / finite.len() as f64) as f32);
        update.skipped = u32::try_from(trained.skipped).unwrap_or(u32::MAX);
        update.tokens = trained.tokens;
        let groups = groups.into_iter().zip(0..).filter(|(count, _)| *count > 0);
        update.sections.set(&TrainedGroups(groups.map(|(count, group)| (ClusterId(group), count)).collect()))?;
        update.check()?;
        Ok(update)
    }

    /// The secret that its upload stage draws from; none before the first draw.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Gives it its secret: the one that it had in an earlier process, or a known one in tests. Without it the operating system gives
    /// one at the first draw. A client that forgets how often it drew would draw the same noise again, so it is kept with the state.
    pub fn set_secret(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// Everything that it keeps, to go on in another process.
    pub fn saved(&self) -> SavedClient {
        SavedClient { state: self.state.clone(), trained: self.trained().collect(), secret: self.secret.clone() }
    }

    /// Goes on from what [`saved`](Client::saved) gave.
    ///
    /// # Errors
    /// As [`resume`](Client::resume).
    pub fn restore(&mut self, saved: SavedClient) -> Result<()> {
        if let Some(state) = saved.state {
            self.resume(state)?;
        }
        self.mark_trained(saved.trained);
        if let Some(secret) = saved.secret {
            self.set_secret(secret);
        }
        Ok(())
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
        let whole = |m: Matrix| Matrix::new(m.rows(), m.cols(), m.into_vec());
        let points = whole(state.points)?;
        let clustering = Clustering { centroids: whole(state.clustering.centroids)?, ..state.clustering };
        check_clustering("client state", &clustering, points.rows(), points.cols())?;
        if let Some(scores) = &state.scores
            && scores.rows() != points.rows()
        {
            return Err(Error::input("client state: scores", format!("{} rows", points.rows()), scores.rows()));
        }
        if let Some(released) = &state.released {
            released.check()?;
        }
        self.state = Some(ClientState { points, clustering, ..state });
        Ok(())
    }
}

/// The mean of each score over the records of each group; NaN where no record of the group has one.
fn mean_scores(scores: &Scores, clustering: &Clustering) -> Result<Scores> {
    let (groups, columns) = (clustering.centroids.rows(), scores.names().len());
    let mut sums = vec![(0.0f64, 0usize); groups * columns];
    for (label, row) in clustering.labels.iter().zip(scores.values().iter_rows()) {
        let Some(label) = label else { continue };
        for (column, value) in row.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let (sum, count) = &mut sums[label.index() * columns + column];
            *sum += f64::from(*value);
            *count += 1;
        }
    }
    let means = sums.into_iter().map(|(sum, count)| if count > 0 { (sum / count as f64) as f32 } else { f32::NAN });
    Scores::new(scores.names().to_vec(), Matrix::new(groups, columns, means.collect())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

#[cfg(test)]
mod drawing;
