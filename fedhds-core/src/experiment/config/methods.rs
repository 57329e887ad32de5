//! A method of an experiment: a preset's name, or a table that changes a preset.

use crate::error::{Error, Result};
use crate::method::{Count, MethodConfig};
use serde::{Deserialize, Serialize};

/// A method of an experiment, as it was written.
///
/// In TOML: `"fedhds_shared"`, or `{ preset = "fedhds_shared", name = "shared, 64 dims", <any setting of the method> }` as in
/// [`MethodConfig`]. With `count_of = "<name>"` it selects as many records in each round as that method did, which stands before it in
/// the list: a baseline at equal record count for a method whose clustering decides on the count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MethodEntry(toml::Value);

/// The key that names the method whose counts are taken.
const COUNT_OF: &str = "count_of";

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

    /// Checks that the method whose counts it takes is one of those before it.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`.
    pub fn check_count_of(&self, before: &[MethodEntry], key: &str) -> Result<()> {
        let Some(value) = self.0.get(COUNT_OF) else { return Ok(()) };
        let at = format!("{key}.{COUNT_OF}");
        if self.0.get("count").is_some() {
            return Err(Error::config(at, "expected no `count` beside it: it says how many records"));
        }
        let names: Vec<&str> = before.iter().map(MethodEntry::label).collect();
        if !value.as_str().is_some_and(|name| names.contains(&name)) {
            let expected = if names.is_empty() { "none is".to_owned() } else { format!("one of {}", names.join(", ")) };
            return Err(Error::config(at, format!("expected a method that stands before it, {expected}, got {value}")));
        }
        Ok(())
    }

    /// The method, checked. Where the preset selects to a budget and the entry names no count of its own, the budget is the
    /// experiment's.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`, the entry's place in the configuration.
    pub fn resolve(&self, budget: usize, key: &str) -> Result<MethodConfig> {
        let at = |error: Error| error.under(key);
        if self.label().is_empty() {
            let message = format!("expected a preset's name, or a table with one under `preset`, got {}", self.0);
            return Err(Error::config(key, message));
        }
        let mut entry = self.0.clone();
        let follows = entry.as_table_mut().is_some_and(|table| table.remove(COUNT_OF).is_some());
        let mut method = MethodConfig::from_toml(entry).map_err(at)?;
        if follows {
            // Known when the other method has run; until then it would select none.
            method.count = Count::PerRound(Vec::new());
            method.check().map_err(at)?;
        } else if matches!(method.count, Count::Budget(_)) && self.0.get("count").is_none() {
            method.count = Count::Budget(budget);
        }
        let label = self.label();
        if label.contains(['/', '\\']) || label.starts_with('.') {
            return Err(Error::config(
                format!("{key}.name"),
                format!("expected a name that can be a folder's, got `{label}`"),
            ));
        }
        Ok(method)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

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
        let counts: Vec<Count> = methods.iter().map(|m| m.resolve(7, "methods[0]").unwrap().count).collect();
        assert_eq!(counts, [Count::Budget(7), Count::Budget(40), Count::All]);
        assert_eq!(methods.iter().map(MethodEntry::label).collect::<Vec<_>>(), ["random", "random 40", "all"]);
        assert_eq!(methods[1].resolve(7, "").unwrap().name, "random 40");
    }

    #[test]
    fn counts_are_taken_from_a_method_before() {
        let text =
            r#"methods = ["fedhds_turbo", { preset = "random", name = "random_turbo", count_of = "fedhds_turbo" }]"#;
        let methods = entries(text);
        assert_eq!((methods[0].count_of(), methods[1].count_of()), (None, Some("fedhds_turbo")));
        assert_eq!(methods[1].resolve(7, "methods[1]").unwrap().count, Count::PerRound(Vec::new()));
        methods[1].check_count_of(&methods[..1], "methods[1]").unwrap();
        let error = methods[1].check_count_of(&[], "methods[1]").unwrap_err().to_string();
        assert!(error.contains("`methods[1].count_of`") && error.contains("before it"), "{error}");
        let text = r#"methods = [{ preset = "random", count_of = "all", count = { budget = 3 } }]"#;
        let error = entries(text)[0].check_count_of(&methods, "methods[0]").unwrap_err().to_string();
        assert!(error.contains("no `count` beside it"), "{error}");
    }

    #[test]
    fn errors_stand_at_the_entry() {
        let error = |text: &str| entries(text)[0].resolve(7, "methods[0]").unwrap_err().to_string();
        let text = error(r#"methods = ["randon"]"#);
        assert!(text.contains("`methods[0].preset`") && text.contains("did you mean `random`?"), "{text}");
        let text = error(r#"methods = [{ preset = "random", cuont = "all" }]"#);
        assert!(text.contains("`methods[0].cuont`"), "{text}");
        assert!(error("methods = [3]").contains("expected a preset's name"));
        assert!(error(r#"methods = [{ preset = "random", name = "../up" }]"#).contains("a folder's"));
    }
}
