//! What is asked again and what is not, what it is charged, what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::super::memory::bytes;
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting {
    frozen: bool,
    rows: usize,
    calls: AtomicUsize,
}

impl FeatureExtractor for Counting {
    fn extract(&self, records: &[Record], _: Option<&Adapter>, _: &Context) -> Result<Matrix> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Matrix::zeros(records.len() + self.rows, 2))
    }
    fn is_frozen(&self) -> bool {
        self.frozen
    }
    fn fingerprint(&self) -> String {
        "counting".into()
    }
}

#[test]
fn a_folder_that_cannot_be_written_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Where the cache's folder should be there is a file: nothing can be made in it.
    let taken = folder.path().join("taken");
    std::fs::write(&taken, b"a file").unwrap();
    let cache = RecordCache::on_disk(&taken).with_chunk(1);
    let (own, key) = (records(&["a", "bc", "def"]), CacheKey::new("features", "m"));
    let mut asked = Vec::new();
    let rows = lengths(&cache, key, &own, &mut asked);
    assert_eq!((rows.values.as_slice(), asked.len()), ([4.0, 5.0, 6.0].as_slice(), 3));
    assert_eq!(lengths(&cache, key, &own, &mut asked), rows);
    assert_eq!(asked.len(), 3, "they are in memory all the same");
    cache.insert(CacheKey::new("features", "n"), &own, rows.values.clone(), 1.0).unwrap();
    assert_eq!(std::fs::read(&taken).unwrap(), b"a file");
}

#[test]
fn processes_that_write_one_row_at_once_leave_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let (own, key) = (records(&["a", "bc", "def"]), CacheKey::new("features", "m"));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let cache = RecordCache::on_disk(folder.path()).with_memory_limit(0);
                    assert_eq!(lengths(&cache, key, &own, &mut Vec::new()).values.as_slice(), [4.0, 5.0, 6.0]);
                    let _ = std::fs::remove_file(cache.file_of(key, &own[0]).unwrap());
                }
            });
        }
    });
}

fn counting(frozen: bool, rows: usize) -> Counting {
    Counting { frozen, rows, calls: AtomicUsize::new(0) }
}

fn records(ids: &[&str]) -> Vec<Record> {
    let record = |id: &&str| Record {
        id: (*id).into(),
        instruction: format!("do {id}"),
        responses: vec!["x".into()],
        ..Record::default()
    };
    ids.iter().map(record).collect()
}

/// Rows of one value, the length of the instruction, from a cache that notes what it computes.
fn lengths(cache: &RecordCache, key: CacheKey<'_>, records: &[Record], asked: &mut Vec<String>) -> Arc<CachedRows> {
    let mut compute = |missing: &[Record], _: &Control| {
        asked.extend(missing.iter().map(|r| r.id.clone()));
        let rows: Vec<[f32; 1]> = missing.iter().map(|r| [r.instruction.len() as f32]).collect();
        Matrix::from_rows(&rows)
    };
    cache.rows(key, records, &Control::default(), &mut compute).unwrap()
}

#[test]
fn frozen_features_are_extracted_once_and_tuned_ones_each_time() {
    for (frozen, calls) in [(true, 2), (false, 4)] {
        let cache = RecordCache::in_memory();
        let extractor = counting(frozen, 0);
        for _ in 0..2 {
            for client in [records(&["a", "b"]), records(&["c"])] {
                let got = cache.features(&extractor, &client, None, &Context::new(0)).unwrap();
                assert_eq!(got.values.rows(), client.len());
            }
        }
        assert_eq!(extractor.calls.load(Ordering::Relaxed), calls);
        assert_eq!(cache.len(), if frozen { 2 } else { 0 });
    }
}

