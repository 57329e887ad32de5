//! Every row by itself.

use crate::error::Result;
use crate::stage::{Clusterer, Clustering, Rows};
use crate::types::{ClusterId, Context};

/// Every row is a group of its own, and its own centroid: what the server then clusters are the records of all clients (the paper's
/// ablation GlobalSelect). It shows the features of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EachRow;

impl Clusterer for EachRow {
    fn cluster(&self, rows: &Rows<'_>, _wanted: Option<usize>, _context: &Context) -> Result<Clustering> {
        rows.points.check_finite("rows: points")?;
        let labels = (0..rows.len()).map(|row| Some(ClusterId(row as u32))).collect();
        Ok(Clustering { labels, strength: vec![1.0; rows.len()], centroids: rows.points.clone() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::Matrix;

    #[test]
    fn as_many_groups_as_rows() {
        let points = Matrix::from_rows(&[[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]).unwrap();
        let clustering = EachRow.cluster(&Rows::new(&points), Some(1), &Context::new(0)).unwrap();
        assert_eq!(clustering.centroids, points);
        assert_eq!(clustering.labels, [0, 1, 2].map(|id| Some(ClusterId(id))));
        let none = EachRow.cluster(&Rows::new(&Matrix::zeros(0, 2)), None, &Context::new(0)).unwrap();
        assert_eq!(none.centroids.rows(), 0);
        assert!(
            EachRow.cluster(&Rows::new(&Matrix::new(1, 1, vec![f32::NAN]).unwrap()), None, &Context::new(0)).is_err()
        );
    }
}
