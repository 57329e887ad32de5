//! What each group gives within its own room and its client's: picks that are too many go to other clients.

use super::why::Explain;
use crate::error::Result;
use crate::method::ServerStages;
use crate::method::checked::run_selector;
use crate::select::quota::apportion;
use crate::sorting;
use crate::stage::{Budget, Clustering, Covered, Rows};
use crate::types::{ClientId, ClusterId, Context, Matrix, RowId, Scores};
use std::collections::BTreeMap;

/// What groups and clients may still give in a round, and what the groups give.
pub(super) struct Allowance {
    pub owners: Vec<ClientId>,
    /// What each group may still give.
    pub groups: Vec<u32>,
    /// What each client may still give; without a share cap nobody stands here.
    pub clients: BTreeMap<ClientId, u32>,
    /// What each group gives.
    pub given: Vec<u32>,
}

impl Allowance {
    /// Of these groups, none of which gives anything yet.
    pub fn new(owners: Vec<ClientId>, groups: Vec<u32>, clients: BTreeMap<ClientId, u32>) -> Self {
        let given = vec![0; groups.len()];
        Self { owners, groups, clients, given }
    }

    /// What all groups give.
    pub fn records(&self) -> usize {
        self.given.iter().map(|&given| given as usize).sum()
    }

    /// What a group may still give.
    pub fn room(&self, group: usize) -> u32 {
        self.clients.get(&self.owners[group]).map_or(self.groups[group], |room| self.groups[group].min(*room))
    }

    /// Takes so many records of a group, or as many as there is room for.
    pub fn take(&mut self, group: usize, records: u32) -> u32 {
        let taken = records.min(self.room(group));
        self.groups[group] -= taken;
        if let Some(room) = self.clients.get_mut(&self.owners[group]) {
            *room -= taken;
        }
        self.given[group] += taken;
        taken
    }
}

/// Each picked group gives one record. Where a client would give more than its share, the picks that are too many go to groups of
/// other clients.
pub(super) fn one_each(
    stages: &ServerStages,
    allowance: &mut Allowance,
    all: &Rows<'_>,
    budget: usize,
    explain: Option<&dyn Explain>,
    context: &Context,
) -> Result<()> {
    let mut left = budget;
    for turn in 0u64.. {
        let open: Vec<usize> =
            (0..all.len()).filter(|&at| allowance.given[at] == 0 && allowance.room(at) > 0).collect();
        if left == 0 || open.is_empty() {
            break;
        }
        let wanted = Budget::Total(left.min(open.len()));
        let chosen = if open.len() == all.len() {
            run_selector("server.selector", stages.selector.as_ref(), all, wanted, context)?
        } else {
            let part = Part::of(all, &open)?;
            let context = context.derive("again", turn);
            // What was picked before counts as covered.
            let picked: Vec<usize> = (0..all.len()).filter(|&at| allowance.given[at] > 0).collect();
            let covered = with_picked(all, &picked)?;
            let rows = part.rows(all).covered(&covered);
            let picks = run_selector("server.selector", stages.selector.as_ref(), &rows, wanted, &context)?;
            picks.into_iter().map(|pick| RowId(open[pick.index()] as u32)).collect()
        };
        for row in chosen {
            left -= allowance.take(row.index(), 1) as usize;
        }
        if let Some(explain) = explain {
            explain.note(&allowance.given, Some(&open));
        }
    }
    Ok(())
}

/// What is covered, with a record at each of these rows.
fn with_picked(all: &Rows<'_>, picked: &[usize]) -> Result<Covered> {
    let mut covered = all.covered.cloned().unwrap_or_default();
    let points = all.points.take_rows(picked)?;
    covered.mass.extend(picked.iter().map(|_| 1.0));
    covered.points = if covered.points.rows() == 0 { points } else { Matrix::stack([&covered.points, &points])? };
    Ok(covered)
}

/// What is left of the budget once every group that may give has given one: in proportion to the sizes.
pub(super) fn spread(allowance: &mut Allowance, weights: &[f32], budget: usize) {
    let weights: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
    loop {
        let left = budget.saturating_sub(allowance.records());
        let room: Vec<usize> = (0..weights.len()).map(|at| allowance.room(at) as usize).collect();
        let more = apportion(left, &weights, &room);
        if more.iter().all(|more| *more == 0) {
            return;
        }
        // Several groups of one client may together be given more than its share: the rest goes round again.
        for (at, more) in more.into_iter().enumerate() {
            allowance.take(at, u32::try_from(more).unwrap_or(u32::MAX));
        }
    }
}

/// Some of the rows, with all that is known of them.
struct Part {
    points: Matrix,
    weights: Vec<f32>,
    owners: Vec<ClientId>,
    scores: Option<Scores>,
    groups: Option<Clustering>,
}

impl Part {
    fn of(all: &Rows<'_>, rows: &[usize]) -> Result<Self> {
        let groups = all.groups.map(|groups| -> Result<Clustering> {
            // Ids stay dense: clusters without a row among these go.
            let mut ids: Vec<ClusterId> = rows.iter().filter_map(|&row| groups.labels[row]).collect();
            sorting::sort(&mut ids);
            ids.dedup();
            let place = |label: ClusterId| ids.binary_search(&label).ok().map(|at| ClusterId(at as u32));
            Ok(Clustering {
                labels: rows.iter().map(|&row| groups.labels[row].and_then(place)).collect(),
                strength: rows.iter().map(|&row| groups.strength[row]).collect(),
                centroids: groups.centroids.take_rows(&ids.iter().map(|id| id.index()).collect::<Vec<_>>())?,
            })
        });
        Ok(Self {
            points: all.points.take_rows(rows)?,
            weights: rows.iter().map(|&row| all.weight(row)).collect(),
            owners: rows.iter().map(|&row| all.owners[row]).collect(),
            scores: all.scores.map(|scores| scores.take_rows(rows)).transpose()?,
            groups: groups.transpose()?,
        })
    }

    fn rows<'a>(&'a self, all: &Rows<'a>) -> Rows<'a> {
        Rows::new(&self.points)
            .weights(&self.weights)
            .owners(&self.owners)
            .scores(self.scores.as_ref())
            .groups(self.groups.as_ref())
            .covered(all.covered)
            .targets(all.targets)
            .watch(all.watch)
    }
}
