//! How covered rows were before a selection, for whoever explains it.

use super::SaturatedCoverage;
use super::facility_location::covered_distance;
use super::saturated_coverage::units;
use crate::stage::{Coverage, Covered, Nearness, Rows};

/// How covered these rows are by [`Rows::covered`], one for each of `rows`; none where there is no distance, as nothing is covered yet.
pub(crate) fn covered_before(nearness: Nearness, all: &Rows<'_>, rows: &[usize]) -> Vec<Coverage> {
    match nearness {
        Nearness::Similarity { threshold } => {
            let none = Covered::default();
            let covered = all.covered.unwrap_or(&none);
            let (points, own, selector) = (units(&covered.points), units(all.points), SaturatedCoverage { threshold });
            let h = |row: &usize| {
                let near = points.iter_rows().zip(&covered.mass);
                // A sum of nothing is -0.
                near.map(|(point, &mass)| f64::from(mass) * selector.similarity(own.row(*row), point)).sum::<f64>()
                    + 0.0
            };
            rows.iter().map(|row| Coverage::Records(h(row))).collect()
        }
        Nearness::Distance => {
            rows.iter().filter_map(|&row| covered_distance(all, row)).map(Coverage::Distance).collect()
        }
    }
}
