//! The gated activation of Llama's feed-forward layer: `silu(gate) * up`, silu(x) = x / (1 + e^-x).

use crate::threads::{self, LIGHT};
use crate::vector::{exp, wide};
use pulp::{Simd, WithSimd};

/// Writes `silu(gate) * up`, value by value; all of one length.
pub fn forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == out.len() && up.len() == out.len());
    threads::parts(out, LIGHT, |i, out| {
        let (gate, up) = (&gate[i * LIGHT..][..out.len()], &up[i * LIGHT..][..out.len()]);
        wide(Forward { gate, up, out });
    });
}

/// Replaces `gate` and `up` by the gradients with respect to them, `gradient` being that of what [`forward`] wrote.
pub fn backward(gate: &mut [f32], up: &mut [f32], gradient: &[f32]) {
    assert!(gate.len() == gradient.len() && up.len() == gradient.len());
    let up = threads::Shared::new(up);
    threads::parts(gate, LIGHT, |i, gate| {
        // SAFETY: each part of `up` is one thread's.
        let up = unsafe { up.slice(i * LIGHT, gate.len()) };
        let gradient = &gradient[i * LIGHT..][..gate.len()];
        wide(Backward { gate, up, gradient });
    });
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (gates, gate_tail) = S::as_simd_f32s(self.gate);
        let (ups, up_tail) = S::as_simd_f32s(self.up);
        let (outs, out_tail) = S::as_mut_simd_f32s(self.out);
        for ((out, &gate), &up) in outs.iter_mut().zip(gates).zip(ups) {
            *out = simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up);
        }
        if !out_tail.is_empty() {
            let (gate, up) = (simd.partial_load_f32s(gate_tail), simd.partial_load_f32s(up_tail));
            simd.partial_store_f32s(out_tail, simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up));
        }
    }
}

struct Backward<'a> {
    gate: &'a mut [f32],
    up: &'a mut [f32],
    gradient: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (gates, gate_tail) = S::as_mut_simd_f32s(self.gate);
        let (ups, up_tail) = S::as_mut_simd_f32s(self.up);
        let (gradients, gradient_tail) = S::as_simd_f32s(self.gradient);
        for ((gate, up), &gradient) in gates.iter_mut().zip(ups).zip(gradients) {
            [*gate, *up] = gradients_of(simd, *gate, *up, gradient);
        }
        if !gate_tail.is_empty() {
            let gradient = simd.partial_load_f32s(gradient_tail);
            let (gate, up) = (simd.partial_load_f32s(gate_tail), simd.partial_load_f32s(up_tail));
            let [gate, up] = gradients_of(simd, gate, up, gradient);
            simd.partial_store_f32s(gate_tail, gate);
            simd.partial_store_f32s(up_tail, up);
        }
    }
}

#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

#[inline(always)]
fn gradients_of<S: Simd>(simd: S, gate: S::f32s, up: S::f32s, gradient: S::f32s) -> [S::f32s; 2] {
    let sigmoid = sigmoid(simd, gate);
    let silu = simd.mul_f32s(gate, sigmoid);
    // sigmoid + x sigmoid (1 - sigmoid)
    let slope = simd.mul_add_f32s(silu, simd.sub_f32s(simd.splat_f32s(1.0), sigmoid), sigmoid);
    [simd.mul_f32s(simd.mul_f32s(gradient, up), slope), simd.mul_f32s(gradient, silu)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_gradients() {
        let gate: Vec<f32> = (0..101).map(|i| (i as f32 - 50.0) / 4.0).collect();
        let up: Vec<f32> = (0..101).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
        let gradient: Vec<f32> = (0..101).map(|i| (i * 5 % 7) as f32 - 3.0).collect();
        let exact = |gate: f32, up: f32| f64::from(gate) / (1.0 + (-f64::from(gate)).exp()) * f64::from(up);
        let mut out = vec![0.0; 101];
        forward(&gate, &up, &mut out);
        assert!((0..101).all(|i| (f64::from(out[i]) - exact(gate[i], up[i])).abs() < 1e-5));
        let (mut by_gate, mut by_up) = (gate.clone(), up.clone());
        backward(&mut by_gate, &mut by_up, &gradient);
        for i in 0..101 {
            let difference = |h: f32, u: f32| exact(gate[i] + h, up[i] + u) - exact(gate[i] - h, up[i] - u);
            let (g, u) = (difference(1e-3, 0.0) / 2e-3, difference(0.0, 1e-3) / 2e-3);
            assert!((f64::from(by_gate[i]) - f64::from(gradient[i]) * g).abs() < 1e-2, "{i}");
            assert!((f64::from(by_up[i]) - f64::from(gradient[i]) * u).abs() < 1e-2, "{i}");
        }
        // Far out nothing overflows.
        let mut out = [0.0; 2];
        forward(&[-1e30, 1e30], &[1.0, 1.0], &mut out);
        assert_eq!(out, [-0.0, 1e30]);
    }
}
