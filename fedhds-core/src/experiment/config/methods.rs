//! A method of an experiment: a preset's name, or a table that changes a preset; the oracle; or Coreset-Cent.

use crate::aggregate::AggregatorConfig;
use crate::error::{Error, Result};
use crate::features::TextFeaturesConfig;
use crate::method::{Count, FeatureSource, MethodConfig, RoundBudget};
use crate::parse::{self, Value};
use serde::{Deserialize, Serialize};

/// A method of an experiment, as it was written.
///
/// In TOML: `"fedhds_shared"`, or `{ preset = "fedhds_shared", name = "shared, 64 dims", <any setting of the method> }` as in
/// [`MethodConfig`]. Beside these:
///
/// - `count_of = "<name>"`: it selects as many records in each round as that method did, which stands before it in the list: a baseline
///   at equal record count for a method whose clustering decides on the count.
/// - `compute_of = "<name>"`: as many, and [`STEPS_A_PASS`] of a record more for each forward pass that the method spent on scoring in the
///   round: a baseline at equal compute.
/// - `filter = "rules"`: what [`rules`](crate::dataset::rules) know to be bad is taken from the clients before the run.
/// - `aggregator = { kind = "trimmed_mean", b = 2 }`: how the clients' adapters become one, in the place of the experiment's `[aggregator]`.
/// - `preset = "oracle"`, or the bare name `"oracle"`: the arm that is told the truth of [`data.conditions`](super::Conditions).
/// - `preset = "coreset_cent"`, or the bare name: the paper's baseline that has all records in one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MethodEntry(toml::Value);

/// What one forward pass over a record costs in training steps of one record: the exchange rate of every comparison at equal compute. A
/// step is a forward and a backward pass with the update, about three times a forward pass.
pub const STEPS_A_PASS: f64 = 0.30;

/// The key that names the method whose counts are taken.
const COUNT_OF: &str = "count_of";
/// The key that names the method whose compute is taken.
const COMPUTE_OF: &str = "compute_of";
/// The key of what is taken from the clients before the run.
const FILTER: &str = "filter";
/// The key of how the clients' adapters become one.
const AGGREGATOR: &str = "aggregator";
/// What is no setting of a method.
const OWN_KEYS: [&str; 4] = [COUNT_OF, COMPUTE_OF, FILTER, AGGREGATOR];
/// The name of the arm that is told the truth.
const ORACLE: &str = "oracle";
/// The name of the arm that has all records in one place.
const CORESET_CENT: &str = "coreset_cent";

/// What an entry of the list of methods is, all its settings resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Arm {
    /// A method.
    Method(Box<MethodConfig>),
    /// The arm that is told which records are good, which are copies, and their tasks: clean, distinct records, spread over the tasks.
    Oracle(CountAlone),
    /// The arm that has all records in one place: those nearest to the centres of k-means over the last layer's features.
    CoresetCent(CountAlone),
}

/// An arm that has no settings but how many records train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountAlone {
    /// `oracle` or `coreset_cent`.
    preset: String,
    /// What tables call it.
    #[serde(default)]
    name: Option<String>,
    /// Records of a round.
    #[serde(default)]
    pub count: Count,
}

/// What is taken from the clients before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// What the plain rules of [`rules`](crate::dataset::rules) know.
    Rules,
}

impl Arm {
    /// How many records train.
    pub fn count(&self) -> &Count {
        match self {
            Arm::Method(method) => &method.count,
            Arm::Oracle(arm) | Arm::CoresetCent(arm) => &arm.count,
        }
    }

    /// Sets how many records train.
    pub fn set_count(&mut self, count: Count) {
        match self {
            Arm::Method(method) => method.count = count,
            Arm::Oracle(arm) | Arm::CoresetCent(arm) => arm.count = count,
        }
    }

    /// Whether it is told the truth.
    pub fn is_oracle(&self) -> bool {
        matches!(self, Arm::Oracle(_))
    }

