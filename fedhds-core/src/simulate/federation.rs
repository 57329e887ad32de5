//! Rounds: sample, extract, group, select, choose, train, aggregate, evaluate.

use super::attack::Crew;
use super::round::RoundStep;
use super::simulation::Simulation;
use super::views::keep_latest;
use super::{Checkpoint, EvaluationRecord, FileLock, RoundRecord, Until};
use crate::error::{Error, Result};
use crate::server::{Server, ServerState};
use crate::stage::{Aggregator, RecordScore};
use crate::types::{Adapter, Context, Round};
use std::time::Instant;

/// What a simulation ended with.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The global adapter after the last round that was run.
    pub adapter: Adapter,
    /// What happened, round by round.
    pub rounds: Vec<RoundRecord>,
    /// The scores of the last evaluation, one for each test record; none without evaluation.
    pub scores: Vec<RecordScore>,
}

/// Whose state a checkpoint keeps.
const SERVER: &str = "server";
const ATTACK: &str = "attack";

impl Simulation {
    /// Runs the rounds that are not done yet.
    ///
    /// # Errors
    /// As [`check`](Self::check), before any work; [`Error::Checkpoint`] for a checkpoint of another run, or one that
    /// another run writes; what the stages
    /// report; [`Error::Cancelled`]. Finished rounds are kept in the checkpoint.
    pub fn run(mut self) -> Result<Outcome> {
        self.check()?;
        let _held = self.checkpoint.as_ref().map(|(path, _)| FileLock::acquire(path)).transpose()?;
        let aggregator = std::mem::replace(&mut self.aggregator, gone());
        let mut server = Server::new(self.pipeline.clone(), self.seed, aggregator)?.explained();
        let mut crew = self.crew()?;
        let (mut state, mut pending) = self.begin(&mut server, crew.as_mut())?;
        let rounds = self.settings.rounds;
        self.control.begin("rounds", Some(rounds as u64));
        self.control.advance("rounds", state.rounds.len() as u64);
        let result = (|| {
            while pending || !self.is_over(&state.rounds) {
                self.control.check()?;
                if !pending {
                    let round = Round(u32::try_from(state.rounds.len()).unwrap_or(u32::MAX));
                    let step = RoundStep::new(&self, round, &state.adapter, &state.rounds);
                    let (record, adapter) = step.run(&mut server, crew.as_mut())?;
                    report(&record, rounds);
                    state.rounds.push(record);
                    keep_latest(&mut state.rounds);
                    if let Some(adapter) = adapter {
                        state.adapter = adapter;
                    }
                    pending = self.evaluates(round.0 as usize);
                    self.keep(&server, crew.as_ref(), &state, pending)?;
                }
                if pending {
                    self.evaluate_now(&mut state)?;
                    pending = false;
                    self.keep(&server, crew.as_ref(), &state, pending)?;
                }
                if let Some(watch) = &self.watch {
                    watch(&state.rounds);
                }
                self.control.advance("rounds", 1);
            }
            Ok(())
        })();
        self.control.end("rounds");
        result.map(|()| state)
    }

    /// Whether there is no round left to run: a run may end where it reaches its target.
    fn is_over(&self, done: &[RoundRecord]) -> bool {
        let rounds = self.settings.rounds;
        done.len() >= rounds || self.until.is_some_and(|until| until.stop && until.reached(done, rounds).is_some())
    }

    /// Whether the adapter is evaluated after this round.
    fn evaluates(&self, round: usize) -> bool {
        let rounds = self.settings.rounds;
        let looks = self.until.is_some_and(|until| until.is_due(round, rounds));
        self.evaluation.is_some() && (looks || self.settings.evaluate.is_due(round, rounds))
    }

