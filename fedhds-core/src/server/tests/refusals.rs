//! Who is refused and left out, and what becomes of the others; stages of the server that break their promises.

use super::*;

#[test]
fn nobody_speaks_for_another_and_every_refusal_names_its_client() {
    let mut server = training(3);
    for (from, message, word) in [
        (1, update(0, 1, 9.0), "client 1: local_update: client: expected 1, who sent it, got 0"),
        (7, update(7, 1, 9.0), "client 7: local_update: expected one of the 4 clients"),
        (2, LocalUpdate { round: Round(3), ..update(2, 1, 9.0) }, "client 2: local_update: round"),
    ] {
        protocol_error(hear(&mut server, from, &message), word);
    }
    protocol_error(server.receive(ClientId(1), b"FH"), "client 1: message: expected a header");
    protocol_error(hear(&mut server, 1, &RoundStart::new(Round(0), Ask::Groups)), "client 1: message kind");
    upd(&mut server, update(0, 1, 1.0)).unwrap();
    upd(&mut server, update(1, 1, 3.0)).unwrap();
    let finished = server.finish_round().unwrap();
    assert_eq!(finished.adapter.unwrap().tensors["lora_A"].data[0], 2.0, "the true messages count");
    let left: Vec<u32> = finished.report.left_out.keys().map(|client| client.0).collect();
    assert_eq!(left, [2], "client 1 sent a good one after its bad ones, 7 is none of the round's");
    assert_eq!(finished.report.trained, BTreeMap::from([(ClientId(0), 1), (ClientId(1), 1)]));
}

#[test]
fn the_first_update_is_no_reference_for_the_others() {
    let mut server = training(3);
    let mut wrong = update(0, 1, 5.0);
    wrong.adapter.tensors.insert("more".into(), AdapterTensor { shape: [1, 1], data: vec![0.0] });
    let error = upd(&mut server, wrong).unwrap_err().to_string();
    assert!(error.contains("client 0: more") && error.contains("global adapter"), "{error}");
    upd(&mut server, update(1, 1, 2.0)).unwrap();
    upd(&mut server, update(2, 1, 4.0)).unwrap();
    assert_eq!(server.finish_round().unwrap().adapter.unwrap().tensors["lora_A"].data[0], 3.0);
}

#[test]
fn the_first_summary_is_no_reference_for_the_others() {
    let mut server = server(by_whole_part(Count::PerCluster));
    server.begin_round(Round(0), &ids(0..4), None).unwrap();
    let wide = ClientSummary { centroids: Matrix::zeros(1, 3), ..summary(0, 0, &[(1.0, 1)]) };
    sum(&mut server, wide).unwrap();
    sum(&mut server, summary(1, 0, &[(1.0, 1)])).unwrap();
    sum(&mut server, summary(2, 0, &[(9.0, 1)])).unwrap();
    sum(&mut server, summary(3, 0, &[])).unwrap();
    let orders = plain(&server.select(&Context::new(1)).unwrap());
    assert_eq!(orders, [(1, vec![(0, 1)]), (2, vec![(0, 1)]), (3, vec![])]);
    let report = server.end_round(&BTreeMap::new()).unwrap();
    assert!(report.left_out[&ClientId(0)].contains("expected 1 coordinates, as most clients sent, got 3"));
}

#[test]
fn a_round_without_a_global_adapter_takes_no_updates() {
    let mut server = server(by_whole_part(Count::PerCluster));
    server.begin_round(Round(0), &ids(0..1), None).unwrap();
    sum(&mut server, summary(0, 0, &[(1.0, 3)])).unwrap();
    server.select(&Context::new(1)).unwrap();
    protocol_error(upd(&mut server, update(0, 1, 1.0)), "began without a global adapter");
    protocol_error(server.end_round(&BTreeMap::from([(ClientId(0), 2)])), "client 0: trained records");
    let report = server.end_round(&BTreeMap::from([(ClientId(0), 1)])).unwrap();
    assert_eq!(report.trained, BTreeMap::from([(ClientId(0), 1)]));
    assert_eq!(server.round(), Some(Round(0)));
}

#[test]
fn trained_groups_must_be_ordered_ones() {
    let mut server = training(2);
    let with = |groups: Vec<(u32, u32)>| {
        let mut update = update(0, groups.iter().map(|g| g.1).sum(), 1.0);
        let groups = groups.into_iter().map(|(cluster, count)| (ClusterId(cluster), count)).collect();
        update.sections.set(&TrainedGroups(groups)).unwrap();
        update
    };
    protocol_error(upd(&mut server, with(vec![(4, 1)])), "at most 0 of group 4");
    upd(&mut server, with(vec![(0, 1)])).unwrap();
}