    /// Whether it has all records in one place.
    pub fn is_pooled(&self) -> bool {
        matches!(self, Arm::CoresetCent(_))
    }
}

impl MethodEntry {
    /// A preset as it is.
    pub fn preset(name: &str) -> Self {
        Self(toml::Value::String(name.to_owned()))
    }

    /// What tables and folders call it: its `name`, else the preset's; empty where neither is text.
    pub fn label(&self) -> &str {
        let text = |key: &str| self.0.get(key).and_then(toml::Value::as_str);
        self.0.as_str().or_else(|| text("name")).or_else(|| text("preset")).unwrap_or_default()
    }

    /// The name of the method whose record counts it takes, round by round.
    pub fn count_of(&self) -> Option<&str> {
        self.0.get(COUNT_OF).and_then(toml::Value::as_str)
    }

    /// The name of the method whose compute it spends on records, round by round.
    pub fn compute_of(&self) -> Option<&str> {
        self.0.get(COMPUTE_OF).and_then(toml::Value::as_str)
    }

    /// The name of the method that it follows, in count or in compute.
    pub fn follows(&self) -> Option<&str> {
        self.count_of().or_else(|| self.compute_of())
    }

    /// Whether it names a count of its own.
    pub fn has_count(&self) -> bool {
        self.0.get("count").is_some()
    }

    /// Whether it is the arm that is told the truth.
    pub fn is_oracle(&self) -> bool {
        self.preset_name() == Some(ORACLE)
    }

    fn preset_name(&self) -> Option<&str> {
        self.0.as_str().or_else(|| self.0.get("preset").and_then(toml::Value::as_str))
    }

    /// What is taken from the clients before the run.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`.
    pub fn filter(&self, key: &str) -> Result<Option<Filter>> {
        let Some(value) = self.0.get(FILTER) else { return Ok(None) };
        let at = format!("{key}.{FILTER}");
        if self.is_oracle() {
            return Err(Error::config(at, "expected none for the oracle, which is told what is good"));
        }
        parse::from_value(&at, value.clone().into()).map(Some)
    }

    /// How the clients' adapters become one, where it is not as in the experiment's other methods; checked.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`.
    pub fn aggregator(&self, key: &str) -> Result<Option<AggregatorConfig>> {
        let Some(value) = self.0.get(AGGREGATOR) else { return Ok(None) };
        /// With its key, so that errors have the whole of it.
        #[derive(Deserialize)]
        struct Own {
            aggregator: AggregatorConfig,
        }
        let own = toml::Table::from_iter([(AGGREGATOR.to_owned(), value.clone())]);
        let Own { aggregator } =
            parse::from_value(key, toml::Value::from(own).into()).map_err(|error: Error| error.under(key))?;
        aggregator.build().map_err(|error| error.under(&format!("{key}.{AGGREGATOR}")))?;
        Ok(Some(aggregator))
    }

    /// Checks that the method that it follows is one of those before it, and none of `in_tokens`, whose budget is in tokens: as many records
    /// would not be as many tokens.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`.
    pub fn check_follows(&self, before: &[MethodEntry], in_tokens: &[&str], key: &str) -> Result<()> {
        for name in [COUNT_OF, COMPUTE_OF] {
            let Some(value) = self.0.get(name) else { continue };
            let at = format!("{key}.{name}");
            if self.has_count() {
                return Err(Error::config(at, "expected no `count` beside it: it says how many records"));
            }
            if name == COMPUTE_OF && self.0.get(COUNT_OF).is_some() {
                return Err(Error::config(at, "expected no `count_of` beside it: each says how many records"));
            }
            let names: Vec<&str> = before.iter().map(MethodEntry::label).collect();
            if !value.as_str().is_some_and(|name| names.contains(&name)) {
                let expected =
                    if names.is_empty() { "none is".to_owned() } else { format!("one of {}", names.join(", ")) };
                let message = format!("expected a method that stands before it, {expected}, got {value}");
                return Err(Error::config(at, message));
            }
            if let Some(followed) = value.as_str().filter(|name| in_tokens.contains(name)) {
                let message = format!(
                    "expected a method that counts records, got {followed}, whose budget is in tokens: give both the same one"
                );
                return Err(Error::config(at, message));
            }
        }
        Ok(())
    }

