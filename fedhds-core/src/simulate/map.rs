//! Maps of a selection in the plane: of one client's records, and of the groups that the server saw.

use crate::client::ClientState;
use crate::error::Result;
use crate::reduce::{Pca, PcaConfig};
use crate::server::Selection;
use crate::types::{ClientId, ClusterId, Control, Matrix, Record};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a client's records lie: no ids and no texts.
///
/// Places are the first two columns of the space that the client groups in, of a space of more than two columns its two principal components.
/// Both axes have one scale, in which the records reach from -10,000 to 10,000: only nearness means anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectionMap {
    /// Records that the client holds; the map shows some of them where they are many.
    pub held: usize,
    /// The place of each record shown, `[n, 2]`.
    pub places: Vec<[i16; 2]>,
    /// Its group, `[n]`; none for noise.
    pub groups: Vec<Option<ClusterId>>,
    /// Its task, `[n]`, as a number in `names`.
    pub tasks: Vec<u32>,
    /// Names of the tasks, ascending.
    pub names: Vec<String>,
    /// Whether it was chosen in the round, `[n]`.
    pub chosen: Vec<bool>,
}

/// Where the uploaded groups lie, as the server saw them.
///
/// Places as in a [`SelectionMap`], of the centroids that were uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMap {
    /// The place of each group, `[n, 2]`.
    pub places: Vec<[i16; 2]>,
    /// Whose it is, `[n]`.
    pub clients: Vec<ClientId>,
    /// Records in it, `[n]`.
    pub sizes: Vec<u32>,
    /// The server's cluster of it, `[n]`; none for noise and where nothing was clustered.
    pub clusters: Vec<Option<ClusterId>>,
    /// Records ordered of it, `[n]`.
    pub ordered: Vec<u32>,
}

/// The farthest place on the longer axis.
const EDGE: f64 = 10_000.0;

impl SelectionMap {
    /// The map of a client after its choice, of at most so many records beside the chosen ones; `None` where it looked at no features.
    pub(super) fn of(
        state: &ClientState,
        records: &[Record],
        chosen: &[String],
        most: usize,
        control: &Control,
    ) -> Result<Option<Self>> {
        if state.points.cols() == 0 || state.points.rows() != records.len() || records.is_empty() {
            return Ok(None);
        }
        let ids: BTreeSet<&str> = chosen.iter().map(String::as_str).collect();
        let is_chosen = |row: &usize| records.get(*row).is_some_and(|record| ids.contains(record.id.as_str()));
        let (mut shown, others): (Vec<usize>, Vec<usize>) = (0..records.len()).partition(is_chosen);
        let room = most.min(others.len());
        shown.extend((0..room).filter_map(|at| others.get(at * others.len() / room.max(1))));
        shown.sort_unstable();
        let kept: Vec<&Record> = shown.iter().filter_map(|row| records.get(*row)).collect();
        let names: BTreeSet<&str> = kept.iter().map(|record| record.category.as_str()).collect();
        let numbers: BTreeMap<&str, u32> = names.iter().copied().zip(0..).collect();
        Ok(Some(Self {
            held: records.len(),
            places: places(&state.points.take_rows(&shown)?, control)?,
            groups: shown.iter().map(|row| state.clustering.labels.get(*row).copied().flatten()).collect(),
            tasks: kept.iter().filter_map(|record| numbers.get(record.category.as_str()).copied()).collect(),
            names: names.into_iter().map(str::to_owned).collect(),
            chosen: shown.iter().map(is_chosen).collect(),
        }))
    }
}

impl GroupMap {
    /// The map of a selection; `None` where the clients showed no centroids, or in spaces that differ.
    pub(super) fn of(states: &[&ClientState], selection: &Selection, control: &Control) -> Result<Option<Self>> {
        let mut map = Self::default();
        let mut centroids: Vec<&[f32]> = Vec::new();
        for group in &selection.groups {
            let Some(state) = states.iter().find(|state| state.client == group.client) else { continue };
            // What was sent, where an upload stage made something else of the groups.
            let at = match &state.released {
                None => Some((&state.clustering.centroids, group.cluster.index())),
                Some(sent) => {
                    let at = sent.groups.iter().position(|known| known.cluster == group.cluster);
                    at.map(|at| (&sent.centroids, at))
                }
            };
            let Some((matrix, row)) = at.filter(|(matrix, row)| *row < matrix.rows() && !state.hidden) else {
                continue;
            };
            centroids.push(matrix.row(row));
            map.clients.push(group.client);
            map.sizes.push(group.size);
            map.clusters.push(group.server_cluster);
            map.ordered.push(group.records);
        }
        let columns: BTreeSet<usize> = centroids.iter().map(|row| row.len()).collect();
        if columns.len() != 1 || columns.contains(&0) {
            return Ok(None);
        }
        map.places = places(&Matrix::from_rows(&centroids)?, control)?;
        Ok(Some(map))
    }
}

/// Points in the plane, in whole numbers.
fn places(points: &Matrix, control: &Control) -> Result<Vec<[i16; 2]>> {
    points.check_finite("points")?;
    let reduced = match points.cols() {
        0..=2 => None,
        _ if points.rows() < 2 => return Ok(vec![[0; 2]; points.rows()]),
        _ => Some(Pca::new(PcaConfig::default())?.fit_transform(points, control)?.1),
    };
    let plane = reduced.as_ref().unwrap_or(points);
    let row = |row: &[f32]| [0, 1].map(|axis: usize| row.get(axis).copied().map_or(0.0, f64::from));
    let rows: Vec<[f64; 2]> = plane.iter_rows().map(row).collect();
    let range = |axis: usize| {
        let ends = rows.iter().map(|row| row[axis]);
        ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let [x, y] = [range(0), range(1)];
    let half = (x.1 - x.0).max(y.1 - y.0) / 2.0;
    let scale = if half > 0.0 { EDGE / half } else { 0.0 };
    let middle = [(x.0 + x.1) / 2.0, (y.0 + y.1) / 2.0];
    let place = |row: &[f64; 2]| [0, 1].map(|axis: usize| ((row[axis] - middle[axis]) * scale).round() as i16);
    Ok(rows.iter().map(place).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_one_scale_and_reach_the_edge() {
        let control = Control::default();
        let flat = Matrix::from_rows(&[[0.0_f32, 5.0], [4.0, 6.0], [2.0, 5.5]]).unwrap();
        assert_eq!(places(&flat, &control).unwrap(), [[-10_000, -2_500], [10_000, 2_500], [0, 0]]);
        let line = Matrix::from_rows(&[[1.0_f32], [3.0]]).unwrap();
        assert_eq!(places(&line, &control).unwrap(), [[-10_000, 0], [10_000, 0]]);
        // Of more columns the two in which the points differ most.
        let wide = Matrix::from_rows(&[[0.0_f32, 9.0, 0.0], [0.0, -9.0, 0.1], [0.0, 0.0, 3.0]]).unwrap();
        let found = places(&wide, &control).unwrap();
        assert_eq!((found[0][0] - found[1][0]).abs(), 20_000, "{found:?}");
        let one = Matrix::from_rows(&[[1.0_f32, 2.0, 3.0]]).unwrap();
        assert_eq!(places(&one, &control).unwrap(), [[0, 0]]);
        let far = Matrix::from_rows(&[[f32::MAX, 0.0], [f32::MIN, 0.0]]).unwrap();
        assert_eq!(places(&far, &control).unwrap(), [[10_000, 0], [-10_000, 0]]);
    }
}
