//! The paper's baseline Coreset-Cent: all records in one place, k-means on the features of the last layer, and the record nearest to each
//! centre.
//!
//! No federation could do it, since nobody may see all records; it says what federating the selection costs. It is a federation of one
//! client that holds everything: as many clusters as the run trains on records, found once with the untuned model, of which each round
//! takes some that no round took before.

use crate::cluster::{KMeans, KMeansConfig};
use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::method::{ClientStages, Count, Pipeline, Regroup, Repeats, ServerStages, SharedFrame};
use crate::reduce::{Layers, SharedProjection, SharedProjectionConfig};
use crate::select::{CoverageMemory, CoverageMemoryConfig, NearestCentroid, check_rows};
use crate::stage::{Budget, Reducer, Rows, Selector};
use crate::types::{ClientId, Context, Matrix, Round, RowId};
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Coordinates of the centroids: no client's room has to hold them.
const DIMS: usize = 128;
/// The most clusters, as many as a memory keeps apart.
const MOST_CLUSTERS: usize = 65_536;

/// All clients' records in the hands of one.
pub(super) fn pooled(clients: &[ClientData]) -> Vec<ClientData> {
    let records = clients.iter().flat_map(|client| client.records.iter().cloned()).collect();
    vec![ClientData { client: ClientId(0), name: "all clients".into(), records }]
}

/// The stages for a run of so many rounds over so many records, with features of `layers` layers.
pub(super) fn pipeline(count: &Count, rounds: usize, records: usize, layers: usize) -> Result<Pipeline> {
    let each = (0..rounds).map(|round| count.budget(Round(u32::try_from(round).unwrap_or(u32::MAX)), records));
    let total = each.map(|budget| budget.unwrap_or(records)).fold(0, usize::saturating_add);
    let n_clusters = total.clamp(1, records.clamp(1, MOST_CLUSTERS));
    // One start: thousands of clusters differ little from start to start, and ten cost ten times as much.
    let config = KMeansConfig { n_clusters, n_init: 1, ..KMeansConfig::default() };
    let memory = CoverageMemoryConfig { max_points: MOST_CLUSTERS };
    let pipeline = Pipeline {
        client: ClientStages {
            normalizer: Some(Arc::new(LastLayer(layers))),
            clusterer: Some(Arc::new(KMeans::new(config)?)),
            frame: Some(SharedFrame::new(DIMS as u32, |seed| -> Result<Arc<dyn Reducer>> {
                Ok(Arc::new(SharedProjection::new(SharedProjectionConfig { n_components: DIMS, seed })?))
            })),
            selector: Arc::new(NearestCentroid),
            repeats: Repeats::Never,
            regroup: Regroup::Once,
            ..ClientStages::default()
        },
        server: ServerStages {
            selector: Arc::new(UntouchedFirst),
            count: count.clone(),
            memory: Some(Arc::new(move || Ok(Box::new(CoverageMemory::new(memory.clone())?)))),
            limits: crate::method::Limits { max_groups: MOST_CLUSTERS, ..Default::default() },
            ..ServerStages::default()
        },
    };
    pipeline.check()?;
    Ok(pipeline)
}

/// The last of so many layers.
struct LastLayer(usize);

impl Reducer for LastLayer {
    fn reduce(&self, features: &Matrix, _context: &Context) -> Result<Matrix> {
        Layers::Last.pick(features, self.0)
    }
}

/// Groups that no round took from, at random, and then the others.
struct UntouchedFirst;

impl Selector for UntouchedFirst {
    fn select(&self, rows: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(rows)?;
        let Budget::Total(total) = budget else {
            return Err(Error::stage("coreset_cent", format!("expected a total, got {budget:?}")));
        };
        let bits = |point: &[f32]| point.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        let taken: BTreeSet<Vec<u32>> =
            rows.covered.map(|covered| covered.points.iter_rows().map(bits).collect()).unwrap_or_default();
        let mut rng = context.derive("untouched first", 0).seed.rng();
        let drawn = rows
            .points
            .iter_rows()
            .enumerate()
            .map(|(row, point)| (taken.contains(&bits(point)), rng.random::<u64>(), row));
        let mut drawn: Vec<(bool, u64, usize)> = drawn.collect();
        drawn.sort_unstable();
        let mut chosen: Vec<RowId> = drawn.into_iter().take(total).map(|(_, _, row)| RowId(row as u32)).collect();
        chosen.sort_unstable();
        Ok(chosen)
    }

    fn uses_groups(&self) -> bool {
        false
    }

    fn uses_covered(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::stage::Covered;

    #[test]
    fn as_many_clusters_as_the_run_trains_on() {
        for (count, expected) in
            [(Count::Budget(10), 40), (Count::Budget(100), 150), (Count::PerRound(vec![3, 0, 5]), 8)]
        {
            pipeline(&count, 4, 150, 2).unwrap();
            let each = (0..4).map(|round| count.budget(Round(round), 150).unwrap_or(150));
            assert_eq!(each.sum::<usize>().min(150), expected, "{count:?}");
        }
        assert!(pipeline(&Count::PerCluster, 4, 150, 2).is_err());
    }

    #[test]
    fn what_no_round_took_comes_first() {
        let points = Matrix::from_rows(&[[0.0], [1.0], [2.0], [3.0]]).unwrap();
        let covered = Covered { points: Matrix::from_rows(&[[1.0], [3.0]]).unwrap(), mass: vec![1.0, 2.0] };
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let pick = |total| {
                let rows = Rows::new(&points).covered(&covered);
                UntouchedFirst.select(&rows, Budget::Total(total), &Context::new(seed)).unwrap()
            };
            assert_eq!(pick(2), [RowId(0), RowId(2)]);
            assert_eq!(pick(9).len(), 4);
            seen.insert(pick(1));
        }
        assert_eq!(seen.len(), 2);
        assert!(UntouchedFirst.select(&Rows::new(&points), Budget::PerCluster(1), &Context::new(0)).is_err());
    }

    #[test]
    fn one_client_holds_everything() {
        let client = |id: u32, records: &[&str]| ClientData {
            client: ClientId(id),
            name: format!("client-{id}"),
            records: records.iter().map(|id| crate::types::Record { id: (*id).into(), ..Default::default() }).collect(),
        };
        let pool = pooled(&[client(0, &["a", "b"]), client(4, &[]), client(7, &["c"])]);
        assert_eq!((pool.len(), pool[0].client), (1, ClientId(0)));
        assert_eq!(pool[0].records.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
