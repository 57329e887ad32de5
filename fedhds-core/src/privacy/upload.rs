//! Upload stages: groups that are too small to show, clipping, noise.

use crate::error::{Error, Result};
use crate::protocol::{ClientSummary, GroupScores, GroupTokens};
use crate::stage::Upload;
use crate::types::Secret;
use rand_distr::{Distribution as _, Normal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a client does to its summary, in this order; the default sends it as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UploadConfig {
    /// Distinct records that a group must have to be sent, at least 1 (default: every group is sent). Equal ones count once, and so do near
    /// copies where they are known.
    pub min_group_size: u32,
    /// The longest Euclidean norm of a centroid, above 0; a longer one is scaled down to it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_norm: Option<f32>,
    /// Standard deviation of the Gaussian noise on each coordinate, at least 0 (default: no noise), in the unit of the centroids.
    pub noise_std: f32,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self { min_group_size: 1, max_norm: None, noise_std: 0.0 }
    }
}

impl UploadConfig {
    /// The stage; none where it would change nothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a value outside its range.
    pub fn build(&self) -> Result<Option<Arc<dyn Upload>>> {
        let mut steps: Vec<Arc<dyn Upload>> = Vec::new();
        if self.min_group_size != 1 {
            steps.push(Arc::new(MinGroupSize::new(self.min_group_size)?));
        }
        if let Some(max_norm) = self.max_norm {
            steps.push(Arc::new(ClipCentroids::new(max_norm)?));
        }
        if self.noise_std != 0.0 {
            steps.push(Arc::new(GaussianNoise::new(self.noise_std)?));
        }
        Ok((!steps.is_empty()).then(|| -> Arc<dyn Upload> { Arc::new(UploadSteps(steps)) }))
    }
}

/// Several stages, one after the other.
pub struct UploadSteps(pub Vec<Arc<dyn Upload>>);

impl Upload for UploadSteps {
    fn release(&self, summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
        self.0.iter().try_fold(summary, |summary, step| step.release(summary, secret))
    }
}

/// Leaves out groups of fewer records than this: what few records say can be read off their centroid. It sees sizes alone; the client
/// leaves out those of too few distinct records before ([`ClientStages::least_shown`](crate::method::ClientStages)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinGroupSize(u32);

impl MinGroupSize {
    /// # Errors
    /// [`Error::Parameter`] for 0.
    pub fn new(records: u32) -> Result<Self> {
        if records == 0 {
            return Err(Error::parameter("min_group_size", "at least 1", records));
        }
        Ok(Self(records))
    }
}

impl Upload for MinGroupSize {
    fn release(&self, mut summary: ClientSummary, _: &mut Secret) -> Result<ClientSummary> {
        let kept: Vec<usize> = (0..summary.groups.len()).filter(|&j| summary.groups[j].size >= self.0).collect();
        keep_groups(&mut summary, &kept)?;
        Ok(summary)
    }
}

/// Leaves these groups of a summary, by their places, ascending, and what it says of each.
pub(crate) fn keep_groups(summary: &mut ClientSummary, kept: &[usize]) -> Result<()> {
    if kept.len() == summary.groups.len() {
        return Ok(());
    }
    if let Some(GroupScores(scores)) = summary.sections.get()? {
        summary.sections.set(&GroupScores(scores.take_rows(kept)?))?;
    }
    if let Some(GroupTokens(means)) = summary.sections.get()? {
        let kept = kept.iter().filter_map(|&j| means.get(j).copied());
        summary.sections.set(&GroupTokens(kept.collect()))?;
    }
    summary.centroids = summary.centroids.take_rows(kept)?;
    summary.groups = kept.iter().map(|&j| summary.groups[j]).collect();
    Ok(())
}

/// Scales centroids that are longer than this down to it, so that one record moves an upload by a bounded amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipCentroids(f32);

impl ClipCentroids {
    /// # Errors
    /// [`Error::Parameter`] for a norm that is not finite and above 0.
    pub fn new(max_norm: f32) -> Result<Self> {
        if !(max_norm.is_finite() && max_norm > 0.0) {
            return Err(Error::parameter("max_norm", "a finite number above 0", max_norm));
        }
        Ok(Self(max_norm))
    }
}

impl Upload for ClipCentroids {
    fn release(&self, mut summary: ClientSummary, _: &mut Secret) -> Result<ClientSummary> {
        for j in 0..summary.centroids.rows() {
            let row = summary.centroids.row_mut(j);
            let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            if norm > f64::from(self.0) {
                row.iter_mut().for_each(|v| *v = (f64::from(*v) * f64::from(self.0) / norm) as f32);
            }
        }
        Ok(summary)
    }
}

