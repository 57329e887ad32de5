//! Messages of clients: who speaks, what is expected of them, and what becomes of a bad one.

use super::report::reason;
use super::{Arrived, Phase, Server, TrainedOn};
use crate::aggregate::step;
use crate::error::{Error, Result};
use crate::guard::caught;
use crate::protocol::{
    Ask, ClientSummary, GateAnswer, GroupScores, GroupTokens, GroupsDigest, Kind, LocalUpdate, MAX_DIMS, Message,
    TrainedGroups, TrainedTokens, Wire as _,
};
use crate::stage::ClientUpdate;
use crate::types::{ClientId, ClusterId, Round};

impl Server {
    /// Takes in a message that `from` sent, a [`ClientSummary`] or a [`LocalUpdate`], and says which it was. `from` is who the transport
    /// says it is: a client that speaks for another is refused.
    ///
    /// Updates may come in any order; the aggregator gets them in the order of client ids, once those of all clients with an order are there or the
    /// round is finished: how far one may lie from the global adapter is told by all of them.
    ///
    /// # Errors
    /// All name `from`. [`Error::Protocol`] for bytes that are no such message, at a time when none is expected, of a client that is not in
    /// the round or has sent one already, of another client, round or number of coordinates; for an update of a client without an order,
    /// or of more records than ordered. [`Error::Adapter`] for an adapter that is not like the global one; the aggregator's own.
    /// The message is then as if it had not come, and the round's report says why: nobody else is touched.
    pub fn receive(&mut self, from: ClientId, bytes: &[u8]) -> Result<Kind> {
        match self.check_length(bytes).and_then(|()| Message::decode(bytes)) {
            Ok(message) => self.receive_message(from, message),
            Err(error) => Err(self.refuse(from, error)),
        }
    }

    /// Refuses what is longer than any message of a client can be that is due now, before anything is made of it.
    fn check_length(&self, bytes: &[u8]) -> Result<()> {
        /// Beside what is known: sections of later releases.
        const ROOM: usize = 1 << 20;
        let limits = &self.pipeline.server.limits;
        let most = match (Kind::of(bytes)?, self.state.phase, &self.state.expected) {
            (Kind::ClientSummary, Phase::Collecting, _) => {
                let dims = match self.pipeline.ask() {
                    Ask::Counts => 0,
                    Ask::SharedGroups { dims, .. } => dims as usize,
                    Ask::Groups => MAX_DIMS,
                };
                // Id, size, mean tokens, coordinates and scores of a group.
                limits.max_groups.saturating_mul(5 + 5 + 4 + 4 * (dims + GroupScores::MAX.0))
            }
            (Kind::LocalUpdate, Phase::Training, Some(expected)) => {
                // Group and count of each trained group.
                expected.encoded_len().saturating_add(limits.max_groups.saturating_mul(5 + 5))
            }
            _ => return Ok(()),
        };
        match bytes.len() <= most.saturating_add(ROOM) {
            true => Ok(()),
            false => {
                Err(Error::protocol("message", format!("at most {} bytes", most.saturating_add(ROOM)), bytes.len()))
            }
        }
    }

    /// [`receive`](Server::receive) of a message that is decoded already.
    ///
    /// # Errors
    /// As [`receive`](Server::receive).
    pub fn receive_message(&mut self, from: ClientId, message: Message) -> Result<Kind> {
        let kind = message.kind();
        let result = match message {
            Message::ClientSummary(summary) => self.take_summary(from, summary),
            Message::LocalUpdate(update) => self.take_update(from, update),
            _ => Err(Error::protocol("message kind", "client_summary or local_update", kind)),
        };
        match result {
            Ok(()) => Ok(kind),
            Err(error) => Err(self.refuse(from, error)),
        }
    }

    /// Notes that a client is left out of the round, for a reason that the transport knows: it failed, or went away. Gives the error
    /// back with the client's name.
    pub fn leave_out(&mut self, client: ClientId, error: Error) -> Error {
        self.refuse(client, error)
    }

    /// Notes why a client's message was refused. One that was accepted before, or is accepted later, still counts.
    fn refuse(&mut self, from: ClientId, error: Error) -> Error {
        let error = error.of_client(from.0).bounded();
        if self.state.clients.contains(&from) {
            tracing::warn!(client = %from, %error, "left out");
            self.state.left_out.insert(from, reason(&error));
        }
        error
    }

