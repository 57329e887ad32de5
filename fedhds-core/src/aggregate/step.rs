//! How far adapters of one shape lie apart, as vectors, and drawing one back towards another.

use crate::types::{Adapter, AdapterTensor};

/// The length of an adapter as one vector.
pub(crate) fn length(adapter: &Adapter) -> f64 {
    adapter.tensors.values().flat_map(|tensor| &tensor.data).map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// How far an adapter lies from another of the same names and shapes.
pub(crate) fn distance(from: &Adapter, to: &Adapter) -> f64 {
    let pairs = from.tensors.values().zip(to.tensors.values());
    pairs.map(|(from, to)| squared_distance(from, to)).sum::<f64>().sqrt()
}

/// The squared distance of two tensors of one shape; in f64, so that the ends of f32's range do not overflow.
pub(crate) fn squared_distance(from: &AdapterTensor, to: &AdapterTensor) -> f64 {
    from.data.iter().zip(&to.data).map(|(&from, &to)| (f64::from(to) - f64::from(from)).powi(2)).sum()
}

/// Draws an adapter towards another, to so much of the distance.
pub(crate) fn draw(from: &Adapter, to: &mut Adapter, share: f64) {
    from.tensors.values().zip(to.tensors.values_mut()).for_each(|(from, to)| draw_tensor(from, to, share));
}

/// [`draw`] of one tensor.
pub(crate) fn draw_tensor(from: &AdapterTensor, to: &mut AdapterTensor, share: f64) {
    for (&from, to) in from.data.iter().zip(&mut to.data) {
        let from = f64::from(from);
        *to = (from + share * (f64::from(*to) - from)) as f32;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn adapter(values: &[f32]) -> Adapter {
        let tensor = AdapterTensor { shape: [1, values.len()], data: values.to_vec() };
        Adapter { tensors: [("a".to_owned(), tensor)].into(), ..Adapter::default() }
    }

    #[test]
    fn an_adapter_is_drawn_back_to_the_distance_even_from_the_end_of_the_range() {
        for (from, to) in [([0.0, 1.0], [3.0, 5.0]), ([-3e38, 3e38], [3e38, -3e38]), ([2.0, 2.0], [f32::MAX, 2.0])] {
            let (from, mut to) = (adapter(&from), adapter(&to));
            let most = 0.01 * distance(&from, &to);
            let share = most / distance(&from, &to);
            draw(&from, &mut to, share);
            assert!((distance(&from, &to) / most - 1.0).abs() < 1e-5, "{to:?}");
        }
        assert_eq!(length(&adapter(&[3.0, -4.0])), 5.0);
    }
}
