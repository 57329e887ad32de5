//! How well each layer's features tell tasks apart.

use super::chart::{Point, Series, figure, legend};
use super::looks::Looks;
use super::places::Places;
use super::study::Study;
use super::table::{Cell, Table};
use crate::experiment::run_record::RunRecord;
use crate::simulate::LayerScore;

/// What a layer is scored by.
const SCORES: [&str; 3] = ["Calinski-Harabasz", "F1", "silhouette"];

/// Means of one layer, over the clients of all seeds that have the score.
struct Layer {
    number: usize,
    clients: usize,
    means: [Option<f64>; SCORES.len()],
}

fn layers(runs: &[&RunRecord]) -> Vec<Layer> {
    let clients =
        || runs.iter().flat_map(|run| &run.rounds).flat_map(|round| &round.clients).map(|client| &client.layers);
    let deepest = clients().map(Vec::len).max().unwrap_or_default();
    let of = |at: usize| {
        let scores: Vec<&LayerScore> = clients().filter_map(|layers| layers.get(at)).collect();
        let mean = |score: fn(&LayerScore) -> Option<f64>| {
            let values: Vec<f64> = scores.iter().filter_map(|layer| score(layer)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let means = [mean(|layer| layer.calinski_harabasz), mean(|layer| layer.f1), mean(|layer| layer.silhouette)];
        Layer { number: at + 1, clients: scores.len(), means }
    };
    (0..deepest).map(of).collect()
}

pub(super) fn table(studies: &[Study], places: Places) -> Table {
    let columns = ["clients", SCORES[0], SCORES[1], SCORES[2]];
    let mut table = places.table("layers", "Layers of the features", &["method", "layer"], &columns).noted(
        "How well the features of each layer tell a client's tasks apart, the first layer first: means over the clients of all seeds, each in the \
         latest round that it took part in. Higher is better in all three; F1: macro F1 of guessing a record's task from its nearest neighbour.",
    );
    for study in studies {
        for (condition, method, runs) in study.groups() {
            for layer in layers(&runs) {
                let mut cells = places.cells(study, condition, method);
                cells.extend([Cell::text(layer.number.to_string()), Cell::count(layer.clients)]);
                cells
                    .extend(layer.means.into_iter().zip([1, 3, 3]).map(|(mean, decimals)| Cell::maybe(mean, decimals)));
                table.push(cells);
            }
        }
    }
    table
}

/// Each score over the layers, of every condition.
pub(super) fn figures(studies: &[Study], looks: &Looks) -> String {
    let mut html = String::new();
    for study in studies {
        for condition in &study.conditions {
            let of: Vec<(&str, Vec<Layer>)> = (study.groups().filter(|(of, ..)| *of == condition.as_deref()))
                .map(|(_, method, runs)| (method, layers(&runs)))
                .filter(|(_, layers)| !layers.is_empty())
                .collect();
            let place =
                condition.as_ref().map_or(study.name.clone(), |condition| format!("{}, {condition}", study.name));
            let mut figures = String::new();
            for (at, score) in SCORES.into_iter().enumerate() {
                let point = |layer: &Layer| {
                    let y = (*layer.means.get(at)?)?;
                    Some(Point { x: layer.number as f64, y, ends: None })
                };
                let series: Vec<Series<'_>> = of
                    .iter()
                    .map(|(method, layers)| Series {
                        name: method,
                        look: looks.of_method(method),
                        points: layers.iter().filter_map(point).collect(),
                    })
                    .collect();
                figures += &figure(&format!("{place}: {score} by layer"), "layer", score, &series);
            }
            if !figures.is_empty() {
                let names: Vec<(&str, usize)> =
                    of.iter().map(|(method, _)| (*method, looks.of_method(method))).collect();
                html += &format!("{}<div class=\"figures\">{figures}</div>\n", legend(&names));
            }
        }
    }
    html
}
