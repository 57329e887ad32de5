//! An experiment as a TOML file: data, model, methods, seeds.
//!
//! Everything has a documented default but the data's format and path, and the model. Unknown keys are errors that name the
//! nearest known one, with line and column; [`ExperimentConfig::load`] checks all there is to check before any work starts. Relative paths are
//! relative to the working directory.

mod conditions;
mod data;
mod methods;
mod report;
mod seeds;
mod until;

pub use crate::simulate::Until;
pub use conditions::Conditions;
pub use data::{Caps, DataConfig, TestConfig, TooLong};
pub use methods::{Arm, CountAlone, Filter, MethodEntry, STEPS_A_PASS};
pub use report::ReportSettings;

use crate::aggregate::AggregatorConfig;
use crate::dataset::Prompt;
use crate::error::{Error, Result};
use crate::method::RoundBudget;
use crate::parse;
use crate::settings::{Activations, GenerateConfig, TrainConfig};
use crate::simulate::{AttackConfig, SimulationSettings};
use crate::types::AdapterConfig;
use crate::types::range::{above_zero, at_least};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An experiment: every method with every seed on one federation; with `[data.conditions]` every method with every seed in every
/// condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// What tables and folders call it.
    #[serde(default = "default_name")]
    pub name: String,
    /// Where run records, tables, plots and checkpoints go; left out: `runs/<name>`.
    #[serde(default)]
    pub out: PathBuf,
    /// The seeds of the federation, at least one, each once. Data and partition have their own: [`DataConfig::seed`];
    /// with conditions both seeds draw the partition, and a condition may have seeds of its own. In a file a list, or the first and how many:
    /// `{ first = 100, count = 20 }`.
    #[serde(default = "default_seeds", deserialize_with = "seeds::list")]
    pub seeds: Vec<u64>,
    /// The methods, at least one: names of presets, or tables with a preset and what to change in it.
    pub methods: Vec<MethodEntry>,
    /// What is trained on in each round, over all its clients, by every method that selects to a budget: a number of records, or
    /// `{ tokens = N }`; at least 1.
    #[serde(default = "default_budget")]
    pub budget: RoundBudget,
    /// Clients of a round, and batches of an evaluation, that are at work at the same time, at least 1; left out: on the CPU one for each
    /// thread, at most 4, as each holds its own activations; 1 on another device. Results do not depend on it.
    #[serde(default)]
    pub workers: Option<usize>,
    /// The prompt template.
    #[serde(default)]
    pub prompt: Prompt,
    /// The data and how it is dealt to clients.
    pub data: DataConfig,
    /// The model to tune and the frozen proxy.
    #[serde(default)]
    pub model: ModelSettings,
    /// The LoRA adapter.
    #[serde(default)]
    pub adapter: AdapterConfig,
    /// Local training.
    #[serde(default)]
    pub training: TrainConfig,
    /// How the clients' adapters become one: `kind` is one of [`AggregatorConfig::KINDS`], `weighted_mean` by default. A method may have an
    /// aggregator of its own.
    #[serde(default)]
    pub aggregator: AggregatorConfig,
    /// Rounds, participation and evaluation.
    #[serde(default)]
    pub federation: SimulationSettings,
    /// Greedy generation on test records, for Rouge-L.
    #[serde(default)]
    pub generation: GenerateConfig,
    /// Limits of FedIT, the method `all`, which trains on every record and costs the most.
    #[serde(default)]
    pub fedit: FeditCaps,
    /// How the results of a grid are compared; no run depends on it.
    #[serde(default)]
    pub statistics: Statistics,
    /// What hostile clients do in every run; a condition may have an attack of its own. Left out, nobody is hostile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<AttackConfig>,
    /// A loss to reach: what it took each method to get there stands in every table. Left out, nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// What runs keep for the report; no result depends on it. Written only where something is asked for.
    #[serde(default, skip_serializing_if = "ReportSettings::is_default")]
    pub report: ReportSettings,
}

/// How the results of a grid are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Statistics {
    /// Two methods whose mean losses differ by less count as level, in nats, above 0: the margin of the two one-sided tests. Default 0.03.
    pub margin: f64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { margin: 0.03 }
    }
}

impl Statistics {
    /// # Errors
    /// [`Error::Parameter`] for a margin that is not above 0.
    pub fn check(&self) -> Result<()> {
        above_zero("margin", self.margin)
    }
}

/// Where the models are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// The model to tune: a Hugging Face folder or a GGUF file.
    pub path: PathBuf,
    /// The frozen model whose features `fedhds_turbo` uses; left out, the untuned model itself serves, frozen.
    pub proxy: Option<PathBuf>,
    /// The frozen model that judges responses for a quality gate, one that predicts the next token; left out, the untuned model itself does.
    pub judge: Option<PathBuf>,
    /// The device, for example `cpu` or `cuda:0`; left out: `cpu`.
    pub device: Option<String>,
    /// How rows go into products of the model in `path`, where nothing is trained: `f32` or `int8`; left out: `f32`. Written only where it is
    /// another.
    #[serde(skip_serializing_if = "is_f32")]
    pub activations: Activations,
}

