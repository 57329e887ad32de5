//! Whether the quality gate is open, and what of each client is taken to be good.

use crate::method::GateConfig;
use crate::protocol::GateAnswer;
use crate::sorting;
use crate::types::{ClientId, Context};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resamples of the clients for the lower bound.
const RESAMPLES: usize = 1000;

/// Records that the pooled share weighs against a client's own: a client scores few.
const PRIOR: f64 = 8.0;

/// The largest share of a client's records that is taken to be bad: whoever has some left may be asked for one.
const MOST_BAD: f64 = 0.95;

/// What the clients' scores say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Clients that scored records.
    pub answered: u32,
    /// Clients that abstained.
    pub abstained: u32,
    /// Records that were scored.
    pub counted: u32,
    /// Twice the share of scores below 0.
    pub raw: f64,
    /// Its lower 95% bound, by bootstrap over the clients.
    pub lower: f64,
    /// The estimated share of bad records.
    pub bad: f64,
    /// How well the judges tell own prompts from decoys, whatever the share of bad records: the part of the scores above 0, less those
    /// below, that lies above .4, less what lies below -.4.
    #[serde(default)]
    pub separation: f64,
    /// The score that a record needs to pass once the gate is open.
    pub least_score: f32,
    /// Whether bad records are left out.
    pub open: bool,
}

/// What the answers of all clients so far say.
pub(super) struct Gate {
    pub report: GateReport,
    pooled: f64,
    /// By client: (doubled share of scores below 0, records).
    own: BTreeMap<ClientId, (f64, f64)>,
    base: f64,
}

/// Scores below 0, and all scores.
type Counts = (f64, f64);

impl Gate {
    pub fn new(config: &GateConfig, answers: &BTreeMap<ClientId, GateAnswer>, context: &Context) -> Self {
        let scored: Vec<(ClientId, &GateAnswer)> = answers
            .iter()
            .filter(|(_, answer)| answer.records() > 0)
            .map(|(client, answer)| (*client, answer))
            .collect();
        let counts: Vec<Counts> = scored.iter().map(|(_, answer)| counts(answer)).collect();
        let raw = doubled_share(counts.iter().copied());
        let mut rng = context.seed.derive("gate", 0).rng();
        let mut again: Vec<f64> = (0..RESAMPLES)
            .map(|_| doubled_share(counts.iter().map(|_| counts[rng.random_range(0..counts.len())])))
            .collect();
        sorting::sort_by(&mut again, f64::total_cmp);
        let lower = again[RESAMPLES / 20];
        let counted = scored.iter().fold(0u32, |sum, (_, answer)| sum.saturating_add(answer.records()));
        let pooled = over_base(raw, config.base);
        let bins = sum(answers.values());
        let separation = separation(&bins);
        let report = GateReport {
            answered: scored.len() as u32,
            abstained: (answers.len() - scored.len()) as u32,
            counted,
            raw,
            lower,
            bad: pooled,
            separation,
            least_score: limit(&bins, config.bad_passing),
            open: counted >= config.counted && lower > config.margin && separation >= config.separation,
        };
        let own = scored.iter().zip(&counts).map(|((client, answer), counts)| {
            (*client, (doubled_share([*counts].into_iter()), f64::from(answer.records())))
        });
        Self { report, pooled, own: sorting::map(own), base: config.base }
    }

    /// The share of a client's records that is taken to be good: by its own scores, drawn towards those of all; 1 where the gate is closed.
    pub fn pass(&self, client: ClientId) -> f64 {
        if !self.report.open {
            return 1.0;
        }
        let bad = match self.own.get(&client) {
            None => self.pooled,
            Some((raw, n)) => (over_base(*raw, self.base) * n + self.pooled * PRIOR) / (n + PRIOR),
        };
        1.0 - bad.min(MOST_BAD)
    }
}

fn counts(answer: &GateAnswer) -> Counts {
    let bins = answer.bins();
    let sum = |bins: &[u32]| bins.iter().map(|&bin| f64::from(bin)).sum();
    (sum(&bins[..7]), sum(&bins))
}

