//! k-means: linfa's for plain rows, a weighted Lloyd of our own for rows that stand for several records.

use super::{distance, number_by_first_row};
use crate::cluster::centroid::weighted_centroids;
use crate::error::{Error, Result};
use crate::stage::{Clusterer, Clustering};
use crate::types::{Context, Matrix, Rng};
use linfa::DatasetBase;
use linfa::traits::Fit;
use rand::{Rng as _, RngExt as _};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Settings of [`KMeans`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KMeansConfig {
    /// Number of clusters, at least 1; default 8. Fewer are made where fewer rows are distinct.
    pub n_clusters: usize,
    /// Starts from different initial centroids, at least 1; default 10. The one with the least inertia is kept.
    pub n_runs: usize,
    /// Most iterations of one run, at least 1; default 300.
    pub max_n_iterations: u64,
    /// A run ends when the centroids move less than this, above 0; default 1e-4. The Frobenius norm of the move is
    /// measured in units of the points' root-mean-square distance from their mean.
    pub tolerance: f64,
}

impl Default for KMeansConfig {
    fn default() -> Self {
        Self { n_clusters: 8, n_runs: 10, max_n_iterations: 300, tolerance: 1e-4 }
    }
}

impl KMeansConfig {
    /// The defaults with this number of clusters.
    pub fn with_clusters(n_clusters: usize) -> Self {
        Self { n_clusters, ..Self::default() }
    }

    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if self.n_clusters == 0 {
            return Err(Error::parameter("n_clusters", "at least 1", self.n_clusters));
        }
        if self.n_runs == 0 {
            return Err(Error::parameter("n_runs", "at least 1", self.n_runs));
        }
        if self.max_n_iterations == 0 {
            return Err(Error::parameter("max_n_iterations", "at least 1", self.max_n_iterations));
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return Err(Error::parameter("tolerance", "a finite number above 0", self.tolerance));
        }
        Ok(())
    }
}

/// k-means with k-means++ starts (Arthur and Vassilvitskii 2007): minimises `sum_i w_i |x_i - c(i)|^2`.
///
/// Every row belongs to a cluster with strength 1; there is no noise and no empty cluster; the number of clusters is
/// clamped to the number of distinct rows, so 0 rows give 0 clusters. The same seed gives the same bits at any number of
/// threads: only the search for the nearest centroid runs in parallel, row by row.
///
/// Plain rows go to linfa-clustering (f64, k-means++, `n_runs` starts). linfa counts the previous centroid as one more
/// point of its cluster (Pakhira 2009), so its centroids trail the means; Lloyd's iterations of our own bring them to a
/// fixed point and fill clusters that are left empty. linfa has no weights: [`cluster_weighted`](Self::cluster_weighted)
/// is ours throughout.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    config: KMeansConfig,
}

impl KMeans {
    /// # Errors
    /// [`Error::Parameter`], see [`KMeansConfig::check`].
    pub fn new(config: KMeansConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &KMeansConfig {
        &self.config
    }

    /// Clusters rows that stand for `weights[i]` records each: `points` `[n, d]`, `weights` `[n]`, each at least 0.
    ///
    /// Centroids are the weighted means. Rows of weight 0 are labelled but move nothing; every cluster has a row of positive
    /// weight.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a point, [`Error::Input`] for weights of another length, negative, not finite or all zero,
    /// [`Error::Cancelled`].
    pub fn cluster_weighted(&self, points: &Matrix, weights: &[f32], context: &Context) -> Result<Clustering> {
        points.check_finite("points")?;
        if weights.len() != points.rows() {
            return Err(Error::input("weights", format!("{} entries, one per row", points.rows()), weights.len()));
        }
        if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            return Err(Error::input(&format!("weight of row {row}"), "a finite value of at least 0", weights[row]));
        }
        let k = self.config.n_clusters.min(distinct_rows(points, weights));
        if k == 0 && points.rows() > 0 {
            return Err(Error::input("weights", "at least one above 0", "zeros"));
        }
        let tolerance = self.config.tolerance * spread(points);
        let mut best: Option<Fitted> = None;
        for run in 0..self.config.n_runs {
            let mut rng = context.seed.derive("kmeans run", run as u64).rng();
            let start = plus_plus(points, weights, k, &mut rng);
            let fitted = lloyd(points, weights, start, tolerance, self.config.max_n_iterations, context)?;
            if best.as_ref().is_none_or(|best| fitted.inertia < best.inertia) {
                best = Some(fitted);
            }
        }
        self.finish(points, weights, best)
    }

