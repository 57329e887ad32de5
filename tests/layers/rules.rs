//! What a crate's modules may import: the list of layers, the crates of some modules alone, no circles of files.

use super::source::{Source, Target};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One file's use of another.
struct Edge {
    file: String,
    line: usize,
    /// The path as it is written.
    path: String,
    to: usize,
}

/// Every use of another module, in the order of files and lines. `whole`: naming a module as a whole counts as well as naming
/// something that it defines.
fn edges(source: &Source, whole: bool) -> Vec<(usize, Edge)> {
    let mut found = Vec::new();
    for (from, module) in source.modules.iter().enumerate() {
        let imports = module.imports.iter().filter(|import| {
            // A module that shows its own parts to others does not depend on them, unless it works with them itself.
            let own = match source.resolve(from, &import.path.segments) {
                Target::Module(to) | Target::Item(to) => source.modules[to].path.starts_with(&module.path),
                Target::Outside(_) => false,
            };
            !(own && import.public) || import.name.as_ref().is_some_and(|name| module.words.contains(name))
        });
        for named in imports.map(|import| &import.path).chain(&module.paths) {
            let to = match source.resolve(from, &named.segments) {
                Target::Item(to) => to,
                Target::Module(to) if whole => to,
                _ => continue,
            };
            let path = named.segments.join("::");
            found.push((from, Edge { file: module.file.clone(), line: named.line, path, to }));
        }
    }
    found.sort_by(|(_, a), (_, b)| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found
}

/// The layers that the documentation of `lib.rs` lists, from the bottom up: each line `//! - ` names one, its modules in backticks
/// before the colon.
pub fn layers(lib: &str) -> Vec<Vec<String>> {
    let lines = lib.lines().filter_map(|line| line.strip_prefix("//! - `"));
    let names = |line: &str| line.split(':').next().unwrap_or_default().replace('`', "");
    lines.map(|line| names(line).split(", ").map(str::to_owned).collect()).collect()
}

/// Modules that the list lacks, or names twice, or that are not there.
pub fn unlisted(source: &Source, layers: &[Vec<String>]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for name in layers.iter().flatten() {
        if !seen.insert(name.as_str()) {
            faults.push(format!("lib.rs: `{name}` stands in the list of layers twice"));
        }
        if !source.modules[0].children.contains_key(name) {
            faults.push(format!("lib.rs: `{name}` stands in the list of layers, and there is no such module"));
        }
    }
    let missing = source.modules[0].children.keys().filter(|name| !seen.contains(name.as_str()));
    faults.extend(missing.map(|name| format!("lib.rs: `{name}` is missing in the list of layers")));
    faults
}

/// Imports of a layer above, or of another module of the same layer.
pub fn upward(source: &Source, layers: &[Vec<String>]) -> Vec<String> {
    let layer = |name: &str| layers.iter().position(|line| line.iter().any(|n| n == name));
    let mut faults = Vec::new();
    for (from, edge) in edges(source, true) {
        let (Some(own), Some(other)) = (source.modules[from].path.first(), source.modules[edge.to].path.first()) else {
            continue;
        };
        let (Some(at), Some(above)) = (layer(own), layer(other)) else { continue };
        let relation = match own == other || above < at {
            true => continue,
            false if above == at => "stands beside",
            false => "stands below",
        };
        let Edge { file, line, path, .. } = edge;
        faults.push(format!("{file}:{line}: `{own}` {relation} `{other}` in lib.rs and must not import it (`{path}`)"));
    }
    faults
}

/// Uses of the crates whose name is `family` or begins with it and `_`, outside of `allowed`.
pub fn outsiders(source: &Source, family: &str, allowed: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, module) in source.modules.iter().enumerate() {
        if module.path.first().is_some_and(|top| allowed.contains(&top.as_str())) {
            continue;
        }
        let imports = module.imports.iter().map(|import| &import.path);
        for named in imports.chain(&module.paths) {
            let Target::Outside(name) = source.resolve(number, &named.segments) else { continue };
            if name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
                let (file, line) = (&module.file, named.line);
                faults.push(format!("{file}:{line}: expected `{name}` in {} alone", allowed.join(", ")));
            }
        }
    }
    faults
}

/// Circles of files that need each other, the shortest first; of those that share a file, one.
///
/// What a module's parents define is there for all below them, so that needing a parent makes no circle.
pub fn circles(source: &Source) -> Vec<String> {
    let mut uses: BTreeMap<String, BTreeMap<String, Edge>> = BTreeMap::new();
    for (from, edge) in edges(source, false) {
        let (from, to) = (&source.modules[from], &source.modules[edge.to]);
        if to.file != from.file && !from.path.starts_with(&to.path) {
            uses.entry(edge.file.clone()).or_default().entry(to.file.clone()).or_insert(edge);
        }
    }
    let mut found: Vec<Vec<String>> = uses.keys().filter_map(|start| shortest(&uses, start)).collect();
    found.sort_by_key(Vec::len);
    let mut told = BTreeSet::new();
    found.retain(|circle| {
        let new = !circle.iter().any(|file| told.contains(file));
        told.extend(circle.iter().cloned());
        new
    });
    let tell = |circle: Vec<String>| {
        let steps = (0..circle.len()).map(|i| {
            let (from, to) = (&circle[i], &circle[(i + 1) % circle.len()]);
            let Edge { file, line, path, .. } = &uses[from][to];
            format!("{file}:{line}: needs {to} (`{path}`)")
        });
        format!("a circle of {} files: {}", circle.len(), steps.collect::<Vec<_>>().join("; "))
    };
    found.into_iter().map(tell).collect()
}

/// The shortest way from a file back to it.
fn shortest(uses: &BTreeMap<String, BTreeMap<String, Edge>>, start: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        for next in uses.get(last).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}
