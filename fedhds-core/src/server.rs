//! The server's half of the selection: message in, message out. No I/O, no clock, no global state.
//!
//! A round: [`begin_round`](Server::begin_round), [`receive`](Server::receive) for each summary,
//! [`select`](Server::select), [`receive_update`](Server::receive_update) for each trained adapter,
//! [`finish_round`](Server::finish_round). Clients that stay silent are left out; the order of arrival changes nothing.

mod selection;

pub use selection::{SelectedGroup, Selection};

use crate::error::{Error, Result};
use crate::method::Pipeline;
use crate::protocol::{Ask, ClientSummary, LocalUpdate, RoundStart, SelectionOrder, Wire as _};
use crate::stage::{Aggregator, ClientUpdate};
use crate::types::{Adapter, ClientId, Context, Round, Seed};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a round stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Between rounds.
    #[default]
    Idle,
    /// Summaries come in.
    Collecting,
    /// Orders are out, updates come in.
    Training,
}

/// What the server knows, but for adapters: serialisable between any two messages before the first update of a round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerState {
    /// Where the round stands.
    pub phase: Phase,
    /// The round that runs or ran last; none before the first.
    pub round: Option<Round>,
    /// The round's clients.
    pub clients: BTreeSet<ClientId>,
    /// What came from them.
    pub summaries: BTreeMap<ClientId, ClientSummary>,
    /// What was chosen, once it is.
    pub selection: Option<Selection>,
}

/// The server of the federation.
pub struct Server {
    pipeline: Pipeline,
    shared: Seed,
    aggregator: Box<dyn Aggregator>,
    state: ServerState,
    /// Updates that came before one of a lower client id: the aggregator adds in the order of ids.
    waiting: BTreeMap<ClientId, LocalUpdate>,
    /// Clients whose update came.
    updated: BTreeSet<ClientId>,
    /// Clients whose update the aggregator has, or refused.
    added: BTreeSet<ClientId>,
}

impl Server {
    /// A server before its first round. `seed` is the experiment's: the frame that clients share is derived from it, and stays
    /// the same in all rounds.
    ///
    /// # Errors
    /// As [`Pipeline::check`].
    pub fn new(pipeline: Pipeline, seed: Seed, aggregator: Box<dyn Aggregator>) -> Result<Self> {
        pipeline.check()?;
        Ok(Self {
            pipeline,
            shared: seed.derive("shared frame", 0),
            aggregator,
            state: ServerState::default(),
            waiting: BTreeMap::new(),
            updated: BTreeSet::new(),
            added: BTreeSet::new(),
        })
    }

    /// Begins a round with these clients; the answer goes to each of them. No clients are a round without selection.
    ///
    /// # Errors
    /// [`Error::Protocol`] while another round runs, for a round that is not later than the last, and for a client named twice.
    pub fn begin_round(&mut self, round: Round, clients: &[ClientId]) -> Result<RoundStart> {
        self.expect(Phase::Idle, "begin_round")?;
        if let Some(last) = self.state.round
            && round <= last
        {
            return Err(Error::protocol("begin_round: round", format!("later than {last}"), round));
        }
        let mut set = BTreeSet::new();
        if let Some(twice) = clients.iter().find(|client| !set.insert(**client)) {
            return Err(Error::protocol("begin_round: clients", "distinct clients", format!("{twice} twice")));
        }
        tracing::debug!(%round, clients = set.len(), "a round begins");
        self.state = ServerState { phase: Phase::Collecting, round: Some(round), clients: set, ..Default::default() };
        Ok(RoundStart { round, ask: self.pipeline.ask(self.shared) })
    }

    /// Takes in one client's summary.
    ///
    /// # Errors
    /// [`Error::Protocol`] when no summaries are expected, for an unknown client, a second summary, another round, or centroids
    /// of other dimensions than were asked for or than the other clients sent.
    pub fn receive(&mut self, summary: ClientSummary) -> Result<()> {
        self.expect(Phase::Collecting, "client_summary")?;
        summary.check()?;
        self.expect_member(summary.client, summary.round, "client_summary")?;
        if self.state.summaries.contains_key(&summary.client) {
            let got = format!("a second one of client {}", summary.client);
            return Err(Error::protocol("client_summary", "one per client", got));
        }
        if !summary.groups.is_empty() {
            let dims = summary.centroids.cols();
            let others = self.state.summaries.values().find(|s| !s.groups.is_empty()).map(|s| s.centroids.cols());
            let expected = match self.pipeline.ask(self.shared) {
                Ask::Counts => Some(0),
                Ask::SharedGroups { dims, .. } => Some(dims as usize),
                Ask::Groups => others,
            };
            if expected.is_some_and(|expected| expected != dims) {
                let expected = format!("{} coordinates", expected.unwrap_or_default());
                let got = format!("{dims} from client {}", summary.client);
                return Err(Error::protocol("client_summary: centroids", expected, got));
            }
        }
        self.state.summaries.insert(summary.client, summary);
        Ok(())
    }

