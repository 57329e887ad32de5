//! What happened in a round: the run record is made of these.
//!
//! Everything but the fields named `seconds` and `peak_memory_bytes` is a function of the run's identity alone: the same on every repetition,
//! interrupted or not, at any thread count.

use super::{GroupMap, GroupRecord, LayerScore, RecordReason, SelectionMap};
use crate::protocol::Traffic;
use crate::server::GateReport;
use crate::stage::AggregationReport;
use crate::types::{ClientId, Round};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One round of the federation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRecord {
    /// The round, from 0.
    pub round: Round,
    /// The clients that took part, in ascending order of their ids.
    pub clients: Vec<ClientRecord>,
    /// Whether the global adapter changed; `false` for a round in which nothing was selected.
    pub adapter_changed: bool,
    /// Clients that were left out, and why: a stage or message of theirs failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<ClientId, String>,
    /// The clients of the round that were hostile, where the simulation has an attack. No method or aggregator is told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hostile: BTreeSet<ClientId>,
    /// How the aggregation came about.
    #[serde(default)]
    pub aggregation: AggregationReport,
    /// Records that the round asked for and that nobody trained on.
    #[serde(default)]
    pub missing: u32,
    /// Tokens that the round asked for and that nobody trained on, where the budget is in tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_tokens: u64,
    /// What the clients' ranks say of the quality of their records, where the method has a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
    /// Seconds of the server by stage: `select`, `aggregate`.
    pub seconds: BTreeMap<String, f64>,
    /// The evaluation after this round, where the schedule asks for one.
    pub evaluation: Option<EvaluationRecord>,
    /// The most memory that the process had held when the round ended, in bytes: of all clients, the server and what came before. `None` where
    /// the system does not say, and in records of releases that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Where the uploaded groups lie and what was ordered of them: of the latest round that has such a map, where [`Views`](super::Views) ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<GroupMap>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One client in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRecord {
    /// The client.
    pub client: ClientId,
    /// Records that it holds.
    pub records: usize,
    /// Centroids that it uploaded; 0 where the method looks at no features.
    pub centroids: usize,
    /// Ids of the records that it trained on, in the order of its data.
    pub selected: Vec<String>,
    /// Tokens that went through the model in training.
    pub tokens: u64,
    /// Steps that were not taken because loss or gradient was not finite.
    pub skipped: usize,
    /// Mean loss on response tokens of each step, in nats, in order; a loss that is not finite is `null`.
    #[serde(with = "finite_or_null")]
    pub losses: Vec<f32>,
    /// Forward passes over records that scoring took in this round.
    #[serde(default)]
    pub passes: u64,
    /// Encoded bytes by kind of message.
    pub traffic: Traffic,
    /// Seconds by stage: `features` (of a frozen extractor: what the one extraction took, in the first round that needs it),
    /// `scores`, `summarize`, `judge` (losses for the quality gate), `choose`, `train`.
    pub seconds: BTreeMap<String, f64>,
    /// Ids of records that did not pass an open gate in this round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The groups that were ordered or of which a record was looked at, ascending, and why the server picked them. Empty in the records of 0.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRecord>,
    /// Why the client picked each of `selected`, in its order. Empty in the records of 0.1, and where the method looks at no features: there
    /// a client is one group, and its records are drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<RecordReason>,
    /// What the client knows of each of `refused`, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_reasons: Vec<RecordReason>,
    /// Where its records lie and which of them it chose: of the latest round that it took part in, where [`Views`](super::Views) ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<SelectionMap>,
    /// How well the features of each layer tell its tasks apart, the first layer first; likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerScore>,
}

impl ClientRecord {
    /// All seconds of the client in the round: what the paper's speed-up sums.
    pub fn total_seconds(&self) -> f64 {
        self.seconds.values().sum()
    }
}

