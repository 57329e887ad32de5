//! The page: one file with its style and script in it, and nothing from anywhere else.

use super::looks::Looks;
use super::study::Study;
use super::table::Table;
use super::text::escaped;
use super::{LeftOut, about, cost, curves, headline, heat, layers, map};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A section of the page.
struct Section {
    id: &'static str,
    title: &'static str,
    html: String,
}

pub(super) fn html(studies: &[Study], tables: &[Table], left_out: &[LeftOut]) -> String {
    let looks = Looks::of(studies);
    let shown = |ids: &[&str]| -> String {
        tables.iter().filter(|table| table.shown && ids.contains(&table.id)).map(Table::to_html).collect()
    };
    let section = |id, title, html| Section { id, title, html };
    let sections = [
        section("results", "Results", shown(&["results", "differences", "until"])),
        section("conditions", "Conditions and attacks", heat::conditions(studies)),
        section("curves", "Curves", curves::figures(studies, &looks)),
        section(
            "costs",
            "Costs",
            cost::bars(studies) + &shown(&["seconds", "bytes", "trained"]) + &heat::devices(studies),
        ),
        section("maps", "Selection maps", map::figures(studies)),
        section("layers", "Layers", layers::figures(studies, &looks) + &folded("Every layer", shown(&["layers"]))),
        section("about", "Settings, versions, seeds", about::html(studies) + &folded("Every run", shown(&["runs"]))),
        section("left-out", "Files that were left out", shown(&["left_out"])),
    ];
    let sections: Vec<Section> = sections.into_iter().filter(|section| !section.html.is_empty()).collect();
    let names: Vec<&str> = studies.iter().map(|study| study.name.as_str()).collect();
    let title = format!("FedHDS: {}", names.join(", "));
    let mut body = format!(
        "<a class=\"skip\" href=\"#main\">To the results</a>\n<header><h1>{}</h1>\n<nav aria-label=\"Sections\"><ul>",
        escaped(&title)
    );
    for Section { id, title, .. } in &sections {
        body += &format!("<li><a href=\"#{id}\">{title}</a></li>");
    }
    body += "</ul></nav></header>\n<main id=\"main\">\n<section aria-label=\"In words\" class=\"headline\"><ul>\n";
    for sentence in headline::sentences(studies, left_out) {
        body += &format!("<li>{}</li>\n", escaped(&sentence));
    }
    body += "</ul></section>\n";
    for Section { id, title, html } in &sections {
        body += &format!("<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title}</h2>\n{html}</section>\n");
    }
    let files: Vec<String> =
        tables.iter().map(|table| format!("<code>{0}.csv</code>, <code>{0}.md</code>", table.id)).collect();
    body += &format!("</main>\n<footer><p>Beside this page: {}.</p></footer>\n", files.join(", "));
    document(&title, &body)
}

fn folded(title: &str, html: String) -> String {
    if html.is_empty() { html } else { format!("<details><summary>{title}</summary>\n{html}</details>\n") }
}

/// The whole file. Its policy lets no request out, and runs no script but the page's own: that one has a number that only the page's whole
/// content gives, so that nothing in a record can say it.
fn document(title: &str, body: &str) -> String {
    let nonce = blake3::hash(body.as_bytes()).to_hex();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; \
         base-uri 'none'; form-action 'none'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n",
        escaped(title)
    )
}
