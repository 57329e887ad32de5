//! What the greedy selectors cost on many groups: 300 Gaussian topics in 128 columns, rows of length 1, 1,000 picks.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p fedhds-core --no-default-features --bench coverage -- facility 100000`, or `saturated`;
//! a third argument is the noise of a row beside its topic, in parts of the topic's length (0.5). CPU seconds and memory are
//! read where Linux tells them, the memory as the most that the process ever held.

mod measured;

use fedhds_core::Result;
use fedhds_core::select::{FacilityLocation, SaturatedCoverage};
use fedhds_core::stage::{Budget, Rows, Selector};
use fedhds_core::types::{Context, Matrix, Seed};
use measured::{cpu_seconds, megabytes};
use rand_distr::{Distribution, StandardNormal};

const COLUMNS: usize = 128;
const TOPICS: usize = 300;
const PICKS: usize = 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let which = arguments.first().map_or("", String::as_str);
    let n: usize = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let noise: f32 = arguments.get(2).and_then(|noise| noise.parse().ok()).unwrap_or(0.5);
    let points = topics(n, noise)?;
    let selectors: [(&str, &dyn Selector); 2] =
        [("facility", &FacilityLocation), ("saturated", &SaturatedCoverage::default())];
    for (name, selector) in selectors.into_iter().filter(|(name, _)| which.is_empty() || *name == which) {
        let (cpu, before) = (cpu_seconds(), megabytes("VmRSS"));
        let picks = selector.select(&Rows::new(&points), Budget::Total(PICKS), &Context::new(1))?;
        let sum: u64 = picks.iter().map(|row| u64::from(row.0)).sum();
        println!(
            "{name}, {n} x {COLUMNS}, noise {noise}: {:.2} CPU s; {before} MB before, peak {} MB; the picks' sum is {sum}",
            cpu_seconds() - cpu,
            megabytes("VmHWM"),
        );
    }
    Ok(())
}

fn topics(n: usize, noise: f32) -> Result<Matrix> {
    let mut rng = Seed(1).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let centres: Vec<f32> = (0..TOPICS * COLUMNS).map(|_| normal()).collect();
    let mut data = Vec::with_capacity(n * COLUMNS);
    for i in 0..n {
        let topic = &centres[i % TOPICS * COLUMNS..(i % TOPICS + 1) * COLUMNS];
        let row: Vec<f32> = topic.iter().map(|centre| centre + noise * normal()).collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        data.extend(row.iter().map(|x| x / length));
    }
    Matrix::new(n, COLUMNS, data)
}
