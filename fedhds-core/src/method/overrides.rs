//! A preset and what differs from it.

use super::config::{ClientConfig, FeatureSource, MethodConfig, ServerConfig};
use super::count::Count;
use super::name::Preset;
use crate::error::{Error, Result};
use crate::parse::{self, Value};
use serde::Deserialize;

/// What an error is about that concerns no key of a method.
pub(super) const METHOD: &str = "method";

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
    let table = match value.without_nulls() {
        Value::Text(name) => return Preset::from_name(&name).map(Preset::config),
        table @ Value::Table(_) => table,
        other => {
            let message = format!("expected a preset's name or a table, got {}", other.kind());
            return Err(Error::config(METHOD, message));
        }
    };
    let preset = match table.get("preset") {
        Some(Value::Text(name)) => Preset::from_name(name)?,
        Some(other) => {
            return Err(Error::config("preset", format!("expected a name, got {}", other.kind())));
        }
        None => {
            return Err(Error::config("preset", "expected the name of the preset to start from, got none"));
        }
    };
    let whole = toml::Value::try_from(preset.config()).map_err(|e| Error::config("preset", e.to_string()))?;
    let mut whole = Value::from(whole);
    overlay(&mut whole, table, "")?;
    let Whole { preset, name, features, client, server, count } = parse::from_value(METHOD, whole)?;
    Ok(MethodConfig { preset, name, features, client, server, count })
}