fn doubled_share(counts: impl Iterator<Item = Counts>) -> f64 {
    let (below, all) = counts.fold((0.0, 0.0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    if all > 0.0 { 2.0 * below / all } else { 0.0 }
}

/// The share of bad records of a doubled share: what is above the base that good records have.
fn over_base(raw: f64, base: f64) -> f64 {
    ((raw - base) / (1.0 - base)).clamp(0.0, 1.0)
}

/// All answers' scores.
fn sum<'a>(answers: impl Iterator<Item = &'a GateAnswer>) -> [f64; 14] {
    let mut bins = [0.0; 14];
    answers.for_each(|answer| bins.iter_mut().zip(answer.bins()).for_each(|(sum, bin)| *sum += f64::from(bin)));
    bins
}

/// See [`GateReport::separation`]; 0 where nothing tells.
fn separation(bins: &[f64; 14]) -> f64 {
    // Bin 7 begins at 0, bin 11 at .4; bin 2 ends at -.4.
    let beyond = |first: usize| bins[7 + first..].iter().sum::<f64>() - bins[..7 - first].iter().sum::<f64>();
    let (all, far) = (beyond(0), beyond(4));
    if all > 0.0 { (far / all).clamp(0.0, 1.0) } else { 0.0 }
}

/// The smallest limit above which at most this share of the scores is of bad records. Their scores lie symmetrically: as many lie above
/// a limit as below its negative, where hardly a good one does.
fn limit(bins: &[f64; 14], bad_passing: f64) -> f32 {
    // Bin 7 + i begins with edge i above 0; the bins before 6 - i end with its negative.
    let passes = |i: &usize| -> bool {
        let (above, below): (f64, f64) = (bins[7 + i..].iter().sum(), bins[..7 - i].iter().sum());
        below + 0.5 <= bad_passing * above
    };
    let edges = &GateAnswer::EDGES[6..];
    let at = (1..edges.len()).find(passes).unwrap_or(edges.len() - 1);
    edges[at] as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Clients of eight records with four scores each, of which so many are below 0, a little or far.
    fn gate(below: &[u32]) -> Gate {
        let answer = |below: u32| {
            let mut bins = [0; 14];
            (bins[6], bins[3], bins[7]) = (below - below / 2, below / 2, below);
            bins[13] = 32 - 2 * below;
            GateAnswer::Scored { records: 8, bins }
        };
        let answers = below.iter().zip(0..).map(|(&below, client)| (ClientId(client), answer(below))).collect();
        Gate::new(&GateConfig::default(), &answers, &Context::new(1))
    }

    #[test]
    fn scores_find_their_bins() {
        let bins = [-9.0, -0.8, -0.05, 0.0, 0.05, 0.1, 0.35, 0.8].map(GateAnswer::bin);
        assert_eq!(bins, [0, 1, 6, 7, 7, 8, 10, 13]);
    }

    #[test]
    fn it_opens_where_enough_is_surely_bad() {
        let half = gate(&[8, 6, 10, 8, 8, 8, 6, 10]);
        assert!(half.report.open && (half.report.raw - 0.5).abs() < 1e-9, "{:?}", half.report);
        assert!((half.report.bad - (0.5 - 0.155) / 0.845).abs() < 1e-9);
        let clean = gate(&[1, 3, 1, 2, 3, 1, 1, 2]);
        assert!(!clean.report.open && clean.report.raw > 0.0);
        assert!(!gate(&[12, 12, 12]).report.open, "24 records are too few");
        assert!(!gate(&[]).report.open);
        // One bad client among many good ones is not surely more than the margin.
        let mut one = vec![2; 10];
        one[0] = 16;
        assert!(!gate(&one).report.open);
    }

    #[test]
    fn the_limit_follows_what_lies_below() {
        // Nothing lies below -.1: what is above .1 is good.
        let answer = |bins: [u32; 14]| GateAnswer::Scored { records: 8, bins };
        let clean = [answer([0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 28])];
        assert_eq!(limit(&sum(clean.iter()), 0.1), 0.1);
        // Bad ones between -.3 and .3, as many on either side.
        let mixed = [answer([0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0, 20])];
        assert_eq!(limit(&sum(mixed.iter()), 0.1), 0.3);
        let all_bad = [answer([4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 4])];
        assert_eq!(limit(&sum(all_bad.iter()), 0.1), 0.8);
        assert_eq!(limit(&sum([].iter()), 0.1), 0.8);
    }

    #[test]
    fn a_judge_that_hardly_tells_prompts_apart_opens_nothing() {
        // A good record's scores around .15, a bad one's around 0: with half of them bad or none, .2 of what tells is above .4.
        let good = [0, 0, 0, 1, 1, 1, 3, 7, 7, 4, 3, 3, 1, 1];
        let half = [0, 0, 0, 1, 2, 4, 9, 9, 4, 2, 1, 0, 0, 0];
        let gate = |bad: bool| {
            let bins = |client: u32| if bad && client % 2 == 1 { half } else { good };
            let answer = |client| (ClientId(client), GateAnswer::Scored { records: 8, bins: bins(client) });
            Gate::new(&GateConfig::default(), &(0..20).map(answer).collect(), &Context::new(1)).report
        };
        for bad in [false, true] {
            let report = gate(bad);
            assert!(report.lower > 0.2 && !report.open, "{report:?}");
            assert!((0.1..0.3).contains(&report.separation), "{report:?}");
        }
    }

    #[test]
    fn a_client_passes_by_its_own_scores_and_those_of_all() {
        let gate = gate(&[14, 1, 14, 1, 14, 1, 14, 1, 14, 1]);
        assert!(gate.report.open, "{:?}", gate.report);
        let pass = |client| gate.pass(ClientId(client));
        assert!(pass(1) > pass(99) && pass(99) > pass(0), "{} {} {}", pass(1), pass(99), pass(0));
        assert!((pass(99) - (1.0 - gate.report.bad)).abs() < 1e-9);
        assert!(pass(0) >= 1.0 - MOST_BAD);
    }

    #[test]
    fn a_closed_gate_passes_all() {
        assert_eq!(gate(&[0; 8]).pass(ClientId(0)), 1.0);
    }

    #[test]
    fn those_who_abstain_are_counted_and_say_nothing() {
        let answers = BTreeMap::from([(ClientId(0), GateAnswer::Abstained)]);
        let gate = Gate::new(&GateConfig::default(), &answers, &Context::new(1));
        assert_eq!((gate.report.answered, gate.report.abstained, gate.report.counted), (0, 1, 0));
    }
}