    /// The method or the oracle, checked. Where it selects to a budget and the entry names no count of its own, the budget is the
    /// experiment's.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`, the entry's place in the configuration.
    pub fn arm(&self, budget: RoundBudget, key: &str) -> Result<Arm> {
        let at = |error: Error| error.under(key);
        let label = self.label();
        if label.is_empty() {
            let message = format!("expected a preset's name, or a table with one under `preset`, got {}", self.0);
            return Err(Error::config(key, message));
        }
        let mut entry = self.0.clone();
        if let Some(table) = entry.as_table_mut() {
            OWN_KEYS.iter().for_each(|own| drop(table.remove(*own)));
        }
        let mut arm = match self.preset_name() {
            Some(ORACLE) => Arm::Oracle(count_alone(entry).map_err(at)?),
            Some(CORESET_CENT) => Arm::CoresetCent(count_alone(entry).map_err(at)?),
            _ => Arm::Method(Box::new(MethodConfig::from_toml(entry).map_err(at)?)),
        };
        let columns = TextFeaturesConfig::default().dims;
        if let Arm::Method(method) = &arm
            && method.features == FeatureSource::Text
            && method.client.shared_dims as usize != columns
        {
            let message =
                format!("expected {columns}, the columns of the texts' features, got {}", method.client.shared_dims);
            return Err(Error::config(format!("{key}.client.shared_dims"), message));
        }
        if let Arm::Oracle(CountAlone { count, .. }) | Arm::CoresetCent(CountAlone { count, .. }) = &arm
            && self.has_count()
        {
            if *count == Count::PerCluster {
                let message = format!("expected a budget, a ratio or `all`: `{label}` has no clusters to count");
                return Err(Error::config(format!("{key}.count"), message));
            }
            count.check().map_err(at)?;
        }
        let in_budgets = match &arm {
            Arm::Method(method) => matches!(method.count, Count::Budget(_) | Count::Tokens(_)),
            Arm::Oracle(_) | Arm::CoresetCent(_) => true,
        };
        if self.follows().is_some() {
            // Known when the other method has run; until then it would select none.
            arm.set_count(Count::PerRound(Vec::new()));
            if let Arm::Method(method) = &arm {
                method.check().map_err(at)?;
            }
        } else if !self.has_count() && in_budgets {
            arm.set_count(budget.into());
        }
        if arm.is_pooled() && !matches!(arm.count(), Count::Budget(_) | Count::PerRound(_)) {
            let message = "expected a budget in records: it makes as many clusters as the run trains on";
            return Err(Error::config(format!("{key}.count"), message));
        }
        if label.contains(['/', '\\']) || label.starts_with('.') {
            return Err(Error::config(
                format!("{key}.name"),
                format!("expected a name that can be a folder's, got `{label}`"),
            ));
        }
        Ok(arm)
    }

    /// The method of an entry that is one, as [`arm`](Self::arm) resolves it.
    ///
    /// # Errors
    /// As [`arm`](Self::arm), and [`Error::Config`] for the oracle, which is no method.
    pub fn resolve(&self, budget: RoundBudget, key: &str) -> Result<MethodConfig> {
        match self.arm(budget, key)? {
            Arm::Method(method) => Ok(*method),
            Arm::Oracle(_) | Arm::CoresetCent(_) => {
                Err(Error::config(key, format!("expected a method, got `{}`", self.label())))
            }
        }
    }
}

