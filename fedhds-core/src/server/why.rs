//! Why a group gives records, and why no more.
//!
//! A server that nobody asked to explain holds none of this: what is not called is not in a device's library.

use crate::select::covered_before;
use crate::stage::{Coverage, Nearness, Rows, Watch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a group gives records, as far as the method's server knows. It holds nothing that the clients did not send.
///
/// Methods that draw, and those whose clustering decides, have no order and no gains.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct GroupReason {
    /// Place of the group's first record among the records of the round, in the order of the greedy choice, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// What that record added to what the selector maximises, in the selector's own unit: at least 0, and comparable within a round alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<f64>,
    /// How covered the group's place was before the round, where the method has a memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<Coverage>,
    /// The limits that it reached.
    #[serde(default, skip_serializing_if = "Caps::is_empty")]
    pub caps: Caps,
}

/// The limits that a group reached: each of them alone would have kept it from giving one record more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Its client gives as much as it may of the budget.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub share: bool,
    /// All that was left of it is given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub room: bool,
    /// The open gate keeps back what is left of it: that share of its client's records is taken to be bad.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pass: bool,
}

impl Caps {
    /// Whether no limit was reached.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Takes notes of one selection, and changes nothing of it.
pub(super) trait Explain: Watch {
    /// Forgets what was noted: a selection to a budget in tokens is tried several times.
    fn begin(&self);

    /// What the selector said since the last call counts, where its groups give: `rows` are the groups of the rows that it saw, all of them
    /// where there is none.
    fn note(&self, given: &[u32], rows: Option<&[usize]>);

    /// How covered the groups that give were before the round.
    fn note_covered(&self, nearness: Option<Nearness>, rows: &Rows<'_>, given: &[u32]);

    /// What was noted of each group, by its place; the limits are not among it.
    fn reason(&self, group: usize) -> GroupReason;
}

/// Takes notes in the order in which they come.
#[derive(Debug, Default)]
struct Notes(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    /// (row, gain) since the last note.
    rows: Vec<(usize, f64)>,
    /// Records that count so far.
    records: u32,
    reasons: BTreeMap<usize, GroupReason>,
}

/// Makes what takes notes of one selection.
pub(super) fn notes() -> Box<dyn Explain> {
    Box::new(Notes::default())
}

impl Notes {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Notes {
    fn took(&self, row: usize, gain: f64) {
        self.said().rows.push((row, gain));
    }
}

impl Explain for Notes {
    fn begin(&self) {
        *self.said() = Said::default();
    }

    fn note(&self, given: &[u32], rows: Option<&[usize]>) {
        let mut said = self.said();
        for (row, gain) in std::mem::take(&mut said.rows) {
            let group = rows.map_or(Some(row), |rows| rows.get(row).copied());
            // Of a pick that its client's share took away nothing is given, and a selector of the user's may say what it does not do.
            let Some(group) = group.filter(|&group| given.get(group).is_some_and(|&given| given > 0)) else { continue };
            said.records += 1;
            let (rank, gain) = (Some(said.records), Some(gain));
            said.reasons.entry(group).or_insert(GroupReason { rank, gain, ..GroupReason::default() });
        }
    }

    fn note_covered(&self, nearness: Option<Nearness>, rows: &Rows<'_>, given: &[u32]) {
        let giving: Vec<usize> = (0..rows.len()).filter(|&at| given[at] > 0).collect();
        let Some(nearness) = nearness else { return };
        let mut said = self.said();
        for (group, covered) in giving.iter().zip(covered_before(nearness, rows, &giving)) {
            said.reasons.entry(*group).or_default().covered = Some(covered);
        }
    }

    fn reason(&self, group: usize) -> GroupReason {
        self.said().reasons.get(&group).copied().unwrap_or_default()
    }
}
