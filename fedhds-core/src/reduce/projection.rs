//! One random projection for all clients.

use crate::error::{Error, Result};
use crate::loops;
use crate::product::{View, product};
use crate::protocol::MAX_DIMS;
use crate::stage::Reducer;
use crate::types::{Context, Control, Matrix, Seed};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Input columns that one stream of random numbers serves, and that one f32 product sums over.
const PANEL: usize = 1024;
/// Rows that one task projects.
const ROWS: usize = 64;

/// Settings of [`SharedProjection`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharedProjectionConfig {
    /// Columns that come out, `k`, at least 1; default 128.
    pub n_components: usize,
    /// The seed that all clients share; default 0. Derive it from the experiment's seed, not from a client's.
    pub seed: Seed,
}

impl Default for SharedProjectionConfig {
    fn default() -> Self {
        Self { n_components: 128, seed: Seed(0) }
    }
}

impl SharedProjectionConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_DIMS).contains(&self.n_components) {
            return Err(Error::parameter("n_components", format!("1 to {MAX_DIMS}"), self.n_components));
        }
        Ok(())
    }
}

/// Gaussian random projection `y = x R / sqrt(k)` with `R` `[d, k]` of independent N(0, 1) (Johnson and Lindenstrauss
/// 1984; Dasgupta and Gupta 2003): distances are kept within about `sqrt(2 ln(n) / k)`, relatively.
///
/// `R` depends on (shared seed, d, k) alone, never on the data nor on the context's seed: every client maps into the same
/// frame, which t-SNE, fitted by each client alone, cannot give. The map is linear, so that a projected centroid is
/// the centroid of the projected points.
#[derive(Debug, Clone)]
pub struct SharedProjection {
    config: SharedProjectionConfig,
    /// `R` of the last `d`, `[d, k]` row after row: a client's rounds all ask for the same.
    last: Arc<Mutex<Option<Arc<Matrix>>>>,
}

impl SharedProjection {
    /// # Errors
    /// [`Error::Parameter`], see [`SharedProjectionConfig::check`].
    pub fn new(config: SharedProjectionConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, last: Arc::default() })
    }

    /// The settings.
    pub fn config(&self) -> &SharedProjectionConfig {
        &self.config
    }

    /// `R` for vectors of `d` columns, `[d, k]`, before the scale of `1 / sqrt(k)`.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn matrix(&self, d: usize, control: &Control) -> Result<Arc<Matrix>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref() {
            Some(matrix) if matrix.rows() == d => Ok(Arc::clone(matrix)),
            _ => Ok(Arc::clone(last.insert(Arc::new(self.generate(d, control)?)))),
        }
    }

    fn generate(&self, d: usize, control: &Control) -> Result<Matrix> {
        let k = self.config.n_components;
        let seed = self.config.seed.derive("projection from", d as u64).derive("projection to", k as u64);
        let mut matrix = Matrix::zeros(d, k);
        loops::try_parts(matrix.as_mut_slice(), PANEL * k, 1, |panel, values| {
            let mut rng = seed.derive("panel", panel as u64).rng();
            for row in values.chunks_mut(k) {
                control.check()?;
                row.iter_mut().for_each(|value| *value = StandardNormal.sample(&mut rng));
            }
            Ok(())
        })?;
        Ok(matrix)
    }
}

impl Reducer for SharedProjection {
    /// `[n, d] -> [n, k]`; products in f32 over panels of columns, summed in f64.
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        features.check_finite("features")?;
        let (n, d, k) = (features.rows(), features.cols(), self.config.n_components);
        let projection = self.matrix(d, &context.control)?;
        let scale = 1.0 / (k as f64).sqrt();
        let mut out = Matrix::zeros(n, k);
        loops::try_parts(out.as_mut_slice(), ROWS * k, 1, |block, out| {
            let rows = out.len() / k;
            let mut part = vec![0.0f32; rows * k];
            let mut sum = vec![0.0f64; rows * k];
            let all = &features.as_slice()[block * ROWS * d..(block * ROWS + rows) * d];
            let all = View::new(all, rows, d);
            for start in (0..d).step_by(PANEL) {
                context.control.check()?;
                let end = (start + PANEL).min(d);
                let panel = View::new(&projection.as_slice()[start * k..end * k], end - start, k);
                product(&mut part, all.columns(start..end), panel);
                sum.iter_mut().zip(&part).for_each(|(sum, &p)| *sum += f64::from(p));
            }
            out.iter_mut().zip(&sum).for_each(|(out, sum)| *out = (sum * scale) as f32);
            Ok::<_, Error>(())
        })?;
        out.check_finite("projected features")?;
        Ok(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn projection(k: usize, seed: u64) -> SharedProjection {
        SharedProjection::new(SharedProjectionConfig { n_components: k, seed: Seed(seed) }).unwrap()
    }

    fn features(n: usize, d: usize) -> Matrix {
        let mut rng = Seed(1).rng();
        let data = (0..n * d).map(|_| StandardNormal.sample(&mut rng)).collect();
        Matrix::new(n, d, data).unwrap()
    }

    #[test]
    fn equal_on_every_client() {
        let x = features(3, 40);
        let one = projection(8, 7).reduce(&x, &Context::new(1)).unwrap();
        assert_eq!(one, projection(8, 7).reduce(&x, &Context::new(2)).unwrap());
        assert_ne!(one, projection(8, 8).reduce(&x, &Context::new(1)).unwrap());
    }

    #[test]
    fn equals_its_definition() {
        let x = features(70, 2100);
        let p = projection(5, 3);
        let r = p.matrix(2100, &Control::default()).unwrap();
        let out = p.reduce(&x, &Context::new(1)).unwrap();
        for i in [0, 69] {
            for j in 0..5 {
                let exact: f64 = x.row(i).iter().enumerate().map(|(c, &v)| f64::from(v) * f64::from(r.row(c)[j])).sum();
                assert!((f64::from(out.row(i)[j]) - exact / 5f64.sqrt()).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn distances_are_kept() {
        let x = features(20, 3000);
        let y = projection(512, 3).reduce(&x, &Context::new(1)).unwrap();
        let d = |m: &Matrix, i: usize, j: usize| -> f32 {
            m.row(i).iter().zip(m.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
        };
        for (i, j) in (0..20).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let ratio = d(&y, i, j) / d(&x, i, j);
            assert!((0.8..1.2).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn edges() {
        assert!(SharedProjection::new(SharedProjectionConfig { n_components: 0, seed: Seed(0) }).is_err());
        let p = projection(4, 1);
        assert_eq!(p.reduce(&Matrix::zeros(0, 3), &Context::new(1)).unwrap().rows(), 0);
        assert_eq!(p.reduce(&Matrix::zeros(2, 0), &Context::new(1)).unwrap(), Matrix::zeros(2, 4));
        assert!(p.reduce(&Matrix::new(1, 1, vec![f32::NAN]).unwrap(), &Context::new(1)).is_err());
    }
}
