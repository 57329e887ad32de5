//! The groups of a client's records: in each round anew, or once.

use super::{Client, ClientState};
use crate::error::Result;
use crate::method::Regroup;
use crate::method::pipeline::Grouped;
use crate::privacy::keep_groups;
use crate::protocol::{
    ClientSummary, Group, GroupScores, GroupTokens, GroupsDigest, RecordKeys, RoundStart, Wire as _,
};
use crate::sorting;
use crate::stage::{Clustering, Rows};
use crate::types::seed::first_eight;
use crate::types::{ClusterId, Context, Factors, Matrix, Round, RowId, Scores, Seed};
use std::collections::BTreeMap;

impl Client {
    /// The records in their groups: those of an earlier round where the method groups once and the records are still the same. Tokens are kept
    /// where the server asks for them.
    pub(super) fn groups_of(
        &self,
        records: &Rows<'_>,
        start: &RoundStart,
        keys: Option<RecordKeys>,
        context: &Context,
    ) -> Result<ClientState> {
        let once = self.stages.regroup == Regroup::Once;
        let content = if once { content(records, records.len()) } else { 0 };
        let scores = records.scores.cloned();
        let prompts = records.prompts.cloned();
        let tokens = records.tokens.to_vec();
        let keys_seed = keys.map(|RecordKeys(seed)| seed);
        if let Some(state) = self.state.as_ref().filter(|state| once && state.content == content) {
            return Ok(ClientState { round: start.round, scores, prompts, tokens, keys: keys_seed, ..state.clone() });
        }
        let grown = self.state.as_ref().filter(|state| {
            let before = state.clustering.labels.len();
            let same = |rows| records.points.cols() > 0 && self::content(records, rows) == state.content;
            once && !state.hidden && before < records.len() && same(before)
        });
        if let Some(state) = grown {
            let state = ClientState { round: start.round, scores, prompts, tokens, keys: keys_seed, ..state.clone() };
            return self.with_new_records(state, records, content, start, context);
        }
        if once && self.state.is_some() {
            tracing::info!(client = %self.id, "other features than before: the groups are made anew");
        }
        // Which of several copies stands for them is drawn by keys of its own: the smallest of many keys would come first in every later draw.
        let key = |seed: Seed| {
            let keys = RecordKeys(seed.derive("copies", 0));
            (0..records.len()).map(|row| keys.of(self.id, RowId(row as u32))).collect()
        };
        let keys: Vec<u64> = match records.copies.is_empty() {
            true => Vec::new(),
            false => keys_seed.map(key).unwrap_or_default(),
        };
        // Groups that stay are drawn from a seed that stays.
        let context = match keys_seed.filter(|_| once) {
            None => context.clone(),
            Some(seed) => {
                Context { seed: seed.derive("client", u64::from(self.id.0)).derive("groups", 0), ..context.clone() }
            }
        };
        let Grouped { points, mut clustering, hidden, mut distinct } =
            self.stages.group(&records.keys(&keys), start.ask, &context)?;
        if once {
            number_by_place(&mut clustering, &mut distinct)?;
        }
        let copied = copied(records, &clustering);
        Ok(ClientState {
            client: self.id,
            round: start.round,
            points,
            clustering,
            scores,
            released: None,
            keys: keys_seed,
            content,
            hidden,
            prompts,
            copied,
            tokens,
            distinct,
            asked: None,
            factors: Factors::Both,
        })
    }

    /// The groups of earlier records stay as they are; the new ones form groups of their own, as soon as there are enough of them.
    fn with_new_records(
        &self,
        state: ClientState,
        records: &Rows<'_>,
        content: u64,
        start: &RoundStart,
        context: &Context,
    ) -> Result<ClientState> {
        let (before, groups) = (state.clustering.labels.len(), state.clustering.centroids.rows());
        let known = sorting::set(records.copies.iter().take(before));
        let new: Vec<usize> =
            (before..records.len()).filter(|&row| records.copies.get(row).is_none_or(|c| !known.contains(c))).collect();
        let points = records.points.take_rows(&new)?;
        let copies: Vec<u32> = new.iter().filter_map(|&row| records.copies.get(row).copied()).collect();
        let alike: Vec<u32> = new.iter().filter_map(|&row| records.alike.get(row).copied()).collect();
        let rows = Rows::new(&points).copies(&copies).alike(&alike);
        let context = context.derive("new records", before as u64);
        let mut grouped = self.stages.group(&rows, start.ask, &context)?;
        if grouped.hidden || grouped.clustering.centroids.rows() == 0 {
            // Too few yet: what is known of them waits with them.
            let first: Vec<usize> = (0..before).collect();
            let scores = state.scores.map(|scores| scores.take_rows(&first)).transpose()?;
            let prompts = state.prompts.map(|prompts| prompts.take_rows(&first)).transpose()?;
            let tokens = state.tokens.into_iter().take(before).collect();
            return Ok(ClientState { scores, prompts, tokens, ..state });
        }
        number_by_place(&mut grouped.clustering, &mut grouped.distinct)?;
        let mut clustering = state.clustering;
        let mut all = Matrix::zeros(records.len(), state.points.cols());
        (0..before).for_each(|row| all.row_mut(row).copy_from_slice(state.points.row(row)));
        clustering.labels.resize(records.len(), None);
        clustering.strength.resize(records.len(), 0.0);
        for (at, &row) in new.iter().enumerate() {
            all.row_mut(row).copy_from_slice(grouped.points.row(at));
            let label = grouped.clustering.labels[at];
            clustering.labels[row] = label.map(|label| ClusterId((groups + label.index()) as u32));
            clustering.strength[row] = grouped.clustering.strength[at];
        }
        clustering.centroids = Matrix::stack([&clustering.centroids, &grouped.clustering.centroids])?;
        let copied = copied(records, &clustering);
        let distinct = [state.distinct.clone(), grouped.distinct].concat();
        Ok(ClientState { points: all, clustering, released: None, content, copied, distinct, ..state })
    }

