//! Why records were picked, against the definitions of `docs/selection.md` in plain loops.
use super::*;
use crate::protocol::{ClientSummary, SpareGroups};
use crate::stage::Coverage;
use crate::types::ClusterId;

const THRESHOLD: f64 = 0.1;

fn unit(point: &[f64]) -> Vec<f64> {
    let norm = point.iter().map(|v| v * v).sum::<f64>().sqrt();
    point.iter().map(|v| if norm > 0.0 { v / norm } else { 0.0 }).collect()
}

fn similarity(a: &[f64], b: &[f64]) -> f64 {
    let cos: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    ((cos - THRESHOLD) / (1.0 - THRESHOLD)).clamp(0.0, 1.0)
}

/// What a server knows after some rounds, from the messages alone.
#[derive(Default)]
struct Known {
    groups: BTreeMap<(ClientId, ClusterId), (u32, Vec<f64>)>,
    trained: BTreeMap<(ClientId, ClusterId), u32>,
}

impl Known {
    fn hear(&mut self, summaries: &[ClientSummary]) {
        for summary in summaries {
            for (group, centroid) in summary.groups.iter().zip(summary.centroids.iter_rows()) {
                let centroid: Vec<f64> = centroid.iter().map(|&v| f64::from(v)).collect();
                self.groups.insert((summary.client, group.cluster), (group.size, unit(&centroid)));
            }
        }
    }

    /// Every group as it lies around the mean over the clients.
    fn places(&self) -> BTreeMap<(ClientId, ClusterId), Vec<f64>> {
        let clients: BTreeSet<ClientId> = self.groups.keys().map(|(client, _)| *client).collect();
        let mut centre = vec![0.0; DIMS];
        for client in &clients {
            let own: Vec<_> = self.groups.iter().filter(|((owner, _), _)| owner == client).collect();
            for (_, (_, point)) in &own {
                let share = 1.0 / (clients.len() * own.len()) as f64;
                point.iter().zip(&mut centre).for_each(|(v, sum)| *sum += share * v);
            }
        }
        let seen = |point: &[f64]| unit(&point.iter().zip(&centre).map(|(v, c)| v - c).collect::<Vec<_>>());
        self.groups.iter().map(|(key, (_, point))| (*key, seen(point))).collect()
    }

    fn covered(&self, places: &BTreeMap<(ClientId, ClusterId), Vec<f64>>, at: &[f64]) -> f64 {
        self.trained.iter().map(|(key, &records)| f64::from(records) * similarity(at, &places[key])).sum()
    }

    /// The greedy choice, without laziness: each record's group and gain, in order.
    fn greedy(&self, selection: &Selection, share: u32) -> Vec<((ClientId, ClusterId), f64)> {
        let places = self.places();
        let mut h: BTreeMap<_, f64> = places.iter().map(|(key, at)| (*key, self.covered(&places, at))).collect();
        let mut rooms: BTreeMap<(ClientId, ClusterId), u32> = selection
            .groups
            .iter()
            .map(|g| (g.client, g.cluster))
            .map(|key| (key, self.groups[&key].0 - self.trained.get(&key).copied().unwrap_or_default()))
            .collect();
        let mut shares: BTreeMap<ClientId, u32> = rooms.keys().map(|(client, _)| (*client, share)).collect();
        let mut order = Vec::new();
        while order.len() < selection.asked as usize {
            let gain = |key: &(ClientId, ClusterId)| -> f64 {
                let of = |(target, place): (&(ClientId, ClusterId), &Vec<f64>)| {
                    let s = similarity(place, &places[key]);
                    f64::from(self.groups[target].0).sqrt() * ((-h[target]).exp2() - (-(h[target] + s)).exp2())
                };
                places.iter().map(of).sum()
            };
            let open = rooms.iter().filter(|(key, room)| **room > 0 && shares[&key.0] > 0).map(|(key, _)| *key);
            let Some((best, key)) = open.map(|key| (gain(&key), key)).max_by(|a, b| a.0.total_cmp(&b.0)) else { break };
            places.iter().for_each(|(target, place)| *h.get_mut(target).unwrap() += similarity(place, &places[&key]));
            *rooms.get_mut(&key).unwrap() -= 1;
            *shares.get_mut(&key.0).unwrap() -= 1;
            order.push((key, best));
        }
        order
    }
}

