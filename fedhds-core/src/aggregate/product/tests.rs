use super::super::testing::{A, B, apart, layer, products, random};
use super::*;
use crate::types::Factors;
use faer::Mat;
use proptest::prelude::*;

/// The stack of the first module of adapters of scale 1, with these weights.
fn stack(adapters: &[(Adapter, f64)]) -> Stack {
    let module = &modules(&adapters[0].0).unwrap()[0];
    let mut stack = Stack::new(module);
    for (adapter, weight) in adapters {
        let (a, b) = module.factors(adapter).unwrap();
        stack.push(a, b, |_| *weight);
    }
    stack
}

/// Their sum, written out.
fn dense(adapters: &[(Adapter, f64)]) -> Mat<f64> {
    let terms = adapters.iter().map(|(adapter, weight)| products(adapter).swap_remove(0) * *weight);
    terms.reduce(|sum, term| sum + term).unwrap()
}

fn joined(directions: &Directions, [m, n]: [usize; 2]) -> Mat<f64> {
    let term = |i: usize, j: usize| directions.left.iter().zip(&directions.right).map(move |(u, v)| u[i] * v[j]);
    Mat::from_fn(m, n, |i, j| term(i, j).sum())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn directions_are_those_of_the_dense_matrix(
        ranks in prop::collection::vec((1usize..4, 0.1f64..2.0), 1..5), m in 2usize..9, n in 2usize..9, keep in 1usize..8, seed: u64,
    ) {
        let adapters: Vec<(Adapter, f64)> = (0u64..)
            .zip(ranks)
            .map(|(at, (r, weight))| (random(r, r as f32, [m, n], seed.wrapping_add(at)), weight))
            .collect();
        let (whole, found) = (dense(&adapters), stack(&adapters).directions(keep).unwrap());
        let svd = whole.thin_svd().unwrap();
        let values: Vec<f64> = (0..m.min(n)).map(|j| svd.S().column_vector()[j]).collect();
        let spanned = adapters.iter().map(|(adapter, _)| adapter.config.r).sum::<usize>().min(n);
        prop_assert_eq!(found.right.len(), keep.min(spanned));
        for (j, (v, u)) in found.right.iter().zip(&found.left).enumerate() {
            prop_assert!((dot(v, v) - 1.0).abs() < 1e-10);
            for other in &found.right[..j] {
                prop_assert!(dot(v, other).abs() < 1e-10, "orthogonal");
            }
            let expected = values.get(j).copied().unwrap_or_default();
            prop_assert!((dot(u, u).sqrt() - expected).abs() < 1e-6 * values[0], "{} {}", dot(u, u).sqrt(), expected);
            let tip = v.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
            prop_assert!(tip > 0.0);
        }
        let square: f64 = values.iter().map(|value| value * value).sum();
        let lost: f64 = values.iter().skip(keep).map(|value| value * value).sum();
        prop_assert!((found.square - square).abs() < 1e-9 * square && (found.lost - lost).abs() < 1e-9 * square);
        let error = (whole - joined(&found, [m, n])).norm_l2();
        prop_assert!((error - lost.sqrt()).abs() < 1e-6 * square.sqrt(), "{} {}", error, lost.sqrt());
    }

    #[test]
    fn factors_have_the_product(m in 1usize..7, n in 1usize..7, r in 1usize..6, seed: u64, norm in 0.1f64..3.0, scale in 0.1f64..4.0) {
        let adapter = random(r, 1.0, [m, n], seed);
        let (found, whole) = (stack(&[(adapter.clone(), 1.0)]), dense(&[(adapter.clone(), 1.0)]) * r as f64);
        let (a, b) = found.directions(r).unwrap().completed(r, n, m, Seed(seed)).factors(norm, scale);
        prop_assert_eq!((a.shape, b.shape), ([r, n], [m, r]));
        for row in a.data.chunks(n) {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            prop_assert!((length - norm).abs() < 1e-5, "each row can learn: {length}");
        }
        let product = products(&layer(r, &a.data, &b.data)).swap_remove(0) * scale;
        prop_assert!(apart(&[product], &[whole]) < 1e-5);
    }
}

#[test]
fn values_at_the_end_of_the_range_keep_their_directions() {
    let adapter = layer(2, &[3e38, 0.0, 0.0, 1e-30], &[3e38, 0.0, 0.0, 1e-30]);
    let found = stack(&[(adapter, 1.0)]).directions(2).unwrap();
    assert!((found.right[0][0] - 1.0).abs() < 1e-12 && (found.left[0][0] / 9e76 - 1.0).abs() < 1e-6);
    assert!(found.square.is_finite());
}

#[test]
fn zeros_and_nothing_have_no_product_and_are_completed() {
    let zero = layer(2, &[1.0, 2.0, 2.0, 4.0], &[0.0; 6]);
    let found = stack(&[(zero.clone(), 1.0)]).directions(2).unwrap();
    assert_eq!((found.right.len(), found.square, found.lost), (1, 0.0, 0.0), "its rows lie on one line");
    let whole = found.completed(2, 2, 3, Seed(1));
    assert!(dot(&whole.right[0], &whole.right[1]).abs() < 1e-12 && whole.left[1] == [0.0; 3]);
    let none = Stack::new(&modules(&zero).unwrap()[0]).directions(2).unwrap();
    assert!(none.right.is_empty());
    // More ranks than inputs: no room for another orthogonal row, and still none of zeros.
    let wide = none.completed(4, 2, 3, Seed(1));
    assert!(wide.right.iter().all(|row| (dot(row, row) - 1.0).abs() < 1e-12));
}

#[test]
fn modules_are_found_by_name_and_never_by_shape() {
    // As many ranks as inputs and outputs: the shapes say nothing.
    let square = layer(2, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]);
    let module = &modules(&square).unwrap()[0];
    assert_eq!((module.a.as_str(), module.b.as_str(), module.path.as_str()), (A, B, "layers.0.q_proj"));
    let says = |adapter: &Adapter| modules(adapter).unwrap_err().to_string();
    let without = |name: &str| {
        let mut adapter = square.clone();
        adapter.tensors.remove(name);
        adapter
    };
    assert!(says(&without(A)).contains("lora_A") && says(&without(B)).contains("lora_B"));
    let mut other = without(B);
    other.tensors.insert(B.into(), AdapterTensor { shape: [2, 3], data: vec![0.0; 6] });
    assert!(says(&other).contains(B) && says(&other).contains("2 columns"), "{}", says(&other));
    let mut more = square.clone();
    more.tensors.insert("layers.0.norm.weight".into(), AdapterTensor { shape: [1, 2], data: vec![0.0; 2] });
    assert!(says(&more).contains("layers.0.norm.weight"));
    let mut twice = square.clone();
    twice.tensors.insert("layers.0.q_proj.lora_A.bias".into(), square.tensors[A].clone());
    assert!(says(&twice).contains("beside it"), "{}", says(&twice));
    assert!(Factors::B.trains(&module.b) && !Factors::B.trains(&module.a));
}
