//! What hostile clients send, and that robust rules withstand it.

mod rules;

use super::forge::{Scene, forge, hidden};
use super::*;
use crate::types::{Adapter, AdapterConfig, AdapterTensor, ClientId, Seed};

fn vector(values: &[f32]) -> Adapter {
    let tensor = AdapterTensor { shape: [1, values.len()], data: values.to_vec() };
    Adapter { tensors: [("x".to_owned(), tensor)].into(), ..Adapter::default() }
}

fn attack(kind: AttackKind) -> AttackConfig {
    AttackConfig::new(kind, Hostile::Share(0.2))
}

/// What a client that trained `own` sends, from zero, beside the published fixture's honest rows.
fn forged(config: &AttackConfig, own: &[f32]) -> Vec<f32> {
    let rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]].map(|row| vector(&row));
    let (global, own) = (vector(&[0.0; 3]), vector(own));
    let scene = Scene { global: &global, honest: &rows.iter().collect::<Vec<_>>(), hostile: &[&own] };
    forge(config, &scene, &own, None, Seed(1)).tensors["x"].data.clone()
}

#[test]
fn forged_adapters_are_those_of_the_published_fixtures() {
    let ipm = AttackConfig { tau: Some(2.0), ..attack(AttackKind::Ipm) };
    assert_eq!(forged(&ipm, &[0.0; 3]), [-8.0, -10.0, -12.0]);
    let alie = AttackConfig { z: Some(1.5), ..attack(AttackKind::Alie) };
    for (got, expected) in forged(&alie, &[0.0; 3]).iter().zip([-0.5, 0.5, 1.5]) {
        assert!((got - expected).abs() < 1e-6, "{got}");
    }
}

#[test]
fn every_other_attack_is_what_it_says() {
    let own = [1.0, -2.0, 0.5];
    let of = |kind| forged(&attack(kind), &own);
    assert_eq!(of(AttackKind::SignFlip), [-1.0, 2.0, -0.5]);
    assert_eq!(of(AttackKind::Scale), [1e3, -2e3, 5e2]);
    assert_eq!(of(AttackKind::Mimic), [1.0, 2.0, 3.0]);
    assert_eq!((of(AttackKind::Zero), of(AttackKind::Huge)), (vec![0.0; 3], vec![1e38; 3]));
    assert!(of(AttackKind::Nan).iter().all(|v| v.is_nan()) && of(AttackKind::Infinity).iter().all(|v| v.is_infinite()));
    assert_eq!(of(AttackKind::Collude), of(AttackKind::SignFlip), "the first hostile client's, turned round");
    for kind in [AttackKind::LabelFlip, AttackKind::Stale, AttackKind::HugeCount, AttackKind::Replay] {
        assert_eq!(of(kind), own, "{}", kind.name());
    }
    let noise = of(AttackKind::Gaussian);
    assert_eq!(noise, of(AttackKind::Gaussian), "by the seed");
    assert!(noise.iter().all(|v| v.abs() < 6.0) && noise[0] != noise[1]);
    let far = AttackConfig { factor: Some(1e300), ..attack(AttackKind::Scale) };
    assert_eq!(forged(&far, &own)[..2], [f32::MAX, f32::MIN], "at most the end of the range");
    let first = vector(&[5.0; 3]);
    let own = vector(&own);
    let scene = Scene { global: &own, honest: &[], hostile: &[&own] };
    assert_eq!(forge(&attack(AttackKind::Replay), &scene, &own, Some(&first), Seed(1)), first);
    // Where nobody is honest the attackers know each other alone.
    assert_eq!(forge(&attack(AttackKind::Alie), &scene, &own, None, Seed(1)), own);
}

#[test]
fn another_gauge_is_the_same_product() {
    let tensors = [("q.lora_A.weight", [1, 2], [2.0, 4.0]), ("q.lora_B.weight", [2, 1], [1.0, 3.0])];
    let tensors = tensors.map(|(name, shape, data)| (name.to_owned(), AdapterTensor { shape, data: data.to_vec() }));
    let own = Adapter { config: AdapterConfig { r: 1, ..Default::default() }, tensors: tensors.into() };
    let scene = Scene { global: &own, honest: &[], hostile: &[&own] };
    let gauge = AttackConfig { factor: Some(4.0), ..attack(AttackKind::Gauge) };
    let sent = forge(&gauge, &scene, &own, None, Seed(1));
    assert_eq!(sent.tensors["q.lora_A.weight"].data, [0.5, 1.0]);
    assert_eq!(sent.tensors["q.lora_B.weight"].data, [4.0, 12.0]);
}

#[test]
fn alie_hides_behind_the_majority() {
    // n = 50, f = 24: s = 2, 24 of 26 are covered (Baruch et al. 2019, section 3.2).
    assert!((hidden(26, 24) - 1.426_076_872).abs() < 1e-6, "{}", hidden(26, 24));
    assert_eq!(hidden(4, 1), 0.0, "of five, half of the honest have to be on its side");
    assert!([hidden(0, 3), hidden(3, 0), hidden(1, 9)].iter().all(|z| z.is_finite() && *z >= 0.0));
}

#[test]
fn settings_are_read_and_those_of_other_kinds_refused() {
    for kind in AttackKind::ALL {
        let text = format!("kind = \"{}\"\nclients = 0.25", kind.name());
        let config: AttackConfig = toml::from_str(&text).unwrap();
        config.check().unwrap();
        assert_eq!((config.kind, &config.clients), (kind, &Hostile::Share(0.25)));
        assert_eq!(toml::from_str::<AttackConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert!(config.to_string().starts_with(kind.name()));
    }
    let says = |text: &str| toml::from_str::<AttackConfig>(text).unwrap().check().unwrap_err().to_string();
    assert!(
        says("kind = \"alie\"\nclients = 0.2\ntau = 2.0").contains("tau: expected none, as `alie` has no such setting")
    );
    assert!(says("kind = \"ipm\"\nclients = 0.2\ntau = 0.0").contains("tau: expected a number above 0"));
    assert!(says("kind = \"ipm\"\nclients = 1.5").contains("clients: expected"));
    assert!(says("kind = \"ipm\"\nclients = [1, 2, 1]").contains("1 twice"));
    let listed: AttackConfig = toml::from_str("kind = \"ipm\"\nclients = [1, 2]\ntau = 0.1").unwrap();
    assert_eq!(listed.to_string(), "ipm (tau 0.1), clients 1, 2");
    assert!(toml::from_str::<AttackConfig>("kind = \"ipn\"\nclients = 0.2").is_err());
    assert!(toml::from_str::<AttackConfig>("kind = \"ipm\"\nclients = 0.2\ntua = 1.0").is_err());
}

#[test]
fn who_is_hostile_is_drawn_by_the_seed_or_listed() {
    let clients: Vec<ClientId> = (0..20).map(ClientId).collect();
    let draw = |share, seed| Hostile::Share(share).of(&clients, Seed(seed)).unwrap();
    assert_eq!((draw(0.2, 1).len(), draw(0.0, 1).len(), draw(1.0, 1).len()), (4, 0, 20));
    assert_eq!(draw(0.2, 1), draw(0.2, 1));
    assert_ne!(draw(0.2, 1), draw(0.2, 2));
    let listed = |ids: &[u32]| Hostile::Listed(ids.iter().copied().map(ClientId).collect()).of(&clients, Seed(1));
    assert_eq!(listed(&[7, 3]).unwrap(), [ClientId(3), ClientId(7)].into());
    assert!(listed(&[20]).unwrap_err().to_string().contains("got client 20"));
}
