//! Runs a stage and checks what it returned, so that a user's own stage fails with its name and what was wrong.

use crate::cluster::check_clustering;
use crate::error::{Error, Result};
use crate::protocol::{ClientSummary, Wire as _};
use crate::reduce::check_reduced;
use crate::stage::{Budget, Clusterer, Clustering, Covered, Memory, Reducer, Room, Rows, Selector, Upload};
use crate::types::{Context, Matrix, RowId, Secret};

/// One finite row out for each row in.
pub(crate) fn run_reducer(stage: &str, reducer: &dyn Reducer, features: &Matrix, context: &Context) -> Result<Matrix> {
    context.control.check()?;
    let reduced = reducer.reduce(features, context)?;
    check_reduced(stage, &reduced, features.rows())?;
    Ok(reduced)
}

/// A label for each row, dense ids, a finite centroid for each id.
pub(crate) fn run_clusterer(
    stage: &str,
    clusterer: &dyn Clusterer,
    rows: &Rows<'_>,
    wanted: Option<usize>,
    context: &Context,
) -> Result<Clustering> {
    context.control.check()?;
    let clustering = clusterer.cluster(rows, wanted, context)?;
    check_clustering(stage, &clustering, rows.len(), rows.points.cols())?;
    Ok(clustering)
}

/// A summary that may be sent, of the same client and round, with no group that was not there before.
pub(crate) fn run_upload(upload: &dyn Upload, summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
    const STAGE: &str = "client.upload";
    let (client, round) = (summary.client, summary.round);
    let ids: Vec<_> = summary.groups.iter().map(|group| group.cluster).collect();
    let dims = summary.centroids.cols();
    let released = upload.release(summary, secret)?;
    if (released.client, released.round) != (client, round) {
        let got = format!("client {}, round {}", released.client, released.round);
        return Err(Error::stage(STAGE, format!("expected the summary of client {client}, round {round}, got {got}")));
    }
    if let Some(group) = released.groups.iter().find(|group| ids.binary_search(&group.cluster).is_err()) {
        return Err(Error::stage(STAGE, format!("expected groups of the client, got {}", group.cluster)));
    }
    if !released.groups.is_empty() && released.centroids.cols() != dims {
        let got = released.centroids.cols();
        return Err(Error::stage(STAGE, format!("expected centroids of {dims} columns, got {got}")));
    }
    released.check().map_err(|error| Error::stage(STAGE, error.to_string()))?;
    Ok(released)
}

/// What a memory covers: finite points with a mass above 0 each, and no more of them than its bound.
pub(crate) fn check_memory(memory: &dyn Memory) -> Result<()> {
    const STAGE: &str = "server.memory";
    let (Covered { points, mass }, bound) = (memory.covered(), memory.bound());
    let fail = |message: String| Err(Error::stage(STAGE, message));
    if points.rows() > bound {
        return fail(format!("expected at most {bound} points, as `bound` says, got {}", points.rows()));
    }
    if mass.len() != points.rows() {
        return fail(format!("mass: expected {} values, one for each point, got {}", points.rows(), mass.len()));
    }
    if let Some(at) = mass.iter().position(|mass| !(mass.is_finite() && *mass > 0.0)) {
        return fail(format!("mass: expected finite values above 0, got {} at point {at}", mass[at]));
    }
    points.check_finite("covered").map_err(|error| Error::stage(STAGE, error.to_string()))
}

/// How many records each row gives, within the room and together `total` or what the room allows; `None` where the selector picks rows.
pub(crate) fn run_allocation(
    stage: &str,
    selector: &dyn Selector,
    rows: &Rows<'_>,
    room: &Room<'_>,
    total: usize,
    context: &Context,
) -> Result<Option<Vec<u32>>> {
    context.control.check()?;
    let Some(counts) = selector.allocate(rows, room, total, context)? else { return Ok(None) };
    let fail = |message: String| Err(Error::stage(stage, message));
    if counts.len() != rows.len() {
        return fail(format!("expected {} counts, one per row, got {}", rows.len(), counts.len()));
    }
    let mut owners = room.of_owners.clone();
    for (row, (&count, &most)) in counts.iter().zip(room.of_rows).enumerate() {
        if count > most {
            return fail(format!("expected at most {most} records of row {row}, got {count}"));
        }
        if let Some((owner, left)) = rows.owners.get(row).and_then(|owner| Some((owner, owners.get_mut(owner)?))) {
            match left.checked_sub(count) {
                Some(rest) => *left = rest,
                None => return fail(format!("expected at most {left} more records of client {owner}, got {count}")),
            }
        }
    }
    let given: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let more = |row: usize| {
        let owner = rows.owners.get(row).and_then(|owner| owners.get(owner)).copied();
        counts[row] < room.of_rows[row] && owner.is_none_or(|left| left > 0)
    };
    if given > total as u64 || given < total as u64 && (0..rows.len()).any(more) {
        return fail(format!("expected {total} records, or as many as there is room for, got {given}"));
    }
    Ok(Some(counts))
}

