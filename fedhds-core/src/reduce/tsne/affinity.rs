//! From features to probabilities `p_ij`: how likely two rows are neighbours (van der Maaten and Hinton 2008, eq. 1).

use crate::error::{Error, Result};
use crate::loops;
use crate::product::{View, product};
use crate::reduce::gram::{self, Gram};
use crate::reduce::range::InRange;
use crate::sorting;
use crate::types::{Control, Matrix};

/// Most steps of the search for a row's bandwidth.
const SEARCH: usize = 200;
/// Difference of entropies, in nats, at which that search ends.
const TOLERANCE: f64 = 1e-8;

/// The nearest other rows of each row, nearest first; equal distances in the order of rows.
pub(super) struct Neighbours {
    k: usize,
    /// `[n, k]`.
    rows: Vec<u32>,
    /// Squared distances, `[n, k]`.
    distances: Vec<f64>,
}

impl Neighbours {
    /// As many as t-SNE looks at: three times the perplexity (van der Maaten 2014, eq. 6), where there are so many.
    fn count(n: usize, perplexity: f64) -> usize {
        ((3.0 * perplexity).floor() as usize).clamp(1, n - 1)
    }

    /// From a Gram matrix of `n >= 2` rows.
    pub(super) fn from_gram(gram: &Gram, perplexity: f64, control: &Control) -> Result<Self> {
        let n = gram.len();
        let k = Self::count(n, perplexity);
        Self::collect(n, k, |i| {
            control.check()?;
            Ok((0..n).filter(|&j| j != i).map(|j| (gram.distance(i, j), j as u32)).collect())
        })
    }

    /// From blocks of the Gram matrix, each dropped after use: for many rows.
    pub(super) fn from_blocks(features: &Matrix, perplexity: f64, control: &Control) -> Result<Self> {
        const BLOCK: usize = 32;
        const PANEL: usize = 1024;
        let (n, d) = (features.rows(), features.cols());
        let k = Self::count(n, perplexity);
        let mean = gram::column_means(features);
        let centred = |i: usize, range: std::ops::Range<usize>| {
            features.row(i)[range.clone()].iter().zip(&mean[range]).map(|(&x, mean)| (f64::from(x) - mean) as f32)
        };
        let norm = |i: usize| centred(i, 0..d).map(|x| f64::from(x).powi(2)).sum::<f64>();
        let norms = loops::try_map(n, 64, |i| {
            control.check()?;
            Ok(norm(i))
        })?;
        // Centred once, panel after panel, so that a block's products read it in order.
        let panels: Vec<Vec<f32>> = (0..d)
            .step_by(PANEL)
            .map(|start| {
                control.check()?;
                Ok(gram::centred_columns(features, &mean, start, PANEL.min(d - start)))
            })
            .collect::<Result<_>>()?;
        let blocks = loops::try_map(n.div_ceil(BLOCK), 1, |block| {
            control.check()?;
            let first = block * BLOCK;
            let rows = BLOCK.min(n - first);
            let mut inner = vec![0.0f64; rows * n];
            let mut part = vec![0.0f32; rows * n];
            for panel in &panels {
                control.check()?;
                let panel = View::new(panel, panel.len() / n, n).transpose();
                product(&mut part, panel.rows(first..first + rows), panel.transpose());
                inner.iter_mut().zip(&part).for_each(|(inner, &p)| *inner += f64::from(p));
            }
            let (mut nearest, mut distances) = (Vec::with_capacity(rows * k), Vec::with_capacity(rows * k));
            for (i, inner) in (first..first + rows).zip(inner.chunks_exact(n)) {
                let squared = |j: usize| (norms[i] + norms[j] - 2.0 * inner[j]).max(0.0);
                let all = (0..n).filter(|&j| j != i).map(|j| (squared(j), j as u32)).collect();
                for (distance, row) in smallest(all, k) {
                    nearest.push(row);
                    distances.push(distance);
                }
            }
            Ok((nearest, distances))
        })?;
        let (rows, distances): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
        Ok(Self { k, rows: rows.concat(), distances: distances.concat() })
    }

    fn collect(n: usize, k: usize, to_others: impl Fn(usize) -> Result<Vec<(f64, u32)>> + Sync) -> Result<Self> {
        let nearest = loops::try_map(n, 16, |i| Ok(smallest(to_others(i)?, k)))?;
        Ok(Self {
            k,
            rows: nearest.iter().flatten().map(|&(_, row)| row).collect(),
            distances: nearest.iter().flatten().map(|&(distance, _)| distance).collect(),
        })
    }
}

