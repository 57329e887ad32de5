//! What a simulation is made of.

use super::attack::Crew;
use super::{
    AttackConfig, Clients, EvaluationSchedule, RoundRecord, RunIdentity, SimulationSettings, TestSet, Until, Views,
};
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::method::Pipeline;
use crate::stage::{Aggregator, Evaluator, FeatureExtractor, Scorer, Trainer};
use crate::types::{Control, Record, Seed};
use std::path::PathBuf;
use std::sync::Arc;

/// Counts the tokens of a record: prompt, response and end of sequence.
pub type CountTokens = dyn Fn(&Record) -> Result<usize> + Send + Sync;

/// Is shown all rounds so far whenever one is finished, its evaluation included.
pub type WatchRounds = dyn Fn(&[RoundRecord]) + Send + Sync;

/// A federation in one process, over the stage traits alone.
///
/// Every message between client and server is encoded, counted and decoded, as it would be on a network. Every random draw
/// comes from (seed, round, client, stage): two runs of equal inputs give equal bits, whatever the number of threads, and a run
/// that is killed and started again with the same checkpoint ends with the bits of one that was not.
pub struct Simulation {
    pub(super) pipeline: Pipeline,
    pub(super) settings: SimulationSettings,
    pub(super) seed: Seed,
    pub(super) clients: Arc<dyn Clients>,
    pub(super) extractor: Option<Arc<dyn FeatureExtractor>>,
    pub(super) scorer: Option<Arc<dyn Scorer>>,
    pub(super) judge: Option<Arc<dyn Scorer>>,
    pub(super) count_tokens: Option<Arc<CountTokens>>,
    pub(super) cache: Arc<RecordCache>,
    pub(super) trainer: Arc<dyn Trainer>,
    pub(super) control: Control,
    pub(super) clients_at_once: usize,
    pub(super) empty_clients: bool,
    pub(super) aggregator: Box<dyn Aggregator>,
    pub(super) evaluation: Option<(Arc<dyn Evaluator>, Arc<TestSet>)>,
    pub(super) until: Option<Until>,
    pub(super) checkpoint: Option<(PathBuf, RunIdentity)>,
    pub(super) attack: Option<AttackConfig>,
    pub(super) views: Views,
    pub(super) watch: Option<Arc<WatchRounds>>,
}

