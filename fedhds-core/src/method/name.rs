//! The methods by name.

use crate::error::{Error, Result};
use crate::parse;
use serde::{Deserialize, Serialize};

/// A method by name: where a configuration starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The paper, faithfully: features of the tuned model, t-SNE and HDBSCAN on each client, HDBSCAN over the clients' own
    /// coordinates, one record per cluster. The count is what the clustering makes of it, and may be none in a round.
    Fedhds,
    /// The paper's Turbo: the same with the features of a small frozen proxy, which are extracted once.
    FedhdsTurbo,
    /// The same local groups; their centroids are mean features under one projection that all clients share, after layer-norm
    /// per layer; the server's k-means meets the budget. Coordinates of different t-SNEs cannot be compared, and a count that
    /// varies by seed cannot be planned: this mends both.
    FedhdsShared,
    /// Local k-means, the shared projection, and greedy facility location to the budget, weighted by group size: no record is
    /// noise, and nothing is fitted that could fail on few records.
    FedhdsCoverage,
    /// For data as real federations have them, with repeats, long tails and bad answers: groups of the records' own text, made once; a
    /// server that remembers the groups of all clients and what has trained, and takes what is least covered; near copies count once; what
    /// is bad is left out where enough of it is. Needs no model for its features.
    FedhdsRobust,
    /// Records of the round's clients, drawn uniformly at random to the budget: the paper's baseline.
    Random,
    /// The same, spread over the round's clients. Where one client is one task this explains what selection
    /// gains, so selection must be measured against it.
    Stratified,
    /// Records of the round's clients by their perplexity under the untuned model, those around each client's median first; as many of each
    /// client as `random` takes. The paper's baseline; needs a scorer that gives `loss`.
    Perplexity,
    /// Each record is a group of its own, so that the server's k-means sees all records of the round: the paper's ablation GlobalSelect.
    /// It uploads every record's features.
    GlobalSelect,
    /// Every record of every client of the round: FedIT.
    All,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 10] = [
        Preset::Fedhds,
        Preset::FedhdsTurbo,
        Preset::FedhdsShared,
        Preset::FedhdsCoverage,
        Preset::FedhdsRobust,
        Preset::Random,
        Preset::Stratified,
        Preset::Perplexity,
        Preset::GlobalSelect,
        Preset::All,
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Fedhds => "fedhds",
            Preset::FedhdsTurbo => "fedhds_turbo",
            Preset::FedhdsShared => "fedhds_shared",
            Preset::FedhdsCoverage => "fedhds_coverage",
            Preset::FedhdsRobust => "fedhds_robust",
            Preset::Random => "random",
            Preset::Stratified => "stratified",
            Preset::Perplexity => "perplexity",
            Preset::GlobalSelect => "global_select",
            Preset::All => "all",
        }
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// [`Error::Config`] that lists the names, and says which may be meant.
    pub fn from_name(name: &str) -> Result<Self> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name()).collect();
            Error::config("preset", parse::unknown_name(name, &names))
        })
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
