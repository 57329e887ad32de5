//! The quality gate's part of a run alone: clients summarize and answer, the server selects, and nothing is trained.

use super::active::{Active, Pilot};
use super::round::RoundStep;
use super::simulation::Simulation;
use crate::aggregate::WeightedMean;
use crate::client::pilot_scores;
use crate::error::{Error, Result};
use crate::protocol::{GateAnswer, Wire as _};
use crate::server::{GateReport, Server};
use crate::types::{Adapter, ClientId, Context, Round, RowId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the quality gate saw in the rounds of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateOutcome {
    /// What the server made of the answers so far, one for each round; none for a round in which no client had any group.
    pub rounds: Vec<Option<GateReport>>,
    /// What each client that was asked looked at.
    pub pilots: BTreeMap<ClientId, ClientPilot>,
    /// Clients that were left out in some round, and why the first time.
    pub left_out: BTreeMap<ClientId, String>,
}

/// What a client looked at to answer the gate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPilot {
    /// The ids of the records that its answer counts, each with its scores `ln(decoy loss) - ln(own loss)`, one for each decoy; none where
    /// it abstained.
    pub scores: Vec<(String, Vec<f64>)>,
    /// Forward passes over whole records that its losses took.
    pub passes: u64,
}

impl Simulation {
    /// The quality gate's part of the run: in every round the sampled clients summarize and answer the gate, and the server selects. Nothing
    /// is trained or evaluated, and no checkpoint is kept.
    ///
    /// What the gate says is what it says in [`run`](Self::run), round by round: a client answers once, with a frozen judge, whatever was
    /// trained. Where an extractor or scorer follows the adapter it sees the untrained one in every round; then the answers may differ from
    /// the run's.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Input`] for a method without a gate, and without a [`judge`](Self::judge); what the stages
    /// report; [`Error::Cancelled`].
    pub fn gate_only(self) -> Result<GateOutcome> {
        self.check()?;
        if self.pipeline.server.gate.is_none() {
            return Err(Error::input("method", "one with a quality gate", "one without"));
        }
        if self.judge.is_none() {
            return Err(Error::input("judge", "one, as the gate looks at losses", "none"));
        }
        let mut server = Server::new(self.pipeline.clone(), self.seed, Box::new(WeightedMean::new()))?;
        let frozen = self.extractor.as_ref().is_none_or(|extractor| extractor.is_frozen())
            && self.scorer.as_ref().is_none_or(|scorer| scorer.is_frozen());
        let context = Context { control: self.control.clone(), ..Context::new(self.seed.before_rounds("init")) };
        let adapter = if frozen { Adapter::default() } else { self.trainer.init(&context)? };
        let mut outcome = GateOutcome::default();
        for round in 0..self.settings.rounds {
            self.control.check()?;
            let round = Round(u32::try_from(round).unwrap_or(u32::MAX));
            RoundStep::new(&self, round, &adapter, &[]).look(&mut server, &adapter, &mut outcome)?;
        }
        Ok(outcome)
    }
}

impl RoundStep<'_> {
    /// One round without training.
    fn look(&self, server: &mut Server, global: &Adapter, outcome: &mut GateOutcome) -> Result<()> {
        let sampled = self.sampled();
        // Without a global adapter a round selects and takes no updates.
        let start = server.begin_round(self.round(), &sampled, None)?.encode()?;
        for client in self.gather(server, &sampled, &start, (global, 0))? {
            let Active { data, record, pilot: Some(Pilot { answer, pairs, losses }), .. } = client else { continue };
            let scores = match answer {
                GateAnswer::Abstained => Vec::new(),
                GateAnswer::Scored { .. } => pilot_scores(&pairs, &losses)?,
            };
            let named = |(row, scores): (RowId, Vec<f64>)| {
                data.records.get(row.index()).map(|record| (record.id.clone(), scores))
            };
            let scores = scores.into_iter().filter_map(named).collect();
            outcome.pilots.insert(data.client, ClientPilot { scores, passes: record.passes });
        }
        server.select(&self.context("server", 0, "select"))?;
        let report = server.end_round(&BTreeMap::new())?;
        for (client, reason) in report.left_out {
            outcome.left_out.entry(client).or_insert(reason);
        }
        outcome.rounds.push(report.gate);
        Ok(())
    }
}
