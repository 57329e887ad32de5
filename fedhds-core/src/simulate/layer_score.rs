//! How well each layer's features tell tasks apart.

use crate::error::Result;
use crate::metrics::{calinski_harabasz, neighbour_f1, silhouette};
use crate::types::{Matrix, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How well the features of one layer tell the tasks of a client's records apart: each figure is of the records grouped by their task, and
/// none where it is not defined.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerScore {
    /// The Calinski-Harabasz index, at least 0; higher is better.
    pub calinski_harabasz: Option<f64>,
    /// Macro F1 of guessing a record's task from its nearest neighbour, in [0, 1].
    pub f1: Option<f64>,
    /// The mean silhouette, in [-1, 1].
    pub silhouette: Option<f64>,
}

/// Records that are looked at, at most: two of the figures are quadratic in them.
const MOST_RECORDS: usize = 200;

/// The scores of each of `layers` equal parts of the features `[n, d]`; none where the parts are not equal, and where the records are of
/// fewer than two tasks or each of its own.
pub(super) fn layer_scores(features: &Matrix, records: &[Record], layers: usize) -> Result<Vec<LayerScore>> {
    let columns = features.cols();
    if layers == 0 || columns == 0 || !columns.is_multiple_of(layers) || features.rows() != records.len() {
        return Ok(Vec::new());
    }
    let shown = records.len().min(MOST_RECORDS);
    let rows: Vec<usize> = (0..shown).map(|at| at * records.len() / shown.max(1)).collect();
    let tasks: Vec<&str> = rows.iter().filter_map(|row| records.get(*row)).map(|r| r.category.as_str()).collect();
    let distinct = tasks.iter().collect::<BTreeSet<_>>().len();
    if distinct < 2 || distinct >= tasks.len() {
        return Ok(Vec::new());
    }
    let wide = features.take_rows(&rows)?;
    let width = columns / layers;
    let of = |layer: usize| {
        let part: Vec<&[f32]> =
            wide.iter_rows().map(|row| row.get(layer * width..(layer + 1) * width).unwrap_or_default()).collect();
        let part = Matrix::from_rows(&part)?;
        let finite = |score: f64| score.is_finite().then_some(score);
        Ok(LayerScore {
            calinski_harabasz: finite(calinski_harabasz(&part, &tasks)?),
            f1: finite(neighbour_f1(&part, &tasks)?),
            silhouette: finite(silhouette(&part, &tasks)?),
        })
    };
    (0..layers).map(of).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_that_tells_tasks_apart_scores_higher() {
        let record = |i: usize| Record { category: format!("task{}", i % 2), ..Record::default() };
        let records: Vec<Record> = (0..12).map(record).collect();
        // The first layer knows the number of the record alone, the second its task.
        let rows: Vec<[f32; 4]> = (0..12).map(|i| [i as f32, 0.0, 10.0 * (i % 2) as f32, 0.1 * i as f32]).collect();
        let scores = layer_scores(&Matrix::from_rows(&rows).unwrap(), &records, 2).unwrap();
        let [first, second] = scores.as_slice() else { unreachable!() };
        assert_eq!(second.f1, Some(1.0));
        assert!(first.f1 < Some(0.2) && first.silhouette < second.silhouette, "{scores:?}");
        assert!(first.calinski_harabasz < second.calinski_harabasz, "{scores:?}");
    }

    #[test]
    fn what_is_not_defined_is_left_out() {
        let record = |category: &str| Record { category: category.into(), ..Record::default() };
        let points = Matrix::zeros(3, 4);
        let scores = |tasks: [&str; 3], layers| layer_scores(&points, &tasks.map(record), layers).unwrap().len();
        assert_eq!(scores(["a", "a", "b"], 2), 2);
        assert_eq!((scores(["a", "a", "b"], 3), scores(["a", "a", "b"], 0)), (0, 0));
        assert_eq!((scores(["a"; 3], 2), scores(["a", "b", "c"], 2)), (0, 0));
    }
}
