//! The part of a cache that lives in memory.

use super::rows::CachedRows;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The hash of a key, and of a list of records.
pub(super) type Place = ([u8; 32], [u8; 32]);

/// Matrices by key and records; when they are too much, those go that were used longest ago.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    bytes: usize,
    clock: u64,
    entries: BTreeMap<Place, (u64, Arc<CachedRows>)>,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, clock: 0, entries: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink();
    }

    pub(super) fn get(&mut self, place: &Place) -> Option<Arc<CachedRows>> {
        self.clock += 1;
        let (used, rows) = self.entries.get_mut(place)?;
        *used = self.clock;
        Some(rows.clone())
    }

    pub(super) fn insert(&mut self, place: Place, rows: Arc<CachedRows>) {
        self.clock += 1;
        self.bytes += bytes(&rows);
        if let Some((_, old)) = self.entries.insert(place, (self.clock, rows)) {
            self.bytes -= bytes(&old);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > self.limit
            && let Some(place) = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(place, _)| *place)
            && let Some((_, old)) = self.entries.remove(&place)
        {
            self.bytes -= bytes(&old);
        }
    }
}

/// What an entry takes in memory; more than nothing, so that a limit of 0 keeps none.
pub(super) fn bytes(rows: &CachedRows) -> usize {
    size_of::<CachedRows>() + size_of_val(rows.values.as_slice())
}