    /// Selects (eq. 8 and 9) from what came: one order for each client that sent a summary, empty where it does not train.
    ///
    /// 1. The groups of all clients, in the order of (client, cluster), are grouped and picked from by the pipeline's stages.
    /// 2. With a budget, each picked group gives one record. Where the budget is larger than the number of groups, every group is
    ///    picked, and what is left is spread over them by [`apportion`](crate::select::quota::apportion) in proportion to
    ///    their sizes, never beyond them: the budget is met exactly wherever the groups hold so many records.
    /// 3. Methods without features choose among the records themselves, each known by its client alone.
    ///
    /// No group gives empty orders. A lone group is its own representative, though no clusterer calls one point a cluster.
    ///
    /// # Errors
    /// [`Error::Protocol`] outside of the collecting phase, [`Error::Stage`] and the stages' own errors, [`Error::Cancelled`]; then the
    /// phase stays, and the call may be repeated.
    pub fn select(&mut self, context: &Context) -> Result<BTreeMap<ClientId, SelectionOrder>> {
        self.expect(Phase::Collecting, "select")?;
        let round = self.state.round.unwrap_or(Round(0));
        let selection = selection::select(&self.pipeline, round, self.state.summaries.values(), context)?;
        tracing::debug!(
            %round,
            clients = self.state.summaries.len(),
            groups = self.state.summaries.values().map(|summary| summary.groups.len()).sum::<usize>(),
            records = selection.records(),
            "records are selected"
        );
        self.state.selection = Some(selection);
        self.state.phase = Phase::Training;
        Ok(self.orders())
    }

    /// The orders of this round again, for example after a resume; none before [`select`](Server::select).
    pub fn orders(&self) -> BTreeMap<ClientId, SelectionOrder> {
        match (&self.state.selection, self.state.round) {
            (Some(selection), Some(round)) => selection.orders(round, self.state.summaries.keys().copied()),
            _ => BTreeMap::new(),
        }
    }

    /// The round that runs, or ran last; none before the first.
    pub fn round(&self) -> Option<Round> {
        self.state.round
    }

    /// What was chosen in this round, group by group.
    pub fn selection(&self) -> Option<&Selection> {
        self.state.selection.as_ref()
    }

    /// Takes in one trained adapter. Updates may come in any order; the aggregator gets them in the order of client ids, each
    /// as soon as all before it are there.
    ///
    /// # Errors
    /// [`Error::Protocol`] when no updates are expected, for a client without an order, a second update, another round, another
    /// number of records than ordered, or values that are not finite; the aggregator's own errors. An update that is refused is
    /// left out; the others stand.
    pub fn receive_update(&mut self, update: LocalUpdate) -> Result<()> {
        self.expect(Phase::Training, "local_update")?;
        update.check()?;
        self.expect_member(update.client, update.round, "local_update")?;
        let ordered = self.ordered(update.client);
        if ordered == 0 {
            let got = format!("one of client {}", update.client);
            return Err(Error::protocol("local_update", "updates of clients that were told to train", got));
        }
        if self.updated.contains(&update.client) {
            let got = format!("a second one of client {}", update.client);
            return Err(Error::protocol("local_update", "one per client", got));
        }
        if update.records as usize > ordered {
            let expected = format!("at most {ordered}, as ordered of client {}", update.client);
            return Err(Error::protocol("local_update: records", expected, update.records));
        }
        self.updated.insert(update.client);
        self.waiting.insert(update.client, update);
        while let Some(next) = self.next_to_add()
            && let Some(update) = self.waiting.remove(&next)
        {
            self.add(update)?;
        }
        Ok(())
    }

