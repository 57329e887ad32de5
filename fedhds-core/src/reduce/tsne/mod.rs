//! t-SNE with the Barnes-Hut approximation: the paper's fusion of all layers into two dimensions (eq. 7).
//!
//! In the order in which it runs, one file each: `affinity` turns features into probabilities, `descent` moves the
//! points; each of its steps asks `repulsion` for what pushes points apart. docs/tsne.md derives each.

mod affinity;
mod descent;
mod repulsion;

pub use affinity::Affinities;

use super::eigen::Accuracy;
use super::gram::Gram;
use super::pca;
use super::range::InRange;
use crate::error::{Error, Result};
use crate::loops;
use crate::stage::Reducer;
use crate::types::{Context, Control, Matrix};
use affinity::Neighbours;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// How far perplexity is clamped where there are few rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PerplexityLimit {
    /// To `(n - 1) / 3`: three times as many neighbours as perplexity, as the method takes them where there are enough.
    #[default]
    Third,
    /// To `n - 1`, as the paper does: at 31 rows and fewer the perplexity is then the number of neighbours, so that every
    /// affinity is the same and the embedding tells nothing of the features.
    Rows,
}

/// Settings of [`Tsne`]; names are scikit-learn's where it has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TsneConfig {
    /// Effective number of neighbours, at least 1; default 30. Clamped by `perplexity_limit`.
    pub perplexity: f64,
    /// What perplexity is clamped to; default a third of the other rows.
    pub perplexity_limit: PerplexityLimit,
    /// Columns that come out, 1 to 3; default 2.
    pub n_components: usize,
    /// Steps in all, at least 1; default 1,000.
    pub max_iter: usize,
    /// Step size; default none: `n` over the exaggeration in force, that is `n / 12` and then `n` (Belkina et al. 2019; openTSNE
    /// 1.0). A fixed rate of 200 ended up to 2% worse at 80 to 1,000 rows.
    pub learning_rate: Option<f64>,
    /// Factor on the attraction in the first steps, at least 1; default 12.
    pub early_exaggeration: f64,
    /// How many steps are exaggerated; default 250.
    pub early_exaggeration_iter: usize,
    /// Accuracy of the repulsion, in [0, 1]: cells narrower than `angle` times their distance count as one point (theta of van
    /// der Maaten 2014). 0 is exact; default 0.5.
    pub angle: f64,
}

impl Default for TsneConfig {
    fn default() -> Self {
        Self {
            perplexity: 30.0,
            perplexity_limit: PerplexityLimit::Third,
            n_components: 2,
            max_iter: 1000,
            learning_rate: None,
            early_exaggeration: 12.0,
            early_exaggeration_iter: 250,
            angle: 0.5,
        }
    }
}

impl TsneConfig {
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
        if let Some(rate) = self.learning_rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return Err(Error::parameter("learning_rate", "a finite number above 0", rate));
        }
        if !(self.early_exaggeration.is_finite() && self.early_exaggeration >= 1.0) {
            let got = self.early_exaggeration;
            return Err(Error::parameter("early_exaggeration", "a finite number of at least 1", got));
        }
        if !(0.0..=1.0).contains(&self.angle) {
            return Err(Error::parameter("angle", "0 to 1", self.angle));
        }
        Ok(())
    }

    /// The perplexity for `n` rows: `perplexity`, clamped by `perplexity_limit`, and at least 1.
    pub fn effective_perplexity(&self, n: usize) -> f64 {
        let others = n.saturating_sub(1) as f64;
        let limit = match self.perplexity_limit {
            PerplexityLimit::Third => others / 3.0,
            PerplexityLimit::Rows => others,
        };
        self.perplexity.min(limit).max(1.0)
    }
}

/// Barnes-Hut t-SNE (van der Maaten and Hinton 2008; van der Maaten 2014): `[n, d] -> [n, n_components]`.
///
/// - Neighbours and distances are exact, from the features' Gram matrix.
/// - It starts from the first principal components, scaled to a standard deviation of 1e-4 (Kobak and Berens 2019), and
///   a hundredth of that as noise from the context's seed, which sets apart rows that coincide.
/// - The schedule is openTSNE's: learning rate `n / exaggeration`, exaggeration 12 for 250 steps, momentum 0.5 and then
///   0.8, gains without upper limit (Belkina et al. 2019).
/// - Up to 3 rows there is nothing to balance: the result is the first principal components, scaled to a standard
///   deviation of 1 in the first. Identical rows all lie at 0.
/// - The same seed gives the same bits at any number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Tsne {
    config: TsneConfig,
}

/// Standard deviation of the first column at the start.
const START: f64 = 1e-4;
/// Standard deviation of the noise at the start.
const NOISE: f64 = 1e-6;
/// Rows up to which the Gram matrix is kept (128 MiB); above, its blocks are made and dropped.
const KEPT: usize = 4096;

