//! Which names a row of any table needs, and the method that speed-ups are over.

use super::study::Study;
use super::table::{Cell, Table};
use crate::experiment::table;

/// The label of FedIT, which speed-ups are over.
pub(super) const FEDIT: &str = table::FEDIT;

/// Which names a row needs to say which runs it is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    experiments: bool,
    conditions: bool,
}

impl Places {
    pub(super) fn of(studies: &[Study]) -> Self {
        let named = |study: &Study| study.conditions.iter().any(Option::is_some);
        Self { experiments: studies.len() > 1, conditions: studies.iter().any(named) }
    }

    /// An empty table with the columns of names before others.
    pub(super) fn table(self, id: &'static str, title: &'static str, method: &[&str], columns: &[&str]) -> Table {
        let mut names: Vec<&str> = Vec::new();
        names.extend(self.experiments.then_some("experiment"));
        names.extend(self.conditions.then_some("condition"));
        names.extend(method);
        Table::new(id, title, &names, columns)
    }

    /// The first cells of a row.
    pub(super) fn cells(self, study: &Study, condition: Option<&str>, method: &str) -> Vec<Cell> {
        let mut cells = Vec::new();
        cells.extend(self.experiments.then(|| Cell::text(&study.name)));
        cells.extend(self.conditions.then(|| condition.map_or(Cell::Empty, Cell::text)));
        cells.push(Cell::text(method));
        cells
    }
}
