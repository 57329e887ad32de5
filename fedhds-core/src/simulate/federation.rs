//! Rounds: sample, extract, group, select, choose, train, join, evaluate.

use super::round::Step;
use super::{Checkpoint, EvaluationRecord, Identity, RoundRecord, SimulationSettings, TestSet};
use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::method::Pipeline;
use crate::server::Server;
use crate::stage::{Aggregator, Evaluator, FeatureExtractor, RecordScore, Trainer};
use crate::types::{Adapter, ClientId, Context, Control, Round, Seed};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// A federation in one process, over the stage traits alone.
///
/// Every message between client and server is encoded, counted and decoded, as it would be on a network. Every random draw
/// comes from (seed, round, client, stage): two runs of equal inputs give equal bits, whatever the number of threads, and a run
/// that is killed and started again with the same checkpoint ends with the bits of one that was not.
pub struct Simulation {
    pub(super) pipeline: Pipeline,
    pub(super) settings: SimulationSettings,
    pub(super) seed: Seed,
    pub(super) clients: Arc<Vec<ClientData>>,
    pub(super) extractor: Option<Arc<dyn FeatureExtractor>>,
    pub(super) cache: Arc<RecordCache>,
    pub(super) trainer: Arc<dyn Trainer>,
    pub(super) control: Control,
    pub(super) clients_at_once: usize,
    aggregator: Box<dyn Aggregator>,
    evaluation: Option<(Arc<dyn Evaluator>, Arc<TestSet>)>,
    checkpoint: Option<(PathBuf, Identity)>,
}

/// What a simulation ended with.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The global adapter after the last round.
    pub adapter: Adapter,
    /// What happened, round by round.
    pub rounds: Vec<RoundRecord>,
    /// The scores of the last evaluation, one for each test record; none without evaluation.
    pub scores: Vec<RecordScore>,
}

impl Simulation {
    /// A simulation of these clients with seed 0 and default settings, without evaluation and checkpoints.
    pub fn new(
        pipeline: Pipeline,
        clients: Arc<Vec<ClientData>>,
        trainer: Arc<dyn Trainer>,
        aggregator: Box<dyn Aggregator>,
    ) -> Self {
        Self {
            pipeline,
            settings: SimulationSettings::default(),
            seed: Seed(0),
            clients,
            extractor: None,
            cache: Arc::default(),
            trainer,
            control: Control::default(),
            clients_at_once: 1,
            aggregator,
            evaluation: None,
            checkpoint: None,
        }
    }

    /// Sets rounds, participation and evaluation schedule.
    #[must_use]
    pub fn settings(mut self, settings: SimulationSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the seed that all of the run's draws come from.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what extracts features, for methods that look at any.
    #[must_use]
    pub fn extractor(mut self, extractor: Arc<dyn FeatureExtractor>) -> Self {
        self.extractor = Some(extractor);
        self
    }

    /// Shares what is computed of records once, such as features of frozen extractors, with other simulations. Default: a cache of
    /// its own, in memory.
    #[must_use]
    pub fn cache(mut self, cache: Arc<RecordCache>) -> Self {
        self.cache = cache;
        self
    }

    /// Evaluates the global adapter on these records by the schedule.
    #[must_use]
    pub fn evaluate(mut self, evaluator: Arc<dyn Evaluator>, test: Arc<TestSet>) -> Self {
        self.evaluation = Some((evaluator, test));
        self
    }

    /// Keeps the state in this file after each round and goes on from it; `identity` says which run it is, so that a file of
    /// another run is refused.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>, identity: Identity) -> Self {
        self.checkpoint = Some((path.into(), identity));
        self
    }

    /// So many clients of a round (at least 1) work at the same time, each on a thread of its own: extractor and trainer are then called by
    /// several threads at once. Default 1. It changes neither results nor what a client is charged in bytes; seconds of a client
    /// grow where its neighbours take its processor time.
    #[must_use]
    pub fn clients_at_once(mut self, clients: usize) -> Self {
        self.clients_at_once = clients.max(1);
        self
    }

    /// Sets progress and cancellation.
    #[must_use]
    pub fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Checks everything that can be checked before any work.
    ///
    /// # Errors
    /// [`Error::Input`] for no clients, a client without records, ids that do not ascend, an empty test set, or a method that
    /// looks at features without an extractor; [`Error::Parameter`] for settings and pipeline.
    pub fn check(&self) -> Result<()> {
        self.settings.check()?;
        self.pipeline.check()?;
        if self.clients.is_empty() {
            return Err(Error::input("clients", "at least one client", "none"));
        }
        if let Some(empty) = self.clients.iter().find(|c| c.records.is_empty()) {
            let what = format!("client {} (`{}`)", empty.client, empty.name);
            return Err(Error::input(&what, "at least one record", "none"));
        }
        if let Some(pair) = self.clients.windows(2).find(|w| w[0].client >= w[1].client) {
            let got = format!("{} before {}", pair[0].client, pair[1].client);
            return Err(Error::input("clients", "ids in ascending order, none twice", got));
        }
        if self.evaluation.as_ref().is_some_and(|(_, test)| test.is_empty()) {
            return Err(Error::input("test set", "at least one record", "none"));
        }
        if self.pipeline.client.clusterer.is_some() && self.extractor.is_none() {
            return Err(Error::input("feature extractor", "one, since the method groups records by features", "none"));
        }
        Ok(())
    }

