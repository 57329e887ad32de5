//! Which methods of a server's a client runs.

use super::config::{ClientConfig, FeatureSource, Frame, MethodConfig};
use super::kinds::{ClientClusterer, ReducerConfig};
use super::name::Preset;
use super::options::{Copies, Noise, Regroup, Ungrouped};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The methods that a client runs where a server names one and the client has pinned none: presets by name, of which a server may change
/// what asks for no more work than these limits, and shows no more than the preset does.
///
/// The server's own part of a method is the server's. On the client it may not take away what protects records: not the kind of features,
/// frame, reducer or clusterer, not the least group size, near copies that count once, groups that are made once, or an upload's steps; it
/// may add them. Scores stay on the client, and noise becomes groups of its own only where groups have a least size.
///
/// ```
/// use fedhds_core::method::{AllowedMethods, MethodConfig};
///
/// let allowed = AllowedMethods::default();
/// allowed.check(&MethodConfig::from_text("preset = \"fedhds_robust\"\ncount = { budget = 20 }")?)?;
/// let greedy = MethodConfig::from_text("preset = \"fedhds_coverage\"\nclient.clusterer.n_clusters = 1048576")?;
/// assert!(allowed.check(&greedy).unwrap_err().to_string().contains("client.clusterer.n_clusters: expected at most 64"));
/// # Ok::<(), fedhds_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AllowedMethods {
    /// Presets; default all but `global_select`, which uploads the features of every record.
    pub presets: Vec<Preset>,
    /// The most groups that k-means makes; default 64.
    pub max_clusters: usize,
    /// The most starts of k-means; default 10.
    pub max_init: usize,
    /// The most iterations of t-SNE and of a start of k-means; default 2,000.
    pub max_iter: u64,
    /// The most columns that a reducer gives; default 8. Where the frame is the client's own they are what a centroid shows.
    pub max_components: usize,
    /// The most coordinates of the shared frame; default 512.
    pub max_shared_dims: u32,
}

impl Default for AllowedMethods {
    fn default() -> Self {
        Self {
            presets: Preset::ALL.into_iter().filter(|preset| *preset != Preset::GlobalSelect).collect(),
            max_clusters: 64,
            max_init: 10,
            max_iter: 2000,
            max_components: 8,
            max_shared_dims: 512,
        }
    }
}

/// The largest perplexity, and the least angle of Barnes and Hut, that a server may ask for: below, t-SNE takes all pairs of records.
const MAX_PERPLEXITY: f64 = 200.0;
const MIN_ANGLE: f64 = 0.2;

impl AllowedMethods {
    /// Whether a client runs this method.
    ///
    /// # Errors
    /// [`Error::Protocol`] that names the first key that it does not agree to.
    pub fn check(&self, method: &MethodConfig) -> Result<()> {
        if !self.presets.contains(&method.preset) {
            let names: Vec<&str> = self.presets.iter().map(|preset| preset.name()).collect();
            return refuse(
                "preset",
                format!("one of {}, which this client runs", names.join(", ")),
                method.preset.name(),
            );
        }
        let preset = method.preset.config();
        let (ours, theirs) = (&preset.client, &method.client);
        if (preset.features, method.features) != (FeatureSource::Model, FeatureSource::Proxy) {
            same("features", &preset.features, &method.features)?;
        }
        same("client.frame", &ours.frame, &theirs.frame)?;
        if theirs.frame == Frame::Shared {
            at_most("client.shared_dims", u64::from(theirs.shared_dims), u64::from(self.max_shared_dims))?;
        }
        self.check_reducer(&ours.reducer, &theirs.reducer)?;
        self.check_clusterer(&ours.clusterer, &theirs.clusterer)?;
        check_protection(ours, theirs)
    }

    fn check_reducer(&self, ours: &ReducerConfig, theirs: &ReducerConfig) -> Result<()> {
        let none = |reducer: &ReducerConfig| matches!(reducer, ReducerConfig::None(_));
        if none(ours) != none(theirs) {
            let expected = if none(ours) { "`none`, as the preset has it" } else { "a reducer, as the preset has one" };
            return refuse("client.reducer", expected.into(), if none(theirs) { "`none`" } else { "a reducer" });
        }
        let components = match theirs {
            ReducerConfig::None(_) => 0,
            ReducerConfig::Tsne(config) => {
                at_most("client.reducer.max_iter", config.max_iter as u64, self.max_iter)?;
                if config.perplexity > MAX_PERPLEXITY {
                    return refuse("client.reducer.perplexity", format!("at most {MAX_PERPLEXITY}"), config.perplexity);
                }
                if config.angle < MIN_ANGLE {
                    return refuse("client.reducer.angle", format!("at least {MIN_ANGLE}"), config.angle);
                }
                config.n_components
            }
            ReducerConfig::Pca(config) => config.n_components,
            ReducerConfig::KernelPca(config) => config.n_components,
        };
        at_most("client.reducer.n_components", components as u64, self.max_components as u64)
    }

