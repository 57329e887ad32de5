//! What earlier rounds have covered.

use super::rows::squared_distance;
use crate::error::{Error, Result};
use crate::sorting;
use crate::stage::{Covered, Memory, TrainedGroup};
use crate::types::{Matrix, Round};
use serde::{Deserialize, Serialize};

/// Settings of [`CoverageMemory`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoverageMemoryConfig {
    /// The most points that are kept, 1 to 65,536; default 4,096. Beyond it the two nearest become one.
    pub max_points: usize,
}

impl Default for CoverageMemoryConfig {
    fn default() -> Self {
        Self { max_points: 4096 }
    }
}

impl CoverageMemoryConfig {
    /// # Errors
    /// [`Error::Parameter`] for a number of points outside its range.
    pub fn check(&self) -> Result<()> {
        match self.max_points {
            1..=65_536 => Ok(()),
            other => Err(Error::parameter("max_points", "1 to 65536", other)),
        }
    }
}

/// Remembers the centroids of the groups that were trained on, each with the number of records.
///
/// Selectors that look at [`Rows::covered`](crate::stage::Rows::covered) then prefer what no round has covered:
/// [`FacilityLocation`](super::FacilityLocation) does. Points of different rounds must lie in one coordinate space, so the method needs the
/// projection that all clients share.
///
/// A centroid that is kept already gains mass. Beyond `max_points` the new point and the one nearest to it become their mean by mass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CoverageMemory {
    config: CoverageMemoryConfig,
    covered: Covered,
}

impl CoverageMemory {
    /// A memory that knows nothing yet.
    ///
    /// # Errors
    /// As [`CoverageMemoryConfig::check`].
    pub fn new(config: CoverageMemoryConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, covered: Covered::default() })
    }

    fn add(&mut self, centroid: &[f32], records: f32) {
        let Covered { points, mass } = &mut self.covered;
        if points.cols() != centroid.len() {
            // Another method's coordinates, or the first point: nothing of the old ones can be compared.
            (*points, *mass) = (Matrix::zeros(0, centroid.len()), Vec::new());
        }
        let distances = points.iter_rows().map(|point| squared_distance(point, centroid)).enumerate();
        let nearest = distances.min_by(|a, b| a.1.total_cmp(&b.1));
        match nearest {
            Some((at, distance)) if distance == 0.0 || mass.len() >= self.config.max_points => {
                let total = mass[at] + records;
                let share = records / total;
                for (old, new) in points.row_mut(at).iter_mut().zip(centroid) {
                    let moved = *old + share * (new - *old);
                    // Two ends of f32's range lie farther apart than it reaches.
                    let long = || f64::from(*old) + f64::from(share) * (f64::from(*new) - f64::from(*old));
                    *old = if moved.is_finite() { moved } else { long() as f32 };
                }
                mass[at] = total;
            }
            _ => {
                let mut data = std::mem::take(points).into_vec();
                data.extend_from_slice(centroid);
                mass.push(records);
                *points = Matrix::new(mass.len(), centroid.len(), data).unwrap_or_default();
            }
        }
    }
}