    /// The summary that names all groups.
    pub(super) fn whole_summary(&self, state: &ClientState, round: Round) -> Result<ClientSummary> {
        let clustering = &state.clustering;
        if self.least_group > self.stages.min_group_size && self.stages.clusterer.is_some() {
            // It shows no group where the method would show smaller ones than it agrees to.
            return Ok(ClientSummary::new(self.id, round, Vec::new(), Matrix::zeros(0, 0)));
        }
        let mut groups: Vec<Group> =
            (0..clustering.centroids.rows()).map(|j| Group { cluster: ClusterId(j as u32), size: 0 }).collect();
        for label in clustering.labels.iter().flatten() {
            groups[label.index()].size += 1;
        }
        let centroids = match state.hidden {
            true => Matrix::zeros(groups.len(), 0),
            false => clustering.centroids.clone(),
        };
        let mut summary = ClientSummary::new(self.id, round, groups, centroids);
        if let Some(scores) = &state.scores
            && self.stages.share_scores
        {
            summary.sections.set(&GroupScores(mean_scores(scores, clustering)?))?;
        }
        if !state.tokens.is_empty() {
            summary.sections.set(&GroupTokens(mean_tokens(&state.tokens, clustering)))?;
        }
        if !state.distinct.is_empty() {
            let least = self.stages.least_shown;
            let enough = |j: &usize| state.distinct.get(*j).is_some_and(|&distinct| distinct as usize >= least);
            let kept: Vec<usize> = (0..summary.groups.len()).filter(enough).collect();
            keep_groups(&mut summary, &kept)?;
        }
        summary.check()?;
        Ok(summary)
    }
}

/// The mean tokens of the records of each group.
fn mean_tokens(tokens: &[u32], clustering: &Clustering) -> Vec<f32> {
    let mut sums = vec![(0u64, 0u64); clustering.centroids.rows()];
    for (label, tokens) in clustering.labels.iter().zip(tokens) {
        if let Some((sum, count)) = label.and_then(|label| sums.get_mut(label.index())) {
            (*sum, *count) = (*sum + u64::from(*tokens), *count + 1);
        }
    }
    sums.into_iter().map(|(sum, count)| (sum as f64 / count as f64) as f32).collect()
}

/// The records in groups that have near copies.
fn copied(records: &Rows<'_>, clustering: &Clustering) -> Vec<RowId> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    records.copies.iter().for_each(|copy| *counts.entry(*copy).or_default() += 1);
    let labelled = records.copies.iter().zip(&clustering.labels).zip(0u32..);
    labelled.filter(|((copy, label), _)| label.is_some() && counts[copy] > 1).map(|(_, row)| RowId(row)).collect()
}

/// Numbers groups by a hash of their centroids: their order tells nothing of the order of the records.
fn number_by_place(clustering: &mut Clustering, distinct: &mut Vec<u32>) -> Result<()> {
    let place = |id: usize| GroupsDigest::of(&[], &clustering.centroids.take_rows(&[id]).unwrap_or_default()).0;
    let mut order: Vec<usize> = (0..clustering.centroids.rows()).collect();
    sorting::sort_by_key(&mut order, |&id| (place(id), id));
    let mut new = vec![ClusterId(0); order.len()];
    for (at, &id) in order.iter().enumerate() {
        new[id] = ClusterId(at as u32);
    }
    clustering.labels.iter_mut().flatten().for_each(|label| *label = new[label.index()]);
    clustering.centroids = clustering.centroids.take_rows(&order)?;
    *distinct = order.iter().filter_map(|&id| distinct.get(id).copied()).collect();
    Ok(())
}

/// BLAKE3 of the first records' features and of which of them are near copies, its first eight bytes.
fn content(records: &Rows<'_>, first: usize) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(records.points.cols() as u64).to_le_bytes());
    hasher.update(&(first as u64).to_le_bytes());
    records.points.as_slice().iter().take(first * records.points.cols()).for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    records.copies.iter().take(first).for_each(|copy| {
        hasher.update(&copy.to_le_bytes());
    });
    first_eight(&hasher)
}

/// The mean of each score over the records of each group; NaN where no record of the group has one.
fn mean_scores(scores: &Scores, clustering: &Clustering) -> Result<Scores> {
    let (groups, columns) = (clustering.centroids.rows(), scores.names().len());
    let mut sums = vec![(0.0f64, 0usize); groups * columns];
    for (label, row) in clustering.labels.iter().zip(scores.values().iter_rows()) {
        let Some(label) = label else { continue };
        for (column, value) in row.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let (sum, count) = &mut sums[label.index() * columns + column];
            *sum += f64::from(*value);
            *count += 1;
        }
    }
    let means = sums.into_iter().map(|(sum, count)| if count > 0 { (sum / count as f64) as f32 } else { f32::NAN });
    Scores::new(scores.names().to_vec(), Matrix::new(groups, columns, means.collect())?)
}
