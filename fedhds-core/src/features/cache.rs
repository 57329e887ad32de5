//! What was computed of records once, kept with what it cost: features, scores, any numbers of each record.
//!
//! On disk one file holds one record's row, `<folder>/<kind>-<fingerprint>/<content>.row`, both by their BLAKE3 hashes: rows
//! outlive the process and serve other clients, seeds and methods. In memory whole matrices are kept, so that a client's rows
//! are put together once.

use super::content::{content_hash, record_hash, text};
use super::memory::Memory;
use super::row_file::Row;
use super::rows::CachedRows;
use crate::error::{Error, Result};
use crate::stage::{FeatureExtractor, Scorer};
use crate::types::{Adapter, Context, Control, Matrix, Record, Scores};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Memory of a cache that has a folder: what goes from memory is read again.
const MEMORY_BESIDE_A_FOLDER: usize = 1 << 30;

/// The kind of rows that are scores: a value may be NaN.
const SCORES: &str = "scores";

/// What rows are: equal keys promise equal rows for records of equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey<'a> {
    /// What the numbers are, for example `features` or `loss`; also the name of the stage in progress and errors.
    pub kind: &'a str,
    /// What they come from: model, settings, prompt.
    pub fingerprint: &'a str,
}

impl<'a> CacheKey<'a> {
    /// Rows of this kind from this source.
    pub fn new(kind: &'a str, fingerprint: &'a str) -> Self {
        Self { kind, fingerprint }
    }

    /// Features of the extractor with this fingerprint.
    pub fn features(fingerprint: &'a str) -> Self {
        Self::new("features", fingerprint)
    }

    fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        text(&mut hasher, self.kind);
        text(&mut hasher, self.fingerprint);
        hasher.finalize()
    }
}

/// What computes the rows that are missing: a matrix `[n, k]` for so many records; it reports to and is stopped by the control.
pub type Compute<'a> = dyn FnMut(&[Record], &Control) -> Result<Matrix> + 'a;

/// A cache of numbers of records, in memory or in memory and on disk. Share one between runs, and between threads.
///
/// On disk a record is known by its content alone, so that its id may differ. What a killed process had not written is lost:
/// at most [`with_chunk`](Self::with_chunk) records. Processes may share a folder.
#[derive(Debug)]
pub struct RecordCache {
    folder: Option<PathBuf>,
    chunk: usize,
    memory: Mutex<Memory>,
    /// Whether the folder could not be written once: a disk that is full stays so for a while, and the work goes on without it.
    closed: AtomicBool,
}

impl Default for RecordCache {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl RecordCache {
    /// An empty cache that lives as long as this value, without a bound.
    pub fn in_memory() -> Self {
        Self {
            folder: None,
            chunk: usize::MAX,
            memory: Mutex::new(Memory::new(usize::MAX)),
            closed: AtomicBool::new(false),
        }
    }

    /// A cache in this folder, which is made when something is written; 1 GiB of it is kept in memory as well.
    pub fn on_disk(folder: impl AsRef<Path>) -> Self {
        let folder = Some(folder.as_ref().to_path_buf());
        let memory = Mutex::new(Memory::new(MEMORY_BESIDE_A_FOLDER));
        Self { folder, chunk: 64, memory, closed: AtomicBool::new(false) }
    }

    /// At most so many bytes of rows are kept in memory, those that were used last; 0 keeps none.
    #[must_use]
    pub fn with_memory_limit(self, bytes: usize) -> Self {
        self.memory().set_limit(bytes);
        self
    }

    /// So many records (at least 1) are computed before they are written. Default 64; without a folder all at once.
    #[must_use]
    pub fn with_chunk(mut self, records: usize) -> Self {
        self.chunk = records.max(1);
        self
    }

    /// Number of matrices in memory.
    pub fn len(&self) -> usize {
        self.memory().len()
    }

    /// Whether nothing is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of these records have rows on disk (by their files' presence; contents are checked when read).
    pub fn on_disk_of(&self, key: CacheKey<'_>, records: &[Record]) -> usize {
        let Some(folder) = self.folder_of(key) else { return 0 };
        records.iter().filter(|record| folder.join(file_name(record)).is_file()).count()
    }

