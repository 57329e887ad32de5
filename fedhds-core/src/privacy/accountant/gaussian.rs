//! The Gaussian mechanism without sampling, exactly (Balle and Wang 2018, arXiv 1805.06530).

use super::special::{log_normal, normal};

/// The least delta at this epsilon; `mu` is the L2 sensitivity over the standard deviation of the noise: `delta = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 -
/// eps/mu)`.
pub(super) fn delta(mu: f64, epsilon: f64) -> f64 {
    if mu == 0.0 {
        return 0.0;
    }
    let (near, far) = (mu / 2.0 - epsilon / mu, -mu / 2.0 - epsilon / mu);
    (normal(near) - (epsilon + log_normal(far)).exp()).clamp(0.0, 1.0)
}

/// The least epsilon at this delta, never below it: bisection, whose upper end is given.
pub(super) fn epsilon(mu: f64, wanted: f64) -> f64 {
    if delta(mu, 0.0) <= wanted {
        return 0.0;
    }
    let mut high = 1.0;
    while delta(mu, high) > wanted {
        high *= 2.0;
        if !f64::is_finite(high) {
            return f64::INFINITY;
        }
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if delta(mu, middle) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
