//! The products of LoRA factors: what a module's update `s B A` is, whatever its two factors are.
//!
//! The target of an aggregation is `W* = sum_k p_k s_k B_k A_k` for each module, with the clients' shares `p_k` and scales `s_k`. It is as large as
//! the layer, `[out, in]`, and is never formed: its terms are stacked, and what is asked of it comes from small matrices.

use crate::error::{Error, Result};
use crate::loops;
use crate::spectrum::spectrum;
use crate::types::{Adapter, AdapterTensor, Control, Factor, Seed};
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row depends on those before it where so much of it, or less, is left.
const DEPENDENT: f64 = 1e-12;

/// Where the two factors of a module are in an adapter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Module {
    /// The path of the module, for example `layers.0.q_proj`.
    pub(super) path: String,
    /// The name of A, `[r, inputs]`.
    pub(super) a: String,
    /// The name of B, `[outputs, r]`.
    pub(super) b: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// A tensor's name and shape.
type Named<'a> = (&'a str, [usize; 2]);

/// The modules of an adapter in the order of their paths, by the names of its tensors.
///
/// # Errors
/// [`Error::Adapter`] that names a tensor which is neither A nor B, whose other factor is missing, or whose ranks differ.
pub(super) fn modules(adapter: &Adapter) -> Result<Vec<Module>> {
    let mut pairs: BTreeMap<&str, [Option<Named<'_>>; 2]> = BTreeMap::new();
    for (name, tensor) in &adapter.tensors {
        let Some((path, factor)) = Factor::of(name) else {
            return Err(Error::adapter(name, "a factor, with `lora_A` or `lora_B` in its name", "neither"));
        };
        let place = &mut pairs.entry(path).or_default()[usize::from(factor == Factor::B)];
        if let Some((other, _)) = place {
            return Err(Error::adapter(name, format!("one such factor of `{path}`"), format!("`{other}` beside it")));
        }
        *place = Some((name, tensor.shape));
    }
    let module = |(path, pair): (&str, [Option<Named<'_>>; 2])| match pair {
        [Some((a, [r, inputs])), Some((b, [outputs, columns]))] if r == columns => {
            Ok(Module { path: path.to_owned(), a: a.to_owned(), b: b.to_owned(), inputs, outputs })
        }
        [Some((_, a)), Some((b, shape))] => {
            Err(Error::adapter(b, format!("{} columns, one for each row of its A", a[0]), format!("shape {shape:?}")))
        }
        [Some((name, _)), None] => Err(Error::adapter(name, "its `lora_B` beside it", "none")),
        [None, Some((name, _))] => Err(Error::adapter(name, "its `lora_A` beside it", "none")),
        [None, None] => Err(Error::adapter(path, "two factors", "none")),
    };
    pairs.into_iter().map(module).collect()
}

impl Module {
    /// A and B of this module in an adapter that has them.
    pub(super) fn factors<'a>(&self, adapter: &'a Adapter) -> Result<(&'a AdapterTensor, &'a AdapterTensor)> {
        let fetch = |name: &str| adapter.tensors.get(name).ok_or_else(|| Error::adapter(name, "a tensor", "none"));
        Ok((fetch(&self.a)?, fetch(&self.b)?))
    }

    /// Puts A and B of this module into an adapter.
    pub(super) fn set(&self, adapter: &mut Adapter, (a, b): (AdapterTensor, AdapterTensor)) {
        adapter.tensors.insert(self.a.clone(), a);
        adapter.tensors.insert(self.b.clone(), b);
    }
}

/// What `work` makes of each module, in their order; several modules side by side.
///
/// # Errors
/// That of the first module that failed.
pub(super) fn of_modules<T: Send>(modules: &[Module], work: impl Fn(&Module) -> Result<T> + Sync) -> Result<Vec<T>> {
    let made = loops::try_map(modules.len(), 1, |at| work(&modules[at]).map(Some))?;
    Ok(made.into_iter().flatten().collect())
}

/// The sum of scalar products, in eight lanes: the order of the sums is the same on every machine.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// `y += share * x`.
fn add(y: &mut [f64], share: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += share * x);
}

/// A sum of rank-one terms `b_j a_j^T` of one module, `[outputs, inputs]`: a weighted sum of products, stacked.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    inputs: usize,
    outputs: usize,
    /// Rows of A, `[k, inputs]`.
    a: Vec<Vec<f64>>,
    /// Columns of B with their weights, `[k, outputs]`.
    b: Vec<Vec<f64>>,
}

/// The first singular directions of a stack.
#[derive(Debug, Clone)]
pub(super) struct Directions {
    /// Orthonormal rows `v_j`, `[directions, inputs]`, the largest singular value first, each with its largest entry positive.
    pub(super) right: Vec<Vec<f64>>,
    /// `s_j u_j`, `[directions, outputs]`.
    pub(super) left: Vec<Vec<f64>>,
    /// The squared Frobenius norm of the whole stack.
    pub(super) square: f64,
    /// That of what these directions leave out.
    pub(super) lost: f64,
}

impl Stack {
    /// An empty sum: zero.
    pub(super) fn new(module: &Module) -> Self {
        Self { inputs: module.inputs, outputs: module.outputs, a: Vec::new(), b: Vec::new() }
    }

    /// Adds `sum_j weight(j) b_j a_j^T` over the ranks of a pair of factors. Ranks of weight 0 are no terms.
    pub(super) fn push(&mut self, a: &AdapterTensor, b: &AdapterTensor, weight: impl Fn(usize) -> f64) {
        let r = a.shape[0];
        for (j, row) in a.data.chunks_exact(self.inputs.max(1)).enumerate() {
            let weight = weight(j);
            if weight == 0.0 {
                continue;
            }
            self.a.push(row.iter().map(|&value| f64::from(value)).collect());
            let column = b.data.iter().skip(j).step_by(r);
            self.b.push(column.map(|&value| weight * f64::from(value)).collect());
        }
    }