#[test]
fn rank_gain_and_coverage_are_those_of_the_definition() {
    let mut federation = Federation::new(pipeline(9, false), &clients(6));
    let mut known = Known::default();
    let mut several = 0;
    for (round, ids) in [[0, 1, 2], [3, 4, 5], [0, 2, 4], [1, 3, 5]].iter().zip(0..).map(|(ids, round)| (round, ids)) {
        let played = federation.play(round, ids, &[], false).unwrap();
        known.hear(&played.summaries);
        let order = known.greedy(&played.selection, 5); // 1.5 x 9 / 3, rounded up
        let places = known.places();
        assert_eq!(order.len(), 9);
        for group in &played.selection.groups {
            let key = (group.client, group.cluster);
            let own: Vec<usize> = (0..order.len()).filter(|&at| order[at].0 == key).collect();
            assert_eq!(own.len(), group.records as usize, "round {round}: {group:?}");
            several += usize::from(own.len() > 1);
            let Some(&first) = own.first() else {
                assert_eq!((group.reason.rank, group.reason.gain, group.reason.covered), (None, None, None));
                continue;
            };
            assert_eq!(group.reason.rank, Some(first as u32 + 1), "round {round}: {group:?}");
            let gain = group.reason.gain.unwrap();
            assert!((gain - order[first].1).abs() < 1e-4 * gain, "round {round}: {gain} against {}", order[first].1);
            let Some(Coverage::Records(h)) = group.reason.covered else { panic!("{group:?}") };
            let expected = known.covered(&places, &places[&key]);
            assert!((h - expected).abs() < 1e-4, "round {round}: {h} against {expected}");
            assert_eq!(h > 0.0, expected > 1e-9);
        }
        for group in played.selection.groups.iter().filter(|group| group.records > 0) {
            *known.trained.entry((group.client, group.cluster)).or_default() += group.records;
        }
    }
    assert!(several > 0, "a group that gives several records stands at its first one");
    assert!(known.trained.values().sum::<u32>() == 36);
}

#[test]
fn limits_are_named_where_they_bind() {
    let caps = |selection: &Selection| -> Vec<(u32, u32, bool, bool, bool)> {
        let of = |g: &SelectedGroup| (g.records, g.size, g.reason.caps.share, g.reason.caps.room, g.reason.caps.pass);
        selection.groups.iter().map(of).collect()
    };
    // 1.5 x 12 / 4, rounded up: five of each client at most.
    let mut federation = Federation::new(pipeline(12, false), &clients(4));
    let selection = federation.play(0, &[0, 1, 2, 3], &[], false).unwrap().selection;
    let full = |client| selection.records_of(client) == 5;
    assert!((0..4).any(|client| full(ClientId(client))) && (0..4).any(|client| !full(ClientId(client))));
    for group in &selection.groups {
        assert_eq!(group.reason.caps.share, full(group.client), "{group:?}");
        assert_eq!(group.reason.caps.room, group.records == group.size, "{group:?}");
        assert!(!group.reason.caps.pass, "{group:?}");
    }
    // All there is.
    let mut federation = Federation::new(pipeline(1000, false), &clients(4));
    let selection = federation.play(0, &[0, 1, 2, 3], &[], false).unwrap().selection;
    assert!(caps(&selection).iter().all(|&(given, size, share, room, pass)| given == size && room && !share && !pass));
    // An open gate keeps back a share of each group.
    let mut federation = Federation::new(pipeline(400, true), &mixed(8));
    mostly_bad(&mut federation);
    let selection = federation.play(0, &[0, 1, 2, 3, 4, 5, 6, 7], &[], true).unwrap().selection;
    assert!(selection.gate.as_ref().unwrap().open);
    assert!(caps(&selection).iter().all(|&(given, size, _, room, pass)| given < size && pass && !room));
}