impl Memory for CoverageMemory {
    fn begin(&mut self, _round: Round) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, trained: &[TrainedGroup<'_>]) -> Result<()> {
        // Groups of one round that lie on one point count together, in whatever order the clients have.
        let bits = |group: &TrainedGroup<'_>| -> Vec<u32> { group.centroid.iter().map(|v| v.to_bits()).collect() };
        let with_place = trained.iter().filter(|group| !group.centroid.is_empty());
        let mut by_point: Vec<(Vec<u32>, &TrainedGroup<'_>)> = with_place.map(|group| (bits(group), group)).collect();
        sorting::sort_by(&mut by_point, |a, b| a.0.cmp(&b.0));
        for same in by_point.chunk_by(|a, b| a.0 == b.0) {
            self.add(same[0].1.centroid, same.iter().map(|(_, group)| group.records).sum::<usize>() as f32);
        }
        Ok(())
    }

    fn covered(&self) -> &Covered {
        &self.covered
    }

    fn state(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(&self.covered).map_err(|e| Error::stage("server.memory", e.to_string()))
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        let wrong = |got: String| Error::input("state of the coverage memory", "what `state` gave", got);
        let (covered, rest): (Covered, _) = postcard::take_from_bytes(state).map_err(|e| wrong(e.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong(format!("{} bytes more", rest.len())));
        }
        let Covered { points, mass } = covered;
        let points = Matrix::new(points.rows(), points.cols(), points.into_vec())?;
        points.check_finite("state of the coverage memory")?;
        let whole = mass.len() == points.rows() && mass.iter().all(|m| m.is_finite() && *m > 0.0);
        if !whole || mass.len() > self.config.max_points {
            return Err(wrong(format!("{} points with {} masses", points.rows(), mass.len())));
        }
        self.covered = Covered { points, mass };
        Ok(())
    }

    fn bound(&self) -> usize {
        self.config.max_points
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{ClientId, ClusterId};

    fn commit(memory: &mut CoverageMemory, points: &[([f32; 2], usize)]) {
        let trained: Vec<TrainedGroup<'_>> = (points.iter().enumerate())
            .map(|(i, (point, records))| TrainedGroup::new(ClientId(i as u32), ClusterId(0), point, *records))
            .collect();
        memory.commit(&trained).unwrap();
    }

    #[test]
    fn equal_points_gain_mass_and_the_bound_holds() {
        let mut memory = CoverageMemory::new(CoverageMemoryConfig { max_points: 2 }).unwrap();
        commit(&mut memory, &[([0.0, 0.0], 2), ([4.0, 0.0], 1)]);
        commit(&mut memory, &[([0.0, 0.0], 1), ([8.0, 0.0], 3)]);
        let covered = memory.covered();
        assert_eq!(covered.points.as_slice(), [0.0, 0.0, 7.0, 0.0], "8 x 3 and 4 x 1 became their mean");
        assert_eq!(covered.mass, [3.0, 4.0]);
        assert_eq!(memory.bound(), 2);
    }

    #[test]
    fn points_at_the_ends_of_the_range_have_a_finite_mean() {
        let mut memory = CoverageMemory::new(CoverageMemoryConfig { max_points: 1 }).unwrap();
        for (x, y) in [(3e38, -3e38), (-3e38, 3e38), (f32::MAX, f32::MIN), (0.0, f32::MIN_POSITIVE)] {
            commit(&mut memory, &[([x, y], 1)]);
            assert!(memory.covered().points.as_slice().iter().all(|v| v.is_finite()), "{:?}", memory.covered());
        }
    }

    #[test]
    fn it_goes_on_from_its_state_and_from_nothing_else() {
        let mut memory = CoverageMemory::new(CoverageMemoryConfig { max_points: 9 }).unwrap();
        commit(&mut memory, &[([1.0, 2.0], 2), ([4.0, 0.5], 1)]);
        let state = memory.state().unwrap();
        let mut other = CoverageMemory::new(CoverageMemoryConfig { max_points: 9 }).unwrap();
        other.resume(&state).unwrap();
        assert_eq!(other, memory);
        for cut in 0..state.len() {
            assert!(other.resume(&state[..cut]).is_err(), "cut at {cut}");
        }
        let mut small = CoverageMemory::new(CoverageMemoryConfig { max_points: 1 }).unwrap();
        assert!(small.resume(&state).is_err());
        assert!(CoverageMemory::new(CoverageMemoryConfig { max_points: 0 }).is_err());
    }

    #[test]
    fn the_order_of_clients_changes_nothing() {
        let (a, b) = (([1.0, 2.0], 2), ([4.0, 0.5], 1));
        let run = |order: &[([f32; 2], usize)]| {
            let mut memory = CoverageMemory::default();
            commit(&mut memory, order);
            memory
        };
        assert_eq!(run(&[a, b]), run(&[b, a]));
    }
}
