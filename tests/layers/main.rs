//! The crates' modules stand in layers: `lib.rs` of the core lists them, and no import goes against the list or in a circle.

mod checker;
mod rules;
mod source;

use rules::{circles, layers, outsiders, unlisted, upward};
use source::Source;
use std::path::Path;

/// The modules that may import burn, whose types stay out of the public traits.
const WITH_BURN: [&str; 4] = ["model", "features", "train", "generate"];
/// The modules that never import each other.
const SIBLINGS: [&str; 7] = ["aggregate", "cluster", "dataset", "metrics", "privacy", "reduce", "select"];
fn text(package: &str, file: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src").join(file)).ok()
}

fn read(package: &str) -> Source {
    Source::read(&|file| text(package, file)).unwrap_or_else(|error| panic!("{package}/src/{error}"))
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn listed() -> Vec<Vec<String>> {
    layers(&text("fedhds-core", "lib.rs").unwrap())
}

#[test]
fn the_list_names_every_module() {
    let listed = listed();
    none(&unlisted(&read("fedhds-core"), &listed));
    let together = listed.iter().filter(|line| SIBLINGS.iter().all(|name| line.iter().any(|n| n == name))).count();
    assert_eq!(together, 1, "expected {SIBLINGS:?} on one line, so that they never import each other: {listed:?}");
}

#[test]
fn the_order_of_the_list_is_true() {
    none(&upward(&read("fedhds-core"), &listed()));
}

#[test]
fn burn_stays_where_the_models_are() {
    let core = read("fedhds-core");
    none(&outsiders(&core, "burn", &WITH_BURN));
    assert!(!outsiders(&core, "burn", &[]).is_empty(), "expected burn to be found where it is");
}

#[test]
fn no_files_need_each_other() {
    let of = |package| circles(&read(package)).into_iter().map(move |told| format!("{package}/src: {told}"));
    none(&["fedhds-core", "fedhds-ffi", "fedhds-py"].into_iter().flat_map(of).collect::<Vec<_>>());
}
