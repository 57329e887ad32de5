//! Which groups give how many records: eq. 8 and 9, and the budget.

use super::allowance::{Allowance, one_each, spread};
use super::gate::{Gate, GateReport};
use super::registry::Registry;
use super::why::{Caps, Explain, GroupReason};
use crate::error::{Error, Result};
use crate::method::checked::{run_allocation, run_clusterer, run_selector};
use crate::method::pipeline::{each_alone, keep_noise};
use crate::method::{GateConfig, Noise, Pipeline, Repeats, ServerStages};
use crate::protocol::{
    ClientSummary, ClusterOrder, GateLimit, GroupScores, GroupTokens, OrderTokens, SelectionOrder, SpareGroups,
};
use crate::sorting;
use crate::stage::{Budget, Clustering, Covered, Room, Rows, Targets, Watch};
use crate::types::{ClientId, ClusterId, Context, Matrix, Round, Scores};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most records that a method without features chooses from in one round: each is a row.
const MAX_ROWS: usize = 1 << 26;

/// One uploaded group, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectedGroup {
    /// Whose group it is.
    pub client: ClientId,
    /// The client's number for it.
    pub cluster: ClusterId,
    /// Records in it.
    pub size: u32,
    /// The server's cluster of it; none for noise and where nothing was clustered.
    pub server_cluster: Option<ClusterId>,
    /// Records ordered of it; 0 where it was not picked.
    pub records: u32,
    /// Why, of a server that [explains](super::Server::explained). Its state does not keep it: who goes on in the middle of a round has none.
    #[serde(skip)]
    pub reason: GroupReason,
}

/// What the server chose in one round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Every group that was uploaded, in the order of (client, cluster).
    pub groups: Vec<SelectedGroup>,
    /// Clusters that the server found; 0 where nothing was clustered.
    pub clusters: usize,
    /// Records that the round asks for, with what earlier rounds were short of; 0 where the clustering decides, and where the budget is in
    /// tokens.
    pub asked: u32,
    /// Tokens that the round asks for, with what earlier rounds were short of or beyond; 0 where the budget is in records.
    pub asked_tokens: u64,
    /// Tokens ordered of each client that trains, ascending by client; empty where the budget is in records. The groups' records then say in
    /// which proportion they give.
    pub tokens: Vec<(ClientId, u64)>,
    /// Groups that may give where an ordered one holds fewer, by client, the first before the others.
    pub spares: BTreeMap<ClientId, Vec<ClusterId>>,
    /// What the clients' ranks say, where the method has a gate.
    pub gate: Option<GateReport>,
}

impl Selection {
    /// Names the spare groups of each client that trains: those with records left, first those that give the least, then the larger.
    fn name_spares(&mut self, known: &Knowledge<'_>) {
        for own in self.groups.chunk_by(|a, b| a.client == b.client) {
            let left = |g: &SelectedGroup| known.room(g).saturating_sub(g.records);
            let mut spares: Vec<&SelectedGroup> = own.iter().filter(|g| left(g) > 0).collect();
            sorting::sort_by_key(&mut spares, |g| (g.records, std::cmp::Reverse(g.size), g.cluster));
            if own.iter().any(|g| g.records > 0) && !spares.is_empty() {
                self.spares.insert(own[0].client, spares.into_iter().map(|g| g.cluster).collect());
            }
        }
    }

    /// Records that train in this round.
    pub fn records(&self) -> usize {
        self.groups.iter().map(|g| g.records as usize).sum()
    }

    /// Records of one client that train in this round.
    pub fn records_of(&self, client: ClientId) -> usize {
        let from = self.groups.partition_point(|g| g.client < client);
        self.groups[from..].iter().take_while(|g| g.client == client).map(|g| g.records as usize).sum()
    }

    /// Tokens ordered of a client; none where the budget is in records.
    pub fn tokens_of(&self, client: ClientId) -> Option<u64> {
        let at = self.tokens.binary_search_by_key(&client, |(client, _)| *client).ok()?;
        self.tokens.get(at).map(|(_, tokens)| *tokens)
    }

