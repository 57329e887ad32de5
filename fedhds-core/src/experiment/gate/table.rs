//! What the records of all seeds say: a row for each condition and method.

use super::record::{GateRecord, ScoredRecords};
use crate::error::Result;
use crate::metrics::Share;
use serde::{Deserialize, Serialize};

/// The confidence of every interval.
const LEVEL: f64 = 0.95;

/// An estimate counts as near where it is not farther from the truth.
const NEAR: f64 = 0.1;

/// Whether and where the gate opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateTable {
    /// A row for each condition and method, in the order of the configuration.
    pub rows: Vec<GateRow>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// One condition with one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRow {
    /// The condition; none in an experiment without conditions.
    pub condition: Option<String>,
    /// The method's label.
    pub method: String,
    /// Seeds that are finished.
    pub seeds: usize,
    /// In how many of them the gate is open after the last round.
    pub open_at_end: Share,
    /// In how many it was open in any round.
    pub ever_open: Share,
    /// Median over the seeds of the estimated share of bad records, in [0, 1], at the end; none where in no seed anything was scored.
    pub estimate: Option<f64>,
    /// What the truth says; none where nobody knows it.
    pub truth: Option<TruthOfSeeds>,
    /// Records that were scored, and clients that abstained: means over the seeds.
    pub counted: f64,
    /// See `counted`.
    pub abstained: f64,
    /// Forward passes over whole records of a client that was asked, a mean over all of them.
    pub passes: f64,
    /// The scored records of all seeds: those that the truth does not call bad.
    pub good: ScoredRecords,
    /// Those that it calls bad.
    pub bad: ScoredRecords,
}

/// What the truth says of the seeds of a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TruthOfSeeds {
    /// Median over the seeds of the share of bad records among all that the clients hold.
    pub share: f64,
    /// The share among the scored records of all seeds; none where nothing was scored.
    pub scored: Option<f64>,
    /// Mean over the seeds of the absolute difference of estimate and truth at the end; none where in no seed anything was scored.
    pub error: Option<f64>,
    /// In how many seeds with scores it is at most .1.
    pub near: Option<Share>,
}

impl GateTable {
    /// The table of these records; a condition and method without any has no row.
    pub(super) fn of(
        conditions: &[Option<&str>],
        methods: &[String],
        records: &[GateRecord],
        mut notes: Vec<String>,
    ) -> Result<Self> {
        let mut rows = Vec::new();
        for condition in conditions {
            for method in methods {
                let of_row =
                    |record: &&GateRecord| record.condition.as_deref() == *condition && record.method == *method;
                let own: Vec<&GateRecord> = records.iter().filter(of_row).collect();
                if own.is_empty() {
                    continue;
                }
                let row = GateRow::of(*condition, method, &own)?;
                let place = condition.map_or(String::new(), |name| format!("{name}, "));
                if row.estimate.is_none() && row.abstained > 0.0 {
                    notes.push(format!(
                        "{place}{method}: every client abstained, as its records or the topics of their instructions are too few: one \
                         instruction for all records is one topic"
                    ));
                }
                rows.push(row);
                if let Some((client, reason)) = own.iter().flat_map(|record| &record.left_out).next() {
                    let seeds = own.len();
                    let hit = own.iter().filter(|record| !record.left_out.is_empty()).count();
                    notes.push(format!(
                        "{place}{method}: clients were left out in {hit} of {seeds} seeds; the first, client {client}: {reason}"
                    ));
                }
            }
        }
        Ok(Self { rows, notes })
    }
}

impl GateRow {
    fn of(condition: Option<&str>, method: &str, records: &[&GateRecord]) -> Result<Self> {
        let seeds = records.len();
        let open = records.iter().filter(|record| record.last().is_some_and(|report| report.open)).count();
        let ever = records.iter().filter(|record| record.ever_open()).count();
        let scored = |record: &&&GateRecord| record.last().is_some_and(|report| report.counted > 0);
        let estimates: Vec<f64> =
            records.iter().filter(scored).filter_map(|record| record.last()).map(|report| report.bad).collect();
        let mean =
            |of: &dyn Fn(&GateRecord) -> f64| records.iter().map(|record| of(record)).sum::<f64>() / seeds as f64;
        let all = records.iter().fold(ScoredRecords::default(), |sum, record| sum.and(&record.scored));
        let truths = records.iter().filter_map(|record| record.truth);
        let bad = truths.clone().fold(ScoredRecords::default(), |sum, truth| sum.and(&truth.scored));
        let shares: Vec<f64> = truths.map(|truth| truth.share()).collect();
        let truth = match median(&shares) {
            None => None,
            Some(share) => {
                let error = |record: &&GateRecord| {
                    let (report, truth) = (record.last().filter(|report| report.counted > 0)?, record.truth?);
                    Some((report.bad - truth.share()).abs())
                };
                let errors: Vec<f64> = records.iter().filter_map(error).collect();
                let near = errors.iter().filter(|error| **error <= NEAR).count();
                let some = !errors.is_empty();
                Some(TruthOfSeeds {
                    share,
                    scored: (all.records > 0).then(|| bad.records as f64 / all.records as f64),
                    error: some.then(|| errors.iter().sum::<f64>() / errors.len() as f64),
                    near: some.then(|| Share::of(near, errors.len(), LEVEL)).transpose()?,
                })
            }
        };
        let asked: usize = records.iter().map(|record| record.asked).sum();
        let passes: u64 = records.iter().map(|record| record.passes).sum();
        Ok(Self {
            condition: condition.map(str::to_owned),
            method: method.to_owned(),
            seeds,
            open_at_end: Share::of(open, seeds, LEVEL)?,
            ever_open: Share::of(ever, seeds, LEVEL)?,
            estimate: median(&estimates),
            truth,
            counted: mean(&|record| record.last().map_or(0.0, |report| f64::from(report.counted))),
            abstained: mean(&|record| record.last().map_or(0.0, |report| f64::from(report.abstained))),
            passes: passes as f64 / asked.max(1) as f64,
            good: all.without(&bad),
            bad,
        })
    }
}