impl Simulation {
    /// A simulation of these clients with seed 0 and default settings, without evaluation and checkpoints. An `Arc<Vec<ClientData>>` is one
    /// form of them.
    pub fn new(
        pipeline: Pipeline,
        clients: Arc<dyn Clients>,
        trainer: Arc<dyn Trainer>,
        aggregator: Box<dyn Aggregator>,
    ) -> Self {
        Self {
            pipeline,
            settings: SimulationSettings::default(),
            seed: Seed(0),
            clients,
            extractor: None,
            scorer: None,
            judge: None,
            count_tokens: None,
            cache: Arc::default(),
            trainer,
            control: Control::default(),
            clients_at_once: 1,
            empty_clients: false,
            aggregator,
            evaluation: None,
            until: None,
            checkpoint: None,
            attack: None,
            views: Views::default(),
            watch: None,
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

    /// Sets what gives numbers of each record: the clients' clusterers and selectors see them, and with `share_scores` the server's.
    #[must_use]
    pub fn scorer(mut self, scorer: Arc<dyn Scorer>) -> Self {
        self.scorer = Some(scorer);
        self
    }

    /// Sets what judges responses for the quality gate: a frozen scorer whose first number is the mean loss of a record's response under its
    /// prompt. It is asked for records' responses under other records' prompts too. Without it the clients decline the gate's question.
    #[must_use]
    pub fn judge(mut self, judge: Arc<dyn Scorer>) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Sets what counts a record's tokens, always the same for a record: needed where the method's budget is in tokens.
    #[must_use]
    pub fn count_tokens(mut self, count: Arc<CountTokens>) -> Self {
        self.count_tokens = Some(count);
        self
    }

    /// Shares what is computed of records once, features and scores of frozen extractors and scorers, with other simulations. Default: a cache of
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

    /// Looks whether this loss is reached, beside the evaluations of the schedule; [`Until::reached`] says of the rounds where it was.
    #[must_use]
    pub fn until(mut self, until: Until) -> Self {
        self.until = Some(until);
        self
    }

    /// Keeps the state in this file after each round and goes on from it; `identity` says which run it is, so that a file of
    /// another run is refused.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>, identity: RunIdentity) -> Self {
        self.checkpoint = Some((path.into(), identity));
        self
    }

    /// Keeps these views of the selection in the round records. Default: none.
    #[must_use]
    pub fn views(mut self, views: Views) -> Self {
        self.views = views;
        self
    }

    /// Shows the rounds so far to this function after each of them, on the thread that runs the simulation.
    #[must_use]
    pub fn watch_rounds(mut self, watch: Arc<WatchRounds>) -> Self {
        self.watch = Some(watch);
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

    /// Whether clients may hold no records, as a filter may leave them: they are sampled like any other, so that all runs of a seed meet
    /// the same clients, and stay silent. Default false.
    #[must_use]
    pub fn empty_clients(mut self, allowed: bool) -> Self {
        self.empty_clients = allowed;
        self
    }

    /// Some of the clients are hostile: what they send is made by this attack, once all clients of a round have trained. Which of a
    /// round's clients were stands in [`RoundRecord::hostile`](super::RoundRecord). The bytes that a hostile client is charged are those of
    /// the update that it trained.
    #[must_use]
    pub fn attack(mut self, attack: AttackConfig) -> Self {
        self.attack = Some(attack);
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
    /// [`Error::Input`] for no clients, a client without records that is not allowed to be, ids that do not ascend, an empty test set, a method that
    /// looks at features without an extractor, a budget in tokens without what counts them, or a loss to reach without evaluation;
    /// [`Error::Parameter`] for settings, pipeline and attack, and for ranks of clients with an aggregator that does not take them.
    pub fn check(&self) -> Result<()> {
        self.settings.check()?;
        self.pipeline.check()?;
        if !self.settings.ranks.is_empty() && !self.aggregator.takes_ranks() {
            let expected = "none with this aggregator, which takes updates of the global rank alone";
            return Err(Error::parameter("ranks", expected, format!("{:?}", self.settings.ranks)));
        }
        let ids = self.clients.ids();
        if ids.is_empty() {
            return Err(Error::input("clients", "at least one client", "none"));
        }
        if let Some(pair) = ids.windows(2).find(|w| w[0] >= w[1]) {
            let got = format!("{} before {}", pair[0], pair[1]);
            return Err(Error::input("clients", "ids in ascending order, none twice", got));
        }
        if let Some(empty) = ids.iter().find(|client| self.clients.count(**client) == Some(0) && !self.empty_clients) {
            let what = format!("client {empty} (`{}`)", self.clients.read(*empty)?.name);
            return Err(Error::input(&what, "at least one record", "none"));
        }
        if let Some(attack) = &self.attack {
            attack.check()?;
            attack.clients.of(&ids, self.seed)?;
        }
        if self.evaluation.as_ref().is_some_and(|(_, test)| test.is_empty()) {
            return Err(Error::input("test set", "at least one record", "none"));
        }
        if let Some(until) = &self.until {
            until.check()?;
            if self.evaluation.is_none() || self.settings.evaluate == EvaluationSchedule::Never {
                return Err(Error::input("evaluation", "one, as there is a loss to reach", "none"));
            }
        }
        if self.pipeline.client.clusterer.is_some() && self.extractor.is_none() {
            return Err(Error::input("feature extractor", "one, since the method groups records by features", "none"));
        }
        if self.pipeline.server.count.tokens().is_some() && self.count_tokens.is_none() {
            return Err(Error::input(
                "count_tokens",
                "what counts a record's tokens, as the budget is in tokens",
                "none",
            ));
        }
        if self.judge.as_ref().is_some_and(|judge| !judge.is_frozen()) {
            let expected = "a frozen scorer: what a client answers once must stay true";
            return Err(Error::input("judge", expected, "one that follows the adapter"));
        }
        Ok(())
    }

    /// The hostile clients; none without an attack.
    pub(super) fn crew(&self) -> Result<Option<Crew>> {
        self.attack.as_ref().map(|attack| Crew::new(attack, &self.clients.ids(), self.seed)).transpose()
    }
}