    /// The most records that a client may train on: those that were ordered; for an order in tokens all of its ordered and spare groups.
    pub(super) fn most_of(&self, client: ClientId) -> usize {
        if self.tokens_of(client).is_none() {
            return self.records_of(client);
        }
        let from = self.groups.partition_point(|g| g.client < client);
        let own = self.groups[from..].iter().take_while(|g| g.client == client);
        own.map(|g| self.most_of_group(client, g.cluster) as usize).sum()
    }

    /// The most records that a client may train on of one group, in the place of others where it is a spare one.
    pub(super) fn most_of_group(&self, client: ClientId, cluster: ClusterId) -> u32 {
        let spare = self.spares.get(&client).is_some_and(|spares| spares.contains(&cluster));
        let at = self.groups.binary_search_by_key(&(client, cluster), |group| (group.client, group.cluster));
        match at.ok().map(|at| &self.groups[at]) {
            Some(group) if self.tokens_of(client).is_some() && (spare || group.records > 0) => group.size,
            Some(group) if !spare => group.records,
            Some(_) => to_u32(self.records_of(client)),
            None => 0,
        }
    }

    /// Records ordered of each group of one client, ascending by group.
    pub(super) fn orders_of(&self, client: ClientId) -> impl Iterator<Item = (ClusterId, u32)> + '_ {
        let from = self.groups.partition_point(|g| g.client < client);
        let own = self.groups[from..].iter().take_while(move |g| g.client == client);
        own.filter(|g| g.records > 0).map(|g| (g.cluster, g.records))
    }

    /// One order for each of these clients.
    pub(super) fn orders(
        &self,
        round: Round,
        clients: impl Iterator<Item = ClientId>,
        gate: Option<&GateConfig>,
    ) -> Result<BTreeMap<ClientId, SelectionOrder>> {
        let mut orders = sorting::map(clients.map(|client| (client, SelectionOrder::new(client, round, Vec::new()))));
        for group in self.groups.iter().filter(|g| g.records > 0) {
            if let Some(order) = orders.get_mut(&group.client) {
                order.clusters.push(ClusterOrder { cluster: group.cluster, count: group.records });
            }
        }
        if let (Some(config), Some(report)) = (gate, self.gate.as_ref().filter(|report| report.open)) {
            let (least_score, GateConfig { decoys, tries, .. }) = (report.least_score, config.clone());
            for order in orders.values_mut().filter(|order| !order.is_empty()) {
                order.sections.set(&GateLimit { least_score, decoys, tries })?;
            }
        }
        for (client, tokens) in &self.tokens {
            if let Some(order) = orders.get_mut(client) {
                order.sections.set(&OrderTokens(*tokens))?;
            }
        }
        for (client, spares) in &self.spares {
            if let Some(order) = orders.get_mut(client) {
                order.sections.set(&SpareGroups(spares.clone()))?;
            }
        }
        Ok(orders)
    }
}

/// What the server knows beside the summaries of a round.
pub(super) struct Knowledge<'a> {
    /// What the memory covers.
    pub covered: Option<&'a Covered>,
    /// The groups of all clients, where the method groups once.
    pub registry: Option<&'a Registry>,
    /// Clients of the round, those that stayed silent too.
    pub clients: usize,
    /// What the clients' ranks say, where the method has a gate.
    pub gate: Option<&'a Gate>,
    /// Who takes notes of why groups give, where somebody asked.
    pub explain: Option<&'a dyn Explain>,
}