/// The middle value, of an even number the mean of the two; none of none.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    match sorted.len() % 2 {
        1 => Some(upper),
        _ => sorted.get(middle - 1).map(|lower| (lower + upper) / 2.0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::record::GateTruth;
    use super::*;
    use crate::server::GateReport;

    fn report(open: bool, bad: f64, counted: u32) -> Option<GateReport> {
        Some(GateReport {
            answered: 2,
            abstained: 1,
            counted,
            raw: bad,
            lower: 0.0,
            bad,
            separation: 0.8,
            least_score: 0.1,
            open,
        })
    }

    /// A seed whose gate said this, of 100 records so many of which are bad.
    fn record(seed: u64, rounds: Vec<Option<GateReport>>, bad: u64) -> GateRecord {
        let (mut all, mut wrong) = (ScoredRecords::default(), ScoredRecords::default());
        all.records = 4;
        (all.bins[6], all.bins[7], all.bins[13]) = (2, 2, 12);
        wrong.records = 1;
        (wrong.bins[6], wrong.bins[7]) = (2, 2);
        GateRecord {
            condition: Some("c".into()),
            method: "m".into(),
            seed,
            rounds,
            clients: 9,
            asked: 5,
            passes: 100 * seed,
            scored: all,
            truth: Some(GateTruth { records: 100, bad, scored: wrong }),
            ..GateRecord::default()
        }
    }

    #[test]
    fn a_row_says_what_its_seeds_say() {
        let records = [
            record(1, vec![report(true, 0.9, 48), report(false, 0.2, 64)], 25),
            record(2, vec![None, report(true, 0.4, 80)], 25),
            record(3, vec![report(false, 0.0, 0)], 30),
        ];
        let table = GateTable::of(&[Some("other"), Some("c")], &["m".into()], &records, Vec::new()).unwrap();
        let [row] = table.rows.as_slice() else { panic!("{table:?}") };
        assert_eq!((row.seeds, row.open_at_end.count, row.ever_open.count), (3, 1, 2));
        // Seed 3 scored nothing: its 0 is no estimate.
        assert!((row.estimate.unwrap() - 0.3).abs() < 1e-12);
        let truth = row.truth.unwrap();
        assert_eq!((truth.share, truth.scored), (0.25, Some(0.25)));
        assert!((truth.error.unwrap() - (0.05 + 0.15) / 2.0).abs() < 1e-12);
        assert_eq!((truth.near.unwrap().count, truth.near.unwrap().of), (1, 2));
        assert_eq!((row.counted, row.abstained, row.passes), (48.0, 1.0, 40.0));
        assert_eq!((row.good.records, row.bad.records), (9, 3));
        assert_eq!((row.good.doubled_share(), row.bad.doubled_share()), (Some(0.0), Some(1.0)));
        let text = table.to_text();
        assert!(text.contains("0.333 [0.061, 0.792]") && text.contains("0.100 (1 of 2)"), "{text}");
    }

    #[test]
    fn nothing_scored_is_no_estimate() {
        let mut none = record(1, vec![None, report(false, 0.0, 0)], 0);
        (none.scored, none.asked, none.passes) = (ScoredRecords::default(), 0, 0);
        none.truth = Some(GateTruth { records: 100, ..GateTruth::default() });
        none.left_out = [(crate::types::ClientId(3), "why".to_owned())].into();
        let table = GateTable::of(&[Some("c")], &["m".into()], &[none], Vec::new()).unwrap();
        let [row] = table.rows.as_slice() else { panic!("{table:?}") };
        assert_eq!((row.estimate, row.passes, row.good.doubled_share()), (None, 0.0, None));
        let truth = row.truth.unwrap();
        assert_eq!((truth.share, truth.scored, truth.error), (0.0, None, None));
        assert!(table.notes[0].starts_with("c, m: every client abstained"), "{:?}", table.notes);
        assert_eq!(table.notes[1], "c, m: clients were left out in 1 of 1 seeds; the first, client 3: why");
        assert!(!table.to_text().contains("doubled"), "no scores, no table of them");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[4.0, 1.0, 2.0, 9.0])), (None, Some(3.0), Some(3.0)));
    }
}
