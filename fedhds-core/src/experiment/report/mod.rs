//! The report that people read: one page of all runs, and every table of it as CSV and Markdown.
//!
//! [`report()`] reads run records and nothing else, so that it can be made of any runs at any time; equal records give equal bytes.

mod about;
mod chart;
mod cost;
mod curves;
mod headline;
mod heat;
mod layers;
mod load;
mod looks;
mod map;
mod page;
mod places;
mod study;
mod table;
mod tables;
mod text;

use crate::error::{Error, Result};
use crate::simulate::atomic_write;
use std::path::{Path, PathBuf};
use study::Study;
use table::Table;

/// What the page is called in its folder.
const PAGE: &str = "report.html";

/// A report that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The page.
    pub page: PathBuf,
    /// Runs that it is of, the untuned models' among them.
    pub runs: usize,
    /// Files that it could not be made of; the page names them too.
    pub left_out: Vec<LeftOut>,
}

/// A file that a report left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file, as it was found.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

/// Makes the report of all runs in these folders: of experiments, of single runs, or their `run.json` themselves.
///
/// `out`, a folder, gets `report.html`, which needs no other file and no network, and each of its tables as `<table>.csv` and `<table>.md`.
/// A record that is damaged, of another schema or measured on other test records than the rest of its experiment is named and left out.
///
/// # Errors
/// [`Error::Input`] where there is no run to report, with the first file that was left out; [`Error::Io`] for a folder that is not there, or
/// that cannot be written.
pub fn report<P: AsRef<Path>>(folders: &[P], out: impl AsRef<Path>) -> Result<Reported> {
    let out = out.as_ref();
    let folders: Vec<&Path> = folders.iter().map(AsRef::as_ref).collect();
    let mut loaded = load::load(&folders)?;
    let studies = Study::all(std::mem::take(&mut loaded.runs), &mut loaded.left_out);
    let runs: usize = studies.iter().map(Study::count).sum();
    if runs == 0 {
        let first = loaded.left_out.first().map_or(String::new(), |first| format!("; left out: {first}"));
        let got = format!("none in {}{first}", load::listed(&folders));
        return Err(Error::input("runs", "at least one run record (`run.json`) that can be read", got));
    }
    let tables = tables::all(&studies, &loaded.left_out)?;
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    write_tables(out, &tables)?;
    let page = out.join(PAGE);
    atomic_write(&page, page::html(&studies, &tables, &loaded.left_out).as_bytes())?;
    Ok(Reported { page, runs, left_out: loaded.left_out })
}

/// Writes every table, and removes what an earlier report left of tables that this one does not have.
fn write_tables(out: &Path, tables: &[Table]) -> Result<()> {
    for id in tables::IDS {
        let files = ["csv", "md"].map(|end| out.join(format!("{id}.{end}")));
        match tables.iter().find(|table| table.id == id) {
            Some(table) => {
                let [csv, markdown] = files;
                atomic_write(csv, &table.to_csv()?)?;
                atomic_write(markdown, table.to_markdown().as_bytes())?;
            }
            None => {
                for file in files.iter().filter(|file| file.exists()) {
                    std::fs::remove_file(file).map_err(|e| Error::io(file, e))?;
                }
            }
        }
    }
    Ok(())
}