    fn take_summary(&mut self, from: ClientId, summary: ClientSummary) -> Result<()> {
        self.expect(Phase::Collecting, "client_summary")?;
        summary.check()?;
        self.expect_sender(from, summary.client, summary.round, "client_summary")?;
        if self.state.summaries.contains_key(&from) {
            return Err(Error::protocol("client_summary", "one per client", "a second one"));
        }
        let limits = &self.pipeline.server.limits;
        if summary.groups.len() > limits.max_groups {
            let expected = format!("at most {}", limits.max_groups);
            return Err(Error::protocol("client_summary: groups", expected, summary.groups.len()));
        }
        let mut summary = match &self.registry {
            Some(registry) => registry.whole(summary)?,
            None if summary.sections.get::<GroupsDigest>()?.is_some() => {
                return Err(Error::protocol("client_summary: groups_digest", "groups", "a digest"));
            }
            None => summary,
        };
        let in_tokens = self.pipeline.server.count.tokens().is_some();
        if in_tokens && !summary.groups.is_empty() && summary.sections.get::<GroupTokens>()?.is_none() {
            let expected = "the mean tokens of each group, as the budget is in tokens";
            return Err(Error::protocol("client_summary: section `group_tokens`", expected, "none"));
        }
        if let Some(answer) = summary.sections.get::<GateAnswer>()? {
            let gate = self.pipeline.server.gate.as_ref();
            let (most, decoys) = gate.map_or((0, 0), |gate| (gate.representatives, gate.rank_decoys));
            let scores: u64 = answer.bins().iter().map(|&bin| u64::from(bin)).sum();
            if answer.records() > most || scores > u64::from(answer.records()) * u64::from(decoys) {
                let expected = format!("at most {most} records of {decoys} scores each");
                let got = format!("{} records, {scores} scores", answer.records());
                return Err(Error::protocol("client_summary: gate_answer", expected, got));
            }
        }
        summary.groups.iter_mut().for_each(|group| group.size = group.size.min(limits.max_group_records));
        let dims = summary.centroids.cols();
        // A lone group may hide its centroid, where the client is too small to show one.
        let hides = self.pipeline.client.min_group_size > 1 && summary.groups.len() == 1 && dims == 0;
        let expected = match self.pipeline.ask() {
            Ask::Counts => Some(0),
            Ask::SharedGroups { dims, .. } => Some(dims as usize),
            // Each client's own coordinates: how many they are is settled among all clients, when all are there.
            Ask::Groups => None,
        };
        if self.pipeline.ask() == Ask::Counts && summary.groups.len() > 1 {
            let expected = "one group, as no features are looked at";
            return Err(Error::protocol("client_summary: groups", expected, summary.groups.len()));
        }
        if self.pipeline.ask() == Ask::Groups && !summary.groups.is_empty() && dims == 0 && !hides {
            return Err(Error::protocol("client_summary: centroids", "at least one coordinate", dims));
        }
        if let Some(expected) = expected
            && !summary.groups.is_empty()
            && dims != expected
            && !hides
        {
            return Err(Error::protocol("client_summary: centroids", format!("{expected} coordinates"), dims));
        }
        self.state.left_out.remove(&from);
        self.state.summaries.insert(from, summary);
        Ok(())
    }

