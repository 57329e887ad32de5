//! Which groups give how many records: eq. 8 and 9, and the budget in records.

use super::allowance::{Allowance, one_each, spread};
use super::knowledge::Knowledge;
use super::level::within_total;
use super::registry::Registry;
use super::selection::{SelectedGroup, Selection, to_u32};
use super::uploaded::Uploaded;
use super::why::{Caps, GroupReason};
use crate::error::Result;
use crate::method::checked::{run_allocation, run_clusterer, run_selector};
use crate::method::pipeline::{each_alone, keep_noise};
use crate::method::{Count, Noise, Pipeline, Repeats, ServerStages};
use crate::protocol::GroupScores;
use crate::sorting;
use crate::stage::{Budget, Clustering, Covered, Room, Rows, Targets, Watch};
use crate::types::{ClientId, Context, Matrix, Scores};

/// The most records that a method without features chooses from in one round: each is a row. Where there are more, the largest claims count for
/// less.
const MAX_ROWS: usize = 1 << 26;

/// Selects so many records, or as many as the clustering gives.
pub(super) fn pick(
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
    if budget == Some(records) || pipeline.server.count == Count::All {
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
        name_spares(&mut selection, known);
    }
    selection.gate = known.gate.map(|gate| gate.report.clone());
    Ok(selection)
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
/// sent any. Of more names than one client may send, those that most clients sent.
fn joint_scores(scores: &[(usize, Option<Scores>)]) -> Result<Option<Scores>> {
    let mut names: Vec<&String> = scores.iter().flat_map(|(_, scores)| scores).flat_map(Scores::names).collect();
    sorting::sort(&mut names);
    let mut by_name: Vec<&[&String]> = names.chunk_by(|a, b| a == b).collect();
    sorting::sort_by_key(&mut by_name, |same| std::cmp::Reverse(same.len()));
    by_name.truncate(GroupScores::MAX.0);
    let mut names: Vec<&String> = by_name.into_iter().filter_map(|same| same.first().copied()).collect();
    sorting::sort(&mut names);
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
        let open = |at: &usize| allowance.room(*at) > 0;
        let rooms = |at: usize| u64::from(allowance.groups[at]);
        let open: Vec<usize> = (0..selection.groups.len()).filter(open).collect();
        let level = within_total(open.iter().map(|&at| rooms(at)).collect(), MAX_ROWS as u64);
        // Where each open group's rows begin, and the end.
        let mut starts = vec![0usize];
        let mut owners: Vec<ClientId> = Vec::new();
        for &at in &open {
            let room = rooms(at).min(level) as usize;
            owners.extend(std::iter::repeat_n(selection.groups[at].client, room));
            starts.push(owners.len());
        }
        if left == 0 || owners.is_empty() {
            break;
        }
        let points = Matrix::zeros(owners.len(), 0);
        let rows = Rows::new(&points).owners(&owners);
        let context = if turn == 0 { context.clone() } else { context.derive("again", turn) };
        let chosen = run_selector("server.selector", stages.selector.as_ref(), &rows, Budget::Total(left), &context)?;
        for row in chosen {
            let at = open[starts.partition_point(|&start| start <= row.index()) - 1];
            left -= allowance.take(at, 1) as usize;
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

/// Names the spare groups of each client that trains: those with records left, first those that give the least, then the larger.
fn name_spares(selection: &mut Selection, known: &Knowledge<'_>) {
    for own in selection.groups.chunk_by(|a, b| a.client == b.client) {
        let left = |g: &SelectedGroup| known.room(g).saturating_sub(g.records);
        let mut spares: Vec<&SelectedGroup> = own.iter().filter(|g| left(g) > 0).collect();
        sorting::sort_by_key(&mut spares, |g| (g.records, std::cmp::Reverse(g.size), g.cluster));
        if own.iter().any(|g| g.records > 0) && !spares.is_empty() {
            selection.spares.insert(own[0].client, spares.into_iter().map(|g| g.cluster).collect());
        }
    }
}
