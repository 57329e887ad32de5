//! Selection maps: where records lie, which of them were chosen, and of which task they are. Never a record's text: it is in no run record.

use super::study::Study;
use super::text::{escaped, plural};
use crate::experiment::run_record::RunRecord;
use crate::simulate::{GroupMap, SelectionMap};
use crate::types::ClientId;
use std::collections::BTreeMap;

/// Maps that a page shows, at most, and clients of one run.
const MOST_MAPS: usize = 60;
const MOST_CLIENTS: usize = 12;
/// Tasks that have a colour of their own; the others are grey.
const COLOURS: usize = 8;

/// The maps of the first seed of each condition and method that has any.
pub(super) fn figures(studies: &[Study]) -> String {
    let mut html = String::new();
    let (mut drawn, mut left) = (0, 0);
    for study in studies {
        for (condition, method, runs) in study.groups() {
            let Some(run) = runs.iter().find(|run| has_maps(run)) else { continue };
            if drawn >= MOST_MAPS {
                left += 1;
                continue;
            }
            let place = condition.map_or(String::new(), |condition| format!("{condition}, "));
            let open = if drawn == 0 { " open" } else { "" };
            let title = format!("{}, {place}{method}, seed {}", study.name, run.seed);
            let (figures, count) = of_run(run);
            drawn += count;
            html += &format!("<details{open}><summary>{}</summary>\n{figures}</details>\n", escaped(&title));
        }
    }
    if left > 0 {
        html +=
            &format!("<p class=\"note\">The maps of {} more are in their run records.</p>\n", plural(left, "method"));
    }
    html
}

fn clients(run: &RunRecord) -> impl Iterator<Item = (u32, ClientId, &SelectionMap)> {
    run.rounds.iter().flat_map(|round| {
        round.clients.iter().filter_map(move |client| Some((round.round.0, client.client, client.map.as_ref()?)))
    })
}

fn has_maps(run: &RunRecord) -> bool {
    clients(run).next().is_some() || run.rounds.iter().any(|round| round.map.is_some())
}

/// The maps of a run and how many they are: the server's first, then the clients' by their ids.
fn of_run(run: &RunRecord) -> (String, usize) {
    let mut maps: Vec<(u32, ClientId, &SelectionMap)> = clients(run).collect();
    maps.sort_by_key(|(_, client, _)| *client);
    let all = maps.len();
    maps.truncate(MOST_CLIENTS);
    let colours = Colours::of(maps.iter().map(|(_, _, map)| *map));
    let mut figures = String::new();
    let mut count = maps.len();
    for (round, map) in run.rounds.iter().filter_map(|round| Some((round.round.0, round.map.as_ref()?))) {
        count += 1;
        figures += &of_server(round, map);
    }
    figures.extend(maps.iter().map(|(round, client, map)| of_client(*round, *client, map, &colours)));
    let less = if all > count {
        format!("<p class=\"note\">The first {} of {all} clients.</p>\n", maps.len())
    } else {
        String::new()
    };
    let html = format!("{}{less}<div class=\"figures maps\">{figures}</div>\n", colours.legend());
    (html, count)
}

/// Colours of tasks: the largest first, by name among equals.
struct Colours<'a> {
    order: Vec<&'a str>,
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Colours<'a> {
    fn of(maps: impl Iterator<Item = &'a SelectionMap>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for map in maps {
            for task in &map.tasks {
                *counts.entry(task_of(map, *task)).or_default() += 1;
            }
        }
        let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
        order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let order: Vec<&str> = order.into_iter().map(|(name, _)| name).collect();
        let numbers = order.iter().take(COLOURS).copied().zip(0..).collect();
        Self { order, numbers }
    }

    fn class(&self, task: &str) -> String {
        self.numbers.get(task).map_or("fx".into(), |number| format!("f{number}"))
    }

    fn legend(&self) -> String {
        let named = self.order.iter().take(COLOURS).enumerate();
        let mut items: String =
            named.map(|(at, task)| format!("<li><i class=\"b{at}\"></i>{}</li>", escaped(name(task)))).collect();
        if self.order.len() > COLOURS {
            items += &format!("<li><i class=\"bx\"></i>{}</li>", plural(self.order.len() - COLOURS, "other task"));
        }
        format!("<ul class=\"legend\"><li><i class=\"ring\"></i>chosen</li>{items}</ul>\n")
    }
}

