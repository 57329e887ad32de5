//! What the runs show, in sentences: claims are those that hold after the correction for all comparisons of an experiment.

use super::LeftOut;
use super::places::FEDIT;
use super::study::Study;
use super::text::{number, plural, short};
use crate::experiment::grid::GridComparison;
use crate::method::Preset;
use std::collections::BTreeSet;

/// The chance of any false claim of one experiment.
const LEVEL: f64 = 0.05;

pub(super) fn sentences(studies: &[Study], left_out: &[LeftOut]) -> Vec<String> {
    let mut said: Vec<String> = studies.iter().flat_map(of_study).collect();
    if !left_out.is_empty() {
        said.push(format!(
            "{} could not be read or did not fit: the last table names them.",
            plural(left_out.len(), "file")
        ));
    }
    said
}

fn of_study(study: &Study) -> Vec<String> {
    let seeds: BTreeSet<u64> = study.runs.iter().map(|run| run.seed).collect();
    let conditions = match study.conditions.iter().flatten().count() {
        0 => String::new(),
        n => format!(" in {}", plural(n, "condition")),
    };
    let mut said = vec![format!(
        "{}: {} of {}{conditions}, {}.",
        study.name,
        plural(study.count(), "run"),
        plural(study.methods.len(), "method"),
        plural(seeds.len(), "seed")
    )];
    let mut open: Vec<&str> = Vec::new();
    let mut single = false;
    for condition in &study.conditions {
        let of_condition = |c: &&GridComparison| c.condition == *condition && c.baseline == Preset::Random.name();
        let compared: Vec<&GridComparison> = study.grid.comparisons.iter().filter(of_condition).collect();
        if compared.is_empty() {
            continue;
        }
        single |= compared.iter().all(|c| c.over_seeds.p.is_none());
        let place = condition.as_deref().map_or(String::new(), |condition| format!("In {condition}, "));
        let claims = |lower: bool| -> Vec<(&str, String)> {
            let is_claim = |c: &&&GridComparison| {
                c.holm.is_some_and(|p| p < LEVEL) && (c.over_seeds.difference.mean < 0.0) == lower
            };
            compared.iter().filter(is_claim).map(|c| (c.method.as_str(), figures(c))).collect()
        };
        let (lower, higher) = (claims(true), claims(false));
        for (found, word) in [(&lower, "lower"), (&higher, "higher")] {
            said.extend(
                found
                    .iter()
                    .map(|(method, figures)| format!("{place}{method} has a {word} test loss than random: {figures}.")),
            );
        }
        if lower.is_empty() && higher.is_empty() {
            open.push(condition.as_deref().unwrap_or("any comparison"));
        }
    }
    if single {
        said.push("With one seed nothing can be said of how other draws of the federation would end.".into());
    } else if !open.is_empty() {
        said.push(format!("No method is shown to differ from random in {}.", open.join(", ")));
    }
    said.extend(speed_up(study));
    said
}

/// The difference with its interval and p-value.
fn figures(c: &GridComparison) -> String {
    let difference = &c.over_seeds.difference;
    let ends = difference
        .interval
        .map_or(String::new(), |[low, high]| format!(" [{}, {}]", number(low, 3, true), number(high, 3, true)));
    let p = c.holm.map_or(String::new(), |p| {
        if p < 0.0001 { ", Holm p <.0001".into() } else { format!(", Holm p {}", number(p, 4, false)) }
    });
    format!("{} nats{ends}{p}", number(difference.mean, 3, true))
}

/// How much faster than FedIT the fastest method that is no plain draw is, in the first condition that has both.
fn speed_up(study: &Study) -> Option<String> {
    let pace = |runs: &[&crate::experiment::RunRecord]| {
        let rounds: usize = runs.iter().map(|run| run.client_rounds()).sum();
        (rounds > 0).then(|| runs.iter().map(|run| run.client_seconds()).sum::<f64>() / rounds as f64)
    };
    study.conditions.iter().find_map(|condition| {
        let fedit = pace(&study.of(condition.as_deref(), FEDIT)).filter(|fedit| *fedit > 0.0)?;
        let plain = [FEDIT, Preset::Random.name(), Preset::Stratified.name()];
        let others = study.methods.iter().filter(|method| !plain.contains(&method.as_str()));
        let paces = others.filter_map(|method| Some((method, pace(&study.of(condition.as_deref(), method))?)));
        let (method, mine) = paces.filter(|(_, mine)| *mine > 0.0).min_by(|a, b| a.1.total_cmp(&b.1))?;
        let place = condition.as_deref().map_or(String::new(), |condition| format!(" in {condition}"));
        Some(match fedit > mine {
            true => {
                format!("A client's round takes FedIT {} times the seconds of {method}{place}.", short(fedit / mine))
            }
            false => {
                format!("A client's round takes {method} {} times the seconds of FedIT{place}.", short(mine / fedit))
            }
        })
    })
}