/// Adds Gaussian noise to every coordinate, drawn from the client's secret: nobody else can draw it again and take it off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianNoise(f32);

impl GaussianNoise {
    /// # Errors
    /// [`Error::Parameter`] for a standard deviation that is not finite and above 0.
    pub fn new(std: f32) -> Result<Self> {
        if !(std.is_finite() && std > 0.0) {
            return Err(Error::parameter("noise_std", "a finite number above 0", std));
        }
        Ok(Self(std))
    }
}

impl Upload for GaussianNoise {
    fn release(&self, mut summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
        let normal =
            Normal::new(0.0, self.0).map_err(|e| Error::parameter("noise_std", "a finite number above 0", e))?;
        let mut rng = secret.rng();
        summary.centroids.as_mut_slice().iter_mut().for_each(|v| *v += normal.sample(&mut rng));
        Ok(summary)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::protocol::{Group, Wire as _};
    use crate::types::{ClientId, ClusterId, Matrix, Round, Scores};

    fn summary() -> ClientSummary {
        let groups = [(0, 1), (2, 5), (3, 2)].map(|(c, size)| Group { cluster: ClusterId(c), size });
        let centroids = Matrix::new(3, 2, vec![3.0, 4.0, 0.3, 0.4, 0.0, -9.0]).unwrap();
        let mut summary = ClientSummary::new(ClientId(1), Round(2), groups.to_vec(), centroids);
        let scores = Scores::new(["loss"], Matrix::new(3, 1, vec![1.0, 2.0, 3.0]).unwrap()).unwrap();
        summary.sections.set(&GroupScores(scores)).unwrap();
        summary
    }

    fn release(config: UploadConfig, key: u8) -> ClientSummary {
        let released = config.build().unwrap().unwrap().release(summary(), &mut Secret::from_bytes([key; 32])).unwrap();
        released.check().unwrap();
        released
    }

    #[test]
    fn small_groups_go_with_their_centroids_and_scores() {
        let released = release(UploadConfig { min_group_size: 2, ..Default::default() }, 0);
        assert_eq!(released.groups.iter().map(|g| g.cluster.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(released.centroids.row(0), [0.3, 0.4]);
        let GroupScores(scores) = released.sections.get().unwrap().unwrap();
        assert_eq!(scores.column("loss").unwrap().collect::<Vec<_>>(), [2.0, 3.0]);
        assert!(release(UploadConfig { min_group_size: 6, ..Default::default() }, 0).groups.is_empty());
    }

    #[test]
    fn long_centroids_are_scaled_and_short_ones_left() {
        let released = release(UploadConfig { max_norm: Some(1.0), ..Default::default() }, 0);
        assert_eq!(released.centroids.as_slice(), [0.6, 0.8, 0.3, 0.4, 0.0, -1.0]);
    }

    #[test]
    fn noise_comes_from_the_secret() {
        let noisy = |key| release(UploadConfig { noise_std: 0.1, ..Default::default() }, key);
        assert_ne!(noisy(1).centroids, noisy(2).centroids);
        assert_eq!(noisy(1).centroids, noisy(1).centroids);
        // Of 3,000 draws the standard deviation is within 10% of what was asked for.
        let mut secret = Secret::from_bytes([3; 32]);
        let stage = GaussianNoise::new(0.1).unwrap();
        let moves: Vec<f64> = (0..500)
            .flat_map(|_| {
                let released = stage.release(summary(), &mut secret).unwrap();
                let pairs = released.centroids.into_vec().into_iter().zip(summary().centroids.into_vec());
                pairs.map(|(a, b)| f64::from(a - b)).collect::<Vec<_>>()
            })
            .collect();
        let std = (moves.iter().map(|m| m * m).sum::<f64>() / moves.len() as f64).sqrt();
        assert!((0.09..0.11).contains(&std), "{std}");
    }

    #[test]
    fn the_default_is_no_stage_and_bad_values_are_named() {
        assert!(UploadConfig::default().build().unwrap().is_none());
        let bad = [
            ("min_group_size", UploadConfig { min_group_size: 0, ..Default::default() }),
            ("max_norm", UploadConfig { max_norm: Some(f32::NAN), ..Default::default() }),
            ("max_norm", UploadConfig { max_norm: Some(0.0), ..Default::default() }),
            ("noise_std", UploadConfig { noise_std: -1.0, ..Default::default() }),
            ("noise_std", UploadConfig { noise_std: f32::INFINITY, ..Default::default() }),
        ];
        for (name, config) in bad {
            let error = config.build().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