#[test]
fn given_features_are_used() {
    let folder = tempfile::tempdir().unwrap();
    for cache in [RecordCache::in_memory(), RecordCache::on_disk(folder.path()).with_memory_limit(0)] {
        let extractor = counting(true, 0);
        let values = Matrix::new(1, 1, vec![5.0]).unwrap();
        cache.insert(CacheKey::features("counting"), &records(&["a"]), values.clone(), 2.0).unwrap();
        let got = cache.features(&extractor, &records(&["a"]), None, &Context::new(0)).unwrap();
        assert_eq!((got.values.row(0)[0], got.seconds), (5.0, 2.0));
        assert_eq!(extractor.calls.load(Ordering::Relaxed), 0);
        let error = cache.insert(CacheKey::new("loss", "m"), &records(&["a", "b"]), values, 0.0).unwrap_err();
        assert!(error.to_string().contains("stage `loss`: expected 2 rows"), "{error}");
    }
}

#[test]
fn what_was_charged_once_is_charged_again() {
    let folder = tempfile::tempdir().unwrap();
    let extractor = counting(true, 0);
    let charge = || {
        let cache = RecordCache::on_disk(folder.path());
        cache.features(&extractor, &records(&["a"]), None, &Context::new(0)).unwrap().seconds
    };
    let first = charge();
    assert!(first > 0.0);
    assert_eq!(charge(), first);
    assert_eq!(extractor.calls.load(Ordering::Relaxed), 1);
    let key = CacheKey::features("counting");
    RecordCache::on_disk(folder.path()).insert(key, &records(&["a"]), Matrix::zeros(1, 2), 900.0).unwrap();
    assert_eq!(charge(), 900.0);
    // Of several records the sum, each once.
    RecordCache::on_disk(folder.path()).insert(key, &records(&["b", "c"]), Matrix::zeros(2, 2), 3.0).unwrap();
    let cache = RecordCache::on_disk(folder.path());
    let all = cache.features(&extractor, &records(&["a", "b", "b", "c"]), None, &Context::new(0)).unwrap();
    assert_eq!((all.seconds, all.values.rows()), (903.0, 4));
}

#[test]
fn a_wrong_number_of_rows_names_the_stage() {
    let extractor = counting(true, 1);
    let folder = tempfile::tempdir().unwrap();
    for cache in [RecordCache::in_memory(), RecordCache::on_disk(folder.path())] {
        let error = cache.features(&extractor, &records(&["a"]), None, &Context::new(0)).unwrap_err();
        assert!(error.to_string().contains("expected 1 rows, one for each record, got 2"), "{error}");
        assert!(cache.is_empty());
    }
}

#[test]
fn kinds_sources_and_contents_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    for cache in [RecordCache::in_memory(), RecordCache::on_disk(folder.path())] {
        let mut asked = Vec::new();
        let some = records(&["a", "bb"]);
        let keys = [CacheKey::new("loss", "m"), CacheKey::new("loss", "n"), CacheKey::new("length", "m")];
        for key in keys {
            assert_eq!(lengths(&cache, key, &some, &mut asked).values.as_slice(), [4.0, 5.0]);
        }
        assert_eq!(asked.len(), 6);
        keys.iter().for_each(|&key| drop(lengths(&cache, key, &some, &mut asked)));
        assert_eq!(asked.len(), 6);
        // What a kind and a fingerprint are is told apart, and so is another kind that makes the same folder's name.
        for key in [CacheKey::new("los", "sm"), CacheKey::new("lo/ss", "m"), CacheKey::new("lo.ss", "m")] {
            lengths(&cache, key, &some[..1], &mut asked);
        }
        assert_eq!(asked.len(), 9);
    }
}

