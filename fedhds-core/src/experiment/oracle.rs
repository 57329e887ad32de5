//! The arm that is told the truth: clean, distinct records, spread over the tasks with a memory over the rounds.
//!
//! It is a pipeline like any other, whose features are no model's: the task of a record, and which records are copies of each other.
//! Bad records have no place in it. It says what selection could gain, not how.

use crate::cluster::centroid::weighted_centroids;
use crate::dataset::Truth;
use crate::error::{Error, Result};
use crate::method::{ClientStages, Count, Noise, Pipeline, Repeats, ServerStages, SharedFrame, Ungrouped};
use crate::reduce::Identity;
use crate::select::{CoverageMemory, CoverageMemoryConfig, RandomMember, check_rows};
use crate::stage::{Budget, Clusterer, Clustering, FeatureExtractor, Rows, Selector};
use crate::types::{Adapter, ClusterId, Context, Matrix, Record, RowId};
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Columns of the features: the number of the task and that of the original.
const COLUMNS: usize = 2;
/// The task of a record that has no place.
const NOWHERE: f32 = -1.0;
/// What the memory keeps apart: more originals than a run trains on.
const MOST_POINTS: usize = 65_536;

/// The oracle's stages. Of each original the server orders at most one record, a round and over all rounds, as long as its clients have
/// others.
pub(super) fn pipeline(count: Count) -> Result<Pipeline> {
    let memory = CoverageMemoryConfig { max_points: MOST_POINTS };
    let pipeline = Pipeline {
        client: ClientStages {
            clusterer: Some(Arc::new(SameOriginal)),
            noise: Noise::Drop,
            ungrouped: Ungrouped::Skip,
            frame: Some(SharedFrame::new(COLUMNS as u32, |_| Ok(Arc::new(Identity)))),
            selector: Arc::new(RandomMember),
            repeats: Repeats::Avoid,
            ..ClientStages::default()
        },
        server: ServerStages {
            selector: Arc::new(LeastCoveredTask),
            count,
            memory: Some(Arc::new(move || Ok(Box::new(CoverageMemory::new(memory.clone())?)))),
            ..ServerStages::default()
        },
    };
    pipeline.check()?;
    Ok(pipeline)
}

/// What the truth says of a record, as numbers.
pub(super) struct TrueTasks(BTreeMap<String, [f32; COLUMNS]>);

impl TrueTasks {
    pub(super) fn new(truth: &Truth) -> Self {
        let number = |names: BTreeSet<&str>| -> BTreeMap<String, f32> {
            names.into_iter().zip(0u32..).map(|(name, number)| (name.to_owned(), number as f32)).collect()
        };
        let tasks = number(truth.records.values().map(|record| record.task.as_str()).collect());
        let original =
            |id: &str| truth.records.get(id).and_then(|r| r.copy_of.clone()).unwrap_or_else(|| id.to_owned());
        let originals: BTreeMap<&String, String> = truth.records.keys().map(|id| (id, original(id))).collect();
        let numbers = number(originals.values().map(String::as_str).collect());
        let row = |id: &String| -> Option<[f32; COLUMNS]> {
            let task = tasks.get(&truth.records.get(id)?.task)?;
            let original = numbers.get(originals.get(id)?)?;
            Some([if truth.is_bad(id) { NOWHERE } else { *task }, *original])
        };
        Self(truth.records.keys().filter_map(|id| Some((id.clone(), row(id)?))).collect())
    }
}

impl FeatureExtractor for TrueTasks {
    fn extract(&self, records: &[Record], _: Option<&Adapter>, _: &Context) -> Result<Matrix> {
        let row = |record: &Record| {
            let known = self.0.get(&record.id).copied();
            known.ok_or_else(|| Error::input("truth", format!("an entry for record `{}`", record.id), "none"))
        };
        let rows = records.iter().map(row).collect::<Result<Vec<_>>>()?;
        if rows.is_empty() { Ok(Matrix::zeros(0, COLUMNS)) } else { Matrix::from_rows(&rows) }
    }

    /// Not that an adapter changed them: what is frozen is kept by content, and the truth is of an id.
    fn is_frozen(&self) -> bool {
        false
    }

    fn fingerprint(&self) -> String {
        "true tasks".into()
    }
}

/// The good records of one original are a group; bad ones are noise.
struct SameOriginal;

impl Clusterer for SameOriginal {
    fn cluster(&self, rows: &Rows<'_>, _wanted: Option<usize>, _context: &Context) -> Result<Clustering> {
        let mut ids = BTreeMap::new();
        let mut labels = Vec::with_capacity(rows.len());
        for row in rows.points.iter_rows() {
            let good = row.first().is_some_and(|task| *task > NOWHERE);
            let next = ids.len() as u32;
            let place: Vec<u32> = row.iter().map(|value| value.to_bits()).collect();
            labels.push(good.then(|| ClusterId(*ids.entry(place).or_insert(next))));
        }
        let strength: Vec<f32> = labels.iter().map(|label| if label.is_some() { 1.0 } else { 0.0 }).collect();
        let centroids = weighted_centroids(rows.points, &labels, &strength, ids.len())?;
        Ok(Clustering { labels, strength, centroids })
    }
}

/// The groups of originals that nobody trained on, those of the least covered tasks first; at random among equals.
struct LeastCoveredTask;

