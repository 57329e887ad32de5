//! What runs cost, stage by stage: seconds over clients and rounds with the speed-up over FedIT (the paper's tables 3 and 5), bytes as they were
//! serialised, peak memory; the same of each device and round; and bars.

use super::places::{FEDIT, Places};
use super::study::Study;
use super::table::{Cell, Table};
use super::text::{escaped, number, short};
use crate::experiment::run_record::RunRecord;
use crate::protocol::{Direction, Kind};
use std::collections::BTreeMap;

/// Stages of a client in the order of a round; a stage of another name comes after them.
const STAGES: [&str; 6] = ["features", "scores", "summarize", "judge", "choose", "train"];

/// What the runs of one condition and method spent.
struct Spent {
    /// Clients that took part, summed over rounds and seeds; rounds, summed over the seeds.
    client_rounds: f64,
    rounds: f64,
    /// Seconds of the clients by stage, and of the server, summed.
    clients: BTreeMap<String, f64>,
    server: BTreeMap<String, f64>,
    evaluation: f64,
    /// Bytes by kind of message, summed.
    bytes: [f64; Kind::ALL.len()],
    /// The largest peak of a process, in bytes.
    peak: Option<u64>,
}

impl Spent {
    fn of(runs: &[&RunRecord]) -> Self {
        let mut spent = Self {
            client_rounds: 0.0,
            rounds: 0.0,
            clients: BTreeMap::new(),
            server: BTreeMap::new(),
            evaluation: 0.0,
            bytes: [0.0; Kind::ALL.len()],
            peak: runs.iter().filter_map(|run| run.peak_memory_bytes).max(),
        };
        let add = |sums: &mut BTreeMap<String, f64>, seconds: &BTreeMap<String, f64>| {
            seconds.iter().for_each(|(stage, seconds)| *sums.entry(stage.clone()).or_default() += seconds);
        };
        for round in runs.iter().flat_map(|run| &run.rounds) {
            spent.rounds += 1.0;
            spent.client_rounds += round.clients.len() as f64;
            add(&mut spent.server, &round.seconds);
            spent.evaluation += round.evaluation.as_ref().map_or(0.0, |evaluation| evaluation.seconds);
            for client in &round.clients {
                add(&mut spent.clients, &client.seconds);
                for (sum, kind) in spent.bytes.iter_mut().zip(Kind::ALL) {
                    *sum += client.traffic.of(kind).bytes as f64;
                }
            }
        }
        spent
    }

    /// Seconds a client and round.
    fn pace(&self) -> f64 {
        self.clients.values().sum::<f64>() / self.client_rounds.max(1.0)
    }

    fn bytes(&self, direction: Direction) -> f64 {
        Kind::ALL
            .into_iter()
            .zip(self.bytes)
            .filter(|(kind, _)| kind.direction() == direction)
            .map(|(_, bytes)| bytes)
            .sum()
    }
}

/// The stages of all clients, known ones first.
fn stages(studies: &[Study]) -> Vec<String> {
    let clients = studies.iter().flat_map(|s| &s.runs).flat_map(|r| &r.rounds).flat_map(|r| &r.clients);
    let found: std::collections::BTreeSet<&String> = clients.flat_map(|client| client.seconds.keys()).collect();
    let known = STAGES.iter().filter(|stage| found.iter().any(|name| name == *stage)).map(|stage| (*stage).to_owned());
    let others = found.iter().filter(|name| !STAGES.contains(&name.as_str())).map(|name| (*name).clone());
    known.chain(others).collect()
}