    /// The first `rank` singular directions, fewer where the stack spans fewer.
    ///
    /// With an orthonormal basis Q of the rows of A, `sum b_j a_j^T = C Q` for the narrow `C = B (A Q^T)`. The eigenvectors V of `C^T C` give the
    /// right singular vectors `V^T Q` and the scaled left ones `C V`: nothing is divided by a singular value, so that small ones stay exact.
    ///
    /// # Errors
    /// [`Error::Stage`] where the eigenvalues do not converge.
    pub(super) fn directions(&self, rank: usize) -> Result<Directions> {
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for row in &self.a {
            if basis.len() == self.inputs {
                break;
            }
            basis.extend(independent(row.clone(), &basis));
        }
        let mut narrow = vec![vec![0.0; self.outputs]; basis.len()];
        for (a, b) in self.a.iter().zip(&self.b) {
            narrow.iter_mut().zip(&basis).for_each(|(c, q)| add(c, dot(a, q), b));
        }
        // Squares of what is near the end of the range of f32 stay within that of f64, also inside of the decomposition.
        let largest = narrow.iter().flatten().fold(0.0f64, |most, value| most.max(value.abs()));
        let unit = if largest > 0.0 { largest } else { 1.0 };
        narrow.iter_mut().flatten().for_each(|value| *value /= unit);
        let n = basis.len();
        let gram: Vec<f64> = (0..n * n).map(|at| dot(&narrow[at / n], &narrow[at % n])).collect();
        let square: f64 = (0..n).map(|i| gram[i * n + i]).sum();
        let (values, vectors) = spectrum(Arc::new(gram), n, &Control::default())?;
        let kept = rank.min(n);
        // Eigenvalues ascend.
        let lost: f64 = values.iter().take(n - kept).map(|value| value.max(0.0)).sum();
        let (mut right, mut left) = (Vec::with_capacity(rank), Vec::with_capacity(rank));
        for j in (0..n).rev().take(kept) {
            let (mut v, mut u) = (vec![0.0; self.inputs], vec![0.0; self.outputs]);
            for (i, (q, c)) in basis.iter().zip(&narrow).enumerate() {
                add(&mut v, vectors[(i, j)], q);
                add(&mut u, unit * vectors[(i, j)], c);
            }
            let tip = v.iter().fold(0.0f64, |tip, &value| if value.abs() > tip.abs() { value } else { tip });
            if tip < 0.0 {
                v.iter_mut().chain(&mut u).for_each(|value| *value = -*value);
            }
            right.push(v);
            left.push(u);
        }
        let unit = unit * unit;
        Ok(Directions { right, left, square: square * unit, lost: lost * unit })
    }
}

/// What is left of a row outside of the span of an orthonormal basis, at unit length; none where it lies in it. Gram-Schmidt, twice for
/// orthogonality.
fn independent(mut row: Vec<f64>, basis: &[Vec<f64>]) -> Option<Vec<f64>> {
    let before = dot(&row, &row).sqrt();
    for q in [basis, basis].into_iter().flatten() {
        let share = dot(q, &row);
        add(&mut row, -share, q);
    }
    let norm = dot(&row, &row).sqrt();
    if norm <= DEPENDENT * before || norm == 0.0 {
        return None;
    }
    row.iter_mut().for_each(|value| *value /= norm);
    Some(row)
}

impl Directions {
    /// With so many directions: those that are missing have random rows, orthogonal to the others where there is room, and nothing on the
    /// left. A row of zeros would never learn again.
    pub(super) fn completed(mut self, rank: usize, inputs: usize, outputs: usize, seed: Seed) -> Self {
        let mut rng = seed.rng();
        while self.right.len() < rank {
            let row: Vec<f64> = (0..inputs).map(|_| rng.random_range(-1.0f64..1.0)).collect();
            let unit = independent(row.clone(), &self.right).or_else(|| independent(row, &[]));
            self.right.push(unit.unwrap_or_else(|| vec![0.0; inputs]));
            self.left.push(vec![0.0; outputs]);
        }
        self
    }

    /// The factors `A = norm * V^T`, `[r, inputs]`, and `B = U S / (norm * scale)`, `[outputs, r]`, so that `scale * B A` is the product.
    pub(super) fn factors(&self, norm: f64, scale: f64) -> (AdapterTensor, AdapterTensor) {
        let (rank, inputs) = (self.right.len(), self.right.first().map_or(0, Vec::len));
        let outputs = self.left.first().map_or(0, Vec::len);
        let a = self.right.iter().flatten().map(|value| (norm * value) as f32).collect();
        let b = (0..outputs * rank).map(|at| (self.left[at % rank][at / rank] / (norm * scale)) as f32).collect();
        (AdapterTensor { shape: [rank, inputs], data: a }, AdapterTensor { shape: [outputs, rank], data: b })
    }
}

/// The seed of random rows for a module: of its factors at the start of the round, which come from the experiment's seed. An aggregator has
/// no seed of its own.
pub(super) fn seed_of(module: &Module, global: &Adapter) -> Result<Seed> {
    let (a, b) = module.factors(global)?;
    let mut hasher = blake3::Hasher::new();
    for value in a.data.iter().chain(&b.data) {
        hasher.update(&value.to_le_bytes());
    }
    Ok(Seed(crate::types::seed::first_eight(&hasher)).derive(&module.path, 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