/// Records that were trained on or are ordered already, of each original and of each task.
#[derive(Default)]
struct Mass {
    originals: BTreeMap<i64, f64>,
    tasks: BTreeMap<i64, f64>,
}

impl Mass {
    fn add(&mut self, (task, original): (i64, i64), records: f64) {
        *self.originals.entry(original).or_default() += records;
        *self.tasks.entry(task).or_default() += records;
    }

    fn of(&self, (task, original): (i64, i64)) -> (f64, f64) {
        let number = |map: &BTreeMap<i64, f64>, key| map.get(&key).copied().unwrap_or_default();
        (number(&self.originals, original), number(&self.tasks, task))
    }
}

/// Task and original of a point.
fn place(point: &[f32]) -> (i64, i64) {
    let number = |at: usize| point.get(at).map_or(-1, |value| value.round() as i64);
    (number(0), number(1))
}

impl Selector for LeastCoveredTask {
    fn select(&self, rows: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(rows)?;
        let Budget::Total(total) = budget else {
            return Err(Error::stage("oracle", format!("expected a total, got {budget:?}")));
        };
        let mut mass = Mass::default();
        if let Some(covered) = rows.covered {
            for (point, records) in covered.points.iter_rows().zip(&covered.mass) {
                mass.add(place(point), f64::from(*records));
            }
        }
        let mut rng = context.derive("ties", 0).seed.rng();
        let mut open: Vec<(u64, usize)> = (0..rows.len()).map(|row| (rng.random(), row)).collect();
        open.sort_unstable();
        let mut chosen = Vec::new();
        while chosen.len() < total {
            let order = |row: usize| mass.of(place(rows.points.row(row)));
            let first = open.iter().enumerate().min_by(|(_, a), (_, b)| {
                let (a, b) = (order(a.1), order(b.1));
                a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
            });
            let Some((at, &(_, row))) = first else { break };
            open.remove(at);
            mass.add(place(rows.points.row(row)), 1.0);
            chosen.push(RowId(row as u32));
        }
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
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::dataset::{Flaw, RecordTruth, Swap};
    use crate::stage::Covered;

    fn truth() -> Truth {
        let record = |task: &str, copy_of: Option<&str>, flaw| RecordTruth {
            task: task.into(),
            family: task.into(),
            copy_of: copy_of.map(str::to_owned),
            flaw,
        };
        let records = [
            ("r0", record("b", None, None)),
            ("r1", record("a", None, Some(Flaw::BadClient))),
            ("r2", record("b", Some("r0"), None)),
            ("r3", record("a", None, Some(Flaw::Swapped(Swap::Within)))),
            ("r4", record("a", Some("r9"), Some(Flaw::Swapped(Swap::Across)))),
        ];
        Truth { records: records.map(|(id, record)| (id.to_owned(), record)).into(), ..Truth::default() }
    }

    fn features(ids: &[&str]) -> Result<Matrix> {
        let records: Vec<Record> = ids.iter().map(|id| Record { id: (*id).into(), ..Record::default() }).collect();
        TrueTasks::new(&truth()).extract(&records, None, &Context::new(0))
    }

    #[test]
    fn good_records_of_one_original_are_one_group_and_bad_ones_none() {
        let points = features(&["r0", "r1", "r2", "r3", "r4"]).unwrap();
        assert_eq!(points.row(0), points.row(2), "a copy stands where its original does");
        let groups = SameOriginal.cluster(&Rows::new(&points), None, &Context::new(0)).unwrap();
        let label = |id: u32| Some(ClusterId(id));
        // Swapped within a task is no harm; the rest of what is flawed has no place.
        assert_eq!(groups.labels, [label(0), None, label(0), label(1), None]);
        assert_eq!(groups.centroids.row(0), points.row(0));
        assert!(features(&["gone"]).unwrap_err().to_string().contains("record `gone`"));
        assert_eq!(features(&[]).unwrap().cols(), COLUMNS);
    }

    #[test]
    fn the_least_covered_task_comes_first_and_no_original_twice() {
        // Tasks 0 and 1; originals 0 to 4, the second held by two clients.
        let points =
            Matrix::from_rows(&[[0.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]).unwrap();
        let covered = Covered { points: Matrix::from_rows(&[[0.0, 9.0], [1.0, 3.0]]).unwrap(), mass: vec![2.0, 1.0] };
        for seed in 0..20 {
            let pick = |total| {
                let rows = Rows::new(&points).covered(&covered);
                LeastCoveredTask.select(&rows, Budget::Total(total), &Context::new(seed)).unwrap()
            };
            let one: Vec<u32> = pick(1).into_iter().map(|row| row.0).collect();
            assert!(one == [3] || one == [5], "task 1, and not what was trained on: {one:?}");
            let four = pick(4);
            assert!(four.len() == 4 && !four.contains(&RowId(4)));
            assert!(!(four.contains(&RowId(1)) && four.contains(&RowId(2))), "{four:?}");
            assert_eq!(pick(6).len(), 6, "a budget is met all the same");
        }
        let per_cluster = LeastCoveredTask.select(&Rows::new(&points), Budget::PerCluster(1), &Context::new(0));
        assert!(per_cluster.is_err());
    }
}