    /// The state to start from: the checkpoint's where there is one, else a fresh adapter.
    fn begin(&self, server: &mut Server, crew: Option<&mut Crew>) -> Result<(Outcome, bool)> {
        if let Some((path, identity)) = &self.checkpoint
            && let Some(saved) = Checkpoint::load(path, identity)?
        {
            let damaged = |e: Error| Error::Checkpoint { path: path.clone(), message: e.to_string() };
            let kept = |of: &str| saved.state.iter().find(|(name, _)| name == of).map(|(_, state)| state);
            if let (Some(crew), Some(state)) = (crew, kept(ATTACK)) {
                crew.resume(state).map_err(damaged)?;
            }
            if let Some(state) = kept(SERVER) {
                server.resume(ServerState::from_bytes(state).map_err(damaged)?, Some(&saved.adapter))?;
            }
            tracing::info!(rounds = saved.rounds.len(), path = %path.display(), "goes on from the checkpoint");
            let outcome = Outcome { adapter: saved.adapter, rounds: saved.rounds, scores: saved.scores };
            return Ok((outcome, saved.evaluation_pending));
        }
        Ok((Outcome { adapter: self.first_adapter()?, rounds: Vec::new(), scores: Vec::new() }, false))
    }

    /// The adapter that the run begins with: the same whenever it is made.
    pub(super) fn first_adapter(&self) -> Result<Adapter> {
        let context = Context { control: self.control.clone(), ..Context::new(self.seed.before_rounds("init")) };
        self.trainer.init(&context)
    }

    fn keep(&self, server: &Server, crew: Option<&Crew>, state: &Outcome, evaluation_pending: bool) -> Result<()> {
        let Some((path, identity)) = &self.checkpoint else { return Ok(()) };
        let mut kept = vec![(SERVER.to_owned(), server.state()?.to_bytes()?)];
        if let Some(crew) = crew {
            kept.push((ATTACK.to_owned(), crew.state()?));
        }
        Checkpoint {
            identity: identity.clone(),
            adapter: state.adapter.clone(),
            state: kept,
            rounds: state.rounds.clone(),
            scores: state.scores.clone(),
            evaluation_pending,
        }
        .save(path)
    }

    fn evaluate_now(&self, state: &mut Outcome) -> Result<()> {
        let rounds = self.settings.rounds;
        let (Some((evaluator, test)), Some(last)) = (&self.evaluation, state.rounds.last_mut()) else { return Ok(()) };
        let start = Instant::now();
        let round = last.round.0 as usize;
        let seed = self.seed.of_round(last.round, "evaluate");
        let context = Context { control: self.control.clone(), ..Context::new(seed) };
        state.scores = if self.settings.evaluate.is_due(round, rounds) {
            test.evaluate(evaluator.as_ref(), Some(&state.adapter), &context)?
        } else {
            let mut scores = test.losses(evaluator.as_ref(), Some(&state.adapter), &context)?;
            let loss = EvaluationRecord::from_scores(&scores, 0.0).loss;
            let ends = |until: &Until| until.stop && until.is_due(round, rounds) && until.is_reached(loss);
            if self.until.as_ref().is_some_and(ends) && test.generate().contains(&true) {
                // The last evaluation of a run has its texts. The losses stay those that ended it: an evaluator's may differ in their
                // last bits where it generates.
                let looked = std::mem::take(&mut scores);
                scores = test.evaluate(evaluator.as_ref(), Some(&state.adapter), &context)?;
                scores.iter_mut().zip(looked).for_each(|(score, looked)| score.loss = looked.loss);
            }
            scores
        };
        let evaluation = EvaluationRecord::from_scores(&state.scores, start.elapsed().as_secs_f64());
        tracing::info!(
            round = last.round.0 + 1,
            loss = format_args!("{:.4}", evaluation.loss),
            rouge_l = evaluation.rouge_l.map(|r| format!("{r:.4}")),
            seconds = format_args!("{:.1}", evaluation.seconds),
            "evaluated"
        );
        last.evaluation = Some(evaluation);
        if let Some(until) = self.until.filter(|u| u.reached(&state.rounds, rounds) == Some(state.rounds.len())) {
            tracing::info!(rounds = state.rounds.len(), target = until.loss, "the target is reached");
        }
        Ok(())
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
