//! What the server keeps of the clients' groups between rounds.

use crate::error::{Error, Result};
use crate::protocol::{
    ClientSummary, GateAnswer, Group, GroupTokens, GroupsDigest, Registered, RegisteredClient, Section as _,
};
use crate::sorting;
use crate::stage::Targets;
use crate::types::{ClientId, ClusterId, Matrix, Round};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most groups that are kept. Beyond it the clients that were seen least recently are forgotten: they send their groups again.
const MAX_GROUPS: usize = 1 << 18;

/// The clients' groups, what each has given, and what earlier rounds were short of: for methods that group once
/// ([`Regroup::Once`](crate::method::Regroup)).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Registry {
    clients: BTreeMap<ClientId, Known>,
    /// Records that earlier rounds were short of.
    debt: u32,
    /// Tokens that earlier rounds were short of; below 0 what they were beyond.
    owed: i64,
}

/// A client's groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    digest: u64,
    groups: Vec<KnownGroup>,
    /// `[groups, d]`; no columns where the client is too small to show a centroid.
    centroids: Matrix,
    /// The mean tokens of each group; empty where the budget is in records.
    tokens: Vec<f32>,
    seen: Round,
    credited: Option<Round>,
    /// What it answered to the gate's question; none where it was not asked or declined.
    answer: Option<GateAnswer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct KnownGroup {
    cluster: ClusterId,
    size: u32,
    /// Records of it that counted in a round.
    trained: u32,
}

impl Registry {
    /// What the clients of a round are told.
    pub(super) fn registered(&self, clients: &BTreeSet<ClientId>) -> Registered {
        let known = clients.iter().filter_map(|client| {
            let known = self.clients.get(client)?;
            let answered = known.answer.is_some();
            Some(RegisteredClient { client: *client, digest: known.digest, credited: known.credited, answered })
        });
        Registered(known.collect())
    }

    /// The summary with its groups: those that it names, or those that its digest stands for.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a digest of groups that are not known here.
    pub(super) fn whole(&self, summary: ClientSummary) -> Result<ClientSummary> {
        let Some(GroupsDigest(digest)) = summary.sections.get()? else { return Ok(summary) };
        match self.clients.get(&summary.client).filter(|known| known.digest == digest) {
            None => Err(Error::protocol("client_summary: groups_digest", "that of groups which were sent", "another")),
            Some(known) => {
                let groups = known.groups.iter().map(|g| Group { cluster: g.cluster, size: g.size }).collect();
                let mut whole = ClientSummary { groups, centroids: known.centroids.clone(), ..summary };
                whole.sections.remove(GroupsDigest::NUMBER);
                if !known.tokens.is_empty() {
                    whole.sections.set(&GroupTokens(known.tokens.clone()))?;
                }
                Ok(whole)
            }
        }
    }

