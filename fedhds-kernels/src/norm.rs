//! Root mean square normalisation (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + eps) * weight`.

use crate::threads;
use crate::vector::{dot, wide};

fn inverse(x: &[f32], eps: f64) -> f32 {
    (1.0 / (f64::from(dot(x, x)) / x.len() as f64 + eps).sqrt()) as f32
}

/// Writes the normalised rows.
///
/// # Shapes
/// - x, out: `[m, weight.len()]`
pub fn forward(x: &[f32], weight: &[f32], eps: f64, out: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && x.len() == out.len() && x.len().is_multiple_of(width));
    let rows = threads::light_rows(width);
    threads::parts(out, rows * width, |i, out| {
        for (out, x) in out.chunks_exact_mut(width).zip(x[i * rows * width..].chunks_exact(width)) {
            let inverse = inverse(x, eps);
            wide(
                #[inline(always)]
                || out.iter_mut().zip(x).zip(weight).for_each(|((out, x), weight)| *out = x * inverse * weight),
            );
        }
    });
}

/// Adds to `out` the gradient with respect to `x`, `gradient` being that of what [`forward`] wrote.
///
/// # Shapes
/// - x, gradient, out: `[m, weight.len()]`
pub fn backward(x: &[f32], weight: &[f32], eps: f64, gradient: &[f32], out: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && x.len() == out.len() && x.len() == gradient.len() && x.len().is_multiple_of(width));
    let rows = threads::light_rows(width);
    threads::parts(out, rows * width, |i, out| {
        let at = i * rows * width;
        let mut weighted = vec![0.0; width];
        let both = x[at..].chunks_exact(width).zip(gradient[at..].chunks_exact(width));
        for (out, (x, gradient)) in out.chunks_exact_mut(width).zip(both) {
            let inverse = inverse(x, eps);
            wide(
                #[inline(always)]
                || weighted.iter_mut().zip(gradient).zip(weight).for_each(|((w, g), weight)| *w = g * weight),
            );
            let along = inverse * inverse * inverse * dot(&weighted, x) / width as f32;
            wide(
                #[inline(always)]
                || out.iter_mut().zip(&weighted).zip(x).for_each(|((out, w), x)| *out += inverse * w - along * x),
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_normalised_and_gradients_are_differences() {
        let (width, eps) = (21, 1e-5);
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 30.0;
        let x: Vec<f32> = (0..3 * width).map(value).collect();
        let weight: Vec<f32> = (0..width).map(|i| value(i + 7)).collect();
        let gradient: Vec<f32> = (0..3 * width).map(|i| value(i + 11)).collect();
        let of = |x: &[f32]| {
            let mut out = vec![0.0; x.len()];
            forward(x, &weight, eps, &mut out);
            out
        };
        let mean = x[..width].iter().map(|v| v * v).sum::<f32>() / width as f32;
        let out = of(&x);
        assert!((0..width).all(|i| (out[i] - x[i] / (mean + 1e-5).sqrt() * weight[i]).abs() < 1e-5));
        let mut found = vec![1.0; x.len()];
        backward(&x, &weight, eps, &gradient, &mut found);
        let loss = |x: &[f32]| of(x).iter().zip(&gradient).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for at in 0..x.len() {
            let (mut up, mut down) = (x.clone(), x.clone());
            up[at] += 1e-2;
            down[at] -= 1e-2;
            let expected = 1.0 + (loss(&up) - loss(&down)) / 2e-2;
            assert!((f64::from(found[at]) - expected).abs() < 2e-3, "{at}: {} {expected}", found[at]);
        }
    }
}