/// One evaluation of the global adapter: means over the test records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecord {
    /// Number of records measured.
    pub records: usize,
    /// Mean loss on response tokens per record, in nats.
    pub loss: f64,
    /// Mean loss by task or category.
    pub loss_by_category: BTreeMap<String, f64>,
    /// Records for which text was generated.
    pub generated: usize,
    /// Mean Rouge-L F1 over the generated ones, in [0, 1].
    pub rouge_l: Option<f64>,
    /// Share of the generated ones that equal a reference, in [0, 1].
    pub exact_match: Option<f64>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl EvaluationRecord {
    /// Means over the scores of one evaluation, summed in their order.
    pub fn from_scores(scores: &[crate::stage::RecordScore], seconds: f64) -> Self {
        let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let losses: Vec<f64> = scores.iter().map(|s| s.loss).collect();
        let mut by_category: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for score in scores {
            by_category.entry(score.category.clone()).or_default().push(score.loss);
        }
        let rouge: Vec<f64> = scores.iter().filter_map(|s| s.rouge_l).collect();
        let exact: Vec<f64> = scores.iter().filter_map(|s| s.exact_match).map(f64::from).collect();
        Self {
            records: scores.len(),
            loss: mean(&losses).unwrap_or_default(),
            loss_by_category: by_category.into_iter().filter_map(|(k, v)| Some((k, mean(&v)?))).collect(),
            generated: rouge.len(),
            rouge_l: mean(&rouge),
            exact_match: mean(&exact),
            seconds,
        }
    }
}

impl RoundRecord {
    /// This record with every measured time set to 0, and without its memory: what two runs of one identity must agree on bit for bit.
    #[must_use]
    pub fn without_times(&self) -> Self {
        let mut record = self.clone();
        let zero = |times: &mut BTreeMap<String, f64>| times.values_mut().for_each(|s| *s = 0.0);
        zero(&mut record.seconds);
        record.peak_memory_bytes = None;
        record.clients.iter_mut().for_each(|client| zero(&mut client.seconds));
        if let Some(evaluation) = &mut record.evaluation {
            evaluation.seconds = 0.0;
        }
        record
    }
}

/// JSON has no NaN: a value that is not finite is written as `null` and read back as NaN.
mod finite_or_null {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|v| v.is_finite().then_some(*v)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        let values = Vec::<Option<f32>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|v| v.unwrap_or(f32::NAN)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::stage::RecordScore;

    fn client() -> ClientRecord {
        ClientRecord {
            client: ClientId(4),
            records: 9,
            centroids: 2,
            selected: vec!["a".into()],
            tokens: 12,
            skipped: 1,
            losses: vec![0.1, f32::NAN],
            passes: 3,
            traffic: Traffic::default(),
            seconds: BTreeMap::from([("train".to_owned(), 1.5), ("choose".to_owned(), 0.5)]),
            refused: Vec::new(),
            groups: Vec::new(),
            reasons: Vec::new(),
            refused_reasons: Vec::new(),
            map: None,
            layers: Vec::new(),
        }
    }

    #[test]
    fn a_step_that_was_not_finite_survives_json() {
        let text = serde_json::to_string(&client()).unwrap();
        assert!(text.contains("[0.1,null]"), "{text}");
        let back: ClientRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(back.losses[0].to_bits(), 0.1f32.to_bits());
        assert!(back.losses[1].is_nan());
        assert_eq!(back.total_seconds(), 2.0);
    }

    #[test]
    fn only_times_are_dropped() {
        let round = RoundRecord {
            round: Round(0),
            clients: vec![client()],
            adapter_changed: true,
            left_out: BTreeMap::new(),
            hostile: Default::default(),
            aggregation: AggregationReport::default(),
            missing: 0,
            missing_tokens: 0,
            gate: None,
            seconds: BTreeMap::from([("select".to_owned(), 3.0)]),
            evaluation: None,
            peak_memory_bytes: None,
            map: None,
        };
        let bare = round.without_times();
        assert_eq!(bare.seconds["select"], 0.0);
        assert_eq!(bare.clients[0].total_seconds(), 0.0);
        assert_eq!(bare.clients[0].selected, round.clients[0].selected);
    }

    #[test]
    fn means_are_over_what_was_measured() {
        let score = |category: &str, loss, rouge: Option<f64>| RecordScore {
            id: String::new(),
            category: category.into(),
            loss,
            output: None,
            rouge_l: rouge,
            exact_match: rouge.map(|r| r == 1.0),
        };
        let scores = [score("a", 1.0, Some(1.0)), score("a", 2.0, Some(0.5)), score("b", 6.0, None)];
        let record = EvaluationRecord::from_scores(&scores, 0.0);
        assert_eq!((record.records, record.generated, record.loss), (3, 2, 3.0));
        assert_eq!(record.loss_by_category, BTreeMap::from([("a".into(), 1.5), ("b".into(), 6.0)]));
        assert_eq!((record.rouge_l, record.exact_match), (Some(0.75), Some(0.5)));
        assert_eq!(EvaluationRecord::from_scores(&[], 0.0).rouge_l, None);
    }
}
