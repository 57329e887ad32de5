//! An extractor that reads each record once: across rounds, runs, seeds and methods.

use super::cache::{CacheKey, RecordCache};
use super::content::adapter_hash;
use crate::error::{Error, Result};
use crate::stage::FeatureExtractor;
use crate::types::{Adapter, Context, Control, Matrix, Record};
use std::path::Path;
use std::sync::Arc;

/// An extractor whose features are kept in a folder, for those who call an extractor themselves; a simulation has a
/// [`RecordCache`] of its own.
///
/// Only features that no adapter has changed are kept, unless [`Cached::with_adapters`] asks for more: every round has a new
/// adapter, and with it new features of every record.
#[derive(Debug)]
pub struct Cached<E> {
    inner: E,
    cache: RecordCache,
    adapters: bool,
}

impl<E: FeatureExtractor> Cached<E> {
    /// Keeps the features of `inner` in `folder`, which is made if need be. Extractors share a folder without mixing.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made.
    pub fn new(inner: E, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        Ok(Self { inner, cache: RecordCache::on_disk(folder).with_memory_limit(0), adapters: false })
    }

    /// Whether features of adapted models are kept too. Default false.
    #[must_use]
    pub fn with_adapters(mut self, keep: bool) -> Self {
        self.adapters = keep;
        self
    }

    /// So many records (at least 1) are extracted before they are written: what a killed process loses. Default 64.
    #[must_use]
    pub fn with_chunk(mut self, records: usize) -> Self {
        self.cache = self.cache.with_chunk(records);
        self
    }

    /// The extractor.
    pub fn inner(&self) -> &E {
        &self.inner
    }

    /// How many of these records have features here (by their files' presence; contents are checked when read).
    pub fn known(&self, records: &[Record], adapter: Option<&Adapter>) -> usize {
        self.cache.on_disk_of(CacheKey::features(&self.source(adapter)), records)
    }

    /// What the features come from: the extractor, and the adapter that changes them.
    fn source(&self, adapter: Option<&Adapter>) -> String {
        match adapter.filter(|_| !self.inner.is_frozen()) {
            None => self.inner.fingerprint(),
            Some(adapter) => format!("{} with adapter {}", self.inner.fingerprint(), adapter_hash(adapter)),
        }
    }
}

