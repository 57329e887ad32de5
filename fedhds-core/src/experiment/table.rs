//! The results of an experiment as one table: for a terminal, as Markdown, as JSON.

use super::layout::Layout;
use super::run_record::{Metrics, RunRecord, UNTUNED};
use super::summary;
use super::until::{self, CostToTarget, Costs, OfSeeds};
use crate::error::Result;
use crate::method::Preset;
use crate::metrics::{Interval, Paired};
use crate::protocol::Direction;
use serde::{Deserialize, Serialize};

/// The results of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// One row for each method, in the order of the configuration, the untuned model first.
    pub rows: Vec<Row>,
    /// Each method against each baseline, record by record; null results too.
    pub comparisons: Vec<Comparison>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// The runs of one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The method's label.
    pub method: String,
    /// Number of seeds.
    pub seeds: usize,
    /// Distinct records trained on at least once, mean over the seeds.
    pub records: f64,
    /// The same in percent of all records of all clients.
    pub percent: f64,
    /// Records trained on, each as often as it was, mean over the seeds.
    pub trained: f64,
    /// Means over the test records, each record's value being its mean over the seeds, with intervals over tasks and records.
    pub metrics: Option<Metrics>,
    /// Standard deviation of the mean loss over the seeds; `None` for fewer than two.
    pub loss_deviation: Option<f64>,
    /// Seconds of all clients in all rounds, mean over the seeds.
    pub seconds: f64,
    /// FedIT's seconds a client and round over this method's; `None` without FedIT or without rounds.
    pub speed_up: Option<f64>,
    /// Bytes from a client to the server in a round, mean over clients, rounds and seeds.
    pub up: f64,
    /// Bytes from the server to a client in a round, likewise.
    pub down: f64,
    /// What it took to reach the target of `[until]`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<CostToTarget>,
}

/// One method against a baseline: differences are the method's value minus the baseline's on the same test records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The method's label.
    pub method: String,
    /// The baseline's label.
    pub baseline: String,
    /// Records trained on by both, mean over the seeds.
    pub trained: [f64; 2],
    /// Difference in loss; below 0 the method is better.
    pub loss: Paired,
    /// Difference in Rouge-L; above 0 the method is better.
    pub rouge_l: Option<Paired>,
}

/// The method that trains on every record.
pub(super) const FEDIT: &str = "all";

/// Makes the table of these runs. `pairs` are the labels of a method and of the baseline that it is compared with; `all_records` is
/// the number of records that all clients hold.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) when the runs were not measured on the same records.
pub fn build(runs: &[RunRecord], pairs: &[(String, String)], all_records: usize, notes: &[String]) -> Result<Table> {
    let mut labels: Vec<&str> = Vec::new();
    for run in runs {
        if !labels.contains(&run.method.as_str()) {
            labels.push(&run.method);
        }
    }
    let of = |label: &str| runs.iter().filter(|r| r.method == label).collect::<Vec<&RunRecord>>();
    let fedit = of(FEDIT);
    let random = of(Preset::Random.name());
    let fedit_pace = pace(&fedit);
    let rows =
        labels.iter().map(|label| row(&of(label), &random, fedit_pace, all_records)).collect::<Result<Vec<_>>>()?;
    let mut comparisons = Vec::new();
    for (method, baseline) in pairs {
        let (mine, theirs) = (of(method), of(baseline));
        if mine.is_empty() || theirs.is_empty() {
            continue;
        }
        if let Some((loss, rouge_l)) = summary::differences(&mine, &theirs)? {
            comparisons.push(Comparison {
                method: method.clone(),
                baseline: baseline.clone(),
                trained: [mean(&mine, trained), mean(&theirs, trained)],
                loss,
                rouge_l,
            });
        }
    }
    let untuned = of(UNTUNED).into_iter().find_map(|run| run.metrics.as_ref());
    let target = runs.iter().find_map(|run| run.until.as_ref());
    let told = untuned.zip(target).and_then(|(metrics, of)| until::told_of_untuned(metrics.loss.mean, &of.target));
    Ok(Table { rows, comparisons, notes: told.into_iter().chain(notes.iter().cloned()).collect() })
}

fn trained(run: &RunRecord) -> f64 {
    run.trained_records() as f64
}

fn mean(runs: &[&RunRecord], value: impl Fn(&RunRecord) -> f64) -> f64 {
    runs.iter().map(|r| value(r)).sum::<f64>() / runs.len().max(1) as f64
}

/// The targets of the runs that had one, by seed.
fn targets<'a>(runs: &[&'a RunRecord]) -> OfSeeds<'a> {
    runs.iter().filter_map(|run| Some((run.seed, run.until.as_ref()?))).collect()
}

/// Seconds a client and round.
fn pace(runs: &[&RunRecord]) -> Option<f64> {
    let rounds: usize = runs.iter().map(|r| r.client_rounds()).sum();
    (rounds > 0).then(|| runs.iter().map(|r| r.client_seconds()).sum::<f64>() / rounds as f64)
}

