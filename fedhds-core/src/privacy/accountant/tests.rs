//! Published and computed values, and what must hold of any accountant.

use super::*;
use proptest::prelude::*;

fn poisson(noise: f64, rate: f64, times: u64) -> Release {
    Release { noise, sampling: Sampling::Poisson(rate), times }
}

fn spent(release: Release, delta: f64, accountant: Accountant) -> f64 {
    epsilon(&[release], delta, accountant).unwrap()
}

/// (noise, rate, times, delta, epsilon by Renyi divergences, by loss distributions): Google's dp-accounting 0.6.0.
const COMPUTED: [(f64, f64, u64, f64, f64, f64); 11] = [
    (0.7, 0.05, 40, 1e-5, 6.791_136_91, 5.693_896_66),
    (1.0, 0.05, 40, 1e-5, 2.970_264_22, 2.468_098_65),
    (1.0, 0.05, 40, 1e-6, 3.502_580_63, 2.982_071_70),
    (2.0, 0.05, 40, 1e-5, 0.798_564_31, 0.704_084_80),
    (4.0, 0.05, 40, 1e-5, 0.321_219_17, 0.287_247_83),
    (1.0, 0.2, 40, 1e-5, 10.193_850_91, 9.081_416_66),
    (0.5, 0.01, 100, 1e-5, 8.034_119_71, 6.476_210_22),
    (1.3, 10.0 / 756.0, 40, 1e-6, 0.840_889_01, 0.454_267_88),
    (1.0, 1.0, 1, 1e-5, 4.728_507_07, 4.377_178_10),
    (4.0, 1.0, 40, 1e-5, 8.079_406_22, 7.511_275_90),
    (8.0, 1.0, 40, 1e-5, 3.617_099_77, 3.341_409_47),
];

#[test]
fn computed_values_are_met() {
    for (noise, rate, times, delta, by_rdp, by_pld) in COMPUTED {
        let release = poisson(noise, rate, times);
        let got = spent(release, delta, Accountant::Rdp);
        // Theirs takes generalised binomials without their signs, which is larger.
        assert!(got <= by_rdp + 1e-8 && got >= by_rdp - 5e-3 * by_rdp, "{release:?}: {got} for {by_rdp}");
        let got = spent(release, delta, Accountant::Pld);
        assert!((got - by_pld).abs() < 1e-3, "{release:?}: {got} for {by_pld}");
    }
    let long = poisson(1.1, 256.0 / 60_000.0, 14_062);
    let got = spent(long, 1e-5, Accountant::Rdp);
    assert!(got <= 2.596_555_87 + 1e-8 && got > 2.59, "{got}");
    let got = spent(long, 1e-5, Accountant::Pld);
    assert!((got - 2.381_686_00).abs() < 1e-3, "{got}");
}

#[test]
fn published_values_are_met() {
    // Opacus' tests of its PRV accountant, delta 1e-6: upper estimates with an error of .01.
    for (noise, rate, times, published) in [
        (0.8, 0.001, 100, 0.270_403_4),
        (1.5, 0.05, 100, 1.953_853_1),
        (2.0, 0.2, 100, 5.672_055_6),
        (3.0, 0.2, 100, 3.381_220_5),
        (0.8, 0.001, 1000, 0.477_771_3),
        (2.0, 0.05, 1000, 4.172_799_9),
        (3.0, 0.05, 1000, 2.527_574_3),
        (2.0, 0.001, 20_000, 0.305_837_9),
        (3.0, 0.001, 50_000, 0.309_694_2),
    ] {
        let got = spent(poisson(noise, rate, times), 1e-6, Accountant::Pld);
        assert!(got <= published && published <= got + 0.0115, "{noise} {rate} {times}: {got} for {published}");
    }
    let release = poisson(1.5, 0.04, 2250);
    assert!((spent(release, 1e-5, Accountant::Rdp) - 7.329_111_171_43).abs() < 1e-3);
    for (order, expected) in [
        (1.5, 6.705_797_41e-4),
        (2.5, 1.085_487_10e-3),
        (5.0, 2.180_756_56e-3),
        (50.0, 2.384_603_75e-2),
        (100.0, 167.416_308),
    ] {
        let got = 50.0 * rdp::poisson(0.01, 2.5, order);
        // Of a fractional order theirs is larger, as above.
        let least = if f64::fract(order) == 0.0 { 1.0 - 1e-4 } else { 0.95 };
        assert!((least..1.0 + 1e-4).contains(&(got / expected)), "{order}: {got} for {expected}");
    }
}

