//! What an experiment ends with.

use super::grid::{self, Grid};
use super::table::Table;
use crate::error::{Error, Result};
use crate::simulate::atomic_write;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a finished experiment left.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The results.
    pub results: Results,
    /// The folder of run records, table and plots.
    pub out: PathBuf,
    /// The runs that failed; everything else is finished. Run again, they are tried again.
    pub failed: Vec<FailedRun>,
}

/// The results of an experiment: of a grid, or of one federation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Results {
    /// Methods on one federation.
    Table(Table),
    /// Conditions and methods.
    Grid(Grid),
}

/// A run that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRun {
    /// The experiment's name.
    pub experiment: String,
    /// The condition; none in an experiment without conditions.
    pub condition: Option<String>,
    /// The method; none where the clients of this condition and seed could not be made, so that every method failed.
    pub method: Option<String>,
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub error: String,
}

impl Finished {
    /// The same where nothing failed: for those who would rather have an error than a table with gaps.
    ///
    /// # Errors
    /// [`Error::Stage`] that names how many runs failed, and the first of them.
    pub fn whole(self) -> Result<Self> {
        let Some(first) = self.failed.first() else { return Ok(self) };
        let (failed, out) = (self.failed.len(), self.out.display());
        let message =
            format!("{failed} runs failed, all others are finished and their table is in {out}; the first: {first}");
        Err(Error::stage("experiment", message))
    }
}

impl Results {
    /// The table of an experiment without conditions.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Results::Table(table) => Some(table),
            Results::Grid(_) => None,
        }
    }

    /// The grid of an experiment with conditions, or of several experiments.
    pub fn grid(&self) -> Option<&Grid> {
        match self {
            Results::Table(_) => None,
            Results::Grid(grid) => Some(grid),
        }
    }

    /// The results for a terminal.
    pub fn to_text(&self) -> String {
        match self {
            Results::Table(table) => table.to_text(),
            Results::Grid(grid) => grid.to_text(),
        }
    }

    /// The results as Markdown.
    pub fn to_markdown(&self) -> String {
        match self {
            Results::Table(table) => table.to_markdown(),
            Results::Grid(grid) => grid.to_markdown(),
        }
    }

    /// Writes `<name>.txt`, `<name>.md`, `<name>.json`, and of a grid `<name>.svg`.
    pub(super) fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        atomic_write(path("txt"), self.to_text().as_bytes())?;
        atomic_write(path("md"), self.to_markdown().as_bytes())?;
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::input("table", "finite numbers", e))?;
        atomic_write(path("json"), &json)?;
        match self.grid() {
            Some(grid) => atomic_write(path("svg"), grid::svg(grid)?.as_bytes()),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for FailedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let condition = self.condition.as_ref().map_or(String::new(), |condition| format!("{condition}, "));
        let method = self.method.as_deref().unwrap_or("every method");
        write!(f, "{condition}{method}, seed {}: {}", self.seed, self.error)
    }
}
