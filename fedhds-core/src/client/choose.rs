//! Which records of the ordered groups train (eq. 10).

use super::gate::passing;
use super::picked::{Passing, Picked};
use super::spend::Purse;
use super::{Choice, Chosen, Client, ClientState, Pair};
use crate::error::{Error, Result};
use crate::method::Repeats;
use crate::method::checked::run_selector;
use crate::protocol::{GateLimit, OrderTokens, RecordKeys, SelectionOrder, SpareGroups, Wire as _};
use crate::sorting;
use crate::stage::{Budget, Clustering, Rows};
use crate::types::{ClusterId, Context, RowId};
use std::collections::BTreeMap;

/// Losses of pairs of a response and a prompt.
type Losses<'a> = dyn FnMut(&[Pair]) -> Result<Vec<f32>> + 'a;

/// Records that are wanted of one group.
struct Slot {
    cluster: ClusterId,
    /// Rows that were not looked at.
    open: Vec<usize>,
    missing: usize,
    /// Rows that may still be looked at.
    tries: usize,
    context: Context,
}

/// Without a gate nothing is looked at.
fn all_pass(rows: Vec<RowId>) -> Result<(Vec<RowId>, Vec<RowId>)> {
    Ok((rows, Vec::new()))
}

impl Client {
    /// The records to train on: of each group in the order as many as it says, ascending, none twice (eq. 10). Where the order is in tokens, the
    /// groups give in proportion to what it says of each until its tokens are met: the client stops before or after the record that reaches
    /// them, whichever is nearer, and not before the first record. With
    /// [`Repeats::Avoid`] those that it trained on before ([`mark_trained`](Client::mark_trained)) come last. Where an upload stage may have
    /// changed what the server knows, an order for more than a group holds is an order for all of it.
    ///
    /// A round's order is answered once: the same order gets the same records again, whatever was marked in between, and another one is
    /// refused ([`unpin`](Client::unpin) forgets it).
    ///
    /// # Errors
    /// [`Error::Protocol`] when no summary was sent, when the order is for another client or round, when it is not the order that the
    /// round was answered to, or when it asks for a group that was not reported, for more records than the group holds, or for more than
    /// this client agrees to ([`set_max_records`](Client::set_max_records)); [`Error::Stage`] and the selector's own errors.
    pub fn choose(&self, order: &SelectionOrder, context: &Context) -> Result<Vec<RowId>> {
        let (picked, _) = self.answer_order(order, context, false, &mut |_| Ok(Vec::new()))?;
        Ok(picked.ascending())
    }

