//! Groups that are made once: both state machines together, over many rounds.
use super::super::*;
use crate::aggregate::WeightedMean;
use crate::client::{Client, Pair, SavedClient};
use crate::error::Result;
use crate::method::{MethodConfig, Pipeline};
use crate::protocol::{ClientSummary, GateAnswer, GateLimit, GroupsDigest, Wire as _};
use crate::stage::{Rows, Trained};
use crate::types::{AdapterTensor, Matrix, RowId, Scores};
use rand::RngExt as _;

mod why;

/// Topics that the records are of, each a direction.
const TOPICS: usize = 6;
const DIMS: usize = 8;

fn pipeline(budget: usize, gate: bool) -> Pipeline {
    let gate =
        if gate { "server.gate = { kind = \"ranks\", counted = 16, topics = 3 }" } else { "server.gate = \"none\"" };
    let text =
        format!("preset = \"fedhds_robust\"\ncount = {{ budget = {budget} }}\nclient.shared_dims = {DIMS}\n{gate}");
    MethodConfig::from_toml_str(&text).unwrap().pipeline(1).unwrap()
}

/// Records around the directions of these topics.
fn records(topics: &[usize], seed: u64) -> Matrix {
    let mut rng = Seed(seed).rng();
    let row = |topic: usize, rng: &mut crate::types::Rng| -> Vec<f32> {
        (0..DIMS).map(|d| f32::from(u8::from(d == topic)) + rng.random_range(-0.1..0.1)).collect()
    };
    Matrix::from_rows(&topics.iter().map(|&topic| row(topic, &mut rng)).collect::<Vec<_>>()).unwrap()
}

fn global() -> Adapter {
    let tensor = AdapterTensor { shape: [1, 1], data: vec![0.0] };
    Adapter { tensors: [("w".to_owned(), tensor)].into(), ..Adapter::default() }
}

fn trained() -> Trained {
    Trained { adapter: global(), losses: vec![1.0], skipped: 0, tokens: 1 }
}

/// A federation whose clients live on from round to round.
struct Federation {
    server: Server,
    pipeline: Pipeline,
    clients: Vec<(Client, Matrix)>,
    /// The share of losses that say a response is bad, by client: which of its records are.
    bad: Vec<Vec<bool>>,
}

/// What became of a round.
struct Played {
    /// Bytes of the summaries.
    sent: Vec<usize>,
    chosen: BTreeMap<ClientId, Vec<RowId>>,
    report: RoundReport,
    /// The summaries with their groups, where a digest stood for them too.
    summaries: Vec<ClientSummary>,
    selection: Selection,
}

impl Federation {
    fn new(pipeline: Pipeline, topics: &[Vec<usize>]) -> Self {
        let clients = topics
            .iter()
            .zip(0u32..)
            .map(|(topics, id)| (Client::new(ClientId(id), &pipeline), records(topics, u64::from(id))));
        Self {
            server: Server::new(pipeline.clone(), Seed(5), Box::new(WeightedMean::new())).unwrap().explained(),
            bad: topics.iter().map(|topics| vec![false; topics.len()]).collect(),
            clients: clients.collect(),
            pipeline,
        }
    }

    /// A response's loss under a prompt: a good one is likelier under its own, a bad one alike under all.
    fn losses(bad: &[bool], pairs: &[Pair]) -> Vec<f32> {
        let noise = |pair: &Pair| {
            Seed(u64::from(pair.response.0)).derive("noise", pair.prompt.0.into()).0 as f32 / u64::MAX as f32
        };
        let loss = |pair: &Pair| match bad[pair.response.index()] {
            false if pair.response == pair.prompt => 0.5 + 0.1 * noise(pair),
            _ => 1.5 + 0.1 * noise(pair),
        };
        pairs.iter().map(loss).collect()
    }

