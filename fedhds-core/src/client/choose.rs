//! Which records of the ordered groups train (eq. 10).

use super::{Client, ClientState, Pair};
use crate::error::{Error, Result};
use crate::method::Repeats;
use crate::method::checked::run_selector;
use crate::protocol::{GateLimit, RecordKeys, SelectionOrder, SpareGroups, Wire as _};
use crate::stage::{Budget, Clustering, Rows};
use crate::types::{ClusterId, Context, RowId};

/// Which of these candidates may train, and which may not.
type Passing<'a> = dyn FnMut(Vec<RowId>) -> Result<(Vec<RowId>, Vec<RowId>)> + 'a;

/// What an order has been answered with so far.
#[derive(Default)]
struct Picked {
    chosen: Vec<RowId>,
    refused: Vec<RowId>,
    /// Records that are looked at for each that is ordered.
    tries: usize,
}

impl Client {
    /// The records to train on: of each group in the order as many as it says, ascending, none twice (eq. 10). With
    /// [`Repeats::Avoid`] those that it trained on before ([`mark_trained`](Client::mark_trained)) come last. Where an upload stage may have
    /// changed what the server knows, an order for more than a group holds is an order for all of it.
    ///
    /// # Errors
    /// [`Error::Protocol`] when no summary was sent, when the order is for another client or round, or when it asks for a group
    /// that was not reported or for more records than the group holds; [`Error::Stage`] and the selector's own errors.
    pub fn choose(&self, order: &SelectionOrder, context: &Context) -> Result<Vec<RowId>> {
        self.choose_by(order, context, &mut |rows| Ok((rows, Vec::new()))).map(|(chosen, _)| chosen)
    }

    /// [`choose`](Client::choose), leaving out what does not pass where the order's gate is open: `losses` gives the mean loss of each
    /// [`Pair`], in nats, and is called with the candidates of one group at a time. Records that did not pass are remembered and not
    /// looked at again. In the place of one that is left out comes the next of its group, then one of a spare group, then none: what is
    /// missing goes to the next round. With a closed gate nothing is scored.
    ///
    /// # Errors
    /// As [`choose`](Client::choose); what `losses` reports, and [`Error::Input`] for another number of losses than pairs.
    pub fn choose_scored(
        &mut self,
        order: &SelectionOrder,
        context: &Context,
        losses: &mut dyn FnMut(&[Pair]) -> Result<Vec<f32>>,
    ) -> Result<Vec<RowId>> {
        let Some(limit) = order.sections.get::<GateLimit>()? else { return self.choose(order, context) };
        let this = &*self;
        let (chosen, refused) = this.choose_by(order, context, &mut |rows| this.passing(&rows, &limit, losses))?;
        self.refused.extend(refused);
        Ok(chosen)
    }