    /// [`choose`](Client::choose), leaving out what does not pass where the order's gate is open: `losses` gives the mean loss of each
    /// [`Pair`], in nats, and is called with the candidates of all groups together. Records that did not pass are remembered and not
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
        let (picked, _) = self.answer_order(order, context, true, losses)?;
        self.refused.extend(picked.refused.iter().copied());
        Ok(picked.ascending())
    }

    /// The records that [`choose_scored`](Client::choose_scored) chooses, or [`choose`](Client::choose) without `losses`, and those that it
    /// refuses: each with its group, whether it is a spare, and its score.
    ///
    /// # Errors
    /// As [`choose_scored`](Client::choose_scored).
    pub fn choose_explained(
        &mut self,
        order: &SelectionOrder,
        context: &Context,
        losses: Option<&mut Losses<'_>>,
    ) -> Result<Chosen> {
        let (picked, scores) = match losses {
            Some(losses) => self.answer_order(order, context, true, losses)?,
            None => self.answer_order(order, context, false, &mut |_| Ok(Vec::new()))?,
        };
        let scored: BTreeMap<RowId, f64> = sorting::map(scores);
        let labels = self.state.as_ref().map_or(&[][..], |state| &state.clustering.labels);
        let choices = |rows: &[RowId], ordered: usize| -> Vec<Choice> {
            let choice = |(at, &row): (usize, &RowId)| Choice {
                row,
                group: labels.get(row.index()).copied().flatten().unwrap_or(ClusterId(0)),
                spare: at >= ordered,
                score: scored.get(&row).copied(),
            };
            let mut choices: Vec<Choice> = rows.iter().enumerate().map(choice).collect();
            sorting::sort_by_key(&mut choices, |choice| choice.row);
            choices
        };
        let chosen = Chosen {
            records: choices(&picked.chosen, picked.ordered.0),
            refused: choices(&picked.refused, picked.ordered.1),
        };
        self.refused.extend(picked.refused);
        Ok(chosen)
    }

    /// The records of an order, with the scores that were looked at; those of the first time where this order was answered before.
    fn answer_order(
        &self,
        order: &SelectionOrder,
        context: &Context,
        scored: bool,
        losses: &mut Losses<'_>,
    ) -> Result<(Picked, Vec<(RowId, f64)>)> {
        let limit = order.sections.get::<GateLimit>()?.filter(|_| scored);
        if let Some(known) = self.answer_to(order, context, limit.is_some())? {
            return Ok(known.into_picked());
        }
        let mut scores = BTreeMap::new();
        let picked = match &limit {
            None => self.choose_by(order, context, &mut all_pass)?,
            Some(limit) => self.choose_by(order, context, &mut |rows| {
                let means = self.mean_scores(&rows, limit, losses)?;
                scores.extend(rows.iter().copied().zip(means.iter().copied()).filter(|(_, score)| !score.is_nan()));
                Ok(passing(&rows, &means, limit))
            })?,
        };
        let scores: Vec<(RowId, f64)> = scores.into_iter().collect();
        self.note_answer(order, context, limit.is_some(), &picked, &scores)?;
        Ok((picked, scores))
    }

    /// Whether the summary named this group: what it kept back gives no records.
    fn is_sent(&self, state: &ClientState, cluster: ClusterId) -> bool {
        let shown = |distinct: &u32| *distinct as usize >= self.stages.least_shown;
        state.distinct.get(cluster.index()).is_none_or(shown)
            && state
                .released
                .as_ref()
                .is_none_or(|released| released.groups.binary_search_by_key(&cluster, |group| group.cluster).is_ok())
    }

    /// Whether this client agrees to so many records.
    fn check_most(&self, records: usize) -> Result<()> {
        match records > self.max_records {
            false => Ok(()),
            true => {
                let expected = format!("at most {}, which this client agrees to", self.max_records);
                Err(Error::protocol("selection_order: records", expected, records))
            }
        }
    }

    /// The records of an order of which `passing` says which may train; and those that may not.
    fn choose_by(&self, order: &SelectionOrder, context: &Context, passing: &mut Passing<'_>) -> Result<Picked> {
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
        let in_tokens: Option<OrderTokens> = order.sections.get()?;
        if in_tokens.is_none() {
            // What it says of groups is a proportion where it is in tokens.
            self.check_most(order.records())?;
        }
        let mut members = vec![Vec::new(); state.clustering.centroids.rows()];
        for (row, label) in state.clustering.labels.iter().enumerate() {
            if let Some(label) = label {
                members[label.index()].push(row);
            }
        }
        let mut purse = in_tokens.map(|OrderTokens(wanted)| Purse { wanted, spent: 0 });
        if purse.is_some() && state.tokens.is_empty() {
            let expected = "an order in records, as the server did not ask for tokens";
            return Err(Error::protocol("selection_order: order_tokens", expected, "one in tokens"));
        }
        let limit = order.sections.get::<GateLimit>()?;
        let (gated, tries) = (limit.is_some(), limit.map_or(1, |limit| limit.tries as usize));
        let mut picked = Picked::default();
        let mut slots = Vec::new();
        let mut shares = Vec::new();
        for wanted in &order.clusters {
            let Some(rows) = members.get(wanted.cluster.index()) else {
                let expected = format!("an id below {}", members.len());
                return Err(Error::protocol("selection_order: cluster", expected, wanted.cluster));
            };
            let mut count = wanted.count as usize;
            if !self.is_sent(state, wanted.cluster) {
                let got = format!("cluster {}, which was not sent", wanted.cluster);
                return Err(Error::protocol("selection_order: cluster", "groups of the summary", got));
            }
            if state.released.is_some() {
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
            if purse.is_some() {
                let old = if self.stages.repeats == Repeats::Never { Vec::new() } else { old };
                shares.push(self.share(wanted.cluster, count, [new, old], limit.as_ref(), context));
                continue;
            }
            if self.stages.repeats == Repeats::Never {
                slots.push(self.slot(wanted.cluster, new, count, tries, gated, context));
                continue;
            }
            let fresh = count.min(new.len());
            picked.chosen.extend(self.pick(state, wanted.cluster, new, fresh, &context)?);
            picked.chosen.extend(self.pick(state, wanted.cluster, old, count - fresh, &context.derive("again", 0))?);
        }
        self.fill(state, &mut slots, passing, &mut picked)?;
        if let Some(purse) = &mut purse {
            self.spend(state, &mut shares, purse, passing, &mut picked)?;
        }
        picked.ordered = (picked.chosen.len(), picked.refused.len());
        let mut short: usize = slots.iter().map(|slot| slot.missing).sum();
        let spares = order.sections.get::<SpareGroups>()?.unwrap_or_default().0;
        for spare in spares {
            if short == 0 && purse.as_ref().is_none_or(Purse::is_spent) {
                break;
            }
            let Some(rows) = members.get(spare.index()) else {
                let expected = format!("ids below {}", members.len());
                return Err(Error::protocol("selection_order: spare_groups", expected, spare));
            };
            if !self.is_sent(state, spare) {
                let got = format!("cluster {spare}, which was not sent");
                return Err(Error::protocol("selection_order: spare_groups", "groups of the summary", got));
            }
            let taken = sorting::set(picked.chosen.iter().chain(&picked.refused).copied());
            let seen = |row: RowId| self.trained.contains(&row) || taken.contains(&row);
            let new = rows.iter().filter(|row| !seen(RowId(**row as u32))).copied().collect();
            let context = context.derive("spare", spare.0.into());
            if let Some(purse) = &mut purse {
                let mut shares = [self.share(spare, order.records(), [new, Vec::new()], limit.as_ref(), context)];
                self.spend(state, &mut shares, purse, passing, &mut picked)?;
                continue;
            }
            let mut slots = [self.slot(spare, new, short, tries, gated, context)];
            self.fill(state, &mut slots, passing, &mut picked)?;
            short = slots[0].missing;
        }
        if let Some(purse) = &mut purse {
            purse.settle(state, &mut picked.chosen);
        }
        self.check_most(picked.chosen.len())?;
        tracing::debug!(
            client = %self.id,
            round = %order.round,
            records = picked.chosen.len(),
            refused = picked.refused.len(),
            short,
            tokens = purse.map(|purse| purse.spent),
            "records are chosen"
        );
        Ok(picked)
    }

    /// `count` records of these rows of a group, of which `tries` times as many are looked at.
    fn slot(
        &self,
        cluster: ClusterId,
        mut rows: Vec<usize>,
        count: usize,
        tries: usize,
        gated: bool,
        context: Context,
    ) -> Slot {
        if gated {
            rows.retain(|row| !self.refused.contains(&RowId(*row as u32)));
        }
        Slot { cluster, open: rows, missing: count, tries: count.saturating_mul(tries), context }
    }

    /// Fills the slots with records that may train, where there are so many among the first few of each. The candidates of all slots are
    /// looked at together, so that what they share is made once.
    fn fill(
        &self,
        state: &ClientState,
        slots: &mut [Slot],
        passing: &mut Passing<'_>,
        picked: &mut Picked,
    ) -> Result<()> {
        loop {
            let mut candidates = Vec::new();
            for (at, slot) in slots.iter_mut().enumerate() {
                let next = slot.missing.min(slot.tries).min(slot.open.len());
                let rows = self.pick(state, slot.cluster, slot.open.clone(), next, &slot.context)?;
                let taken = sorting::set(rows.iter().copied());
                slot.open.retain(|row| !taken.contains(&RowId(*row as u32)));
                slot.tries -= rows.len();
                candidates.extend(rows.into_iter().map(|row| (row, at)));
            }
            if candidates.is_empty() {
                return Ok(());
            }
            let (passed, refused) = passing(candidates.iter().map(|(row, _)| *row).collect())?;
            let passing_rows = sorting::set(passed.iter().copied());
            for (_, at) in candidates.iter().filter(|(row, _)| passing_rows.contains(row)) {
                slots[*at].missing -= 1;
            }
            picked.chosen.extend(passed);
            picked.refused.extend(refused);
        }
    }

    /// `count` of these rows of one group, those that stand for near copies last: what has copies here has them elsewhere, so that several
    /// clients would train on one record.
    pub(super) fn pick(
        &self,
        state: &ClientState,
        cluster: ClusterId,
        rows: Vec<usize>,
        count: usize,
        context: &Context,
    ) -> Result<Vec<RowId>> {
        let (copied, single): (Vec<usize>, Vec<usize>) = rows.into_iter().partition(|&row| state.has_copies(row));
        let first = count.min(single.len());
        let mut picks = Vec::with_capacity(count);
        for (rows, count) in [(single, first), (copied, count - first)] {
            if count > 0 {
                picks.extend(self.pick_alike(state, cluster, &rows, count, context)?);
            }
        }
        Ok(picks)
    }

    /// `count` of these rows by the method's selector.
    fn pick_alike(
        &self,
        state: &ClientState,
        cluster: ClusterId,
        rows: &[usize],
        count: usize,
        context: &Context,
    ) -> Result<Vec<RowId>> {
        let group = Clustering {
            labels: vec![Some(ClusterId(0)); rows.len()],
            strength: rows.iter().map(|&row| state.clustering.strength[row]).collect(),
            centroids: state.clustering.centroids.take_rows(&[cluster.index()])?,
        };
        let points = state.points.take_rows(rows)?;
        let scores = state.scores.as_ref().map(|scores| scores.take_rows(rows)).transpose()?;
        let key = |seed| rows.iter().map(|&row| RecordKeys(seed).of(self.id, RowId(row as u32))).collect();
        let keys: Vec<u64> = state.keys.map(key).unwrap_or_default();
        let candidates = Rows::new(&points).groups(&group).scores(scores.as_ref()).keys(&keys);
        let budget = Budget::Total(count);
        let picks = run_selector("client.selector", self.stages.selector.as_ref(), &candidates, budget, context)?;
        Ok(picks.into_iter().map(|pick| RowId(rows[pick.index()] as u32)).collect())
    }
}
