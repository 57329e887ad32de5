//! What the server knows beside the summaries of a round: what is covered, what groups have left, who answered the gate.

use super::gate::Gate;
use super::registry::Registry;
use super::selection::SelectedGroup;
use super::why::Explain;
use crate::sorting;
use crate::stage::Covered;
use crate::types::ClientId;
use std::collections::BTreeMap;

/// What the server knows beside the summaries of a round.
pub(super) struct Knowledge<'a> {
    /// What the memory covers.
    pub covered: Option<&'a Covered>,
    /// The groups of all clients, where the method groups once.
    pub registry: Option<&'a Registry>,
    /// Clients of the round, those that stayed silent too.
    pub clients: usize,
    /// What the clients' ranks say, where the method has a gate.
    pub gate: Option<&'a Gate>,
    /// Who takes notes of why groups give, where somebody asked.
    pub explain: Option<&'a dyn Explain>,
}

impl Knowledge<'_> {
    /// The share of a client's records that is taken to be good.
    pub fn pass(&self, client: ClientId) -> f64 {
        self.gate.map_or(1.0, |gate| gate.pass(client))
    }

    /// Records of a group that were not trained on.
    pub fn left(&self, group: &SelectedGroup) -> u32 {
        match self.registry {
            Some(registry) => registry.room(group.client, group.cluster).unwrap_or(group.size),
            None => group.size,
        }
    }

    /// Records that a group may give.
    pub fn room(&self, group: &SelectedGroup) -> u32 {
        (f64::from(self.left(group)) * self.pass(group.client)).floor() as u32
    }

    /// The most of each client, where there is a share cap. Whoever declined to rank its records gives no more than an equal share once the
    /// gate is open.
    pub fn shares(&self, asked: usize, cap: f64, groups: &[SelectedGroup]) -> BTreeMap<ClientId, u32> {
        let answered = self.registry.filter(|_| self.gate.is_some_and(|gate| gate.report.open)).map(Registry::answers);
        let of = |client: ClientId| match answered.as_ref().is_some_and(|answered| !answered.contains_key(&client)) {
            true => share_of(asked, 1.0, self.clients),
            false => share_of(asked, cap, self.clients),
        };
        sorting::map(groups.iter().map(|group| (group.client, of(group.client))))
    }
}

/// The most that one of so many clients gives of a budget.
fn share_of(budget: usize, cap: f64, clients: usize) -> u32 {
    let share = (cap * budget as f64 / clients.max(1) as f64).ceil();
    if share >= f64::from(u32::MAX) { u32::MAX } else { share as u32 }
}