    /// The records of an order of which `passing` says which may train; and those that may not.
    fn choose_by(
        &self,
        order: &SelectionOrder,
        context: &Context,
        passing: &mut Passing<'_>,
    ) -> Result<(Vec<RowId>, Vec<RowId>)> {
        order.check()?;
        let Some(state) = &self.state else {
            return Err(Error::protocol("selection_order", "a summary before the order", "no summary was made"));
        };
        if order.client != self.id {
            return Err(Error::protocol("selection_order: client", self.id.to_string(), order.client));
        }
        if order.round != state.round {
            return Err(Error::protocol("selection_order: round", state.round.to_string(), order.round));
        }
        let mut members = vec![Vec::new(); state.clustering.centroids.rows()];
        for (row, label) in state.clustering.labels.iter().enumerate() {
            if let Some(label) = label {
                members[label.index()].push(row);
            }
        }
        let limit = order.sections.get::<GateLimit>()?;
        let mut picked = Picked { tries: limit.map_or(1, |limit| limit.tries as usize), ..Picked::default() };
        let mut short = 0;
        for wanted in &order.clusters {
            let Some(rows) = members.get(wanted.cluster.index()) else {
                let expected = format!("an id below {}", members.len());
                return Err(Error::protocol("selection_order: cluster", expected, wanted.cluster));
            };
            let mut count = wanted.count as usize;
            if let Some(released) = &state.released {
                if released.groups.binary_search_by_key(&wanted.cluster, |group| group.cluster).is_err() {
                    let got = format!("cluster {}, which was not sent", wanted.cluster);
                    return Err(Error::protocol("selection_order: cluster", "groups of the summary", got));
                }
                count = count.min(rows.len());
            }
            if count > rows.len() {
                let expected = format!("at most {} records of cluster {}", rows.len(), wanted.cluster);
                return Err(Error::protocol("selection_order: count", expected, count));
            }
            let context = context.derive("choose", wanted.cluster.0.into());
            let known =
                |row: &usize| self.stages.repeats != Repeats::Allow && self.trained.contains(&RowId(*row as u32));
            let (old, new): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| known(row));
            if self.stages.repeats == Repeats::Never {
                short += self.pick_passing(state, wanted.cluster, new, count, &context, passing, &mut picked)?;
                continue;
            }
            let fresh = count.min(new.len());
            picked.chosen.extend(self.pick(state, wanted.cluster, new, fresh, &context)?);
            picked.chosen.extend(self.pick(state, wanted.cluster, old, count - fresh, &context.derive("again", 0))?);
        }
        let spares = order.sections.get::<SpareGroups>()?.unwrap_or_default().0;
        for spare in spares {
            if short == 0 {
                break;
            }
            let Some(rows) = members.get(spare.index()) else {
                let expected = format!("ids below {}", members.len());
                return Err(Error::protocol("selection_order: spare_groups", expected, spare));
            };
            let new = rows.iter().filter(|row| !self.trained.contains(&RowId(**row as u32))).copied().collect();
            let context = context.derive("spare", spare.0.into());
            short = self.pick_passing(state, spare, new, short, &context, passing, &mut picked)?;
        }
        let Picked { mut chosen, refused, .. } = picked;
        chosen.sort_unstable();
        tracing::debug!(
            client = %self.id,
            round = %order.round,
            records = chosen.len(),
            refused = refused.len(),
            short,
            "records are chosen"
        );
        Ok((chosen, refused))
    }

    /// `count` of these rows of one group that may train, where there are so many among the first few; how many are missing.
    #[allow(clippy::too_many_arguments)]
    fn pick_passing(
        &self,
        state: &ClientState,
        cluster: ClusterId,
        rows: Vec<usize>,
        count: usize,
        context: &Context,
        passing: &mut Passing<'_>,
        picked: &mut Picked,
    ) -> Result<usize> {
        let gated = picked.tries > 1;
        let seen = |row: &usize, picked: &Picked| {
            let row = RowId(*row as u32);
            picked.chosen.contains(&row) || picked.refused.contains(&row) || gated && self.refused.contains(&row)
        };
        let mut open: Vec<usize> = rows.into_iter().filter(|row| !seen(row, picked)).collect();
        let (mut missing, mut tries) = (count, count.saturating_mul(picked.tries));
        while missing > 0 && tries > 0 && !open.is_empty() {
            let next = missing.min(tries).min(open.len());
            let candidates = self.pick(state, cluster, open.clone(), next, context)?;
            open.retain(|row| !candidates.contains(&RowId(*row as u32)));
            tries -= candidates.len();
            let (passed, refused) = passing(candidates)?;
            missing -= passed.len().min(missing);
            picked.chosen.extend(passed);
            picked.refused.extend(refused);
        }
        Ok(missing)
    }

    /// `count` of these rows of one group.
    fn pick(
        &self,
        state: &ClientState,
        cluster: ClusterId,
        rows: Vec<usize>,
        count: usize,
        context: &Context,
    ) -> Result<Vec<RowId>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let group = Clustering {
            labels: vec![Some(ClusterId(0)); rows.len()],
            strength: rows.iter().map(|&row| state.clustering.strength[row]).collect(),
            centroids: state.clustering.centroids.take_rows(&[cluster.index()])?,
        };
        let points = state.points.take_rows(&rows)?;
        let scores = state.scores.as_ref().map(|scores| scores.take_rows(&rows)).transpose()?;
        let key = |seed| rows.iter().map(|&row| RecordKeys(seed).of(self.id, RowId(row as u32))).collect();
        let keys: Vec<u64> = state.keys.map(key).unwrap_or_default();
        let candidates = Rows::new(&points).groups(&group).scores(scores.as_ref()).keys(&keys);
        let budget = Budget::Total(count);
        let picks = run_selector("client.selector", self.stages.selector.as_ref(), &candidates, budget, context)?;
        Ok(picks.into_iter().map(|pick| RowId(rows[pick.index()] as u32)).collect())
    }
}
