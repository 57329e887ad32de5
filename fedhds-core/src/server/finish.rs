//! The end of a round: what was trained becomes an adapter, and the memory learns of it.

use super::report::reason;
use super::state::{Phase, ServerState};
use super::{FinishedRound, RoundReport, Server, TrainedOn};
use crate::error::{Error, Result};
use crate::guard::caught;
use crate::method::checked::check_memory;
use crate::protocol::LocalUpdate;
use crate::sorting;
use crate::stage::{Aggregated, AggregationReport, TrainedGroup};
use crate::types::{Adapter, ClientId, Round};
use std::collections::BTreeMap;

impl Server {
    /// Ends the round: the aggregated adapter (eq. 12), or `None` where nobody trained. Then the global adapter stays as it was: an
    /// average of nothing is not an adapter of zeros, which could never learn again. It stays as it was, too, where the aggregator
    /// makes one that is not like it or not finite; the report says so.
    ///
    /// # Errors
    /// [`Error::Protocol`] between rounds and before selection; what aggregator and memory report, after which the round may be finished
    /// by another call or left by [`abandon_round`](Server::abandon_round). What was aggregated before the memory failed is kept for
    /// the other call, and no more updates are taken.
    pub fn finish_round(&mut self) -> Result<FinishedRound> {
        self.expect(Phase::Training, "finish_round")?;
        self.add_all();
        let Aggregated { adapter, report: aggregation } = match (self.aggregated.take(), &self.state.expected) {
            (Some(aggregated), _) => aggregated,
            (None, Some(_)) => caught("aggregator", || self.aggregator.finish())?,
            (None, None) => Aggregated::default(),
        };
        let mut finished = FinishedRound { adapter, ..Default::default() };
        finished.report.aggregation = aggregation;
        let AggregationReport { weights, limited, measures, .. } = &mut finished.report.aggregation;
        // A report is written as JSON, which has no such numbers.
        weights.retain(|_, weight| weight.is_finite());
        measures.retain(|_, measure| measure.is_finite());
        self.limited.iter().for_each(|(client, why)| {
            limited.entry(*client).or_insert_with(|| why.clone());
        });
        if let (Some(expected), Some(adapter)) = (&self.state.expected, &finished.adapter)
            && let Err(error) = expected.check(adapter)
        {
            finished.report.aggregation.discarded = Some(reason(&error));
            finished.adapter = None;
        }
        for (measure, value) in &finished.report.aggregation.measures {
            tracing::debug!(measure, value, "adapters are aggregated");
        }
        if let Some(reason) = &finished.report.aggregation.discarded {
            tracing::warn!(%reason, "the aggregated adapter is not taken");
        }
        let (mut trained, mut tokens) = (Vec::new(), 0u64);
        for (client, arrived) in self.updates.iter().filter(|(_, arrived)| !arrived.trained.is_empty()) {
            tokens = tokens.saturating_add(arrived.tokens);
            trained.push((*client, arrived.trained.clone()));
        }
        if let Err(error) = self.close(&trained, tokens, &mut finished.report) {
            let FinishedRound { adapter, report } = finished;
            self.aggregated = Some(Aggregated { adapter, report: report.aggregation });
            return Err(error);
        }
        Ok(finished)
    }

    /// Ends a round whose updates went elsewhere: another library aggregates, and says here how many records each client whose update it
    /// accepted trained on. The memory of the selection learns of them.
    ///
    /// # Errors
    /// [`Error::Protocol`] between rounds and before selection, and for more records than were ordered of a client; what the memory
    /// reports, after which the round may be ended by another call.
    pub fn end_round(&mut self, trained: &BTreeMap<ClientId, u32>) -> Result<RoundReport> {
        self.expect(Phase::Training, "end_round")?;
        let (mut groups, mut tokens) = (Vec::new(), 0u64);
        for (&client, &records) in trained {
            let update = LocalUpdate::new(client, self.state.round.unwrap_or(Round(0)), records, Adapter::default());
            let most = self.most_records(client);
            if records as usize > most {
                let expected = format!("at most {most}, as ordered");
                return Err(Error::protocol("trained records", expected, records).of_client(client.0));
            }
            if records > 0 {
                // Nobody says how many tokens they were: what was ordered.
                tokens = tokens.saturating_add(self.trained_tokens(&update)?);
            }
            groups.push((client, self.trained_groups(&update)?));
        }
        let mut report = RoundReport::default();
        self.close(&groups, tokens, &mut report)?;
        Ok(report)
    }

    /// Leaves the round as if it had not selected anyone; what came in is dropped.
    pub fn abandon_round(&mut self) {
        self.leave_round();
    }

    /// Tells the memory what was trained on, completes the report and leaves the round.
    fn close(&mut self, trained: &[(ClientId, TrainedOn)], tokens: u64, report: &mut RoundReport) -> Result<()> {
        // First what may fail: a round that cannot be closed is as it was.
        self.commit(trained)?;
        let records = |groups: &TrainedOn| groups.iter().fold(0u32, |sum, (_, count)| sum.saturating_add(*count));
        report.trained = sorting::map(trained.iter().map(|(client, groups)| (*client, records(groups))));
        report.left_out = std::mem::take(&mut self.state.left_out);
        let asked = self.state.selection.as_ref().map_or(0, |selection| selection.asked);
        report.gate = self.state.selection.as_ref().and_then(|selection| selection.gate.clone());
        let asked_tokens = self.state.selection.as_ref().map_or(0, |selection| selection.asked_tokens);
        let budget = self.pipeline.server.count.tokens();
        let all = report.trained.values().fold(0u32, |sum, &records| sum.saturating_add(records));
        report.missing = asked.saturating_sub(all);
        report.missing_tokens = asked_tokens.saturating_sub(tokens);
        if let (Some(registry), Some(round)) = (&mut self.registry, self.state.round) {
            registry.credit(round, trained);
            // Of what earlier rounds were short of no more is made up for than one round asks for.
            let once = (asked as usize).saturating_sub(registry.debt());
            registry.set_debt((report.missing as usize).min(once));
            if let Some(budget) = budget {
                registry.set_owed(asked_tokens, tokens, budget);
            }
        }
        if let Some(round) = self.state.round {
            tracing::debug!(%round, adapters = report.trained.len(), "the round ends");
        }
        self.leave_round();
        Ok(())
    }

    /// The memory learns what was trained on.
    fn commit(&mut self, trained: &[(ClientId, TrainedOn)]) -> Result<()> {
        let mut accepted = Vec::new();
        for (client, groups) in trained {
            // Of an order in tokens no more than was ordered: what a client claims does not cover others' groups.
            let ordered = self.ordered(*client);
            let Some(summary) = self.state.summaries.get(client) else { continue };
            for (cluster, count) in groups {
                let at = summary.groups.binary_search_by_key(cluster, |group| group.cluster);
                if let Ok(at) = at {
                    let (centroid, records) = (summary.centroids.row(at), (*count as usize).min(ordered));
                    accepted.push(TrainedGroup::new(*client, *cluster, centroid, records));
                }
            }
        }
        match &mut self.memory {
            None => Ok(()),
            Some(memory) => {
                caught("server.memory", || memory.commit(&accepted))?;
                check_memory(memory.as_ref())
            }
        }
    }

    pub(super) fn leave_round(&mut self) {
        self.state = ServerState { round: self.state.round, ..Default::default() };
        self.updates.clear();
        self.limited.clear();
        self.starts.clear();
        (self.global, self.aggregated) = (None, None);
    }
}