    /// A round of these clients; updates of `lost` ones never arrive. Without `judges` the clients decline the gate's question.
    fn play(&mut self, round: u32, ids: &[u32], lost: &[u32], judges: bool) -> Result<Played> {
        let set: Vec<ClientId> = ids.iter().map(|&id| ClientId(id)).collect();
        let start = self.server.begin_round(Round(round), &set, Some(&global()))?;
        let (mut sent, mut chosen) = (Vec::new(), BTreeMap::new());
        for &id in ids {
            let (client, records) = &mut self.clients[id as usize];
            let context = Context::new(Seed(5).of_call(Round(round), "client", id, "summarize"));
            let mut summary = client.summarize(&start, &*records, &context)?;
            if judges {
                let pairs = client.pilot(&start)?;
                client.answer(&mut summary, &start, &Self::losses(&self.bad[id as usize], &pairs))?;
            }
            let bytes = summary.encode()?;
            sent.push(bytes.len());
            self.server.receive(ClientId(id), &bytes)?;
        }
        let orders = self.server.select(&Context::new(u64::from(round)))?;
        let summaries = self.server.state.summaries.values().cloned().collect();
        let selection = self.server.selection().cloned().unwrap();
        for (id, order) in orders.iter().filter(|(_, order)| !order.is_empty()) {
            let (client, _) = &mut self.clients[id.index()];
            let context = Context::new(Seed(5).of_call(Round(round), "client", id.0, "choose"));
            let mut losses = |pairs: &[Pair]| Ok(Self::losses(&self.bad[id.index()], pairs));
            let rows = match judges {
                true => client.choose_scored(order, &context, &mut losses)?,
                false => client.choose(order, &context)?,
            };
            if rows.is_empty() {
                continue;
            }
            client.mark_trained(rows.iter().copied());
            let update = client.update(order, &rows, trained())?.encode()?;
            chosen.insert(*id, rows);
            if !lost.contains(&id.0) {
                self.server.receive(*id, &update)?;
            }
        }
        let report = self.server.finish_round()?.report;
        Ok(Played { sent, chosen, report, summaries, selection })
    }

    /// Everything in another process.
    fn restart(&mut self) {
        let state = ServerState::from_bytes(&self.server.state().unwrap().to_bytes().unwrap()).unwrap();
        self.server = Server::new(self.pipeline.clone(), Seed(5), Box::new(WeightedMean::new())).unwrap().explained();
        self.server.resume(state, None).unwrap();
        for (client, _) in &mut self.clients {
            let saved = SavedClient::from_bytes(&client.saved().to_bytes().unwrap()).unwrap();
            *client = Client::new(client.id(), &self.pipeline);
            client.restore(saved).unwrap();
        }
    }
}

/// Clients of forty records: mostly of one topic, with a few of another.
fn clients(count: usize) -> Vec<Vec<usize>> {
    let topic = |client: usize, record: usize| if record < 28 { client % TOPICS } else { (client + 1) % TOPICS };
    (0..count).map(|client| (0..40).map(|record| topic(client, record)).collect()).collect()
}

#[test]
fn groups_go_up_once_and_are_never_made_anew_for_what_is_left() {
    let mut federation = Federation::new(pipeline(6, false), &clients(3));
    let first = federation.play(0, &[0, 1, 2], &[], false).unwrap();
    let groups: Vec<_> =
        federation.clients.iter().map(|(client, _)| client.state().unwrap().clustering.clone()).collect();
    federation.restart();
    let second = federation.play(1, &[0, 1, 2], &[], false).unwrap();
    assert!(second.sent.iter().all(|&bytes| bytes < 40), "{:?} after {:?}", second.sent, first.sent);
    let again: Vec<_> =
        federation.clients.iter().map(|(client, _)| client.state().unwrap().clustering.clone()).collect();
    assert_eq!(groups, again);
    // New records, too few for a group at first.
    for (count, longer) in [(2, false), (5, true)] {
        let (_, records) = &mut federation.clients[0];
        let more = records_of(records, count);
        *records = Matrix::stack([&*records, &more]).unwrap();
        let round = if longer { 3 } else { 2 };
        let played = federation.play(round, &[0], &[], false).unwrap();
        assert_eq!(played.sent[0] > 40, longer, "{:?}", played.sent);
    }
    let grown = federation.clients[0].0.state().unwrap().clustering.clone();
    let before = groups[0].centroids.rows();
    assert!(grown.centroids.rows() > before);
    assert_eq!(grown.centroids.take_rows(&(0..before).collect::<Vec<_>>()).unwrap(), groups[0].centroids);
    assert_eq!(grown.labels[..40], groups[0].labels[..]);
}

