//! From a data configuration to clients and a test set.

use super::config::{DataConfig, TooLong};
use super::parts::CountTokens;
use crate::dataset::{ClientData, Dataset, FederatedDataset, TestRecords, sample};
use crate::error::{Error, Result};
use crate::types::{Control, Record, Seed};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// The records of an experiment before they are dealt to clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// What clients will hold.
    pub train: Dataset,
    /// What none of them holds.
    pub test: Dataset,
    /// What was left out, in words.
    pub notes: Vec<String>,
    /// `train` before `data.train.records_per_task`, where that left some out and a condition has a tail: its large tasks hold more than
    /// their share of `train`.
    pub uncapped: Option<Dataset>,
}

/// The clients' records and the test set, and what was left out, in words.
///
/// # Errors
/// The loaders' own; [`Error::Config`] with the key where the data do not allow what the configuration asks for: a record that
/// is too long, a category that is not there, no records left, a partition that leaves a client without records.
pub fn load(
    config: &DataConfig,
    count_tokens: &CountTokens,
    control: &Control,
) -> Result<(FederatedDataset, Vec<String>)> {
    if let (Some(preset), Some(path)) = (config.preset, &config.path) {
        config.check()?;
        config.check_path()?;
        let mut dropped = 0;
        let mut usable = |record: &Record| {
            let fits = fits(record, "", config, count_tokens)?;
            dropped += usize::from(!fits);
            Ok(fits)
        };
        let data = preset.load(path, &mut usable, Seed(config.seed), control)?;
        let mut notes = Vec::new();
        if dropped > 0 {
            notes.push(format!("{dropped} records are longer than {} tokens and were left out", config.max_tokens));
        }
        return Ok((data, notes));
    }
    let Pool { train, test, notes, .. } = load_pool(config, count_tokens, control)?;
    let clients = deal(config, &train, Seed(config.seed))?;
    Ok((FederatedDataset { clients, test }, notes))
}

/// The records before they are dealt: read once for all conditions and seeds of a grid.
///
/// # Errors
/// As [`load`], and [`Error::Config`] for a preset, which deals the records itself.
pub fn load_pool(config: &DataConfig, count_tokens: &CountTokens, control: &Control) -> Result<Pool> {
    config.check()?;
    config.check_path()?;
    if config.preset.is_some() {
        return Err(Error::config("data.preset", "expected a `partition` in its place: the preset deals the records"));
    }
    let seed = Seed(config.seed);
    let mut notes = Vec::new();
    let (mut train, mut test) = read(config, control, &mut notes)?;
    let has_tail = config.conditions.iter().any(|(_, condition)| condition.tail > 0.0);
    let mut uncapped = None;
    for (data, key) in [(&mut train, "train"), (&mut test, "test")] {
        limit_length(data, key, config, count_tokens, &mut notes)?;
        let (tasks, records, least) = match key {
            "train" => (config.train.tasks, config.train.records_per_task, config.train.min_records_per_task),
            _ => (config.test.tasks, config.test.records_per_task, 1),
        };
        drop_small(data, least);
        limit_tasks(data, tasks, seed.derive(key, 0).derive("tasks", 0))?;
        if let Some(records) = records {
            if has_tail && key == "train" && data.by_category().values().any(|rows| rows.len() > records) {
                uncapped = Some(data.clone());
            }
            data.cap_per_category(records, seed.derive(key, 0).derive("records", 0));
        }
        if data.is_empty() {
            let message = format!("expected at least one record of at most {} tokens, got none", config.max_tokens);
            return Err(Error::config(format!("data.{key}"), message));
        }
    }
    Ok(Pool { train, test, notes, uncapped })
}

/// Deals the records by the configuration's partition.
///
/// # Errors
/// [`Error::Config`] with the key where the records do not allow it.
pub(super) fn deal(config: &DataConfig, train: &Dataset, seed: Seed) -> Result<Vec<ClientData>> {
    let Some(partition) = config.partition else {
        return Err(Error::config("data.partition", "expected how records are dealt to clients, got none"));
    };
    partition.deal(train, seed.derive("partition", 0)).map_err(|error| match error {
        Error::Parameter { name, expected, got } => {
            Error::config(format!("data.partition.{name}"), format!("expected {expected}, got {got}"))
        }
        other => other,
    })
}

