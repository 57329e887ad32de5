//! Why records were picked, in the rounds of whole simulations.
use super::*;
use crate::dataset::ClientData;
use crate::features::{TextFeatures, TextFeaturesConfig};
use crate::stage::{Coverage, Scorer};
use crate::types::{Adapter, ClientId, ClusterId, Context, Matrix, Record};
use std::collections::BTreeMap;

/// A word of a topic, and words of it in the order of a seed.
fn words(topic: usize, seed: Seed, count: usize) -> String {
    let word = |at: u64| -> String {
        let seed = Seed(topic as u64).derive("word", at);
        (0..7).map(|letter| char::from(b'a' + (seed.derive("letter", letter).0 % 26) as u8)).collect()
    };
    let drawn: Vec<String> = (0..count as u64).map(|at| word(seed.derive("draw", at).0 % 14)).collect();
    drawn.join(" ")
}

/// Eight clients of forty-eight records of six topics.
fn clients() -> Vec<ClientData> {
    let record = |client: u32, row: usize| {
        let topic = (client as usize + row) % 6;
        let seed = Seed(row as u64).derive("client", client.into());
        Record {
            id: format!("{client}-{row}"),
            instruction: words(topic, seed.derive("prompt", 0), 9),
            input: String::new(),
            responses: vec![words(topic, seed.derive("response", 0), 6)],
            category: format!("topic{topic}"),
            family: "words".into(),
        }
    };
    (0..8)
        .map(|client| ClientData {
            client: ClientId(client),
            name: format!("client-{client}"),
            records: (0..48).map(|row| record(client, row)).collect(),
        })
        .collect()
}

/// Two of three records are bad: as likely under any prompt.
struct Judge;

impl Scorer for Judge {
    fn names(&self) -> Vec<String> {
        vec!["loss".into()]
    }

    fn score(&self, records: &[Record], _: Option<&Adapter>, _: &Context) -> crate::Result<Matrix> {
        let loss = |record: &Record| {
            let noise = 0.1 * (Seed(3).derive(&record.id, 0).0 as f32 / u64::MAX as f32);
            let (response, prompt) = record.id.split_once(" / ").unwrap();
            let row: usize = response.split_once('-').unwrap().1.parse().unwrap();
            if row.is_multiple_of(3) && response == prompt { 0.5 + noise } else { 1.5 + noise }
        };
        Matrix::new(records.len(), 1, records.iter().map(loss).collect())
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        "two of three are bad".into()
    }
}

fn robust() -> Outcome {
    let text = "preset = \"fedhds_robust\"\ncount = { budget = 8 }\nserver.gate = { kind = \"ranks\", counted = 16, topics = 3 }";
    let pipeline = MethodConfig::from_toml_str(text).unwrap().pipeline(1).unwrap();
    Simulation::new(pipeline, Arc::new(clients()), Arc::<ToyTrainer>::default(), Box::new(WeightedMean::new()))
        .settings(SimulationSettings { rounds: 5, participation: Participation::Count(6), ..Default::default() })
        .seed(Seed(4))
        .extractor(Arc::new(TextFeatures::new(TextFeaturesConfig::default()).unwrap()))
        .judge(Arc::new(Judge))
        .run()
        .unwrap()
}

