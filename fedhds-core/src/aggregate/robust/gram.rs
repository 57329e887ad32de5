//! Inner products and distances of updates in product space: of what the factors do together, whatever their gauge.

use super::held::Held;
use crate::aggregate::product::dot;
use crate::loops;
use crate::types::Adapter;
use std::collections::BTreeMap;

/// `<P_i - P_g, P_j - P_g>` of all pairs of updates, in the Frobenius inner product summed over modules, where `P = s B A` is a module's product
/// with its scale and `P_g` the global adapter's. A tensor whose name has no partner (`lora_A` and `lora_B` of one path) is its own product.
///
/// `P_i - P_g = s (dB_i A_i + B_g dA_i)` is a product of rank `2 r` again: with `L_i = [dB_i, B_g]` and `R_i = [A_i; dA_i]`,
/// `<P_i - P_g, P_j - P_g> = s^2 tr((L_i^T L_j)(R_j R_i^T))`, which takes `4 r^2 (m + n)` products for a module of `m` by `n`, and no matrix of that size. Measured
/// from the global adapter, since the steps of a round are short beside the adapter: differences of whole products would lose half of their digits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gram {
    n: usize,
    /// `[n, n]`, symmetric.
    values: Vec<f64>,
}

/// A matrix of the product `left^T right` by the rows of both: `[k, m]` and `[k, n]`.
struct Factored {
    left: Vec<Vec<f64>>,
    right: Vec<Vec<f64>>,
}

impl Factored {
    fn inner(&self, other: &Self) -> f64 {
        let mut sum = 0.0;
        for (left, right) in self.left.iter().zip(&self.right) {
            for (other_left, other_right) in other.left.iter().zip(&other.right) {
                sum += dot(left, other_left) * dot(right, other_right);
            }
        }
        sum
    }
}

/// Where a product's factors are: their names, or that of a tensor which is its own product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Product {
    Pair { a: String, b: String },
    Alone(String),
}

/// The products of an adapter in the order of their tensors' names.
pub(super) fn products(adapter: &Adapter) -> Vec<Product> {
    let swapped = |name: &str, from: &str, to: &str| -> Option<String> {
        name.split('.')
            .any(|part| part == from)
            .then(|| name.split('.').map(|part| if part == from { to } else { part }).collect::<Vec<_>>().join("."))
    };
    let fits = |a: &str, b: &str| match (adapter.tensors.get(a), adapter.tensors.get(b)) {
        (Some(a), Some(b)) => a.shape[0] == b.shape[1],
        _ => false,
    };
    let mut found = Vec::new();
    let mut partners: BTreeMap<String, ()> = BTreeMap::new();
    for name in adapter.tensors.keys() {
        match swapped(name, "lora_A", "lora_B").filter(|b| fits(name, b)) {
            Some(b) => {
                partners.insert(b.clone(), ());
                found.push(Product::Pair { a: name.clone(), b });
            }
            None => found.push(Product::Alone(name.clone())),
        }
    }
    found.retain(|product| !matches!(product, Product::Alone(name) if partners.contains_key(name)));
    found
}

/// The rows of a `[rows, cols]` matrix.
fn rows(values: &[f32], cols: usize) -> Vec<Vec<f64>> {
    let wide = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect();
    if cols == 0 { Vec::new() } else { values.chunks_exact(cols).map(wide).collect() }
}

/// Its columns.
fn columns(values: &[f32], cols: usize) -> Vec<Vec<f64>> {
    (0..cols).map(|at| values.iter().skip(at).step_by(cols).map(|&value| f64::from(value)).collect()).collect()
}

fn differences(to: &[Vec<f64>], from: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |(to, from): (&Vec<f64>, &Vec<f64>)| to.iter().zip(from).map(|(to, from)| to - from).collect();
    to.iter().zip(from).map(row).collect()
}

