//! Instruction records.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::control::{control, fedhds_control_t};
use crate::handle::{self, Handle};
use crate::pointer::{Out, slice, text, text_or_none};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_INPUT, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, Outcome, boundary};
#[cfg(feature = "model")]
use fedhds_core::dataset::embedded::EmbeddedTasks;
use fedhds_core::dataset::{Dataset, LoadOptions, Partition, Source, load};
use fedhds_core::types::{Record, Seed};
use fedhds_core::{Error, Result, parse};
use std::collections::HashSet;
use std::ffi::c_char;
use std::path::Path;

/// Records in an order that stays: row i of their features is record i. Freed with `fedhds_records_free`.
pub struct fedhds_records_t {
    _private: [u8; 0],
}

impl Handle for fedhds_records_t {
    type Object = Records;
    const NAME: &'static str = "fedhds_records_t";
}

/// What is behind the handle.
#[derive(Default)]
pub(crate) struct Records {
    pub list: Vec<Record>,
    /// Ids of those that were added one by one.
    ids: HashSet<String>,
}

impl From<Vec<Record>> for Records {
    fn from(list: Vec<Record>) -> Self {
        let ids = list.iter().map(|r| r.id.clone()).collect();
        Self { list, ids }
    }
}

/// No records yet.
///
/// # Safety
/// `records` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_new(records: *mut *mut fedhds_records_t) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        unsafe { Out::new(records, "records") }?.set(handle::new(Records::default()));
        Ok(())
    })
}

/// Adds a record with one response. `input` and `category` may be NULL.
///
/// # Safety
/// The texts that are not NULL end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_add(
    records: *mut fedhds_records_t,
    id: *const c_char,
    instruction: *const c_char,
    input: *const c_char,
    response: *const c_char,
    category: *const c_char,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let record = unsafe {
            let category = text_or_none(category, "category")?.unwrap_or_default().to_owned();
            Record {
                id: text(id, "id")?.to_owned(),
                instruction: text(instruction, "instruction")?.to_owned(),
                input: text_or_none(input, "input")?.unwrap_or_default().to_owned(),
                responses: vec![text(response, "response")?.to_owned()],
                family: category.clone(),
                category,
            }
        };
        handle::write(records, |records| {
            if !records.ids.insert(record.id.clone()) {
                let message = format!("id: expected one of its own, got `{}` a second time", record.id);
                return Err(Failure::new(FEDHDS_STATUS_INPUT, message));
            }
            records.list.push(record);
            Ok(())
        })
    })
}

/// Reads a data set. `format` is the name of a format (`jsonl`, `alpaca`, `dolly`, `messages`, `table`, `natural_instructions`, ...: an unknown
/// one is answered with all of them), or `guess` for what the file looks like by its name and its first object. `options` is NULL or JSON such as
/// `{"fields": {"instruction": "q", "response": "a"}, "blank_response": "skip"}`, or `{"split": "test"}` for a format that keeps its test records
/// apart. `path` is a file, or a folder for `natural_instructions`.
///
/// # Safety
/// The texts that are not NULL end with NUL; `records` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_load(
    path: *const c_char,
    format: *const c_char,
    options: *const c_char,
    watch: *const fedhds_control_t,
    records: *mut *mut fedhds_records_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, path, format, options) = unsafe {
            (
                Out::new(records, "records")?,
                Path::new(text(path, "path")?),
                text(format, "format")?,
                text_or_none(options, "options")?,
            )
        };
        let control = control(watch)?;
        let options: LoadOptions = match options {
            None => LoadOptions::default(),
            Some(json) => parse::from_json("options", json)?,
        };
        let data = load(Source::Path(path), format, &options, &control)?.dataset;
        out.set(handle::new(data.records.into()));
        Ok(())
    })
}

