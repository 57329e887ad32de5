//! The mistakes of the paper's released code that concern selection, each with a test that shows ours does not make it.
//! The first (features in another order than records) is in `topics.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::aggregate::WeightedMean;
use crate::client::Client;
use crate::method::testing::{by_whole_part, column};
use crate::method::{Count, MethodConfig};
use crate::protocol::{Ask, Wire as _};
use crate::stage::ClientUpdate;
use crate::types::{AdapterTensor, Matrix};

/// Mistake 2: the label of the j-th record is paired with the j-th centroid, so that noise (-1), duplicates and ids of other
/// groups are sent.
#[test]
fn ids_belong_to_their_centroids() {
    // Labels of the first records: noise, 0, 0, 1; the released code would send -1, 0, 0 for the three centroids.
    let features = column(&[-1.0, 6.0, 6.5, 2.0, 2.5, 2.5, 9.0]);
    let pipeline = by_whole_part(Count::PerCluster);
    let mut client = Client::new(ClientId(0), &pipeline);
    let start = RoundStart::new(Round(0), Ask::Groups);
    let summary = client.summarize(&start, &features, &Context::new(0)).unwrap();
    let sent: Vec<(u32, u32, f32)> = summary
        .groups
        .iter()
        .zip(summary.centroids.iter_rows())
        .map(|(g, c)| (g.cluster.0, g.size, c[0].floor()))
        .collect();
    assert_eq!(sent, [(0, 2, 6.0), (1, 3, 2.0), (2, 1, 9.0)]);
    // An order for each id brings records of the group whose centroid carried it.
    for (group, centroid) in summary.groups.iter().zip(summary.centroids.iter_rows()) {
        let clusters = vec![crate::protocol::ClusterOrder { cluster: group.cluster, count: group.size }];
        let order = SelectionOrder::new(ClientId(0), Round(0), clusters);
        for row in client.clone().choose(&order, &Context::new(0)).unwrap() {
            assert_eq!(features.row(row.index())[0].floor(), centroid[0].floor());
        }
    }
}

/// Mistake 3: a round in which nothing is selected averages to an adapter of zeros, which can never learn again.
#[test]
fn nothing_selected_is_no_adapter() {
    let mut server = Server::new(by_whole_part(Count::PerCluster), Seed(1), Box::new(WeightedMean::new())).unwrap();
    server.begin_round(Round(0), &[ClientId(0)], None).unwrap();
    server.select(&Context::new(0)).unwrap();
    assert_eq!(server.finish_round().unwrap().adapter, None);
    // Nor does it spoil the round after it.
    let mut adapter = Adapter::default();
    adapter.tensors.insert("a".into(), AdapterTensor { shape: [1, 1], data: vec![2.0] });
    let mut aggregator = WeightedMean::new();
    aggregator.begin(&adapter, Round(0)).unwrap();
    assert_eq!(aggregator.finish().unwrap().adapter, None);
    aggregator.begin(&adapter, Round(1)).unwrap();
    aggregator.add(&ClientUpdate::new(ClientId(0), adapter.clone(), 1)).unwrap();
    assert_eq!(aggregator.finish().unwrap().adapter, Some(adapter));
}

/// Mistake 4: no centroid, or one, crashes the server's clustering. Here with the paper's own stages.
#[test]
fn no_centroid_and_one_centroid_are_rounds() {
    for preset in ["fedhds", "fedhds_turbo", "fedhds_shared", "fedhds_coverage"] {
        let pipeline = MethodConfig::preset(preset).unwrap().pipeline(1).unwrap();
        for records in 0..7 {
            let mut server = Server::new(pipeline.clone(), Seed(1), Box::new(WeightedMean::new())).unwrap();
            let start = server.begin_round(Round(0), &[ClientId(0), ClientId(1)], None).unwrap();
            let features = Matrix::new(records, 4, (0..records * 4).map(|v| ((v * v) as f32).sin()).collect()).unwrap();
            let mut client = Client::new(ClientId(1), &pipeline);
            let context = Context::new(3);
            let summary = client.summarize(&start, &features, &context).unwrap();
            server.receive(ClientId(1), &summary.encode().unwrap()).unwrap();
            let orders = server.select(&context).unwrap();
            let rows = client.choose(&orders[&ClientId(1)], &context).unwrap();
            assert!(rows.len() <= records, "{preset}, {records} records");
            if preset.ends_with("shared") || preset.ends_with("coverage") {
                assert_eq!(rows.len(), records.min(10), "{preset}: the budget is met from one client alone");
            }
        }
    }
}
