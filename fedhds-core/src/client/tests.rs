use super::*;
use crate::method::testing::{ByWholePart, by_whole_part, column};
use crate::method::{Count, Noise, Repeats, SharedFrame, Ungrouped};
use crate::protocol::ClusterOrder;
use crate::protocol::GroupScores;
use crate::stage::{Budget, Clustering};
use crate::stage::{Clusterer, Reducer, Selector};
use crate::types::{Adapter, Round, Scores, Seed};
use std::sync::Arc;

mod drawing;

fn start(ask: Ask) -> RoundStart {
    RoundStart::new(Round(4), ask)
}

fn order(clusters: &[(u32, u32)]) -> SelectionOrder {
    let clusters = clusters.iter().map(|&(c, count)| ClusterOrder { cluster: ClusterId(c), count }).collect();
    SelectionOrder::new(ClientId(9), Round(4), clusters)
}

fn client() -> Client {
    Client::new(ClientId(9), &by_whole_part(Count::PerCluster))
}

/// Groups 3 (records 0, 2, 5: .1, .2, .6, centre .3), 1 (records 1, 4) and noise (record 3).
fn records() -> Matrix {
    column(&[3.1, 1.0, 3.2, -1.0, 1.5, 3.6])
}

fn rows(ids: &[u32]) -> Vec<RowId> {
    ids.iter().map(|&id| RowId(id)).collect()
}

#[test]
fn groups_go_up_and_their_records_come_back() {
    let mut client = client();
    let context = Context::new(1);
    let summary = client.summarize(&start(Ask::Groups), &records(), &context).unwrap();
    let sizes: Vec<_> = summary.groups.iter().map(|g| (g.cluster.0, g.size)).collect();
    assert_eq!(sizes, [(0, 3), (1, 2)]);
    assert_eq!(summary.centroids.as_slice(), [3.3, 1.25]);
    assert_eq!(client.clone().choose(&order(&[(0, 1)]), &context).unwrap(), rows(&[2]), "3.2 is nearest to 3.3");
    assert_eq!(client.clone().choose(&order(&[(0, 2), (1, 1)]), &context).unwrap(), rows(&[0, 1, 2]));
    assert_eq!(client.clone().choose(&order(&[(0, 3), (1, 2)]), &context).unwrap(), rows(&[0, 1, 2, 4, 5]));
    assert!(client.clone().choose(&order(&[]), &context).unwrap().is_empty());
}

#[test]
fn messages_at_the_wrong_time_or_place_are_refused() {
    let mut client = client();
    let context = Context::new(1);
    let refused = |client: &Client, order: &SelectionOrder, word: &str| {
        let error = client.choose(order, &context).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }) && error.to_string().contains(word), "{error}");
    };
    refused(&client, &order(&[(0, 1)]), "no summary was made");
    for (ask, word) in
        [(Ask::Counts, "got counts"), (Ask::SharedGroups { seed: Seed(1), dims: 2 }, "got shared_groups")]
    {
        let error = client.summarize(&start(ask), &records(), &context).unwrap_err().to_string();
        assert!(error.contains("expected groups") && error.contains(word), "{error}");
    }
    client.summarize(&start(Ask::Groups), &records(), &context).unwrap();
    refused(&client, &SelectionOrder { client: ClientId(8), ..order(&[(0, 1)]) }, "expected 9, got 8");
    refused(&client, &SelectionOrder { round: Round(3), ..order(&[(0, 1)]) }, "expected 4, got 3");
    refused(&client, &order(&[(2, 1)]), "an id below 2");
    refused(&client, &order(&[(0, 4)]), "at most 3 records of cluster 0");
    refused(&client, &order(&[(1, 1), (0, 1)]), "ascending");
}

