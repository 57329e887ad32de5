//! A table of the report: on the page, as CSV and as Markdown.

use super::text::{escaped, number};
use crate::error::{Error, Result};

/// A table with its caption.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// What its files are called.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What its columns mean, in sentences.
    pub(super) note: String,
    pub(super) header: Vec<String>,
    /// Columns of text, the first ones.
    pub(super) names: usize,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Whether the page shows it; a long one has its files alone.
    pub(super) shown: bool,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Empty,
    Text(String),
    /// A value with so many decimals.
    Number(f64, usize),
    /// A mean with its interval, where it has one.
    Interval {
        mean: f64,
        ends: Option<[f64; 2]>,
        decimals: usize,
        signed: bool,
    },
    /// A p-value.
    P(f64),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Number(count as f64, 0)
    }

    pub(super) fn maybe(value: Option<f64>, decimals: usize) -> Self {
        value.map_or(Self::Empty, |value| Self::Number(value, decimals))
    }

    pub(super) fn p(value: Option<f64>) -> Self {
        value.map_or(Self::Empty, Self::P)
    }

    /// The cell as a reader sees it.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Empty => "-".into(),
            Self::Text(text) => text.clone(),
            Self::Number(value, decimals) => number(*value, *decimals, false),
            Self::P(p) if *p < 0.0001 => "<.0001".into(),
            Self::P(p) => number(*p, 4, false),
            Self::Interval { mean, ends, decimals, signed } => {
                let said = |value: f64| number(value, *decimals, *signed);
                let ends = ends.map_or(String::new(), |[low, high]| format!(" [{}, {}]", said(low), said(high)));
                format!("{}{ends}", said(*mean))
            }
        }
    }

    /// The cell as a machine reads it: one field, of an interval three.
    fn fields(&self, wide: bool) -> Vec<String> {
        let value = |value: f64| if value.is_finite() { value.to_string() } else { String::new() };
        let mut fields = match self {
            Self::Empty => vec![String::new()],
            Self::Text(text) => vec![plain(text)],
            Self::Number(number, _) | Self::P(number) => vec![value(*number)],
            Self::Interval { mean, ends, .. } => {
                let ends = ends.map(|ends| ends.map(value)).unwrap_or_default();
                std::iter::once(value(*mean)).chain(ends).collect()
            }
        };
        fields.resize(if wide { 3 } else { 1 }, String::new());
        fields
    }
}

/// A text that no spreadsheet takes for a formula.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

impl Table {
    pub(super) fn new(id: &'static str, title: &'static str, names: &[&str], columns: &[&str]) -> Self {
        let header = names.iter().chain(columns).map(|column| (*column).to_owned()).collect();
        Self { id, title, note: String::new(), header, names: names.len(), rows: Vec::new(), shown: true }
    }

    pub(super) fn noted(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Adds a row; missing cells are empty, surplus ones are left out.
    pub(super) fn push(&mut self, mut row: Vec<Cell>) {
        row.resize(self.header.len(), Cell::Empty);
        self.rows.push(row);
    }

    /// Without the columns that say nothing in any row, those of names aside.
    #[must_use]
    pub(super) fn told(mut self) -> Self {
        let says = |at: usize| self.rows.iter().any(|row| row.get(at).is_some_and(|cell| *cell != Cell::Empty));
        let keep: Vec<bool> = (0..self.header.len()).map(|at| at < self.names || says(at)).collect();
        let kept = |at: &usize| keep.get(*at).copied().unwrap_or(false);
        self.header = (0..).zip(self.header).filter(|(at, _)| kept(at)).map(|(_, column)| column).collect();
        let rows = self.rows.into_iter();
        self.rows = rows.map(|row| (0..).zip(row).filter(|(at, _)| kept(at)).map(|(_, cell)| cell).collect()).collect();
        self
    }

    /// As comma-separated values: whole numbers as they are; an interval has columns of its own.
    pub(super) fn to_csv(&self) -> Result<Vec<u8>> {
        let failed = |e: &dyn std::fmt::Display| Error::input("table", "cells that can be written", e);
        let wide = |at: usize| self.rows.iter().any(|row| matches!(row.get(at), Some(Cell::Interval { .. })));
        let wide: Vec<bool> = (0..self.header.len()).map(wide).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = self.header.iter().zip(&wide).flat_map(|(column, wide)| match wide {
            false => vec![column.clone()],
            true => vec![column.clone(), format!("{column}, low"), format!("{column}, high")],
        });
        writer.write_record(header).map_err(|e| failed(&e))?;
        for row in &self.rows {
            let fields = row.iter().zip(&wide).flat_map(|(cell, wide)| cell.fields(*wide));
            writer.write_record(fields).map_err(|e| failed(&e))?;
        }
        writer.into_inner().map_err(|e| failed(&e))
    }

    pub(super) fn to_markdown(&self) -> String {
        let safe = |cell: &str| {
            let cell = cell.replace(['\n', '\r'], " ").replace('&', "&amp;").replace('<', "&lt;");
            cell.replace('|', "\\|")
        };
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.header.iter().map(|column| safe(column)).collect());
        text += &line((0..self.header.len()).map(|at| if at < self.names { "---" } else { "---:" }.into()).collect());
        for row in &self.rows {
            text += &line(row.iter().map(|cell| safe(&cell.said())).collect());
        }
        if self.note.is_empty() { text } else { format!("{text}\n{}\n", self.note) }
    }

    pub(super) fn to_html(&self) -> String {
        let mut html = format!("<h3 id=\"t-{}\">{}</h3>\n", self.id, escaped(self.title));
        if !self.note.is_empty() {
            html += &format!("<p class=\"note\">{}</p>\n", escaped(&self.note));
        }
        html += &format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"t-{}\"><table>\n<thead><tr>",
            self.id
        );
        for (at, column) in self.header.iter().enumerate() {
            let class = if at < self.names { "" } else { " class=\"n\"" };
            html += &format!("<th scope=\"col\"{class}>{}</th>", escaped(column));
        }
        html += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            html += "<tr>";
            for (at, cell) in row.iter().enumerate() {
                let said = escaped(&cell.said());
                html += &match at < self.names {
                    true => format!("<th scope=\"row\">{said}</th>"),
                    false => format!("<td class=\"n\">{said}</td>"),
                };
            }
            html += "</tr>\n";
        }
        html + "</tbody></table></div>\n"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", "T", &["method"], &["loss", "p", "nothing"]).noted("What it means.");
        let interval = Cell::Interval { mean: -0.25, ends: Some([-0.5, 0.125]), decimals: 2, signed: true };
        table.push(vec![Cell::text("=cmd|<b>"), interval, Cell::P(0.00001)]);
        table.push(vec![Cell::text("b"), Cell::Number(f64::NAN, 1)]);
        table.told()
    }

    #[test]
    fn every_form_says_the_same_and_none_is_markup_or_a_formula() {
        let table = table();
        let csv = String::from_utf8(table.to_csv().unwrap()).unwrap();
        assert_eq!(csv, "method,loss,\"loss, low\",\"loss, high\",p\n'=cmd|<b>,-0.25,-0.5,0.125,0.00001\nb,,,,\n");
        let markdown = table.to_markdown();
        assert!(markdown.contains("| =cmd\\|&lt;b> | \u{2212}0.25 [\u{2212}0.50, +0.12] | &lt;.0001 |"), "{markdown}");
        let html = table.to_html();
        assert!(html.contains("<th scope=\"row\">=cmd|&lt;b&gt;</th>") && html.contains("&lt;.0001"), "{html}");
        assert_eq!(html.matches("<td").count(), 4, "the empty column is gone");
    }
}