#[test]
fn a_client_says_which_records_are_spares_and_how_they_scored() {
    let mut federation = Federation::new(pipeline(8, true), &mixed(8));
    mostly_bad(&mut federation);
    let ids: Vec<u32> = (0..8).collect();
    let (mut spares, mut refused) = (0, 0);
    for round in 0..4 {
        let set: Vec<ClientId> = ids.iter().map(|&id| ClientId(id)).collect();
        let start = federation.server.begin_round(Round(round), &set, Some(&global())).unwrap();
        for (client, records) in &mut federation.clients {
            let mut summary = client.summarize(&start, &*records, &Context::new(1)).unwrap();
            let pairs = client.pilot(&start).unwrap();
            let losses = Federation::losses(&federation.bad[client.id().index()], &pairs);
            client.answer(&mut summary, &start, &losses).unwrap();
            federation.server.receive(client.id(), &summary.encode().unwrap()).unwrap();
        }
        for (id, order) in federation.server.select(&Context::new(1)).unwrap() {
            if order.is_empty() {
                continue;
            }
            let (client, _) = &mut federation.clients[id.index()];
            let limit: GateLimit = order.sections.get().unwrap().unwrap();
            let named: SpareGroups = order.sections.get().unwrap().unwrap_or_default();
            let mut scores: BTreeMap<RowId, Vec<f64>> = BTreeMap::new();
            let mut losses = |pairs: &[Pair]| {
                let losses = Federation::losses(&federation.bad[id.index()], pairs);
                let own = |row| (0..pairs.len()).find(|&at| pairs[at].response == row && pairs[at].prompt == row);
                for (pair, loss) in pairs.iter().zip(&losses).filter(|(pair, _)| pair.response != pair.prompt) {
                    let ln = |loss: f32| f64::from(loss).ln();
                    scores.entry(pair.response).or_default().push(ln(*loss) - ln(losses[own(pair.response).unwrap()]));
                }
                Ok(losses)
            };
            let before = client.clone();
            let chosen = client.choose_explained(&order, &Context::new(1), Some(&mut losses)).unwrap();
            let plain = before.clone().choose_scored(&order, &Context::new(1), &mut losses).unwrap();
            assert_eq!(plain, chosen.rows());
            let labels = client.state().unwrap().clustering.labels.clone();
            for (choice, passed) in
                chosen.records.iter().map(|c| (c, true)).chain(chosen.refused.iter().map(|c| (c, false)))
            {
                assert_eq!(labels[choice.row.index()], Some(choice.group));
                let own = &scores[&choice.row];
                let mean = own.iter().sum::<f64>() / own.len() as f64;
                assert!((choice.score.unwrap() - mean).abs() < 1e-9, "{choice:?} against {mean}");
                assert_eq!(mean >= f64::from(limit.least_score), passed);
                let ordered = order.clusters.iter().any(|wanted| wanted.cluster == choice.group);
                assert!(if choice.spare { named.0.contains(&choice.group) } else { ordered }, "{choice:?}");
            }
            for wanted in &order.clusters {
                let own = chosen.records.iter().filter(|choice| choice.group == wanted.cluster && !choice.spare);
                assert!(own.count() <= wanted.count as usize);
            }
            spares += chosen.records.iter().filter(|choice| choice.spare).count();
            refused += chosen.refused.len();
            let after: BTreeSet<RowId> = client.refused().collect();
            let expected = before.refused().chain(chosen.refused.iter().map(|choice| choice.row));
            assert_eq!(after, expected.collect());
            let rows = chosen.rows();
            client.mark_trained(rows.iter().copied());
            if !rows.is_empty() {
                let update = client.update(&order, &rows, trained()).unwrap().encode().unwrap();
                federation.server.receive(id, &update).unwrap();
            }
        }
        federation.server.finish_round().unwrap();
    }
    assert!(spares > 0 && refused > 0, "{spares} spares, {refused} refused");
}

#[test]
fn a_server_that_goes_on_knows_the_orders_and_no_reasons() {
    let mut federation = Federation::new(pipeline(6, false), &clients(3));
    let set: Vec<ClientId> = (0..3).map(ClientId).collect();
    let start = federation.server.begin_round(Round(0), &set, None).unwrap();
    for (client, records) in &mut federation.clients {
        let summary = client.summarize(&start, &*records, &Context::new(1)).unwrap();
        federation.server.receive(client.id(), &summary.encode().unwrap()).unwrap();
    }
    let orders = federation.server.select(&Context::new(1)).unwrap();
    let reasons = |server: &Server| -> Vec<GroupReason> {
        server.selection().unwrap().groups.iter().map(|group| group.reason).collect()
    };
    assert!(reasons(&federation.server).iter().any(|reason| reason.rank == Some(1)));
    federation.restart();
    assert_eq!(federation.server.orders().unwrap(), orders);
    assert!(reasons(&federation.server).iter().all(|reason| *reason == GroupReason::default()));
}