#[test]
fn few_records_and_no_groups_are_defined() {
    let context = Context::new(1);
    let sizes = |features: &[f32], noise, ungrouped| -> Vec<u32> {
        let mut pipeline = by_whole_part(Count::PerCluster);
        pipeline.client.noise = noise;
        pipeline.client.ungrouped = ungrouped;
        let mut client = Client::new(ClientId(9), &pipeline);
        let summary = client.summarize(&start(Ask::Groups), &column(features), &context).unwrap();
        let all: Vec<(u32, u32)> = summary.groups.iter().map(|g| (g.cluster.0, g.size)).collect();
        assert_eq!(client.choose(&order(&all), &context).unwrap().len(), summary.records());
        summary.groups.iter().map(|g| g.size).collect()
    };
    let (drop, singletons) = (Noise::Drop, Noise::Singletons);
    let (skip, one) = (Ungrouped::Skip, Ungrouped::OneGroup);
    assert!(sizes(&[], drop, skip).is_empty());
    assert!(sizes(&[], singletons, one).is_empty());
    assert_eq!(sizes(&[2.0], drop, skip), [1]);
    assert!(sizes(&[-1.0, -2.0, -3.0], drop, skip).is_empty());
    assert_eq!(sizes(&[-1.0, -2.0, -3.0], drop, one), [3]);
    assert_eq!(sizes(&[-1.0, -2.0, -3.0], singletons, skip), [1, 1, 1]);
    assert_eq!(sizes(&[-1.0, 5.0, -3.0], drop, one), [1], "a client with groups drops its noise all the same");
    assert_eq!(sizes(&[-1.0, 5.0, 5.5], singletons, skip), [2, 1]);
}

#[test]
fn without_features_all_records_are_one_group() {
    let mut client = Client::new(ClientId(9), &Pipeline::default());
    let summary = client.summarize(&start(Ask::Counts), &Matrix::zeros(7, 0), &Context::new(1)).unwrap();
    assert_eq!((summary.groups.len(), summary.records(), summary.centroids.cols()), (1, 7, 0));
    let chosen = client.clone().choose(&order(&[(0, 3)]), &Context::new(1)).unwrap();
    assert_eq!(chosen.len(), 3);
    let other = client.clone().choose(&order(&[(0, 3)]), &Context::new(2)).unwrap();
    assert_eq!(client.clone().choose(&order(&[(0, 3)]), &Context::new(1)).unwrap(), chosen);
    assert_ne!(chosen, other);
    let mut client = Client::new(ClientId(9), &Pipeline::default());
    let summary = client.summarize(&start(Ask::Counts), &Matrix::zeros(0, 0), &Context::new(1)).unwrap();
    assert!(summary.groups.is_empty());
}

#[test]
fn records_of_earlier_rounds_come_last_where_they_are_avoided() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    let context = Context::new(1);
    let choose = |pipeline: &Pipeline, trained: &[u32], count| {
        let mut client = Client::new(ClientId(9), pipeline);
        client.summarize(&start(Ask::Groups), &column(&[3.0, 3.1, 3.2, 3.3, 3.4, 8.0]), &context).unwrap();
        client.mark_trained(rows(trained));
        assert_eq!(client.trained().collect::<Vec<_>>(), rows(trained));
        client.choose(&order(&[(0, count)]), &context).unwrap()
    };
    assert_eq!(choose(&pipeline, &[2], 1), rows(&[2]), "allowed, as in the paper");
    pipeline.client.repeats = Repeats::Avoid;
    assert_eq!(choose(&pipeline, &[], 1), rows(&[2]));
    assert_eq!(choose(&pipeline, &[2, 3, 4], 1), rows(&[0]), "of 3.0 and 3.1, as near to their centre, the lower");
    assert_eq!(choose(&pipeline, &[0, 1, 2, 4], 3), rows(&[1, 2, 3]), "3.3 first, then the nearest of the others");
    assert_eq!(choose(&pipeline, &[0, 1, 2, 3, 4], 5), rows(&[0, 1, 2, 3, 4]));
}

/// Twice the first column, minus the seed: a frame that tells whose seed it got.
struct Doubled(u64);

impl Reducer for Doubled {
    fn reduce(&self, features: &Matrix, _context: &Context) -> Result<Matrix> {
        Ok(column(&features.iter_rows().map(|row| 2.0 * row[0] - self.0 as f32).collect::<Vec<_>>()))
    }
}

#[test]
fn shared_centroids_are_those_of_the_mapped_records() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.client.frame = Some(SharedFrame::new(1, |seed| Ok(Arc::new(Doubled(seed.0)))).with_seed(Seed(10)));
    let mut client = Client::new(ClientId(9), &pipeline);
    let context = Context::new(1);
    let ask = |dims| Ask::SharedGroups { seed: Seed(10), dims };
    let summary = client.summarize(&start(ask(1)), &records(), &context).unwrap();
    let expected = [2.0 * 3.3 - 10.0, 2.0 * 1.25 - 10.0];
    summary.centroids.as_slice().iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-5));
    assert_eq!(client.choose(&order(&[(0, 1), (1, 1)]), &context).unwrap(), rows(&[1, 2]));
    let error = client.summarize(&start(ask(2)), &records(), &context).unwrap_err().to_string();
    assert!(error.contains("dims: expected 1, got 2"), "{error}");
    // A server cannot choose a map that shows more than the method's.
    let other = Ask::SharedGroups { seed: Seed(11), dims: 1 };
    let error = client.summarize(&start(other), &records(), &context).unwrap_err().to_string();
    assert!(error.contains("seed: expected 10") && error.contains("got 11"), "{error}");
}

