//! The runs of one experiment, in the order of its configuration, and how they compare.

use super::LeftOut;
use crate::experiment::ExperimentConfig;
use crate::experiment::config::{MethodEntry, Statistics};
use crate::experiment::grid::{self, Cell, Grid};
use crate::experiment::run_record::{RunRecord, UNTUNED};
use crate::experiment::work::pairs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Notes of one experiment that the page shows, at most.
const MOST_NOTES: usize = 60;

/// An experiment in a report.
pub(super) struct Study {
    /// The experiment's name.
    pub(super) name: String,
    /// The conditions that have runs; one `None` where there are none.
    pub(super) conditions: Vec<Option<String>>,
    /// Labels of the methods that have runs.
    pub(super) methods: Vec<String>,
    /// The runs, by condition, method and seed.
    pub(super) runs: Vec<RunRecord>,
    /// The model as it came, on the same test records.
    pub(super) untuned: Option<RunRecord>,
    /// Rows and comparisons; empty where they could not be made, which a note says.
    pub(super) grid: Grid,
    /// What a reader must know.
    pub(super) notes: Vec<String>,
    /// The configuration of its first run.
    pub(super) config: serde_json::Value,
}

impl Study {
    /// The experiments of these runs, in the order in which they come. A run that does not fit the others is left out.
    pub(super) fn all(runs: Vec<(PathBuf, RunRecord)>, left_out: &mut Vec<LeftOut>) -> Vec<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut of: BTreeMap<String, Vec<(PathBuf, RunRecord)>> = BTreeMap::new();
        for (file, run) in runs {
            if !names.contains(&run.experiment) {
                names.push(run.experiment.clone());
            }
            of.entry(run.experiment.clone()).or_default().push((file, run));
        }
        names.into_iter().filter_map(|name| of.remove(&name).map(|runs| Self::new(name, runs, left_out))).collect()
    }

    fn new(name: String, files: Vec<(PathBuf, RunRecord)>, left_out: &mut Vec<LeftOut>) -> Self {
        let runs = fitting(files, left_out);
        let configs: BTreeSet<String> = runs.iter().map(|run| comparable(&run.config)).collect();
        let config = runs.first().map(|run| run.config.clone()).unwrap_or_default();
        let known: Option<ExperimentConfig> = serde_json::from_value(config.clone()).ok();
        let (untuned, mut runs): (Vec<RunRecord>, Vec<RunRecord>) =
            runs.into_iter().partition(|run| run.method == UNTUNED);
        let entries = known.as_ref().map(|known| known.methods.clone()).unwrap_or_default();
        let labels = entries.iter().map(|entry| entry.label().to_owned());
        let methods = ordered(labels, runs.iter().map(|run| run.method.clone()));
        let conditions = known.iter().flat_map(|known| known.data.conditions.iter());
        let conditions = conditions.map(|(name, _)| Some(name.to_owned()));
        let conditions = ordered(conditions, runs.iter().map(|run| run.condition.clone()));
        let place = |run: &RunRecord| {
            let condition = conditions.iter().position(|condition| *condition == run.condition);
            (condition, methods.iter().position(|method| *method == run.method), run.seed)
        };
        runs.sort_by_key(place);
        let entry = |label: &String| {
            let known = entries.iter().find(|entry| entry.label() == label);
            known.cloned().unwrap_or_else(|| MethodEntry::preset(label))
        };
        let entries: Vec<MethodEntry> = methods.iter().map(entry).collect();
        let oracle = |run: &RunRecord| entries.iter().any(|entry| entry.is_oracle() && entry.label() == run.method);
        let cells: Vec<Cell> = untuned.iter().chain(&runs).map(|run| Cell::of(run, oracle(run))).collect();
        let part = grid::Part {
            experiment: &name,
            conditions: conditions.iter().map(Option::as_deref).collect(),
            methods: methods.iter().map(String::as_str).collect(),
            pairs: pairs(&entries),
            families: &BTreeMap::new(),
            margin: known.as_ref().map_or(Statistics::default(), |known| known.statistics).margin,
            cells: &cells,
        };
        let mut notes = Vec::new();
        if configs.len() > 1 {
            notes.push(format!(
                "its runs are of {} configurations, which differ in more than seeds and methods: compare with care",
                configs.len()
            ));
        }
        let grid = grid::build(&[part], &[]).unwrap_or_else(|error| {
            notes.push(format!("its runs could not be compared: {error}"));
            Grid { rows: Vec::new(), comparisons: Vec::new(), notes: Vec::new() }
        });
        notes.extend(grid.notes.iter().map(|note| note.strip_prefix(&format!("{name}: ")).unwrap_or(note).to_owned()));
        notes.extend(runs.iter().flat_map(|run| run.notes.iter().cloned()));
        let mut said = BTreeSet::new();
        notes.retain(|note| said.insert(note.clone()));
        if notes.len() > MOST_NOTES {
            let more = notes.len() - MOST_NOTES;
            notes.truncate(MOST_NOTES);
            notes.push(format!("and {more} more, which are in the run records"));
        }
        Self { name, conditions, methods, runs, untuned: untuned.into_iter().next(), grid, notes, config }
    }

    /// How many runs there are.
    pub(super) fn count(&self) -> usize {
        self.runs.len() + usize::from(self.untuned.is_some())
    }

    /// The runs of a condition and method, by seed.
    pub(super) fn of(&self, condition: Option<&str>, method: &str) -> Vec<&RunRecord> {
        self.runs.iter().filter(|run| run.condition.as_deref() == condition && run.method == method).collect()
    }

    /// Every condition and method that has runs, with these, in order.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Option<&str>, &str, Vec<&RunRecord>)> {
        let pairs = self.conditions.iter().flat_map(|condition| self.methods.iter().map(move |m| (condition, m)));
        let groups = pairs
            .map(|(condition, method)| (condition.as_deref(), method.as_str(), self.of(condition.as_deref(), method)));
        groups.filter(|(_, _, runs)| !runs.is_empty())
    }
}

