//! Groups that are too small to show.

use super::centroid::weighted_centroids;
use super::{distance, distinct_records, number_by_first_row};
use crate::error::Result;
use crate::sorting;
use crate::stage::Clustering;
use crate::types::{ClusterId, Control, Matrix};

/// A group on the way.
struct Part {
    /// Its rows, ascending; never empty.
    rows: Vec<usize>,
    /// How many of them are distinct, counted up to what a group needs.
    distinct: usize,
    centroid: Vec<f32>,
}

/// Groups of fewer than `least` distinct rows become part of the group whose centroid is nearest, the smallest first; among equals the one
/// that has the first row. `None` where a lone group has fewer. `points` has the coordinates of the centroids, `features` tells which
/// rows are distinct: a reducer may set equal rows apart; of rows with one number in `alike`, where there are any, one counts.
///
/// k groups of d coordinates take O(k d) for each that is too small.
pub(crate) fn merge_small(
    clustering: Clustering,
    points: &Matrix,
    features: &Matrix,
    alike: &[u32],
    least: usize,
    control: &Control,
) -> Result<Option<Clustering>> {
    let k = clustering.centroids.rows();
    let mut members = vec![Vec::new(); k];
    for (row, label) in clustering.labels.iter().enumerate() {
        if let Some(label) = label {
            members[label.index()].push(row);
        }
    }
    let distinct = |rows: &[usize]| distinct_records(features, alike, rows, least);
    let mut parts = members
        .into_iter()
        .enumerate()
        .map(|(id, rows)| {
            Ok(Part { distinct: distinct(&rows)?, centroid: clustering.centroids.row(id).to_vec(), rows })
        })
        .collect::<Result<Vec<Part>>>()?;
    let first = |part: &Part| part.rows.first().copied();
    while let Some(at) = (0..parts.len())
        .filter(|&at| parts[at].distinct < least)
        .min_by_key(|&at| (parts[at].distinct, first(&parts[at])))
    {
        control.check()?;
        let small = parts.swap_remove(at);
        let measured = parts.iter().map(|part| distance::squared(&small.centroid, &part.centroid));
        let nearest = measured
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1).then_with(|| first(&parts[a.0]).cmp(&first(&parts[b.0]))));
        let Some((near, _)) = nearest else { return Ok(None) };
        let mut rows = [std::mem::take(&mut parts[near].rows), small.rows].concat();
        sorting::sort(&mut rows);
        let strength: Vec<f32> = rows.iter().map(|&row| clustering.strength[row]).collect();
        let one = vec![Some(ClusterId(0)); rows.len()];
        let centroid = weighted_centroids(&points.take_rows(&rows)?, &one, &strength, 1)?.into_vec();
        parts[near] = Part { distinct: distinct(&rows)?, centroid, rows };
    }
    if parts.len() == k {
        return Ok(Some(clustering));
    }
    let mut groups = vec![None; clustering.labels.len()];
    for (part, number) in parts.iter().zip(0u32..) {
        part.rows.iter().for_each(|&row| groups[row] = Some(number));
    }
    let (labels, old) = number_by_first_row(&groups, parts.len());
    let centroids = weighted_centroids(points, &labels, &clustering.strength, old.len())?;
    Ok(Some(Clustering { labels, centroids, strength: clustering.strength }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn small_groups_join_the_nearest_and_equal_rows_count_once() {
        let points = Matrix::new(8, 1, vec![0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 50.0, 9.0]).unwrap();
        let labels = [0, 0, 0, 1, 1, 1, 2, 2].map(|id| Some(ClusterId(id)));
        let centroids = Matrix::new(3, 1, vec![1.0, 3.0, 29.5]).unwrap();
        let clustering = Clustering { labels: labels.to_vec(), strength: vec![1.0; 8], centroids };
        let merged =
            |least| merge_small(clustering.clone(), &points, &points, &[], least, &Control::default()).unwrap();
        assert_eq!(merged(1).unwrap(), clustering);
        let two = merged(2).unwrap();
        assert_eq!(two.labels, [0, 0, 0, 0, 0, 0, 1, 1].map(|id| Some(ClusterId(id))), "three equal rows are one");
        assert_eq!(two.centroids.as_slice(), [2.0, 29.5]);
        assert_eq!(merged(3).unwrap().centroids.rows(), 1);
        assert_eq!(merged(6).unwrap().centroids.rows(), 1);
        assert_eq!(merged(7), None, "only six rows are distinct");
        let noise = Clustering { labels: vec![None; 8], strength: vec![0.0; 8], centroids: Matrix::zeros(0, 1) };
        assert_eq!(merge_small(noise.clone(), &points, &points, &[], 3, &Control::default()).unwrap(), Some(noise));
    }

    #[test]
    fn near_copies_are_one_record() {
        let points = Matrix::new(6, 1, vec![0.0, 1.0, 2.0, 9.0, 10.0, 11.0]).unwrap();
        let labels = [0, 0, 0, 1, 1, 1].map(|id| Some(ClusterId(id)));
        let centroids = Matrix::new(2, 1, vec![1.0, 10.0]).unwrap();
        let clustering = Clustering { labels: labels.to_vec(), strength: vec![1.0; 6], centroids };
        let merged =
            |alike: &[u32]| merge_small(clustering.clone(), &points, &points, alike, 3, &Control::default()).unwrap();
        assert_eq!(merged(&[0, 1, 2, 3, 4, 5]).unwrap().centroids.rows(), 2);
        assert_eq!(merged(&[0, 1, 2, 3, 4, 3]).unwrap().centroids.rows(), 1, "two records and a copy are no three");
        assert_eq!(merged(&[0, 1, 0, 1, 1, 1]), None, "two records in six copies");
    }

    #[test]
    fn the_first_row_decides_between_equals() {
        // Two groups too small alike: the one with the first row goes first, and takes the other's place.
        let points = Matrix::new(7, 1, vec![0.0, 0.5, 10.0, 4.0, 6.0, 10.5, 10.25]).unwrap();
        let labels = [0, 0, 1, 2, 2, 1, 1].map(|id| Some(ClusterId(id)));
        let centroids = Matrix::new(3, 1, vec![0.25, 10.25, 5.0]).unwrap();
        let clustering = Clustering { labels: labels.to_vec(), strength: vec![1.0; 7], centroids };
        let merged = merge_small(clustering, &points, &points, &[], 3, &Control::default()).unwrap().unwrap();
        assert_eq!(merged.labels, [0, 0, 1, 0, 0, 1, 1].map(|id| Some(ClusterId(id))));
        assert_eq!(merged.centroids.as_slice(), [2.625, 10.25]);
    }
}
