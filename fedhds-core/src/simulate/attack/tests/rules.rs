//! Every robust rule against every attack: the result stays near the honest mean.

use super::super::forge::{Scene, forge};
use super::*;
use crate::aggregate::AggregatorConfig;
use crate::stage::{Aggregated, ClientUpdate};
use crate::types::Round;
use proptest::prelude::*;

/// Clients of a round, and the hostile ones among them: the last.
const N: usize = 9;
const F: usize = 2;

const A: &str = "layers.0.q_proj.lora_A.weight";
const B: &str = "layers.0.q_proj.lora_B.weight";

/// Rules that look for the middle, and rules that bound how far each goes.
const MIDDLE: [&str; 5] = [
    "kind = \"coordinate_median\"",
    "kind = \"trimmed_mean\"\nb = 2",
    "kind = \"multi_krum\"\nf = 2",
    "kind = \"geometric_median\"",
    "kind = \"nnm\"\nf = 2\ninner = { kind = \"trimmed_mean\", b = 2 }",
];
const BOUNDED: [&str; 2] = ["kind = \"norm_bound\"", "kind = \"centred_clipping\""];

/// Rank 2 on a layer of 4 x 3: A of 6 values, B of 8.
fn layer(values: &[f32]) -> Adapter {
    let config = AdapterConfig { r: 2, lora_alpha: 4.0, target_modules: vec!["q_proj".into()], ..Default::default() };
    let tensor = |shape, data: &[f32]| AdapterTensor { shape, data: data.to_vec() };
    let tensors = [(A.to_owned(), tensor([2, 3], &values[..6])), (B.to_owned(), tensor([4, 2], &values[6..14]))];
    Adapter { config, tensors: tensors.into() }
}

fn values(adapter: &Adapter) -> Vec<f64> {
    adapter.tensors.values().flat_map(|tensor| &tensor.data).map(|&value| f64::from(value)).collect()
}

