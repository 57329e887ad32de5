//! What a method looks like, the same all over the page.

use super::study::Study;
use std::collections::BTreeMap;

/// The colour and mark of each method, the same all over the page.
pub(super) struct Looks(BTreeMap<String, usize>);

impl Looks {
    pub(super) fn of(studies: &[Study]) -> Self {
        let mut looks = BTreeMap::new();
        for method in studies.iter().flat_map(|study| &study.methods) {
            let next = looks.len();
            looks.entry(method.clone()).or_insert(next);
        }
        Self(looks)
    }

    pub(super) fn of_method(&self, method: &str) -> usize {
        self.0.get(method).copied().unwrap_or_default()
    }
}
