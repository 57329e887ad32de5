//! A client's half of the selection: message in, message out. No I/O, no clock, no global state.

mod gate;

pub use gate::Pair;

use crate::cluster::check_clustering;
use crate::error::{Error, Result};
use crate::method::checked::{run_selector, run_upload};
use crate::method::pipeline::Grouped;
use crate::method::{ClientStages, Pipeline, Regroup, Repeats};
use crate::protocol::{
    Ask, ClientSummary, GateLimit, Group, GroupScores, GroupsDigest, LocalUpdate, MAX_RECORDS, RecordKeys, Registered,
    RegisteredClient, RoundStart, SelectionOrder, SpareGroups, TrainedGroups, Wire as _,
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
    /// What the features hold, where the method groups once: other features are grouped anew.
    pub content: u64,
    /// Whether its one group is too small to show a centroid.
    pub hidden: bool,
    /// Features of its records' prompts alone, where they are known.
    pub prompts: Option<Matrix>,
}

/// What a client last marked as trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTrained {
    /// The round.
    pub round: Round,
    /// The records that it had not trained on before, ascending.
    pub rows: Vec<RowId>,
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
    /// What it trained on last: open again where the server says that it did not count.
    pub last: Option<LastTrained>,
    /// Records that did not pass an open gate, ascending.
    pub refused: Vec<RowId>,
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
    last: Option<LastTrained>,
    refused: BTreeSet<RowId>,
    least_group: usize,
}

impl Client {
    /// A client that has sent nothing yet.
    pub fn new(id: ClientId, pipeline: &Pipeline) -> Self {
        Self {
            id,
            stages: pipeline.client.clone(),
            state: None,
            trained: BTreeSet::new(),
            secret: None,
            last: None,
            refused: BTreeSet::new(),
            least_group: 1,
        }
    }

    /// Who it is.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Agrees to show groups of at least so many distinct records, whatever the method asks for: where the method's
    /// `client.min_group_size` is smaller, this client answers without groups, and so does not train.
    pub fn set_least_group(&mut self, records: usize) {
        self.least_group = records;
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
        if let (Ask::SharedGroups { dims, seed }, Some(frame)) = (start.ask, &self.stages.frame) {
            if dims != frame.dims() {
                return Err(Error::protocol("round_start: dims", frame.dims().to_string(), dims));
            }
            if seed != frame.seed() {
                let expected = format!("{}, which is this client's method", frame.seed().0);
                return Err(Error::protocol("round_start: seed", expected, seed.0));
            }
        }
        let told = start
            .sections
            .get::<Registered>()?
            .and_then(|Registered(known)| known.into_iter().find(|known| known.client == self.id));
        self.take_back_lost(told);
        if let Some(ClientState { round, released: Some(released), .. }) = &self.state
            && *round == start.round
        {
            return short_form(released.clone(), told);
        }
        if records.len() > MAX_RECORDS {
            return Err(Error::input("features", format!("at most {MAX_RECORDS} records"), records.len()));
        }
        if let Some(scores) = records.scores
            && scores.rows() != records.len()
        {
            return Err(Error::input("scores", format!("{} rows, one for each record", records.len()), scores.rows()));
        }
        if let Some(prompts) = records.prompts
            && prompts.rows() != records.len()
        {
            return Err(Error::input(
                "prompts",
                format!("{} rows, one for each record", records.len()),
                prompts.rows(),
            ));
        }
        if !records.copies.is_empty() && records.copies.len() != records.len() {
            let expected = format!("{} values, one for each record, or none", records.len());
            return Err(Error::input("copies", expected, records.copies.len()));
        }
        let keys = start.sections.get::<RecordKeys>()?;
        let mut state = self.groups_of(&records, start, keys, context)?;
        let mut released = state.released.take();
        let summary = match &released {
            Some(released) => ClientSummary { round: start.round, ..released.clone() },
            None => {
                let mut summary = self.whole_summary(&state, start.round)?;
                if let Some(upload) = &self.stages.upload {
                    let secret = match &mut self.secret {
                        Some(secret) => secret,
                        none => none.insert(Secret::from_system()?),
                    };
                    summary = run_upload(upload.as_ref(), summary, secret)?;
                    released = Some(summary.clone());
                }
                summary
            }
        };
        tracing::debug!(
            client = %self.id,
            round = %start.round,
            records = records.len(),
            groups = summary.groups.len(),
            "records are grouped"
        );
        state.released = released;
        self.state = Some(state);
        short_form(summary, told)
    }

