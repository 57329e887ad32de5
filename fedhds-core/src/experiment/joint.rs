//! Several experiments in one table.

use super::counter::Counter;
use super::grid;
use super::releases::Releases;
use super::results::{Finished, Results};
use super::runner::Experiment;
use super::work::Worked;
use crate::error::{Error, Result};
use crate::types::Control;
use std::collections::BTreeSet;

/// What the files of the joint table are called, in the folder of the first experiment.
const NAME: &str = "joint";

/// Runs what is not finished of each experiment, one after the other, each in its own folder, and makes one table of all: rows are
/// experiment, condition and method. It is saved as `joint.txt`, `.md`, `.json` and `.svg` in the folder of the first. One experiment
/// alone is [`Experiment::run`].
///
/// # Errors
/// [`Error::Config`] for experiments of one name or folder; [`Error::Input`] for none; as [`Experiment::run`].
pub fn run_all(experiments: &[Experiment], control: &Control) -> Result<Finished> {
    let first = match experiments {
        [] => return Err(Error::input("experiments", "at least one", "none")),
        [one] => return one.run(control),
        [first, ..] => first,
    };
    let (mut names, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for experiment in experiments {
        let config = &experiment.config;
        if !names.insert(config.name.as_str()) {
            return Err(Error::config(
                "name",
                format!("expected a name for each experiment, got `{}` twice", config.name),
            ));
        }
        if !folders.insert(config.out.as_path()) {
            let message = format!("expected a folder for each experiment, got {} twice", config.out.display());
            return Err(Error::config("out", message));
        }
    }
    let mut counter = Counter::begin(control, experiments.iter().map(Experiment::cells).sum());
    let mut worked = Vec::new();
    for experiment in experiments {
        worked.push(experiment.work(&mut counter)?);
    }
    let mut releases = Releases::default();
    worked.iter().for_each(|worked| releases.extend(&worked.releases));
    let mut notes: Vec<String> = releases.note().into_iter().collect();
    let mut failed = Vec::new();
    for (experiment, Worked { finished, .. }) in experiments.iter().zip(&worked) {
        let name = &experiment.config.name;
        notes.extend(experiment.notes.iter().map(|note| format!("{name}: {note}")));
        notes.extend(finished.failed.iter().map(|run| format!("{name}: failed: {run}")));
        failed.extend(finished.failed.iter().cloned());
    }
    let parts: Vec<grid::Part<'_>> =
        experiments.iter().zip(&worked).map(|(experiment, worked)| experiment.part(&worked.cells)).collect();
    let results = Results::Grid(grid::build(&parts, &notes)?);
    let out = first.config.out.clone();
    results.save(&out, NAME)?;
    Ok(Finished { results, out, failed })
}
