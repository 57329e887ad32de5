//! What the runs are of: settings, data, versions, seeds, notes.

use super::study::Study;
use super::text::{escaped, plural};
use crate::experiment::run_record::RunRecord;
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
