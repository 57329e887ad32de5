//! What the server chose in a round, and the orders that say so.

use super::gate::GateReport;
use super::why::GroupReason;
use crate::error::Result;
use crate::method::GateConfig;
use crate::protocol::{ClusterOrder, GateLimit, OrderTokens, SelectionOrder, SpareGroups};
use crate::sorting;
use crate::types::{ClientId, ClusterId, Round};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One uploaded group, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectedGroup {
    /// Whose group it is.
    pub client: ClientId,
    /// The client's number for it.
    pub cluster: ClusterId,
    /// Records in it.
    pub size: u32,
    /// The server's cluster of it; none for noise and where nothing was clustered.
    pub server_cluster: Option<ClusterId>,
    /// Records ordered of it; 0 where it was not picked.
    pub records: u32,
    /// Why, of a server that [explains](super::Server::explained). Its state does not keep it: who goes on in the middle of a round has none.
    #[serde(skip)]
    pub reason: GroupReason,
}

/// What the server chose in one round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Every group that was uploaded, in the order of (client, cluster).
    pub groups: Vec<SelectedGroup>,
    /// Clusters that the server found; 0 where nothing was clustered.
    pub clusters: usize,
    /// Records that the round asks for, with what earlier rounds were short of; 0 where the clustering decides, and where the budget is in
    /// tokens.
    pub asked: u32,
    /// Tokens that the round asks for, with what earlier rounds were short of or beyond; 0 where the budget is in records.
    pub asked_tokens: u64,
    /// Tokens ordered of each client that trains, ascending by client; empty where the budget is in records. The groups' records then say in
    /// which proportion they give.
    pub tokens: Vec<(ClientId, u64)>,
    /// Groups that may give where an ordered one holds fewer, by client, the first before the others.
    pub spares: BTreeMap<ClientId, Vec<ClusterId>>,
    /// What the clients' ranks say, where the method has a gate.
    pub gate: Option<GateReport>,
}

impl Selection {
    /// Records that train in this round.
    pub fn records(&self) -> usize {
        self.groups.iter().map(|g| g.records as usize).sum()
    }

    /// Records of one client that train in this round.
    pub fn records_of(&self, client: ClientId) -> usize {
        let from = self.groups.partition_point(|g| g.client < client);
        self.groups[from..].iter().take_while(|g| g.client == client).map(|g| g.records as usize).sum()
    }

    /// Tokens ordered of a client; none where the budget is in records.
    pub fn tokens_of(&self, client: ClientId) -> Option<u64> {
        let at = self.tokens.binary_search_by_key(&client, |(client, _)| *client).ok()?;
        self.tokens.get(at).map(|(_, tokens)| *tokens)
    }

    /// The most records that a client may train on: those that were ordered; for an order in tokens all of its ordered and spare groups.
    pub(super) fn most_of(&self, client: ClientId) -> usize {
        match self.tokens_of(client) {
            None => self.records_of(client),
            Some(_) => self.most_by_group(client).values().map(|&most| most as usize).sum(),
        }
    }

    /// The most records that a client may train on of each of its groups, in the place of others where it is a spare one.
    pub(super) fn most_by_group(&self, client: ClientId) -> BTreeMap<ClusterId, u32> {
        let spares = sorting::set(self.spares.get(&client).into_iter().flatten().copied());
        let (in_tokens, all) = (self.tokens_of(client).is_some(), to_u32(self.records_of(client)));
        let most = |group: &SelectedGroup| match spares.contains(&group.cluster) {
            spare if in_tokens && (spare || group.records > 0) => group.size,
            true => all,
            false => group.records,
        };
        let from = self.groups.partition_point(|g| g.client < client);
        let own = self.groups[from..].iter().take_while(|g| g.client == client);
        sorting::map(own.map(|group| (group.cluster, most(group))))
    }

    /// Records ordered of each group of one client, ascending by group.
    pub(super) fn orders_of(&self, client: ClientId) -> impl Iterator<Item = (ClusterId, u32)> + '_ {
        let from = self.groups.partition_point(|g| g.client < client);
        let own = self.groups[from..].iter().take_while(move |g| g.client == client);
        own.filter(|g| g.records > 0).map(|g| (g.cluster, g.records))
    }

    /// One order for each of these clients.
    pub(super) fn orders(
        &self,
        round: Round,
        clients: impl Iterator<Item = ClientId>,
        gate: Option<&GateConfig>,
    ) -> Result<BTreeMap<ClientId, SelectionOrder>> {
        let mut orders = sorting::map(clients.map(|client| (client, SelectionOrder::new(client, round, Vec::new()))));
        for group in self.groups.iter().filter(|g| g.records > 0) {
            if let Some(order) = orders.get_mut(&group.client) {
                order.clusters.push(ClusterOrder { cluster: group.cluster, count: group.records });
            }
        }
        if let (Some(config), Some(report)) = (gate, self.gate.as_ref().filter(|report| report.open)) {
            let (least_score, GateConfig { decoys, tries, .. }) = (report.least_score, config.clone());
            for order in orders.values_mut().filter(|order| !order.is_empty()) {
                order.sections.set(&GateLimit { least_score, decoys, tries })?;
            }
        }
        for (client, tokens) in &self.tokens {
            if let Some(order) = orders.get_mut(client) {
                order.sections.set(&OrderTokens(*tokens))?;
            }
        }
        for (client, spares) in &self.spares {
            if let Some(order) = orders.get_mut(client) {
                order.sections.set(&SpareGroups(spares.clone()))?;
            }
        }
        Ok(orders)
    }
}

/// A count that a message can hold.
pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