/// Puts `over` on top of `base`, key by key; `key` is where they stand.
fn overlay(base: &mut Value, over: Value, key: &str) -> Result<()> {
    let staged = base.get("kind").is_some();
    match (base, over) {
        // A count is one of several kinds: two of them do not mix.
        (base, over) if key == "count" => *base = over,
        // A stage by its bare name has that kind's defaults.
        (base, Value::Text(kind)) if staged => *base = Value::Table(vec![("kind".into(), Value::Text(kind))]),
        (Value::Table(base), Value::Table(over)) => {
            // Settings of one kind mean nothing to another.
            let kind =
                |table: &[(String, Value)]| table.iter().find(|(key, _)| key == "kind").map(|(_, kind)| kind.clone());
            if let (Some(old), Some(new)) = (kind(base), kind(&over))
                && old != new
            {
                *base = over;
                return Ok(());
            }
            for (name, value) in over {
                let within = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                match base.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, old)) => overlay(old, value, &within)?,
                    None => base.push((name, value)),
                }
            }
        }
        // serde would read a list as a stage's kind and settings in their order.
        (_, over) if staged => {
            return Err(Error::config(key, format!("expected a kind's name or a table, got {}", over.kind())));
        }
        (base, over) => *base = over,
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::error::Position;
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
            ("preset = \"fedhds_shared\"\ncount = { budget = 0 }", "count.budget", "at least 1"),
            ("preset = \"fedhds_shared\"\ncount = { budget = -4 }", "count.budget", "`-4`"),
            ("preset = \"fedhds_shared\"\ncount = { number = 4 }", "count.number", "unknown variant `number`"),
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
            ("preset = \"fedhd\"", "preset", "did you mean `fedhds`?"),
            ("fedhd", "method", "expected TOML"),
            ("preset = 3", "preset", "expected a name, got a number"),
            ("preset = \"fedhds\"\nclinet.noise = \"drop\"", "clinet", "did you mean `client`?"),
            ("preset = \"fedhds\"\nclient = []", "client", "expected a table, got a list"),
            ("preset = \"fedhds\"\nclient = \"drop\"", "client", "expected a table, got the text `drop`"),
            ("preset = \"fedhds\"\nclient.noise = \"drp\"", "client.noise", "did you mean `drop`?"),
            ("preset = \"fedhds\"\nclient.layer_norm = 1", "client.layer_norm", "expected true or false, got `1`"),
            ("preset = \"fedhds\"\nclient.shared_dims = -1", "client.shared_dims", "got `-1`"),
            ("preset = \"fedhds\"\nclient.shared_dims = 4294967296", "client.shared_dims", "got `4294967296`"),
            ("preset = \"fedhds\"\nclient.reducer = [\"pca\", 3]", "client.reducer", "got a list"),
            ("preset = \"fedhds\"\nclient.reducer = 3", "client.reducer", "got a number"),
            ("preset = \"fedhds\"\nclient.reducer.perplexity = \"30\"", "client.reducer.perplexity", "a number, got"),
            ("preset = \"fedhds\"\nclient.reducer.perplexity = nan", "client.reducer", "perplexity"),
            ("preset = \"fedhds\"\nclient.reducer.n_components = -1", "client.reducer.n_components", "`-1`"),
            (
                "preset = \"fedhds\"\nclient.reducer.n_components = 99999999999999999999",
                "client.reducer.n_components",
                "99999999999999999999",
            ),
            (
                "preset = \"fedhds\"\nclient.reducer = { kind = \"pca\", perplexity = 3 }",
                "client.reducer.perplexity",
                "",
            ),
            (
                "preset = \"fedhds\"\nclient.reducer = { kind = \"kernel_pca\", kernel = \"poly\", degre = 2 }",
                "client.reducer.degre",
                "did you mean `degree`?",
            ),
            (
                "preset = \"fedhds\"\nserver.clusterer.kind = \"hdbscn\"",
                "server.clusterer.kind",
                "did you mean `hdbscan`?",
            ),
            (
                "preset = \"fedhds\"\nserver.clusterer = { min_cluster_size = 2.5 }",
                "server.clusterer.min_cluster_size",
                "`2.5`",
            ),
            ("preset = \"fedhds_shared\"\ncount = { per_round = [3, -1] }", "count.per_round[1]", "`-1`"),
            ("preset = \"fedhds_shared\"\ncount = { budget = 1, ratio = 0.5 }", "count", "`budget`, `ratio`"),
            ("preset = \"fedhds_shared\"\ncount = []", "count", "got a list"),
        ];
        for (text, key, word) in cases {
            let (got, message) = key_of(text);
            assert!(got == key && message.contains(word), "{text}\nexpected `{key}`: {word}\ngot `{got}`: {message}");
        }
    }

    #[test]
    fn line_and_column_are_those_of_the_key() {
        for (text, line, column) in [
            ("preset = \"fedhds\"\n[client]\nnois = \"drop\"", 3, 1),
            ("preset = \"fedhds\"\n[client]\n  reducer = { kind = \"tsne\", perplexity = \"x\" }", 3, 30),
            ("preset = \"fedhds\"\n[client]\nreducer = \"umap\"", 3, 1),
            // Out of range, and options that do not fit together.
            ("preset = \"fedhds\"\n\nclient.shared_dims = 0", 3, 8),
            ("preset = \"random\"\ncount = \"per_cluster\"", 2, 1),
            ("preset = [", 1, 11),
        ] {
            match MethodConfig::from_toml_str(text).unwrap_err() {
                Error::Config { position, .. } => assert_eq!(position, Some(Position { line, column }), "{text}"),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_method_is_a_name_json_or_toml() {
        let expected = MethodConfig::from_toml_str("preset = \"random\"\ncount = { budget = 3 }").unwrap();
        for text in
            ["\"preset\" = \"random\"\ncount = { budget = 3 }", " {\"preset\": \"random\", \"count\": {\"budget\": 3}}"]
        {
            assert_eq!(MethodConfig::from_text(text).unwrap(), expected, "{text}");
        }
        // An option that is null is one that is not given.
        let null = r#"{"preset": "random", "name": null, "client": {"noise": null}}"#;
        for text in ["random", "\"random\"", null] {
            assert_eq!(MethodConfig::from_text(text).unwrap(), Preset::Random.config(), "{text}");
        }
        for (text, key, word) in [
            ("randon", "preset", "did you mean `random`?"),
            ("\"randon\"", "preset", "did you mean `random`?"),
            ("null", "preset", "got `null`"),
            ("{}", "preset", "got none"),
            ("{\"preset\": null}", "preset", "got none"),
            ("{\"preset\": \"random\"", "method", "expected JSON"),
            ("{\"preset\": \"random\", \"count\": {\"budget\": NaN}}", "method", "expected JSON"),
            ("{\"preset\": \"random\", \"preset\": \"all\"}", "method", "twice"),
            (
                "{\"preset\": \"fedhds\", \"client\": {\"reducer\": {\"angle\": [1]}}}",
                "client.reducer.angle",
                "got a list",
            ),
            ("{\"preset\": \"fedhds\", \"client\": [1]}", "client", "got a list"),
            ("", "preset", "got none"),
        ] {
            match MethodConfig::from_text(text).unwrap_err() {
                Error::Config { key: got, message, .. } => {
                    assert!(got == key && message.contains(word), "{text}\n`{got}`: {message}");
                }
                other => panic!("{other}"),
            }
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
