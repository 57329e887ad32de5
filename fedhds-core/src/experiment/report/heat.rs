//! Heat maps, as tables whose cells have colours: conditions and attacks by methods, and devices by rounds.

use super::study::Study;
use super::text::{escaped, number};
use crate::experiment::grid::{GridComparison, GridRow};
use crate::experiment::run_record::RunRecord;
use crate::method::Preset;
use std::collections::BTreeMap;

/// Rounds and clients that a map of devices shows, at most: the table of devices has all.
const MOST: usize = 40;
/// Steps of a colour.
const STEPS: f64 = 9.0;

/// A cell: what it says, and its colour from -1 (good) over 0 (none) to 1 (bad).
struct Shade {
    said: String,
    colour: f64,
}

/// The maps of conditions and attacks; empty where there is one condition alone.
pub(super) fn conditions(studies: &[Study]) -> String {
    let rows: usize = studies.iter().map(|study| study.conditions.len()).sum();
    if rows < 2 {
        return String::new();
    }
    let mut methods: Vec<&str> = Vec::new();
    for method in studies.iter().flat_map(|study| &study.methods) {
        if !methods.contains(&method.as_str()) {
            methods.push(method);
        }
    }
    let random = Preset::Random.name();
    let differences = grid(studies, &methods, |study, row| {
        let against =
            |c: &&GridComparison| c.condition == row.condition && c.method == row.method && c.baseline == random;
        match study.grid.comparisons.iter().find(against) {
            Some(c) => {
                let star = if c.holm.is_some_and(|p| p < 0.05) { "*" } else { "" };
                let mean = c.over_seeds.difference.mean;
                Some((format!("{}{star}", number(mean, 3, true)), mean))
            }
            None => row.loss.as_ref().map(|loss| (format!("({})", number(loss.mean, 3, false)), 0.0)),
        }
    });
    let purity =
        grid(studies, &methods, |_, row| row.truth.map(|truth| (number(truth.purity, 2, false), 1.0 - truth.purity)));
    let difference = "Loss minus that of random, in nats, by condition: below 0 is better, * after Holm's correction; in brackets the loss itself, \
                      where nothing is compared with random.";
    let pure = "Purity: share of the trained records that are not bad, by condition.";
    [(difference, differences, methods.clone()), (pure, purity, methods)]
        .into_iter()
        .map(|(title, rows, columns)| table(title, "condition", &columns, &rows))
        .collect()
}

type Rows = Vec<(String, Vec<Option<Shade>>)>;
/// What a cell says, and the number behind it.
type Cell = Option<(String, f64)>;

/// One row a condition, colours scaled to the largest value.
fn grid(studies: &[Study], methods: &[&str], value: impl Fn(&Study, &GridRow) -> Cell) -> Rows {
    let mut rows: Vec<(String, Vec<Cell>)> = Vec::new();
    for study in studies {
        for condition in &study.conditions {
            let name = match (studies.len(), condition) {
                (1, Some(condition)) => condition.clone(),
                (_, Some(condition)) => format!("{}, {condition}", study.name),
                (_, None) => study.name.clone(),
            };
            let cell = |method: &&str| {
                let row = study.grid.rows.iter().find(|row| row.condition == *condition && row.method == *method)?;
                value(study, row)
            };
            rows.push((name, methods.iter().map(cell).collect()));
        }
    }
    shaded(rows)
}

fn shaded(rows: Vec<(String, Vec<Cell>)>) -> Rows {
    let values = rows.iter().flat_map(|(_, cells)| cells).flatten().map(|(_, value)| value.abs());
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let shade = |(said, value): (String, f64)| {
        let colour = if most > 0.0 && value.is_finite() { value / most } else { 0.0 };
        Shade { said, colour }
    };
    rows.into_iter().map(|(name, cells)| (name, cells.into_iter().map(|cell| cell.map(shade)).collect())).collect()
}

fn table(title: &str, corner: &str, columns: &[&str], rows: &Rows) -> String {
    if rows.iter().all(|(_, cells)| cells.iter().all(Option::is_none)) {
        return String::new();
    }
    let head: String =
        columns.iter().map(|column| format!("<th scope=\"col\" class=\"n\">{}</th>", escaped(column))).collect();
    let mut html = format!(
        "<p class=\"note\">{0}</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table class=\"heat\">\n\
         <thead><tr><th scope=\"col\">{corner}</th>{head}</tr></thead><tbody>\n",
        escaped(title)
    );
    for (name, cells) in rows {
        html += &format!("<tr><th scope=\"row\">{}</th>", escaped(name));
        for cell in cells {
            html += &match cell {
                None => "<td class=\"n\">-</td>".to_owned(),
                Some(Shade { said, colour }) => {
                    let kind = if *colour < 0.0 { "good" } else { "bad" };
                    let step = (colour.abs() * STEPS).round();
                    format!("<td class=\"n {kind} l{step:.0}\">{}</td>", escaped(said))
                }
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody></table></div>\n"
}

/// Seconds of each device in each round, of the first seed of every method in the first condition.
pub(super) fn devices(studies: &[Study]) -> String {
    let mut html = String::new();
    for study in studies {
        let condition = study.conditions.first().and_then(Option::as_deref);
        for (of, method, runs) in study.groups().filter(|(of, ..)| *of == condition) {
            let Some(run) = runs.first() else { continue };
            let place = of.map_or(String::new(), |condition| format!("{condition}, "));
            let title = format!("{}, {place}{method}, seed {}: seconds of each client by round.", study.name, run.seed);
            html += &of_run(&title, run);
        }
    }
    if html.is_empty() { html } else { format!("<details><summary>Devices by round</summary>\n{html}</details>\n") }
}

fn of_run(title: &str, run: &RunRecord) -> String {
    let rounds = run.rounds.len().min(MOST);
    let mut clients: BTreeMap<u32, Vec<Option<(String, f64)>>> = BTreeMap::new();
    for (at, round) in run.rounds.iter().take(rounds).enumerate() {
        for client in &round.clients {
            let cells = clients.entry(client.client.0).or_insert_with(|| vec![None; rounds]);
            let seconds = client.total_seconds();
            if let Some(cell) = cells.get_mut(at) {
                *cell = Some((number(seconds, 2, false), seconds));
            }
        }
    }
    let shown = clients.len().min(MOST);
    let less = match (clients.len() > shown, run.rounds.len() > rounds) {
        (false, false) => String::new(),
        _ => format!(" The first {shown} clients of {} and {rounds} rounds of {}.", clients.len(), run.rounds.len()),
    };
    let rows = clients.into_iter().take(MOST).map(|(client, cells)| (client.to_string(), cells)).collect();
    let columns: Vec<String> = (1..=rounds).map(|round| round.to_string()).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    table(&format!("{title}{less}"), "client", &columns, &shaded(rows))
}
