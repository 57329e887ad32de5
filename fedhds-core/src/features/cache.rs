//! Features on disk, so that a frozen extractor reads each record once: across rounds, runs, seeds and methods.
//!
//! One file for each record, `<folder>/<extractor>/<record>.features`: both names are BLAKE3 hashes, of the extractor's
//! fingerprint and the adapter's content, and of the record's content. A file is written beside its place and moved there
//! when it is whole, and carries a hash of its values: a killed process leaves no half file that would be read, and a damaged
//! one is recomputed with a warning.

use crate::error::{Error, Result};
use crate::files::temporary_in;
use crate::stage::FeatureExtractor;
use crate::types::{Adapter, Context, Control, Matrix, Record};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The first bytes of a file: the format and its version.
const MAGIC: &[u8; 8] = b"FHDSFT01";
/// Magic, number of values (u64), BLAKE3 of the values.
const HEADER: usize = 8 + 8 + 32;

/// An extractor whose features are kept in a folder.
///
/// Only features that no adapter has changed are kept, unless [`Cached::with_adapters`] asks for more: every round has a new
/// adapter, and with it new features of every record.
#[derive(Debug)]
pub struct Cached<E> {
    inner: E,
    folder: PathBuf,
    adapters: bool,
    chunk: usize,
}

impl<E: FeatureExtractor> Cached<E> {
    /// Keeps the features of `inner` in `folder`, which is made if need be. Extractors share a folder without mixing.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made.
    pub fn new(inner: E, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        Ok(Self { inner, folder, adapters: false, chunk: 64 })
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
        self.chunk = records.max(1);
        self
    }

    /// The extractor.
    pub fn inner(&self) -> &E {
        &self.inner
    }

    /// How many of these records have features here (by their files' presence; contents are checked when read).
    pub fn known(&self, records: &[Record], adapter: Option<&Adapter>) -> usize {
        let folder = self.folder_of(adapter);
        records.iter().filter(|record| folder.join(file_name(record)).is_file()).count()
    }

    fn folder_of(&self, adapter: Option<&Adapter>) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        text(&mut hasher, &self.inner.fingerprint());
        if let Some(adapter) = adapter.filter(|_| !self.inner.is_frozen()) {
            hash_adapter(&mut hasher, adapter);
        }
        self.folder.join(&hasher.finalize().to_hex()[..32])
    }
}

impl<E: FeatureExtractor> FeatureExtractor for Cached<E> {
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        if adapter.is_some() && !self.inner.is_frozen() && !self.adapters {
            return self.inner.extract(records, adapter, context);
        }
        let folder = self.folder_of(adapter);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let names: Vec<String> = records.iter().map(file_name).collect();
        let mut rows: Vec<Option<Vec<f32>>> = Vec::with_capacity(records.len());
        for name in &names {
            context.control.check()?;
            rows.push(read(&folder.join(name)));
        }
        // Rows of unequal length cannot come from one extractor: recompute those that differ from the first.
        let width = rows.iter().flatten().map(Vec::len).next();
        for (row, name) in rows.iter_mut().zip(&names) {
            if row.as_ref().is_some_and(|values| Some(values.len()) != width) {
                tracing::warn!(file = %folder.join(name).display(), "cached features of another length: recomputed");
                *row = None;
            }
        }
        // A record that occurs twice is extracted once.
        let mut missing: Vec<usize> = Vec::new();
        let mut seen = std::collections::BTreeMap::new();
        for (i, name) in names.iter().enumerate().filter(|(i, _)| rows[*i].is_none()) {
            if !seen.contains_key(name) {
                seen.insert(name, i);
                missing.push(i);
            }
        }
        // One progress for all chunks: the extractor's own, one for each, stay silent.
        let silent = Control { cancel: context.control.cancel.clone(), progress: None };
        let silent = Context { seed: context.seed, control: silent };
        if !missing.is_empty() {
            context.control.begin("features", Some(missing.len() as u64));
        }
        for chunk in missing.chunks(self.chunk) {
            let batch: Vec<Record> = chunk.iter().map(|&i| records[i].clone()).collect();
            let features =
                self.inner.extract(&batch, adapter, &silent).inspect_err(|_| context.control.end("features"))?;
            if features.rows() != batch.len() {
                let message = format!("expected {} rows, one per record, got {}", batch.len(), features.rows());
                return Err(Error::stage("features", message));
            }
            for (&i, row) in chunk.iter().zip(features.iter_rows()) {
                write(&folder, &names[i], row)?;
                rows[i] = Some(row.to_vec());
            }
            context.control.advance("features", chunk.len() as u64);
        }
        if !missing.is_empty() {
            context.control.end("features");
        }
        let rows: Vec<&[f32]> = rows
            .iter()
            .zip(&names)
            .map(|(row, name)| match row {
                Some(row) => row.as_slice(),
                None => seen.get(name).and_then(|&i| rows[i].as_deref()).unwrap_or_default(),
            })
            .collect();
        Matrix::from_rows(&rows)
    }

    fn is_frozen(&self) -> bool {
        self.inner.is_frozen()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }
}

