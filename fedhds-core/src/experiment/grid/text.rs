//! The grid as text: for a terminal and as Markdown.

use super::super::layout::Layout;
use super::super::until::Costs;
use super::{Grid, GridComparison, GridRow};
use crate::method::Preset;
use crate::metrics::{SeedDifference, SeedMean};
use std::collections::BTreeSet;

/// What stands above the table of what was trained on, and above the last.
const TRAINED: &str = "What was trained on, and what it cost (means over the seeds):";
const COMPARED: &str = "Differences in loss (below 0 the method is better): over seeds, tasks fixed; and over tasks:";

impl Grid {
    /// The grid for a terminal, columns aligned.
    pub fn to_text(&self) -> String {
        self.written(Layout::to_text, "", "  ")
    }

    /// The grid as Markdown.
    pub fn to_markdown(&self) -> String {
        self.written(Layout::to_markdown, "\n", "- ")
    }

    fn written(&self, write: impl Fn(&Layout) -> String, gap: &str, bullet: &str) -> String {
        let mut text = write(&self.results());
        text.push_str(&format!("\n{TRAINED}\n{gap}{}", write(&self.trained())));
        let costs = self.costs();
        text.push_str(&costs.written(&write, gap));
        let compared = self.compared();
        if !compared.is_empty() {
            text.push_str(&format!("\n{COMPARED}\n{gap}{}", write(&compared)));
        }
        let notes = self.legend().into_iter().chain(costs.legend()).chain(self.notes.iter().cloned());
        text.push('\n');
        text.extend(notes.map(|note| format!("{bullet}{note}\n")));
        text
    }

    /// A table whose first columns say which runs a row is of.
    fn layout(&self, columns: &[&str]) -> Layout {
        let (experiments, conditions) = self.told();
        let places = [("experiment", experiments), ("condition", conditions)];
        let places: Vec<&str> = places.into_iter().filter(|(_, told)| *told).map(|(name, _)| name).collect();
        let header: Vec<&str> = places.iter().chain(columns).copied().collect();
        Layout::new(&header).names(places.len() + 1)
    }

    /// The first cells of a row.
    fn place(&self, experiment: &str, condition: Option<&str>) -> Vec<String> {
        let (experiments, conditions) = self.told();
        let mut cells = Vec::new();
        cells.extend(experiments.then(|| experiment.to_owned()));
        cells.extend(conditions.then(|| condition.unwrap_or("-").to_owned()));
        cells
    }

    /// Whether a row says its experiment, where there are several, and its condition, where there is any.
    fn told(&self) -> (bool, bool) {
        let experiments: BTreeSet<&str> = self.rows.iter().map(|row| row.experiment.as_str()).collect();
        (experiments.len() > 1, self.rows.iter().any(|row| row.condition.is_some()))
    }

    fn results(&self) -> Layout {
        let mut layout = self.layout(&[
            "method",
            "seeds",
            "loss, unseen tasks [95%]",
            "- random [95%]",
            "Holm p",
            "- stratified [95%]",
            "Holm p",
            "recovered [95%]",
        ]);
        for row in &self.rows {
            let mut cells = self.place(&row.experiment, row.condition.as_deref());
            cells.extend([row.method.clone(), row.seeds.to_string()]);
            cells.push(row.loss.as_ref().map_or("-".to_owned(), |loss| mean(loss, false)));
            for baseline in [Preset::Random, Preset::Stratified] {
                let found = self.comparison(row, baseline.name());
                cells.push(found.map_or("-".to_owned(), |c| difference(&c.over_seeds)));
                cells.push(p(found.and_then(|c| c.holm)));
            }
            cells.push(row.recovered.map_or("-".to_owned(), |recovered| {
                let interval =
                    recovered.interval.map_or(String::new(), |[low, high]| format!(" [{low:.2}, {high:.2}]"));
                format!("{:.2}{interval}", recovered.share)
            }));
            layout.push(cells);
        }
        layout
    }

    fn comparison(&self, row: &GridRow, baseline: &str) -> Option<&GridComparison> {
        let of_row = |c: &&GridComparison| {
            c.experiment == row.experiment && c.condition == row.condition && c.method == row.method
        };
        self.comparisons.iter().filter(of_row).find(|c| c.baseline == baseline)
    }

