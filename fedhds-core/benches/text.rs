//! Rows of text features and near copies, in bytes of text a second.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p fedhds-core --no-default-features --bench text` for one core.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fedhds_core::features::{NearCopiesConfig, TextFeatures, TextFeaturesConfig, near_copies};
use fedhds_core::stage::FeatureExtractor;
use fedhds_core::types::{Context, Control, Record, Rng, Seed};
use rand::RngExt as _;
use std::time::Duration;

/// A text of about so many bytes: words of syllables, frequent ones more often.
fn text(bytes: usize, syllables: &[&str], rng: &mut Rng) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        // Low numbers are likelier: 5,000 words, of which 100 are half of a text.
        let mut word = (5000f64.powf(rng.random::<f64>())) as usize;
        for _ in 0..1 + word % 4 {
            text.push_str(syllables[word % syllables.len()]);
            word /= 3;
        }
        text.push_str(if rng.random_range(0..12) == 0 { ". " } else { " " });
    }
    text
}

fn records(count: usize, bytes: usize, syllables: &[&str]) -> (Vec<Record>, u64) {
    let mut rng = Seed(1).rng();
    let records: Vec<Record> = (0..count)
        .map(|i| Record {
            id: i.to_string(),
            instruction: text(bytes / 2, syllables, &mut rng),
            input: text(bytes / 4, syllables, &mut rng),
            responses: vec![text(bytes / 4, syllables, &mut rng)],
            ..Record::default()
        })
        .collect();
    let bytes = records.iter().map(|r| r.instruction.len() + r.input.len() + r.response().len()).sum::<usize>();
    (records, bytes as u64)
}

const LATIN: [&str; 16] =
    ["ba", "the", "ing", "so", "Re", "tion", "an", "lo", "er", "qui", "st", "men", "du", "ka", "or", "fi"];
const OTHERS: [&str; 16] =
    ["би", "про", "ent", "猫", "ü", "ст", "an", "Ло", "ἐν", "qué", "ок", "мен", "ду", "か", "or", "фи"];

fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (name, syllables) in [("ascii", &LATIN), ("unicode", &OTHERS)] {
        for (count, size) in [(10_000, 100), (1_000, 2_000), (20, 200_000)] {
            let (records, bytes) = records(count, size, syllables);
            group.throughput(Throughput::Bytes(bytes));
            let features = TextFeatures::new(TextFeaturesConfig::default()).unwrap();
            group.bench_function(BenchmarkId::new(format!("features {name}"), size), |b| {
                b.iter(|| features.extract(&records, None, &Context::new(1)).unwrap());
            });
            group.bench_function(BenchmarkId::new(format!("near copies {name}"), size), |b| {
                b.iter(|| near_copies(&records, NearCopiesConfig::default(), &Control::default()).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