    /// Rows of these records: those that are known, and for the others what `compute` gives, which is then known.
    ///
    /// # Errors
    /// What `compute` reports; [`Error::Stage`] that names the kind when it gives another number of rows than records, or rows of
    /// another length than those that are known; [`Error::NotFinite`]; [`Error::Cancelled`]. A folder that cannot be written is a warning, once:
    /// rows are then kept in memory alone.
    pub fn rows(
        &self,
        key: CacheKey<'_>,
        records: &[Record],
        control: &Control,
        compute: &mut Compute<'_>,
    ) -> Result<Arc<CachedRows>> {
        control.check()?;
        let place = (*key.hash().as_bytes(), content_hash(records));
        if let Some(found) = self.memory().get(&place) {
            return Ok(found);
        }
        let rows = match self.folder_of(key) {
            None => timed(key, records, control, compute)?,
            Some(folder) => self.rows_on_disk(key, &folder, records, control, compute)?,
        };
        let rows = Arc::new(rows);
        self.memory().insert(place, rows.clone());
        Ok(rows)
    }

    /// Puts in rows that were computed elsewhere or earlier, `[records, k]`; `seconds` is what they cost then.
    ///
    /// # Errors
    /// [`Error::Stage`] for another number of rows than records; [`Error::NotFinite`].
    pub fn insert(&self, key: CacheKey<'_>, records: &[Record], values: Matrix, seconds: f64) -> Result<()> {
        check(key, records.len(), &values)?;
        if let Some(folder) = self.folder_of(key) {
            let seconds = seconds / records.len().max(1) as f64;
            for (record, values) in records.iter().zip(values.iter_rows()) {
                self.keep(&folder, &file_name(record), &Row { values: values.to_vec(), seconds });
            }
        }
        let place = (*key.hash().as_bytes(), content_hash(records));
        self.memory().insert(place, Arc::new(CachedRows { values, seconds }));
        Ok(())
    }

    /// Features of records, from the cache where the extractor is frozen. What a tuned extractor gives is not kept: every round
    /// has a new adapter, and with it new features of every record.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), for the kind `features`.
    pub fn features(
        &self,
        extractor: &dyn FeatureExtractor,
        records: &[Record],
        adapter: Option<&Adapter>,
        context: &Context,
    ) -> Result<Arc<CachedRows>> {
        let frozen = extractor.is_frozen();
        let adapter = adapter.filter(|_| !frozen);
        let mut compute = |records: &[Record], control: &Control| {
            extractor.extract(records, adapter, &Context { control: control.clone(), ..context.clone() })
        };
        let fingerprint = extractor.fingerprint();
        let key = CacheKey::features(&fingerprint);
        if frozen {
            self.rows(key, records, &context.control, &mut compute)
        } else {
            timed(key, records, &context.control, &mut compute).map(Arc::new)
        }
    }

    /// Scores of records, from the cache where the scorer is frozen, and the seconds that they cost when they were computed. A value
    /// that a scorer has not is NaN.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), for the kind `scores`; [`Error::Input`] for names that are no [`Scores`]'.
    pub fn scores(
        &self,
        scorer: &dyn Scorer,
        records: &[Record],
        adapter: Option<&Adapter>,
        context: &Context,
    ) -> Result<(Scores, f64)> {
        let frozen = scorer.is_frozen();
        let adapter = adapter.filter(|_| !frozen);
        let mut compute = |records: &[Record], control: &Control| {
            scorer.score(records, adapter, &Context { control: control.clone(), ..context.clone() })
        };
        let fingerprint = scorer.fingerprint();
        let key = CacheKey::new(SCORES, &fingerprint);
        let found = if frozen {
            self.rows(key, records, &context.control, &mut compute)?
        } else {
            Arc::new(timed(key, records, &context.control, &mut compute)?)
        };
        Ok((Scores::new(scorer.names(), found.values.clone())?, found.seconds))
    }

