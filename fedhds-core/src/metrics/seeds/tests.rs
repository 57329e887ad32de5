//! Against SciPy 1.17 (`scipy.stats.t`, `ttest_rel`), and by hand.

use super::*;
use rand_distr::{Distribution, Normal};

const METHOD: [f64; 8] = [0.71, 0.83, 0.65, 0.90, 0.77, 0.69, 0.81, 0.74];
const BASELINE: [f64; 8] = [0.80, 0.85, 0.79, 0.88, 0.95, 0.78, 0.84, 0.90];

fn by_seed(values: &[f64]) -> BySeed {
    values.iter().enumerate().map(|(i, value)| (i as u64, *value)).collect()
}

fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{got} in place of {expected}");
}

fn paired(method: &[f64], baseline: &[f64]) -> SeedDifference {
    paired_by_seed(&by_seed(method), &by_seed(baseline), 0.95).unwrap().unwrap()
}

#[test]
fn the_mean_has_the_interval_of_scipy() {
    let of = |level| SeedMean::of(&METHOD, level).unwrap().interval.unwrap();
    for (got, expected) in of(0.95).into_iter().zip([0.6940322708164623, 0.8309677291835376]) {
        near(got, expected);
    }
    for (got, expected) in of(0.9).into_iter().zip([0.7076424492653111, 0.8173575507346889]) {
        near(got, expected);
    }
}

#[test]
fn quantiles_and_tails_are_those_of_scipy() {
    for (freedom, q975, q995, p37, p25) in [
        (1.0, 12.706204736174694, 63.656741162871526, 0.16804452564789518, 0.02545122269598366),
        (2.0, 4.302652729749462, 9.924843200918287, 0.06590671019436672, 0.001596170211410334),
        (5.0, 2.5705818356363146, 4.032142983555228, 0.013999406975699109, 1.910677784395424e-06),
        (9.0, 2.262157162798205, 3.249835541592126, 0.0049205621893296395, 1.2589450378990368e-09),
        (39.0, 2.022690920036761, 2.707913183517662, 0.0006637848082785266, 1.2870393574654894e-25),
        (59.0, 2.000995378088267, 2.6617587521629673, 0.0004755335212627133, 4.360855465223311e-33),
    ] {
        let student = StudentsT::new(0.0, 1.0, freedom).unwrap();
        near(student.inverse_cdf(0.975), q975);
        near(student.inverse_cdf(0.995), q995);
        near(2.0 * upper_tail(&student, 3.7), p37);
        let far = 2.0 * upper_tail(&student, 25.0);
        assert!((far / p25 - 1.0).abs() < 1e-8, "{far} in place of {p25}");
    }
}

#[test]
fn differences_are_paired_by_seed() {
    let found = paired(&METHOD, &BASELINE);
    near(found.difference.mean, -0.08625);
    near(found.difference.deviation.unwrap(), 0.07170126518110702);
    let [low, high] = found.difference.interval.unwrap();
    near(low, -0.1461937577987254);
    near(high, -0.0263062422012746);
    near(found.p.unwrap(), 0.011406144604447603);
    assert_eq!((found.lower, found.difference.seeds), (7, 8));
    let level = |margin| found.difference.equivalence(margin).unwrap().unwrap();
    near(level(0.03), 0.9690118012552625);
    near(level(0.12), 0.11239704149218219);
    near(level(0.2), 0.001420908485284764);
    assert!(found.difference.equivalence(0.0).is_err());
    // Seeds that one side lacks have no partner.
    let mut short = by_seed(&METHOD);
    short.remove(&3);
    short.insert(77, 0.1);
    let found = paired_by_seed(&short, &by_seed(&BASELINE), 0.95).unwrap().unwrap();
    assert_eq!((found.difference.seeds, found.lower), (7, 7));
    assert_eq!(paired_by_seed(&short, &BySeed::new(), 0.95).unwrap(), None);
}

#[test]
fn few_seeds_and_equal_seeds_are_said_as_what_they_are() {
    let one = paired(&[0.5], &[0.7]);
    assert_eq!((one.difference.interval, one.difference.deviation, one.p), (None, None, None));
    assert_eq!(one.difference.equivalence(0.5).unwrap(), None);
    let same = paired(&METHOD, &METHOD);
    assert_eq!((same.p, same.difference.interval), (Some(1.0), Some([0.0, 0.0])));
    assert_eq!(same.difference.equivalence(0.03).unwrap(), Some(0.0));
    let shifted = paired(&[1.0, 2.0], &[0.5, 1.5]);
    assert_eq!((shifted.p, shifted.difference.equivalence(0.03).unwrap()), (Some(0.0), Some(1.0)));
    assert!(SeedMean::of(&[], 0.95).is_err() && SeedMean::of(&[f64::NAN], 0.95).is_err());
    assert!(SeedMean::of(&[1.0], 1.0).is_err());
}

#[test]
fn holm_multiplies_by_what_is_left_and_never_falls() {
    // By hand: .005 * 4, .01 * 3, .03 * 2, and .04 * 1, which may not be below the one before it.
    let found = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (got, expected) in found.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
        near(got, expected);
    }
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert_eq!(holm(&[0.2]), [0.2]);
    assert!(holm(&[]).is_empty());
}

fn share(method: &[f64], baseline: &[f64], oracle: &[f64]) -> Option<RecoveredShare> {
    let [method, baseline, oracle] = [method, baseline, oracle].map(by_seed);
    recovered_share(&method, &baseline, &oracle, &Bootstrap::default(), Seed(1)).unwrap()
}

#[test]
fn the_share_of_the_oracles_gain_is_a_ratio_of_means() {
    let found = share(&[0.9, 0.7, 0.8], &[1.0, 1.0, 1.1], &[0.6, 0.7, 0.6]).unwrap();
    near(found.share, (0.1 + 0.3 + 0.3) / (0.4 + 0.3 + 0.5));
    let [low, high] = found.interval.unwrap();
    // Resamples of one seed alone are the ends.
    near(low, 0.25);
    near(high, 1.0);
    assert_eq!(found.seeds, 3);
    assert_eq!(share(&[0.9], &[1.0], &[1.0]), None, "nothing to recover");
    assert_eq!(share(&[0.9], &[1.0], &[0.8]).unwrap().interval, None);
    // An oracle that loses in half of the seeds.
    let unsure = share(&[0.85, 1.1, 1.0], &[1.0, 1.0, 1.0], &[0.8, 1.15, 0.99]).unwrap();
    assert!(unsure.share > 0.0 && unsure.interval.is_none(), "{unsure:?}");
    assert_eq!(share(&[], &[], &[]), None);
}

#[test]
fn the_share_covers_the_truth_about_as_often_as_it_says() {
    let (mut rng, normal) = (Seed(5).rng(), Normal::new(0.0, 0.05).unwrap());
    let covered = (0..200)
        .filter(|_| {
            let mut draw = |centre: f64| -> Vec<f64> { (0..20).map(|_| centre + normal.sample(&mut rng)).collect() };
            let found = share(&draw(0.85), &draw(1.0), &draw(0.7)).unwrap();
            let [low, high] = found.interval.unwrap();
            low <= 0.5 && 0.5 <= high
        })
        .count();
    assert!((170..=199).contains(&covered), "{covered}");
}
