//! The server's half of the selection: message in, message out. No I/O, no clock, no global state.
//!
//! A round: [`begin_round`](Server::begin_round), [`receive`](Server::receive) for each summary, [`select`](Server::select),
//! [`receive`](Server::receive) for each trained adapter, [`finish_round`](Server::finish_round). Clients that stay silent are left
//! out, and so is one whose message is refused; the order of arrival changes nothing.

mod allowance;
mod budget;
mod finish;
mod gate;
mod knowledge;
mod left_out;
mod level;
mod picks;
mod receive;
mod registry;
mod report;
mod selection;
mod state;
mod step;
mod trained;
mod uploaded;
mod why;

pub use gate::GateReport;
pub use registry::Registry;
pub use report::{FinishedRound, RoundReport};
pub use selection::{SelectedGroup, Selection};
pub use state::{Phase, ServerState};
pub use why::{Caps, GroupReason};

use crate::aggregate::AdapterShape;
use crate::error::{Error, Result};
use crate::guard::caught;
use crate::method::checked::check_memory;
use crate::method::{GateConfig, Pipeline, Regroup};
use crate::protocol::{GateQuestion, LocalUpdate, RecordKeys, RoundStart, SelectionOrder, TokensAsked, TrainedFactors};
use crate::stage::{Aggregated, Aggregator, Memory};
use crate::types::{Adapter, ClientId, ClusterId, Context, Factors, Round, RunIdentity, Seed};
use gate::Gate;
use knowledge::Knowledge;
use std::collections::{BTreeMap, BTreeSet};
use why::Explain;

/// The server of the federation.
pub struct Server {
    pipeline: Pipeline,
    /// What the clients' random keys of records come from.
    keys: RecordKeys,
    aggregator: Box<dyn Aggregator>,
    memory: Option<Box<dyn Memory>>,
    /// The clients' groups, for methods that group once.
    registry: Option<Registry>,
    /// Makes what takes notes of a selection, where somebody asked for reasons.
    explain: Option<fn() -> Box<dyn Explain>>,
    state: ServerState,
    /// What the round's clients train, where it takes updates.
    global: Option<Adapter>,
    /// It at the smaller ranks of clients, as they start from it.
    starts: BTreeMap<usize, Adapter>,
    /// What it is, for its saved state.
    identity: RunIdentity,
    /// What the adapters of all rounds are like, once one was there.
    adapters: Option<AdapterShape>,
    /// The updates that came.
    updates: BTreeMap<ClientId, Arrived>,
    /// Clients whose update was drawn back, and how far.
    limited: BTreeMap<ClientId, String>,
    /// What the aggregator made of them, while the memory has not taken the round.
    aggregated: Option<Aggregated>,
}

/// A client's update, once it came.
struct Arrived {
    /// The update, until those of all clients are there: how far one may lie is told by all, and the aggregator adds in the order of ids.
    waiting: Option<LocalUpdate>,
    /// How far it lies from the global adapter.
    distance: f64,
    /// What it trained on; empty where the aggregator refused it.
    trained: TrainedOn,
    /// Tokens that it trained on, where the budget is in tokens.
    tokens: u64,
    /// Why the aggregator refused it, until its sender is told.
    failed: Option<Error>,
}

/// Records of each group, ascending.
type TrainedOn = Vec<(ClusterId, u32)>;

impl Server {
    /// A server before its first round. `seed` is the experiment's: the random keys of the clients' records are derived from it.
    ///
    /// # Errors
    /// As [`Pipeline::check`]; what the method's memory reports when it is made.
    pub fn new(pipeline: Pipeline, seed: Seed, aggregator: Box<dyn Aggregator>) -> Result<Self> {
        pipeline.check()?;
        let memory = pipeline.server.memory.as_ref().map(|make| make()).transpose()?;
        memory.as_deref().map_or(Ok(()), check_memory)?;
        let registry = (pipeline.client.regroup == Regroup::Once).then(Registry::default);
        let mut identity = pipeline.server.identity.clone();
        identity.set("seed", seed.0);
        Ok(Self {
            memory,
            registry,
            identity,
            adapters: None,
            explain: None,
            pipeline,
            keys: RecordKeys(seed.derive("record keys", 0)),
            aggregator,
            state: ServerState::default(),
            global: None,
            starts: BTreeMap::new(),
            updates: BTreeMap::new(),
            limited: BTreeMap::new(),
            aggregated: None,
        })
    }

    /// This server, which says of every group [why](SelectedGroup::reason) it gives records. It picks the same ones, and takes little more time.
    #[must_use]
    pub fn explained(self) -> Self {
        Self { explain: Some(why::notes), ..self }
    }