/// Train and test records as the files have them; what was left out is noted.
fn read(config: &DataConfig, control: &Control, notes: &mut Vec<String>) -> Result<(Dataset, Dataset)> {
    let mut read = |path: Option<&Path>, split: Option<&str>| {
        let loaded = config.format.load(path, &config.load_options(split), control)?;
        if let Some(first) = loaded.first_bad {
            notes.push(format!("{} records cannot be used and were left out, the first since {first}", loaded.bad));
        }
        Ok::<_, Error>(loaded.dataset)
    };
    let path = config.path.as_deref();
    if config.format.test_records() == TestRecords::Own {
        return Ok((read(path, Some("train"))?, read(path, Some("test"))?));
    }
    let all = read(path, None)?;
    match (&config.test.path, config.test.fraction) {
        (Some(test), _) => Ok((all, read(Some(test), None)?)),
        (None, Some(fraction)) => {
            let rows: Vec<usize> = (0..all.len()).collect();
            let most = ((all.len() as f64 * fraction).round() as usize).max(1);
            let held_back = sample(&rows, most, Seed(config.seed).derive("test", 0));
            split_off(&all, |i, _| held_back.binary_search(&i).is_ok())
        }
        (None, None) => {
            let present: BTreeSet<&str> = all.records.iter().map(|r| r.category.as_str()).collect();
            let wanted: BTreeSet<&str> = match config.test.categories.as_slice() {
                [] => present.last().copied().into_iter().collect(),
                named => named.iter().map(String::as_str).collect(),
            };
            if let Some(missing) = wanted.iter().find(|c| !present.contains(*c)) {
                let names = present.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::config(
                    "data.test.categories",
                    format!("expected some of {names}, got `{missing}`"),
                ));
            }
            split_off(&all, |_, record| wanted.contains(record.category.as_str()))
        }
    }
}

/// (the rest, those that `held_back` names).
fn split_off(all: &Dataset, held_back: impl Fn(usize, &Record) -> bool) -> Result<(Dataset, Dataset)> {
    let rows = |test: bool| {
        let rows = all.records.iter().enumerate().filter(|(i, r)| held_back(*i, r) == test).map(|(i, _)| i);
        rows.collect::<Vec<_>>()
    };
    Ok((all.subset(&rows(false))?, all.subset(&rows(true))?))
}

fn limit_length(
    data: &mut Dataset,
    key: &str,
    config: &DataConfig,
    count_tokens: &CountTokens,
    notes: &mut Vec<String>,
) -> Result<()> {
    let before = data.len();
    let fits: Vec<Result<bool>> = data.records.par_iter().map(|r| fits(r, key, config, count_tokens)).collect();
    let mut fits = fits.into_iter();
    let dropped = data.retain_with(|_| fits.next().unwrap_or(Ok(true)))?;
    if dropped > 0 {
        notes.push(format!(
            "{dropped} of {before} {key} records are longer than {} tokens and were left out",
            config.max_tokens
        ));
    }
    Ok(())
}

/// Whether a record is short enough; one that is not is an error unless the configuration drops such records.
fn fits(record: &Record, key: &str, config: &DataConfig, count_tokens: &CountTokens) -> Result<bool> {
    is_short(record, count_tokens(record)?, key, config)
}

/// Whether a record of so many tokens is short enough, likewise; `key` says which records it belongs to.
pub(super) fn is_short(record: &Record, tokens: usize, key: &str, config: &DataConfig) -> Result<bool> {
    if tokens <= config.max_tokens || config.too_long == TooLong::Drop {
        return Ok(tokens <= config.max_tokens);
    }
    let limit = config.max_tokens;
    let which = if key.is_empty() { String::new() } else { format!("{key} ") };
    Err(Error::config(
        "data.max_tokens",
        format!(
            "expected records of at most {limit} tokens, but {which}record `{}` has {tokens}; raise the limit, or leave such \
             records out with `too_long = \"drop\"`",
            record.id
        ),
    ))
}

/// Leaves tasks with fewer than `least` records out.
fn drop_small(data: &mut Dataset, least: usize) {
    let kept: BTreeSet<String> =
        data.by_category().into_iter().filter(|(_, rows)| rows.len() >= least).map(|(c, _)| c.to_owned()).collect();
    data.records.retain(|r| kept.contains(&r.category));
}

/// Keeps at most `most` tasks, drawn by the seed.
fn limit_tasks(data: &mut Dataset, most: Option<usize>, seed: Seed) -> Result<()> {
    let Some(most) = most else { return Ok(()) };
    let names: Vec<String> = data.by_category().into_keys().map(str::to_owned).collect();
    let kept: BTreeSet<String> = sample(&names, most, seed).into_iter().collect();
    data.retain_with(|record| Ok(kept.contains(&record.category))).map(|_| ())
}
