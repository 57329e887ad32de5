//! Run records from folders: what cannot be read is named and left out.

use super::LeftOut;
use crate::error::{Error, Result};
use crate::experiment::run_record::RunRecord;
use crate::simulate::RunIdentity;
use std::path::{Path, PathBuf};

/// What a run record is called.
const RECORD: &str = "run.json";
/// Folders below a given one that are looked into: `<condition>/<method>/seed-<n>` of several experiments, and some more.
const DEPTH: usize = 6;
/// The largest file that is read, in bytes: far above that of any run, and below what would fill the memory.
const MOST_BYTES: u64 = 1 << 28;

/// The runs of some folders, and the files that are none.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) runs: Vec<(PathBuf, RunRecord)>,
    pub(super) left_out: Vec<LeftOut>,
}

/// The folders in words.
pub(super) fn listed(folders: &[&Path]) -> String {
    match folders {
        [] => "no folder".into(),
        folders => folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

/// Reads every run record in these folders, in their order and within one by path; a file that two of them hold is read once.
///
/// # Errors
/// [`Error::Io`] for a folder that is not there or cannot be listed.
pub(super) fn load(folders: &[&Path]) -> Result<Loaded> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let kind = std::fs::metadata(folder).map_err(|e| Error::io(folder, e))?;
        let mut found = Vec::new();
        match kind.is_dir() {
            true => find(folder, DEPTH, &mut found)?,
            false => found.push(folder.to_path_buf()),
        }
        found.sort();
        files.extend(found);
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    let mut loaded = Loaded::default();
    for file in files {
        match read(&file) {
            Ok(run) => loaded.runs.push((file, run)),
            Err(reason) => loaded.left_out.push(LeftOut { file, reason }),
        }
    }
    Ok(loaded)
}

/// Links to folders are not followed: they may lead in circles.
fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let kind = entry.file_type().map_err(|e| Error::io(entry.path(), e))?;
        if kind.is_dir() && depth > 0 {
            find(&entry.path(), depth - 1, found)?;
        } else if !kind.is_dir() && entry.file_name() == RECORD {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The record without what the report does not say: of thousands of runs no more is held in memory than is needed.
fn read(file: &Path) -> Result<RunRecord, String> {
    let size = std::fs::metadata(file).map_err(|e| e.to_string())?.len();
    if size > MOST_BYTES {
        return Err(format!("expected a run record of at most {MOST_BYTES} bytes, got {size}"));
    }
    let mut run = RunRecord::load(file).map_err(|error| match error {
        Error::Checkpoint { message, .. } => message,
        other => other.to_string(),
    })?;
    run.identity = RunIdentity::default();
    for score in &mut run.scores {
        score.output = None;
    }
    for client in run.rounds.iter_mut().flat_map(|round| &mut round.clients) {
        client.groups = Vec::new();
        client.reasons = Vec::new();
        client.refused_reasons = Vec::new();
    }
    Ok(run)
}