    /// Keeps the groups of these clients, in place of what was known of them; a group that stays the same keeps what it has given.
    pub(super) fn register<'a>(&mut self, round: Round, summaries: impl Iterator<Item = &'a ClientSummary>) {
        for summary in summaries {
            let GroupTokens(tokens) = summary.sections.get().ok().flatten().unwrap_or_default();
            let digest = GroupsDigest::with_tokens(&summary.groups, &summary.centroids, &tokens).0;
            let before = self.clients.get(&summary.client);
            let given = |at: usize| {
                let (cluster, before) = (summary.groups[at].cluster, before?);
                let old = before.groups.binary_search_by_key(&cluster, |group| group.cluster).ok()?;
                let same = before.centroids.row(old) == summary.centroids.row(at);
                same.then_some(before.groups[old].trained)
            };
            let groups = summary.groups.iter().enumerate().map(|(at, group)| KnownGroup {
                cluster: group.cluster,
                size: group.size,
                trained: given(at).unwrap_or_default().min(group.size),
            });
            let known = Known {
                digest,
                groups: groups.collect(),
                centroids: summary.centroids.clone(),
                tokens,
                seen: round,
                credited: before.and_then(|before| before.credited),
                answer: summary.sections.get().ok().flatten().or(before.and_then(|before| before.answer)),
            };
            self.clients.insert(summary.client, known);
        }
        let mut kept: usize = self.clients.values().map(|known| known.groups.len()).sum();
        while kept > MAX_GROUPS
            && let Some(oldest) =
                self.clients.iter().filter(|(_, k)| k.seen < round).min_by_key(|(id, k)| (k.seen, **id))
        {
            let oldest = *oldest.0;
            kept -= self.clients.remove(&oldest).map_or(0, |known| known.groups.len());
        }
    }

    /// Records that a group has not given yet.
    pub(super) fn room(&self, client: ClientId, cluster: ClusterId) -> Option<u32> {
        let known = self.clients.get(&client)?;
        let at = known.groups.binary_search_by_key(&cluster, |group| group.cluster).ok()?;
        known.groups.get(at).map(|group| group.size - group.trained)
    }

    /// Notes what the accepted updates of a round trained on.
    pub(super) fn credit(&mut self, round: Round, trained: &[(ClientId, super::TrainedOn)]) {
        for (client, groups) in trained {
            let Some(known) = self.clients.get_mut(client) else { continue };
            known.credited = Some(round);
            for (cluster, count) in groups {
                if let Ok(at) = known.groups.binary_search_by_key(cluster, |group| group.cluster) {
                    let group = &mut known.groups[at];
                    group.trained = group.trained.saturating_add(*count).min(group.size);
                }
            }
        }
    }

    /// Records that earlier rounds were short of.
    pub(super) fn debt(&self) -> usize {
        self.debt as usize
    }

    /// Sets what the next round makes up for.
    pub(super) fn set_debt(&mut self, records: usize) {
        self.debt = u32::try_from(records).unwrap_or(u32::MAX);
    }

    /// Tokens that earlier rounds were short of; below 0 what they were beyond.
    pub(super) fn owed(&self) -> i64 {
        self.owed
    }

    /// Sets what the next round makes up for, at most a whole budget: of what a round asked for, what nobody trained on, or what was too much.
    pub(super) fn set_owed(&mut self, asked: u64, trained: u64, budget: u64) {
        let signed = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let most = signed(budget);
        self.owed = signed(asked).saturating_sub(signed(trained)).clamp(-most, most);
    }

    /// What the clients answered to the gate's question.
    pub(super) fn answers(&self) -> BTreeMap<ClientId, GateAnswer> {
        sorting::map(self.clients.iter().filter_map(|(client, known)| Some((*client, known.answer?))))
    }

    /// Where all known groups lie, seen from their centre: `unit(unit(c) - centre)`, each weighing the square root of its size times the share of
    /// its client's records that `pass` takes to be good. The centre is
    /// the mean over the clients of the mean of each one's groups, so that no client weighs more for sending more of them.
    pub(super) fn targets(&self, dims: usize, pass: impl Fn(ClientId) -> f64) -> (Centre, Targets) {
        let fits = |known: &&Known| !known.groups.is_empty() && known.centroids.cols() == dims;
        let mut centre = vec![0.0f64; dims];
        let clients = self.clients.values().filter(fits).count();
        for known in self.clients.values().filter(fits) {
            let share = 1.0 / (clients * known.groups.len()) as f64;
            for point in known.centroids.iter_rows() {
                unit(point).iter().zip(&mut centre).for_each(|(x, sum)| *sum += share * x);
            }
        }
        let centre = Centre(centre);
        let (mut points, mut weights) = (Vec::new(), Vec::new());
        for (client, known) in self.clients.iter().filter(|(_, known)| fits(known)) {
            let pass = pass(*client) as f32;
            for (group, point) in known.groups.iter().zip(known.centroids.iter_rows()) {
                points.extend(centre.seen_from(point));
                weights.push(pass * (group.size as f32).sqrt());
            }
        }
        let points = Matrix::new(weights.len(), dims, points).unwrap_or_default();
        (centre, Targets { points, weights })
    }

    /// Whether its parts fit together: what is read from a file is checked by nobody before this.
    pub(super) fn check(&self) -> Result<()> {
        for (client, known) in &self.clients {
            let groups: Vec<Group> = known.groups.iter().map(|g| Group { cluster: g.cluster, size: g.size }).collect();
            let mut summary = ClientSummary::new(*client, known.seen, groups, known.centroids.clone());
            if !known.tokens.is_empty() {
                summary.sections.set(&GroupTokens(known.tokens.clone()))?;
            }
            crate::protocol::Wire::check(&summary)?;
            if known.groups.iter().any(|group| group.trained > group.size) {
                let expected = "groups that gave no more than they hold";
                return Err(Error::protocol("server state: registry", expected, format!("others of client {client}")));
            }
        }
        Ok(())
    }
}

/// The middle of all clients' groups.
pub(super) struct Centre(Vec<f64>);

impl Centre {
    /// A point as it lies around the centre, at length 1; zeros where it lies at the centre.
    pub(super) fn seen_from(&self, point: &[f32]) -> Vec<f32> {
        let moved: Vec<f32> = unit(point).iter().zip(&self.0).map(|(x, c)| (x - c) as f32).collect();
        // What rounding leaves of nothing has no direction.
        if moved.iter().all(|v| v.abs() < 1e-6) {
            return vec![0.0; moved.len()];
        }
        unit(&moved).iter().map(|&v| v as f32).collect()
    }