    fn check_clusterer(&self, ours: &ClientClusterer, theirs: &ClientClusterer) -> Result<()> {
        match (ours, theirs) {
            (ClientClusterer::None(_), ClientClusterer::None(_)) => Ok(()),
            (ClientClusterer::Hdbscan(_), ClientClusterer::Hdbscan(_)) => Ok(()),
            (ClientClusterer::Each(_), ClientClusterer::Each(_)) => Ok(()),
            (ClientClusterer::Kmeans(ours), ClientClusterer::Kmeans(theirs)) => {
                at_most("client.clusterer.n_clusters", theirs.n_clusters as u64, self.max_clusters as u64)?;
                at_most("client.clusterer.n_init", theirs.n_init as u64, self.max_init as u64)?;
                at_most("client.clusterer.max_iter", theirs.max_iter, self.max_iter)?;
                let (least, got) = (ours.min_rows_per_cluster, theirs.min_rows_per_cluster);
                at_least("client.clusterer.min_rows_per_cluster", got as u64, least as u64)
            }
            _ => refuse("client.clusterer", "the preset's kind".into(), "another"),
        }
    }
}

/// Whether what protects records is still there, or more of it.
fn check_protection(ours: &ClientConfig, theirs: &ClientConfig) -> Result<()> {
    at_least("client.min_group_size", theirs.min_group_size as u64, ours.min_group_size as u64)?;
    // Groups of one record are shown where nothing sets a least size.
    let alone = theirs.min_group_size < 2;
    if theirs.noise != ours.noise && theirs.noise == Noise::Singletons && alone {
        return refuse("client.noise", "`drop`, as `client.min_group_size` is 1".into(), "`singletons`");
    }
    if theirs.ungrouped != ours.ungrouped && theirs.ungrouped == Ungrouped::OneGroup && alone {
        return refuse("client.ungrouped", "`skip`, as `client.min_group_size` is 1".into(), "`one_group`");
    }
    if theirs.share_scores && !ours.share_scores {
        return refuse("client.share_scores", "`false`".into(), "`true`");
    }
    if theirs.regroup != ours.regroup && theirs.regroup == Regroup::EachRound {
        return refuse("client.regroup", "`once`, as the preset has it".into(), "`each_round`");
    }
    if theirs.near_copies != ours.near_copies && theirs.near_copies == Copies::Keep {
        return refuse("client.near_copies", "`collapse`, as the preset has it".into(), "`keep`");
    }
    let (upload, steps) = (&theirs.upload, &ours.upload);
    let (size, least) = (upload.min_group_size, steps.min_group_size);
    at_least("client.upload.min_group_size", u64::from(size), u64::from(least))?;
    if let Some(most) = steps.max_norm
        && upload.max_norm.is_none_or(|norm| norm > most)
    {
        return refuse("client.upload.max_norm", format!("at most {most}"), "a larger one, or none");
    }
    if upload.noise_std < steps.noise_std {
        return refuse("client.upload.noise_std", format!("at least {}", steps.noise_std), upload.noise_std);
    }
    Ok(())
}

fn refuse(key: &str, expected: String, got: impl ToString) -> Result<()> {
    Err(Error::protocol(format!("method: {key}"), expected, got))
}

fn same<T: PartialEq + Serialize>(key: &str, ours: &T, theirs: &T) -> Result<()> {
    let shown = |value: &T| serde_json::to_string(value).unwrap_or_default();
    match ours == theirs {
        true => Ok(()),
        false => refuse(key, format!("{}, as the preset has it", shown(ours)), shown(theirs)),
    }
}

fn at_most(key: &str, got: u64, most: u64) -> Result<()> {
    if got > most { refuse(key, format!("at most {most}, which this client agrees to"), got) } else { Ok(()) }
}

