//! Kernel principal component analysis (the ablation's second alternative to t-SNE).

use super::eigen::{self, Accuracy};
use super::gram::Gram;
use super::range::{InRange, directions};
use crate::error::{Error, Result};
use crate::loops;
use crate::protocol::MAX_DIMS;
use crate::stage::Reducer;
use crate::types::{Context, Control, Matrix};
use serde::{Deserialize, Serialize};

/// The kernel; names are scikit-learn's. `gamma`, `degree` and `coef0` stand in [`KernelPcaConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// `<x, y>`: PCA.
    Linear,
    /// `exp(-gamma |x - y|^2)`.
    #[default]
    Rbf,
    /// `(gamma <x, y> + coef0)^degree`.
    Poly,
    /// `<x, y> / (|x| |y|)`; a row of zeros has cosine 0 with every row.
    Cosine,
}

/// Settings of [`KernelPca`]; names are scikit-learn's. What a kernel has no use for is checked, and without effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelPcaConfig {
    /// Columns that come out, at least 1; default 2. Where the kernel has lower rank, the last are 0.
    pub n_components: usize,
    /// Default rbf.
    pub kernel: Kernel,
    /// Of rbf and poly, above 0; default none: `1 / d`.
    pub gamma: Option<f64>,
    /// Of poly, 1 to 16; default 3.
    pub degree: u32,
    /// Of poly, finite; default 1.
    pub coef0: f64,
}

impl Default for KernelPcaConfig {
    fn default() -> Self {
        Self { n_components: 2, kernel: Kernel::Rbf, gamma: None, degree: 3, coef0: 1.0 }
    }
}

impl KernelPcaConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_DIMS).contains(&self.n_components) {
            return Err(Error::parameter("n_components", format!("1 to {MAX_DIMS}"), self.n_components));
        }
        if let Some(gamma) = self.gamma
            && !(gamma.is_finite() && gamma > 0.0)
        {
            return Err(Error::parameter("gamma", "a finite number above 0", gamma));
        }
        if !(1..=16).contains(&self.degree) {
            return Err(Error::parameter("degree", "1 to 16", self.degree));
        }
        if !self.coef0.is_finite() {
            return Err(Error::parameter("coef0", "a finite number", self.coef0));
        }
        Ok(())
    }
}

/// Kernel PCA (Schoelkopf, Smola and Mueller 1998): `[n, d] -> [n, n_components]`, the rows' coordinates
/// `u_j sqrt(lambda_j)` in the kernel's space, centred there.
///
/// Signs are scikit-learn's: the entry of largest magnitude of each column is positive. The seed is not used. Memory is
/// `n * n` f64, twice.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelPca {
    config: KernelPcaConfig,
}

impl KernelPca {
    /// # Errors
    /// [`Error::Parameter`], see [`KernelPcaConfig::check`].
    pub fn new(config: KernelPcaConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &KernelPcaConfig {
        &self.config
    }
}

impl Reducer for KernelPca {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        features.check_finite("features")?;
        let (n, k) = (features.rows(), self.config.n_components);
        let mut out = Matrix::zeros(n, k);
        if n == 0 {
            return Ok(out);
        }
        let (mut kernel, unit) = kernel_matrix(features, &self.config, &context.control)?;
        kernel.centre(&context.control)?;
        let eigen = eigen::largest(&kernel, k.min(n), Accuracy::Full, &context.control)?;
        let least = 1e-12 * eigen.values[0];
        for (j, &value) in eigen.values.iter().enumerate().take_while(|(_, value)| **value > least) {
            let mut extreme = 0.0f64;
            for i in 0..n {
                // Equal to rounding: the first wins.
                if eigen.vectors[(i, j)].abs() > extreme.abs() * (1.0 + 1e-9) {
                    extreme = eigen.vectors[(i, j)];
                }
            }
            let scale = if extreme < 0.0 { -value.sqrt() } else { value.sqrt() };
            (0..n).for_each(|i| out.row_mut(i)[j] = (eigen.vectors[(i, j)] * scale / unit) as f32);
        }
        out.check_finite("kernel principal components")?;
        Ok(out)
    }
}

