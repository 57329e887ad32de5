//! The hostile clients of a run.

use super::forge::{Scene, forge};
use super::{AttackConfig, AttackKind};
use crate::error::{Error, Result};
use crate::protocol::{LocalUpdate, MAX_RECORDS, Message, Wire as _};
use crate::types::{Adapter, ClientId, Round, Seed};
use std::collections::{BTreeMap, BTreeSet};

/// The hostile clients of a run, and what they keep between rounds.
#[derive(Debug, Clone)]
pub(in crate::simulate) struct Crew {
    attack: AttackConfig,
    clients: BTreeSet<ClientId>,
    seed: Seed,
    /// What each sent the first time, where the attack sends it again.
    first: BTreeMap<ClientId, Adapter>,
}

/// What a client of a round trained: its message, or why there is none.
pub(in crate::simulate) type Trained = Result<Option<Vec<u8>>>;

/// What a client of a round sends.
pub(in crate::simulate) enum Sent {
    /// What an honest client sends.
    Bytes(Vec<u8>),
    /// What a hostile one does: what no encoder of ours would write may be among it, so that it comes as the server would decode it.
    Forged(Message),
}

impl Crew {
    /// The hostile ones of these clients.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a listed client that is none of them.
    pub(in crate::simulate) fn new(attack: &AttackConfig, clients: &[ClientId], seed: Seed) -> Result<Self> {
        let clients = attack.clients.of(clients, seed)?;
        Ok(Self { attack: attack.clone(), clients, seed, first: BTreeMap::new() })
    }

    /// Whether a client is hostile.
    pub(in crate::simulate) fn has(&self, client: ClientId) -> bool {
        self.clients.contains(&client)
    }

    /// Whether a client trains on responses that are not its records'.
    pub(in crate::simulate) fn flips(&self, client: ClientId) -> bool {
        self.attack.kind == AttackKind::LabelFlip && self.has(client)
    }

    /// Whether a client trains on the adapter that the run began with.
    pub(in crate::simulate) fn is_stale(&self, client: ClientId) -> bool {
        self.attack.kind == AttackKind::Stale && self.has(client)
    }

    /// What the clients of a round send, once all have trained: the honest what they trained, the hostile what the attack makes of all.
    /// Clients without an update stay without one.
    pub(in crate::simulate) fn send(
        &mut self,
        round: Round,
        global: &Adapter,
        trained: Vec<(ClientId, Trained)>,
    ) -> Vec<(ClientId, Result<Option<Sent>>)> {
        let decoded: Vec<(ClientId, Option<LocalUpdate>)> = (trained.iter())
            .map(|(client, update)| {
                let bytes = update.as_ref().ok().and_then(Option::as_deref);
                (*client, bytes.and_then(|bytes| LocalUpdate::decode(bytes).ok()))
            })
            .collect();
        let of = |hostile: bool| -> Vec<&Adapter> {
            let side = decoded.iter().filter(|(client, _)| self.has(*client) == hostile);
            side.filter_map(|(_, update)| update.as_ref().map(|update| &update.adapter)).collect()
        };
        let (honest, hostile) = (of(false), of(true));
        let scene = Scene { global, honest: &honest, hostile: &hostile };
        let mut sent = Vec::with_capacity(trained.len());
        let mut first = BTreeMap::new();
        for ((client, update), (_, decoded)) in trained.into_iter().zip(&decoded) {
            let message = match (update, decoded) {
                (Ok(Some(_)), Some(decoded)) if self.has(client) => {
                    let seed = self.seed.of_call(round, "client", client.0, "attack");
                    let adapter = forge(&self.attack, &scene, &decoded.adapter, self.first.get(&client), seed);
                    if self.attack.kind == AttackKind::Replay && !self.first.contains_key(&client) {
                        first.insert(client, adapter.clone());
                    }
                    let mut forged = LocalUpdate { adapter, ..decoded.clone() };
                    if self.attack.kind == AttackKind::HugeCount {
                        forged.records = MAX_RECORDS as u32;
                    }
                    Ok(Some(Sent::Forged(Message::LocalUpdate(forged))))
                }
                (update, _) => update.map(|bytes| bytes.map(Sent::Bytes)),
            };
            sent.push((client, message));
        }
        self.first.extend(first);
        sent
    }

    /// What a checkpoint keeps.
    pub(in crate::simulate) fn state(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(&self.first).map_err(|e| Error::stage("attack", e.to_string()))
    }

    /// Goes on from what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::Input`] for other bytes.
    pub(in crate::simulate) fn resume(&mut self, state: &[u8]) -> Result<()> {
        let wrong = |got: String| Error::input("state of the attack", "what `state` gave", got);
        let (first, rest) = postcard::take_from_bytes(state).map_err(|e| wrong(e.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong(format!("{} bytes more", rest.len())));
        }
        self.first = first;
        Ok(())
    }
}