pub(super) fn seconds(studies: &[Study], places: Places) -> Table {
    let stages = stages(studies);
    let mut columns: Vec<&str> = stages.iter().map(String::as_str).collect();
    columns.extend(["client, in all", "speed-up", "client s, whole run", "select", "aggregate", "evaluation"]);
    columns.extend(["peak memory, MB"]);
    let mut table = places.table("seconds", "Seconds by stage, and memory", &["method"], &columns).noted(
        "Stages of a client: seconds of one client in one round, means over clients, rounds and seeds; frozen features count once, in the round \
         that first needs them. Speed-up: FedIT's seconds a client and round over the method's. Whole run: all clients in all rounds, mean over \
         the seeds. Select and aggregate are the server's, evaluation the experimenter's, a round. Peak memory: the most that a process held, \
         all its clients together.",
    );
    for study in studies {
        for (condition, method, runs) in study.groups() {
            let spent = Spent::of(&runs);
            let fedit = Spent::of(&study.of(condition, FEDIT)).pace();
            let pace = spent.pace();
            let mut cells = places.cells(study, condition, method);
            cells.extend(stages.iter().map(|stage| {
                Cell::maybe(spent.clients.get(stage).map(|seconds| seconds / spent.client_rounds.max(1.0)), 4)
            }));
            let server = |stage: &str| Cell::maybe(spent.server.get(stage).map(|s| s / spent.rounds.max(1.0)), 4);
            cells.extend([
                Cell::Number(pace, 4),
                Cell::maybe((fedit > 0.0 && pace > 0.0).then(|| fedit / pace), 1),
                Cell::Number(spent.clients.values().sum::<f64>() / runs.len().max(1) as f64, 2),
                server("select"),
                server("aggregate"),
                Cell::Number(spent.evaluation / spent.rounds.max(1.0), 2),
                Cell::maybe(spent.peak.map(|bytes| bytes as f64 / 1e6), 0),
            ]);
            table.push(cells);
        }
    }
    table
}

pub(super) fn bytes(studies: &[Study], places: Places) -> Table {
    let mut columns: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    columns.extend(["up, in all", "down, in all", "MB up, whole run", "MB down, whole run"]);
    let mut table = places.table("bytes", "Bytes by message", &["method"], &columns).noted(
        "Bytes of the messages as they were serialised, headers included: of one client in one round, means over clients, rounds and seeds; whole \
         run: all clients in all rounds, mean over the seeds, 1 MB is 10^6 bytes. Client summaries and local updates go up, the others down.",
    );
    for study in studies {
        for (condition, method, runs) in study.groups() {
            let spent = Spent::of(&runs);
            let each = spent.client_rounds.max(1.0);
            let (up, down) = (spent.bytes(Direction::Up), spent.bytes(Direction::Down));
            let mut cells = places.cells(study, condition, method);
            cells.extend(spent.bytes.iter().map(|bytes| Cell::Number(bytes / each, 0)));
            cells.extend([Cell::Number(up / each, 0), Cell::Number(down / each, 0)]);
            cells.extend([up, down].map(|bytes| Cell::Number(bytes / runs.len().max(1) as f64 / 1e6, 2)));
            table.push(cells);
        }
    }
    table
}

/// Every device in every round: the one table that the page does not show.
pub(super) fn devices(studies: &[Study], places: Places) -> Table {
    let stages = stages(studies);
    let mut columns = vec!["records held", "records trained", "tokens", "passes", "loss of training"];
    columns.extend(stages.iter().map(String::as_str));
    columns.extend(["client, in all", "bytes up", "bytes down", "peak memory, MB"]);
    let names = ["method", "seed", "round", "client"];
    let mut table = places.table("devices", "Devices and rounds", &names, &columns).noted(
        "One row for each client in each round that it took part in: seconds by stage, bytes as they were serialised. Peak memory: of the whole \
         process after the round, as all clients of a simulation share one.",
    );
    table.shown = false;
    for study in studies {
        for run in &study.runs {
            for round in &run.rounds {
                for client in &round.clients {
                    let mut cells = places.cells(study, run.condition.as_deref(), &run.method);
                    let numbers =
                        [run.seed.to_string(), (u64::from(round.round.0) + 1).to_string(), client.client.0.to_string()];
                    cells.extend(numbers.map(Cell::text));
                    let losses: Vec<f64> =
                        client.losses.iter().map(|l| f64::from(*l)).filter(|l| l.is_finite()).collect();
                    let loss = (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64);
                    cells.extend([
                        Cell::count(client.records),
                        Cell::count(client.selected.len()),
                        Cell::Number(client.tokens as f64, 0),
                        Cell::Number(client.passes as f64, 0),
                        Cell::maybe(loss, 4),
                    ]);
                    cells.extend(stages.iter().map(|stage| Cell::maybe(client.seconds.get(stage).copied(), 4)));
                    cells.extend([
                        Cell::Number(client.total_seconds(), 4),
                        Cell::Number(client.traffic.bytes(Direction::Up) as f64, 0),
                        Cell::Number(client.traffic.bytes(Direction::Down) as f64, 0),
                        Cell::maybe(round.peak_memory_bytes.map(|bytes| bytes as f64 / 1e6), 0),
                    ]);
                    table.push(cells);
                }
            }
        }
    }
    table
}