/// A text with its length before it, so that no two lists of texts hash alike.
fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// Everything of a record that a prompt may show; its id is not among it.
fn file_name(record: &Record) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [&record.instruction, &record.input, &record.category, &record.family] {
        text(&mut hasher, part);
    }
    text(&mut hasher, record.response());
    format!("{}.features", &hasher.finalize().to_hex()[..40])
}

fn hash_adapter(hasher: &mut blake3::Hasher, adapter: &Adapter) {
    // Dropout is off while features are extracted: of the settings the scaling alone changes them.
    hasher.update(&adapter.config.scaling().to_le_bytes());
    for (name, tensor) in &adapter.tensors {
        text(hasher, name);
        for size in tensor.shape {
            hasher.update(&(size as u64).to_le_bytes());
        }
        for value in &tensor.data {
            hasher.update(&value.to_le_bytes());
        }
    }
}

/// The values of a file; none where there is no file, or (with a warning) where it is damaged.
fn read(path: &Path) -> Option<Vec<f32>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "cached features cannot be read: recomputed");
            return None;
        }
    };
    let values = parse(&bytes);
    if values.is_none() {
        tracing::warn!(file = %path.display(), "cached features are damaged: recomputed");
    }
    values
}

fn parse(bytes: &[u8]) -> Option<Vec<f32>> {
    let (header, values) = bytes.split_at_checked(HEADER)?;
    let count = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
    let whole = header.starts_with(MAGIC)
        && Some(values.len() as u64) == count.checked_mul(4)
        && header.get(16..HEADER)? == blake3::hash(values).as_bytes();
    whole.then(|| values.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

fn write(folder: &Path, name: &str, row: &[f32]) -> Result<()> {
    let values: Vec<u8> = row.iter().flat_map(|v| v.to_le_bytes()).collect();
    let failed = |e| Error::io(folder.join(name), e);
    let mut file = temporary_in(folder).map_err(failed)?;
    file.write_all(MAGIC).map_err(failed)?;
    file.write_all(&(row.len() as u64).to_le_bytes()).map_err(failed)?;
    file.write_all(blake3::hash(&values).as_bytes()).map_err(failed)?;
    file.write_all(&values).map_err(failed)?;
    file.persist(folder.join(name)).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{AdapterConfig, AdapterTensor};
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
        let path = m.folder_of(None).join(file_name(&records(3)[1]));
        let whole = std::fs::read(&path).unwrap();
        // What a kill while writing in place would leave, a flipped bit, and rubbish.
        let mut flipped = whole.clone();
        flipped[HEADER + 2] ^= 1;
        let wrong_count = [&whole[..8], &u64::MAX.to_le_bytes(), &whole[16..]].concat();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[], &flipped, &wrong_count, b"rubbish"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(m.extract(&records(3), None, &context).unwrap(), features);
            assert_eq!(asked(&m), ["r1"]);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn what_a_killed_process_leaves_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let m = cached(true, "m", folder.path());
        let place = m.folder_of(None);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(".part-abc"), b"half").unwrap();
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