fn row(runs: &[&RunRecord], random: &[&RunRecord], fedit_pace: Option<f64>, all_records: usize) -> Result<Row> {
    let records = mean(runs, |r| r.distinct_records() as f64);
    let client_rounds: usize = runs.iter().map(|r| r.client_rounds()).sum();
    let bytes = |direction| runs.iter().map(|r| r.bytes(direction)).sum::<u64>() as f64 / client_rounds.max(1) as f64;
    let losses: Vec<f64> = runs.iter().filter_map(|r| r.metrics.as_ref()).map(|m| m.loss.mean).collect();
    let itself = runs.first().is_some_and(|run| run.method == Preset::Random.name());
    Ok(Row {
        method: runs.first().map(|r| r.method.clone()).unwrap_or_default(),
        seeds: runs.len(),
        records,
        percent: 100.0 * records / all_records.max(1) as f64,
        trained: mean(runs, trained),
        metrics: summary::over_seeds(runs)?,
        loss_deviation: deviation(&losses),
        seconds: mean(runs, |r| r.client_seconds()),
        speed_up: fedit_pace.zip(pace(runs)).filter(|(_, mine)| *mine > 0.0).map(|(fedit, mine)| fedit / mine),
        up: bytes(Direction::Up),
        down: bytes(Direction::Down),
        until: CostToTarget::of(&targets(runs), &targets(if itself { &[] } else { random }))?,
    })
}

/// Sample standard deviation.
fn deviation(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    (n > 1).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt())
}

impl Table {
    /// The table for a terminal, columns aligned.
    pub fn to_text(&self) -> String {
        let mut text = self.results().to_text();
        text.push_str(&self.costs().written(Layout::to_text, ""));
        let differences = self.differences();
        if !differences.is_empty() {
            text.push_str(
                "\nPaired differences on the same test records (loss: below 0 is better; Rouge-L: above 0):\n",
            );
            text.push_str(&differences.to_text());
        }
        text.push_str(&self.footer("  "));
        text
    }

    /// The table as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = self.results().to_markdown();
        text.push_str(&self.costs().written(Layout::to_markdown, "\n"));
        let differences = self.differences();
        if !differences.is_empty() {
            text.push_str(
                "\nPaired differences on the same test records (loss: below 0 is better; Rouge-L: above 0):\n\n",
            );
            text.push_str(&differences.to_markdown());
        }
        text.push_str(&self.footer("- "));
        text
    }

    fn results(&self) -> Layout {
        let header = [
            "method",
            "seeds",
            "records (distinct)",
            "% of all",
            "loss, unseen tasks [95%]",
            "sd over seeds",
            "Rouge-L [95%]",
            "client s",
            "speed-up",
            "bytes up",
            "bytes down",
        ];
        let mut layout = Layout::new(&header);
        for row in &self.rows {
            let tuned = row.trained > 0.0 || row.up > 0.0;
            let when = |shown: bool, text: String| if shown { text } else { "-".to_owned() };
            let metrics = row.metrics.as_ref();
            let interval = |i: Option<&Interval>| i.map_or("-".to_owned(), |i| format!("{i:.3}"));
            layout.push(vec![
                row.method.clone(),
                when(tuned, row.seeds.to_string()),
                when(tuned, format!("{:.0} ({:.0})", row.trained, row.records)),
                when(tuned, format!("{:.2}", row.percent)),
                interval(metrics.map(|m| &m.loss)),
                row.loss_deviation.map_or("-".to_owned(), |d| format!("{d:.3}")),
                interval(metrics.and_then(|m| m.rouge_l.as_ref())),
                when(tuned, format!("{:.1}", row.seconds)),
                row.speed_up.map_or("-".to_owned(), |s| format!("{s:.1}x")),
                when(tuned, format!("{:.0}", row.up)),
                when(tuned, format!("{:.0}", row.down)),
            ]);
        }
        layout
    }

    fn costs(&self) -> Costs<'_, impl Fn(&[&str]) -> Layout> {
        let rows = self.rows.iter().filter_map(|row| Some((vec![row.method.clone()], row.until.as_ref()?)));
        let layout = |columns: &[&str]| {
            Layout::new(&std::iter::once("method").chain(columns.iter().copied()).collect::<Vec<_>>())
        };
        Costs { rows: rows.collect(), layout }
    }

    fn differences(&self) -> Layout {
        let mut layout = Layout::new(&[
            "method - baseline",
            "records",
            "loss [95%]",
            "p (records / tasks)",
            "Rouge-L [95%]",
            "p (records / tasks)",
        ]);
        let p = |d: &Paired| format!("{:.4} / {:.4}", d.p_records, d.p_tasks);
        for c in &self.comparisons {
            layout.push(vec![
                format!("{} - {}", c.method, c.baseline),
                format!("{:.0} / {:.0}", c.trained[0], c.trained[1]),
                signed(&c.loss.difference),
                p(&c.loss),
                c.rouge_l.as_ref().map_or("-".to_owned(), |d| signed(&d.difference)),
                c.rouge_l.as_ref().map_or("-".to_owned(), p),
            ]);
        }
        layout
    }

    fn footer(&self, bullet: &str) -> String {
        let mut lines = vec![
            "records: trained on over all rounds, repeats counted (distinct ones); bytes: of one client in one round".to_owned(),
            "client s: seconds of all clients in all rounds; speed-up: FedIT's seconds a client and round over the method's"
                .to_owned(),
        ];
        lines.extend(self.costs().legend());
        lines.extend(self.notes.iter().cloned());
        format!("\n{}", lines.into_iter().map(|l| format!("{bullet}{l}\n")).collect::<String>())
    }
}

fn signed(i: &Interval) -> String {
    format!("{:+.3} [{:+.3}, {:+.3}]", i.mean, i.low, i.high)
}