#[test]
fn records_that_wait_for_a_group_do_not_stand_in_the_way_of_a_restart() {
    let pipeline = pipeline(6, true);
    let mut server = Server::new(pipeline.clone(), Seed(5), Box::new(WeightedMean::new())).unwrap();
    let start = server.begin_round(Round(0), &[ClientId(0)], None).unwrap();
    let mut client = Client::new(ClientId(0), &pipeline);
    let mut features = records(&mixed(1)[0], 1);
    let facts = |client: &mut Client, features: &Matrix| {
        let scores = Scores::new(["length"], Matrix::zeros(features.rows(), 1)).unwrap();
        let rows = Rows::new(features).scores(&scores).prompts(features);
        client.summarize(&start, rows, &Context::new(1)).unwrap();
        SavedClient::from_bytes(&client.saved().to_bytes().unwrap()).unwrap()
    };
    facts(&mut client, &features);
    let more = records_of(&features, 2);
    features = Matrix::stack([&features, &more]).unwrap();
    let saved = facts(&mut client, &features);
    let mut other = Client::new(ClientId(0), &pipeline);
    other.restore(saved.clone()).unwrap();
    assert_eq!(other.state(), client.state());
    // A state whose prompts are of other records is refused, not followed.
    let mut state = saved.state.unwrap();
    state.prompts = Some(Matrix::zeros(3, DIMS));
    let error = other.resume(state).unwrap_err().to_string();
    assert!(error.contains("prompts: expected 48 rows, got 3"), "{error}");
}

#[test]
fn a_record_without_losses_passes_an_open_gate() {
    let mut federation = Federation::new(pipeline(8, true), &mixed(8));
    mostly_bad(&mut federation);
    let ids: Vec<u32> = (0..8).collect();
    assert!(federation.play(0, &ids, &[], true).unwrap().report.gate.unwrap().open);
    let set: Vec<ClientId> = ids.iter().map(|&id| ClientId(id)).collect();
    let start = federation.server.begin_round(Round(1), &set, Some(&global())).unwrap();
    for (client, records) in &mut federation.clients {
        let summary = client.summarize(&start, &*records, &Context::new(1)).unwrap();
        federation.server.receive(client.id(), &summary.encode().unwrap()).unwrap();
    }
    for (id, order) in federation.server.select(&Context::new(1)).unwrap() {
        let (client, _) = &mut federation.clients[id.index()];
        let before = client.refused().count();
        let mut fresh = client.clone();
        let mut unknown = |pairs: &[Pair]| Ok(vec![f32::NAN; pairs.len()]);
        let rows = client.choose_scored(&order, &Context::new(1), &mut unknown).unwrap();
        assert_eq!((rows.len(), client.refused().count()), (order.records(), before));
        let mut short = |pairs: &[Pair]| Ok(vec![1.0; pairs.len().saturating_sub(1)]);
        let got = fresh.choose_scored(&order, &Context::new(1), &mut short);
        assert!(order.is_empty() || got.unwrap_err().to_string().contains("one for each pair"));
    }
}

/// Some more records like a client's first ones.
fn records_of(like: &Matrix, count: usize) -> Matrix {
    let mut more = like.take_rows(&(0..count).collect::<Vec<_>>()).unwrap();
    more.as_mut_slice().iter_mut().enumerate().for_each(|(i, value)| *value += 0.01 * (1 + i) as f32);
    more
}

#[test]
fn two_hundred_rounds_over_twenty_clients_go_on_by_what_is_least_covered() {
    let mut federation = Federation::new(pipeline(4, false), &clients(20));
    let mut seen: BTreeSet<(ClientId, RowId)> = BTreeSet::new();
    let mut sampled = Seed(1).rng();
    for round in 0..200 {
        let mut ids: Vec<u32> = (0..20).collect();
        (0..5).for_each(|i| ids.swap(i, sampled.random_range(i..20)));
        ids.truncate(5);
        ids.sort_unstable();
        if round % 50 == 17 {
            federation.restart();
        }
        let played = federation.play(round, &ids, &[], false).unwrap();
        let new: Vec<(ClientId, RowId)> =
            played.chosen.iter().flat_map(|(id, rows)| rows.iter().map(|row| (*id, *row))).collect();
        assert!(new.iter().all(|record| seen.insert(*record)), "a record trains once");
        let left = 20 * 40 - seen.len();
        assert!(new.len() >= 4.min(left) || left < 200, "round {round}: {} records, {left} left", new.len());
        if round == 30 {
            // 124 records over six topics: none has less than half of its share.
            let topics = clients(20);
            let mut counts = [0; TOPICS];
            seen.iter().for_each(|(id, row)| counts[topics[id.index()][row.index()]] += 1);
            assert!(counts.iter().all(|&count| count >= 10), "{counts:?}");
        }
    }
    assert!(seen.len() >= 780, "{} of 800 records", seen.len());
}