fn is_f32(activations: &Activations) -> bool {
    *activations == Activations::F32
}

/// Limits of FedIT (the method `all`). What is limited is said in the output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeditCaps {
    /// At most so many rounds.
    pub rounds: Option<usize>,
    /// At most so many records of each client, drawn once by the run's seed.
    pub records_per_client: Option<usize>,
}

impl FeditCaps {
    /// # Errors
    /// [`Error::Parameter`] for a limit of 0.
    pub fn check(&self) -> Result<()> {
        let limits = [("rounds", self.rounds), ("records_per_client", self.records_per_client)];
        limits.into_iter().try_for_each(|(name, limit)| limit.map_or(Ok(()), |limit| at_least(name, limit, 1)))
    }
}

/// What a command line changes in a configuration; what is `None` or empty changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// In place of `data.path`.
    pub data: Option<PathBuf>,
    /// In place of `model.path`.
    pub model: Option<PathBuf>,
    /// In place of `model.proxy`.
    pub proxy: Option<PathBuf>,
    /// In place of `model.judge`.
    pub judge: Option<PathBuf>,
    /// In place of `out`.
    pub out: Option<PathBuf>,
    /// In place of `seeds`, those of single conditions too.
    pub seeds: Vec<u64>,
    /// Of the configuration's conditions these alone.
    pub conditions: Vec<String>,
    /// In place of `methods`: labels of the configuration's methods, or names of presets.
    pub methods: Vec<String>,
}

impl Overrides {
    /// The error with its line and column in the file, unless the command line says what the key is.
    fn located(&self, error: Error, text: &str) -> Error {
        let given = [
            ("data.path", self.data.is_some()),
            ("model.path", self.model.is_some()),
            ("model.proxy", self.proxy.is_some()),
            ("model.judge", self.judge.is_some()),
            ("out", self.out.is_some()),
            ("seeds", !self.seeds.is_empty()),
            ("data.conditions", !self.conditions.is_empty()),
            ("methods", !self.methods.is_empty()),
        ];
        let is_given = |key: &str| given.iter().any(|(name, given)| *given && key.starts_with(name));
        match &error {
            Error::Config { key, .. } if is_given(key) => error,
            _ => parse::located(error, text),
        }
    }
}

fn default_name() -> String {
    "experiment".into()
}

fn default_seeds() -> Vec<u64> {
    vec![0]
}

fn default_budget() -> RoundBudget {
    RoundBudget::Records(10)
}