/// The kernel of all pairs of rows, and what its features were multiplied by where that has an effect on the result.
fn kernel_matrix(features: &Matrix, config: &KernelPcaConfig, control: &Control) -> Result<(Gram, f64)> {
    let n = features.rows();
    let KernelPcaConfig { degree, coef0, .. } = *config;
    let gamma = config.gamma.unwrap_or(1.0 / features.cols().max(1) as f64);
    match config.kernel {
        // Centring comes later in any case.
        Kernel::Linear => {
            let scaled = InRange::differences(features);
            Ok((Gram::centred(&scaled.features, control)?, scaled.factor))
        }
        Kernel::Rbf => {
            let scaled = InRange::differences(features);
            let gram = Gram::centred(&scaled.features, control)?;
            let gamma = gamma / scaled.factor.powi(2);
            Ok((Gram::from_fn(n, control, |i, j| (-gamma * gram.distance(i, j)).exp())?, 1.0))
        }
        Kernel::Poly => {
            let scaled = InRange::values(features);
            let inner = Gram::plain(&scaled.features, control)?;
            let gamma = gamma / scaled.factor.powi(2);
            let value = |i, j| (gamma * inner.get(i, j) + coef0).powi(degree as i32);
            let kernel = Gram::from_fn(n, control, value)?;
            let overflows = loops::try_map(n, 16, |i| {
                control.check()?;
                Ok((0..=i).any(|j| !kernel.get(i, j).is_finite()))
            })?;
            match overflows.into_iter().position(|overflows| overflows) {
                Some(row) => Err(Error::input(
                    &format!("features row {row}"),
                    format!("values whose power of {degree} is finite"),
                    "an overflow of the polynomial kernel",
                )),
                None => Ok((kernel, 1.0)),
            }
        }
        Kernel::Cosine => {
            let inner = Gram::plain(&directions(features), control)?;
            let norms: Vec<f64> = (0..n).map(|i| inner.get(i, i).sqrt()).collect();
            let kernel = Gram::from_fn(n, control, |i, j| {
                let product = norms[i] * norms[j];
                if product > 0.0 { inner.get(i, j) / product } else { 0.0 }
            })?;
            Ok((kernel, 1.0))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::reduce::{Pca, PcaConfig};
    use crate::types::Seed;
    use rand::RngExt as _;

    fn of(kernel: Kernel) -> KernelPcaConfig {
        KernelPcaConfig { kernel, ..KernelPcaConfig::default() }
    }

    fn reduce(x: &Matrix, config: KernelPcaConfig) -> Matrix {
        KernelPca::new(config).unwrap().reduce(x, &Context::new(1)).unwrap()
    }

    #[test]
    fn the_linear_kernel_is_pca_up_to_sign() {
        let mut rng = Seed(3).rng();
        let x = Matrix::new(30, 5, (0..150).map(|i| rng.random::<f32>() * (1 + i % 5) as f32).collect()).unwrap();
        let kernel = reduce(&x, of(Kernel::Linear));
        let pca = Pca::new(PcaConfig::default()).unwrap().reduce(&x, &Context::new(1)).unwrap();
        for (a, b) in kernel.as_slice().iter().zip(pca.as_slice()) {
            assert!((a.abs() - b.abs()).abs() < 1e-4);
        }
    }

    #[test]
    fn rbf_separates_a_disc_from_its_ring() {
        let mut rng = Seed(3).rng();
        let rows: Vec<[f32; 2]> = (0..200)
            .map(|i| {
                let angle = rng.random::<f32>() * std::f32::consts::TAU;
                let radius = if i % 2 == 0 { 0.3 } else { 3.0 };
                [radius * angle.cos(), radius * angle.sin()]
            })
            .collect();
        let y = reduce(&Matrix::from_rows(&rows).unwrap(), KernelPcaConfig { gamma: Some(0.5), ..of(Kernel::Rbf) });
        // The disc is one spot in the kernel's space, far from all of the ring.
        let spot = y.row(0).to_vec();
        let far = |row: &[f32]| ((row[0] - spot[0]).powi(2) + (row[1] - spot[1]).powi(2)).sqrt();
        let disc = (0..200).step_by(2).map(|i| far(y.row(i))).fold(0.0, f32::max);
        let ring = (1..200).step_by(2).map(|i| far(y.row(i))).fold(f32::MAX, f32::min);
        assert!(ring > disc, "{ring} {disc}");
    }

    #[test]
    fn every_kernel_survives_edges() {
        for kernel in [Kernel::Linear, Kernel::Cosine, Kernel::Rbf, Kernel::Poly] {
            for n in 0..5 {
                assert_eq!(reduce(&Matrix::zeros(n, 3), of(kernel)), Matrix::zeros(n, 2));
            }
            let huge = Matrix::new(2, 1, vec![f32::MAX, 0.0]).unwrap();
            let config = KernelPcaConfig { n_components: 1, ..of(kernel) };
            let _ = KernelPca::new(config).unwrap().reduce(&huge, &Context::new(1));
        }
    }

    #[test]
    fn bad_values_are_errors() {
        let check = |change: &dyn Fn(&mut KernelPcaConfig)| {
            let mut config = of(Kernel::Poly);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(check(&|c| c.gamma = Some(0.0)).contains("gamma"));
        assert!(check(&|c| c.degree = 0).contains("degree"));
        assert!(check(&|c| c.degree = 17).contains("degree"));
        assert!(check(&|c| c.coef0 = f64::NAN).contains("coef0"));
        assert!(check(&|c| c.n_components = 0).contains("n_components"));
        let parsed: KernelPcaConfig = toml::from_str("n_components = 3\nkernel = \"poly\"\ndegree = 2").unwrap();
        let expected = KernelPcaConfig { n_components: 3, degree: 2, ..of(Kernel::Poly) };
        assert_eq!(parsed, expected);
        let nested = toml::from_str::<KernelPcaConfig>("kernel = { poly = { degree = 2 } }").unwrap_err();
        assert!(nested.to_string().contains("kernel"), "{nested}");
    }
}