/// The `k` smallest, ascending.
fn smallest(mut all: Vec<(f64, u32)>, k: usize) -> Vec<(f64, u32)> {
    let order = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if k < all.len() {
        all.select_nth_unstable_by(k - 1, order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}

/// Symmetric probabilities `p_ij`, sparse, that sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Affinities {
    /// Where each row starts in `columns`; one more entry closes the last.
    start: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Affinities {
    /// The affinities of `features` `[n, d]` at `perplexity`, from exact nearest neighbours.
    ///
    /// # Errors
    /// [`Error::Input`] for fewer than 2 rows, [`Error::Parameter`] for a perplexity below 1 or above `n - 1`,
    /// [`Error::NotFinite`], [`Error::Cancelled`].
    pub fn from_features(features: &Matrix, perplexity: f64, control: &Control) -> Result<Self> {
        features.check_finite("features")?;
        let n = features.rows();
        if n < 2 {
            return Err(Error::input("features", "at least 2 rows", n));
        }
        if !(1.0..=(n - 1) as f64).contains(&perplexity) {
            return Err(Error::parameter("perplexity", format!("1 to {}", n - 1), perplexity));
        }
        let features = &*InRange::differences(features).features;
        let neighbours = if n <= super::KEPT {
            Neighbours::from_gram(&Gram::centred(features, control)?, perplexity, control)?
        } else {
            Neighbours::from_blocks(features, perplexity, control)?
        };
        Self::new(&neighbours, perplexity, control)
    }

    /// `p_ij = (p_{j|i} + p_{i|j}) / 2n` from conditional probabilities at `perplexity`.
    pub(super) fn new(neighbours: &Neighbours, perplexity: f64, control: &Control) -> Result<Self> {
        let k = neighbours.k;
        let n = neighbours.rows.len() / k;
        let mut conditional = neighbours.distances.clone();
        loops::try_parts(&mut conditional, k, 16, |_, row| {
            control.check()?;
            conditional_row(row, perplexity);
            Ok::<_, Error>(())
        })?;
        // Every pair once from each side; a row's entries meet in the order of columns.
        let mut start = vec![0usize; n + 1];
        for (at, &j) in neighbours.rows.iter().enumerate() {
            start[at / k + 1] += 1;
            start[j as usize + 1] += 1;
        }
        for i in 0..n {
            start[i + 1] += start[i];
        }
        let mut next = start.clone();
        let mut entries = vec![(0u32, 0.0f64); start[n]];
        for (at, &j) in neighbours.rows.iter().enumerate() {
            let (i, j, p) = (at / k, j as usize, conditional[at]);
            entries[next[i]] = (j as u32, p);
            entries[next[j]] = (i as u32, p);
            next[i] += 1;
            next[j] += 1;
        }
        let mut out = Self { start: vec![0], columns: Vec::new(), values: Vec::new() };
        let scale = 1.0 / (2.0 * n as f64);
        for bounds in start.windows(2) {
            control.check()?;
            let row = &mut entries[bounds[0]..bounds[1]];
            sorting::sort_by(row, |a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            for pair in row.chunk_by(|a, b| a.0 == b.0) {
                out.columns.push(pair[0].0);
                out.values.push(pair.iter().map(|entry| entry.1).sum::<f64>() * scale);
            }
            out.start.push(out.columns.len());
        }
        Ok(out)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.start.len() - 1
    }

    /// Column and probability of each stored entry of row `i`, columns ascending. Panics when `i >= rows`, as slices do.
    pub fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.start[i]..self.start[i + 1];
        self.columns[range.clone()].iter().map(|&j| j as usize).zip(self.values[range].iter().copied())
    }
}

/// Turns a row's squared distances, ascending, into `p_{j|i}` with entropy `ln(perplexity)`, by bisection on the
/// bandwidth.
///
/// Distances are shifted by their least one, which cancels in the probabilities: in 49,152 dimensions all distances are large and
/// alike, and `exp(-beta d)` of each would be 0. They are scaled by their mean, so that the search starts near its end.
fn conditional_row(row: &mut [f64], perplexity: f64) {
    let least = row.first().copied().unwrap_or(0.0);
    let mean = row.iter().map(|d| d - least).sum::<f64>() / row.len() as f64;
    // All alike, or no fewer neighbours wanted than there are: uniform.
    if mean <= 0.0 || perplexity >= row.len() as f64 {
        row.fill(1.0 / row.len() as f64);
        return;
    }
    row.iter_mut().for_each(|d| *d = (*d - least) / mean);
    let target = perplexity.ln();
    let (mut low, mut high, mut beta) = (0.0f64, f64::INFINITY, 1.0f64);
    for _ in 0..SEARCH {
        let (mut sum, mut weighted) = (0.0, 0.0);
        for &d in row.iter() {
            let p = (-beta * d).exp();
            sum += p;
            weighted += p * d;
        }
        let entropy = sum.ln() + beta * weighted / sum;
        if (entropy - target).abs() < TOLERANCE {
            break;
        }
        if entropy > target {
            low = beta;
            beta = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * beta };
        } else {
            high = beta;
            beta = 0.5 * (low + high);
        }
        if !beta.is_finite() {
            // More nearest neighbours at one distance than perplexity asks for: they share alike.
            beta = low;
            break;
        }
    }
    let mut sum = 0.0;
    for d in row.iter_mut() {
        *d = (-beta * *d).exp();
        sum += *d;
    }
    row.iter_mut().for_each(|p| *p /= sum);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand::RngExt as _;

    fn random(n: usize, d: usize) -> Matrix {
        let mut rng = Seed(4).rng();
        Matrix::new(n, d, (0..n * d).map(|_| rng.random::<f32>()).collect()).unwrap()
    }

    #[test]
    fn rows_have_the_perplexity() {
        for perplexity in [1.5, 5.0, 30.0] {
            let mut row: Vec<f64> = (0..90).map(|i| 1e9 + (i as f64).powf(1.5)).collect();
            conditional_row(&mut row, perplexity);
            let entropy: f64 = row.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
            assert!((entropy.exp() / perplexity - 1.0).abs() < 1e-6);
            assert!(row.windows(2).all(|w| w[0] >= w[1]));
        }
    }

    #[test]
    fn odd_rows_are_defined() {
        let mut row = vec![3.0; 4];
        conditional_row(&mut row, 2.0);
        assert_eq!(row, [0.25; 4], "all alike");
        let mut row = vec![0.0, 0.0, 0.0, 1.0];
        conditional_row(&mut row, 2.0);
        assert!((row[..3].iter().sum::<f64>() - 1.0).abs() < 1e-9, "more duplicates than perplexity: {row:?}");
        assert!(row.iter().all(|p| p.is_finite()));
        let mut row = vec![1.0, 2.0, 3.0];
        conditional_row(&mut row, 3.0);
        assert_eq!(row, [1.0 / 3.0; 3], "perplexity of all neighbours");
    }

    #[test]
    fn symmetric_and_sum_to_one() {
        let p = Affinities::from_features(&random(80, 12), 10.0, &Control::default()).unwrap();
        let total: f64 = (0..80).flat_map(|i| p.row(i)).map(|(_, p)| p).sum();
        assert!((total - 1.0).abs() < 1e-12);
        for i in 0..80 {
            for (j, value) in p.row(i) {
                assert_ne!(i, j);
                assert_eq!(p.row(j).find(|(k, _)| *k == i).unwrap().1, value);
            }
        }
    }

    #[test]
    fn blocks_find_the_same_neighbours() {
        let x = random(150, 1100);
        let whole =
            Neighbours::from_gram(&Gram::centred(&x, &Control::default()).unwrap(), 10.0, &Control::default()).unwrap();
        let blocks = Neighbours::from_blocks(&x, 10.0, &Control::default()).unwrap();
        assert_eq!(whole.rows, blocks.rows);
        for (a, b) in whole.distances.iter().zip(&blocks.distances) {
            assert!((a - b).abs() < 1e-3);
        }
    }

    #[test]
    fn bad_values_are_errors() {
        let from = |x: &Matrix, perplexity| Affinities::from_features(x, perplexity, &Control::default());
        assert!(from(&random(1, 2), 1.0).is_err());
        assert!(from(&random(5, 2), 4.5).is_err());
        assert!(from(&random(5, 2), 0.5).is_err());
        assert!(from(&random(5, 2), f64::NAN).is_err());
        assert!(from(&random(5, 2), 4.0).is_ok());
    }
}