    fn finish(&self, points: &Matrix, weights: &[f32], fitted: Option<Fitted>) -> Result<Clustering> {
        let fitted = fitted.unwrap_or_default();
        let groups: Vec<_> = fitted.labels.iter().map(|&label| Some(label)).collect();
        let (labels, old) = number_by_first_row(&groups, fitted.clusters);
        let centroids = weighted_centroids(points, &labels, weights, old.len())?;
        Ok(Clustering { labels, strength: vec![1.0; points.rows()], centroids })
    }
}

impl Clusterer for KMeans {
    fn cluster(&self, points: &Matrix, context: &Context) -> Result<Clustering> {
        points.check_finite("points")?;
        context.control.check()?;
        if points.rows() > 0 && points.cols() == 0 {
            return Err(Error::input("points", "at least one column", 0));
        }
        let weights = vec![1.0f32; points.rows()];
        let k = self.config.n_clusters.min(distinct_rows(points, &weights));
        if k == 0 {
            return self.finish(points, &weights, None);
        }
        let tolerance = self.config.tolerance * spread(points);
        let data: Vec<f64> = points.as_slice().iter().map(|&x| f64::from(x)).collect();
        let records = ndarray::Array2::from_shape_vec((points.rows(), points.cols()), data)
            .map_err(|error| Error::stage("kmeans", error.to_string()))?;
        let model = linfa_clustering::KMeans::params_with_rng(k, LinfaRng(context.seed.rng()))
            .n_runs(self.config.n_runs)
            // Identical rows have spread 0, and linfa asks for a tolerance above 0.
            .tolerance(tolerance.max(f64::MIN_POSITIVE))
            .max_n_iterations(self.config.max_n_iterations)
            .fit(&DatasetBase::from(records))
            .map_err(|error| Error::stage("kmeans", error.to_string()))?;
        let start: Vec<f64> = model.centroids().iter().copied().collect();
        let start = Matrix::new(k, points.cols(), start.into_iter().map(|x| x as f32).collect())?;
        let fitted = lloyd(points, &weights, start, tolerance, self.config.max_n_iterations, context)?;
        self.finish(points, &weights, Some(fitted))
    }
}

/// The project's generator behind the trait of the rand version that linfa takes.
#[derive(Clone)]
struct LinfaRng(Rng);

impl rand_core_06::RngCore for LinfaRng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

/// One run's result.
#[derive(Debug, Default)]
struct Fitted {
    labels: Vec<u32>,
    clusters: usize,
    inertia: f64,
}

/// Number of distinct rows of positive weight.
fn distinct_rows(points: &Matrix, weights: &[f32]) -> usize {
    let mut rows: Vec<&[f32]> =
        points.iter_rows().zip(weights).filter(|(_, w)| **w > 0.0).map(|(row, _)| row).collect();
    // Rows are finite, so partial_cmp always answers; it holds -0 and 0 equal.
    rows.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    rows.dedup();
    rows.len()
}

/// Root-mean-square distance of the rows from their mean.
fn spread(points: &Matrix) -> f64 {
    let n = points.rows().max(1) as f64;
    let mut mean = vec![0.0f64; points.cols()];
    for row in points.iter_rows() {
        mean.iter_mut().zip(row).for_each(|(m, &x)| *m += f64::from(x) / n);
    }
    let square = |row: &[f32]| -> f64 { row.iter().zip(&mean).map(|(&x, m)| (f64::from(x) - m).powi(2)).sum() };
    points.iter_rows().map(|row| square(row) / n).sum::<f64>().sqrt()
}

/// k-means++: the first centroid by weight, each next by weight times squared distance to the nearest so far.
fn plus_plus(points: &Matrix, weights: &[f32], k: usize, rng: &mut Rng) -> Matrix {
    let mut nearest = vec![f64::INFINITY; points.rows()];
    let mut mass: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
    let mut chosen = Vec::with_capacity(k);
    for _ in 0..k {
        let row = draw(&mass, rng);
        chosen.push(row);
        let centre = points.row(row);
        nearest.par_iter_mut().enumerate().with_min_len(64).for_each(|(i, nearest)| {
            *nearest = nearest.min(distance::squared(points.row(i), centre));
        });
        for ((mass, &w), &nearest) in mass.iter_mut().zip(weights).zip(&nearest) {
            *mass = f64::from(w) * nearest;
        }
    }
    let mut data = Vec::with_capacity(k * points.cols());
    chosen.iter().for_each(|&row| data.extend_from_slice(points.row(row)));
    Matrix::new(k, points.cols(), data).unwrap_or_default()
}