#[test]
fn on_disk_a_record_is_known_among_others() {
    let folder = tempfile::tempdir().unwrap();
    let key = CacheKey::new("loss", "m");
    let mut asked = Vec::new();
    let first = RecordCache::on_disk(folder.path());
    lengths(&first, key, &records(&["a", "bb"]), &mut asked);
    let again = RecordCache::on_disk(folder.path());
    assert_eq!(again.on_disk_of(key, &records(&["ccc", "a", "bb"])), 2);
    let rows = lengths(&again, key, &records(&["ccc", "a", "ccc", "bb"]), &mut asked);
    assert_eq!(rows.values.as_slice(), [6.0, 4.0, 6.0, 5.0]);
    assert_eq!(asked, ["a", "bb", "ccc"]);
    assert_eq!(lengths(&again, key, &[], &mut asked).values.rows(), 0);
}

#[test]
fn memory_is_bounded_and_what_went_is_read_or_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = CacheKey::new("loss", "m");
    let (one, two, three) = (records(&["a"]), records(&["bb"]), records(&["ccc"]));
    let room = 2 * bytes(&CachedRows { values: Matrix::zeros(1, 1), seconds: 0.0 });
    let kept = |cache: &RecordCache| {
        let mut asked = Vec::new();
        for some in [&one, &two, &one, &three, &one, &two] {
            lengths(cache, key, some, &mut asked);
            assert!(cache.len() <= 2);
        }
        asked
    };
    // Of the first two, the second was used longest ago when the third came.
    assert_eq!(kept(&RecordCache::in_memory().with_memory_limit(room)), ["a", "bb", "ccc", "bb"]);
    assert_eq!(kept(&RecordCache::on_disk(folder.path()).with_memory_limit(room)), ["a", "bb", "ccc"]);
    let none = RecordCache::in_memory().with_memory_limit(0);
    lengths(&none, key, &one, &mut Vec::new());
    assert!(none.is_empty());
}

#[test]
fn a_row_that_is_not_finite_is_numbered_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let key = CacheKey::new("loss", "m");
    let mut compute = |missing: &[Record], _: &Control| {
        let rows: Vec<[f32; 1]> = missing.iter().map(|r| [if r.id == "d" { f32::NAN } else { 1.0 }]).collect();
        Matrix::from_rows(&rows)
    };
    let cache = RecordCache::on_disk(folder.path()).with_chunk(2);
    let all = records(&["a", "b", "c", "d"]);
    let error = cache.rows(key, &all, &Control::default(), &mut compute).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { what, row: 3, .. } if what == "loss"), "{error}");
    assert_eq!(cache.on_disk_of(key, &all), 2);
}

#[test]
fn rows_of_another_length_are_computed_again_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = CacheKey::new("loss", "m");
    let put = |id: &str, width: usize| {
        let cache = RecordCache::on_disk(folder.path());
        cache.insert(key, &records(&[id]), Matrix::zeros(1, width), 0.0).unwrap();
    };
    put("a", 1);
    put("b", 2);
    let mut asked = Vec::new();
    lengths(&RecordCache::on_disk(folder.path()), key, &records(&["a", "b"]), &mut asked);
    assert_eq!(asked, ["b"]);
    put("a", 3);
    let mut compute = |missing: &[Record], _: &Control| Ok(Matrix::zeros(missing.len(), 1));
    let cache = RecordCache::on_disk(folder.path());
    let error = cache.rows(key, &records(&["a", "c"]), &Control::default(), &mut compute).unwrap_err().to_string();
    assert!(error.contains("stage `loss`: expected rows of one length"), "{error}");
}

#[test]
fn threads_share_a_cache_and_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let key = CacheKey::new("loss", "m");
    let ids: Vec<String> = (0..30).map(|i| "x".repeat(i)).collect();
    let all = records(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let cache = RecordCache::on_disk(folder.path()).with_chunk(4);
    let expected: Vec<f32> = (3..33).map(|n| n as f32).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let rows = lengths(&cache, key, &all, &mut Vec::new());
                assert_eq!(rows.values.as_slice(), expected);
                let other = RecordCache::on_disk(folder.path());
                assert_eq!(lengths(&other, key, &all[5..], &mut Vec::new()).values.as_slice(), &expected[5..]);
            });
        }
    });
}
