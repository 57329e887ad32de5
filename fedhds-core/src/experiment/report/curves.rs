//! Losses and Rouge-L over rounds, and over what they cost: records, seconds and bytes.

use super::chart::{Point, Series, figure};
use super::looks::Looks;
use super::places::Places;
use super::study::Study;
use super::table::{Cell, Table};
use super::text::escaped;
use crate::experiment::run_record::RunRecord;
use crate::protocol::Direction;

/// Where the runs of a method stand after a round: means over the seeds that had it.
struct Step {
    round: usize,
    seeds: usize,
    /// Test loss, Rouge-L and the loss of training, each with the lowest and the highest of a seed.
    measures: [Option<(f64, [f64; 2])>; 3],
    /// Records, client seconds and bytes until then.
    spent: [f64; 3],
}

/// What is drawn: each measure by its name.
const MEASURES: [&str; 3] = ["test loss, nats", "Rouge-L", "training loss, nats"];
/// What it is drawn over beside rounds.
const AXES: [&str; 4] = ["rounds", "records trained on", "client seconds", "bytes"];

/// The steps of some seeds of one method.
fn steps(runs: &[&RunRecord]) -> Vec<Step> {
    let rounds = runs.iter().map(|run| run.rounds.len()).max().unwrap_or_default();
    let mut spent = vec![[0.0; 3]; runs.len()];
    let mut steps = Vec::new();
    for at in 0..rounds {
        let mut values: [Vec<f64>; 3] = Default::default();
        let mut sums = [0.0; 3];
        let mut seeds = 0;
        for (run, spent) in runs.iter().zip(&mut spent) {
            let Some(round) = run.rounds.get(at) else { continue };
            seeds += 1;
            for client in &round.clients {
                let bytes = client.traffic.bytes(Direction::Up) + client.traffic.bytes(Direction::Down);
                let own = [client.selected.len() as f64, client.total_seconds(), bytes as f64];
                spent.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
            sums.iter_mut().zip(spent.iter()).for_each(|(sum, spent)| *sum += *spent);
            let losses: Vec<f64> =
                round.clients.iter().flat_map(|c| &c.losses).map(|l| f64::from(*l)).filter(|l| l.is_finite()).collect();
            let training = (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64);
            let evaluation = round.evaluation.as_ref();
            let measured = [evaluation.map(|e| e.loss), evaluation.and_then(|e| e.rouge_l), training];
            values.iter_mut().zip(measured).for_each(|(values, measured)| values.extend(measured));
        }
        let mean = |values: Vec<f64>| {
            let sum = values.iter().sum::<f64>();
            let ends = values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(*v), h.max(*v)]);
            (!values.is_empty()).then(|| (sum / values.len() as f64, ends))
        };
        steps.push(Step {
            round: at + 1,
            seeds,
            measures: values.map(mean),
            spent: sums.map(|sum| sum / seeds.max(1) as f64),
        });
    }
    steps
}

pub(super) fn table(studies: &[Study], places: Places) -> Table {
    let columns = ["seeds", "test loss", "Rouge-L", "training loss", "records", "client s", "bytes"];
    let mut table = places.table("curves", "Curves", &["method", "round"], &columns).noted(
        "After each round: means over the seeds that had it; records, seconds and bytes of all clients in all rounds until then. Test loss and \
         Rouge-L where the schedule asked for an evaluation. The test loss's interval here is the lowest and the highest seed.",
    );
    table.shown = false;
    for study in studies {
        for (condition, method, runs) in study.groups() {
            for step in steps(&runs) {
                let [loss, rouge, training] = step.measures;
                let mut cells = places.cells(study, condition, method);
                cells.push(Cell::text(step.round.to_string()));
                cells.push(Cell::count(step.seeds));
                cells.push(loss.map_or(Cell::Empty, |(mean, ends)| Cell::Interval {
                    mean,
                    ends: (step.seeds > 1).then_some(ends),
                    decimals: 3,
                    signed: false,
                }));
                cells.extend([rouge, training].map(|found| Cell::maybe(found.map(|(mean, _)| mean), 3)));
                let [records, seconds, bytes] = step.spent;
                cells.extend([Cell::Number(records, 0), Cell::Number(seconds, 2), Cell::Number(bytes, 0)]);
                table.push(cells);
            }
        }
    }
    table
}

/// The curves of every condition, each measure over each axis; of the losses of training those over rounds alone.
pub(super) fn figures(studies: &[Study], looks: &Looks) -> String {
    let mut html = String::new();
    let mut first = true;
    for study in studies {
        for condition in &study.conditions {
            let place =
                condition.as_ref().map_or(study.name.clone(), |condition| format!("{}, {condition}", study.name));
            let of: Vec<(&str, Vec<Step>)> = (study.groups().filter(|(of, ..)| *of == condition.as_deref()))
                .map(|(_, method, runs)| (method, steps(&runs)))
                .collect();
            let mut figures = String::new();
            for (measure, y) in MEASURES.into_iter().enumerate() {
                for (axis, x) in AXES.into_iter().enumerate().take(if measure == 2 { 1 } else { AXES.len() }) {
                    let series: Vec<Series<'_>> = of
                        .iter()
                        .map(|(method, steps)| Series {
                            name: method,
                            look: looks.of_method(method),
                            points: steps.iter().filter_map(|step| point(step, measure, axis)).collect(),
                        })
                        .collect();
                    figures += &figure(&format!("{y} over {x}"), x, y, &series);
                }
            }
            if figures.is_empty() {
                continue;
            }
            let names: Vec<(&str, usize)> = of.iter().map(|(method, _)| (*method, looks.of_method(method))).collect();
            let open = if std::mem::take(&mut first) { " open" } else { "" };
            html += &format!(
                "<details{open}><summary>{}</summary>\n{}<div class=\"figures\">{figures}</div></details>\n",
                escaped(&place),
                super::chart::legend(&names)
            );
        }
    }
    html
}

fn point(step: &Step, measure: usize, axis: usize) -> Option<Point> {
    let (y, ends) = (*step.measures.get(measure)?)?;
    let x = if axis == 0 { step.round as f64 } else { *step.spent.get(axis - 1)? };
    Some(Point { x, y, ends: (step.seeds > 1).then_some(ends) })
}