/// Distinct rows in ascending order, as many as the budget says.
pub(crate) fn run_selector(
    stage: &str,
    selector: &dyn Selector,
    rows: &Rows<'_>,
    budget: Budget,
    context: &Context,
) -> Result<Vec<RowId>> {
    context.control.check()?;
    let chosen = selector.select(rows, budget, context)?;
    check_selection(stage, rows, budget, &chosen)?;
    Ok(chosen)
}

/// Checks what a selector chose of these rows for this budget.
///
/// # Errors
/// [`Error::Stage`] with `stage` as its name when a row does not exist, rows repeat or are not in ascending order, or their number
/// is not the budget's: `min(total, rows)` for [`Budget::Total`]; for [`Budget::PerCluster`] `min(count, size)` of each cluster
/// and no noise.
pub fn check_selection(stage: &str, rows: &Rows<'_>, budget: Budget, chosen: &[RowId]) -> Result<()> {
    let fail = |message: String| Err(Error::stage(stage, message));
    let n = rows.len();
    if let Some(row) = chosen.iter().find(|row| row.index() >= n) {
        return fail(format!("expected rows below {n}, got {row}"));
    }
    if let Some(pair) = chosen.windows(2).find(|pair| pair[0] >= pair[1]) {
        return fail(format!("expected distinct rows in ascending order, got {} before {}", pair[0], pair[1]));
    }
    match (budget, rows.groups) {
        (Budget::Total(total), _) if chosen.len() != total.min(n) => {
            fail(format!("expected {} rows for a budget of {total} of {n}, got {}", total.min(n), chosen.len()))
        }
        (Budget::Total(_), _) => Ok(()),
        (Budget::PerCluster(count), None) if chosen.len() != count.min(n) => {
            fail(format!("expected {} rows of the one cluster, got {}", count.min(n), chosen.len()))
        }
        (Budget::PerCluster(_), None) => Ok(()),
        (Budget::PerCluster(count), Some(clustering)) => {
            let mut sizes = vec![0; clustering.centroids.rows()];
            clustering.labels.iter().flatten().for_each(|label| sizes[label.index()] += 1);
            let mut picked = vec![0; sizes.len()];
            for row in chosen {
                match clustering.labels[row.index()] {
                    Some(label) => picked[label.index()] += 1,
                    None => return fail(format!("expected no noise, got row {row}")),
                }
            }
            for (id, (&picked, &size)) in picked.iter().zip(&sizes).enumerate() {
                if picked != count.min(size) {
                    return fail(format!("expected {} rows of cluster {id}, got {picked}", count.min(size)));
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::ClusterId;

    #[test]
    fn each_broken_promise_of_a_selector_is_named() {
        let points = Matrix::zeros(5, 1);
        let clustering = Clustering {
            labels: vec![Some(ClusterId(0)), Some(ClusterId(0)), Some(ClusterId(1)), None, None],
            strength: vec![1.0; 5],
            centroids: Matrix::zeros(2, 1),
        };
        let flat = Rows::new(&points);
        let grouped = flat.groups(&clustering);
        let check = |rows: &Rows<'_>, budget, chosen: &[u32]| {
            let chosen: Vec<RowId> = chosen.iter().map(|&r| RowId(r)).collect();
            check_selection("mine", rows, budget, &chosen).map_err(|e| e.to_string())
        };
        assert_eq!(check(&flat, Budget::Total(2), &[1, 4]), Ok(()));
        assert_eq!(check(&flat, Budget::Total(9), &[0, 1, 2, 3, 4]), Ok(()));
        assert_eq!(check(&grouped, Budget::PerCluster(2), &[0, 1, 2]), Ok(()));
        let message = |rows, budget, chosen: &[u32]| check(rows, budget, chosen).unwrap_err();
        assert!(message(&flat, Budget::Total(2), &[1, 5]).contains("stage `mine`: expected rows below 5, got 5"));
        assert!(message(&flat, Budget::Total(2), &[1, 1]).contains("distinct"));
        assert!(message(&flat, Budget::Total(2), &[4, 1]).contains("ascending"));
        assert!(message(&flat, Budget::Total(3), &[0]).contains("expected 3 rows"));
        assert!(message(&flat, Budget::PerCluster(1), &[0, 1]).contains("expected 1 rows"));
        assert!(message(&grouped, Budget::PerCluster(1), &[0, 3]).contains("no noise, got row 3"));
        assert!(message(&grouped, Budget::PerCluster(1), &[0]).contains("expected 1 rows of cluster 1, got 0"));
    }
}