#[test]
fn moments_are_those_of_quadrature() {
    for (q, z, a, expected) in [
        (0.04, 1.5, 3.9, 0.005_316_286_38),
        (0.05, 1.0, 1.5, 0.001_527_162_80),
        (0.05, 1.0, 4.25, 0.041_561_474_12),
        (0.2, 1.0, 3.5, 0.497_175_996_32),
        (0.01, 2.5, 2.5, 3.256_254_17e-5),
        (0.05, 1.0, 2.0, 0.004_286_504_37),
        (0.05, 1.0, 8.0, 4.208_882_397_92),
    ] {
        let got = rdp::poisson(q, z, a) * (a - 1.0);
        assert!((got - expected).abs() < 1e-9 + 1e-8 * expected, "{q} {z} {a}: {got} for {expected}");
    }
}

#[test]
fn without_replacement_values_are_met() {
    let fixed = |noise, rate, times| Release { noise, sampling: Sampling::FixedSize(rate), times };
    for (noise, rate, times, delta, expected) in [
        (0.5, 37.0 / 738.0, 40, 1e-5, 19.8279),
        (1.0, 37.0 / 738.0, 40, 1e-5, 4.296_150),
        (2.0, 37.0 / 738.0, 40, 1e-5, 1.547_125),
        (1.0, 0.05, 40, 1e-5, 4.283_024_69),
        (2.0, 0.05, 40, 1e-5, 1.542_575_72),
        (4.0, 0.05, 40, 1e-5, 0.660_710_16),
        (1.0, 0.01, 1000, 1e-6, 4.021_208_09),
    ] {
        let got = spent(fixed(noise, rate, times), delta, Accountant::Rdp);
        assert!((got - expected).abs() < 1e-3 * expected, "{noise} {rate} {times}: {got} for {expected}");
    }
    for (order, expected) in [(2.0, 0.013_499_874_4), (8.0, 0.700_880_576_9), (2.5, 0.019_425_940_3)] {
        let got = rdp::without_replacement(0.05, 1.0, order);
        assert!((got - expected).abs() < 1e-8, "{order}: {got} for {expected}");
    }
    assert!(epsilon(&[fixed(1.0, 0.1, 1)], 1e-5, Accountant::Pld).unwrap_err().to_string().contains("fixed_size"));
}

#[test]
fn one_sample_that_is_released_twice_is_one_release() {
    let noise = together(&[4.0, 1.5]).unwrap();
    assert!((noise - 1.404_49).abs() < 1e-5);
    let together = poisson(noise, 0.05, 40);
    assert!((spent(together, 1e-5, Accountant::Rdp) - 1.4553).abs() < 1e-3);
    assert!((spent(together, 1e-5, Accountant::Pld) - 1.2388).abs() < 1e-3);
    // As two releases of their own it would claim too little.
    let apart = [poisson(4.0, 0.05, 40), poisson(1.5, 0.05, 40)];
    assert!((epsilon(&apart, 1e-5, Accountant::Rdp).unwrap() - 1.3226).abs() < 1e-3);
    assert!((epsilon(&apart, 1e-5, Accountant::Pld).unwrap() - 1.1417).abs() < 1e-3);
    assert!(super::together(&[]).is_err() && super::together(&[1.0, 0.0]).is_err());
}

#[test]
fn extremes_have_answers_or_words() {
    for accountant in [Accountant::Rdp, Accountant::Pld] {
        assert_eq!(epsilon(&[], 1e-5, accountant).unwrap(), 0.0);
        assert_eq!(spent(poisson(1.0, 0.0, 40), 1e-5, accountant), 0.0);
        assert_eq!(spent(poisson(1.0, 0.5, 0), 1e-5, accountant), 0.0);
        assert!(spent(poisson(1e6, 0.5, 10), 1e-5, accountant) < 0.01);
        for delta in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(epsilon(&[], delta, accountant).unwrap_err().to_string().contains("delta"));
        }
        for noise in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert!(epsilon(&[poisson(noise, 0.5, 1)], 1e-5, accountant).unwrap_err().to_string().contains("noise"));
        }
        for rate in [-0.1, 1.1, f64::NAN] {
            assert!(epsilon(&[poisson(1.0, rate, 1)], 1e-5, accountant).unwrap_err().to_string().contains("rate"));
        }
    }
    assert!(spent(poisson(1e-3, 0.5, 10), 1e-5, Accountant::Rdp) > 1e5);
    assert!(spent(poisson(1.0, 0.05, 40), 1e-300, Accountant::Rdp).is_finite());
    assert!(epsilon(&[poisson(1.0, 0.05, 1)], 1e-300, Accountant::Pld).unwrap_err().to_string().contains("rdp"));
    // Little noise: a number or infinity or words, never a small epsilon.
    let little = epsilon(&[poisson(1e-2, 0.5, 3)], 1e-5, Accountant::Pld);
    assert!(little.is_err() || little.is_ok_and(|epsilon| epsilon > 100.0));
}

