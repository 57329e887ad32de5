//! What the runs of one table ran with: the same bits are promised for one release on one type of machine alone.

use super::run_record::Versions;
use std::collections::BTreeMap;

/// How many runs there are of each release and type of machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Releases(BTreeMap<String, usize>);

impl Releases {
    /// Counts a run.
    pub(super) fn add(&mut self, versions: &Versions) {
        let Versions { fedhds, os, architecture, .. } = versions;
        let name =
            if fedhds.is_empty() { "an older one".to_owned() } else { format!("{fedhds} on {os} {architecture}") };
        *self.0.entry(name).or_default() += 1;
    }

    /// Counts the runs of another table.
    pub(super) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, runs)| *self.0.entry(name.clone()).or_default() += runs);
    }

    /// What a reader of the table must know where there is more than one.
    pub(super) fn note(&self) -> Option<String> {
        if self.0.len() < 2 {
            return None;
        }
        let each: Vec<String> = self.0.iter().map(|(name, runs)| format!("{name} ({runs})")).collect();
        Some(format!(
            "mixed releases: the runs of this table are of {}; what differs between them may be the release's. Delete those of one and run again",
            each.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_release_needs_no_note_and_two_are_named() {
        let versions = |fedhds: &str, threads| Versions {
            fedhds: fedhds.into(),
            os: "linux".into(),
            architecture: "x86_64".into(),
            threads,
        };
        let mut releases = Releases::default();
        assert_eq!(releases.note(), None);
        releases.add(&versions("1.0.0", 2));
        releases.add(&versions("1.0.0", 8));
        assert_eq!(releases.note(), None);
        let mut other = Releases::default();
        other.add(&versions("0.9.0", 2));
        other.add(&Versions::default());
        releases.extend(&other);
        let note = releases.note().unwrap_or_default();
        assert!(note.contains("0.9.0 on linux x86_64 (1), 1.0.0 on linux x86_64 (2), an older one (1)"), "{note}");
    }
}