    fn rows_on_disk(
        &self,
        key: CacheKey<'_>,
        folder: &Path,
        records: &[Record],
        control: &Control,
        compute: &mut Compute<'_>,
    ) -> Result<CachedRows> {
        let names: Vec<String> = records.iter().map(file_name).collect();
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        // A record that occurs twice is read, computed and charged once.
        let mut missing: Vec<usize> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (i, name) in names.iter().enumerate().filter(|(_, name)| seen.insert(name.as_str())) {
            control.check()?;
            match Row::read(&folder.join(name)) {
                Some(row) => drop(rows.insert(name, row)),
                None => missing.push(i),
            }
        }
        // Rows of unequal length cannot come from one source: those that differ from the first record's are computed again.
        let first = names.iter().find_map(|name| rows.get(name.as_str()));
        if let Some(width) = first.map(|row| row.values.len()) {
            for (i, name) in names.iter().enumerate() {
                if rows.get(name.as_str()).is_some_and(|row| row.values.len() != width) {
                    let file = folder.join(name);
                    tracing::warn!(file = %file.display(), "a cached row has another length: computed again");
                    rows.remove(name.as_str());
                    missing.push(i);
                }
            }
            missing.sort_unstable();
        }
        if !missing.is_empty() {
            control.begin(key.kind, Some(missing.len() as u64));
            let result = missing.chunks(self.chunk).try_for_each(|chunk| {
                let batch: Vec<Record> = chunk.iter().map(|&i| records[i].clone()).collect();
                // One progress for all chunks: the stage's own, one for each, stays silent.
                let silent = Control { cancel: control.cancel.clone(), progress: None };
                let new = timed(key, &batch, &silent, compute).map_err(|e| of_rows(e, chunk))?;
                let seconds = new.seconds / batch.len() as f64;
                for (&i, values) in chunk.iter().zip(new.values.iter_rows()) {
                    let row = Row { values: values.to_vec(), seconds };
                    self.keep(folder, &names[i], &row);
                    rows.insert(&names[i], row);
                }
                control.advance(key.kind, chunk.len() as u64);
                Ok(())
            });
            control.end(key.kind);
            result?;
        }
        let seconds = rows.values().map(|row| row.seconds).sum();
        let parts: Vec<&[f32]> =
            names.iter().filter_map(|name| Some(rows.get(name.as_str())?.values.as_slice())).collect();
        let values = Matrix::from_rows(&parts).map_err(|e| {
            Error::stage(key.kind, format!("expected rows of one length, as equal fingerprints promise: {e}"))
        })?;
        Ok(CachedRows { values, seconds })
    }

    /// Writes a row, unless an earlier one could not be written.
    fn keep(&self, folder: &Path, name: &str, row: &Row) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let made = std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e));
        if let Err(error) = made.and_then(|()| row.write(folder, name))
            && !self.closed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "what is computed cannot be kept: the work goes on without its cache");
        }
    }

    fn folder_of(&self, key: CacheKey<'_>) -> Option<PathBuf> {
        let kind: String = key.kind.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Some(self.folder.as_ref()?.join(format!("{kind}-{}", &key.hash().to_hex()[..32])))
    }

    /// Where a record's row lies.
    #[cfg(test)]
    pub(super) fn file_of(&self, key: CacheKey<'_>, record: &Record) -> Option<PathBuf> {
        Some(self.folder_of(key)?.join(file_name(record)))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is computed now, with its time.
fn timed(key: CacheKey<'_>, records: &[Record], control: &Control, compute: &mut Compute<'_>) -> Result<CachedRows> {
    let start = Instant::now();
    let values = compute(records, control)?;
    let seconds = start.elapsed().as_secs_f64();
    check(key, records.len(), &values)?;
    Ok(CachedRows { values, seconds })
}

fn check(key: CacheKey<'_>, records: usize, values: &Matrix) -> Result<()> {
    if values.rows() != records {
        let message = format!("expected {records} rows, one for each record, got {}", values.rows());
        return Err(Error::stage(key.kind, message));
    }
    match values.as_slice().iter().position(|v| v.is_infinite() || (v.is_nan() && key.kind != SCORES)) {
        None => Ok(()),
        Some(_) if key.kind != SCORES => values.check_finite(key.kind),
        Some(at) => {
            let (row, column, value) = (at / values.cols(), at % values.cols(), values.as_slice()[at]);
            Err(Error::NotFinite { what: key.kind.into(), row, column, value })
        }
    }
}

/// The error of a part of the records, with the row's number among all of them.
fn of_rows(error: Error, part: &[usize]) -> Error {
    match error {
        Error::NotFinite { what, row, column, value } => {
            Error::NotFinite { what, row: part.get(row).copied().unwrap_or(row), column, value }
        }
        other => other,
    }
}

fn file_name(record: &Record) -> String {
    format!("{}.row", &record_hash(record).to_hex()[..40])
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