    /// Runs the rounds that are not done yet.
    ///
    /// # Errors
    /// As [`check`](Self::check), before any work; [`Error::Checkpoint`] for a checkpoint of another run; what the stages
    /// report; [`Error::Cancelled`]. Finished rounds are kept in the checkpoint.
    pub fn run(mut self) -> Result<Outcome> {
        self.check()?;
        let mut server =
            Server::new(self.pipeline.clone(), self.seed, std::mem::replace(&mut self.aggregator, gone()))?;
        let (mut state, mut pending) = self.begin(&mut server)?;
        let rounds = self.settings.rounds;
        self.control.begin("rounds", Some(rounds as u64));
        self.control.advance("rounds", state.rounds.len() as u64);
        let result = (|| {
            while pending || state.rounds.len() < rounds {
                self.control.check()?;
                if !pending {
                    let round = Round(u32::try_from(state.rounds.len()).unwrap_or(u32::MAX));
                    let step = Step::new(&self, round, &state.adapter, &state.rounds);
                    let (record, adapter) = step.run(&mut server)?;
                    report(&record, rounds);
                    state.rounds.push(record);
                    if let Some(adapter) = adapter {
                        state.adapter = adapter;
                    }
                    pending = self.evaluation.is_some() && self.settings.evaluate.is_due(round.0 as usize, rounds);
                    self.keep(&server, &state, pending)?;
                }
                if pending {
                    self.evaluate_now(&mut state)?;
                    pending = false;
                    self.keep(&server, &state, pending)?;
                }
                self.control.advance("rounds", 1);
            }
            Ok(())
        })();
        self.control.end("rounds");
        result.map(|()| state)
    }

    /// The state to start from: the checkpoint's where there is one, else a fresh adapter.
    fn begin(&self, server: &mut Server) -> Result<(Outcome, bool)> {
        if let Some((path, identity)) = &self.checkpoint
            && let Some(saved) = Checkpoint::load(path, identity)?
        {
            if let Some((_, state)) = saved.state.iter().find(|(name, _)| name == "server") {
                let damaged = |e: postcard::Error| Error::Checkpoint {
                    path: path.clone(),
                    message: format!("expected the server's state: {e}"),
                };
                server.resume(postcard::from_bytes(state).map_err(damaged)?)?;
            }
            tracing::info!(rounds = saved.rounds.len(), path = %path.display(), "goes on from the checkpoint");
            let outcome = Outcome { adapter: saved.adapter, rounds: saved.rounds, scores: saved.scores };
            return Ok((outcome, saved.evaluation_pending));
        }
        let context = Context { seed: self.seed.before_rounds("init"), control: self.control.clone() };
        Ok((Outcome { adapter: self.trainer.init(&context)?, rounds: Vec::new(), scores: Vec::new() }, false))
    }

    fn keep(&self, server: &Server, state: &Outcome, evaluation_pending: bool) -> Result<()> {
        let Some((path, identity)) = &self.checkpoint else { return Ok(()) };
        let server = postcard::to_stdvec(server.state()?)
            .map_err(|e| Error::Checkpoint { path: path.clone(), message: format!("the server's state: {e}") })?;
        Checkpoint {
            identity: identity.clone(),
            adapter: state.adapter.clone(),
            state: vec![("server".into(), server)],
            rounds: state.rounds.clone(),
            scores: state.scores.clone(),
            evaluation_pending,
        }
        .save(path)
    }

    fn evaluate_now(&self, state: &mut Outcome) -> Result<()> {
        let (Some((evaluator, test)), Some(last)) = (&self.evaluation, state.rounds.last_mut()) else { return Ok(()) };
        let start = Instant::now();
        let seed = self.seed.of_round(last.round, "evaluate");
        let context = Context { seed, control: self.control.clone() };
        state.scores = test.evaluate(evaluator.as_ref(), Some(&state.adapter), &context)?;
        let evaluation = EvaluationRecord::from_scores(&state.scores, start.elapsed().as_secs_f64());
        tracing::info!(
            round = last.round.0 + 1,
            loss = format_args!("{:.4}", evaluation.loss),
            rouge_l = evaluation.rouge_l.map(|r| format!("{r:.4}")),
            seconds = format_args!("{:.1}", evaluation.seconds),
            "evaluated"
        );
        last.evaluation = Some(evaluation);
        Ok(())
    }

    pub(super) fn client_ids(&self) -> Vec<ClientId> {
        self.clients.iter().map(|c| c.client).collect()
    }
}

/// One line of the log for each round.
fn report(record: &RoundRecord, rounds: usize) {
    let losses: Vec<f64> = record.clients.iter().flat_map(|c| &c.losses).map(|l| f64::from(*l)).collect();
    let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    tracing::info!(
        round = record.round.0 + 1,
        of = rounds,
        clients = record.clients.len(),
        centroids = record.clients.iter().map(|c| c.centroids).sum::<usize>(),
        selected = record.clients.iter().map(|c| c.selected.len()).sum::<usize>(),
        loss = (!losses.is_empty()).then(|| format!("{loss:.4}")),
        seconds = format_args!("{:.1}", record.clients.iter().map(|c| c.total_seconds()).sum::<f64>()),
        "round done"
    );
}

/// Stands in for an aggregator that went to the server.
fn gone() -> Box<dyn Aggregator> {
    Box::new(crate::aggregate::WeightedMean::new())
}