fn at_least(key: &str, got: u64, least: u64) -> Result<()> {
    if got < least { refuse(key, format!("at least {least}, as the preset has it"), got) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn method(preset: &str, settings: &str) -> MethodConfig {
        MethodConfig::from_text(&format!("preset = \"{preset}\"\n{settings}")).unwrap()
    }

    #[test]
    fn presets_and_what_the_paper_varies_are_allowed() {
        let allowed = AllowedMethods::default();
        for preset in Preset::ALL {
            let checked = allowed.check(&preset.config());
            assert_eq!(checked.is_ok(), preset != Preset::GlobalSelect, "{preset}");
        }
        let willing = AllowedMethods { presets: Preset::ALL.to_vec(), ..AllowedMethods::default() };
        willing.check(&Preset::GlobalSelect.config()).unwrap();
        for (preset, settings) in [
            ("fedhds", "client.clusterer.min_cluster_size = 2\nclient.upload.min_group_size = 3"),
            ("fedhds", "client.reducer = \"pca\""),
            ("fedhds_turbo", "client.reducer = \"kernel_pca\"\nserver.noise = \"singletons\""),
            ("fedhds_shared", "client.noise = \"singletons\"\ncount = { budget = { tokens = 900 } }"),
            ("fedhds_coverage", "client.clusterer.n_clusters = 12\nclient.regroup = \"once\""),
            ("fedhds_coverage", "features = \"proxy\""),
            ("fedhds", "client.layers = \"last\""),
            ("fedhds_robust", "client.min_group_size = 9\nclient.upload = { noise_std = 0.1, max_norm = 1.0 }"),
            ("stratified", "count = { budget = 3 }"),
        ] {
            allowed.check(&method(preset, settings)).unwrap();
        }
    }

    #[test]
    fn what_asks_for_more_work_or_shows_more_is_refused_by_its_key() {
        let huge = u32::MAX;
        let cases = [
            ("fedhds_coverage", "client.clusterer.n_clusters = 1048576".into(), "client.clusterer.n_clusters"),
            ("fedhds_coverage", format!("client.clusterer.n_init = {huge}"), "client.clusterer.n_init"),
            ("fedhds_coverage", "client.clusterer.max_iter = 1000000000".into(), "client.clusterer.max_iter"),
            ("fedhds_coverage", "client.min_group_size = 1".into(), "client.min_group_size"),
            ("fedhds_coverage", "client.min_group_size = 2".into(), "client.min_group_size"),
            ("fedhds_coverage", "client.shared_dims = 65536".into(), "client.shared_dims"),
            ("fedhds_coverage", "client.frame = \"per_client\"".into(), "client.frame"),
            ("fedhds_coverage", "client.share_scores = true".into(), "client.share_scores"),
            ("fedhds_coverage", "client.reducer = \"tsne\"".into(), "client.reducer"),
            ("fedhds_coverage", "features = \"text\"\nclient.layer_norm = false".into(), "features"),
            ("fedhds_turbo", "features = \"model\"".into(), "features"),
            (
                "fedhds_robust",
                "client.clusterer.min_rows_per_cluster = 1".into(),
                "client.clusterer.min_rows_per_cluster",
            ),
            ("fedhds_robust", "client.near_copies = \"keep\"".into(), "client.near_copies"),
            (
                "fedhds_robust",
                "client.regroup = \"each_round\"\nclient.repeats = \"avoid\"\nserver.gate = \"none\"".into(),
                "client.regroup",
            ),
            ("fedhds", "client.reducer.max_iter = 1000000000".into(), "client.reducer.max_iter"),
            ("fedhds", "client.reducer.perplexity = 1e12".into(), "client.reducer.perplexity"),
            ("fedhds", "client.reducer.angle = 0.0".into(), "client.reducer.angle"),
            ("fedhds", "client.reducer = \"none\"".into(), "client.reducer"),
            (
                "fedhds",
                "client.reducer = { kind = \"pca\", n_components = 65536 }".into(),
                "client.reducer.n_components",
            ),
            ("fedhds", "client.clusterer = { kind = \"kmeans\", n_clusters = 1048576 }".into(), "client.clusterer"),
            ("fedhds", "client.noise = \"singletons\"".into(), "client.noise"),
            ("fedhds", "client.ungrouped = \"one_group\"".into(), "client.ungrouped"),
        ];
        let allowed = AllowedMethods::default();
        for (preset, settings, key) in cases {
            let error = allowed.check(&method(preset, &settings)).unwrap_err().to_string();
            assert!(error.contains(&format!("method: {key}: expected")), "{preset}, {settings}\n{error}");
        }
        let few = AllowedMethods { presets: vec![Preset::FedhdsRobust, Preset::Random], ..allowed };
        let error = few.check(&Preset::Fedhds.config()).unwrap_err().to_string();
        assert!(error.contains("method: preset: expected one of fedhds_robust, random"), "{error}");
    }
}
