//! A record of a run as a JSON file with the number of its schema.

use crate::error::{Error, Result};
use crate::simulate::atomic_write;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is kept of a finished run.
pub(super) trait RecordFile: Serialize + DeserializeOwned {
    /// What it is called.
    const NAME: &'static str;
    /// The number of its schema, its field `schema`; it changes whenever a field changes its meaning or goes.
    const SCHEMA: u32;
}

/// Writes a record as JSON, whole or not at all, and makes its folder.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub(super) fn save<R: RecordFile>(record: &R, path: &Path) -> Result<()> {
    let json = serde_json::to_vec_pretty(record).map_err(|e| damaged::<R>(path, &e))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    atomic_write(path, &json)
}

/// Reads a record back.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::Checkpoint`] when it is damaged or of another schema.
pub(super) fn load<R: RecordFile>(path: &Path) -> Result<R> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let json = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let Schema { schema } = serde_json::from_slice(&json).map_err(|e| damaged::<R>(path, &e))?;
    if schema != R::SCHEMA {
        return Err(damaged::<R>(path, &format_args!("schema {schema} in place of {}", R::SCHEMA)));
    }
    serde_json::from_slice(&json).map_err(|e| damaged::<R>(path, &e))
}

fn damaged<R: RecordFile>(path: &Path, message: &dyn std::fmt::Display) -> Error {
    let message = format!("expected a {} of schema {}: {message}", R::NAME, R::SCHEMA);
    Error::Checkpoint { path: path.to_path_buf(), message }
}
