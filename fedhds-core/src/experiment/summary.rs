//! From scores to means with intervals, and to paired differences.

use super::run_record::{Metrics, RunRecord};
use crate::error::Result;
use crate::metrics::{Bootstrap, Interval, Measure, Paired, compare, mean_of_runs};
use crate::stage::RecordScore;
use crate::types::Seed;

/// Intervals are drawn from this seed in every table, so that a table made again is the same.
pub(super) const SEED: Seed = Seed(0);

/// Means of one evaluation; `None` without scores.
pub(super) fn of_scores(scores: &[RecordScore]) -> Result<Option<Metrics>> {
    let interval = |measure: Measure| -> Result<Option<Interval>> {
        let measured = measured(scores, measure);
        let some = (!measured.is_empty()).then(|| measure.interval(&measured, &Bootstrap::default(), SEED));
        some.transpose()
    };
    let Some(loss) = interval(Measure::Loss)? else { return Ok(None) };
    Ok(Some(Metrics { loss, rouge_l: interval(Measure::RougeL)?, exact_match: interval(Measure::ExactMatch)? }))
}

/// Means over the seeds' evaluations: a record's value is its mean over the seeds.
pub(super) fn over_seeds(runs: &[&RunRecord]) -> Result<Option<Metrics>> {
    match evaluations(runs).as_slice() {
        [] => Ok(None),
        [one] => of_scores(one),
        several => of_scores(&mean_of_runs(several)?),
    }
}

/// The mean of one measure over the seeds' evaluations, a record's value being its mean over the seeds; `None` where it was not measured.
pub(super) fn over_runs(runs: &[&RunRecord], measure: Measure) -> Result<Option<Interval>> {
    let evaluations = evaluations(runs);
    if evaluations.is_empty() {
        return Ok(None);
    }
    let measured = measured(&mean_of_runs(&evaluations)?, measure);
    (!measured.is_empty()).then(|| measure.interval(&measured, &Bootstrap::default(), SEED)).transpose()
}

/// Differences in loss and Rouge-L, `mine` minus `theirs`; `None` where either side was not evaluated.
pub(super) fn differences(mine: &[&RunRecord], theirs: &[&RunRecord]) -> Result<Option<(Paired, Option<Paired>)>> {
    let (mine, theirs) = (evaluations(mine), evaluations(theirs));
    let Some(loss) = paired(&mine, &theirs, Measure::Loss)? else { return Ok(None) };
    Ok(Some((loss, paired(&mine, &theirs, Measure::RougeL)?)))
}

/// The difference of two methods, `mine` minus `theirs`, each with the evaluations of its seeds; `None` where either side was not
/// measured.
pub(super) fn paired(
    mine: &[Vec<RecordScore>],
    theirs: &[Vec<RecordScore>],
    measure: Measure,
) -> Result<Option<Paired>> {
    if mine.is_empty() || theirs.is_empty() {
        return Ok(None);
    }
    let (mine, theirs) = (measured(&mean_of_runs(mine)?, measure), measured(&mean_of_runs(theirs)?, measure));
    let some = (!mine.is_empty()).then(|| compare(&theirs, &mine, measure, &Bootstrap::default(), SEED));
    some.transpose()
}

/// The mean loss over tasks and records, a record's value being its mean over the evaluations of the seeds; `None` without any.
pub(super) fn loss(evaluations: &[Vec<RecordScore>]) -> Result<Option<Interval>> {
    if evaluations.is_empty() {
        return Ok(None);
    }
    Measure::Loss.interval(&mean_of_runs(evaluations)?, &Bootstrap::default(), SEED).map(Some)
}

fn evaluations(runs: &[&RunRecord]) -> Vec<Vec<RecordScore>> {
    runs.iter().filter(|r| !r.scores.is_empty()).map(|r| r.scores.clone()).collect()
}

/// The scores that have this measure: text is generated for some records only.
fn measured(scores: &[RecordScore], measure: Measure) -> Vec<RecordScore> {
    scores.iter().filter(|s| measure.of(s).is_some()).cloned().collect()
}