#[test]
fn every_record_of_a_gated_method_has_its_reason() {
    let outcome = robust();
    let (mut spares, mut refused, mut later) = (0, 0, 0);
    for round in &outcome.rounds {
        let gate = round.gate.as_ref().unwrap();
        assert!(gate.open);
        let mut ranks = Vec::new();
        for client in &round.clients {
            assert_eq!(client.reasons.len(), client.selected.len());
            assert_eq!(client.refused_reasons.len(), client.refused.len());
            let groups: BTreeMap<ClusterId, &GroupRecord> = client.groups.iter().map(|g| (g.group, g)).collect();
            assert!(client.groups.windows(2).all(|pair| pair[0].group < pair[1].group));
            for (reason, passed) in
                client.reasons.iter().map(|r| (r, true)).chain(client.refused_reasons.iter().map(|r| (r, false)))
            {
                let group = groups[&reason.group];
                assert!(reason.spare || group.ordered > 0);
                assert_eq!(reason.score.unwrap() >= f64::from(gate.least_score), passed, "{reason:?}");
                spares += usize::from(reason.spare);
            }
            refused += client.refused.len();
            for group in &client.groups {
                assert_eq!(group.reason.rank.is_some(), group.ordered > 0, "{group:?}");
                assert_eq!(group.reason.gain.is_some(), group.ordered > 0, "{group:?}");
                assert_eq!(matches!(group.reason.covered, Some(Coverage::Records(_))), group.ordered > 0, "{group:?}");
                later +=
                    usize::from(round.round.0 > 0 && group.reason.covered.is_some_and(|h| h != Coverage::Records(0.0)));
                ranks.extend(group.reason.rank);
            }
            let gave =
                |group: &GroupRecord| client.reasons.iter().filter(|r| r.group == group.group && !r.spare).count();
            assert!(client.groups.iter().all(|group| gave(group) <= group.ordered as usize));
        }
        ranks.sort_unstable();
        assert_eq!(ranks[0], 1);
        assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]) && ranks[ranks.len() - 1] <= 8 + round.missing + 8);
    }
    assert!(spares > 0 && refused > 0 && later > 0, "{spares} spares, {refused} refused, {later} covered before");
}

#[test]
fn methods_without_an_order_say_less() {
    let coverage = run("fedhds_coverage");
    let clients = |outcome: &Outcome| outcome.rounds.iter().flat_map(|r| r.clients.clone()).collect::<Vec<_>>();
    for client in clients(&coverage) {
        assert_eq!(client.reasons.len(), client.selected.len());
        assert!(client.groups.iter().all(|group| group.reason.covered.is_none() && group.ordered > 0));
        assert!(client.reasons.iter().all(|reason| !reason.spare && reason.score.is_none()));
        let ordered: u32 = client.groups.iter().map(|group| group.ordered).sum();
        assert_eq!(ordered as usize, client.selected.len());
    }
    assert!(clients(&coverage).iter().flat_map(|client| &client.groups).any(|group| group.reason.rank == Some(1)));
    for client in clients(&run("random")) {
        assert!(client.reasons.is_empty() && client.groups.iter().all(|group| group.reason.rank.is_none()));
        assert_eq!(client.groups.iter().map(|group| group.ordered as usize).sum::<usize>(), client.selected.len());
    }
    assert!(clients(&run("all")).iter().all(|client| client.reasons.is_empty() && client.groups[0].reason.caps.room));
}

#[test]
fn rounds_come_back_from_json_and_older_ones_load() {
    let outcome = robust();
    let text = serde_json::to_string(&outcome.rounds).unwrap();
    let back: Vec<RoundRecord> = serde_json::from_str(&text).unwrap();
    assert_eq!(back, outcome.rounds);
    let mut old = serde_json::to_value(&outcome.rounds).unwrap();
    for client in old.as_array_mut().unwrap().iter_mut().flat_map(|round| round["clients"].as_array_mut().unwrap()) {
        for name in ["groups", "reasons", "refused_reasons"] {
            client.as_object_mut().unwrap().remove(name);
        }
    }
    let old: Vec<RoundRecord> = serde_json::from_value(old).unwrap();
    for (old, new) in old.iter().zip(&outcome.rounds).flat_map(|(old, new)| old.clients.iter().zip(&new.clients)) {
        assert_eq!((&old.selected, &old.refused), (&new.selected, &new.refused));
        assert!(old.groups.is_empty() && old.reasons.is_empty());
    }
    // What is said of a record stays small, however large its group.
    let clients = outcome.rounds.iter().flat_map(|round| &round.clients);
    for client in clients {
        let looked_at = client.selected.len() + client.refused.len();
        let bytes = serde_json::to_string(&(&client.groups, &client.reasons, &client.refused_reasons)).unwrap().len();
        assert!(bytes <= 12 + 300 * looked_at.max(client.groups.len()), "{bytes} bytes of {looked_at} records");
        let ordered = client.groups.iter().filter(|group| group.ordered > 0).count();
        assert!(client.groups.len() <= ordered + looked_at);
    }
}
