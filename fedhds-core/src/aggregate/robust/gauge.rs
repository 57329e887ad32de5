//! Factors that say the same product in another way, brought to the form that the others have.

use super::gram::{Gram, Product, products};
use super::held::Held;
use super::step::{Parts, bounds, draw_parts, lengths, share};
use crate::types::{Adapter, AdapterTensor, ClientId};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Medians of the round's steps beyond which factors count as far. Honest clients begin from one adapter, so that their factors lie near
/// each other; four medians leave room for those with much data.
const FAR: f64 = 4.0;

/// A pivot below this share of its column's largest entry is none.
const SINGULAR: f64 = 1e-10;

/// The updates of a round as rules that choose by product take their means: for `(B, A)` and `(B G, G^-1 A)` the product is one and the same, so that
/// distances of products let any `G` pass, and the mean of such factors would be of nothing.
///
/// An update whose A or B lies farther from the global adapter than four medians is written in the gauge of the update that is nearest to
/// it by product among those that do not: `G` is the least-squares solution of `A_k = G A_ref`, and then `(B_k G, G^-1 A_k)` is as good. What
/// lies too far still is drawn back to the bound. Everything else is taken as it came.
pub(super) fn in_one_gauge<'a>(
    held: &'a Held,
    gram: &Gram,
    limited: &mut BTreeMap<ClientId, String>,
) -> Vec<Cow<'a, Adapter>> {
    let all: Vec<Parts> = held.updates.iter().map(|update| lengths(&held.global, &update.adapter)).collect();
    let most = bounds(&all, FAR);
    let is_far = |lengths: &Parts| lengths.iter().zip(&most).any(|(length, most)| length > most);
    let near: Vec<bool> = all.iter().map(|lengths| !is_far(lengths)).collect();
    let mut taken = Vec::with_capacity(held.len());
    for (k, (update, own)) in held.updates.iter().zip(&all).enumerate() {
        if near[k] {
            taken.push(Cow::Borrowed(&update.adapter));
            continue;
        }
        let reference = gram.nearest(k).into_iter().find(|&other| near[other]);
        let reference = reference.and_then(|at| held.updates.get(at)).map_or(&held.global, |other| &other.adapter);
        let mut adapter = aligned(&update.adapter, reference);
        let after = lengths(&held.global, &adapter);
        if is_far(&after) {
            draw_parts(&held.global, &mut adapter, std::array::from_fn(|part| share(after[part], most[part])));
        }
        let [a, b, other] = *own;
        let text = format!(
            "its factors lie {a:.3e} (A), {b:.3e} (B) and {other:.3e} (others) from the global ones, {FAR} medians are {:.3e}, {:.3e} and {:.3e}: {}",
            most[0],
            most[1],
            most[2],
            if is_far(&after) { "drawn back" } else { "their product is written as the others write theirs" }
        );
        limited.insert(update.client, text);
        taken.push(Cow::Owned(adapter));
    }
    taken
}

/// An adapter of the same products in the gauge of another, module by module; one whose A is no invertible combination of the other's stays.
fn aligned(adapter: &Adapter, reference: &Adapter) -> Adapter {
    let mut aligned = adapter.clone();
    for product in products(adapter) {
        let Product::Pair { a, b } = product else { continue };
        let (Some(own_a), Some(own_b), Some(to)) =
            (adapter.tensors.get(&a), adapter.tensors.get(&b), reference.tensors.get(&a))
        else {
            continue;
        };
        if let Some((new_a, new_b)) = regauged(own_a, own_b, to) {
            aligned.tensors.insert(a, AdapterTensor { shape: own_a.shape, data: new_a });
            aligned.tensors.insert(b, AdapterTensor { shape: own_b.shape, data: new_b });
        }
    }
    aligned
}

/// `(G^-1 A, B G)` with the least-squares solution `G = A A_ref^T (A_ref A_ref^T)^-1`; none where one of the two has no inverse, or a
/// value leaves the range of f32.
fn regauged(a: &AdapterTensor, b: &AdapterTensor, to: &AdapterTensor) -> Option<(Vec<f32>, Vec<f32>)> {
    let [r, inputs] = a.shape;
    if r == 0 || inputs == 0 || to.shape != a.shape {
        return None;
    }
    let products = |x: &AdapterTensor| -> Vec<f64> {
        let row = |tensor: &'_ AdapterTensor, at: usize| tensor.data[at * inputs..(at + 1) * inputs].to_vec();
        let dot = |x: Vec<f32>, y: Vec<f32>| x.iter().zip(y).map(|(&x, y)| f64::from(x) * f64::from(y)).sum::<f64>();
        (0..r * r).map(|at| dot(row(to, at / r), row(x, at % r))).collect()
    };
    // (A_ref A_ref^T) G^T = A_ref A^T.
    let turned = solve(products(to), products(a), r, r)?;
    let g: Vec<f64> = (0..r * r).map(|at| turned[at % r * r + at / r]).collect();
    let wide: Vec<f64> = a.data.iter().map(|&value| f64::from(value)).collect();
    let new_a = solve(g.clone(), wide, r, inputs)?;
    let row = |row: &[f32]| -> Vec<f64> {
        (0..r).map(|q| row.iter().enumerate().map(|(p, &value)| f64::from(value) * g[p * r + q]).sum()).collect()
    };
    let new_b: Vec<f64> = b.data.chunks_exact(r).flat_map(row).collect();
    let narrow = |values: Vec<f64>| -> Option<Vec<f32>> {
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        values.iter().all(|value| value.is_finite()).then_some(values)
    };
    Some((narrow(new_a)?, narrow(new_b)?))
}

