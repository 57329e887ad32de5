//! An adapter at a smaller rank, for a client that cannot train the whole.

use super::AdapterShape;
use super::flexlora::row_length;
use super::product::{Stack, modules, of_modules, seed_of};
use crate::error::{Error, Result};
use crate::types::{Adapter, AdapterConfig};

/// The nearest adapter of rank `r` to this one: of each module's product `s B A` the first `r` singular directions (FlexLoRA, Bai et al. 2024,
/// arXiv 2402.11505, section 3), as factors `A = c V^T`, `B = U S / (c s_r)` of a fresh adapter's size, where `s_r` is the scale at rank `r`. Names,
/// alpha and targets stay.
///
/// An adapter of that rank or a smaller one is returned as it is. The same adapter and rank give the same bits on one type of machine: clients and
/// server each make it for themselves.
///
/// # Errors
/// [`Error::Parameter`] for a rank of 0; [`Error::Adapter`] for a tensor that is no factor, whose other factor is missing, or whose product leaves
/// the range of f32.
pub fn truncated(adapter: &Adapter, r: usize) -> Result<Adapter> {
    if r == 0 {
        return Err(Error::parameter("rank", "a whole number of at least 1", r));
    }
    if r >= adapter.config.r {
        return Ok(adapter.clone());
    }
    let config = AdapterConfig { r, ..adapter.config.clone() };
    let (before, after) = (f64::from(adapter.config.scaling()), f64::from(config.scaling()));
    let mut smaller = Adapter { config, ..Adapter::default() };
    let modules = modules(adapter)?;
    let cut = of_modules(&modules, |module| {
        let (a, b) = module.factors(adapter)?;
        let mut stack = Stack::new(module);
        stack.push(a, b, |_| before);
        let seed = seed_of(module, adapter)?.derive("truncated", r as u64);
        let directions = stack.directions(r)?.completed(r, module.inputs, module.outputs, seed);
        Ok(directions.factors(row_length(), after))
    })?;
    modules.iter().zip(cut).for_each(|(module, factors)| module.set(&mut smaller, factors));
    AdapterShape::of(&smaller).check(&smaller)?;
    Ok(smaller)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{A, B, layer, norm, products, random};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

        #[test]
        fn nothing_of_the_rank_is_nearer(m in 2usize..8, n in 2usize..8, r in 1usize..4, seed: u64, rslora: bool) {
            let mut whole = random(4, 3.0, [m, n], seed);
            whole.config.use_rslora = rslora;
            let smaller = truncated(&whole, r).unwrap();
            let shapes = (smaller.config.r, smaller.tensors[A].shape, smaller.tensors[B].shape);
            prop_assert_eq!(shapes, (r, [r, n], [m, r]));
            let (whole, got) = (products(&whole), products(&smaller));
            let lost: Vec<_> = whole.iter().zip(&got).map(|(whole, got)| whole - got).collect();
            let tail = |whole: &faer::Mat<f64>| whole.singular_values().unwrap().iter().skip(r).map(|s| s * s).sum::<f64>();
            let best = whole.iter().map(tail).sum::<f64>().sqrt();
            prop_assert!((norm(&lost) - best).abs() < 1e-5 * norm(&whole), "{} {}", norm(&lost), best);
        }
    }

    #[test]
    fn the_whole_rank_is_the_adapter_itself_and_a_fresh_one_stays_fresh() {
        let whole = random(3, 3.0, [4, 5], 1);
        assert_eq!(truncated(&whole, 3).unwrap(), whole);
        assert_eq!(truncated(&whole, 8).unwrap(), whole);
        let fresh = layer(2, &[0.5, 0.1, -0.3, 0.2, 0.4, 0.6], &[0.0; 6]);
        let smaller = truncated(&fresh, 1).unwrap();
        assert!(smaller.tensors[B].data.iter().all(|&b| b == 0.0));
        assert!(smaller.tensors[A].data.iter().any(|&a| a != 0.0), "it can learn");
        assert!(truncated(&whole, 0).unwrap_err().to_string().contains("rank"));
        let huge = layer(2, &[1e38; 4], &[1e38; 4]);
        assert!(truncated(&huge, 1).is_err(), "out of range");
    }
}