/// `P - P_g` without its scale; none where a tensor is missing.
fn step(product: &Product, global: &Adapter, adapter: &Adapter) -> Option<Factored> {
    let both = |name: &String| Some((global.tensors.get(name)?, adapter.tensors.get(name)?));
    Some(match product {
        Product::Pair { a, b } => {
            let ((a_from, a), (b_from, b)) = (both(a)?, both(b)?);
            let (right, right_from) = (rows(&a.data, a.shape[1]), rows(&a_from.data, a.shape[1]));
            let (left, left_from) = (columns(&b.data, b.shape[1]), columns(&b_from.data, b.shape[1]));
            let (step_left, step_right) = (differences(&left, &left_from), differences(&right, &right_from));
            Factored { left: [step_left, left_from].concat(), right: [right, step_right].concat() }
        }
        Product::Alone(name) => {
            let (from, to) = both(name)?;
            let vector = |tensor: &crate::types::AdapterTensor| rows(&tensor.data, tensor.data.len());
            Factored { left: vec![vec![1.0]], right: differences(&vector(to), &vector(from)) }
        }
    })
}

impl Gram {
    /// Of a round's updates.
    pub(super) fn of(held: &Held) -> Self {
        let n = held.len();
        let mut values = vec![0.0; n * n];
        let scale = f64::from(held.global.config.scaling());
        for product in products(&held.global) {
            let factor = if matches!(product, Product::Pair { .. }) { scale * scale } else { 1.0 };
            let steps: Vec<Factored> =
                held.updates.iter().filter_map(|update| step(&product, &held.global, &update.adapter)).collect();
            loops::parts(&mut values, n, 1, |i, row| {
                let Some(own) = steps.get(i) else { return };
                for (sum, other) in row.iter_mut().zip(steps.iter().take(i + 1)) {
                    *sum += factor * own.inner(other);
                }
            });
        }
        for i in 0..n {
            for j in i + 1..n {
                values[i * n + j] = values[j * n + i];
            }
        }
        Self { n, values }
    }

    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// The inner product of the steps of two updates.
    pub(super) fn inner(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.n + j]
    }

    /// `|P_i - P_j|^2`: `g_ii + g_jj - 2 g_ij`, at least 0.
    pub(super) fn squared_distance(&self, i: usize, j: usize) -> f64 {
        if i == j {
            return 0.0;
        }
        (self.inner(i, i) + self.inner(j, j) - 2.0 * self.inner(i, j)).max(0.0)
    }

    /// The others and itself by their distance from update `i`; equally far ones in the order of ids, itself first.
    pub(super) fn nearest(&self, i: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.n).collect();
        let key = |j: usize| (j != i, self.squared_distance(i, j));
        crate::sorting::sort_by(&mut order, |&x, &y| {
            let (x, y) = (key(x), key(y));
            x.0.cmp(&y.0).then(x.1.total_cmp(&y.1))
        });
        order
    }

    /// The most bytes of it while it is made, for so many clients and values: all pairs, and the factors of one module in f64, twice over.
    pub(super) fn memory(clients: usize, values: usize) -> u64 {
        let clients = clients as u64;
        clients.saturating_mul(clients).saturating_mul(8).saturating_add(clients.saturating_mul(32 * values as u64))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::{AdapterTensor, Round, Seed};
    use rand::RngExt as _;

    /// Two modules of rank 2 and different sizes, and a tensor alone.
    fn random(seed: u64) -> Adapter {
        let mut rng = Seed(seed).rng();
        let mut tensor = |shape: [usize; 2]| {
            let data = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0f32..1.0)).collect();
            AdapterTensor { shape, data }
        };
        let mut adapter = layer(2, &[0.0; 2], &[0.0; 2]);
        adapter.config.lora_alpha = 6.0;
        adapter.tensors = [
            (A.to_owned(), tensor([2, 5])),
            (B.to_owned(), tensor([11, 2])),
            // A square one, which shapes would not tell apart.
            ("layers.1.q_proj.lora_A.weight".to_owned(), tensor([2, 2])),
            ("layers.1.q_proj.lora_B.weight".to_owned(), tensor([2, 2])),
            ("norm.weight".to_owned(), tensor([1, 3])),
        ]
        .into();
        adapter
    }

    /// All products of an adapter, written out.
    fn dense(adapter: &Adapter) -> Vec<f64> {
        let mut all = Vec::new();
        for layer in 0..2 {
            let of = |factor: &str| &adapter.tensors[&format!("layers.{layer}.q_proj.lora_{factor}.weight")];
            let (a, b) = (of("A"), of("B"));
            for i in 0..b.shape[0] {
                for j in 0..a.shape[1] {
                    let sum: f64 =
                        (0..2).map(|p| f64::from(b.data[i * 2 + p]) * f64::from(a.data[p * a.shape[1] + j])).sum();
                    all.push(f64::from(adapter.config.scaling()) * sum);
                }
            }
        }
        all.extend(adapter.tensors["norm.weight"].data.iter().map(|&value| f64::from(value)));
        all
    }

    fn held(global: &Adapter, adapters: impl IntoIterator<Item = Adapter>) -> Held {
        let mut held = Held::begin(global, Round(0));
        updates(adapters).iter().for_each(|update| held.add(update).unwrap());
        held
    }

    #[test]
    fn distances_are_those_of_the_products_written_out() {
        let adapters: Vec<Adapter> = (1..5).map(random).collect();
        let gram = Gram::of(&held(&random(0), adapters.clone()));
        let dense: Vec<Vec<f64>> = adapters.iter().map(dense).collect();
        for i in 0..4 {
            for j in 0..4 {
                let expected: f64 = dense[i].iter().zip(&dense[j]).map(|(x, y)| (x - y).powi(2)).sum();
                let got = gram.squared_distance(i, j);
                assert!((got - expected).abs() <= 1e-10 * expected.max(1.0), "{i} {j}: {got} {expected}");
            }
        }
    }

    #[test]
    fn the_gauge_of_the_factors_does_not_matter() {
        let mut gauge = random(1);
        for (name, tensor) in &mut gauge.tensors {
            let factor = if name.contains("lora_A") {
                1.0 / 64.0
            } else if name.contains("lora_B") {
                64.0
            } else {
                1.0
            };
            tensor.data.iter_mut().for_each(|value| *value *= factor);
        }
        let gram = Gram::of(&held(&random(0), [random(1), gauge, random(2)]));
        assert!(gram.squared_distance(0, 1) < 1e-20 * gram.squared_distance(0, 2), "{gram:?}");
        assert!((gram.squared_distance(1, 2) / gram.squared_distance(0, 2) - 1.0).abs() < 1e-10);
    }

    #[test]
    fn equal_updates_are_at_no_distance_and_the_ends_of_the_range_are_finite() {
        let huge = vector(&[3e38, -3e38, 1.0]);
        let gram = Gram::of(&held(&vector(&[-3e38, 3e38, 0.0]), [huge.clone(), huge, vector(&[0.0; 3])]));
        assert_eq!((gram.squared_distance(0, 1), gram.len()), (0.0, 3));
        assert!(gram.squared_distance(0, 2) > 1e77 && gram.values.iter().all(|value| value.is_finite()));
        assert_eq!([gram.nearest(0), gram.nearest(1), gram.nearest(2)], [vec![0, 1, 2], vec![1, 0, 2], vec![2, 0, 1]]);
        let wide = layer(1, &[3e38; 4], &[3e38; 4]);
        let gram = Gram::of(&held(&layer(1, &[0.0; 4], &[0.0; 4]), [wide]));
        assert!(gram.inner(0, 0).is_finite() && gram.inner(0, 0) > 1e150);
    }

    #[test]
    fn partners_are_found_by_name_and_the_rest_stands_alone() {
        let names = |adapter: &Adapter| products(adapter);
        let mut lone = random(0);
        lone.tensors.remove(B);
        let found = names(&lone);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], Product::Alone(A.to_owned()));
        assert_eq!(names(&random(0)).len(), 3);
    }
}
