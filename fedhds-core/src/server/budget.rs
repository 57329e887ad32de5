//! A round's budget, in records or in tokens: how many records meet it, and how many tokens each client is ordered.

use super::knowledge::Knowledge;
use super::picks::pick;
use super::registry::Registry;
use super::selection::Selection;
use super::uploaded::Uploaded;
use crate::error::Result;
use crate::method::Pipeline;
use crate::protocol::ClientSummary;
use crate::select::quota::apportion;
use crate::types::{Context, Round};

/// Selects from the summaries of a round, which come in the order of their clients.
pub(super) fn select<'a>(
    pipeline: &Pipeline,
    round: Round,
    summaries: impl Iterator<Item = &'a ClientSummary>,
    known: &Knowledge<'_>,
    context: &Context,
) -> Result<Selection> {
    let uploaded = Uploaded::new(pipeline, summaries, known)?;
    let count = &pipeline.server.count;
    let Some(tokens) = count.tokens() else {
        let debt = known.registry.map_or(0, Registry::debt);
        let asked = count.asked(round, uploaded.records()).map(|asked| asked.saturating_add(debt));
        return pick(pipeline, &uploaded, asked, known, context);
    };
    let tokens = tokens.saturating_add_signed(known.registry.map_or(0, Registry::owed));
    let mut selection =
        to_tokens(tokens, &uploaded, |records| pick(pipeline, &uploaded, Some(records), known, context))?;
    order_tokens(&mut selection, tokens, pipeline.server.share_cap, &uploaded, known);
    selection.asked = 0;
    Ok(selection)
}

/// The selection of as many records as come nearest to so many tokens, at least one, each at the mean of its group; its orders sum to
/// the tokens where clients may give so many.
///
/// `select` makes a selection of so many records. Where more of them do not always cost more, one that crosses the tokens is found.
fn to_tokens(tokens: u64, uploaded: &Uploaded, select: impl Fn(usize) -> Result<Selection>) -> Result<Selection> {
    let (records, wanted) = (uploaded.records(), tokens as f64);
    if records == 0 || tokens == 0 {
        return select(0);
    }
    let longest = uploaded.means.iter().map(|(_, mean)| *mean).fold(1.0, f64::max);
    let typical = uploaded.tokens() / records as f64;
    // So few records cannot meet the tokens; so many are where to look first.
    let mut few = ((wanted / longest).ceil() as usize).saturating_sub(1).min(records.saturating_sub(1));
    let mut enough = ((wanted / typical).ceil() as usize).clamp((few + 1).min(records), records);
    let mut met = select(enough)?;
    while enough < records && uploaded.cost(&met) < wanted {
        few = enough;
        enough = enough.saturating_mul(2).min(records);
        met = select(enough)?;
    }
    while enough - few > 1 {
        let half = few + (enough - few) / 2;
        let selection = select(half)?;
        match uploaded.cost(&selection) < wanted {
            true => few = half,
            false => (enough, met) = (half, selection),
        }
    }
    if few > 0 {
        let before = select(few)?;
        if (wanted - uploaded.cost(&before)).abs() < (uploaded.cost(&met) - wanted).abs() {
            met = before;
        }
    }
    Ok(met)
}

/// Says how many tokens each client is ordered: in proportion to what its records cost, no more than its groups hold, and no more than its
/// share.
fn order_tokens(selection: &mut Selection, tokens: u64, cap: Option<f64>, uploaded: &Uploaded, known: &Knowledge<'_>) {
    let asked = usize::try_from(tokens).unwrap_or(usize::MAX);
    selection.asked_tokens = tokens;
    let shares = cap.map(|cap| known.shares(asked, cap, &selection.groups)).unwrap_or_default();
    let mut clients = Vec::new();
    let (mut costs, mut most) = (Vec::new(), Vec::new());
    for own in selection.groups.chunk_by(|a, b| a.client == b.client) {
        let (mut cost, mut holds) = (0.0, 0.0);
        for group in own.iter().filter(|group| group.records > 0) {
            let mean = uploaded.mean_of(group);
            cost += mean * f64::from(group.records);
            holds += mean * f64::from(known.room(group));
        }
        if cost > 0.0 {
            let client = own[0].client;
            // The largest share is none.
            let share =
                shares.get(&client).filter(|share| **share < u32::MAX).map_or(usize::MAX, |share| *share as usize);
            clients.push(client);
            costs.push(cost);
            most.push((holds.round() as usize).min(share));
        }
    }
    let ordered = apportion(asked, &costs, &most);
    selection.tokens = clients.into_iter().zip(ordered.into_iter().map(|tokens| tokens.max(1) as u64)).collect();
}