impl ExperimentConfig {
    /// Reads a configuration, applies the overrides and checks the result.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Config`] that names file, key and what was expected.
    pub fn load(path: impl AsRef<Path>, overrides: Overrides) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let read = || {
            let mut config = Self::parse(&text)?;
            config.apply(overrides.clone())?;
            config.check().map_err(|error| overrides.located(error, &text))?;
            Ok(config)
        };
        read().map_err(|error: Error| error.in_file(path))
    }

    /// Reads a configuration from TOML; nothing is checked but keys and kinds.
    ///
    /// # Errors
    /// [`Error::Config`] with key, line and column.
    pub fn parse(text: &str) -> Result<Self> {
        let mut config: Self = parse::from_toml("(document)", text)?;
        if config.out.as_os_str().is_empty() {
            config.out = Path::new("runs").join(&config.name);
        }
        Ok(config)
    }

    /// Applies what a command line asks for.
    ///
    /// # Errors
    /// [`Error::Config`] for a condition that the configuration does not have; nothing is changed then.
    pub fn apply(&mut self, overrides: Overrides) -> Result<()> {
        if !overrides.conditions.is_empty() {
            self.data.conditions.keep(&overrides.conditions)?;
        }
        if let Some(data) = overrides.data {
            self.data.path = Some(data);
        }
        if let Some(model) = overrides.model {
            self.model.path = model;
        }
        if overrides.proxy.is_some() {
            self.model.proxy = overrides.proxy;
        }
        if overrides.judge.is_some() {
            self.model.judge = overrides.judge;
        }
        if let Some(out) = overrides.out {
            self.out = out;
        }
        if !overrides.seeds.is_empty() {
            self.seeds = overrides.seeds;
            self.data.conditions.forget_seeds();
        }
        if !overrides.methods.is_empty() {
            let known = std::mem::take(&mut self.methods);
            let find = |name: &String| known.iter().find(|m| m.label() == name).cloned();
            self.methods =
                overrides.methods.iter().map(|n| find(n).unwrap_or_else(|| MethodEntry::preset(n))).collect();
        }
        Ok(())
    }

    /// The seeds of the condition of this place, or of an experiment without conditions.
    pub fn seeds_of(&self, condition: Option<usize>) -> &[u64] {
        condition.and_then(|place| self.data.conditions.seeds(place)).unwrap_or(&self.seeds)
    }

    /// The attack of the condition of this name, or of an experiment without conditions; none where nobody is hostile.
    pub fn attack_of(&self, condition: Option<&str>) -> Option<&AttackConfig> {
        condition.and_then(|name| self.data.conditions.attack(name)).or(self.attack.as_ref())
    }

    /// All seeds, each once: the experiment's in their order, then those that single conditions add.
    pub(crate) fn all_seeds(&self) -> Vec<u64> {
        let places = (0..self.data.conditions.len()).map(Some);
        let each = std::iter::once(None).filter(|_| self.data.conditions.is_empty()).chain(places);
        let mut seen = BTreeSet::new();
        each.flat_map(|place| self.seeds_of(place)).copied().filter(|seed| seen.insert(*seed)).collect()
    }

    /// Checks every value and that every file is there; the data's content is checked when it is loaded.
    ///
    /// # Errors
    /// [`Error::Config`] with the key.
    pub fn check(&self) -> Result<()> {
        self.check_settings()?;
        self.data.check_path()?;
        existing("model.path", &self.model.path, "a Hugging Face folder or a GGUF file (or --model)")?;
        if let Some(proxy) = &self.model.proxy {
            existing("model.proxy", proxy, "a Hugging Face folder or a GGUF file (or --proxy)")?;
        }
        if let Some(judge) = &self.model.judge {
            existing("model.judge", judge, "a Hugging Face folder or a GGUF file (or --judge)")?;
        }
        Ok(())
    }

    /// Checks every value, and no file: what an experiment over stages of one's own needs.
    ///
    /// # Errors
    /// [`Error::Config`] with the key.
    pub fn check_settings(&self) -> Result<()> {
        let one_name = Path::new(&self.name).components().count() == 1 && !self.name.starts_with('.');
        if !one_name || self.name.contains(['/', '\\']) {
            return Err(Error::config("name", format!("expected a name that can be a folder's, got `{}`", self.name)));
        }
        distinct("seeds", &self.seeds)?;
        let labels: Vec<&str> = self.methods.iter().map(MethodEntry::label).collect();
        distinct("methods", &labels)?;
        let mut in_tokens = Vec::new();
        for (i, method) in self.methods.iter().enumerate() {
            let key = format!("methods[{i}]");
            let arm = method.arm(self.budget, &key)?;
            method.filter(&key)?;
            method.aggregator(&key)?;
            method.check_follows(self.methods.get(..i).unwrap_or_default(), &in_tokens, &key)?;
            if arm.count().tokens().is_some() {
                in_tokens.push(method.label());
            }
            if method.is_oracle() && self.data.conditions.is_empty() {
                let message =
                    "expected `data.conditions` beside the oracle: without them nobody knows the truth of a record";
                return Err(Error::config(key, message));
            }
        }
        match self.budget {
            RoundBudget::Records(records) => at_least("budget", records, 1).map_err(|e| e.under(""))?,
            RoundBudget::Tokens(0) => {
                return Err(Error::config("budget.tokens", "expected a whole number of at least 1, got 0"));
            }
            RoundBudget::Tokens(_) => {
                if let Some((name, _)) = self.data.conditions.iter().find(|(_, condition)| condition.scarce.is_some()) {
                    let message = "expected a `budget` in records beside it, which it overrides, got one in tokens";
                    return Err(Error::config(format!("data.conditions.{name}.scarce"), message));
                }
            }
        }
        self.workers.map_or(Ok(()), |workers| at_least("workers", workers, 1)).map_err(|e| e.under(""))?;
        if let Prompt::Template(template) = &self.prompt {
            template.check()?;
        }
        self.data.check()?;
        self.adapter.check().map_err(|e| e.under("adapter"))?;
        self.training.check().map_err(|e| e.under("training"))?;
        self.aggregator.build().map_err(|e| e.under("aggregator"))?;
        self.attack.as_ref().map_or(Ok(()), AttackConfig::check).map_err(|e| e.under("attack"))?;
        self.federation.check().map_err(|e| e.under("federation"))?;
        self.generation.check().map_err(|e| e.under("generation"))?;
        self.statistics.check().map_err(|e| e.under("statistics"))?;
        self.fedit.check().map_err(|e| e.under("fedit"))?;
        self.check_until()
    }

    /// How many clients or batches are at work at the same time.
    pub(super) fn workers(&self) -> usize {
        let on_cpu = self.model.device.as_deref().is_none_or(|device| device.starts_with("cpu"));
        self.workers.unwrap_or_else(|| if on_cpu { rayon::current_num_threads().clamp(1, 4) } else { 1 })
    }
}

/// The folder of a method or condition of this name.
pub(super) fn folder_of(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

fn distinct<T: Ord + std::fmt::Display>(key: &str, values: &[T]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::config(key, "expected at least one, got an empty list"));
    }
    let mut seen = BTreeSet::new();
    match values.iter().find(|v| !seen.insert(*v)) {
        Some(twice) => Err(Error::config(key, format!("expected each once, got `{twice}` twice"))),
        None => Ok(()),
    }
}

fn existing(key: &str, path: &Path, expected: &str) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Err(Error::config(key, format!("expected {expected}, got nothing")));
    }
    if !path.exists() {
        return Err(Error::config(key, format!("expected {expected}, but {} does not exist", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