impl Knowledge<'_> {
    /// The share of a client's records that is taken to be good.
    fn pass(&self, client: ClientId) -> f64 {
        self.gate.map_or(1.0, |gate| gate.pass(client))
    }

    /// Records of a group that were not trained on.
    pub fn left(&self, group: &SelectedGroup) -> u32 {
        match self.registry {
            Some(registry) => registry.room(group.client, group.cluster).unwrap_or(group.size),
            None => group.size,
        }
    }

    /// Records that a group may give.
    pub(super) fn room(&self, group: &SelectedGroup) -> u32 {
        (f64::from(self.left(group)) * self.pass(group.client)).floor() as u32
    }

    /// The most of each client, where there is a share cap. Whoever declined to rank its records gives no more than an equal share once the
    /// gate is open.
    pub(super) fn shares(&self, asked: usize, cap: f64, groups: &[SelectedGroup]) -> BTreeMap<ClientId, u32> {
        let answered = self.registry.filter(|_| self.gate.is_some_and(|gate| gate.report.open)).map(Registry::answers);
        let of = |client: ClientId| match answered.as_ref().is_some_and(|answered| !answered.contains_key(&client)) {
            true => share_of(asked, 1.0, self.clients),
            false => share_of(asked, cap, self.clients),
        };
        sorting::map(groups.iter().map(|group| (group.client, of(group.client))))
    }
}

/// What the clients of a round sent.
pub(super) struct Uploaded<'a> {
    /// Those with a place before those of clients too small to show a centroid.
    groups: Vec<SelectedGroup>,
    /// How many have a place.
    shown: usize,
    /// What each may give.
    rooms: Vec<u32>,
    centroids: Vec<&'a Matrix>,
    /// Of each client with a place: how many groups, and their scores.
    scores: Vec<(usize, Option<Scores>)>,
    /// The mean tokens of each group, by (client, cluster); empty where the budget is in records.
    pub means: Vec<((ClientId, ClusterId), f64)>,
}