    /// All rows of a matrix so.
    pub(super) fn all_seen_from(&self, points: &Matrix) -> Result<Matrix> {
        let data = points.iter_rows().flat_map(|point| self.seen_from(point)).collect();
        Matrix::new(points.rows(), points.cols(), data)
    }
}

fn unit(point: &[f32]) -> Vec<f64> {
    let norm = point.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    point.iter().map(|&v| f64::from(v) * scale).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn summary(client: u32, groups: &[(u32, u32, [f32; 2])]) -> ClientSummary {
        let sizes = groups.iter().map(|g| Group { cluster: ClusterId(g.0), size: g.1 }).collect();
        let centroids = Matrix::from_rows(&groups.iter().map(|g| g.2).collect::<Vec<_>>()).unwrap();
        ClientSummary::new(ClientId(client), Round(0), sizes, centroids)
    }

    #[test]
    fn a_digest_stands_for_groups_that_were_sent() {
        let mut registry = Registry::default();
        let sent = summary(1, &[(0, 5, [1.0, 0.0]), (3, 2, [0.0, 2.0])]);
        registry.register(Round(0), [&sent].into_iter());
        let told = registry.registered(&BTreeSet::from([ClientId(0), ClientId(1)]));
        let known = told.of(ClientId(1)).unwrap();
        assert_eq!((told.0.len(), known.credited), (1, None));
        let mut short = ClientSummary::new(ClientId(1), Round(1), Vec::new(), Matrix::zeros(0, 0));
        short.sections.set(&GroupsDigest(known.digest)).unwrap();
        let whole = registry.whole(short.clone()).unwrap();
        assert_eq!((&whole.groups, &whole.centroids), (&sent.groups, &sent.centroids));
        short.sections.set(&GroupsDigest(known.digest ^ 1)).unwrap();
        assert!(registry.whole(short).unwrap_err().to_string().contains("groups_digest"));
        assert_eq!(registry.whole(sent.clone()).unwrap(), sent);
    }

    #[test]
    fn what_was_given_is_gone_also_when_groups_come_again() {
        let mut registry = Registry::default();
        registry.register(Round(0), [&summary(1, &[(0, 5, [1.0, 0.0]), (1, 2, [0.0, 2.0])])].into_iter());
        registry.credit(Round(0), &[(ClientId(1), vec![(ClusterId(0), 2), (ClusterId(1), 9)])]);
        let room = |registry: &Registry, group| registry.room(ClientId(1), ClusterId(group));
        assert_eq!([room(&registry, 0), room(&registry, 1), room(&registry, 2)], [Some(3), Some(0), None]);
        // A group that grew, one that is another now, and a new one.
        let again = summary(1, &[(0, 7, [1.0, 0.0]), (1, 2, [0.5, 2.0]), (2, 4, [3.0, 3.0])]);
        registry.register(Round(4), [&again].into_iter());
        assert_eq!([room(&registry, 0), room(&registry, 1), room(&registry, 2)], [Some(5), Some(2), Some(4)]);
        assert_eq!(registry.registered(&BTreeSet::from([ClientId(1)])).0[0].credited, Some(Round(0)));
        registry.check().unwrap();
    }

    #[test]
    fn targets_lie_around_their_centre_whatever_a_client_claims() {
        let mut registry = Registry::default();
        let (a, b) = (summary(0, &[(0, 4, [1.0, 0.0])]), summary(1, &[(0, 9, [0.0, 1.0])]));
        registry.register(Round(0), [&a, &b].into_iter());
        let (_, targets) = registry.targets(2, |_| 1.0);
        assert_eq!(targets.weights, [2.0, 3.0]);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        let half = 0.5f32.sqrt();
        assert!(near(targets.points.row(0)[0], half) && near(targets.points.row(0)[1], -half), "{targets:?}");
        // A client of many, far groups moves the centre as far as any other.
        let loud: Vec<(u32, u32, [f32; 2])> = (0..50).map(|i| (i, 1, [0.0, 1e30])).collect();
        registry.register(Round(1), [&summary(1, &loud)].into_iter());
        let (_, again) = registry.targets(2, |_| 1.0);
        assert_eq!(again.points.row(0), targets.points.row(0));
        assert!(registry.targets(3, |_| 1.0).1.weights.is_empty(), "other coordinates say nothing");
    }
}