    /// The records in their groups: those of an earlier round where the method groups once and the records are still the same.
    fn groups_of(
        &self,
        records: &Rows<'_>,
        start: &RoundStart,
        keys: Option<RecordKeys>,
        context: &Context,
    ) -> Result<ClientState> {
        let once = self.stages.regroup == Regroup::Once;
        let content = if once { content(records, records.len()) } else { 0 };
        let scores = records.scores.cloned();
        let prompts = records.prompts.cloned();
        let keys_seed = keys.map(|RecordKeys(seed)| seed);
        if let Some(state) = self.state.as_ref().filter(|state| once && state.content == content) {
            return Ok(ClientState { round: start.round, scores, prompts, keys: keys_seed, ..state.clone() });
        }
        let grown = self.state.as_ref().filter(|state| {
            let before = state.clustering.labels.len();
            let same = |rows| records.points.cols() > 0 && self::content(records, rows) == state.content;
            once && !state.hidden && before < records.len() && same(before)
        });
        if let Some(state) = grown {
            let state = ClientState { round: start.round, scores, prompts, keys: keys_seed, ..state.clone() };
            return self.with_new_records(state, records, content, start, context);
        }
        let key = |keys: RecordKeys| (0..records.len()).map(|row| keys.of(self.id, RowId(row as u32))).collect();
        let keys: Vec<u64> = match records.copies.is_empty() {
            true => Vec::new(),
            false => keys.map(key).unwrap_or_default(),
        };
        // Groups that stay are drawn from a seed that stays.
        let context = match keys_seed.filter(|_| once) {
            None => context.clone(),
            Some(seed) => Context {
                seed: seed.derive("client", u64::from(self.id.0)).derive("groups", 0),
                control: context.control.clone(),
            },
        };
        let Grouped { points, mut clustering, hidden } =
            self.stages.group(&records.keys(&keys), start.ask, &context)?;
        if once {
            number_by_place(&mut clustering)?;
        }
        Ok(ClientState {
            client: self.id,
            round: start.round,
            points,
            clustering,
            scores,
            released: None,
            keys: keys_seed,
            content,
            hidden,
            prompts,
        })
    }

    /// The groups of earlier records stay as they are; the new ones form groups of their own, as soon as there are enough of them.
    fn with_new_records(
        &self,
        state: ClientState,
        records: &Rows<'_>,
        content: u64,
        start: &RoundStart,
        context: &Context,
    ) -> Result<ClientState> {
        let (before, groups) = (state.clustering.labels.len(), state.clustering.centroids.rows());
        let known: BTreeSet<&u32> = records.copies.iter().take(before).collect();
        let new: Vec<usize> =
            (before..records.len()).filter(|&row| records.copies.get(row).is_none_or(|c| !known.contains(c))).collect();
        let points = records.points.take_rows(&new)?;
        let copies: Vec<u32> = new.iter().filter_map(|&row| records.copies.get(row).copied()).collect();
        let rows = Rows::new(&points).copies(&copies);
        let context = context.derive("new records", before as u64);
        let mut grouped = self.stages.group(&rows, start.ask, &context)?;
        if grouped.hidden || grouped.clustering.centroids.rows() == 0 {
            return Ok(state); // too few yet
        }
        number_by_place(&mut grouped.clustering)?;
        let mut clustering = state.clustering;
        let mut all = Matrix::zeros(records.len(), state.points.cols());
        (0..before).for_each(|row| all.row_mut(row).copy_from_slice(state.points.row(row)));
        clustering.labels.resize(records.len(), None);
        clustering.strength.resize(records.len(), 0.0);
        for (at, &row) in new.iter().enumerate() {
            all.row_mut(row).copy_from_slice(grouped.points.row(at));
            let label = grouped.clustering.labels[at];
            clustering.labels[row] = label.map(|label| ClusterId((groups + label.index()) as u32));
            clustering.strength[row] = grouped.clustering.strength[at];
        }
        clustering.centroids = Matrix::stack([&clustering.centroids, &grouped.clustering.centroids])?;
        Ok(ClientState { points: all, clustering, released: None, content, ..state })
    }

    /// The summary that names all groups.
    fn whole_summary(&self, state: &ClientState, round: Round) -> Result<ClientSummary> {
        let clustering = &state.clustering;
        if self.least_group > self.stages.min_group_size && self.stages.clusterer.is_some() {
            // It shows no group where the method would show smaller ones than it agrees to.
            return Ok(ClientSummary::new(self.id, round, Vec::new(), Matrix::zeros(0, 0)));
        }
        let mut groups: Vec<Group> =
            (0..clustering.centroids.rows()).map(|j| Group { cluster: ClusterId(j as u32), size: 0 }).collect();
        for label in clustering.labels.iter().flatten() {
            groups[label.index()].size += 1;
        }
        let centroids = match state.hidden {
            true => Matrix::zeros(groups.len(), 0),
            false => clustering.centroids.clone(),
        };
        let mut summary = ClientSummary::new(self.id, round, groups, centroids);
        if let Some(scores) = &state.scores
            && self.stages.share_scores
        {
            summary.sections.set(&GroupScores(mean_scores(scores, clustering)?))?;
        }
        summary.check()?;
        Ok(summary)
    }

