//! What it took a method to reach a target: means over the seeds that did, how many did, and how that compares with `random`.

use super::record::{Reached, UntilRecord};
use crate::error::Result;
use crate::metrics::{BySeed, SeedMean, SeedRatio, Share, ratio_by_seed};
use crate::simulate::Until;
use serde::{Deserialize, Serialize};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;

/// What it took the runs of a method to reach a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostToTarget {
    /// The target, and when runs looked.
    pub target: Until,
    /// How many of the finished seeds reached it.
    pub reached: Share,
    /// What it took those that did; none where none did. It says nothing of the others, which may have needed any amount more.
    pub cost: Option<TargetCost>,
    /// The same over what it took `random`; none for `random` itself, and where no seed has both.
    pub to_random: Option<RatioToRandom>,
}

/// What it took to reach a target, of all clients in all rounds until then: means over the seeds that reached it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCost {
    /// Rounds, that of the look included.
    pub rounds: SeedMean,
    /// Records trained on, each as often as it was.
    pub records: SeedMean,
    /// Records trained on at least once, by their ids: near copies count each.
    pub distinct: SeedMean,
    /// Tokens that went through the model in training.
    pub tokens: SeedMean,
    /// Seconds.
    pub seconds: SeedMean,
    /// Bytes from clients to the server.
    pub up: SeedMean,
    /// Bytes from the server to clients.
    pub down: SeedMean,
}

/// What it took a method over what it took `random`, over the seeds in which both reached the target; a figure that is 0 in one of them
/// has no ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatioToRandom {
    /// In how many seeds both reached it.
    pub seeds: usize,
    /// Of the records trained on.
    pub records: Option<SeedRatio>,
    /// Of the seconds.
    pub seconds: Option<SeedRatio>,
    /// Of the bytes from clients to the server.
    pub up: Option<SeedRatio>,
    /// Of the bytes from the server to clients.
    pub down: Option<SeedRatio>,
}

/// The runs of a method by their seeds.
pub(in crate::experiment) type OfSeeds<'a> = Vec<(u64, &'a UntilRecord)>;

impl CostToTarget {
    /// Of the runs of a method; `random` are those of the baseline, none for itself. `None` where the runs had no target.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for seconds that are not finite.
    pub(in crate::experiment) fn of(mine: &OfSeeds<'_>, random: &OfSeeds<'_>) -> Result<Option<Self>> {
        let Some((_, first)) = mine.first() else { return Ok(None) };
        let there = |runs: &OfSeeds<'_>, figure: &dyn Fn(&Reached) -> f64| -> BySeed {
            runs.iter().filter_map(|(seed, run)| Some((*seed, figure(run.reached.as_ref()?)))).collect()
        };
        let count = there(mine, &|_| 0.0).len();
        let mean = |figure: &dyn Fn(&Reached) -> f64| {
            SeedMean::of(&there(mine, figure).into_values().collect::<Vec<_>>(), LEVEL)
        };
        let cost = if count == 0 {
            None
        } else {
            Some(TargetCost {
                rounds: mean(&|r| r.rounds as f64)?,
                records: mean(&|r| r.records as f64)?,
                distinct: mean(&|r| r.distinct as f64)?,
                tokens: mean(&|r| r.tokens as f64)?,
                seconds: mean(&|r| r.seconds)?,
                up: mean(&|r| r.up as f64)?,
                down: mean(&|r| r.down as f64)?,
            })
        };
        let theirs = there(random, &|_| 0.0);
        let both = there(mine, &|_| 0.0).keys().filter(|seed| theirs.contains_key(seed)).count();
        let ratio =
            |figure: &dyn Fn(&Reached) -> f64| ratio_by_seed(&there(mine, figure), &there(random, figure), LEVEL);
        let to_random = if both == 0 {
            None
        } else {
            Some(RatioToRandom {
                seeds: both,
                records: ratio(&|r| r.records as f64)?,
                seconds: ratio(&|r| r.seconds)?,
                up: ratio(&|r| r.up as f64)?,
                down: ratio(&|r| r.down as f64)?,
            })
        };
        Ok(Some(Self { target: first.target, reached: Share::of(count, mine.len(), LEVEL)?, cost, to_random }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// Runs that reached the target after so many records, or did not.
    fn runs(records: &[Option<usize>]) -> Vec<UntilRecord> {
        let reached = |records: usize| Reached {
            rounds: records / 6,
            loss: 0.9,
            records,
            distinct: records / 2,
            tokens: 10 * records as u64,
            seconds: records as f64 / 4.0,
            up: 1000 * records as u64,
            down: 0,
        };
        records.iter().map(|n| UntilRecord { target: Until::at(1.0), reached: n.map(reached) }).collect()
    }

    fn by_seed(runs: &[UntilRecord]) -> OfSeeds<'_> {
        (1..).zip(runs).collect()
    }

    #[test]
    fn means_are_of_the_seeds_that_reached_it_and_the_share_is_of_all() {
        let (mine, random) = (runs(&[Some(12), None, Some(24), Some(12)]), runs(&[Some(24), Some(30), Some(48), None]));
        let cost = CostToTarget::of(&by_seed(&mine), &by_seed(&random)).unwrap().unwrap();
        assert_eq!((cost.reached.count, cost.reached.of), (3, 4));
        let means = cost.cost.unwrap();
        assert_eq!((means.records.mean, means.records.seeds, means.distinct.mean), (16.0, 3, 8.0));
        assert_eq!((means.seconds.mean, means.rounds.mean, means.up.mean), (4.0, 16.0 / 6.0, 16_000.0));
        assert!(means.records.interval.is_some());
        let ratio = cost.to_random.unwrap();
        assert_eq!((ratio.seeds, ratio.down), (2, None), "where both did; of nothing there is no ratio");
        assert!((ratio.records.unwrap().ratio - 0.5).abs() < 1e-12 && ratio.records.unwrap().seeds == 2);
    }

    #[test]
    fn a_method_that_never_reaches_it_has_a_share_and_no_mean() {
        let (mine, random) = (runs(&[None, None]), runs(&[Some(24), Some(30)]));
        let cost = CostToTarget::of(&by_seed(&mine), &by_seed(&random)).unwrap().unwrap();
        assert_eq!((cost.reached.share, cost.reached.of), (0.0, 2));
        assert!(cost.reached.interval[1] < 1.0 && cost.cost.is_none() && cost.to_random.is_none());
        assert_eq!(CostToTarget::of(&Vec::new(), &by_seed(&random)).unwrap(), None);
        let alone = CostToTarget::of(&by_seed(&random), &Vec::new()).unwrap().unwrap();
        assert!(alone.cost.is_some() && alone.to_random.is_none());
    }
}
