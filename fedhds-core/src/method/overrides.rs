//! A preset and what differs from it.

use super::config::{ClientConfig, FeatureSource, MethodConfig, ServerConfig};
use super::options::Count;
use super::preset::Preset;
use crate::error::{Error, Result};
use serde::Deserialize;
use toml::Value;

/// The whole configuration, as it stands after the overrides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    preset: Preset,
    name: String,
    features: FeatureSource,
    client: ClientConfig,
    server: ServerConfig,
    count: Count,
}

/// Reads a name or a table; nothing is checked across options yet.
pub(super) fn read(value: Value) -> Result<MethodConfig> {
    let table = match value {
        Value::String(name) => return MethodConfig::preset(&name),
        Value::Table(table) => table,
        other => {
            let message = format!("expected a preset's name or a table, got {}", other.type_str());
            return Err(Error::config("method", message));
        }
    };
    let preset = match table.get("preset") {
        Some(Value::String(name)) => Preset::from_name(name)?,
        Some(other) => {
            return Err(Error::config("preset", format!("expected a name, got {}", other.type_str())));
        }
        None => {
            return Err(Error::config("preset", "expected the name of the preset to start from, got none"));
        }
    };
    let mut whole = Value::try_from(preset.config()).map_err(|e| Error::config("preset", e.to_string()))?;
    overlay(&mut whole, Value::Table(table), "");
    let Whole { preset, name, features, client, server, count } = whole.try_into().map_err(located)?;
    Ok(MethodConfig { preset, name, features, client, server, count })
}

