//! A client's half of the selection: message in, message out. No I/O, no clock, no global state.

mod answered;
mod choice;
mod choose;
mod gate;
mod groups;
mod picked;
mod pins;
mod rank;
mod saved;
mod spend;

pub use answered::AnsweredOrder;
pub use choice::{Choice, Chosen};
pub use gate::Pair;
pub(crate) use gate::pilot_scores;
pub use pins::Pins;
pub use saved::{ClientState, LastTrained, SavedClient};

use answered::{Answered, question};

use crate::error::{Error, Result};
use crate::method::checked::run_upload;
use crate::method::{ClientStages, Pipeline};
use crate::protocol::{
    Ask, ClientSummary, GroupTokens, GroupsDigest, LocalUpdate, MAX_RECORD_TOKENS, MAX_RECORDS, RecordKeys, Registered,
    RegisteredClient, RoundStart, Section as _, SelectionOrder, SpareGroups, TokensAsked, TrainedFactors,
    TrainedGroups, TrainedTokens, Wire as _,
};
use crate::stage::{Rows, Trained};
use crate::types::{ClientId, ClusterId, Context, Factors, Matrix, RowId, RunIdentity, Secret};
use std::collections::BTreeSet;

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
    max_records: usize,
    /// The rank that it trains at most.
    rank: Option<usize>,
    pins: Pins,
    answered: Answered,
    identity: RunIdentity,
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
            max_records: MAX_RECORDS,
            rank: None,
            pins: Pins::default(),
            answered: Answered::default(),
            identity: pipeline.client.identity.clone(),
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

    /// Agrees to train on at most so many records a round, whatever the server orders: an order that comes to more is refused. It is for
    /// whoever runs the client to say in each process.
    pub fn set_max_records(&mut self, records: usize) {
        self.max_records = records;
    }

    /// Which factors of the adapter the round trains, as its start said: what [`Context::factors`] tells the trainer. Both before the first round.
    pub fn factors(&self) -> Factors {
        self.state.as_ref().map_or(Factors::Both, |state| state.factors)
    }

    /// Groups the records and reports the groups (steps 2 to 4 of the method).
    ///
    /// `records` are the features `[records, d]`, row i of record i, with scores where a [`Scorer`](crate::stage::Scorer) gave any
    /// (`&features`, or `Rows::new(&features).scores(&scores)`), and with [`tokens`](Rows::tokens) where the server's budget is in tokens;
    /// methods that look at no features take a matrix of `[records, 0]`.
    /// `context.seed` is this client's for this round. No records, or records that form no group, give a summary
    /// without groups, unless [`Ungrouped::OneGroup`](crate::method::Ungrouped) says otherwise.
    ///
    /// A round is answered once: a second call for it gives the first one's answer again, whatever the records are by then. Another
    /// question or seed for that round, and an earlier round, are refused, and so is what differs from [`pins`](Client::pins);
    /// [`unpin`](Client::unpin) forgets both.
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
        let (pins, asked) = (self.pins.with(start)?, question(start, context.seed)?);
        self.check_round(start, asked)?;
        let told = start.sections.get::<Registered>()?.and_then(|registered| registered.of(self.id));
        self.take_back_lost(told);
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
        if !records.alike.is_empty() && records.alike.len() != records.len() {
            let expected = format!("{} values, one for each record, or none", records.len());
            return Err(Error::input("alike", expected, records.alike.len()));
        }
        let records = match start.sections.get::<TokensAsked>()? {
            Some(TokensAsked) => check_tokens(records)?,
            None => records.tokens(&[]),
        };
        let keys = start.sections.get::<RecordKeys>()?;
        let mut state = self.groups_of(&records, start, keys, context)?;
        if let Some(known) = self.state.as_ref().filter(|known| known.round == start.round && known.asked.is_some()) {
            // The round was answered. The records were grouped only to say what is wrong with them, where something is.
            let summary = match &known.released {
                Some(released) => released.clone(),
                None => self.whole_summary(known, start.round)?,
            };
            return short_form(summary, told);
        }
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
        state.factors =
            start.sections.get::<TrainedFactors>()?.map_or(Factors::Both, |TrainedFactors(factors)| factors);
        state.asked = Some(asked);
        self.state = Some(state);
        self.pins = pins;
        short_form(summary, told)
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

    /// Remembers records that it has trained on, for [`Repeats::Avoid`](crate::method::Repeats). A client that does not live on between rounds marks
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

    /// Remembers records that did not pass an open gate in an earlier process: they are not looked at again.
    pub fn mark_refused(&mut self, rows: impl IntoIterator<Item = RowId>) {
        self.refused.extend(rows);
    }

    /// The records that did not pass an open gate, ascending.
    pub fn refused(&self) -> impl Iterator<Item = RowId> + '_ {
        self.refused.iter().copied()
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
        if let Some(state) = self.state.as_ref().filter(|state| !state.tokens.is_empty()) {
            update.sections.set(&TrainedTokens(rows.iter().map(|row| state.tokens_of(*row)).sum()))?;
        }
        update.sections.set(&TrainedGroups(groups.map(|(count, group)| (ClusterId(group), count)).collect()))?;
        update.check()?;
        Ok(update)
    }
}

/// Whether every record has its tokens.
fn check_tokens(records: Rows<'_>) -> Result<Rows<'_>> {
    let fail = |got: String| {
        let expected = format!(
            "1 to {MAX_RECORD_TOKENS} for each of {} records (`Rows::tokens`; `tokens` of `summarize`), as the budget is in tokens",
            records.len()
        );
        Err(Error::input("tokens", expected, got))
    };
    if records.tokens.len() != records.len() {
        return fail(format!("{} numbers", records.tokens.len()));
    }
    match records.tokens.iter().position(|tokens| !(1..=MAX_RECORD_TOKENS).contains(tokens)) {
        None => Ok(records),
        Some(row) => fail(format!("{} of record {row}", records.tokens[row])),
    }
}

/// The summary, or its digest where the server knows these groups.
fn short_form(summary: ClientSummary, told: Option<RegisteredClient>) -> Result<ClientSummary> {
    let GroupTokens(tokens) = summary.sections.get()?.unwrap_or_default();
    let digest = GroupsDigest::with_tokens(&summary.groups, &summary.centroids, &tokens);
    let more = summary.sections.numbers().any(|number| number != GroupTokens::NUMBER);
    if told.is_none_or(|known| known.digest != digest.0) || more {
        return Ok(summary);
    }
    let mut short = ClientSummary::new(summary.client, summary.round, Vec::new(), Matrix::zeros(0, 0));
    short.sections.set(&digest)?;
    Ok(short)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