    /// What it trained on in a round that did not count is open again.
    fn take_back_lost(&mut self, told: Option<RegisteredClient>) {
        if let (Some(known), Some(last)) = (told, &self.last)
            && known.credited.is_none_or(|credited| credited < last.round)
        {
            last.rows.iter().for_each(|row| {
                self.trained.remove(row);
            });
            self.last = None;
        }
    }

    /// The records to train on: of each group in the order as many as it says, ascending, none twice (eq. 10). With
    /// [`Repeats::Avoid`] those that it trained on before ([`mark_trained`](Client::mark_trained)) come last. Where an upload stage may have
    /// changed what the server knows, an order for more than a group holds is an order for all of it.
    ///
    /// # Errors
    /// [`Error::Protocol`] when no summary was sent, when the order is for another client or round, or when it asks for a group
    /// that was not reported or for more records than the group holds; [`Error::Stage`] and the selector's own errors.
    pub fn choose(&self, order: &SelectionOrder, context: &Context) -> Result<Vec<RowId>> {
        self.choose_by(order, context, &mut |rows| Ok((rows, Vec::new()))).map(|(chosen, _)| chosen)
    }

    /// [`choose`](Client::choose), leaving out what does not pass where the order's gate is open: `losses` gives the mean loss of each
    /// [`Pair`], in nats, and is called with the candidates of one group at a time. Records that did not pass are remembered and not
    /// looked at again. In the place of one that is left out comes the next of its group, then one of a spare group, then none: what is
    /// missing goes to the next round. With a closed gate nothing is scored.
    ///
    /// # Errors
    /// As [`choose`](Client::choose); what `losses` reports, and [`Error::Input`] for another number of losses than pairs.
    pub fn choose_scored(
        &mut self,
        order: &SelectionOrder,
        context: &Context,
        losses: &mut dyn FnMut(&[Pair]) -> Result<Vec<f32>>,
    ) -> Result<Vec<RowId>> {
        let Some(limit) = order.sections.get::<GateLimit>()? else { return self.choose(order, context) };
        let this = &*self;
        let (chosen, refused) = this.choose_by(order, context, &mut |rows| this.passing(&rows, &limit, losses))?;
        self.refused.extend(refused);
        Ok(chosen)
    }

