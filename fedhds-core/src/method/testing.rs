//! Stages and messages that tests of both state machines use.

use super::{ClientStages, Count, Pipeline, ServerStages};
use crate::cluster::centroid::weighted_centroids;
use crate::error::Result;
use crate::protocol::{ClientSummary, Group};
use crate::select::NearestCentroid;
use crate::stage::{Clusterer, Clustering, Rows};
use crate::types::{ClientId, ClusterId, Context, Matrix, Round};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Groups rows by the whole part of their first column, numbered in the order of first rows; negative rows are noise.
pub(crate) struct ByWholePart;

impl Clusterer for ByWholePart {
    fn cluster(&self, rows: &Rows<'_>, _wanted: Option<usize>, _context: &Context) -> Result<Clustering> {
        let points = rows.points;
        let mut ids = BTreeMap::new();
        let labels: Vec<_> = (points.iter_rows())
            .map(|row| {
                let next = ids.len() as u32;
                (row[0] >= 0.0).then(|| ClusterId(*ids.entry(row[0].floor() as i64).or_insert(next)))
            })
            .collect();
        let strength: Vec<f32> = labels.iter().map(|label| if label.is_some() { 1.0 } else { 0.0 }).collect();
        let centroids = weighted_centroids(points, &labels, &strength, ids.len())?;
        Ok(Clustering { labels, strength, centroids })
    }
}

/// [`ByWholePart`] and [`NearestCentroid`] on both levels.
pub(crate) fn by_whole_part(count: Count) -> Pipeline {
    Pipeline {
        client: ClientStages {
            clusterer: Some(Arc::new(ByWholePart)),
            selector: Arc::new(NearestCentroid),
            ..Default::default()
        },
        server: ServerStages {
            clusterer: Some(Arc::new(ByWholePart)),
            selector: Arc::new(NearestCentroid),
            count,
            ..Default::default()
        },
    }
}

/// A column of values as a matrix.
#[allow(clippy::unwrap_used)]
pub(crate) fn column(values: &[f32]) -> Matrix {
    Matrix::new(values.len(), 1, values.to_vec()).unwrap()
}

/// A summary of groups (centroid, size), numbered from 0.
pub(crate) fn summary(client: u32, round: u32, groups: &[(f32, u32)]) -> ClientSummary {
    let centroids: Vec<f32> = groups.iter().map(|g| g.0).collect();
    let groups = groups.iter().enumerate();
    let groups = groups.map(|(j, g)| Group { cluster: ClusterId(j as u32), size: g.1 }).collect();
    ClientSummary::new(ClientId(client), Round(round), groups, column(&centroids))
}