fn task_of(map: &SelectionMap, task: u32) -> &str {
    map.names.get(task as usize).map_or("", String::as_str)
}

fn name(task: &str) -> &str {
    if task.trim().is_empty() { "(no task)" } else { task }
}

/// A dot of a map.
struct Dot {
    place: [i16; 2],
    class: String,
    radius: f64,
    chosen: bool,
    said: String,
}

fn of_client(round: u32, client: ClientId, map: &SelectionMap, colours: &Colours<'_>) -> String {
    let mut by_task: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut dots = Vec::new();
    for (((place, task), group), chosen) in map.places.iter().zip(&map.tasks).zip(&map.groups).zip(&map.chosen) {
        let task = task_of(map, *task);
        let count = by_task.entry(task).or_default();
        count[0] += usize::from(*chosen);
        count[1] += 1;
        let group = group.map_or("in no group".into(), |group| format!("group {group}"));
        let said = format!("{}, {group}{}", name(task), if *chosen { ", chosen" } else { "" });
        let radius = if *chosen { 4.0 } else { 2.4 };
        dots.push(Dot { place: *place, class: colours.class(task), radius, chosen: *chosen, said });
    }
    let chosen = dots.iter().filter(|dot| dot.chosen).count();
    let mut tasks: Vec<String> = by_task
        .iter()
        .filter(|(_, [chosen, _])| *chosen > 0)
        .map(|(task, [chosen, of])| format!("{} {chosen} of {of}", name(task)))
        .collect();
    if tasks.len() > 12 {
        let more = tasks.len() - 12;
        tasks.truncate(12);
        tasks.push(format!("{more} more tasks"));
    }
    let shown = if map.held > dots.len() { format!(" ({} shown)", dots.len()) } else { String::new() };
    let title = format!("Client {client}, round {}: {chosen} of {} records{shown}", u64::from(round) + 1, map.held);
    drawing(
        &title,
        &format!("Chosen by task: {}", if tasks.is_empty() { "none".into() } else { tasks.join(", ") }),
        dots,
    )
}

fn of_server(round: u32, map: &GroupMap) -> String {
    let most = map.sizes.iter().copied().max().unwrap_or(1).max(1);
    let rows = map.places.iter().zip(&map.clients).zip(&map.sizes).zip(&map.clusters).zip(&map.ordered);
    let dots: Vec<Dot> = rows
        .map(|((((place, client), size), cluster), ordered)| Dot {
            place: *place,
            class: cluster.map_or("fx".into(), |cluster| format!("f{}", cluster.index() % COLOURS)),
            radius: 3.0 + 5.0 * (f64::from(*size) / f64::from(most)).sqrt(),
            chosen: *ordered > 0,
            said: format!(
                "client {client}: {} in a group{}, {ordered} ordered",
                plural(*size as usize, "record"),
                cluster.map_or(String::new(), |cluster| format!(", cluster {cluster} of the server"))
            ),
        })
        .collect();
    let ordered = dots.iter().filter(|dot| dot.chosen).count();
    let records: u64 = map.ordered.iter().map(|ordered| u64::from(*ordered)).sum();
    let title = format!("Server, round {}: {ordered} of {} ordered", u64::from(round) + 1, plural(dots.len(), "group"));
    let said =
        format!("{records} records were ordered. A dot is a group by its size, in the colour of the server's cluster.");
    drawing(&title, &said, dots)
}

/// Dots in a square; chosen ones come last, so that none is hidden.
fn drawing(title: &str, said: &str, mut dots: Vec<Dot>) -> String {
    dots.sort_by_key(|dot| dot.chosen);
    let mut svg = format!(
        "<figure><figcaption>{0}</figcaption><svg class=\"map\" viewBox=\"0 0 240 240\" role=\"img\" tabindex=\"0\" aria-label=\"{0}. {1}\">\
         <rect class=\"frame\" x=\"1\" y=\"1\" width=\"238\" height=\"238\" rx=\"6\"/>",
        escaped(title),
        escaped(said)
    );
    for Dot { place: [x, y], class, radius, chosen, said } in dots {
        let (x, y) = (120.0 + f64::from(x) * 0.0108, 120.0 - f64::from(y) * 0.0108);
        let chosen = if chosen { " c" } else { "" };
        svg += &format!(
            "<circle class=\"{class}{chosen}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{}</title></circle>",
            escaped(&said)
        );
    }
    format!("{svg}</svg><p class=\"note\">{}</p></figure>\n", escaped(said))
}
