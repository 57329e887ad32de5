//! Features of frozen extractors: computed once for all rounds, methods and seeds.

use super::atomic_write;
use crate::error::{Error, Result};
use crate::stage::FeatureExtractor;
use crate::types::{Adapter, Context, Matrix, Record};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Features of one client's records, and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFeatures {
    /// `[n, d]`, one row for each record.
    pub features: Matrix,
    /// Seconds that the extraction took.
    pub seconds: f64,
}

/// An extractor's fingerprint, and the hash of the records' content.
type Key = (String, [u8; 32]);

/// Features by extractor fingerprint and record content. Share one store between runs: what a frozen extractor gives is
/// then extracted once for all of them.
#[derive(Debug, Default)]
pub struct FeatureStore {
    entries: Mutex<BTreeMap<Key, Arc<StoredFeatures>>>,
    ledger: Option<Ledger>,
}

/// What extractions cost when they were made, in a file: an extractor that reads its features from a disk cache is quick,
/// and a run that was interrupted must still be charged what they cost.
#[derive(Debug)]
struct Ledger {
    path: PathBuf,
    seconds: Mutex<BTreeMap<String, f64>>,
}

impl FeatureStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that remembers in this file what each extraction cost; a later store on the same file charges the same
    /// seconds for features that come from a disk cache.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Checkpoint`] when it is not such a file.
    pub fn with_ledger(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let seconds = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|e| Error::Checkpoint {
                path: path.clone(),
                message: format!("expected seconds by extractor and records: {e}"),
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(Error::io(&path, e)),
        };
        Ok(Self { ledger: Some(Ledger { path, seconds: Mutex::new(seconds) }), ..Self::default() })
    }

    /// Number of (extractor, client) pairs that are kept.
    pub fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts features that were computed elsewhere (or earlier) for these records in; `seconds` is what they cost then.
    pub fn insert(&self, fingerprint: &str, records: &[Record], features: Matrix, seconds: f64) {
        let key = (fingerprint.to_owned(), content_hash(records));
        let entry = Arc::new(StoredFeatures { features, seconds });
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
    }

    /// The records' features: from the store where the extractor is frozen and has seen them, else from the extractor.
    /// What a tuned extractor gives is not kept.
    ///
    /// # Errors
    /// What the extractor reports; [`Error::Stage`] when it returns another number of rows than records;
    /// [`Error::NotFinite`].
    pub fn features(
        &self,
        extractor: &dyn FeatureExtractor,
        records: &[Record],
        adapter: Option<&Adapter>,
        context: &Context,
    ) -> Result<Arc<StoredFeatures>> {
        if !extractor.is_frozen() {
            return extract(extractor, records, adapter, context).map(Arc::new);
        }
        let key = (extractor.fingerprint(), content_hash(records));
        if let Some(found) = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let mut entry = extract(extractor, records, None, context)?;
        if let Some(ledger) = &self.ledger {
            entry.seconds = ledger.charge(&key, entry.seconds)?;
        }
        let entry = Arc::new(entry);
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry.clone());
        Ok(entry)
    }
}

impl Ledger {
    /// The larger of what is written down and what was measured now; it is written down.
    fn charge(&self, (fingerprint, content): &Key, seconds: f64) -> Result<f64> {
        let key = format!("{fingerprint} {}", blake3::Hash::from_bytes(*content).to_hex());
        let mut known = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(key).or_default();
        if seconds <= *entry {
            return Ok(*entry);
        }
        *entry = seconds;
        let json = serde_json::to_vec_pretty(&*known).map_err(|e| Error::input("seconds", "finite numbers", e))?;
        atomic_write(&self.path, &json)?;
        Ok(seconds)
    }
}

fn extract(
    extractor: &dyn FeatureExtractor,
    records: &[Record],
    adapter: Option<&Adapter>,
    context: &Context,
) -> Result<StoredFeatures> {
    let start = Instant::now();
    let features = extractor.extract(records, adapter, context)?;
    if features.rows() != records.len() {
        return Err(Error::stage(
            "feature extractor",
            format!("expected {} rows, one for each record, got {}", records.len(), features.rows()),
        ));
    }
    features.check_finite("features")?;
    Ok(StoredFeatures { features, seconds: start.elapsed().as_secs_f64() })
}

/// BLAKE3 over everything in the records that a feature can depend on, in their order.
pub fn content_hash(records: &[Record]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for record in records {
        text(&record.id);
        text(&record.instruction);
        text(&record.input);
        text(&record.responses.len().to_string());
        record.responses.iter().for_each(|r| text(r));
        text(&record.category);
        text(&record.family);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
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

    fn records(ids: &[&str]) -> Vec<Record> {
        ids.iter().map(|id| Record { id: (*id).into(), responses: vec!["x".into()], ..Record::default() }).collect()
    }

    #[test]
    fn frozen_features_are_extracted_once_and_tuned_ones_each_time() {
        for (frozen, calls) in [(true, 2), (false, 4)] {
            let store = FeatureStore::new();
            let extractor = Counting { frozen, rows: 0, calls: AtomicUsize::new(0) };
            for _ in 0..2 {
                for client in [records(&["a", "b"]), records(&["c"])] {
                    let got = store.features(&extractor, &client, None, &Context::new(0)).unwrap();
                    assert_eq!(got.features.rows(), client.len());
                }
            }
            assert_eq!(extractor.calls.load(Ordering::Relaxed), calls);
            assert_eq!(store.len(), if frozen { 2 } else { 0 });
        }
    }

    #[test]
    fn given_features_are_used() {
        let store = FeatureStore::new();
        let extractor = Counting { frozen: true, rows: 0, calls: AtomicUsize::new(0) };
        store.insert("counting", &records(&["a"]), Matrix::new(1, 1, vec![5.0]).unwrap(), 2.0);
        let got = store.features(&extractor, &records(&["a"]), None, &Context::new(0)).unwrap();
        assert_eq!((got.features.row(0)[0], got.seconds), (5.0, 2.0));
        assert_eq!(extractor.calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_was_charged_once_is_charged_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.json");
        let extractor = Counting { frozen: true, rows: 0, calls: AtomicUsize::new(0) };
        let charge = || {
            let store = FeatureStore::with_ledger(&path).unwrap();
            store.features(&extractor, &records(&["a"]), None, &Context::new(0)).unwrap().seconds
        };
        assert!(charge() > 0.0);
        let text = std::fs::read_to_string(&path).unwrap();
        let (key, _) = text.rsplit_once(':').unwrap();
        std::fs::write(&path, format!("{key}: 900.0}}")).unwrap();
        assert_eq!(charge(), 900.0);
        std::fs::write(&path, "[").unwrap();
        assert!(matches!(FeatureStore::with_ledger(&path), Err(Error::Checkpoint { .. })));
    }

    #[test]
    fn a_wrong_number_of_rows_names_the_stage() {
        let extractor = Counting { frozen: true, rows: 1, calls: AtomicUsize::new(0) };
        let error = FeatureStore::new().features(&extractor, &records(&["a"]), None, &Context::new(0)).unwrap_err();
        assert!(error.to_string().contains("expected 1 rows, one for each record, got 2"), "{error}");
    }

    #[test]
    fn every_field_counts_in_the_content() {
        let base = records(&["a"]);
        let mut other = base.clone();
        other[0].responses.push("y".into());
        assert_ne!(content_hash(&base), content_hash(&other));
        assert_ne!(content_hash(&records(&["ab", "c"])), content_hash(&records(&["a", "bc"])));
    }
}