/// The runs that fit together: none twice, all measured on the test records of the first.
fn fitting(files: Vec<(PathBuf, RunRecord)>, left_out: &mut Vec<LeftOut>) -> Vec<RunRecord> {
    let ids = |run: &RunRecord| run.scores.iter().map(|score| score.id.clone()).collect::<Vec<_>>();
    let mut places: BTreeMap<(Option<String>, String, u64), PathBuf> = BTreeMap::new();
    let mut measured: Option<(PathBuf, Vec<String>)> = None;
    let mut runs = Vec::new();
    for (file, run) in files {
        let place = (run.condition.clone(), run.method.clone(), run.seed);
        if let Some(first) = places.get(&place) {
            let reason =
                format!("expected each condition, method and seed once, got one that {} is of too", first.display());
            left_out.push(LeftOut { file, reason });
            continue;
        }
        let own = ids(&run);
        match &measured {
            Some((first, known)) if !own.is_empty() && own != *known => {
                let reason = format!("expected the test records of {}, got others", first.display());
                left_out.push(LeftOut { file, reason });
                continue;
            }
            None if !own.is_empty() => measured = Some((file.clone(), own)),
            _ => {}
        }
        places.insert(place, file);
        runs.push(run);
    }
    runs
}

/// What is known of an order first, as far as it is there, then what came beside it.
fn ordered<T: PartialEq + Clone>(known: impl Iterator<Item = T>, there: impl Iterator<Item = T>) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    for item in there {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    let mut ordered: Vec<T> = known.filter(|item| found.contains(item)).collect();
    found.retain(|item| !ordered.contains(item));
    ordered.extend(found);
    ordered
}

/// A configuration without what runs of one experiment may differ in.
fn comparable(config: &serde_json::Value) -> String {
    let mut config = config.clone();
    if let Some(config) = config.as_object_mut() {
        ["out", "seeds", "methods", "workers", "report"].iter().for_each(|key| {
            config.remove(*key);
        });
    }
    config.to_string()
}
