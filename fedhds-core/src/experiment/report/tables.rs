//! The tables of results and of what was trained on. Those of costs, curves, layers and runs stand with these.

use super::places::Places;
use super::study::Study;
use super::table::{Cell, Table};
use super::{LeftOut, about, cost, curves, layers};
use crate::error::Result;
use crate::experiment::grid::{GridComparison, GridRow};
use crate::experiment::run_record::RunRecord;
use crate::experiment::summary;
use crate::metrics::{Interval, Measure, SeedMean};

/// What the tables' files are called.
pub(super) const IDS: [&str; 11] = [
    "results",
    "differences",
    "until",
    "trained",
    "seconds",
    "bytes",
    "curves",
    "runs",
    "devices",
    "layers",
    "left_out",
];

/// Every table that has rows, in the order of [`IDS`].
pub(super) fn all(studies: &[Study], left_out: &[LeftOut]) -> Result<Vec<Table>> {
    let places = Places::of(studies);
    let tables = [
        results(studies, places)?,
        differences(studies, places)?,
        until(studies, places),
        trained(studies, places),
        cost::seconds(studies, places),
        cost::bytes(studies, places),
        curves::table(studies, places),
        about::runs(studies, places),
        cost::devices(studies, places),
        layers::table(studies, places),
        about::files(left_out),
    ];
    Ok(tables.into_iter().filter(|table| !table.rows.is_empty()).map(Table::told).collect())
}

/// A mean over seeds.
pub(super) fn over_seeds(mean: &SeedMean, decimals: usize, signed: bool) -> Cell {
    Cell::Interval { mean: mean.mean, ends: mean.interval, decimals, signed }
}

fn over_tasks(interval: &Interval, signed: bool) -> Cell {
    Cell::Interval { mean: interval.mean, ends: Some([interval.low, interval.high]), decimals: 3, signed }
}

/// The comparison of a row with a baseline.
pub(super) fn comparison<'a>(study: &'a Study, row: &GridRow, baseline: &str) -> Option<&'a GridComparison> {
    let comparisons = study.grid.comparisons.iter();
    let mut of_row = comparisons.filter(|c| c.condition == row.condition && c.method == row.method);
    of_row.find(|c| c.baseline == baseline)
}

fn results(studies: &[Study], places: Places) -> Result<Table> {
    let columns =
        ["seeds", "loss", "loss, over tasks", "loss - random", "Holm p", "Rouge-L", "exact match", "recovered"];
    let mut table = places.table("results", "Results", &["method"], &columns).noted(
        "Loss on the test records in nats, lower is better: mean over seeds with Student's 95% interval; over tasks: the same mean with its \
         interval over tasks and records. Loss - random: the difference, paired by seed, below 0 is better. Holm p: corrected for all comparisons of the experiment. \
         Rouge-L F1 and exact match in [0, 1], higher is better, over the records with a generation. Recovered: share of what an oracle gains \
         over random.",
    );
    for study in studies {
        if let Some(untuned) = &study.untuned {
            let mut cells = places.cells(study, None, &untuned.method);
            let measured = |measure| summary::over_runs(&[untuned], measure);
            let tasks = |found: Option<Interval>| found.map_or(Cell::Empty, |found| over_tasks(&found, false));
            cells.extend([Cell::Empty, Cell::Empty, tasks(measured(Measure::Loss)?), Cell::Empty, Cell::Empty]);
            cells.extend([tasks(measured(Measure::RougeL)?), tasks(measured(Measure::ExactMatch)?)]);
            table.push(cells);
        }
        for row in &study.grid.rows {
            let runs = study.of(row.condition.as_deref(), &row.method);
            let measured = |measure| -> Result<Cell> {
                Ok(summary::over_runs(&runs, measure)?.map_or(Cell::Empty, |found| over_tasks(&found, false)))
            };
            let against = comparison(study, row, "random");
            let mut cells = places.cells(study, row.condition.as_deref(), &row.method);
            cells.extend([
                Cell::count(row.seeds),
                row.loss.as_ref().map_or(Cell::Empty, |loss| over_seeds(loss, 3, false)),
                row.loss_over_tasks.as_ref().map_or(Cell::Empty, |loss| over_tasks(loss, false)),
                against.map_or(Cell::Empty, |c| over_seeds(&c.over_seeds.difference, 3, true)),
                Cell::p(against.and_then(|c| c.holm)),
                measured(Measure::RougeL)?,
                measured(Measure::ExactMatch)?,
                row.recovered.map_or(Cell::Empty, |recovered| Cell::Interval {
                    mean: recovered.share,
                    ends: recovered.interval,
                    decimals: 2,
                    signed: false,
                }),
            ]);
            table.push(cells);
        }
    }
    Ok(table)
}