#[test]
fn state_survives_another_process() {
    let mut first = client();
    let context = Context::new(1);
    first.summarize(&start(Ask::Groups), &records(), &context).unwrap();
    let bytes = postcard::to_stdvec(first.state().unwrap()).unwrap();
    let mut second = client();
    second.resume(postcard::from_bytes(&bytes).unwrap()).unwrap();
    let wanted = order(&[(0, 2), (1, 1)]);
    assert_eq!(second.choose(&wanted, &context).unwrap(), first.choose(&wanted, &context).unwrap());

    let state = first.state().unwrap().clone();
    let error = client().resume(ClientState { client: ClientId(1), ..state.clone() }).unwrap_err().to_string();
    assert!(error.contains("expected 9, got 1"), "{error}");
    let mut broken = state.clone();
    broken.clustering.labels[0] = Some(ClusterId(7));
    assert!(client().resume(broken).unwrap_err().to_string().contains("below 2, got 7"));
    let json = serde_json::to_string(&state).unwrap().replacen("\"rows\":6", "\"rows\":9", 1);
    assert!(client().resume(serde_json::from_str(&json).unwrap()).is_err(), "a matrix that lies about its shape");
}

#[test]
fn what_another_client_saved_is_refused_and_names_what_differs() {
    use crate::client::SavedClient;
    use crate::method::MethodConfig;
    let made = |method: &str, seed: u64| {
        let mut client = Client::new(ClientId(1), &MethodConfig::from_text(method).unwrap().pipeline(1).unwrap());
        client.identify("seed", seed);
        client
    };
    let preset = r#"{"preset": "random", "count": {"budget": 4}}"#;
    let mut first = made(preset, 3);
    first.mark_trained([RowId(2)]);
    let bytes = first.saved().to_bytes().unwrap();
    let saved = || SavedClient::from_bytes(&bytes).unwrap();
    let mut same = made(preset, 3);
    same.restore(saved()).unwrap();
    assert_eq!(same.trained().collect::<Vec<_>>(), [RowId(2)]);
    for (mut other, word) in [
        (made(preset, 4), "`seed`: this run has `4`, the saved one `3`"),
        (made(r#"{"preset": "random", "count": {"budget": 5}}"#, 3), "`method.count.budget`"),
    ] {
        let error = other.restore(saved()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(other.trained().count(), 0, "nothing of it is taken");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert!(SavedClient::from_bytes(&flipped).is_err() && SavedClient::from_bytes(&bytes[..at]).is_err(), "{at}");
    }
}

#[test]
fn the_users_own_stage_fails_with_its_name() {
    struct Short;
    impl Clusterer for Short {
        fn cluster(&self, rows: &Rows<'_>, wanted: Option<usize>, context: &Context) -> Result<Clustering> {
            let mut clustering = ByWholePart.cluster(rows, wanted, context)?;
            clustering.labels.pop();
            Ok(clustering)
        }
    }
    impl Reducer for Short {
        fn reduce(&self, features: &Matrix, _context: &Context) -> Result<Matrix> {
            features.take_rows(&[0])
        }
    }
    impl Selector for Short {
        fn select(&self, _: &Rows<'_>, _: Budget, _: &Context) -> Result<Vec<RowId>> {
            Ok(vec![])
        }
        fn uses_groups(&self) -> bool {
            true
        }
    }
    let context = Context::new(1);
    let summarize = |change: &dyn Fn(&mut Pipeline)| {
        let mut pipeline = by_whole_part(Count::PerCluster);
        change(&mut pipeline);
        let mut client = Client::new(ClientId(9), &pipeline);
        let summary = client.summarize(&start(Ask::Groups), &records(), &context);
        summary.and_then(|_| client.choose(&order(&[(0, 1)]), &context)).unwrap_err().to_string()
    };
    type Change<'a> = &'a dyn Fn(&mut Pipeline);
    let cases: [(&str, Change<'_>); 4] = [
        ("stage `client.clusterer`: expected 6 labels, got 5", &|p| p.client.clusterer = Some(Arc::new(Short))),
        ("stage `client.reducer`: expected 6 rows", &|p| p.client.reducer = Some(Arc::new(Short))),
        ("stage `client.normalizer`: expected 6 rows", &|p| p.client.normalizer = Some(Arc::new(Short))),
        ("stage `client.selector`: expected 1 rows", &|p| p.client.selector = Arc::new(Short)),
    ];
    for (expected, change) in cases {
        let error = summarize(change);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn features_that_are_not_finite_are_named() {
    let features = column(&[1.0, f32::NAN]);
    let error = client().summarize(&start(Ask::Groups), &features, &Context::new(1)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { row: 1, column: 0, .. }), "{error}");
}

#[test]
fn cancelled_work_changes_nothing() {
    let mut client = client();
    let context = Context::new(1);
    client.summarize(&start(Ask::Groups), &records(), &context).unwrap();
    let before = client.state().cloned();
    context.control.cancel.cancel();
    let next = RoundStart::new(Round(5), Ask::Groups);
    assert!(matches!(client.summarize(&next, &column(&[1.0]), &context), Err(Error::Cancelled)));
    assert_eq!(client.state().cloned(), before);
}

#[test]
fn updates_say_how_many_records() {
    let trained = Trained { adapter: Adapter::default(), losses: vec![1.0, f32::NAN, 2.0], skipped: 0, tokens: 9 };
    let mut client = client();
    client.summarize(&start(Ask::Groups), &records(), &Context::new(1)).unwrap();
    let update = |order: &SelectionOrder, ids: &[u32]| client.update(order, &rows(ids), trained.clone());
    let both = order(&[(0, 2), (1, 1)]);
    let message = update(&both, &[0, 1, 2]).unwrap();
    assert_eq!((message.client, message.round, message.records, message.tokens), (ClientId(9), Round(4), 3, 9));
    assert_eq!(message.loss, Some(1.5), "the mean over the steps that were finite");
    let groups = message.sections.get::<TrainedGroups>().unwrap().unwrap();
    assert_eq!(groups, TrainedGroups(vec![(ClusterId(0), 2), (ClusterId(1), 1)]));
    assert_eq!(update(&both, &[4]).unwrap().records, 1, "fewer than ordered");
    assert!(update(&order(&[]), &[]).is_err(), "nothing was ordered");
    for ids in [&[3][..], &[0, 0], &[9]] {
        let error = update(&both, ids).unwrap_err().to_string();
        assert!(error.contains("distinct rows of the ordered groups"), "{error}");
    }
}

/// Doubles every size, and moves every centroid by a draw.
struct DoubledSizes;

impl crate::stage::Upload for DoubledSizes {
    fn release(&self, mut summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
        summary.groups.iter_mut().for_each(|group| group.size *= 2);
        let move_by = (secret.next_u64() >> 40) as f32;
        summary.centroids.as_mut_slice().iter_mut().for_each(|value| *value += move_by);
        Ok(summary)
    }
}

fn doubling(secret: Option<Secret>) -> Client {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.client.upload = Some(Arc::new(DoubledSizes));
    let mut client = Client::new(ClientId(9), &pipeline);
    secret.into_iter().for_each(|secret| client.set_secret(secret));
    client
}

#[test]
fn an_upload_stage_changes_what_is_sent_and_a_resend_repeats_it() {
    let context = Context::new(1);
    let secret = Secret::from_bytes([1; 32]);
    let mut client = doubling(Some(secret.clone()));
    let first = client.summarize(&start(Ask::Groups), &records(), &context).unwrap();
    assert_eq!(first.groups.iter().map(|g| g.size).collect::<Vec<_>>(), [6, 4]);
    assert_eq!(client.summarize(&start(Ask::Groups), &records(), &context).unwrap(), first, "no second draw");
    let next = RoundStart::new(Round(5), Ask::Groups);
    let other = client.clone().summarize(&next, &records(), &context).unwrap();
    assert_ne!(other.centroids, first.centroids, "another round, another draw");
    // More than the group holds is all of it; the update says how many there were.
    let all = order(&[(0, 6), (1, 4)]);
    let chosen = client.choose(&all, &context).unwrap();
    assert_eq!(chosen, rows(&[0, 1, 2, 4, 5]));
    let trained = Trained { adapter: Adapter::default(), losses: vec![], skipped: 0, tokens: 0 };
    assert_eq!(client.update(&all, &chosen, trained).unwrap().records, 5);
    // The secret goes on elsewhere where it stood; without one the system gives it.
    let mut moved = doubling(client.secret().cloned());
    assert_eq!(moved.summarize(&next, &records(), &context).unwrap(), other);
    let ours = |mut client: Client| client.summarize(&start(Ask::Groups), &records(), &context).unwrap().centroids;
    assert_ne!(ours(doubling(None)), ours(doubling(None)));
}

#[test]
fn an_upload_stage_that_breaks_its_promise_is_named() {
    type Break = fn(&mut ClientSummary);
    struct Breaks(Break);
    impl crate::stage::Upload for Breaks {
        fn release(&self, mut summary: ClientSummary, _: &mut Secret) -> Result<ClientSummary> {
            (self.0)(&mut summary);
            Ok(summary)
        }
    }
    let cases: [(&str, Break); 5] = [
        ("client 9, round 4, got client 1", |s| s.client = ClientId(1)),
        ("groups of the client, got 7", |s| s.groups[1].cluster = ClusterId(7)),
        ("centroids of 1 columns, got 2", |s| s.centroids = Matrix::zeros(2, 2)),
        ("finite", |s| s.centroids.row_mut(0)[0] = f32::NAN),
        ("at least 1", |s| s.groups[0].size = 0),
    ];
    for (word, change) in cases {
        let mut pipeline = by_whole_part(Count::PerCluster);
        pipeline.client.upload = Some(Arc::new(Breaks(change)));
        let mut client = Client::new(ClientId(9), &pipeline);
        client.set_secret(Secret::from_bytes([0; 32]));
        let error = client.summarize(&start(Ask::Groups), &records(), &Context::new(1)).unwrap_err().to_string();
        assert!(error.contains("stage `client.upload`") && error.contains(word), "{error}");
    }
}

#[test]
fn groups_that_were_not_sent_cannot_be_ordered() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.client.upload = Some(Arc::new(crate::privacy::MinGroupSize::new(3).unwrap()));
    let mut client = Client::new(ClientId(9), &pipeline);
    let summary = client.summarize(&start(Ask::Groups), &records(), &Context::new(1)).unwrap();
    assert_eq!(summary.groups.len(), 1);
    let error = client.choose(&order(&[(1, 1)]), &Context::new(1)).unwrap_err().to_string();
    assert!(error.contains("which was not sent"), "{error}");
}

#[test]
fn scores_reach_the_selector_and_go_up_only_where_they_may() {
    /// The record with the largest score, of whichever rows it sees.
    struct Largest;
    impl Selector for Largest {
        fn select(&self, rows: &Rows<'_>, _: Budget, _: &Context) -> Result<Vec<RowId>> {
            let scores: Vec<f32> = rows.scores.unwrap().column("loss").unwrap().collect();
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
            Ok(vec![RowId(best as u32)])
        }
        fn uses_groups(&self) -> bool {
            false
        }
    }
    let features = records();
    let scores = Scores::new(["loss"], column(&[5.0, 1.0, 2.0, 9.0, f32::NAN, 4.0])).unwrap();
    for share_scores in [false, true] {
        let mut pipeline = by_whole_part(Count::PerCluster);
        pipeline.client.selector = Arc::new(Largest);
        pipeline.client.share_scores = share_scores;
        let mut client = Client::new(ClientId(9), &pipeline);
        let rows_with = Rows::new(&features).scores(&scores);
        let summary = client.summarize(&start(Ask::Groups), rows_with, &Context::new(1)).unwrap();
        let sent = summary.sections.get::<GroupScores>().unwrap();
        let means = sent.map(|GroupScores(s)| s.column("loss").unwrap().collect::<Vec<_>>());
        assert_eq!(means, share_scores.then(|| vec![11.0 / 3.0, 1.0]), "of group 1 one record has a score");
        assert_eq!(client.choose(&order(&[(0, 1)]), &Context::new(1)).unwrap(), rows(&[0]));
    }
    let short = Scores::new(["loss"], column(&[1.0])).unwrap();
    let error = client().summarize(&start(Ask::Groups), Rows::new(&features).scores(&short), &Context::new(1));
    assert!(error.unwrap_err().to_string().contains("expected 6 rows"));
}