impl<'a> Uploaded<'a> {
    pub(super) fn new(
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
            let own = summary.sections.get::<GroupScores>()?.map(|GroupScores(scores)| scores);
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

    /// The mean tokens of a group's records.
    pub fn mean_of(&self, group: &SelectedGroup) -> f64 {
        let at = self.means.binary_search_by_key(&(group.client, group.cluster), |(key, _)| *key);
        at.map_or(1.0, |at| self.means[at].1)
    }

    /// Tokens of so many records of each group as it may give.
    pub fn tokens(&self) -> f64 {
        self.groups.iter().zip(&self.rooms).map(|(group, &room)| self.mean_of(group) * f64::from(room)).sum()
    }

    /// Tokens of what was selected.
    pub fn cost(&self, selection: &Selection) -> f64 {
        selection.groups.iter().map(|group| self.mean_of(group) * f64::from(group.records)).sum()
    }
}

/// Selects so many records, or as many as the clustering gives.
pub(super) fn among(
    pipeline: &Pipeline,
    uploaded: &Uploaded<'_>,
    asked: Option<usize>,
    known: &Knowledge<'_>,
    context: &Context,
) -> Result<Selection> {
    if let Some(explain) = known.explain {
        explain.begin();
    }
    let records = uploaded.records();
    let shown = uploaded.shown;
    let has_places = pipeline.client.clusterer.is_some();
    let budget = asked.map(|asked| asked.min(records));
    let shares = asked.zip(pipeline.server.share_cap).map(|(asked, cap)| known.shares(asked, cap, &uploaded.groups));
    let (groups, hidden) = uploaded.groups.split_at(shown);
    let asked = to_u32(asked.unwrap_or_default());
    let mut selection = Selection { groups: groups.to_vec(), asked, ..Selection::default() };
    if uploaded.groups.is_empty() || budget == Some(0) {
        selection.groups.extend(hidden);
        return Ok(selection);
    }
    let owners = uploaded.groups.iter().map(|group| group.client).collect();
    let mut allowance = Allowance::new(owners, uploaded.rooms.clone(), shares.unwrap_or_default());
    if budget == Some(records) {
        for at in 0..shown {
            allowance.take(at, u32::MAX);
        }
    } else if !has_places {
        among_records(&pipeline.server, &selection, &mut allowance, budget.unwrap_or(records), context)?;
    } else if shown > 0 {
        let points = Matrix::stack(uploaded.centroids.iter().copied())?;
        let scores = joint_scores(&uploaded.scores)?;
        // Coordinates that nothing was covered in yet, or that another method covered, say nothing of these.
        let covered = known.covered.filter(|c| c.points.cols() == points.cols());
        let around = known.registry.map(|registry| Around::new(registry, known, &points, covered)).transpose()?;
        let rows = match &around {
            None => Rows::new(&points).covered(covered),
            Some(around) => around.rows(),
        };
        let rows = rows.scores(scores.as_ref()).watch(known.explain.map(|explain| explain as &dyn Watch));
        among_groups(&pipeline.server, &mut selection, &mut allowance, &rows, budget, known, context)?;
        if let (Some(explain), Some(_)) = (known.explain, known.covered) {
            explain.note_covered(pipeline.server.selector.nearness(), &rows, &allowance.given);
        }
    }
    selection.groups.extend(hidden);
    if let Some(budget) = budget {
        // What no group with a place could give.
        for at in shown..selection.groups.len() {
            allowance.take(at, to_u32(budget.saturating_sub(allowance.records())));
        }
    }
    selection.groups.iter_mut().zip(&allowance.given).for_each(|(group, given)| group.records = *given);
    if let Some(explain) = known.explain {
        for (at, group) in selection.groups.iter_mut().enumerate() {
            let share = allowance.clients.get(&group.client) == Some(&0);
            let (full, all) = (allowance.groups[at] == 0, allowance.given[at] >= known.left(group));
            group.reason =
                GroupReason { caps: Caps { share, room: full && all, pass: full && !all }, ..explain.reason(at) };
        }
    }
    sorting::sort_by_key(&mut selection.groups, |group| (group.client, group.cluster));
    if pipeline.client.repeats == Repeats::Never {
        selection.name_spares(known);
    }
    selection.gate = known.gate.map(|gate| gate.report.clone());
    Ok(selection)
}

/// The most that one of so many clients gives of a budget.
fn share_of(budget: usize, cap: f64, clients: usize) -> u32 {
    let share = (cap * budget as f64 / clients.max(1) as f64).ceil();
    if share >= f64::from(u32::MAX) { u32::MAX } else { share as u32 }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Rows, what is covered and what is to be covered, all as seen from the middle of the known groups.
struct Around {
    points: Matrix,
    covered: Option<Covered>,
    targets: Targets,
}

impl Around {
    fn new(registry: &Registry, known: &Knowledge<'_>, points: &Matrix, covered: Option<&Covered>) -> Result<Self> {
        let (centre, targets) = registry.targets(points.cols(), |client| known.pass(client));
        let covered = covered.map(|covered| -> Result<Covered> {
            Ok(Covered { points: centre.all_seen_from(&covered.points)?, mass: covered.mass.clone() })
        });
        Ok(Self { points: centre.all_seen_from(points)?, covered: covered.transpose()?, targets })
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&self.points).covered(self.covered.as_ref()).targets(&self.targets)
    }
}

/// The scores of all groups: a column for each name that a client sent, NaN where a client has nothing of it. `None` where nobody
/// sent any.
fn joint_scores(scores: &[(usize, Option<Scores>)]) -> Result<Option<Scores>> {
    let mut names: Vec<&String> = scores.iter().flat_map(|(_, scores)| scores).flat_map(Scores::names).collect();
    sorting::sort(&mut names);
    names.dedup();
    if names.is_empty() {
        return Ok(None);
    }
    let rows = scores.iter().map(|(groups, _)| groups).sum();
    let mut values = Matrix::new(rows, names.len(), vec![f32::NAN; rows * names.len()])?;
    for (column, name) in names.iter().enumerate() {
        let mut first = 0;
        for (groups, scores) in scores {
            for (at, value) in scores.as_ref().and_then(|scores| scores.column(name)).into_iter().flatten().enumerate()
            {
                values.row_mut(first + at)[column] = value;
            }
            first += groups;
        }
    }
    Scores::new(names.into_iter().cloned(), values).map(Some)
}

/// Methods without features: a row for each record, known by its owner alone.
fn among_records(
    stages: &ServerStages,
    selection: &Selection,
    allowance: &mut Allowance,
    budget: usize,
    context: &Context,
) -> Result<()> {
    let context = context.derive("selector", 0);
    // Once, unless a client would give more than its share: then what is left is drawn among the others.
    let mut left = budget;
    for turn in 0u64.. {
        let rooms: Vec<usize> = (0..selection.groups.len()).map(|at| allowance.groups[at] as usize).collect();
        let open = |at: &usize| allowance.room(*at) > 0;
        let records: usize = (0..rooms.len()).filter(open).map(|at| rooms[at]).sum();
        if left == 0 || records == 0 {
            break;
        }
        if records > MAX_ROWS {
            let expected = format!("at most {MAX_ROWS} in a round");
            return Err(Error::protocol("client_summary: records", expected, records));
        }
        let group_of: Vec<usize> =
            (0..rooms.len()).filter(open).flat_map(|at| std::iter::repeat_n(at, rooms[at])).collect();
        let owners: Vec<ClientId> = group_of.iter().map(|&at| selection.groups[at].client).collect();
        let points = Matrix::zeros(owners.len(), 0);
        let rows = Rows::new(&points).owners(&owners);
        let context = if turn == 0 { context.clone() } else { context.derive("again", turn) };
        let chosen = run_selector("server.selector", stages.selector.as_ref(), &rows, Budget::Total(left), &context)?;
        for row in chosen {
            left -= allowance.take(group_of[row.index()], 1) as usize;
        }
    }
    Ok(())
}

/// Methods with features: a row for each group.
fn among_groups(
    stages: &ServerStages,
    selection: &mut Selection,
    allowance: &mut Allowance,
    rows: &Rows<'_>,
    budget: Option<usize>,
    known: &Knowledge<'_>,
    context: &Context,
) -> Result<()> {
    let weights: Vec<f32> = selection.groups.iter().map(|g| g.size as f32).collect();
    let owners: Vec<ClientId> = selection.groups.iter().map(|g| g.client).collect();
    let key = |g: &SelectedGroup| {
        context.seed.derive("client", u64::from(g.client.0)).derive("group", u64::from(g.cluster.0)).0
    };
    let keys: Vec<u64> = selection.groups.iter().map(key).collect();
    let rows = rows.weights(&weights).owners(&owners);
    let clustering = group(stages, &rows, budget, context)?;
    if let Some(clustering) = &clustering {
        selection.clusters = clustering.centroids.rows();
        for (group, label) in selection.groups.iter_mut().zip(&clustering.labels) {
            group.server_cluster = *label;
        }
    }
    let rows = rows.groups(clustering.as_ref());
    let context = context.derive("selector", 0);
    let Some(budget) = budget else {
        let wanted = Budget::PerCluster(1);
        for row in run_selector("server.selector", stages.selector.as_ref(), &rows, wanted, &context)? {
            allowance.take(row.index(), 1);
        }
        return Ok(());
    };
    let shown = &allowance.groups[..rows.len()];
    let room = Room::new(shown, &allowance.clients);
    let keyed = rows.keys(&keys); // what decides between equals
    if let Some(counts) = run_allocation("server.selector", stages.selector.as_ref(), &keyed, &room, budget, &context)?
    {
        for (at, count) in counts.into_iter().enumerate() {
            allowance.take(at, count);
        }
        if let Some(explain) = known.explain {
            explain.note(&allowance.given, None);
        }
        return Ok(());
    }
    one_each(stages, allowance, &rows, budget, known.explain, &context)?;
    spread(allowance, &weights, budget);
    Ok(())
}

/// The server's own clusters of the centroids (eq. 8).
fn group(
    stages: &ServerStages,
    rows: &Rows<'_>,
    budget: Option<usize>,
    context: &Context,
) -> Result<Option<Clustering>> {
    let context = context.derive("clusterer", 0);
    let Some(clusterer) = &stages.clusterer else { return Ok(budget.is_none().then(|| each_alone(rows.points))) };
    if rows.len() == 1 {
        // One point is no cluster to any density; but a lone group has nobody else to stand for it.
        return Ok(Some(each_alone(rows.points)));
    }
    let wanted = budget.map(|records| records.min(rows.len()));
    let clustering = run_clusterer("server.clusterer", clusterer.as_ref(), rows, wanted, &context)?;
    Ok(Some(match stages.noise {
        Noise::Drop => clustering,
        Noise::Singletons => keep_noise(clustering, rows.points)?,
    }))
}
