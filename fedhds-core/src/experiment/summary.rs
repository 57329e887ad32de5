//! From scores to means with intervals, and to paired differences.

use super::run_record::{Metrics, RunRecord};
use crate::error::Result;
use crate::metrics::{Bootstrap, Interval, Measure, Paired, compare, mean_of_runs};
use crate::stage::RecordScore;
use crate::types::Seed;

/// Intervals are drawn from this seed in every table, so that a table made again is the same.
const SEED: Seed = Seed(0);

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

/// Differences in loss and Rouge-L, `mine` minus `theirs`; `None` where either side was not evaluated.
pub(super) fn differences(mine: &[&RunRecord], theirs: &[&RunRecord]) -> Result<Option<(Paired, Option<Paired>)>> {
    let (mine, theirs) = (evaluations(mine), evaluations(theirs));
    if mine.is_empty() || theirs.is_empty() {
        return Ok(None);
    }
    let (mine, theirs) = (mean_of_runs(&mine)?, mean_of_runs(&theirs)?);
    let difference = |measure: Measure| {
        let (mine, theirs) = (measured(&mine, measure), measured(&theirs, measure));
        let some = (!mine.is_empty()).then(|| compare(&theirs, &mine, measure, &Bootstrap::default(), SEED));
        some.transpose()
    };
    let Some(loss) = difference(Measure::Loss)? else { return Ok(None) };
    Ok(Some((loss, difference(Measure::RougeL)?)))
}

fn evaluations(runs: &[&RunRecord]) -> Vec<Vec<RecordScore>> {
    runs.iter().filter(|r| !r.scores.is_empty()).map(|r| r.scores.clone()).collect()
}

/// The scores that have this measure: text is generated for some records only.
fn measured(scores: &[RecordScore], measure: Measure) -> Vec<RecordScore> {
    scores.iter().filter(|s| measure.of(s).is_some()).cloned().collect()
}