    fn take_update(&mut self, from: ClientId, update: LocalUpdate) -> Result<()> {
        self.expect(Phase::Training, "local_update")?;
        let Some(expected) = &self.state.expected else {
            let got = "an update";
            return Err(Error::protocol("local_update", "none: the round began without a global adapter", got));
        };
        update.check()?;
        self.expect_sender(from, update.client, update.round, "local_update")?;
        let ordered = self.ordered(from);
        if ordered == 0 {
            return Err(Error::protocol("local_update", "updates of clients that were told to train", "one"));
        }
        if self.aggregated.is_some() {
            return Err(Error::protocol("local_update", "updates before the round was finished", "one after it"));
        }
        if self.updates.contains_key(&from) {
            return Err(Error::protocol("local_update", "one per client", "a second one"));
        }
        let most = self.most_records(from);
        if update.records as usize > most {
            return Err(Error::protocol(
                "local_update: records",
                format!("at most {most}, as ordered"),
                update.records,
            ));
        }
        expected.check(&update.adapter)?;
        let (trained, tokens) = (self.trained_groups(&update)?, self.trained_tokens(&update)?);
        let distance = self.global.as_ref().map_or(0.0, |global| step::distance(global, &update.adapter));
        self.state.left_out.remove(&from);
        self.updates.insert(from, Arrived { waiting: Some(update), distance, trained, tokens, failed: None });
        let to_come = |client: &ClientId| !self.updates.contains_key(client) && self.ordered(*client) > 0;
        if !self.state.clients.iter().any(to_come) {
            self.add_all();
        }
        match self.updates.get_mut(&from).and_then(|arrived| arrived.failed.take()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Tokens of what the update trained on, where the budget is in tokens: what it says, and of more than twice what was ordered no more than
    /// that; where it does not say, what was ordered.
    pub(super) fn trained_tokens(&self, update: &LocalUpdate) -> Result<u64> {
        let ordered = self.state.selection.as_ref().and_then(|selection| selection.tokens_of(update.client));
        let Some(ordered) = ordered else { return Ok(0) };
        let said = update.sections.get::<TrainedTokens>()?;
        Ok(said.map_or(ordered, |TrainedTokens(tokens)| tokens.min(ordered.saturating_mul(2))))
    }

    /// Which of the ordered groups the update trained on. Where the update does not say, the order's groups one after the other, first as many
    /// records as were ordered of each.
    pub(super) fn trained_groups(&self, update: &LocalUpdate) -> Result<TrainedOn> {
        let Some(selection) = &self.state.selection else { return Ok(Vec::new()) };
        let most_by_group = selection.most_by_group(update.client);
        let most = |cluster: ClusterId| most_by_group.get(&cluster).copied().unwrap_or_default();
        if let Some(TrainedGroups(groups)) = update.sections.get()? {
            // Records of spare groups are in the place of ordered ones: their sum is checked with the update's.
            for (cluster, count) in &groups {
                let most = most(*cluster);
                if *count > most {
                    let expected = format!("at most {most} of group {cluster}, as ordered");
                    return Err(Error::protocol("local_update: trained_groups", expected, count));
                }
            }
            return Ok(groups);
        }
        let mut left = update.records;
        let mut groups: TrainedOn = selection.orders_of(update.client).collect();
        let ordered: Vec<u32> = groups.iter().map(|(_, count)| *count).collect();
        for (_, count) in &mut groups {
            *count = left.min(*count);
            left -= *count;
        }
        for ((cluster, count), ordered) in groups.iter_mut().zip(ordered) {
            let more = left.min(most(*cluster).saturating_sub(ordered));
            *count += more;
            left -= more;
        }
        groups.retain(|(_, count)| *count > 0);
        Ok(groups)
    }

    fn expect_sender(&self, from: ClientId, says: ClientId, round: Round, what: &str) -> Result<()> {
        if from != says {
            return Err(Error::protocol(format!("{what}: client"), format!("{from}, who sent it"), says));
        }
        if Some(round) != self.state.round {
            let expected = self.state.round.map_or("none".into(), |round| round.to_string());
            return Err(Error::protocol(format!("{what}: round"), expected, round));
        }
        if !self.state.clients.contains(&from) {
            let expected = format!("one of the {} clients of the round", self.state.clients.len());
            return Err(Error::protocol(what, expected, format!("client {from}")));
        }
        Ok(())
    }

    /// Hands the waiting updates to the aggregator, in the order of their clients' ids, each at most so far from the global adapter as the
    /// round allows. One that it refuses, or panics on, is left out with its reason, and nobody else is.
    pub(super) fn add_all(&mut self) {
        self.draw_back();
        let clients: Vec<ClientId> = self.updates.keys().copied().collect();
        for client in clients {
            let waiting = self.updates.get_mut(&client).and_then(|arrived| arrived.waiting.take());
            let Some(update) = waiting else { continue };
            // Of an order in tokens a client weighs no more than the records that were ordered: how many it took is its own word.
            let records = (update.records as usize).min(self.ordered(client));
            let update = ClientUpdate { client, adapter: update.adapter, records, loss: update.loss };
            if let Err(error) = caught("aggregator", || self.aggregator.add(&update)) {
                let error = self.refuse(client, error);
                if let Some(arrived) = self.updates.get_mut(&client) {
                    (arrived.trained, arrived.failed) = (Vec::new(), Some(error));
                }
            }
        }
    }
}