impl<E: FeatureExtractor> FeatureExtractor for Cached<E> {
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        if adapter.is_some() && !self.inner.is_frozen() && !self.adapters {
            return self.inner.extract(records, adapter, context);
        }
        let mut compute = |records: &[Record], control: &Control| {
            self.inner.extract(records, adapter, &Context { control: control.clone(), ..context.clone() })
        };
        let source = self.source(adapter);
        let rows = self.cache.rows(CacheKey::features(&source), records, &context.control, &mut compute)?;
        Ok(Arc::unwrap_or_clone(rows).values)
    }

    fn is_frozen(&self) -> bool {
        self.inner.is_frozen()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{AdapterConfig, AdapterTensor};
    use std::path::PathBuf;
    use std::sync::Mutex;

    /// Features are lengths of texts and what the adapter holds; notes every record that it is asked for.
    #[derive(Debug, Default)]
    struct Lengths {
        frozen: bool,
        name: String,
        asked: Mutex<Vec<String>>,
    }

    impl FeatureExtractor for Lengths {
        fn extract(&self, records: &[Record], adapter: Option<&Adapter>, _: &Context) -> Result<Matrix> {
            self.asked.lock().unwrap().extend(records.iter().map(|r| r.id.clone()));
            let shift = adapter.and_then(|a| a.tensors.values().next()).map_or(0.0, |t| t.data[0]);
            let rows: Vec<[f32; 2]> =
                records.iter().map(|r| [r.instruction.len() as f32 + shift, r.response().len() as f32]).collect();
            Matrix::from_rows(&rows)
        }
        fn is_frozen(&self) -> bool {
            self.frozen
        }
        fn fingerprint(&self) -> String {
            self.name.clone()
        }
    }

    fn records(n: usize) -> Vec<Record> {
        (0..n)
            .map(|i| Record {
                id: format!("r{i}"),
                instruction: "x".repeat(i + 1),
                responses: vec!["yes".into()],
                ..Record::default()
            })
            .collect()
    }

    fn adapter(value: f32) -> Adapter {
        let tensor = AdapterTensor { shape: [1, 1], data: vec![value] };
        Adapter { config: AdapterConfig::default(), tensors: [("a".to_string(), tensor)].into() }
    }

    fn cached(frozen: bool, name: &str, folder: &Path) -> Cached<Lengths> {
        let inner = Lengths { frozen, name: name.into(), asked: Mutex::default() };
        Cached::new(inner, folder).unwrap().with_chunk(2)
    }

    fn asked(cached: &Cached<Lengths>) -> Vec<String> {
        std::mem::take(&mut *cached.inner.asked.lock().unwrap())
    }

    fn file_of(cached: &Cached<Lengths>, record: &Record) -> PathBuf {
        cached.cache.file_of(CacheKey::features(&cached.source(None)), record).unwrap()
    }

    #[test]
    fn a_frozen_extractor_is_asked_once_across_processes() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new(0);
        let first = cached(true, "m", folder.path());
        let features = first.extract(&records(5), Some(&adapter(9.0)), &context).unwrap();
        assert_eq!(asked(&first).len(), 5);
        assert_eq!(first.known(&records(7), None), 5);

        let second = cached(true, "m", folder.path());
        assert_eq!(second.extract(&records(5), Some(&adapter(1.0)), &context).unwrap(), features);
        assert!(asked(&second).is_empty());
        let mut more = records(7);
        more.reverse();
        let more_features = second.extract(&more, None, &context).unwrap();
        assert_eq!(asked(&second), ["r6", "r5"]);
        assert_eq!(more_features.row(6), features.row(0));
        assert_eq!(second.extract(&[], None, &context).unwrap().rows(), 0);
    }

    #[test]
    fn other_models_contents_and_adapters_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new(0);
        let m = cached(false, "m", folder.path()).with_adapters(true);
        let plain = m.extract(&records(2), None, &context).unwrap();
        let one = m.extract(&records(2), Some(&adapter(1.0)), &context).unwrap();
        assert_eq!(asked(&m).len(), 4);
        assert_eq!(one.row(0)[0], plain.row(0)[0] + 1.0);
        assert_eq!(m.extract(&records(2), Some(&adapter(1.0)), &context).unwrap(), one);
        assert!(asked(&m).is_empty());

        let other = cached(false, "n", folder.path());
        other.extract(&records(2), None, &context).unwrap();
        assert_eq!(asked(&other).len(), 2);
        let mut changed = records(2);
        changed[1].responses[0] = "no".into();
        changed[0].id = "renamed".into();
        other.extract(&changed, None, &context).unwrap();
        assert_eq!(asked(&other), ["r1"]);
    }

    #[test]
    fn features_of_adapters_are_not_kept_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let m = cached(false, "m", folder.path());
        for _ in 0..2 {
            m.extract(&records(2), Some(&adapter(1.0)), &Context::new(0)).unwrap();
            assert_eq!(asked(&m).len(), 2);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn equal_records_are_extracted_once() {
        let folder = tempfile::tempdir().unwrap();
        let m = cached(true, "m", folder.path());
        let mut twice = records(2);
        twice.extend(records(2));
        let features = m.extract(&twice, None, &Context::new(0)).unwrap();
        assert_eq!(asked(&m).len(), 2);
        assert_eq!(features.row(1), features.row(3));
    }

    #[test]
    fn a_damaged_file_is_recomputed() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new(0);
        let m = cached(true, "m", folder.path());
        let features = m.extract(&records(3), None, &context).unwrap();
        asked(&m);
        let path = file_of(&m, &records(3)[1]);
        let whole = std::fs::read(&path).unwrap();
        // What a kill while writing in place would leave, a flipped bit, and rubbish.
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let wrong_count = [&whole[..16], &u64::MAX.to_le_bytes(), &whole[24..]].concat();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[], &flipped, &wrong_count, b"rubbish"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(m.extract(&records(3), None, &context).unwrap(), features);
            assert_eq!(asked(&m), ["r1"]);
            // Whole again, but for the seconds that it took and the hash over them.
            let again = std::fs::read(&path).unwrap();
            assert_eq!((again.len(), &again[56..]), (whole.len(), &whole[56..]));
            assert_eq!(m.extract(&records(3), None, &context).unwrap(), features);
            assert!(asked(&m).is_empty());
        }
    }

    #[test]
    fn what_a_killed_process_leaves_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let m = cached(true, "m", folder.path());
        let place = file_of(&m, &records(1)[0]);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place.with_file_name(".part-abc"), b"half").unwrap();
        let features = m.extract(&records(1), None, &Context::new(0)).unwrap();
        assert_eq!(features.row(0), [1.0, 3.0]);
        assert_eq!(asked(&m), ["r0"]);
    }

    #[test]
    fn chunks_before_a_failure_are_kept() {
        struct FailsAtThree(Lengths);
        impl FeatureExtractor for FailsAtThree {
            fn extract(&self, records: &[Record], a: Option<&Adapter>, c: &Context) -> Result<Matrix> {
                if records.iter().any(|r| r.id == "r3") { Err(Error::Cancelled) } else { self.0.extract(records, a, c) }
            }
            fn is_frozen(&self) -> bool {
                true
            }
            fn fingerprint(&self) -> String {
                "m".into()
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let failing = Cached::new(FailsAtThree(Lengths::default()), folder.path()).unwrap().with_chunk(2);
        assert!(matches!(failing.extract(&records(5), None, &Context::new(0)), Err(Error::Cancelled)));
        let m = cached(true, "m", folder.path());
        m.extract(&records(5), None, &Context::new(0)).unwrap();
        assert_eq!(asked(&m), ["r2", "r3", "r4"]);
    }
}
