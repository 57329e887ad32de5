//! How far updates lie from the global adapter, factor by factor, and how they are drawn back.

use super::held::Held;
use crate::aggregate::step::{draw_tensor, squared_distance};
use crate::sorting;
use crate::types::{Adapter, Factor};

/// What a tensor is in its adapter, by its name: A, B, or neither. Steps of A and of B are of different lengths (B starts at 0), so each is
/// measured against its own kind.
fn part(name: &str) -> usize {
    match Factor::of(name) {
        Some((_, Factor::A)) => 0,
        Some((_, Factor::B)) => 1,
        None => 2,
    }
}

/// A number for A, for B, and for the tensors that are neither.
pub(super) type Parts = [f64; 3];

/// How far an adapter lies from the global one, part by part.
pub(super) fn lengths(global: &Adapter, adapter: &Adapter) -> Parts {
    let mut squares = [0.0; 3];
    for ((name, from), to) in global.tensors.iter().zip(adapter.tensors.values()) {
        squares[part(name)] += squared_distance(from, to);
    }
    squares.map(f64::sqrt)
}

/// Draws each part of an adapter towards the global one, to so much of the way.
pub(super) fn draw_parts(global: &Adapter, adapter: &mut Adapter, shares: Parts) {
    for ((name, from), to) in global.tensors.iter().zip(adapter.tensors.values_mut()) {
        let share = shares[part(name)];
        if share < 1.0 {
            draw_tensor(from, to, share);
        }
    }
}

/// How much of a step of this length lies within a bound, in [0, 1].
pub(super) fn share(length: f64, bound: f64) -> f64 {
    if length > bound { bound / length } else { 1.0 }
}

/// The median; of two in the middle the smaller, so that of two values one alone cannot raise it. 0 of none.
pub(super) fn lower_median(mut values: Vec<f64>) -> f64 {
    sorting::sort_by(&mut values, f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The bound of each part: so many medians of how far the updates lie.
pub(super) fn bounds(lengths: &[Parts], multiple: f64) -> Parts {
    std::array::from_fn(|part| multiple * lower_median(lengths.iter().map(|lengths| lengths[part]).collect()))
}

/// `g + sum_k w_k (x_k - g)` over updates with their weights, summed in f64 in their order.
pub(super) fn mean<'a>(held: &Held, weighted: impl IntoIterator<Item = (f64, &'a Adapter)>) -> Adapter {
    let mut sums: Vec<Vec<f64>> = held.global.tensors.values().map(|tensor| vec![0.0; tensor.data.len()]).collect();
    for (weight, adapter) in weighted {
        for ((sum, from), to) in sums.iter_mut().zip(held.global.tensors.values()).zip(adapter.tensors.values()) {
            for ((sum, &from), &to) in sum.iter_mut().zip(&from.data).zip(&to.data) {
                *sum += weight * (f64::from(to) - f64::from(from));
            }
        }
    }
    let mut adapter = held.global.clone();
    for (tensor, sum) in adapter.tensors.values_mut().zip(sums) {
        tensor.data.iter_mut().zip(sum).for_each(|(value, step)| *value = (f64::from(*value) + step) as f32);
    }
    adapter
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::{A, B, layer};
    use super::*;

    #[test]
    fn parts_are_measured_and_drawn_by_themselves() {
        let (global, mut far) = (layer(1, &[0.0, 0.0], &[1.0, 1.0]), layer(1, &[3.0, 4.0], &[1.0, 3.0]));
        assert_eq!(lengths(&global, &far), [5.0, 2.0, 0.0]);
        draw_parts(&global, &mut far, [0.5, 1.0, 0.0]);
        assert_eq!((&far.tensors[A].data[..], &far.tensors[B].data[..]), (&[1.5, 2.0][..], &[1.0, 3.0][..]));
        assert_eq!([share(5.0, 2.5), share(2.0, 2.5), share(0.0, 0.0), share(1.0, 0.0)], [0.5, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_minority_does_not_raise_the_median() {
        assert_eq!(lower_median(vec![]), 0.0);
        assert_eq!([lower_median(vec![1e30, 2.0]), lower_median(vec![3.0, 1e30, 2.0])], [2.0, 3.0]);
        assert_eq!(lower_median(vec![1e30, 1.0, 1e30, 3.0]), 3.0);
    }
}
