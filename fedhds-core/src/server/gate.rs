//! Whether the quality gate is open, and what of each client is taken to be good.

use crate::method::GateConfig;
use crate::protocol::GateAnswer;
use crate::types::{ClientId, Context};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resamples of the clients for the lower bound.
const RESAMPLES: usize = 1000;

/// Ranks that the pooled share weighs against a client's own: a client has few of them.
const PRIOR: f64 = 8.0;

/// The largest share of a client's records that is taken to be bad: whoever has some left may be asked for one.
const MOST_BAD: f64 = 0.95;

/// What the clients' ranks say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Clients that ranked records.
    pub answered: u32,
    /// Clients that abstained.
    pub abstained: u32,
    /// Records that were ranked.
    pub counted: u32,
    /// Twice the share of them whose own prompt ranks in the worse half.
    pub raw: f64,
    /// Its lower 95% bound, by bootstrap over the clients.
    pub lower: f64,
    /// The estimated share of bad records.
    pub bad: f64,
    /// Whether bad records are left out.
    pub open: bool,
}

/// What the answers of all clients so far say.
pub(super) struct Gate {
    pub report: GateReport,
    pooled: f64,
    /// By client: (share in the worse half doubled, ranks).
    own: BTreeMap<ClientId, (f64, f64)>,
    base: f64,
}

impl Gate {
    pub fn new(config: &GateConfig, answers: &BTreeMap<ClientId, GateAnswer>, context: &Context) -> Self {
        let abstained = answers.values().filter(|answer| answer.counts().1 == 0).count();
        let counts: Vec<(f64, f64)> =
            answers.values().map(GateAnswer::counts).filter(|c| c.1 > 0).map(|(w, n)| (w.into(), n.into())).collect();
        let raw = doubled_share(counts.iter().copied());
        let mut rng = context.seed.derive("gate", 0).rng();
        let mut again: Vec<f64> = (0..RESAMPLES)
            .map(|_| doubled_share(counts.iter().map(|_| counts[rng.random_range(0..counts.len())])))
            .collect();
        again.sort_by(f64::total_cmp);
        let lower = again[RESAMPLES / 20];
        let counted = counts.iter().map(|(_, n)| n).sum::<f64>() as u32;
        let pooled = over_base(raw, config.base);
        let report = GateReport {
            answered: counts.len() as u32,
            abstained: abstained as u32,
            counted,
            raw,
            lower,
            bad: pooled,
            open: counted >= config.counted && lower > config.margin,
        };
        let own = answers.iter().filter_map(|(client, answer)| {
            let (worse, all) = answer.counts();
            (all > 0).then(|| (*client, (2.0 * f64::from(worse) / f64::from(all), f64::from(all))))
        });
        Self { report, pooled, own: own.collect(), base: config.base }
    }

    /// The share of a client's records that is taken to be good: its own ranks, drawn towards those of all; 1 where the gate is closed.
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

fn doubled_share(counts: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (worse, all) = counts.fold((0.0, 0.0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    if all > 0.0 { 2.0 * worse / all } else { 0.0 }
}

/// The share of bad records of a doubled share: what is above the base that good records have.
fn over_base(raw: f64, base: f64) -> f64 {
    ((raw - base) / (1.0 - base)).clamp(0.0, 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Clients of eight ranks each, of which so many are in the worse half.
    fn gate(worse: &[u32]) -> Gate {
        let answer = |worse: u32| GateAnswer::Ranks([8 - worse, 0, 0, 0, 0, worse, 0, 0]);
        let answers = worse.iter().zip(0..).map(|(&worse, client)| (ClientId(client), answer(worse))).collect();
        Gate::new(&GateConfig::default(), &answers, &Context::new(1))
    }

    #[test]
    fn it_opens_where_enough_is_surely_bad() {
        let half = gate(&[2, 1, 3, 2, 2, 2, 1, 3]);
        assert!(half.report.open && (half.report.raw - 0.5).abs() < 1e-9, "{:?}", half.report);
        assert!((half.report.bad - (0.5 - 0.12) / 0.88).abs() < 1e-9);
        let clean = gate(&[0, 1, 0, 0, 1, 0, 0, 0]);
        assert!(!clean.report.open && clean.report.raw > 0.0);
        assert!(!gate(&[4, 4, 4]).report.open, "24 ranks are too few");
        assert!(!gate(&[]).report.open);
        // One bad client among many good ones is not surely more than the margin.
        let mut one = vec![0; 10];
        one[0] = 8;
        assert!(!gate(&one).report.open);
    }

    #[test]
    fn a_client_passes_by_its_own_ranks_and_those_of_all() {
        let gate = gate(&[4, 0, 4, 0, 4, 0, 4, 0, 4, 0]);
        assert!(gate.report.open);
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