    /// Ends the round: the joined adapter (eq. 12), or `None` where nobody trained. Then the global adapter stays as it was: an
    /// average of nothing is not an adapter of zeros, which could never learn again.
    ///
    /// # Errors
    /// [`Error::Protocol`] between rounds and before selection; the aggregator's own errors, after which the round may be finished
    /// by another call or left by [`abandon_round`](Server::abandon_round).
    pub fn finish_round(&mut self) -> Result<Option<Adapter>> {
        self.expect(Phase::Training, "finish_round")?;
        while let Some((_, update)) = self.waiting.pop_first() {
            self.add(update)?;
        }
        let adapter = self.aggregator.finish()?;
        if let Some(round) = self.state.round {
            tracing::debug!(%round, adapters = self.updated.len(), "adapters are joined");
        }
        self.leave_round();
        Ok(adapter)
    }

    /// Leaves the round as if it had not selected anyone; what came in is dropped.
    ///
    /// # Errors
    /// The aggregator's own.
    pub fn abandon_round(&mut self) -> Result<()> {
        self.leave_round();
        self.aggregator.finish().map(|_| ())
    }

    /// What it knows, to go on from in another process.
    ///
    /// # Errors
    /// [`Error::Protocol`] once an update of the round came in: a running sum is not part of it.
    pub fn state(&self) -> Result<&ServerState> {
        if self.updated.is_empty() {
            Ok(&self.state)
        } else {
            let got = format!("{} updates", self.updated.len());
            Err(Error::protocol("server state", "a moment before the round's first update", got))
        }
    }

    /// Goes on from a state that [`state`](Server::state) gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] when this server has a round of its own running, or when the state does not fit together.
    pub fn resume(&mut self, state: ServerState) -> Result<()> {
        self.expect(Phase::Idle, "resume")?;
        let fail = |what: &str, got: String| Err(Error::protocol("server state", what, got));
        if state.phase != Phase::Idle && state.round.is_none() {
            return fail("the number of the running round", "none".into());
        }
        if (state.phase == Phase::Training) != state.selection.is_some() && state.phase != Phase::Idle {
            return fail("a selection in the training phase, and only there", format!("{:?}", state.phase));
        }
        for (client, summary) in &state.summaries {
            summary.check()?;
            if summary.client != *client || !state.clients.contains(client) || Some(summary.round) != state.round {
                return fail("summaries of the round's clients", format!("one of client {}", summary.client));
            }
        }
        self.state = state;
        Ok(())
    }

    fn expect(&self, phase: Phase, what: &str) -> Result<()> {
        if self.state.phase == phase {
            return Ok(());
        }
        let say = |phase| match phase {
            Phase::Idle => "no round running",
            Phase::Collecting => "a round that collects summaries",
            Phase::Training => "a round whose selection is made",
        };
        Err(Error::protocol(what, say(phase), say(self.state.phase)))
    }

    fn expect_member(&self, client: ClientId, round: Round, what: &str) -> Result<()> {
        if Some(round) != self.state.round {
            let expected = self.state.round.map_or("none".into(), |round| round.to_string());
            return Err(Error::protocol(format!("{what}: round"), expected, round));
        }
        if !self.state.clients.contains(&client) {
            let got = format!("client {client}");
            return Err(Error::protocol(
                what,
                format!("one of the {} clients of the round", self.state.clients.len()),
                got,
            ));
        }
        Ok(())
    }

    /// Records that were ordered of a client.
    fn ordered(&self, client: ClientId) -> usize {
        self.state.selection.as_ref().map_or(0, |selection| selection.records_of(client))
    }

    /// The lowest client with an order that the aggregator has not seen.
    fn next_to_add(&self) -> Option<ClientId> {
        self.state.clients.iter().copied().find(|c| !self.added.contains(c) && self.ordered(*c) > 0)
    }

    fn add(&mut self, update: LocalUpdate) -> Result<()> {
        self.added.insert(update.client);
        self.aggregator.add(&ClientUpdate {
            client: update.client,
            adapter: update.adapter,
            records: update.records as usize,
        })
    }

    fn leave_round(&mut self) {
        self.state = ServerState { round: self.state.round, ..Default::default() };
        self.waiting.clear();
        self.updated.clear();
        self.added.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

#[cfg(test)]
mod released_code;
#[cfg(test)]
mod topics;