fn differences(studies: &[Study], places: Places) -> Result<Table> {
    let columns = [
        "seeds",
        "lower in",
        "loss",
        "p",
        "Holm p",
        "p of level",
        "loss, over tasks",
        "p of records",
        "p of tasks",
        "Rouge-L",
        "p of records (Rouge-L)",
    ];
    let mut table = places.table("differences", "Paired differences", &["method", "baseline"], &columns).noted(
        "The method minus the baseline on the same seeds and test records; a loss below 0 and a Rouge-L above 0 are better. Over seeds with \
         Student's 95% interval and the paired t-test's p; lower in: seeds in which the method has the lower loss; p of level: two one-sided \
         tests that the two differ by less than the margin. Over tasks: with the interval over tasks and records, p by sign flips.",
    );
    for study in studies {
        for c in &study.grid.comparisons {
            let condition = c.condition.as_deref();
            let (mine, theirs) = common(study.of(condition, &c.method), study.of(condition, &c.baseline));
            let rouge = summary::paired(&evaluations(&mine), &evaluations(&theirs), Measure::RougeL)?;
            let mut cells = places.cells(study, condition, &c.method);
            cells.extend([
                Cell::text(&c.baseline),
                Cell::count(c.over_seeds.difference.seeds),
                Cell::count(c.over_seeds.lower),
                over_seeds(&c.over_seeds.difference, 3, true),
                Cell::p(c.over_seeds.p),
                Cell::p(c.holm),
                Cell::p(c.level),
                over_tasks(&c.over_tasks.difference, true),
                Cell::P(c.over_tasks.p_records),
                Cell::P(c.over_tasks.p_tasks),
                rouge.as_ref().map_or(Cell::Empty, |rouge| over_tasks(&rouge.difference, true)),
                Cell::p(rouge.map(|rouge| rouge.p_records)),
            ]);
            table.push(cells);
        }
    }
    Ok(table)
}

/// The runs of the seeds that both have.
fn common<'a>(
    mut mine: Vec<&'a RunRecord>,
    mut theirs: Vec<&'a RunRecord>,
) -> (Vec<&'a RunRecord>, Vec<&'a RunRecord>) {
    let seeds = |runs: &[&RunRecord]| runs.iter().map(|run| run.seed).collect::<Vec<_>>();
    let (of_mine, of_theirs) = (seeds(&mine), seeds(&theirs));
    mine.retain(|run| of_theirs.contains(&run.seed));
    theirs.retain(|run| of_mine.contains(&run.seed));
    (mine, theirs)
}

fn evaluations(runs: &[&RunRecord]) -> Vec<Vec<crate::stage::RecordScore>> {
    runs.iter().filter(|run| !run.scores.is_empty()).map(|run| run.scores.clone()).collect()
}

fn until(studies: &[Study], places: Places) -> Table {
    let columns = [
        "target",
        "reached",
        "of",
        "share",
        "rounds",
        "records",
        "client s",
        "MB up",
        "MB down",
        "records, to random",
        "client s, to random",
    ];
    let mut table = places.table("until", "Cost to the target loss", &["method"], &columns).noted(
        "What all clients spent until the first evaluation at or below the target: means over the seeds that reached it, with Student's 95% \
         interval; those that did not are in no mean, so read the share first. To random: geometric mean of the ratios over the seeds in which \
         both reached it.",
    );
    let mega = |mean: &SeedMean| {
        let scaled =
            SeedMean { mean: mean.mean / 1e6, interval: mean.interval.map(|ends| ends.map(|end| end / 1e6)), ..*mean };
        over_seeds(&scaled, 2, false)
    };
    for study in studies {
        for row in &study.grid.rows {
            let Some(until) = &row.until else { continue };
            let mut cells = places.cells(study, row.condition.as_deref(), &row.method);
            cells.extend([
                Cell::text(until.target.loss.to_string()),
                Cell::count(until.reached.count),
                Cell::count(until.reached.of),
                Cell::Interval {
                    mean: until.reached.share,
                    ends: Some(until.reached.interval),
                    decimals: 2,
                    signed: false,
                },
            ]);
            match &until.cost {
                None => cells.extend(vec![Cell::Empty; 5]),
                Some(cost) => cells.extend([
                    over_seeds(&cost.rounds, 1, false),
                    over_seeds(&cost.records, 1, false),
                    over_seeds(&cost.seconds, 2, false),
                    mega(&cost.up),
                    mega(&cost.down),
                ]),
            }
            let ratio = |ratio: Option<crate::metrics::SeedRatio>| {
                ratio.map_or(Cell::Empty, |r| Cell::Interval {
                    mean: r.ratio,
                    ends: r.interval,
                    decimals: 2,
                    signed: false,
                })
            };
            let ratios = until.to_random.as_ref();
            cells.extend([ratio(ratios.and_then(|r| r.records)), ratio(ratios.and_then(|r| r.seconds))]);
            table.push(cells);
        }
    }
    table
}

fn trained(studies: &[Study], places: Places) -> Table {
    let columns = ["records", "distinct", "tokens", "tasks", "purity", "passes", "worst task", "its loss"];
    let mut table = places.table("trained", "What was trained on", &["method"], &columns).noted(
        "Means over the seeds, of all clients in all rounds. Records: repeats counted; distinct: near copies of one record count once where the \
         truth is known; purity: share of the trained records that are not bad; passes: forward passes over records that scoring took; worst \
         task: the test task with the highest mean loss.",
    );
    for study in studies {
        for row in &study.grid.rows {
            let runs = study.of(row.condition.as_deref(), &row.method);
            let ids = || runs.iter().map(|run| run.distinct_records()).sum::<usize>() as f64 / runs.len().max(1) as f64;
            let mut cells = places.cells(study, row.condition.as_deref(), &row.method);
            cells.extend([
                Cell::Number(row.trained, 0),
                Cell::Number(row.truth.map_or_else(ids, |truth| truth.distinct), 0),
                Cell::Number(row.tokens, 0),
                Cell::maybe(row.truth.map(|truth| truth.tasks), 0),
                Cell::maybe(row.truth.map(|truth| truth.purity), 2),
                Cell::Number(row.passes, 0),
                row.worst_family.as_ref().map_or(Cell::Empty, |worst| Cell::text(&worst.family)),
                Cell::maybe(row.worst_family.as_ref().map(|worst| worst.loss), 3),
            ]);
            table.push(cells);
        }
    }
    table
}