/// An index drawn in proportion to `mass`; the last of positive mass where rounding leaves a rest.
fn draw(mass: &[f64], rng: &mut Rng) -> usize {
    let mut left = rng.random::<f64>() * mass.iter().sum::<f64>();
    let mut last = 0;
    for (i, &m) in mass.iter().enumerate().filter(|(_, m)| **m > 0.0) {
        last = i;
        left -= m;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Lloyd's iterations from `centroids`; ends with labels of which no cluster is without weight.
fn lloyd(
    points: &Matrix,
    weights: &[f32],
    mut centroids: Matrix,
    tolerance: f64,
    max_n_iterations: u64,
    context: &Context,
) -> Result<Fitted> {
    let clusters = centroids.rows();
    if clusters == 0 {
        return Ok(Fitted::default());
    }
    let mut iteration = 0;
    loop {
        context.control.check()?;
        let (labels, inertia) = assign_without_empty(points, weights, &mut centroids);
        let ids: Vec<_> = labels.iter().map(|&label| Some(label.into())).collect();
        let means = weighted_centroids(points, &ids, weights, clusters)?;
        let moved = (0..clusters).map(|j| distance::squared(means.row(j), centroids.row(j))).sum::<f64>().sqrt();
        centroids = means;
        iteration += 1;
        if moved <= tolerance || iteration == max_n_iterations {
            return Ok(Fitted { labels, clusters, inertia });
        }
    }
}

/// The nearest centroid of each row and the inertia. An empty cluster's centroid moves to the row that costs most
/// (as in scikit-learn), until none is empty: each move lowers the inertia, so that this ends.
fn assign_without_empty(points: &Matrix, weights: &[f32], centroids: &mut Matrix) -> (Vec<u32>, f64) {
    loop {
        let nearest: Vec<(u32, f64)> = (0..points.rows())
            .into_par_iter()
            .with_min_len(64)
            .map(|i| {
                let mut best = (0, f64::INFINITY);
                for (j, centroid) in centroids.iter_rows().enumerate() {
                    let d = distance::squared(points.row(i), centroid);
                    if d < best.1 {
                        best = (j as u32, d);
                    }
                }
                best
            })
            .collect();
        let mut total = vec![0.0f64; centroids.rows()];
        let mut inertia = 0.0;
        let mut costliest = (0, 0.0);
        for (i, (&(label, d), &w)) in nearest.iter().zip(weights).enumerate() {
            total[label as usize] += f64::from(w);
            let cost = f64::from(w) * d;
            inertia += cost;
            if cost > costliest.1 {
                costliest = (i, cost);
            }
        }
        match total.iter().position(|&total| total == 0.0) {
            Some(empty) if costliest.1 > 0.0 => {
                centroids.row_mut(empty).copy_from_slice(points.row(costliest.0));
            }
            _ => return (nearest.into_iter().map(|(label, _)| label).collect(), inertia),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::cluster::check_clustering;
    use crate::types::ClusterId;

    fn three_blobs(per: usize) -> Matrix {
        let mut rng = crate::types::Seed(5).rng();
        let mut data = Vec::new();
        for i in 0..3 * per {
            let centre = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)][i % 3];
            data.push(centre.0 + rng.random::<f32>());
            data.push(centre.1 + rng.random::<f32>());
        }
        Matrix::new(3 * per, 2, data).unwrap()
    }

    fn kmeans(k: usize) -> KMeans {
        KMeans::new(KMeansConfig::with_clusters(k)).unwrap()
    }

    #[test]
    fn blobs_are_found_and_centroids_are_means() {
        let points = three_blobs(40);
        for clustering in [
            kmeans(3).cluster(&points, &Context::new(1)).unwrap(),
            kmeans(3).cluster_weighted(&points, &[2.0; 120], &Context::new(1)).unwrap(),
        ] {
            check_clustering("kmeans", &clustering, 120, 2).unwrap();
            for (row, label) in clustering.labels.iter().enumerate() {
                assert_eq!(label.unwrap().index(), row % 3);
            }
            let mean: f32 = (0..40).map(|i| points.row(3 * i)[0]).sum::<f32>() / 40.0;
            assert!((clustering.centroids.row(0)[0] - mean).abs() < 1e-5);
        }
    }

    #[test]
    fn few_rows_duplicates_and_no_rows() {
        for (rows, k) in [(vec![], 0), (vec![[1.0f32, 1.0]; 1], 1), (vec![[1.0, 1.0]; 6], 1)] {
            let mut points = Matrix::from_rows(&rows).unwrap();
            if rows.is_empty() {
                points = Matrix::zeros(0, 2);
            }
            for clustering in [
                kmeans(4).cluster(&points, &Context::new(1)).unwrap(),
                kmeans(4).cluster_weighted(&points, &vec![1.0; rows.len()], &Context::new(1)).unwrap(),
            ] {
                assert_eq!(clustering.centroids.rows(), k);
                check_clustering("kmeans", &clustering, rows.len(), 2).unwrap();
            }
        }
        let points = Matrix::new(5, 1, vec![0.0, -0.0, 3.0, 3.0, 9.0]).unwrap();
        let clustering = kmeans(5).cluster(&points, &Context::new(1)).unwrap();
        let ids = [0, 0, 1, 1, 2].map(|id| Some(ClusterId(id)));
        assert_eq!(clustering.labels, ids, "as many clusters as distinct rows, numbered by first row");
    }

    #[test]
    fn weights_pull_centroids_and_zero_weights_do_not() {
        let points = Matrix::new(5, 1, vec![0.0, 1.0, 100.0, 101.0, 130.0]).unwrap();
        let weights = [3.0, 1.0, 1.0, 1.0, 0.0];
        let clustering = kmeans(2).cluster_weighted(&points, &weights, &Context::new(1)).unwrap();
        assert_eq!(clustering.centroids.as_slice(), [0.25, 100.5]);
        assert_eq!(clustering.labels[4], Some(ClusterId(1)));
        assert!(kmeans(2).cluster_weighted(&points, &[0.0; 5], &Context::new(1)).is_err());
        assert!(kmeans(2).cluster_weighted(&points, &[1.0; 4], &Context::new(1)).is_err());
        assert!(kmeans(2).cluster_weighted(&points, &[f32::NAN; 5], &Context::new(1)).is_err());
    }

    #[test]
    fn repeated_rows_equal_weights() {
        let points = three_blobs(10);
        let twice: Vec<usize> = (0..30).flat_map(|i| std::iter::repeat_n(i, 1 + i % 3)).collect();
        let weights: Vec<f32> = (0..30).map(|i| (1 + i % 3) as f32).collect();
        let repeated = kmeans(3).cluster(&points.take_rows(&twice).unwrap(), &Context::new(3)).unwrap();
        let weighted = kmeans(3).cluster_weighted(&points, &weights, &Context::new(3)).unwrap();
        for (a, b) in repeated.centroids.as_slice().iter().zip(weighted.centroids.as_slice()) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn an_empty_cluster_takes_the_costliest_row() {
        let points = Matrix::new(4, 1, vec![0.0, 1.0, 2.0, 50.0]).unwrap();
        let mut centroids = Matrix::new(3, 1, vec![0.0, 1000.0, -1000.0]).unwrap();
        let (labels, _) = assign_without_empty(&points, &[1.0; 4], &mut centroids);
        let mut used = labels.clone();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), 3, "{labels:?}");
    }

    #[test]
    fn bad_values_are_errors() {
        assert!(KMeans::new(KMeansConfig { n_clusters: 0, ..Default::default() }).is_err());
        assert!(KMeans::new(KMeansConfig { n_runs: 0, ..Default::default() }).is_err());
        assert!(KMeans::new(KMeansConfig { tolerance: 0.0, ..Default::default() }).is_err());
        assert!(KMeans::new(KMeansConfig { max_n_iterations: 0, ..Default::default() }).is_err());
        let points = Matrix::new(2, 1, vec![0.0, f32::NAN]).unwrap();
        let error = kmeans(1).cluster(&points, &Context::new(1)).unwrap_err().to_string();
        assert!(error.contains("row 1, column 0"), "{error}");
    }

    #[test]
    fn extreme_values_stay_finite() {
        let points = Matrix::new(3, 1, vec![f32::MAX, f32::MIN, 0.0]).unwrap();
        let clustering = kmeans(2).cluster(&points, &Context::new(1)).unwrap();
        check_clustering("kmeans", &clustering, 3, 1).unwrap();
    }
}
