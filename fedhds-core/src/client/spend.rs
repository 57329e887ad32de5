//! Which records of an order in tokens train.

use super::picked::{Passing, Picked};
use super::{Client, ClientState};
use crate::error::Result;
use crate::protocol::GateLimit;
use crate::sorting;
use crate::types::{ClusterId, Context, RowId};

/// A group that gives records until the tokens of an order are met.
pub(super) struct Share {
    cluster: ClusterId,
    /// Its part of the order: groups give in proportion to it.
    part: usize,
    /// Rows that were not looked at: those of the first list before those of the second.
    open: [Vec<usize>; 2],
    /// Rows that may still be looked at.
    tries: usize,
    context: Context,
    /// Records that it gave.
    given: usize,
}

impl Share {
    fn room(&self) -> usize {
        self.tries.min(self.open[0].len() + self.open[1].len())
    }
}

/// Tokens that are wanted, and those of the records so far.
pub(super) struct Purse {
    pub wanted: u64,
    pub spent: u64,
}

impl Client {
    /// A group whose part of the order are so many records. With an open gate so many are looked at for each of them, and none that was
    /// refused.
    pub(super) fn share(
        &self,
        cluster: ClusterId,
        part: usize,
        mut open: [Vec<usize>; 2],
        limit: Option<&GateLimit>,
        context: Context,
    ) -> Share {
        let mut tries = usize::MAX;
        if let Some(limit) = limit {
            open[0].retain(|row| !self.refused.contains(&RowId(*row as u32)));
            tries = part.saturating_mul(limit.tries as usize);
        }
        Share { cluster, part, open, tries, context, given: 0 }
    }

    /// Takes records of the groups in turns until the purse is spent, the last one included, or no group has any left.
    ///
    /// In each turn that group gives its next record of which the records, counted to their middle, are the smallest part of its share: the
    /// groups give in proportion whenever the tokens are met.
    pub(super) fn spend(
        &self,
        state: &ClientState,
        shares: &mut [Share],
        purse: &mut Purse,
        passing: &mut Passing<'_>,
        picked: &mut Picked,
    ) -> Result<()> {
        let tokens = |rows: &[(RowId, usize)]| rows.iter().map(|(row, _)| state.tokens_of(*row)).sum::<u64>();
        loop {
            let most = shares.iter().map(Share::room).sum::<usize>();
            let left = purse.wanted.saturating_sub(purse.spent);
            if left == 0 || most == 0 {
                return Ok(());
            }
            // Too few turns, and enough of them or all.
            let parts = shares.iter().map(|share| share.part).sum::<usize>();
            let (mut few, mut enough) = (0, parts.clamp(1, most));
            let mut taken = self.taken(state, shares, enough)?;
            while enough < most && tokens(&taken) < left {
                few = enough;
                enough = enough.saturating_mul(2).min(most);
                taken = self.taken(state, shares, enough)?;
            }
            while enough - few > 1 {
                let half = few + (enough - few) / 2;
                let rows = self.taken(state, shares, half)?;
                match tokens(&rows) < left {
                    true => few = half,
                    false => (enough, taken) = (half, rows),
                }
            }
            // The record that meets them stands last, also where a selector takes others for one record more.
            let mut candidates = self.taken(state, shares, few)?;
            let few = sorting::set(candidates.iter().map(|(row, _)| *row));
            let more: Vec<_> = taken.into_iter().filter(|(row, _)| !few.contains(row)).collect();
            let mut sum = tokens(&candidates);
            for row in more {
                if sum < left {
                    sum += state.tokens_of(row.0);
                    candidates.push(row);
                }
            }
            let (passed, refused) = passing(candidates.iter().map(|(row, _)| *row).collect())?;
            let (passing_rows, looked) =
                (sorting::set(passed), sorting::set(candidates.iter().map(|(row, _)| row.index())));
            for rows in shares.iter_mut().flat_map(|share| &mut share.open) {
                rows.retain(|open| !looked.contains(open));
            }
            for (row, at) in candidates {
                let share = &mut shares[at];
                share.tries -= 1;
                if passing_rows.contains(&row) {
                    share.given += 1;
                    purse.spent += state.tokens_of(row);
                    picked.chosen.push(row);
                }
            }
            picked.refused.extend(refused);
        }
    }

    /// What so many turns take of the groups, each row with the place of its group.
    fn taken(&self, state: &ClientState, shares: &[Share], turns: usize) -> Result<Vec<(RowId, usize)>> {
        let mut counts = vec![0; shares.len()];
        for _ in 0..turns {
            let open = (0..shares.len()).filter(|&at| counts[at] < shares[at].room());
            let served = |at: usize| (shares[at].given + counts[at]) as f64 + 0.5;
            let next = open
                .min_by(|&a, &b| (served(a) / shares[a].part as f64).total_cmp(&(served(b) / shares[b].part as f64)));
            let Some(next) = next else { break };
            counts[next] += 1;
        }
        let mut taken = Vec::with_capacity(turns);
        for (at, share) in shares.iter().enumerate() {
            let [first, then] = &share.open;
            let fresh = counts[at].min(first.len());
            let again = share.context.derive("again", 0);
            for (rows, count, context) in [(first, fresh, &share.context), (then, counts[at] - fresh, &again)] {
                let rows = self.pick(state, share.cluster, rows.clone(), count, context)?;
                taken.extend(rows.into_iter().map(|row| (row, at)));
            }
        }
        Ok(taken)
    }
}

impl Purse {
    pub(super) fn is_spent(&self) -> bool {
        self.spent >= self.wanted
    }

    /// Puts the last record back where the tokens are met more nearly without it; the first one stays.
    pub(super) fn settle(&mut self, state: &ClientState, chosen: &mut Vec<RowId>) {
        let over = self.spent.saturating_sub(self.wanted);
        if let [_, .., last] = chosen.as_slice()
            && state.tokens_of(*last).saturating_sub(over) < over
        {
            self.spent -= state.tokens_of(*last);
            chosen.pop();
        }
    }
}
