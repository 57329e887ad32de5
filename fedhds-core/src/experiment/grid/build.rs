//! From runs to rows and comparisons.

use super::super::run_record::{RunRecord, UNTUNED};
use super::super::summary;
use super::super::truth::TrainedTruth;
use super::super::until::{self, CostToTarget, OfSeeds, UntilRecord};
use super::{Grid, GridComparison, GridRow, MeanTruth, WorstFamily};
use crate::error::Result;
use crate::method::Preset;
use crate::metrics::{Bootstrap, BySeed, Measure, RecoveredShare, SeedMean, holm, paired_by_seed, recovered_share};
use crate::protocol::Direction;
use crate::stage::RecordScore;
use std::collections::BTreeMap;

/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// What a grid needs of one run.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::experiment) struct Cell {
    condition: Option<String>,
    method: String,
    seed: u64,
    oracle: bool,
    loss: Option<f64>,
    scores: Vec<RecordScore>,
    trained: usize,
    tokens: u64,
    truth: Option<TrainedTruth>,
    passes: u64,
    seconds: f64,
    /// Clients that took part, summed over the rounds, and their bytes up and down.
    client_rounds: usize,
    bytes: [u64; 2],
    until: Option<UntilRecord>,
}

/// The runs of one experiment, and how they are told apart and compared.
pub(in crate::experiment) struct Part<'a> {
    pub experiment: &'a str,
    pub conditions: Vec<Option<&'a str>>,
    pub methods: Vec<&'a str>,
    /// Labels of a method and of the baseline that it is compared with.
    pub pairs: Vec<(String, String)>,
    /// The family of each test task.
    pub families: &'a BTreeMap<String, String>,
    pub margin: f64,
    pub cells: &'a [Cell],
}

impl Cell {
    /// The run in short; `oracle` says whether it was told the truth.
    pub(in crate::experiment) fn of(record: &RunRecord, oracle: bool) -> Self {
        Self {
            condition: record.condition.clone(),
            method: record.method.clone(),
            seed: record.seed,
            oracle,
            loss: record.metrics.as_ref().map(|metrics| metrics.loss.mean),
            scores: record.scores.iter().map(|score| RecordScore { output: None, ..score.clone() }).collect(),
            trained: record.trained_records(),
            tokens: record.trained_tokens(),
            truth: record.truth,
            passes: record.passes(),
            seconds: record.client_seconds(),
            client_rounds: record.client_rounds(),
            bytes: [record.bytes(Direction::Up), record.bytes(Direction::Down)],
            until: record.until.clone(),
        }
    }
}

