//! `length`: some clients write longer prompts than others.

use crate::dataset::ClientData;
use crate::types::{Record, Rng, Seed};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_distr::StandardNormal;

/// The largest factor.
const MOST: f64 = 8.0;

/// Sentences that ask nothing and say nothing about any task, of many lengths, so that a length can be met closely.
const FILLERS: [&str; 16] = [
    "Note.",
    "Read on.",
    "Take care.",
    "Here it is.",
    "This is an item.",
    "The task follows.",
    "Take as long as needed.",
    "Please read to the end.",
    "What is asked stands below.",
    "This is one item among several.",
    "There is no need to hurry with this one.",
    "The items before and after it do not matter here.",
    "What follows was written down by one of our members.",
    "These first lines do not change what is asked for further below.",
    "Some of these items are short, others are long, and all are welcome.",
    "We thank everyone in advance who takes the time to go through our items with care.",
];

/// Every client draws a factor, `exp(deviation * z)` of a standard normal `z`, clipped to [1, 8]; its prompts become about so
/// many times as long, in characters. Returns the standard deviation over clients of the logarithm of the mean length.
///
/// The fillers stand before the instruction, on a line of their own, never in the input: an input is often the very thing
/// that is counted, sorted or rewritten, so that a sentence more would make the answer wrong.
pub(super) fn apply(deviation: f64, clients: &mut [ClientData], seed: Seed) -> f64 {
    for client in clients.iter_mut() {
        let seed = seed.derive("client", u64::from(client.client.0));
        let normal: f64 = seed.derive("factor", 0).rng().sample(StandardNormal);
        let factor = (deviation * normal).exp().clamp(1.0, MOST);
        for (record, slot) in client.records.iter_mut().zip(0..) {
            lengthen(record, factor, &mut seed.derive("slot", slot).rng());
        }
    }
    deviation_of_logs(clients)
}

fn length(record: &Record) -> usize {
    record.instruction.chars().count() + record.input.chars().count()
}

fn lengthen(record: &mut Record, factor: f64, rng: &mut Rng) {
    const BREAK: &str = "\n\n";
    let own = length(record);
    let mut room = ((factor * own as f64).round() as usize).saturating_sub(own + BREAK.len());
    let mut added: Vec<&str> = Vec::new();
    loop {
        // All are ASCII: a byte is a character.
        let fitting: Vec<&str> = FILLERS.into_iter().filter(|filler| filler.len() < room).collect();
        let Some(filler) = fitting.choose(rng) else { break };
        room -= filler.len() + 1;
        added.push(filler);
    }
    if !added.is_empty() {
        record.instruction = format!("{}{BREAK}{}", added.join(" "), record.instruction);
    }
}

fn deviation_of_logs(clients: &[ClientData]) -> f64 {
    let mean = |client: &ClientData| {
        let sum: usize = client.records.iter().map(length).sum();
        sum as f64 / client.records.len().max(1) as f64
    };
    let logs: Vec<f64> = clients.iter().map(mean).filter(|mean| *mean > 0.0).map(f64::ln).collect();
    let all = logs.len().max(1) as f64;
    let mean = logs.iter().sum::<f64>() / all;
    (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / all).sqrt()
}
