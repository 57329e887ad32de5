//! The gate's table as text: for a terminal and as Markdown.

use super::super::layout::Layout;
use super::record::ScoredRecords;
use super::table::{GateRow, GateTable};
use crate::metrics::Share;
use crate::protocol::GateAnswer;

/// What stands above the second table.
const SCORES: &str = "Scores ln(decoy loss) - ln(own loss) of all seeds, in thousandths, by where they lie; and twice the share below 0:";

impl GateTable {
    /// The table for a terminal, columns aligned.
    pub fn to_text(&self) -> String {
        self.written(Layout::to_text, "", "  ")
    }

    /// The table as Markdown.
    pub fn to_markdown(&self) -> String {
        self.written(Layout::to_markdown, "\n", "- ")
    }

    fn written(&self, write: impl Fn(&Layout) -> String, gap: &str, bullet: &str) -> String {
        let mut text = write(&self.opened());
        let scores = self.scores();
        if !scores.is_empty() {
            text.push_str(&format!("\n{SCORES}\n{gap}{}", write(&scores)));
        }
        text.push('\n');
        let legend = "open: with Wilson's 95% interval; estimate and truth: shares of bad records, the truth of all records that clients \
                      hold and of those that were scored; error: mean absolute difference over the seeds, and how many are within .1; \
                      passes: over whole records, of a client that was asked, once";
        text.extend(
            std::iter::once(legend).chain(self.notes.iter().map(String::as_str)).map(|n| format!("{bullet}{n}\n")),
        );
        text
    }

    /// A table whose first columns say which seeds a row is of: the condition and the method, each where it tells rows apart.
    fn layout(&self, columns: &[&str]) -> Layout {
        let (conditions, methods) = self.told();
        let places = [("condition", conditions), ("method", methods)];
        let header: Vec<&str> = places.into_iter().filter(|(_, told)| *told).map(|(name, _)| name).collect();
        let names = header.len();
        Layout::new(&header.into_iter().chain(columns.iter().copied()).collect::<Vec<_>>()).names(names)
    }

    fn place(&self, row: &GateRow) -> Vec<String> {
        let (conditions, methods) = self.told();
        let mut cells = Vec::new();
        cells.extend(conditions.then(|| row.condition.clone().unwrap_or_else(|| "-".into())));
        cells.extend(methods.then(|| row.method.clone()));
        cells
    }

    fn told(&self) -> (bool, bool) {
        let conditions = self.rows.iter().any(|row| row.condition.is_some());
        let several = self.rows.iter().any(|row| self.rows.first().is_some_and(|first| first.method != row.method));
        (conditions, several || !conditions)
    }

    fn opened(&self) -> Layout {
        let mut layout = self.layout(&[
            "seeds",
            "open at the end [95%]",
            "open in any round [95%]",
            "estimate",
            "truth (scored)",
            "error (within .1)",
            "scored",
            "abstained",
            "passes",
        ]);
        for row in &self.rows {
            let mut cells = self.place(row);
            let truth = row.truth.as_ref();
            let scored = |share: f64| format!(" ({share:.3})");
            cells.extend([
                row.seeds.to_string(),
                share(&row.open_at_end),
                share(&row.ever_open),
                number(row.estimate),
                truth.map_or("-".into(), |t| format!("{:.3}{}", t.share, t.scored.map_or(String::new(), scored))),
                truth
                    .and_then(|t| Some((t.error?, t.near?)))
                    .map_or("-".into(), |(error, near)| format!("{error:.3} ({} of {})", near.count, near.of)),
                format!("{:.0}", row.counted),
                format!("{:.1}", row.abstained),
                format!("{:.1}", row.passes),
            ]);
            layout.push(cells);
        }
        layout
    }

    fn scores(&self) -> Layout {
        let edges = GateAnswer::EDGES;
        let first = format!("< {}", edges[0]);
        let mut columns = vec!["records".to_owned(), "scored".to_owned(), "doubled".to_owned(), first];
        columns.extend(edges.iter().map(|edge| format!("from {edge}")));
        let mut layout = self.layout(&columns.iter().map(String::as_str).collect::<Vec<_>>());
        for row in &self.rows {
            let known = row.truth.is_some();
            let kinds = [(if known { "good" } else { "all" }, &row.good), ("bad", &row.bad)];
            for (name, records) in kinds.into_iter().filter(|(_, records)| records.records > 0) {
                let mut cells = self.place(row);
                cells.extend([name.to_owned(), records.records.to_string(), number(records.doubled_share())]);
                cells.extend(thousandths(records));
                layout.push(cells);
            }
        }
        layout
    }
}

fn thousandths(records: &ScoredRecords) -> Vec<String> {
    let all = records.bins.iter().sum::<u64>().max(1) as f64;
    records.bins.iter().map(|bin| format!("{:.0}", 1000.0 * *bin as f64 / all)).collect()
}

fn share(share: &Share) -> String {
    let [low, high] = share.interval;
    format!("{:.3} [{low:.3}, {high:.3}]", share.share)
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}