fn apart(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

/// The global adapter, and what each client trained: one step for all, and what is each client's own.
fn any_round(own: f32) -> impl Strategy<Value = (Adapter, Vec<Adapter>)> {
    let values = |most: f32| prop::collection::vec(-most..most, 14);
    (values(1.0), values(0.4), prop::collection::vec(values(1.0), N)).prop_map(move |(mut global, step, each)| {
        // A well away from singular, as a start of LoRA is.
        (global[0], global[4]) = (global[0].abs() + 2.0, global[4].abs() + 2.0);
        let client = |one: Vec<f32>| {
            let all: Vec<f32> = global.iter().zip(&step).zip(one).map(|((g, s), one)| g + s + own * one).collect();
            layer(&all)
        };
        let clients = each.into_iter().map(client).collect();
        (layer(&global), clients)
    })
}

fn run(rule: &str, global: &Adapter, updates: &[(Adapter, usize)]) -> Aggregated {
    let mut aggregator = toml::from_str::<AggregatorConfig>(rule).unwrap().build().unwrap();
    aggregator.begin(global, Round(0)).unwrap();
    for (client, (adapter, records)) in (0..).zip(updates) {
        // What is not finite is refused, and everybody else goes on.
        let finite = values(adapter).iter().all(|value| value.is_finite());
        let added = aggregator.add(&ClientUpdate::new(ClientId(client), adapter.clone(), *records));
        assert_eq!(added.is_ok(), finite, "{rule}: {added:?}");
    }
    aggregator.finish().unwrap()
}

/// The attacks with their strengths.
fn attacks() -> Vec<AttackConfig> {
    let mut all: Vec<AttackConfig> = AttackKind::ALL.into_iter().map(attack).collect();
    all.extend([0.1, 2.0, 100.0].map(|tau| AttackConfig { tau: Some(tau), ..attack(AttackKind::Ipm) }));
    all.extend([1e2, 1e6, 1e30].map(|factor| AttackConfig { factor: Some(factor), ..attack(AttackKind::Scale) }));
    all.extend([30.0, 1e6].map(|factor| AttackConfig { factor: Some(factor), ..attack(AttackKind::Gauge) }));
    all.extend([0.5, 1.5].map(|z| AttackConfig { z: Some(z), ..attack(AttackKind::Alie) }));
    all
}

/// What all clients send under an attack, the hostile ones last, and the records that they claim.
fn sent(config: &AttackConfig, global: &Adapter, trained: &[Adapter]) -> Vec<(Adapter, usize)> {
    let all: Vec<&Adapter> = trained.iter().collect();
    let (honest, hostile) = all.split_at(N - F);
    let scene = Scene { global, honest, hostile };
    let forged = hostile.iter().enumerate().map(|(at, own)| {
        let records = if config.kind == AttackKind::HugeCount { 1 << 24 } else { 3 };
        (forge(config, &scene, own, None, Seed(at as u64)), records)
    });
    honest.iter().map(|adapter| ((*adapter).clone(), 3)).chain(forged).collect()
}

fn mean(adapters: &[Adapter]) -> Vec<f64> {
    let mut sum = [0.0; 14];
    adapters.iter().for_each(|adapter| sum.iter_mut().zip(values(adapter)).for_each(|(sum, value)| *sum += value));
    sum.iter().map(|sum| sum / adapters.len() as f64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn below_breakdown_the_result_lies_within_a_few_honest_spreads((global, trained) in any_round(0.3)) {
        let honest = &trained[..N - F];
        let centre = mean(honest);
        let spread = honest.iter().map(|adapter| apart(&values(adapter), &centre)).fold(0.0, f64::max);
        let step = honest.iter().map(|adapter| apart(&values(adapter), &values(&global))).fold(0.0, f64::max);
        for config in attacks() {
            let sent = sent(&config, &global, &trained);
            for (rule, most) in MIDDLE.map(|rule| (rule, 2.5 * spread)).into_iter().chain(BOUNDED.map(|rule| (rule, 1.2 * step))) {
                let aggregated = run(rule, &global, &sent);
                let got = values(&aggregated.adapter.unwrap());
                prop_assert!(got.iter().all(|value| value.is_finite()), "{rule}, {config}: {got:?}");
                let far = apart(&got, &centre);
                prop_assert!(far <= most, "{rule}, {config}: {far} from the honest mean, spread {spread}, step {step}");
                let weights: f64 = aggregated.report.weights.values().sum();
                prop_assert!((weights - 1.0).abs() < 1e-9, "{rule}, {config}: {weights}");
            }
        }
    }

    #[test]
    fn without_an_attack_a_rule_costs_less_than_a_spread((global, trained) in any_round(0.3)) {
        let centre = mean(&trained);
        let spread = trained.iter().map(|adapter| apart(&values(adapter), &centre)).fold(0.0, f64::max);
        let all: Vec<(Adapter, usize)> = trained.into_iter().map(|adapter| (adapter, 3)).collect();
        for rule in MIDDLE.into_iter().chain(BOUNDED) {
            let got = values(&run(rule, &global, &all).adapter.unwrap());
            prop_assert!(apart(&got, &centre) <= spread, "{rule}: {} of {spread}", apart(&got, &centre));
        }
    }

    #[test]
    fn a_majority_of_equal_updates_wins((global, trained) in any_round(0.0)) {
        let honest = values(&trained[0]);
        let step = apart(&honest, &values(&global));
        for config in attacks() {
            let sent = sent(&config, &global, &trained);
            for rule in MIDDLE {
                let far = apart(&values(&run(rule, &global, &sent).adapter.unwrap()), &honest);
                prop_assert!(far <= 1e-4 * (1.0 + step), "{rule}, {config}: {far}");
            }
            for rule in BOUNDED {
                let far = apart(&values(&run(rule, &global, &sent).adapter.unwrap()), &honest);
                prop_assert!(far <= 2.0 * F as f64 / N as f64 * step + 1e-4, "{rule}, {config}: {far}, step {step}");
            }
        }
    }

    #[test]
    fn the_order_of_the_clients_changes_nothing(
        (global, trained) in any_round(0.3), order in Just((0..N).collect::<Vec<_>>()).prop_shuffle(), which in 0usize..20,
    ) {
        let attacks = attacks();
        let config = &attacks[which % attacks.len()];
        let sent = sent(config, &global, &trained);
        let shuffled: Vec<(Adapter, usize)> = order.iter().map(|&at| sent[at].clone()).collect();
        // Of equals the lower id is taken: which of them it is must not matter.
        for rule in MIDDLE.into_iter().chain(BOUNDED) {
            let [before, after] = [&sent, &shuffled].map(|sent| values(&run(rule, &global, sent).adapter.unwrap()));
            prop_assert!(apart(&before, &after) <= 1e-4 * (1.0 + apart(&before, &values(&global))), "{rule}, {config}");
        }
    }
}

#[test]
fn the_plain_mean_fails_where_robust_rules_do_not() {
    let global = layer(&[0.0; 14]);
    let trained: Vec<Adapter> = (0..N).map(|_| layer(&[1.0; 14])).collect();
    let far = AttackConfig { factor: Some(100.0), ..attack(AttackKind::SignFlip) };
    let got = values(&run("kind = \"weighted_mean\"", &global, &sent(&far, &global, &trained)).adapter.unwrap());
    assert!(got.iter().all(|value| *value < -20.0), "{got:?}");
}
