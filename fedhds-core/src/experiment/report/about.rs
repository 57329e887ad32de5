//! What the runs are of: settings, data, versions, seeds, notes.

use super::LeftOut;
use super::places::Places;
use super::study::Study;
use super::table::{Cell, Table};
use super::text::{escaped, plural};
use crate::experiment::run_record::RunRecord;
use crate::protocol::Direction;
use std::collections::{BTreeMap, BTreeSet};

/// Seeds that are named one by one.
const MOST_SEEDS: usize = 24;

pub(super) fn html(studies: &[Study]) -> String {
    studies.iter().map(of_study).collect()
}

fn of_study(study: &Study) -> String {
    let mut html = format!("<h3>{}</h3>\n<dl>\n", escaped(&study.name));
    let mut line = |name: &str, said: String| html += &format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(&said));
    let all = || study.untuned.iter().chain(&study.runs);
    let seeds: BTreeSet<u64> = study.runs.iter().map(|run| run.seed).collect();
    let named: Vec<String> = seeds.iter().take(MOST_SEEDS).map(u64::to_string).collect();
    let more = if seeds.len() > MOST_SEEDS { format!(" and {} more", seeds.len() - MOST_SEEDS) } else { String::new() };
    line("Seeds", format!("{}{more}", named.join(", ")));
    if let Some(run) = study.runs.first().or(study.untuned.as_ref()) {
        let data = &run.data;
        let told = format!(
            "{}, {} of {} tokens; test: {} of {} tokens (of the first run)",
            plural(data.clients, "client"),
            plural(data.records, "record"),
            data.tokens,
            plural(data.test_records, "record"),
            data.test_tokens
        );
        line("Data", told);
    }
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for run in all() {
        let of = &run.versions;
        let name = format!("fedhds {} on {} {}, {}", of.fedhds, of.os, of.architecture, plural(of.threads, "thread"));
        *versions.entry(name).or_default() += 1;
    }
    let versions: Vec<String> =
        versions.iter().map(|(name, runs)| format!("{name} ({})", plural(*runs, "run"))).collect();
    line("Versions", versions.join("; "));
    html += "</dl>\n";
    if !study.notes.is_empty() {
        let notes: String = study.notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
        html += &format!("<details><summary>Notes ({})</summary><ul>\n{notes}</ul></details>\n", study.notes.len());
    }
    html += &settings("Settings of the experiment", &study.config);
    for method in &study.methods {
        let first: Option<&RunRecord> = study.runs.iter().find(|run| run.method == *method);
        if let Some(run) = first {
            html += &settings(&format!("Settings of {method}, every one resolved"), &run.method_settings);
        }
    }
    html
}

fn settings(title: &str, value: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("<details><summary>{}</summary><pre tabindex=\"0\">{}</pre></details>\n", escaped(title), escaped(&text))
}

/// Every run, with what it came to.
pub(super) fn runs(studies: &[Study], places: Places) -> Table {
    let columns = [
        "rounds",
        "loss",
        "Rouge-L",
        "records",
        "client s",
        "server s",
        "MB up",
        "MB down",
        "peak memory, MB",
        "fedhds",
        "machine",
        "threads",
    ];
    let mut table = places.table("runs", "Runs", &["method", "seed"], &columns).noted(
        "Every run that this report is of. Peak memory: of the whole process when the run ended, what came before it in the same process included.",
    );
    for study in studies {
        for run in study.untuned.iter().chain(&study.runs) {
            let mut cells = places.cells(study, run.condition.as_deref(), &run.method);
            let metrics = run.metrics.as_ref();
            let mega = |direction| Cell::Number(run.bytes(direction) as f64 / 1e6, 2);
            let server: f64 = run.rounds.iter().flat_map(|round| round.seconds.values()).sum();
            cells.extend([
                Cell::text(run.seed.to_string()),
                Cell::count(run.rounds.len()),
                Cell::maybe(metrics.map(|metrics| metrics.loss.mean), 3),
                Cell::maybe(metrics.and_then(|metrics| metrics.rouge_l).map(|rouge| rouge.mean), 3),
                Cell::count(run.trained_records()),
                Cell::Number(run.client_seconds(), 2),
                Cell::Number(server, 2),
                mega(Direction::Up),
                mega(Direction::Down),
                Cell::maybe(run.peak_memory_bytes.map(|bytes| bytes as f64 / 1e6), 0),
                Cell::text(&run.versions.fedhds),
                Cell::text(format!("{} {}", run.versions.os, run.versions.architecture)),
                Cell::count(run.versions.threads),
            ]);
            table.push(cells);
        }
    }
    table
}

/// What the report could not be made of.
pub(super) fn files(left_out: &[LeftOut]) -> Table {
    let mut table = Table::new("left_out", "Files that were left out", &["file"], &["reason"])
        .noted("Nothing in this report is of these files.");
    for left in left_out {
        table.push(vec![Cell::text(left.file.display().to_string()), Cell::text(&left.reason)]);
    }
    table
}