    fn trained(&self) -> Layout {
        let mut layout = self.layout(&[
            "method",
            "records (distinct)",
            "tokens",
            "tasks",
            "purity",
            "worst family",
            "passes",
            "client s",
            "bytes up",
            "bytes down",
        ]);
        for row in &self.rows {
            let mut cells = self.place(&row.experiment, row.condition.as_deref());
            let truth = row.truth.as_ref();
            let distinct = truth.map_or(String::new(), |truth| format!(" ({:.0})", truth.distinct));
            let worst = |worst: &super::WorstFamily| format!("{} {:.3}", worst.family, worst.loss);
            cells.extend([
                row.method.clone(),
                format!("{:.0}{distinct}", row.trained),
                format!("{:.0}", row.tokens),
                truth.map_or("-".to_owned(), |truth| format!("{:.0}", truth.tasks)),
                truth.map_or("-".to_owned(), |truth| format!("{:.2}", truth.purity)),
                row.worst_family.as_ref().map_or("-".to_owned(), worst),
                format!("{:.0}", row.passes),
                format!("{:.1}", row.seconds),
                format!("{:.0}", row.up),
                format!("{:.0}", row.down),
            ]);
            layout.push(cells);
        }
        layout
    }

    fn costs(&self) -> Costs<'_, impl Fn(&[&str]) -> Layout> {
        let placed = |row: &GridRow| {
            let mut cells = self.place(&row.experiment, row.condition.as_deref());
            cells.push(row.method.clone());
            cells
        };
        let rows = self.rows.iter().filter_map(|row| Some((placed(row), row.until.as_ref()?)));
        let layout = |columns: &[&str]| {
            self.layout(&std::iter::once("method").chain(columns.iter().copied()).collect::<Vec<_>>())
        };
        Costs { rows: rows.collect(), layout }
    }

    fn compared(&self) -> Layout {
        let mut layout = self.layout(&[
            "method - baseline",
            "lower in",
            "records",
            "over seeds [95%]",
            "p",
            "Holm p",
            "p of level",
            "over tasks [95%]",
            "p (records / tasks)",
        ]);
        for c in &self.comparisons {
            let mut cells = self.place(&c.experiment, c.condition.as_deref());
            let tasks = &c.over_tasks.difference;
            cells.extend([
                format!("{} - {}", c.method, c.baseline),
                format!("{} of {}", c.over_seeds.lower, c.over_seeds.difference.seeds),
                format!("{:.0} / {:.0}", c.trained[0], c.trained[1]),
                difference(&c.over_seeds),
                p(c.over_seeds.p),
                p(c.holm),
                p(c.level),
                format!("{:+.3} [{:+.3}, {:+.3}]", tasks.mean, tasks.low, tasks.high),
                format!("{:.4} / {:.4}", c.over_tasks.p_records, c.over_tasks.p_tasks),
            ]);
            layout.push(cells);
        }
        layout
    }

    fn legend(&self) -> Vec<String> {
        let margins: BTreeSet<String> = self.comparisons.iter().map(|c| c.margin.to_string()).collect();
        let margins = margins.into_iter().collect::<Vec<_>>().join(" or ");
        let primary = self.comparisons.iter().filter(|c| c.holm.is_some()).count();
        vec![
            "loss and differences: mean over seeds with Student's interval, paired by seed; each seed is a federation of its own"
                .to_owned(),
            format!(
                "Holm p: corrected over the {primary} comparisons of this table; p of level: two one-sided tests that the \
                 difference is within {margins} nats"
            ),
            "recovered: (random - method) / (random - oracle) of the mean losses, with a bootstrap interval over seeds".to_owned(),
            "distinct: near copies of one record count once; purity: share of the trained records that are not bad; bytes: of one \
             client in one round"
                .to_owned(),
        ]
    }
}

fn mean(mean: &SeedMean, signed: bool) -> String {
    let number = |value: f64| if signed { format!("{value:+.3}") } else { format!("{value:.3}") };
    let interval = mean.interval.map_or(String::new(), |[low, high]| format!(" [{}, {}]", number(low), number(high)));
    format!("{}{interval}", number(mean.mean))
}

fn difference(difference: &SeedDifference) -> String {
    mean(&difference.difference, true)
}

fn p(p: Option<f64>) -> String {
    match p {
        None => "-".into(),
        Some(p) if p < 0.0001 => "<.0001".into(),
        Some(p) => format!("{p:.4}"),
    }
}