/// The grid of these experiments' runs.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) when the runs of an experiment were not measured on the same records.
pub(in crate::experiment) fn build(parts: &[Part<'_>], notes: &[String]) -> Result<Grid> {
    let mut grid = Grid { rows: Vec::new(), comparisons: Vec::new(), notes: Vec::new() };
    for part in parts {
        let untuned: Vec<&Cell> = part.cells.iter().filter(|cell| cell.method == UNTUNED).collect();
        if let Some(loss) = summary::loss(&scores(&untuned))? {
            grid.notes.push(format!("{}: the untuned model's loss is {loss:.3}, over tasks", part.experiment));
            let target = part.cells.iter().find_map(|cell| cell.until.as_ref());
            let told = target.and_then(|of| until::told_of_untuned(loss.mean, &of.target));
            grid.notes.extend(told.map(|told| format!("{}: {told}", part.experiment)));
        }
        for &condition in &part.conditions {
            for &method in &part.methods {
                grid.rows.extend(part.row(condition, method)?);
            }
            for (method, baseline) in &part.pairs {
                grid.comparisons.extend(part.comparison(condition, method, baseline)?);
            }
        }
    }
    let claims = parts.iter().flat_map(|part| part.cells).filter(|cell| cell.oracle).map(|cell| cell.method.as_str());
    let oracles: Vec<&str> = claims.collect();
    let mut primary: Vec<(&mut Option<f64>, f64)> = Vec::new();
    for comparison in &mut grid.comparisons {
        if let Some(p) = comparison.over_seeds.p.filter(|_| !oracles.contains(&comparison.method.as_str())) {
            primary.push((&mut comparison.holm, p));
        }
    }
    let corrected = holm(&primary.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    for ((slot, _), p) in primary.into_iter().zip(corrected) {
        *slot = Some(p);
    }
    grid.notes.extend(notes.iter().cloned());
    Ok(grid)
}

impl Part<'_> {
    fn of(&self, condition: Option<&str>, method: &str) -> Vec<&Cell> {
        self.cells.iter().filter(|cell| cell.condition.as_deref() == condition && cell.method == method).collect()
    }

    fn row(&self, condition: Option<&str>, method: &str) -> Result<Option<GridRow>> {
        let cells = self.of(condition, method);
        if cells.is_empty() {
            return Ok(None);
        }
        let losses: Vec<f64> = cells.iter().filter_map(|cell| cell.loss).collect();
        let truths: Vec<TrainedTruth> = cells.iter().filter_map(|cell| cell.truth).collect();
        let truth_mean =
            |value: &dyn Fn(&TrainedTruth) -> f64| truths.iter().map(value).sum::<f64>() / truths.len().max(1) as f64;
        let client_rounds: usize = cells.iter().map(|cell| cell.client_rounds).sum();
        let bytes = |[up, down]: [u64; 2], cell: &&Cell| [up + cell.bytes[0], down + cell.bytes[1]];
        let [up, down] = cells.iter().fold([0; 2], bytes).map(|sum| sum as f64 / client_rounds.max(1) as f64);
        let scores = scores(&cells);
        let random = self.of(condition, Preset::Random.name());
        let random = if method == Preset::Random.name() { &[] } else { random.as_slice() };
        Ok(Some(GridRow {
            experiment: self.experiment.to_owned(),
            condition: condition.map(str::to_owned),
            method: method.to_owned(),
            seeds: cells.len(),
            loss: if losses.is_empty() { None } else { Some(SeedMean::of(&losses, LEVEL)?) },
            loss_over_tasks: summary::loss(&scores)?,
            recovered: self.recovered(condition, &cells)?,
            trained: mean(&cells, |cell| cell.trained as f64),
            tokens: mean(&cells, |cell| cell.tokens as f64),
            truth: (!truths.is_empty()).then(|| MeanTruth {
                distinct: truth_mean(&|t| t.distinct as f64),
                tasks: truth_mean(&|t| t.tasks as f64),
                purity: truth_mean(&|t| t.purity),
            }),
            worst_family: self.worst_family(&scores),
            passes: mean(&cells, |cell| cell.passes as f64),
            seconds: mean(&cells, |cell| cell.seconds),
            up,
            down,
            until: CostToTarget::of(&targets(&cells), &targets(random))?,
        }))
    }

    fn recovered(&self, condition: Option<&str>, cells: &[&Cell]) -> Result<Option<RecoveredShare>> {
        let random = self.of(condition, Preset::Random.name());
        let oracle: Vec<&Cell> =
            self.cells.iter().filter(|cell| cell.oracle && cell.condition.as_deref() == condition).collect();
        let itself = cells.iter().any(|cell| cell.oracle || cell.method == Preset::Random.name());
        if itself {
            return Ok(None);
        }
        let [mine, random, oracle] = [cells, &random, &oracle].map(by_seed);
        recovered_share(&mine, &random, &oracle, &Bootstrap::default(), summary::SEED)
    }

    /// The family whose records have the highest mean loss; of equal ones the first by name.
    fn worst_family(&self, scores: &[Vec<RecordScore>]) -> Option<WorstFamily> {
        let mut sums = BTreeMap::<&str, (f64, usize)>::new();
        for score in scores.iter().flatten() {
            let family = self.families.get(&score.category).map_or(score.category.as_str(), String::as_str);
            let (sum, count) = sums.entry(family).or_default();
            *sum += score.loss;
            *count += 1;
        }
        let means = sums.into_iter().map(|(family, (sum, count))| (family, sum / count as f64));
        let worst = means.rev().max_by(|a, b| a.1.total_cmp(&b.1));
        worst.map(|(family, loss)| WorstFamily { family: family.to_owned(), loss })
    }

    fn comparison(&self, condition: Option<&str>, method: &str, baseline: &str) -> Result<Option<GridComparison>> {
        let (mut mine, mut theirs) = (self.of(condition, method), self.of(condition, baseline));
        let (of_mine, of_theirs) = (by_seed(&mine), by_seed(&theirs));
        let both = |cell: &&Cell| of_mine.contains_key(&cell.seed) && of_theirs.contains_key(&cell.seed);
        mine.retain(both);
        theirs.retain(both);
        let Some(over_seeds) = paired_by_seed(&of_mine, &of_theirs, LEVEL)? else { return Ok(None) };
        let Some(over_tasks) = summary::paired(&scores(&mine), &scores(&theirs), Measure::Loss)? else {
            return Ok(None);
        };
        let trained = [&mine, &theirs].map(|cells| mean(cells, |cell| cell.trained as f64));
        Ok(Some(GridComparison {
            experiment: self.experiment.to_owned(),
            condition: condition.map(str::to_owned),
            method: method.to_owned(),
            baseline: baseline.to_owned(),
            trained,
            level: over_seeds.difference.equivalence(self.margin)?,
            over_seeds,
            holm: None,
            margin: self.margin,
            over_tasks,
        }))
    }
}

fn by_seed(cells: &[&Cell]) -> BySeed {
    cells.iter().filter_map(|cell| Some((cell.seed, cell.loss?))).collect()
}

/// The targets of the runs that had one, by seed.
fn targets<'a>(cells: &[&'a Cell]) -> OfSeeds<'a> {
    cells.iter().filter_map(|cell| Some((cell.seed, cell.until.as_ref()?))).collect()
}

/// The evaluations, in the order of the cells.
fn scores(cells: &[&Cell]) -> Vec<Vec<RecordScore>> {
    cells.iter().filter(|cell| !cell.scores.is_empty()).map(|cell| cell.scores.clone()).collect()
}

fn mean(cells: &[&Cell], value: impl Fn(&Cell) -> f64) -> f64 {
    cells.iter().map(|cell| value(cell)).sum::<f64>() / cells.len().max(1) as f64
}
