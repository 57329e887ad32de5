//! One client per category.

use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// The records of each category, categories in alphabetical order.
pub(super) fn split(data: &Dataset, min_records: usize) -> Result<Vec<Vec<usize>>> {
    let groups = data.by_category();
    if let Some((task, rows)) = groups.iter().find(|(_, rows)| rows.len() < min_records) {
        let expected = format!("at most {}, the records of task `{task}`", rows.len());
        return Err(Error::parameter("min_records", expected, min_records));
    }
    Ok(groups.into_values().collect())
}