/// Puts `over` on top of `base`, key by key.
fn overlay(base: &mut Value, over: Value, key: &str) {
    match (base, over) {
        // A count is one of several kinds: two of them do not mix.
        (base, over) if key == "count" => *base = over,
        // A stage by its bare name has that kind's defaults.
        (base, Value::String(kind)) if base.get("kind").is_some() => {
            *base = Value::Table([("kind".to_string(), Value::String(kind))].into_iter().collect());
        }
        (Value::Table(base), Value::Table(over)) => {
            // Settings of one kind mean nothing to another.
            if let (Some(old), Some(new)) = (base.get("kind"), over.get("kind"))
                && old != new
            {
                *base = over;
                return;
            }
            for (name, value) in over {
                match base.get_mut(&name) {
                    Some(old) => overlay(old, value, &name),
                    None => {
                        base.insert(name, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// The error with the dotted key that it concerns: toml tells the path down to the stage, and unknown keys in its message.
fn located(error: toml::de::Error) -> Error {
    let text = error.to_string();
    let path = text.rsplit_once("in `").and_then(|(_, rest)| rest.split_once('`')).map_or("", |(path, _)| path);
    let message = error.message();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
    let key = match (path, unknown) {
        ("", Some(name)) => name.to_string(),
        (path, Some(name)) if path.rsplit('.').next() != Some(name) => format!("{path}.{name}"),
        ("", None) => "method".to_string(),
        (path, _) => path.to_string(),
    };
    Error::config(key, message)
}

/// JSON as TOML, which has no null: an option that is null is one that is not given.
pub(super) fn to_toml(value: serde_json::Value) -> Result<Value> {
    use serde_json::Value as Json;
    Ok(match value {
        Json::Null => return Err(Error::config("method", "expected a preset's name or a table, got null")),
        Json::Bool(b) => Value::Boolean(b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Value::Integer(i),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::String(s),
        Json::Array(values) => {
            let values = values.into_iter().filter(|v| !v.is_null()).map(to_toml);
            Value::Array(values.collect::<Result<_>>()?)
        }
        Json::Object(map) => {
            let pairs = map.into_iter().filter(|(_, v)| !v.is_null());
            Value::Table(pairs.map(|(k, v)| Ok((k, to_toml(v)?))).collect::<Result<_>>()?)
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::method::{ClientClusterer, Frame, Noise, ReducerConfig};
    use crate::reduce::{Kernel, KernelPcaConfig};

    fn key_of(text: &str) -> (String, String) {
        match MethodConfig::from_toml_str(text).unwrap_err() {
            Error::Config { key, message, .. } => (key, message),
            other => panic!("expected a configuration error, got {other}"),
        }
    }

    #[test]
    fn overrides_change_what_they_name_and_nothing_else() {
        let text = "preset = \"fedhds\"\nfeatures = \"proxy\"\n[client]\nnoise = \"singletons\"\nclusterer = { min_cluster_size = 2 }";
        let config = MethodConfig::from_toml_str(text).unwrap();
        let mut expected = Preset::Fedhds.config();
        expected.features = FeatureSource::Proxy;
        expected.client.noise = Noise::Singletons;
        let ClientClusterer::Hdbscan(hdbscan) = &mut expected.client.clusterer else { panic!() };
        hdbscan.min_cluster_size = 2;
        assert_eq!(config, expected);
    }

    #[test]
    fn another_kind_of_stage_starts_from_its_defaults() {
        let with = |reducer: &str| {
            let text = format!("preset = \"fedhds\"\nclient.reducer = {reducer}");
            MethodConfig::from_toml_str(&text).unwrap().client.reducer
        };
        assert_eq!(with("\"pca\""), ReducerConfig::Pca(Default::default()));
        assert_eq!(with("{ kind = \"pca\" }"), ReducerConfig::Pca(Default::default()));
        let kernel = KernelPcaConfig { kernel: Kernel::Poly, gamma: Some(0.5), degree: 2, ..Default::default() };
        let flat = "{ kind = \"kernel_pca\", kernel = \"poly\", gamma = 0.5, degree = 2 }";
        assert_eq!(with(flat), ReducerConfig::KernelPca(kernel));
        assert_eq!(with("{ kind = \"tsne\" }"), Preset::Fedhds.config().client.reducer);
        let ReducerConfig::Tsne(tsne) = with("{ perplexity = 7 }") else { panic!() };
        assert_eq!(tsne.perplexity, 7.0);
    }

    #[test]
    fn errors_name_the_key() {
        let cases = [
            ("preset = \"fedhds\"\nbudget = 3", "budget", "unknown field"),
            ("preset = \"fedhds\"\nclient.nois = \"drop\"", "client.nois", "unknown field"),
            ("preset = \"fedhds\"\nclient.noise = \"keep\"", "client.noise", "unknown variant `keep`"),
            ("preset = \"fedhds\"\nclient.reducer.perplexty = 3", "client.reducer.perplexty", "unknown field"),
            ("preset = \"fedhds\"\nclient.reducer.n_iter = 300", "client.reducer.n_iter", "unknown field"),
            ("preset = \"fedhds\"\nclient.reducer.theta = 0.2", "client.reducer.theta", "unknown field"),
            ("preset = \"fedhds\"\nclient.reducer = \"umap\"", "client.reducer.kind", "unknown variant `umap`"),
            ("preset = \"random\"\nclient.reducer.perplexity = 3", "client.reducer.perplexity", "unknown field"),
            ("preset = \"fedhds\"\nfeatures = 3", "features", ""),
            ("preset = \"fedhds_shared\"\ncount = { budget = 0 }", "count", "at least 1"),
            ("preset = \"fedhds_shared\"\ncount = { budget = -4 }", "count", "`-4`"),
            ("preset = \"fedhds_shared\"\ncount = { number = 4 }", "count", "unknown variant `number`"),
            ("preset = \"fedhds_shared\"\ncount = \"per_cluster\"", "count", "budget"),
            ("preset = \"random\"\ncount = \"per_cluster\"", "count", "budget"),
            ("preset = \"fedhds\"\nfeatures = \"none\"", "features", "model"),
            ("preset = \"random\"\nfeatures = \"model\"", "features", "none"),
            ("preset = \"random\"\nclient.frame = \"shared\"", "client.frame", "per_client"),
            ("preset = \"fedhds_shared\"\nclient.shared_dims = 0", "client.shared_dims", "expected 1"),
            ("preset = \"fedhds\"\nclient.clusterer.min_cluster_size = 0", "client.clusterer", "min_cluster_size"),
            ("preset = \"fedhds_coverage\"\nserver.selector = \"nearest\"", "server.clusterer", "hdbscan"),
            ("preset = \"fedhds_shared\"\nserver.selector = \"facility_location\"", "server.clusterer", "none"),
            ("count = \"all\"", "preset", "got none"),
            ("preset = \"fedhd\"", "preset", "got `fedhd`"),
            ("preset = [", "method", ""),
        ];
        for (text, key, word) in cases {
            let (got, message) = key_of(text);
            assert!(got == key && message.contains(word), "{text}\nexpected `{key}`: {word}\ngot `{got}`: {message}");
        }
    }

    #[test]
    fn written_configurations_are_read_again() {
        let text =
            "preset = \"fedhds_shared\"\nname = \"mine\"\ncount = { ratio = 0.5 }\nclient.frame = \"per_client\"";
        let config = MethodConfig::from_toml_str(text).unwrap();
        assert_eq!(config.client.frame, Frame::PerClient);
        for config in Preset::ALL.into_iter().map(Preset::config).chain([config]) {
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<MethodConfig>(&json).unwrap(), config);
            let toml = toml::to_string(&config).unwrap();
            assert_eq!(MethodConfig::from_toml_str(&toml).unwrap(), config);
        }
        let list: Vec<MethodConfig> = serde_json::from_str(r#"["random", {"preset": "all"}]"#).unwrap();
        assert_eq!(list, [Preset::Random.config(), Preset::All.config()]);
    }
}