    /// Begins a round with these clients; the answer goes to each of them. No clients are a round without selection.
    ///
    /// `global` is the adapter that the clients train: updates must have its names, shapes and settings, and the aggregator begins from
    /// it. Without it the round selects and takes no updates: another library aggregates
    /// ([`end_round`](Server::end_round) then ends it).
    ///
    /// # Errors
    /// [`Error::Protocol`] while another round runs, for a round that is not later than the last, and for a client named twice;
    /// [`Error::Adapter`] for a global adapter that is not whole and finite, or not like that of earlier rounds; what aggregator and memory report.
    pub fn begin_round(&mut self, round: Round, clients: &[ClientId], global: Option<&Adapter>) -> Result<RoundStart> {
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
        let expected = global.map(AdapterShape::of);
        if let (Some(shape), Some(global)) = (&expected, global) {
            shape.check(global)?;
            if let Some(adapters) = &self.adapters {
                adapters.check(global)?;
            }
            caught("aggregator", || self.aggregator.begin(global, round))?;
        }
        if let Some(memory) = &mut self.memory {
            caught("server.memory", || memory.begin(round))?;
            check_memory(memory.as_ref())?;
        }
        tracing::debug!(%round, clients = set.len(), "a round begins");
        self.adapters = self.adapters.take().or_else(|| expected.clone());
        self.state =
            ServerState { phase: Phase::Collecting, round: Some(round), clients: set, expected, ..Default::default() };
        self.global = global.cloned();
        let mut start = RoundStart::new(round, self.pipeline.ask());
        start.sections.set(&self.keys)?;
        if let Some(registry) = &self.registry {
            start.sections.set(&registry.registered(&self.state.clients))?;
        }
        if let Some(GateConfig { representatives, rank_decoys: decoys, topics, .. }) = self.pipeline.server.gate {
            start.sections.set(&GateQuestion { representatives, decoys, topics })?;
        }
        if self.pipeline.server.count.tokens().is_some() {
            start.sections.set(&TokensAsked)?;
        }
        match self.factors()? {
            Factors::Both => {}
            frozen => start.sections.set(&TrainedFactors(frozen))?,
        }
        Ok(start)
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
    /// Where clients sent coordinates of their own, those whose number of coordinates is not the most frequent one are left out. So are the clients
    /// with the most groups where all clients together sent more than [`Limits::max_round_groups`](crate::method::Limits).
    ///
    /// # Errors
    /// [`Error::Protocol`] outside of the collecting phase, [`Error::Stage`] and the stages' own errors, [`Error::Cancelled`]; then the
    /// phase stays, and the call may be repeated.
    pub fn select(&mut self, context: &Context) -> Result<BTreeMap<ClientId, SelectionOrder>> {
        self.expect(Phase::Collecting, "select")?;
        let round = self.state.round.unwrap_or(Round(0));
        self.leave_out_other_columns();
        self.leave_out_the_largest();
        if let Some(registry) = &mut self.registry {
            registry.register(round, self.state.summaries.values());
        }
        let gate = self.pipeline.server.gate.as_ref().zip(self.registry.as_ref());
        let gate = gate.map(|(config, registry)| Gate::new(config, &registry.answers(), context));
        let explain = self.explain.map(|make| make());
        let known = Knowledge {
            covered: self.memory.as_ref().map(|memory| memory.covered()),
            registry: self.registry.as_ref(),
            clients: self.state.clients.len(),
            gate: gate.as_ref(),
            explain: explain.as_deref(),
        };
        let summaries = self.state.summaries.values();
        let select = || budget::select(&self.pipeline, round, summaries.clone(), &known, context);
        let selection = caught("server", select)?;
        tracing::debug!(
            %round,
            clients = self.state.summaries.len(),
            groups = self.state.summaries.values().map(|summary| summary.groups.len()).sum::<usize>(),
            records = selection.records(),
            "records are selected"
        );
        self.state.selection = Some(selection);
        self.state.phase = Phase::Training;
        self.orders()
    }

    /// The orders of this round again, for example after a resume; none before [`select`](Server::select).
    ///
    /// # Errors
    /// [`Error::Protocol`] where an optional part cannot be encoded.
    pub fn orders(&self) -> Result<BTreeMap<ClientId, SelectionOrder>> {
        match (&self.state.selection, self.state.round) {
            (Some(selection), Some(round)) => {
                let clients = self.state.summaries.keys().copied();
                selection.orders(round, clients, self.pipeline.server.gate.as_ref())
            }
            _ => Ok(BTreeMap::new()),
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

    /// Records that were ordered of a client.
    fn ordered(&self, client: ClientId) -> usize {
        self.state.selection.as_ref().map_or(0, |selection| selection.records_of(client))
    }

    /// The most records that a client may train on in this round: those that were ordered; for an order in tokens those of all its ordered and
    /// spare groups. 0 before [`select`](Server::select).
    pub fn most_records(&self, client: ClientId) -> usize {
        self.state.selection.as_ref().map_or(0, |selection| selection.most_of(client))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

#[cfg(test)]
mod released_code;
#[cfg(test)]
mod topics;
