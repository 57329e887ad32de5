//! A method of an experiment: a preset's name, or a table that changes a preset.

use crate::error::{Error, Result};
use crate::method::{Count, MethodConfig};
use serde::{Deserialize, Serialize};

/// A method of an experiment, as it was written.
///
/// In TOML: `"fedhds_shared"`, or `{ preset = "fedhds_shared", name = "shared, 64 dims", <any setting of the method> }` as in
/// [`MethodConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MethodEntry(toml::Value);

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

    /// The method, checked. Where the preset selects to a budget and the entry names no count of its own, the budget is the
    /// experiment's.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `key`, the entry's place in the configuration.
    pub fn resolve(&self, budget: usize, key: &str) -> Result<MethodConfig> {
        let at = |error: Error| match error {
            Error::Config { file, key: inner, message } => {
                Error::Config { file, key: format!("{key}.{inner}"), message: suggest(message) }
            }
            other => other,
        };
        if self.label().is_empty() {
            let message = format!("expected a preset's name, or a table with one under `preset`, got {}", self.0);
            return Err(Error::config(key, message));
        }
        let mut method = MethodConfig::from_toml(self.0.clone()).map_err(at)?;
        if matches!(method.count, Count::Budget(_)) && self.0.get("count").is_none() {
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

/// Adds the nearest of the names that the message lists to a message about an unknown one.
fn suggest(message: String) -> String {
    let Some((list, unknown)) = message.strip_prefix("expected one of ").and_then(|m| m.rsplit_once(", got `")) else {
        return message;
    };
    let names: Vec<&str> = list.split(", ").collect();
    match super::parse::nearest(unknown.trim_end_matches('`'), &names) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message,
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