fn count_alone(entry: toml::Value) -> Result<CountAlone> {
    match entry {
        toml::Value::String(preset) => Ok(CountAlone { preset, name: None, count: Count::default() }),
        table => parse::from_value("(document)", Value::from(table)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const SEVEN: RoundBudget = RoundBudget::Records(7);

    #[derive(Deserialize)]
    struct Methods {
        methods: Vec<MethodEntry>,
    }

    fn entries(text: &str) -> Vec<MethodEntry> {
        toml::from_str::<Methods>(text).unwrap().methods
    }

    #[test]
    fn names_and_tables_take_the_experiments_budget_unless_they_have_their_own() {
        let text = r#"methods = ["random", { preset = "random", name = "random 40", count = { budget = 40 } }, "all"]"#;
        let methods = entries(text);
        let counts: Vec<Count> = methods.iter().map(|m| m.resolve(SEVEN, "methods[0]").unwrap().count).collect();
        assert_eq!(counts, [Count::Budget(7), Count::Budget(40), Count::All]);
        assert_eq!(methods.iter().map(MethodEntry::label).collect::<Vec<_>>(), ["random", "random 40", "all"]);
        assert_eq!(methods[1].resolve(SEVEN, "").unwrap().name, "random 40");
    }

    #[test]
    fn counts_are_taken_from_a_method_before() {
        let text =
            r#"methods = ["fedhds_turbo", { preset = "random", name = "random_turbo", count_of = "fedhds_turbo" }]"#;
        let methods = entries(text);
        assert_eq!((methods[0].count_of(), methods[1].count_of()), (None, Some("fedhds_turbo")));
        assert_eq!(methods[1].resolve(SEVEN, "methods[1]").unwrap().count, Count::PerRound(Vec::new()));
        methods[1].check_follows(&methods[..1], &[], "methods[1]").unwrap();
        let error = methods[1].check_follows(&[], &[], "methods[1]").unwrap_err().to_string();
        assert!(error.contains("`methods[1].count_of`") && error.contains("before it"), "{error}");
        for (text, word) in [
            (r#"count_of = "fedhds_turbo", count = { budget = 3 }"#, "no `count` beside it"),
            (r#"compute_of = "fedhds_turbo", count = { budget = 3 }"#, "no `count` beside it"),
            (r#"compute_of = "fedhds_turbo", count_of = "fedhds_turbo""#, "no `count_of` beside it"),
            (r#"compute_of = "all""#, "before it, one of fedhds_turbo"),
        ] {
            let entry = entries(&format!(r#"methods = [{{ preset = "random", {text} }}]"#));
            let error = entry[0].check_follows(&methods[..1], &[], "methods[0]").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_oracle_is_an_arm_with_a_count_alone() {
        let text =
            r#"methods = ["oracle", { preset = "oracle", name = "oracle 4", count = { budget = 4 } }, "random"]"#;
        let methods = entries(text);
        let counts: Vec<Count> = methods.iter().map(|m| m.arm(SEVEN, "methods[0]").unwrap().count().clone()).collect();
        assert_eq!(counts, [Count::Budget(7), Count::Budget(4), Count::Budget(7)]);
        assert_eq!(methods.iter().map(MethodEntry::is_oracle).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(methods[1].label(), "oracle 4");
        assert!(methods[0].resolve(SEVEN, "methods[0]").is_err());
        for (text, word) in [
            (r#"conut = "all""#, "did you mean `count`?"),
            (r#"count = "per_cluster""#, "no clusters to count"),
            (r#"count = { budget = 0 }"#, "at least 1"),
            (r#"features = "model""#, "methods[0].features"),
        ] {
            let entry = entries(&format!(r#"methods = [{{ preset = "oracle", {text} }}]"#));
            let error = entry[0].arm(SEVEN, "methods[0]").unwrap_err().to_string();
            assert!(error.contains("methods[0]") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn coreset_cent_is_an_arm_with_a_budget_in_records() {
        let text = r#"methods = ["random", "coreset_cent", { preset = "coreset_cent", name = "matched", count_of = "random" }]"#;
        let methods = entries(text);
        let arm = methods[1].arm(SEVEN, "methods[1]").unwrap();
        assert!(arm.is_pooled() && !arm.is_oracle() && *arm.count() == Count::Budget(7));
        assert_eq!(*methods[2].arm(SEVEN, "methods[2]").unwrap().count(), Count::PerRound(Vec::new()));
        assert!(methods[1].resolve(SEVEN, "methods[1]").unwrap_err().to_string().contains("`coreset_cent`"));
        let error = methods[1].arm(RoundBudget::Tokens(90), "methods[1]").unwrap_err().to_string();
        assert!(error.contains("`methods[1].count`") && error.contains("budget in records"), "{error}");
        for text in [r#"count = "all""#, r#"count = { ratio = 0.2 }"#, r#"features = "proxy""#] {
            let entry = entries(&format!(r#"methods = [{{ preset = "coreset_cent", {text} }}]"#));
            assert!(entry[0].arm(SEVEN, "methods[0]").is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_is_named() {
        let filter = |text: &str| entries(text)[0].filter("methods[0]");
        let rules = r#"methods = [{ preset = "random", filter = "rules" }]"#;
        assert_eq!(filter(rules).unwrap(), Some(Filter::Rules));
        assert_eq!(
            entries(rules)[0].resolve(SEVEN, "").unwrap(),
            MethodEntry::preset("random").resolve(SEVEN, "").unwrap()
        );
        assert_eq!(filter(r#"methods = ["random"]"#).unwrap(), None);
        let error = filter(r#"methods = [{ preset = "random", filter = "rule" }]"#).unwrap_err().to_string();
        assert!(error.contains("`methods[0].filter`") && error.contains("did you mean `rules`?"), "{error}");
        assert!(filter(r#"methods = [{ preset = "oracle", filter = "rules" }]"#).is_err());
    }

    #[test]
    fn a_method_may_have_an_aggregator_of_its_own() {
        let entry = |aggregator: &str| {
            entries(&format!(r#"methods = [{{ preset = "random", name = "robust", aggregator = {aggregator} }}]"#))[0]
                .clone()
        };
        let nested = entry(r#"{ kind = "nnm", f = 2, inner = { kind = "trimmed_mean", b = 2 } }"#);
        assert!(
            matches!(nested.aggregator("methods[0]").unwrap(), Some(AggregatorConfig::NearestMixing(config)) if config.f == 2)
        );
        assert_eq!(nested.resolve(SEVEN, "").unwrap().count, Count::Budget(7), "it is no setting of the method");
        assert_eq!(MethodEntry::preset("random").aggregator("").unwrap(), None);
        for (aggregator, words) in [
            (r#"{ kind = "multi_crum" }"#, ["methods[0].aggregator.kind", "did you mean `multi_krum`?"]),
            (r#"{ kind = "multi_krum", m = 0 }"#, ["methods[0].aggregator.m", "at least 1"]),
            (r#"{ kind = "trimmed_mean", bb = 1 }"#, ["methods[0].aggregator.bb", "`b`"]),
            (r#"{ kind = "nnm", inner = { kind = "nnm" } }"#, ["methods[0].aggregator.inner", "does not mix itself"]),
            ("3", ["methods[0].aggregator", "got `3`"]),
        ] {
            let error = entry(aggregator).aggregator("methods[0]").unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn errors_stand_at_the_entry() {
        let error = |text: &str| entries(text)[0].resolve(SEVEN, "methods[0]").unwrap_err().to_string();
        let text = error(r#"methods = ["randon"]"#);
        assert!(text.contains("`methods[0].preset`") && text.contains("did you mean `random`?"), "{text}");
        let text = error(r#"methods = [{ preset = "random", cuont = "all" }]"#);
        assert!(text.contains("`methods[0].cuont`"), "{text}");
        let text = error(r#"methods = [{ preset = "fedhds_robust", client = { shared_dims = 64 } }]"#);
        assert!(text.contains("`methods[0].client.shared_dims`") && text.contains("expected 128"), "{text}");
        assert!(error("methods = [3]").contains("expected a preset's name"));
        assert!(error(r#"methods = [{ preset = "random", name = "../up" }]"#).contains("a folder's"));
    }
}
