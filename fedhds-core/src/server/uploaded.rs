//! What the clients of a round sent, group by group.

use super::knowledge::Knowledge;
use super::level::within_shares;
use super::selection::SelectedGroup;
use super::why::GroupReason;
use crate::error::Result;
use crate::method::{Count, Pipeline};
use crate::protocol::{ClientSummary, GroupScores, GroupTokens};
use crate::types::{ClientId, ClusterId, Matrix, Scores};
use std::collections::BTreeMap;

/// What the clients of a round sent.
pub(super) struct Uploaded<'a> {
    /// Those with a place before those of clients too small to show a centroid.
    pub groups: Vec<SelectedGroup>,
    /// How many have a place.
    pub shown: usize,
    /// What each may give.
    pub rooms: Vec<u32>,
    pub centroids: Vec<&'a Matrix>,
    /// Of each client with a place: how many groups, and their scores.
    pub scores: Vec<(usize, Option<Scores>)>,
    /// The mean tokens of each group, by (client, cluster); empty where the budget is in records.
    pub means: Vec<((ClientId, ClusterId), f64)>,
}

impl<'a> Uploaded<'a> {
    pub fn new(
        pipeline: &Pipeline,
        summaries: impl Iterator<Item = &'a ClientSummary>,
        known: &Knowledge<'_>,
    ) -> Result<Self> {
        let mut groups = Vec::new();
        // They have no place, and come last.
        let mut hidden = Vec::new();
        let (mut centroids, mut scores, mut means) = (Vec::new(), Vec::new(), Vec::new());
        let has_places = pipeline.client.clusterer.is_some();
        for summary in summaries.filter(|s| !s.groups.is_empty()) {
            let own = summary.groups.iter().map(|group| SelectedGroup {
                client: summary.client,
                cluster: group.cluster,
                size: group.size,
                server_cluster: None,
                records: 0,
                reason: GroupReason::default(),
            });
            if pipeline.server.count.tokens().is_some() {
                let GroupTokens(tokens) = summary.sections.get()?.unwrap_or_default();
                let own = own.clone().zip(tokens);
                means.extend(own.map(|(group, mean)| ((group.client, group.cluster), f64::from(mean))));
            }
            if has_places && summary.centroids.cols() == 0 {
                hidden.extend(own);
                continue;
            }
            groups.extend(own);
            centroids.push(&summary.centroids);
            // What nobody asked for is not looked at.
            let own = match pipeline.client.share_scores {
                true => summary.sections.get::<GroupScores>()?.map(|GroupScores(scores)| scores),
                false => None,
            };
            scores.push((summary.groups.len(), own));
        }
        let shown = groups.len();
        groups.extend(hidden);
        let rooms = groups.iter().map(|group| known.room(group)).collect();
        Ok(Self { groups, shown, rooms, centroids, scores, means })
    }

    /// Records that all groups may give.
    pub fn records(&self) -> usize {
        self.rooms.iter().map(|&room| room as usize).sum()
    }

    /// Records that count where what is asked follows from how many there are: with a share cap no client's claim makes it more than its share
    /// of all.
    pub fn counted(&self, count: &Count, cap: Option<f64>, clients: usize) -> usize {
        let (Some(cap), Count::All | Count::Ratio(_)) = (cap, count) else { return self.records() };
        let mut claims: BTreeMap<ClientId, u64> = BTreeMap::new();
        for (group, &room) in self.groups.iter().zip(&self.rooms) {
            *claims.entry(group.client).or_default() += u64::from(room);
        }
        let level = within_shares(claims.values().copied().collect(), cap, clients);
        claims.values().map(|&claim| claim.min(level) as usize).sum()
    }

    /// The mean tokens of a group's records.
    pub fn mean_of(&self, group: &SelectedGroup) -> f64 {
        let at = self.means.binary_search_by_key(&(group.client, group.cluster), |(key, _)| *key);
        at.map_or(1.0, |at| self.means[at].1)
    }

    /// Tokens of so many records of each group as it may give.
    pub fn tokens(&self) -> f64 {
        self.groups.iter().zip(&self.rooms).map(|(group, &room)| self.mean_of(group) * f64::from(room)).sum()
    }
}
