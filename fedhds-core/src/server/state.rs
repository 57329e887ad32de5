//! What a server knows between two messages, and going on from it.

use super::{Registry, SelectedGroup, Selection, Server};
use crate::aggregate::AdapterShape;
use crate::error::{Error, Result};
use crate::method::checked::check_memory;
use crate::protocol::{ClientSummary, Group, Wire as _};
use crate::saved;
use crate::types::{Adapter, ClientId, Round, RunIdentity};
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
    /// What the server is: its method and seed, and what else it was [told](Server::identify).
    pub identity: RunIdentity,
    /// What the adapters of earlier rounds were like; none before the first that had one.
    pub adapters: Option<AdapterShape>,
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
    /// Clients that were left out of the round so far, and why.
    pub left_out: BTreeMap<ClientId, String>,
    /// What updates must be like; none where another library aggregates.
    pub expected: Option<AdapterShape>,
    /// What the aggregator keeps between rounds, as it encodes it itself.
    pub aggregator: Vec<u8>,
    /// What the selection's memory keeps between rounds, as it encodes it itself; none where the method has no memory.
    pub memory: Option<Vec<u8>>,
    /// The clients' groups; none where the method makes them anew in each round.
    pub registry: Option<Registry>,
}

impl ServerState {
    const HEAD: &[u8] = b"FHDS server state 3\n";

    /// As bytes, for [`from_bytes`](ServerState::from_bytes).
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        saved::write("server state", Self::HEAD, self)
    }

    /// From bytes that [`to_bytes`](ServerState::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] for other bytes, those of another release among them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        saved::read("server state", Self::HEAD, bytes)
    }

    /// Whether its parts fit together.
    fn check(&self) -> Result<()> {
        let fail = |what: &str, got: String| Err(Error::protocol("server state", what, got));
        if self.phase != Phase::Idle && self.round.is_none() {
            return fail("the number of the running round", "none".into());
        }
        if (self.phase == Phase::Training) != self.selection.is_some() && self.phase != Phase::Idle {
            return fail("a selection in the training phase, and only there", format!("{:?}", self.phase));
        }
        for (client, summary) in &self.summaries {
            summary.check()?;
            if summary.client != *client || !self.clients.contains(client) || Some(summary.round) != self.round {
                return fail("summaries of the round's clients", format!("one of client {}", summary.client));
            }
        }
        let groups = self.selection.as_ref().map(|selection| selection.groups.as_slice()).unwrap_or_default();
        let known = |group: &SelectedGroup| {
            let uploaded = self.summaries.get(&group.client).map(|summary| &summary.groups);
            let at = |groups: &Vec<Group>| groups.binary_search_by_key(&group.cluster, |group| group.cluster).ok();
            uploaded.and_then(at).is_some() && group.records <= group.size
        };
        if !groups.is_sorted_by(|a, b| (a.client, a.cluster) < (b.client, b.cluster)) || !groups.iter().all(known) {
            return fail("a selection of the summaries' groups", format!("{} groups", groups.len()));
        }
        Ok(())
    }
}

impl Server {
    /// Says what it is beside its method and seed, such as the aggregator or the model: [`resume`](Server::resume) refuses the state of another.
    pub fn identify(&mut self, name: &str, value: impl ToString) {
        self.identity.set(name, value);
    }

    /// What it knows, to go on from in another process: the round, and what aggregator and memory keep between rounds.
    ///
    /// # Errors
    /// [`Error::Protocol`] once an update of the round came in: a running sum is not part of it. What aggregator and memory report.
    pub fn state(&self) -> Result<ServerState> {
        if !self.updates.is_empty() {
            let got = format!("{} updates", self.updates.len());
            return Err(Error::protocol("server state", "a moment before the round's first update", got));
        }
        let memory = self.memory.as_ref().map(|memory| memory.state()).transpose()?;
        let registry = self.registry.clone();
        let (identity, adapters) = (self.identity.clone(), self.adapters.clone());
        Ok(ServerState {
            identity,
            adapters,
            aggregator: self.aggregator.state()?,
            memory,
            registry,
            ..self.state.clone()
        })
    }

    /// Goes on from a state that [`state`](Server::state) gave. In the middle of a round that began with a global adapter, `global` is
    /// that adapter; else it must be like those of earlier rounds.
    ///
    /// # Errors
    /// [`Error::Protocol`] when this server has a round of its own running, or when the state does not fit together or is of another
    /// method, seed or whatever else both were told: the message names what differs; [`Error::Adapter`] for another global adapter; what aggregator and memory report of their parts.
    pub fn resume(&mut self, state: ServerState, global: Option<&Adapter>) -> Result<()> {
        self.expect(Phase::Idle, "resume")?;
        state.check()?;
        let fail = |what: &str, got: &str| Err(Error::protocol("server state", what, got));
        match (&self.memory, &state.memory) {
            (Some(_), None) => return fail("the state of a method with a memory", "one without"),
            (None, Some(_)) => return fail("the state of a method without a memory", "one with a memory"),
            _ => {}
        }
        match (&self.registry, &state.registry) {
            (Some(_), Some(registry)) => registry.check()?,
            (None, None) => {}
            (Some(_), None) => return fail("the state of a method that groups once", "another"),
            (None, Some(_)) => return fail("the state of a method that groups in each round", "another"),
        }
        saved::check_identity("server state", &self.identity, &state.identity)?;
        if let (Some(adapters), Some(global)) = (&state.adapters, global) {
            adapters.check(global)?;
        }
        if let (Some(memory), Some(state)) = (&mut self.memory, &state.memory) {
            memory.resume(state)?;
            check_memory(memory.as_ref())?;
        }
        self.aggregator.resume(&state.aggregator)?;
        if let (Some(expected), Some(round), true) = (&state.expected, state.round, state.phase != Phase::Idle) {
            let Some(global) = global else {
                return fail("the global adapter beside it: the round began with one", "none");
            };
            expected.check(global)?;
            self.aggregator.begin(global, round)?;
            self.global = Some(global.clone());
        }
        self.registry = state.registry.clone();
        self.adapters = state.adapters.clone();
        self.state = ServerState { registry: None, ..state };
        Ok(())
    }
}
