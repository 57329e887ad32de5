//! Which groups give how many records: eq. 8 and 9, and the budget.

use crate::error::{Error, Result};
use crate::method::checked::{run_clusterer, run_selector};
use crate::method::pipeline::{each_alone, keep_noise};
use crate::method::{Noise, Pipeline, ServerStages};
use crate::protocol::{ClientSummary, ClusterOrder, GroupScores, SelectionOrder};
use crate::select::quota::apportion;
use crate::stage::{Budget, Clustering, Covered, Rows};
use crate::types::{ClientId, ClusterId, Context, Matrix, Round, Scores};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most records that a method without features chooses from in one round: each is a row.
const MAX_ROWS: usize = 1 << 26;

/// One uploaded group, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// What the server chose in one round.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Every group that was uploaded, in the order of (client, cluster).
    pub groups: Vec<SelectedGroup>,
    /// Clusters that the server found; 0 where nothing was clustered.
    pub clusters: usize,
}

impl Selection {
    /// Records that train in this round.
    pub fn records(&self) -> usize {
        self.groups.iter().map(|g| g.records as usize).sum()
    }

    /// Records of one client that train in this round.
    pub fn records_of(&self, client: ClientId) -> usize {
        let from = self.groups.partition_point(|g| g.client < client);
        self.groups[from..].iter().take_while(|g| g.client == client).map(|g| g.records as usize).sum()
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
    ) -> BTreeMap<ClientId, SelectionOrder> {
        let mut orders: BTreeMap<ClientId, SelectionOrder> =
            clients.map(|client| (client, SelectionOrder::new(client, round, Vec::new()))).collect();
        for group in self.groups.iter().filter(|g| g.records > 0) {
            if let Some(order) = orders.get_mut(&group.client) {
                order.clusters.push(ClusterOrder { cluster: group.cluster, count: group.records });
            }
        }
        orders
    }
}

/// Selects from the summaries of a round, which come in the order of their clients; `covered` is what the server remembers.
pub(super) fn select<'a>(
    pipeline: &Pipeline,
    round: Round,
    summaries: impl Iterator<Item = &'a ClientSummary>,
    covered: Option<&Covered>,
    context: &Context,
) -> Result<Selection> {
    let mut groups = Vec::new();
    let mut centroids = Vec::new();
    let mut scores = Vec::new();
    for summary in summaries.filter(|s| !s.groups.is_empty()) {
        centroids.push(&summary.centroids);
        let own = summary.sections.get::<GroupScores>()?.map(|GroupScores(scores)| scores);
        scores.push((summary.groups.len(), own));
        groups.extend(summary.groups.iter().map(|group| SelectedGroup {
            client: summary.client,
            cluster: group.cluster,
            size: group.size,
            server_cluster: None,
            records: 0,
        }));
    }
    let mut selection = Selection { groups, clusters: 0 };
    if selection.groups.is_empty() {
        return Ok(selection);
    }
    let records = selection.groups.iter().map(|g| g.size as usize).sum();
    let budget = pipeline.server.count.budget(round, records);
    if budget == Some(0) {
        return Ok(selection);
    }
    if budget == Some(records) {
        selection.groups.iter_mut().for_each(|g| g.records = g.size);
    } else if pipeline.client.clusterer.is_none() {
        among_records(&pipeline.server, &mut selection, records, budget.unwrap_or(records), context)?;
    } else {
        let points = Matrix::stack(centroids)?;
        let scores = joint_scores(&scores)?;
        // Coordinates that nothing was covered in yet, or that another method covered, say nothing of these.
        let covered = covered.filter(|c| c.points.cols() == points.cols());
        let rows = Rows::new(&points).scores(scores.as_ref()).covered(covered);
        among_groups(&pipeline.server, &mut selection, &rows, budget, context)?;
    }
    Ok(selection)
}

/// The scores of all groups: a column for each name that a client sent, NaN where a client has nothing of it. `None` where nobody
/// sent any.
fn joint_scores(scores: &[(usize, Option<Scores>)]) -> Result<Option<Scores>> {
    let mut names: Vec<&String> = scores.iter().flat_map(|(_, scores)| scores).flat_map(Scores::names).collect();
    names.sort_unstable();
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
    selection: &mut Selection,
    records: usize,
    budget: usize,
    context: &Context,
) -> Result<()> {
    if records > MAX_ROWS {
        return Err(Error::protocol("client_summary: records", format!("at most {MAX_ROWS} in a round"), records));
    }
    let mut owners = Vec::with_capacity(records);
    let mut group_of = Vec::with_capacity(records);
    for (at, group) in selection.groups.iter().enumerate() {
        owners.extend(std::iter::repeat_n(group.client, group.size as usize));
        group_of.extend(std::iter::repeat_n(at, group.size as usize));
    }
    let points = Matrix::zeros(records, 0);
    let rows = Rows::new(&points).owners(&owners);
    let context = context.derive("selector", 0);
    let chosen = run_selector("server.selector", stages.selector.as_ref(), &rows, Budget::Total(budget), &context)?;
    for row in chosen {
        selection.groups[group_of[row.index()]].records += 1;
    }
    Ok(())
}

/// Methods with features: a row for each group.
fn among_groups(
    stages: &ServerStages,
    selection: &mut Selection,
    rows: &Rows<'_>,
    budget: Option<usize>,
    context: &Context,
) -> Result<()> {
    let weights: Vec<f32> = selection.groups.iter().map(|g| g.size as f32).collect();
    let owners: Vec<ClientId> = selection.groups.iter().map(|g| g.client).collect();
    let rows = rows.weights(&weights).owners(&owners);
    let clustering = group(stages, &rows, budget, context)?;
    if let Some(clustering) = &clustering {
        selection.clusters = clustering.centroids.rows();
        for (group, label) in selection.groups.iter_mut().zip(&clustering.labels) {
            group.server_cluster = *label;
        }
    }
    let wanted = match budget {
        None => Budget::PerCluster(1),
        Some(records) => Budget::Total(records.min(rows.len())),
    };
    let rows = rows.groups(clustering.as_ref());
    let context = context.derive("selector", 0);
    let chosen = run_selector("server.selector", stages.selector.as_ref(), &rows, wanted, &context)?;
    let picked = chosen.len();
    for row in chosen {
        selection.groups[row.index()].records = 1;
    }
    if let Some(records) = budget
        && records > picked
    {
        // Only where every group was picked: `run_selector` saw to it that the total was met.
        let sizes: Vec<f64> = selection.groups.iter().map(|g| f64::from(g.size)).collect();
        let room: Vec<usize> = selection.groups.iter().map(|g| (g.size - g.records) as usize).collect();
        for (group, more) in selection.groups.iter_mut().zip(apportion(records - picked, &sizes, &room)) {
            group.records += more as u32;
        }
    }
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