/// Bars of each condition: seconds by stage, and bytes by direction, of one client in one round.
pub(super) fn bars(studies: &[Study]) -> String {
    let stages = stages(studies);
    let mut html = String::new();
    for study in studies {
        for condition in &study.conditions {
            let groups: Vec<(&str, Spent)> = study
                .groups()
                .filter(|(of, ..)| *of == condition.as_deref())
                .map(|(_, method, runs)| (method, Spent::of(&runs)))
                .collect();
            let place =
                condition.as_ref().map_or(study.name.clone(), |condition| format!("{}, {condition}", study.name));
            let by_stage = groups.iter().map(|(method, spent)| {
                let parts = stages
                    .iter()
                    .map(|stage| spent.clients.get(stage).copied().unwrap_or_default() / spent.client_rounds.max(1.0));
                (*method, parts.collect::<Vec<f64>>())
            });
            let by_direction = groups.iter().map(|(method, spent)| {
                (
                    *method,
                    [Direction::Up, Direction::Down]
                        .map(|way| spent.bytes(way) / spent.client_rounds.max(1.0))
                        .to_vec(),
                )
            });
            let names: Vec<&str> = stages.iter().map(String::as_str).collect();
            html += &bar_chart(
                &format!("{place}: seconds of a client in a round"),
                &names,
                &by_stage.collect::<Vec<_>>(),
                " s",
            );
            html += &bar_chart(
                &format!("{place}: bytes of a client in a round"),
                &["up", "down"],
                &by_direction.collect::<Vec<_>>(),
                "B",
            );
        }
    }
    format!("<div class=\"figures\">{html}</div>\n")
}

/// Stacked bars, one a method, each with its sum beside it.
fn bar_chart(title: &str, parts: &[&str], bars: &[(&str, Vec<f64>)], unit: &str) -> String {
    let sum = |values: &[f64]| values.iter().filter(|value| value.is_finite()).sum::<f64>();
    let most = bars.iter().map(|(_, values)| sum(values)).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let (left, width, line) = (0.0, 250.0, 34.0);
    let height = line * bars.len() as f64 + 4.0;
    let said: Vec<String> =
        bars.iter().map(|(method, values)| format!("{method} {}{unit}", short(sum(values)))).collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 330 {height:.0}\" role=\"img\" aria-label=\"{}: {}\">",
        escaped(title),
        escaped(&said.join(", "))
    );
    for (at, (method, values)) in bars.iter().enumerate() {
        let top = line * at as f64;
        svg += &format!("<text x=\"0\" y=\"{:.0}\">{}</text>", top + 12.0, escaped(method));
        let mut x = left;
        for (part, (name, value)) in parts.iter().zip(values).enumerate() {
            let wide = if value.is_finite() { (value / most * width).max(0.0) } else { 0.0 };
            svg += &format!(
                "<rect class=\"f{}\" x=\"{x:.1}\" y=\"{:.0}\" width=\"{wide:.1}\" height=\"14\"><title>{}, {}: {}{unit}</title></rect>",
                part % 8,
                top + 16.0,
                escaped(method),
                escaped(name),
                number(*value, if unit == "B" { 0 } else { 4 }, false)
            );
            x += wide;
        }
        svg += &format!(
            "<text class=\"v\" x=\"{:.1}\" y=\"{:.0}\">{}{unit}</text>",
            x + 5.0,
            top + 27.0,
            short(sum(values))
        );
    }
    svg += "</svg>";
    let used = |at: usize| bars.iter().any(|(_, values)| values.get(at).is_some_and(|value| *value > 0.0));
    let legend = parts.iter().enumerate().filter(|(at, _)| used(*at));
    let legend: String =
        legend.map(|(at, name)| format!("<li><i class=\"b{}\"></i>{}</li>", at % 8, escaped(name))).collect();
    format!("<figure><figcaption>{}</figcaption>{svg}<ul class=\"legend\">{legend}</ul></figure>\n", escaped(title))
}