/// `X` of `M X = Y`, `[r, r] x [r, columns]`, by elimination with row pivots; none where `M` has no inverse, as far as f64 can tell.
fn solve(mut m: Vec<f64>, mut y: Vec<f64>, r: usize, columns: usize) -> Option<Vec<f64>> {
    let largest = m.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    for at in 0..r {
        let pivot = (at..r).max_by(|&x, &z| m[x * r + at].abs().total_cmp(&m[z * r + at].abs()))?;
        let value = m[pivot * r + at];
        if !value.is_finite() || value.abs() <= SINGULAR * largest {
            return None;
        }
        if pivot != at {
            (0..r).for_each(|column| m.swap(at * r + column, pivot * r + column));
            (0..columns).for_each(|column| y.swap(at * columns + column, pivot * columns + column));
        }
        for row in (0..r).filter(|&row| row != at) {
            let factor = m[row * r + at] / value;
            if factor == 0.0 {
                continue;
            }
            (at..r).for_each(|column| m[row * r + column] -= factor * m[at * r + column]);
            (0..columns).for_each(|column| y[row * columns + column] -= factor * y[at * columns + column]);
        }
    }
    for row in 0..r {
        let value = m[row * r + row];
        y[row * columns..(row + 1) * columns].iter_mut().for_each(|entry| *entry /= value);
    }
    y.iter().all(|value| value.is_finite()).then_some(y)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::Round;

    fn held(global: &Adapter, adapters: impl IntoIterator<Item = Adapter>) -> Held {
        let mut held = Held::begin(global, Round(0));
        updates(adapters).iter().for_each(|update| held.add(update).unwrap());
        held
    }

    /// What the rules would take, and who is named.
    fn taken(held: &Held) -> (Vec<Adapter>, BTreeMap<ClientId, String>) {
        let mut limited = BTreeMap::new();
        let taken = in_one_gauge(held, &Gram::of(held), &mut limited);
        (taken.into_iter().map(Cow::into_owned).collect(), limited)
    }

    #[test]
    fn another_gauge_of_an_honest_update_becomes_that_update() {
        let global = layer(2, &[1.0, 0.0, 0.5, 0.0, 1.0, 0.0], &[0.0; 4]);
        let honest = layer(2, &[1.1, 0.0, 0.5, 0.0, 1.0, 0.1], &[0.1, 0.0, 0.0, 0.2]);
        // (B G, G^-1 A) with G = [[0, 50], [-50, 0]].
        let gauge = layer(2, &[0.0, -0.02, -0.002, 0.022, 0.0, 0.01], &[0.0, 5.0, -10.0, 0.0]);
        let (taken, limited) = taken(&held(&global, [honest.clone(), honest.clone(), honest.clone(), gauge]));
        for (name, tensor) in &honest.tensors {
            near(&taken[3].tensors[name].data, &tensor.data, 1e-6);
        }
        assert_eq!(taken[0], honest, "what lies near is taken as it came");
        assert!(limited.len() == 1 && limited[&ClientId(3)].contains("as the others write"), "{limited:?}");
    }

    #[test]
    fn what_lies_too_far_in_any_gauge_is_drawn_back() {
        let global = layer(1, &[1.0, 0.0], &[0.0, 0.0]);
        let honest = |by: f32| layer(1, &[1.0 + by, 0.0], &[by, 0.0]);
        let far = layer(1, &[0.0, 0.0], &[1e30, 1e30]);
        let (taken, limited) = taken(&held(&global, [honest(0.1), honest(0.2), honest(0.3), far]));
        let after = lengths(&global, &taken[3]);
        assert!(after[0] <= 0.81 && after[1] <= 0.81, "{after:?}");
        assert!(limited[&ClientId(3)].contains("drawn back"), "{limited:?}");
    }

    #[test]
    fn equations_are_solved_or_have_no_inverse() {
        let x = solve(vec![0.0, 2.0, 4.0, 1.0], vec![2.0, 5.0], 2, 1).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 1.0).abs() < 1e-12, "{x:?}");
        assert_eq!(solve(vec![1.0, 2.0, 2.0, 4.0], vec![1.0, 1.0], 2, 1), None);
        assert_eq!(solve(vec![0.0], vec![1.0], 1, 1), None);
        assert_eq!(solve(vec![f64::INFINITY], vec![1.0], 1, 1), None);
    }
}
