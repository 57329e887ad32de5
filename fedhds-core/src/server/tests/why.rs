//! Why groups were picked, by methods that choose one group after the other, and by those that do not.
use super::*;
use crate::select::CoverageMemory;
use crate::stage::{Coverage, TrainedGroup};

/// Facility location over the groups of clients that group by whole parts.
fn facility(budget: usize, share_cap: Option<f64>, memory: bool) -> Pipeline {
    let mut pipeline = by_whole_part(Count::Budget(budget));
    pipeline.server = ServerStages {
        selector: Arc::new(FacilityLocation),
        count: Count::Budget(budget),
        share_cap,
        ..Default::default()
    };
    if memory {
        // Coordinates of different rounds can be compared in a shared frame alone.
        pipeline.client.frame = Some(SharedFrame::new(1, |_| Ok(Arc::new(crate::reduce::Identity))));
        pipeline.server.memory = Some(Arc::new(|| Ok(Box::new(CoverageMemory::default()))));
    }
    pipeline
}

/// (client, group, records, rank, gain) of every group that gives.
type Picks = Vec<(u32, u32, u32, Option<u32>, Option<f64>)>;

fn picks(server: &Server) -> Picks {
    let groups = server.selection().unwrap().groups.iter().filter(|group| group.records > 0);
    groups.map(|g| (g.client.0, g.cluster.0, g.records, g.reason.rank, g.reason.gain)).collect()
}

/// A server whose first round has selected from these summaries.
fn selected(pipeline: Pipeline, summaries: &[ClientSummary]) -> Server {
    let mut server = server(pipeline).explained();
    let clients: Vec<ClientId> = summaries.iter().map(|s| s.client).collect();
    server.begin_round(Round(0), &clients, Some(&global())).unwrap();
    summaries.iter().for_each(|s| {
        sum(&mut server, s.clone()).unwrap();
    });
    server.select(&Context::new(3)).unwrap();
    server
}

#[test]
fn facility_location_says_its_order() {
    // At 0, 1 and 10, weighing 4, 3 and 2. Before the first everything lies 20 away from what is chosen.
    let server =
        selected(facility(2, None, false), &[summary(0, 0, &[(0.0, 4), (1.0, 3)]), summary(1, 0, &[(10.0, 2)])]);
    // The medoid 1 covers 4 x (20 - 1) + 3 x 20 + 2 x (20 - 9) = 158; then 10 gains 2 x 9 and 0 gains 4 x 1.
    assert_eq!(picks(&server), [(0, 1, 1, Some(1), Some(158.0)), (1, 0, 1, Some(2), Some(18.0))]);
    let groups = &server.selection().unwrap().groups;
    assert!(groups.iter().all(|group| group.reason.covered.is_none() && group.reason.caps.is_empty()), "{groups:?}");
}

#[test]
fn picks_that_a_share_takes_away_have_no_rank() {
    // Client 0 holds what is far from everything; one record each.
    let summaries = [summary(0, 0, &[(0.0, 9), (20.0, 9), (40.0, 9)]), summary(1, 0, &[(1.0, 1), (2.0, 1)])];
    let server = selected(facility(2, Some(1.0), false), &summaries);
    let got = picks(&server);
    assert_eq!(got.iter().map(|pick| pick.0).collect::<Vec<_>>(), [0, 1], "{got:?}");
    let mut ranks: Vec<_> = got.iter().map(|pick| pick.3).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, [Some(1), Some(2)], "{got:?}");
    assert!(server.selection().unwrap().groups.iter().all(|group| group.reason.caps.share));
}

#[test]
fn a_memory_tells_how_far_what_it_covers_lies() {
    let mut server = server(facility(2, None, true)).explained();
    server.begin_round(Round(0), &ids(0..1), Some(&global())).unwrap();
    let memory = server.memory.as_mut().unwrap();
    memory.commit(&[TrainedGroup::new(ClientId(7), ClusterId(0), &[3.0], 5)]).unwrap();
    sum(&mut server, summary(0, 0, &[(3.0, 4), (5.5, 4), (9.0, 4)])).unwrap();
    server.select(&Context::new(3)).unwrap();
    let covered: Vec<_> = server.selection().unwrap().groups.iter().map(|group| group.reason.covered).collect();
    assert_eq!(covered, [None, Some(Coverage::Distance(2.5)), Some(Coverage::Distance(6.0))]);
}

#[test]
fn who_draws_or_clusters_says_less() {
    let random = selected(featureless(Random, Count::Budget(6)), &[counts(0, 9), counts(1, 3)]);
    assert!(picks(&random).iter().all(|pick| (pick.3, pick.4) == (None, None)), "{:?}", picks(&random));
    let all = selected(featureless(Random, Count::All), &[counts(0, 9), counts(1, 3)]);
    assert!(all.selection().unwrap().groups.iter().all(|group| group.reason.caps.room && group.reason.rank.is_none()));
    let clusters = selected(by_whole_part(Count::PerCluster), &[summary(0, 0, &[(5.0, 1), (8.0, 4)])]);
    assert_eq!(picks(&clusters), [(0, 0, 1, None, None), (0, 1, 1, None, None)]);
    assert_eq!(clusters.selection().unwrap().groups[1].server_cluster, Some(ClusterId(1)));
}

/// A selector that says what it does not do.
struct Liar;

impl Selector for Liar {
    fn select(&self, rows: &Rows<'_>, _: Budget, _: &Context) -> Result<Vec<RowId>> {
        rows.took(99, 1.0);
        rows.took(1, 2.0);
        rows.took(0, 0.5);
        Ok(vec![RowId(0)])
    }

    fn uses_groups(&self) -> bool {
        false
    }
}

#[test]
fn a_selector_that_says_what_it_does_not_do_is_not_believed() {
    let mut pipeline = facility(1, None, false);
    pipeline.server.selector = Arc::new(Liar);
    let server = selected(pipeline, &[summary(0, 0, &[(5.0, 2), (8.0, 4)])]);
    assert_eq!(picks(&server), [(0, 0, 1, Some(1), Some(0.5))]);
}

#[test]
fn who_explains_picks_the_same() {
    let summaries = [
        summary(0, 0, &[(0.0, 9), (20.0, 9), (40.0, 9), (41.0, 2)]),
        summary(1, 0, &[(1.0, 1), (2.0, 1), (7.0, 30)]),
        summary(2, 0, &[(39.0, 4)]),
    ];
    for (budget, cap) in [(2, None), (5, Some(1.0)), (12, Some(1.5)), (40, None)] {
        let explained = selected(facility(budget, cap, false), &summaries);
        assert_eq!(run(facility(budget, cap, false), &summaries), plain(&explained.orders().unwrap()), "{budget}");
        let ranks: BTreeSet<u32> = picks(&explained).iter().filter_map(|pick| pick.3).collect();
        // Where every group is picked there is nothing to put in an order.
        let places = if budget < 8 { picks(&explained).len() as u32 } else { 0 };
        assert_eq!(ranks, (1..=places).collect(), "{budget}");
    }
}