#[test]
fn what_did_not_count_is_open_again_and_made_up_for() {
    let mut federation = Federation::new(pipeline(6, false), &clients(3));
    let first = federation.play(0, &[0, 1, 2], &[1], false).unwrap();
    let lost = first.chosen[&ClientId(1)].clone();
    assert_eq!(first.report.missing as usize, lost.len());
    let marked: BTreeSet<RowId> = federation.clients[1].0.trained().collect();
    assert!(lost.iter().all(|row| marked.contains(row)));
    let second = federation.play(1, &[0, 1, 2], &[], false).unwrap();
    let records = |played: &Played| played.chosen.values().map(Vec::len).sum::<usize>();
    assert_eq!(records(&second), 6 + lost.len(), "the next round gives what was short");
    assert_eq!(second.report.missing, 0);
    assert_eq!(records(&federation.play(2, &[0, 1, 2], &[], false).unwrap()), 6);
    // Nothing that counted trained twice, and what was lost may have.
    let trained: BTreeSet<RowId> = federation.clients[1].0.trained().collect();
    assert!(second.chosen.get(&ClientId(1)).is_none_or(|rows| rows.iter().all(|row| trained.contains(row))));
}

#[test]
fn no_client_gives_more_than_its_share_whatever_it_claims() {
    let mut federation = Federation::new(pipeline(12, false), &clients(4));
    let played = federation.play(0, &[0, 1, 2, 3], &[], false).unwrap();
    assert!(played.chosen.values().all(|rows| rows.len() <= 5), "1.5 x 12 / 4, rounded up");
    // A budget as large as all there is.
    let mut federation = Federation::new(pipeline(1000, false), &clients(4));
    let played = federation.play(0, &[0, 1, 2, 3], &[], false).unwrap();
    assert!(played.chosen.values().all(|rows| rows.len() == 40));
    assert_eq!(played.report.missing, 840);
}

#[test]
fn a_digest_of_other_groups_leaves_the_client_out() {
    let mut federation = Federation::new(pipeline(6, false), &clients(2));
    federation.play(0, &[0, 1], &[], false).unwrap();
    federation.server.begin_round(Round(1), &[ClientId(0)], Some(&global())).unwrap();
    let mut summary = crate::protocol::ClientSummary::new(ClientId(0), Round(1), Vec::new(), Matrix::zeros(0, 0));
    summary.sections.set(&GroupsDigest(7)).unwrap();
    let error = federation.server.receive(ClientId(0), &summary.encode().unwrap()).unwrap_err().to_string();
    assert!(error.contains("client 0") && error.contains("groups_digest"), "{error}");
}

#[test]
fn a_client_that_asks_for_larger_groups_shows_none() {
    let mut federation = Federation::new(pipeline(6, false), &clients(2));
    federation.clients[0].0.set_least_group(10);
    let played = federation.play(0, &[0, 1], &[], false).unwrap();
    assert!(!played.chosen.contains_key(&ClientId(0)) && played.chosen.contains_key(&ClientId(1)));
    // Two records are too few to show a centroid: the client has no place, and gives what others cannot.
    let mut federation = Federation::new(pipeline(45, false), &[vec![0; 40], vec![1; 2]]);
    let played = federation.play(0, &[0, 1], &[], false).unwrap();
    assert!(federation.clients[1].0.state().unwrap().hidden);
    assert_eq!(
        played.chosen.values().map(Vec::len).collect::<Vec<_>>(),
        [34, 2],
        "1.5 x 45 / 2, and all of the small one"
    );
}

/// Two of three records of every client are bad.
fn mostly_bad(federation: &mut Federation) {
    federation.bad.iter_mut().for_each(|bad| bad.iter_mut().enumerate().for_each(|(row, bad)| *bad = row % 3 > 0));
}

/// Clients of several topics each, so that decoys of other topics are at hand.
fn mixed(count: usize) -> Vec<Vec<usize>> {
    (0..count).map(|client| (0..48).map(|record| (client + record) % TOPICS).collect()).collect()
}