impl Tsne {
    /// # Errors
    /// [`Error::Parameter`], see [`TsneConfig::check`].
    pub fn new(config: TsneConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &TsneConfig {
        &self.config
    }

    /// The affinities of finite features `[n, d]`, n at least 2, and the first principal components, `[k][n]`.
    fn analyse(&self, features: &Matrix, control: &Control) -> Result<(Affinities, Vec<Vec<f64>>)> {
        let (n, d) = (features.rows(), features.cols());
        let k = self.config.n_components;
        let perplexity = self.config.effective_perplexity(n);
        if n <= KEPT {
            let gram = Gram::centred(features, control)?;
            let neighbours = Neighbours::from_gram(&gram, perplexity, control)?;
            let scores = if n <= d {
                pca::scores_from_rows(features, &gram, k, Accuracy::Rough, control)?
            } else {
                pca::scores_from_columns(features, k, Accuracy::Rough, control)?
            };
            Ok((Affinities::new(&neighbours, perplexity, control)?, scores))
        } else {
            let neighbours = Neighbours::from_blocks(features, perplexity, control)?;
            let scores = if d <= KEPT {
                pca::scores_from_columns(features, k, Accuracy::Rough, control)?
            } else {
                pca::scores_by_iteration(features, k, control)?
            };
            Ok((Affinities::new(&neighbours, perplexity, control)?, scores))
        }
    }
}

impl Reducer for Tsne {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        features.check_finite("features")?;
        // What t-SNE gives does not depend on the unit.
        let features = &*InRange::differences(features).features;
        match self.config.n_components {
            1 => to_matrix(&embed::<1>(self, features, context)?),
            2 => to_matrix(&embed::<2>(self, features, context)?),
            _ => to_matrix(&embed::<3>(self, features, context)?),
        }
    }
}

fn embed<const K: usize>(tsne: &Tsne, features: &Matrix, context: &Context) -> Result<Vec<[f64; K]>> {
    let n = features.rows();
    let control = &context.control;
    if n < 2 || (1..n).all(|i| features.row(i) == features.row(0)) {
        return Ok(vec![[0.0; K]; n]);
    }
    if n <= 3 {
        let gram = Gram::centred(features, control)?;
        return Ok(start(n, &pca::scores_from_rows(features, &gram, K, Accuracy::Full, control)?, 1.0));
    }
    let (affinities, scores) = tsne.analyse(features, control)?;
    let mut points: Vec<[f64; K]> = start(n, &scores, START);
    let mut rng = context.seed.derive("tsne start", 0).rng();
    for value in points.iter_mut().flatten() {
        let noise: f64 = StandardNormal.sample(&mut rng);
        *value += NOISE * noise;
    }
    descent::descend(&tsne.config, &affinities, &mut points, control)?;
    Ok(points)
}

/// The principal components, scaled so that the first has this standard deviation; columns beyond the rank are 0.
fn start<const K: usize>(n: usize, scores: &[Vec<f64>], deviation: f64) -> Vec<[f64; K]> {
    let first = scores.first().map_or(0.0, |first| (first.iter().map(|x| x * x).sum::<f64>() / n as f64).sqrt());
    let scale = if first > 0.0 { deviation / first } else { 0.0 };
    (0..n).map(|i| std::array::from_fn(|axis| scores.get(axis).map_or(0.0, |column| column[i] * scale))).collect()
}

fn to_matrix<const K: usize>(points: &[[f64; K]]) -> Result<Matrix> {
    let out = Matrix::new(points.len(), K, points.iter().flatten().map(|&x| x as f32).collect())?;
    out.check_finite("t-SNE")?;
    Ok(out)
}

/// Kullback-Leibler divergence `sum p_ij ln(p_ij / q_ij)` of an embedding `[n, k]` from affinities, in nats: what t-SNE
/// minimises (van der Maaten and Hinton 2008, eq. 2), with `q` exact over all pairs.
///
/// # Errors
/// [`Error::Input`] when the rows differ in number, [`Error::NotFinite`] for an embedding that is not finite.
pub fn kl_divergence(affinities: &Affinities, embedding: &Matrix) -> Result<f64> {
    let n = affinities.rows();
    if embedding.rows() != n {
        return Err(Error::input("embedding", format!("{n} rows, as many as the affinities"), embedding.rows()));
    }
    embedding.check_finite("embedding")?;
    let similarity = |i: usize, j: usize| {
        let square = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
        1.0 / (1.0 + embedding.row(i).iter().zip(embedding.row(j)).map(square).sum::<f64>())
    };
    let row_sum = |i: usize| (0..n).filter(|&j| j != i).map(|j| similarity(i, j)).sum::<f64>();
    let sums = loops::map(n, 16, row_sum);
    let total: f64 = sums.iter().sum();
    let mut divergence = 0.0;
    for i in 0..n {
        for (j, p) in affinities.row(i).filter(|(_, p)| *p > 0.0) {
            divergence += p * (p * total / similarity(i, j)).ln();
        }
    }
    Ok(divergence)
}

#[cfg(test)]
mod tests;
