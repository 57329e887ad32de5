//! What every upload stage and every memory of the selection keep to.

use fedhds_core::privacy::UploadConfig;
use fedhds_core::protocol::{ClientSummary, Group, GroupScores, Wire as _};
use fedhds_core::select::{CoverageMemory, CoverageMemoryConfig};
use fedhds_core::stage::{Memory, TrainedGroup, Upload};
use fedhds_core::types::{ClientId, ClusterId, Matrix, Round, Scores, Secret};
use proptest::prelude::*;
use std::sync::Arc;

fn uploads() -> Vec<(&'static str, Arc<dyn Upload>)> {
    let made = |config: UploadConfig| config.build().unwrap().unwrap();
    let none = UploadConfig::default();
    vec![
        ("min_group_size", made(UploadConfig { min_group_size: 4, ..none.clone() })),
        ("max_norm", made(UploadConfig { max_norm: Some(2.0), ..none.clone() })),
        ("noise_std", made(UploadConfig { noise_std: 0.3, ..none })),
        ("all", made(UploadConfig { min_group_size: 3, max_norm: Some(1.0), noise_std: 0.1 })),
    ]
}

/// Up to 7 groups of 3 coordinates, with a score or without.
fn any_summary() -> impl Strategy<Value = ClientSummary> {
    let group = (1u32..9, proptest::array::uniform3(-9f32..9.0), 0f32..1.0);
    (proptest::collection::vec(group, 0..8), any::<bool>()).prop_map(|(rows, scored)| {
        let groups = rows.iter().zip(0..).map(|(row, j)| Group { cluster: ClusterId(2 * j), size: row.0 }).collect();
        let centroids = Matrix::new(rows.len(), 3, rows.iter().flat_map(|row| row.1).collect()).unwrap();
        let mut summary = ClientSummary::new(ClientId(5), Round(2), groups, centroids);
        if scored {
            let values = Matrix::new(rows.len(), 1, rows.iter().map(|row| row.2).collect()).unwrap();
            summary.sections.set(&GroupScores(Scores::new(["loss"], values).unwrap())).unwrap();
        }
        summary
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn what_is_released_can_be_sent(summary in any_summary(), key: [u8; 32]) {
        for (name, upload) in uploads() {
            let release = |key| upload.release(summary.clone(), &mut Secret::from_bytes(key)).unwrap();
            let released = release(key);
            let known = |group: &Group| summary.groups.iter().any(|g| g.cluster == group.cluster);
            prop_assert!(released.groups.iter().all(known), "{}", name);
            prop_assert_eq!((released.client, released.round), (summary.client, summary.round), "{}", name);
            let bytes = released.encode().unwrap();
            prop_assert_eq!(ClientSummary::decode(&bytes).unwrap(), released.clone(), "{}", name);
            // The secret decides, and nothing else does.
            prop_assert_eq!(&release(key), &released, "{}", name);
            let noisy = ["noise_std", "all"].contains(&name) && !released.groups.is_empty();
            let other = release(key.map(|byte| byte ^ 0x5a));
            prop_assert_eq!(other != released, noisy, "{}", name);
        }
    }

    #[test]
    fn a_memory_is_bounded_and_goes_on_from_its_state(
        rounds in proptest::collection::vec(proptest::collection::vec((proptest::array::uniform2(-3i8..4), 1usize..5), 0..9), 1..6),
    ) {
        let fresh = || CoverageMemory::new(CoverageMemoryConfig { max_points: 6 }).unwrap();
        let mut whole = fresh();
        let mut mass = 0;
        for (number, groups) in rounds.iter().enumerate() {
            let mut again = fresh();
            again.resume(&whole.state().unwrap()).unwrap();
            let centroids: Vec<[f32; 2]> = groups.iter().map(|(at, _)| at.map(f32::from)).collect();
            let trained: Vec<TrainedGroup<'_>> = (groups.iter().zip(&centroids).zip(0..))
                .map(|(((_, records), centroid), j)| TrainedGroup::new(ClientId(j), ClusterId(0), centroid, *records))
                .collect();
            mass += groups.iter().map(|(_, records)| records).sum::<usize>();
            for memory in [&mut whole, &mut again] {
                memory.begin(Round(number as u32)).unwrap();
                memory.commit(&trained).unwrap();
            }
            prop_assert_eq!(whole.state().unwrap(), again.state().unwrap());
            prop_assert!(whole.covered().mass.len() <= whole.bound());
            prop_assert_eq!(whole.covered().points.rows(), whole.covered().mass.len());
            let kept: f32 = whole.covered().mass.iter().sum();
            prop_assert!((kept - mass as f32).abs() < 1e-3, "no record is forgotten: {} of {}", kept, mass);
        }
    }
}

#[test]
fn states_of_others_are_refused() {
    let mut memory = CoverageMemory::default();
    for state in [&b"garbage"[..], b"", &[1, 1, 1, 0, 0, 0x80, 0x3f]] {
        let error = memory.resume(state).unwrap_err().to_string();
        assert!(error.contains("coverage memory") || error.contains("values"), "{error}");
    }
}
