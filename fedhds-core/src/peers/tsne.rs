//! t-SNE of linfa-tsne.

use super::{LinfaRng, array};
use crate::error::{Error, Result};
use crate::reduce::{Pca, PcaConfig};
use crate::stage::Reducer;
use crate::types::{Context, Matrix};
use linfa::traits::Transformer;
use linfa_tsne::TSneParams;
use serde::{Deserialize, Serialize};

/// Settings of [`LinfaTsne`]; names are scikit-learn's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinfaTsneConfig {
    /// Effective number of neighbours, at least 1; default 30. Clamped to a third of the other rows.
    pub perplexity: f64,
    /// Columns that come out, 1 to 3; default 2.
    pub n_components: usize,
    /// Steps in all, at least 1; default 1,000.
    pub max_iter: usize,
}

impl Default for LinfaTsneConfig {
    fn default() -> Self {
        Self { perplexity: 30.0, n_components: 2, max_iter: 1000 }
    }
}

impl LinfaTsneConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if !(self.perplexity.is_finite() && self.perplexity >= 1.0) {
            return Err(Error::parameter("perplexity", "a finite number of at least 1", self.perplexity));
        }
        if !(1..=3).contains(&self.n_components) {
            return Err(Error::parameter("n_components", "1 to 3", self.n_components));
        }
        if self.max_iter == 0 {
            return Err(Error::parameter("max_iter", "at least 1", self.max_iter));
        }
        Ok(())
    }
}

/// t-SNE of linfa-tsne 0.8 in its exact mode (f64): `[n, d] -> [n, n_components]`.
///
/// Beside [`Tsne`](crate::reduce::Tsne): time and memory grow with the square of the rows; the start is random, so that the
/// arrangement of groups depends on the seed; learning rate and schedule are fixed. Its Barnes-Hut mode is left out: on ordinary
/// embeddings it yields NaN and then overflows the stack, which nothing can catch.
///
/// Up to 3 rows the result is their first principal components; identical rows all lie at 0.
#[derive(Debug, Clone, PartialEq)]
pub struct LinfaTsne {
    config: LinfaTsneConfig,
}

impl LinfaTsne {
    /// # Errors
    /// [`Error::Parameter`], see [`LinfaTsneConfig::check`].
    pub fn new(config: LinfaTsneConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl Reducer for LinfaTsne {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        features.check_finite("features")?;
        context.control.check()?;
        let (n, d, k) = (features.rows(), features.cols(), self.config.n_components);
        if (1..n).all(|i| features.row(i) == features.row(0)) {
            return Ok(Matrix::zeros(n, k));
        }
        if n <= 3 {
            return Pca::new(PcaConfig { n_components: k, whiten: false })?.reduce(features, context);
        }
        // linfa-tsne refuses fewer columns than come out; columns of zeros change no distance.
        let width = d.max(k);
        let wide = features.iter_rows().flat_map(|row| {
            let values = row.iter().map(|&x| f64::from(x));
            values.chain(std::iter::repeat_n(0.0, width - d))
        });
        let input = array("linfa t-SNE", n, width, wide.collect())?;
        let embedding = TSneParams::embedding_size_with_rng(k, LinfaRng(context.seed.rng()))
            .perplexity(self.config.perplexity.min((n - 1) as f64 / 3.0))
            .approx_threshold(0.0)
            .max_iter(self.config.max_iter)
            .transform(input)
            .map_err(|error| Error::stage("linfa t-SNE", error.to_string()))?;
        let out = Matrix::new(n, k, embedding.into_iter().map(|x| x as f32).collect())?;
        out.check_finite("linfa t-SNE")?;
        Ok(out)
    }
}