    /// The records of an order of which `passing` says which may train; and those that may not.
    fn choose_by(
        &self,
        order: &SelectionOrder,
        context: &Context,
        passing: &mut dyn FnMut(Vec<RowId>) -> Result<(Vec<RowId>, Vec<RowId>)>,
    ) -> Result<(Vec<RowId>, Vec<RowId>)> {
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
        let limit = order.sections.get::<GateLimit>()?;
        let mut picked = Picked { tries: limit.map_or(1, |limit| limit.tries as usize), ..Picked::default() };
        let mut short = 0;
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
                |row: &usize| self.stages.repeats != Repeats::Allow && self.trained.contains(&RowId(*row as u32));
            let (old, new): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| known(row));
            if self.stages.repeats == Repeats::Never {
                short += self.pick_passing(state, wanted.cluster, new, count, &context, passing, &mut picked)?;
                continue;
            }
            let fresh = count.min(new.len());
            picked.chosen.extend(self.pick(state, wanted.cluster, new, fresh, &context)?);
            picked.chosen.extend(self.pick(state, wanted.cluster, old, count - fresh, &context.derive("again", 0))?);
        }
        let spares = order.sections.get::<SpareGroups>()?.unwrap_or_default().0;
        for spare in spares {
            if short == 0 {
                break;
            }
            let Some(rows) = members.get(spare.index()) else {
                let expected = format!("ids below {}", members.len());
                return Err(Error::protocol("selection_order: spare_groups", expected, spare));
            };
            let new = rows.iter().filter(|row| !self.trained.contains(&RowId(**row as u32))).copied().collect();
            let context = context.derive("spare", spare.0.into());
            short = self.pick_passing(state, spare, new, short, &context, passing, &mut picked)?;
        }
        let Picked { mut chosen, refused, .. } = picked;
        chosen.sort_unstable();
        tracing::debug!(
            client = %self.id,
            round = %order.round,
            records = chosen.len(),
            refused = refused.len(),
            short,
            "records are chosen"
        );
        Ok((chosen, refused))
    }

    /// `count` of these rows of one group that may train, where there are so many among the first few; how many are missing.
    #[allow(clippy::too_many_arguments)]
    fn pick_passing(
        &self,
        state: &ClientState,
        cluster: ClusterId,
        rows: Vec<usize>,
        count: usize,
        context: &Context,
        passing: &mut dyn FnMut(Vec<RowId>) -> Result<(Vec<RowId>, Vec<RowId>)>,
        picked: &mut Picked,
    ) -> Result<usize> {
        let gated = picked.tries > 1;
        let seen = |row: &usize, picked: &Picked| {
            let row = RowId(*row as u32);
            picked.chosen.contains(&row) || picked.refused.contains(&row) || gated && self.refused.contains(&row)
        };
        let mut open: Vec<usize> = rows.into_iter().filter(|row| !seen(row, picked)).collect();
        let (mut missing, mut tries) = (count, count.saturating_mul(picked.tries));
        while missing > 0 && tries > 0 && !open.is_empty() {
            let next = missing.min(tries).min(open.len());
            let candidates = self.pick(state, cluster, open.clone(), next, context)?;
            open.retain(|row| !candidates.contains(&RowId(*row as u32)));
            tries -= candidates.len();
            let (passed, refused) = passing(candidates)?;
            missing -= passed.len().min(missing);
            picked.chosen.extend(passed);
            picked.refused.extend(refused);
        }
        Ok(missing)
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
        let new: Vec<RowId> = rows.into_iter().filter(|row| self.trained.insert(*row)).collect();
        if let Some(state) = &self.state {
            match self.last.as_mut().filter(|last| last.round == state.round) {
                Some(last) => last.rows.extend(new),
                None => self.last = Some(LastTrained { round: state.round, rows: new }),
            }
        }
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
        let spares = order.sections.get::<SpareGroups>()?.unwrap_or_default().0;
        for row in rows {
            let label =
                self.state.as_ref().and_then(|state| state.clustering.labels.get(row.index()).copied().flatten());
            let named =
                |label: &ClusterId| order.clusters.iter().any(|c| c.cluster == *label) || spares.contains(label);
            match label.filter(named) {
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
        SavedClient {
            state: self.state.clone(),
            trained: self.trained().collect(),
            secret: self.secret.clone(),
            last: self.last.clone(),
            refused: self.refused.iter().copied().collect(),
        }
    }

    /// Goes on from what [`saved`](Client::saved) gave.
    ///
    /// # Errors
    /// As [`resume`](Client::resume).
    pub fn restore(&mut self, saved: SavedClient) -> Result<()> {
        if let Some(state) = saved.state {
            self.resume(state)?;
        }
        self.trained.extend(saved.trained);
        self.last = saved.last;
        self.refused.extend(saved.refused);
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

/// What an order has been answered with so far.
#[derive(Default)]
struct Picked {
    chosen: Vec<RowId>,
    refused: Vec<RowId>,
    /// Records that are looked at for each that is ordered.
    tries: usize,
}

/// The summary, or its digest where the server knows these groups.
fn short_form(summary: ClientSummary, told: Option<RegisteredClient>) -> Result<ClientSummary> {
    let digest = GroupsDigest::of(&summary.groups, &summary.centroids);
    if told.is_none_or(|known| known.digest != digest.0) || !summary.sections.is_empty() {
        return Ok(summary);
    }
    let mut short = ClientSummary::new(summary.client, summary.round, Vec::new(), Matrix::zeros(0, 0));
    short.sections.set(&digest)?;
    Ok(short)
}

/// Numbers groups by a hash of their centroids: their order tells nothing of the order of the records.
fn number_by_place(clustering: &mut Clustering) -> Result<()> {
    let place = |id: usize| GroupsDigest::of(&[], &clustering.centroids.take_rows(&[id]).unwrap_or_default()).0;
    let mut order: Vec<usize> = (0..clustering.centroids.rows()).collect();
    order.sort_by_cached_key(|&id| (place(id), id));
    let mut new = vec![ClusterId(0); order.len()];
    for (at, &id) in order.iter().enumerate() {
        new[id] = ClusterId(at as u32);
    }
    clustering.labels.iter_mut().flatten().for_each(|label| *label = new[label.index()]);
    clustering.centroids = clustering.centroids.take_rows(&order)?;
    Ok(())
}

/// BLAKE3 of the first records' features and of which of them are near copies, its first eight bytes.
fn content(records: &Rows<'_>, first: usize) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(records.points.cols() as u64).to_le_bytes());
    hasher.update(&(first as u64).to_le_bytes());
    records.points.as_slice().iter().take(first * records.points.cols()).for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    records.copies.iter().take(first).for_each(|copy| {
        hasher.update(&copy.to_le_bytes());
    });
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
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