#[test]
fn budgets_and_noise_belong_together() {
    for (sampling, accountant) in [
        (Sampling::Poisson(0.05), Accountant::Rdp),
        (Sampling::FixedSize(0.05), Accountant::Rdp),
        (Sampling::None, Accountant::Pld),
    ] {
        let noise = noise_for(2.0, 1e-5, sampling, 40, accountant).unwrap();
        let cost = |noise| epsilon(&[Release { noise, sampling, times: 40 }], 1e-5, accountant).unwrap();
        assert!(cost(noise) <= 2.0 && cost(noise * 0.998) > 2.0, "{sampling:?}: {noise}");
        let times = times_for(2.0, 1e-5, noise, sampling, 1000, accountant).unwrap();
        assert!((40..=41).contains(&times), "{sampling:?}: {times}");
        assert_eq!(times_for(2.0, 1e-5, noise, sampling, 10, accountant).unwrap(), 10);
    }
    assert_eq!(times_for(1e-3, 1e-5, 1.0, Sampling::None, 9, Accountant::Pld).unwrap(), 0);
    assert!(noise_for(0.0, 1e-5, Sampling::None, 1, Accountant::Rdp).is_err());
    assert!(
        noise_for(1e-9, 1e-9, Sampling::None, u64::MAX, Accountant::Pld).unwrap_err().to_string().contains("epsilon")
    );
}

/// `ln A` of Poisson sampling by integration of its definition.
fn by_quadrature(q: f64, z: f64, a: f64) -> f64 {
    let step = z / 400.0;
    let (low, high) = (-14.0 * z, 14.0 * z + a);
    let density = |x: f64| (-x * x / (2.0 * z * z)).exp() / (z * (2.0 * std::f64::consts::PI).sqrt());
    let ratio = |x: f64| (1.0 - q) + q * ((2.0 * x - 1.0) / (2.0 * z * z)).exp();
    let count = ((high - low) / step) as usize;
    (0..count).map(|i| low + (i as f64 + 0.5) * step).map(|x| density(x) * ratio(x).powf(a) * step).sum::<f64>().ln()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn series_are_integrals(q in 0.001f64..0.6, z in 0.6f64..4.0, a in 1.1f64..12.0) {
        let (got, expected) = (rdp::poisson(q, z, a) * (a - 1.0), by_quadrature(q, z, a));
        prop_assert!((got - expected).abs() < 1e-6 * (1.0 + expected), "{} for {}", got, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10) })]

    #[test]
    fn more_of_what_hides_costs_less(q in 0.01f64..0.5, z in 0.8f64..3.0, times in 1u64..60, k in 3i32..8) {
        let delta = 10f64.powi(-k);
        let cost = |z, q, times, delta| spent(poisson(z, q, times), delta, Accountant::Rdp);
        let here = cost(z, q, times, delta);
        prop_assert!(cost(z * 1.1, q, times, delta) <= here + 1e-12);
        prop_assert!(cost(z, q * 0.9, times, delta) <= here + 1e-9);
        prop_assert!(cost(z, q, times + 1, delta) >= here);
        prop_assert!(cost(z, q, times, delta / 10.0) >= here);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    /// Nearly exact is never more than the bound, and never less than what one direction's definition says of a single release.
    #[test]
    fn loss_distributions_lie_below_renyi(q in 0.02f64..0.4, z in 0.8f64..3.0, times in 1u64..30) {
        let release = poisson(z, q, times);
        let (by_pld, by_rdp) = (spent(release, 1e-5, Accountant::Pld), spent(release, 1e-5, Accountant::Rdp));
        prop_assert!(by_pld <= by_rdp + 1e-6, "{} {}", by_pld, by_rdp);
        let one = spent(poisson(z, q, 1), 1e-5, Accountant::Pld);
        // delta of the remove direction, by its definition.
        let at = z * z * ((one.exp() - (1.0 - q)) / q).ln() + 0.5;
        let above = |shift: f64| special::normal((shift - at) / z);
        let delta = (1.0 - q) * above(0.0) + q * above(1.0) - one.exp() * above(0.0);
        prop_assert!(delta <= 1e-5 * (1.0 + 1e-6), "{}", delta);
        prop_assert!(one == 0.0 || delta > 0.9e-5, "{}", delta);
    }
}