#[test]
fn an_aggregate_that_is_not_finite_is_not_taken() {
    struct Broken;
    impl Aggregator for Broken {
        fn begin(&mut self, _: &Adapter, _: Round) -> Result<()> {
            Ok(())
        }
        fn add(&mut self, update: &crate::stage::ClientUpdate) -> Result<()> {
            match update.client {
                ClientId(1) => Err(Error::stage("aggregator", "does not like it")),
                _ => Ok(()),
            }
        }
        fn finish(&mut self) -> Result<Aggregated> {
            Ok(Aggregated::new(Some(adapter(f32::NAN))))
        }
        fn state(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn resume(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
        fn memory(&self, _: usize, _: usize) -> u64 {
            0
        }
    }
    let pipeline = by_whole_part(Count::PerCluster);
    let mut server = Server::new(pipeline, Seed(5), Box::new(Broken)).unwrap();
    server.begin_round(Round(0), &ids(0..3), Some(&global())).unwrap();
    (0..3).for_each(|c| {
        sum(&mut server, summary(c, 0, &[(c as f32, 3)])).unwrap();
    });
    server.select(&Context::new(1)).unwrap();
    // The update of client 1 waits for client 0's, and its failure is not blamed on client 0.
    upd(&mut server, update(1, 1, 1.0)).unwrap();
    upd(&mut server, update(0, 1, 1.0)).unwrap();
    upd(&mut server, update(2, 1, 1.0)).unwrap();
    let finished = server.finish_round().unwrap();
    assert_eq!(finished.adapter, None);
    assert!(finished.report.aggregation.discarded.unwrap().contains("finite values"));
    assert_eq!(finished.report.left_out.keys().collect::<Vec<_>>(), [&ClientId(1)]);
    assert!(finished.report.left_out[&ClientId(1)].contains("does not like it"));
    assert_eq!(finished.report.trained.len(), 2);
}

#[test]
fn a_memory_that_breaks_its_promise_is_named_when_it_does() {
    use crate::stage::{Covered, Memory, TrainedGroup};
    /// Covers `points` with this mass from its first round on, and says that one point is the most.
    struct Loose {
        covered: Covered,
        later: Covered,
    }
    impl Memory for Loose {
        fn begin(&mut self, _: Round) -> Result<()> {
            self.covered = self.later.clone();
            Ok(())
        }
        fn commit(&mut self, _: &[TrainedGroup<'_>]) -> Result<()> {
            Ok(())
        }
        fn covered(&self) -> &Covered {
            &self.covered
        }
        fn state(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn resume(&mut self, _: &[u8]) -> Result<()> {
            self.begin(Round(0))
        }
        fn bound(&self) -> usize {
            1
        }
    }
    let covered = |points: &[f32], mass: &[f32]| Covered { points: column(points), mass: mass.to_vec() };
    for (later, word) in [
        (covered(&[1.0, 2.0], &[1.0, 1.0]), "expected at most 1 points"),
        (covered(&[1.0], &[]), "mass: expected 1 values"),
        (covered(&[1.0], &[0.0]), "mass: expected finite values above 0, got 0 at point 0"),
        (covered(&[f32::NAN], &[1.0]), "covered"),
    ] {
        let method = "preset = \"fedhds_coverage\"\nserver.memory = \"coverage\"";
        let mut pipeline = crate::method::MethodConfig::from_toml_str(method).unwrap().pipeline(1).unwrap();
        pipeline.server.memory =
            Some(Arc::new(move || Ok(Box::new(Loose { covered: Covered::default(), later: later.clone() }))));
        let server = || Server::new(pipeline.clone(), Seed(1), Box::new(WeightedMean::new())).unwrap();
        let begun = server().begin_round(Round(0), &[ClientId(0)], None).unwrap_err();
        let state = ServerState { memory: Some(Vec::new()), ..server().state().unwrap() };
        for error in [begun, server().resume(state, None).unwrap_err()] {
            assert!(matches!(error, Error::Stage { .. }) && error.to_string().contains(word), "{word}: {error}");
        }
    }
}

#[test]
fn a_memory_that_fails_loses_no_adapter() {
    use crate::stage::{Covered, Memory, TrainedGroup};
    use std::sync::atomic::{AtomicUsize, Ordering};
    /// Fails at its first commit.
    struct Stumbles(Covered, Arc<AtomicUsize>);
    impl Memory for Stumbles {
        fn begin(&mut self, _: Round) -> Result<()> {
            Ok(())
        }
        fn commit(&mut self, trained: &[TrainedGroup<'_>]) -> Result<()> {
            assert_eq!(trained.len(), 2);
            match self.1.fetch_add(1, Ordering::Relaxed) {
                0 => Err(Error::stage("server.memory", "the disk is full")),
                _ => Ok(()),
            }
        }
        fn covered(&self) -> &Covered {
            &self.0
        }
        fn state(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn resume(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
        fn bound(&self) -> usize {
            1
        }
    }
    let method = "preset = \"fedhds_coverage\"\nserver.memory = \"coverage\"\ncount = { budget = 9 }";
    let mut pipeline = crate::method::MethodConfig::from_toml_str(method).unwrap().pipeline(1).unwrap();
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = commits.clone();
    pipeline.server.memory = Some(Arc::new(move || Ok(Box::new(Stumbles(Covered::default(), counted.clone())))));
    let mut server = server(pipeline);
    server.begin_round(Round(0), &ids(0..3), Some(&global())).unwrap();
    (0..3).for_each(|c| {
        let centroids = Matrix::new(1, 128, vec![c as f32 + 1.0; 128]).unwrap();
        sum(&mut server, ClientSummary { centroids, ..summary(c, 0, &[(1.0, 3)]) }).unwrap();
    });
    server.select(&Context::new(1)).unwrap();
    upd(&mut server, update(0, 1, 1.0)).unwrap();
    upd(&mut server, update(1, 1, 3.0)).unwrap();
    assert!(server.finish_round().unwrap_err().to_string().contains("the disk is full"));
    protocol_error(upd(&mut server, update(2, 1, 8.0)), "before the round was finished");
    let finished = server.finish_round().unwrap();
    assert_eq!(finished.adapter.unwrap().tensors["lora_A"].data[0], 2.0);
    assert_eq!(finished.report.trained, BTreeMap::from([(ClientId(0), 1), (ClientId(1), 1)]));
    assert_eq!(finished.report.left_out.keys().collect::<Vec<_>>(), [&ClientId(2)]);
    assert_eq!(commits.load(Ordering::Relaxed), 2);
}