/// Generated records, no file: the train tasks and the unseen test tasks of the embedded data. `json` is NULL or settings such as
/// `{"records_per_task": 30, "test_records_per_task": 15, "seed": 1}`.
///
/// # Safety
/// `json` is NULL or ends with NUL; `train` and `test` are valid for a write each.
#[cfg(feature = "model")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_embedded(
    json: *const c_char,
    train: *mut *mut fedhds_records_t,
    test: *mut *mut fedhds_records_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (train, test, json) =
            unsafe { (Out::new(train, "train")?, Out::new(test, "test")?, text_or_none(json, "json")?) };
        let tasks: EmbeddedTasks = match json {
            None => EmbeddedTasks::default(),
            Some(json) => parse::from_json("json", json)?,
        };
        let (train_set, test_set) = tasks.generate()?;
        train.set(handle::new(train_set.records.into()));
        test.set(handle::new(test_set.records.into()));
        Ok(())
    })
}

/// How many records there are.
///
/// # Safety
/// `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_count(records: *const fedhds_records_t, count: *mut usize) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(count, "count") }?;
        out.set(handle::read(records, |records| Ok(records.list.len()))?);
        Ok(())
    })
}

/// One record as JSON: `id`, `instruction`, `input`, `responses`, `category`, `family`.
///
/// # Safety
/// `json` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_get(
    records: *const fedhds_records_t,
    row: usize,
    json: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        let text = handle::read(records, |records| {
            let record = records.list.get(row).ok_or_else(|| row_missing(row, records.list.len()))?;
            Ok(serde_json::to_vec(record).map_err(|e| Error::input("record", "one that can be written", e))?)
        })?;
        out.set(bytes(text));
        Ok(())
    })
}

fn row_missing(row: usize, count: usize) -> Failure {
    Failure::new(FEDHDS_STATUS_PARAMETER, format!("row: expected a row below {count}, got {row}"))
}

/// The records of these rows, in this order; a row may come more than once.
///
/// # Safety
/// `rows` is readable for `count` numbers; `subset` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_subset(
    records: *const fedhds_records_t,
    rows: *const u32,
    count: usize,
    subset: *mut *mut fedhds_records_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, rows) = unsafe { (Out::new(subset, "subset")?, slice(rows, count, "rows")?) };
        let taken = handle::read(records, |records| {
            let take = |&row: &u32| {
                records.list.get(row as usize).cloned().ok_or_else(|| row_missing(row as usize, records.list.len()))
            };
            rows.iter().map(take).collect::<Outcome<Vec<_>>>()
        })?;
        out.set(handle::new(taken.into()));
        Ok(())
    })
}

/// The records of one client of a federation that these records are dealt to: `json` says how, for example
/// `{"kind": "dirichlet", "clients": 4, "alpha": 0.5}` or `{"kind": "iid", "clients": 4}`. Each call of the same seed deals alike.
///
/// # Safety
/// `json` ends with NUL; `part` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_records_part(
    records: *const fedhds_records_t,
    json: *const c_char,
    seed: u64,
    client: usize,
    part: *mut *mut fedhds_records_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, json) = unsafe { (Out::new(part, "part")?, text(json, "json")?) };
        let partition: Partition = parse::from_json("partition", json)?;
        partition.check()?;
        let dealt = handle::read(records, |records| {
            let deal = || -> Result<Vec<Vec<Record>>> {
                let data = Dataset::new("records", records.list.clone())?;
                let parts = partition.split(&data, Seed(seed))?;
                parts.iter().map(|rows| Ok(data.subset(rows)?.records)).collect()
            };
            Ok(deal()?)
        })?;
        let clients = dealt.len();
        let Some(own) = dealt.into_iter().nth(client) else {
            let message = format!("client: expected a client below {clients}, got {client}");
            return Err(Failure::new(FEDHDS_STATUS_PARAMETER, message));
        };
        out.set(handle::new(own.into()));
        Ok(())
    })
}

/// Frees the records; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_records_free(records: *mut fedhds_records_t) -> fedhds_status_t {
    boundary(|| handle::free(records))
}