#[test]
fn an_open_gate_leaves_out_what_is_bad_and_looks_at_nothing_twice() {
    let mut federation = Federation::new(pipeline(8, true), &mixed(8));
    mostly_bad(&mut federation);
    let (mut good, mut all) = (0, 0);
    for round in 0..6 {
        let played = federation.play(round, &[0, 1, 2, 3, 4, 5, 6, 7], &[], true).unwrap();
        let gate = played.report.gate.unwrap();
        assert!(gate.open && (0.2..0.9).contains(&gate.bad), "{gate:?}");
        for (id, rows) in &played.chosen {
            all += rows.len();
            good += rows.iter().filter(|row| !federation.bad[id.index()][row.index()]).count();
        }
        federation.restart();
    }
    assert_eq!(good, all, "all that trained is good");
    assert!(all >= 36, "{all} of 48");
    for (client, _) in &federation.clients {
        let trained: BTreeSet<RowId> = client.trained().collect();
        assert!(client.refused().all(|row| !trained.contains(&row)));
    }
}

#[test]
fn a_closed_gate_is_as_if_there_were_none() {
    let play = |gate: bool, judges: bool| {
        let mut federation = Federation::new(pipeline(8, gate), &mixed(4));
        (0..4).map(|round| federation.play(round, &[0, 1, 2, 3], &[], judges).unwrap().chosen).collect::<Vec<_>>()
    };
    assert_eq!(play(true, true), play(false, false));
    assert_eq!(play(true, false), play(false, false), "who declines changes nothing either");
}

#[test]
fn who_declines_gives_no_more_than_an_equal_share_once_the_gate_is_open() {
    let mut federation = Federation::new(pipeline(16, true), &mixed(8));
    mostly_bad(&mut federation);
    federation.play(0, &[1, 2, 3, 4, 5, 6, 7], &[], true).unwrap();
    let set: Vec<ClientId> = (0..8).map(ClientId).collect();
    let start = federation.server.begin_round(Round(1), &set, Some(&global())).unwrap();
    for (client, records) in &mut federation.clients {
        let summary = client.summarize(&start, &*records, &Context::new(1)).unwrap();
        federation.server.receive(client.id(), &summary.encode().unwrap()).unwrap();
    }
    let orders = federation.server.select(&Context::new(1)).unwrap();
    let limit: GateLimit = orders[&ClientId(1)].sections.get().unwrap().unwrap();
    assert!(limit.least_score > 0.0);
    assert!(orders[&ClientId(0)].records() <= 2, "16 / 8");
    assert!(orders.values().map(|order| order.records()).sum::<usize>() >= 14);
}

#[test]
fn a_client_of_one_topic_abstains() {
    let mut federation = Federation::new(pipeline(4, true), &[vec![0; 40], vec![1; 40]]);
    let start = federation.server.begin_round(Round(0), &[ClientId(0)], Some(&global())).unwrap();
    let (client, records) = &mut federation.clients[0];
    let mut summary = client.summarize(&start, &*records, &Context::new(1)).unwrap();
    assert!(client.pilot(&start).unwrap().is_empty());
    client.answer(&mut summary, &start, &[]).unwrap();
    assert_eq!(summary.sections.get().unwrap(), Some(GateAnswer::Abstained));
}

#[test]
fn copies_count_once_and_one_of_them_trains() {
    let pipeline = pipeline(30, false);
    let features = records(&[0; 12].iter().chain(&[1; 12]).copied().collect::<Vec<_>>(), 1);
    // The first ten records are one.
    let copies: Vec<u32> = (0..24u32).map(|row| row.saturating_sub(9)).collect();
    let mut first = BTreeSet::new();
    for seed in 0..40 {
        let mut server = Server::new(pipeline.clone(), Seed(seed), Box::new(WeightedMean::new())).unwrap();
        let mut client = Client::new(ClientId(0), &pipeline);
        let start = server.begin_round(Round(0), &[ClientId(0)], None).unwrap();
        let summary = client.summarize(&start, Rows::new(&features).copies(&copies), &Context::new(1)).unwrap();
        assert_eq!(summary.records(), 15);
        server.receive(ClientId(0), &summary.encode().unwrap()).unwrap();
        let orders = server.select(&Context::new(1)).unwrap();
        let rows = client.choose(&orders[&ClientId(0)], &Context::new(1)).unwrap();
        assert_eq!(rows.len(), 15);
        let copy: Vec<u32> = rows.iter().map(|row| row.0).filter(|row| *row < 10).collect();
        assert_eq!(copy.len(), 1);
        first.extend(copy);
    }
    assert!(first.len() > 5, "which copy stands for all is drawn: {first:?}");
}
