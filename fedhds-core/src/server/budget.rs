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
use crate::types::{ClientId, Context, Round};
use std::collections::BTreeMap;

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
        let records = uploaded.counted(count, pipeline.server.share_cap, known.clients);
        let asked = count.asked(round, records).map(|asked| asked.saturating_add(debt));
        return pick(pipeline, &uploaded, asked, known, context);
    };
    let tokens = tokens.saturating_add_signed(known.registry.map_or(0, Registry::owed));
    TokenBudget::new(tokens, pipeline.server.share_cap, &uploaded, known)
        .meet(|records| pick(pipeline, &uploaded, Some(records), known, context))
}

/// Tokens to spend, and what the clients may give of them.
struct TokenBudget<'a> {
    tokens: u64,
    uploaded: &'a Uploaded<'a>,
    known: &'a Knowledge<'a>,
    /// The most tokens of each client, where there is a share cap.
    shares: BTreeMap<ClientId, u32>,
}

/// What a client gives of a selection, in tokens.
struct Part {
    client: ClientId,
    /// Tokens of its records, each at the mean of its group; no more than `most`.
    cost: f64,
    /// The most that it may be ordered: what its ordered groups hold, or its share.
    most: f64,
}

impl<'a> TokenBudget<'a> {
    fn new(tokens: u64, cap: Option<f64>, uploaded: &'a Uploaded<'a>, known: &'a Knowledge<'a>) -> Self {
        let shares = cap.map(|cap| known.shares(as_size(tokens), cap, &uploaded.groups));
        Self { tokens, uploaded, known, shares: shares.unwrap_or_default() }
    }

    /// The selection of as many records as come nearest to the tokens, at least one. Its orders sum to the tokens where the clients may give
    /// so many.
    ///
    /// `select` makes a selection of so many records. Where more of them do not always cost more, one that crosses the tokens is found.
    fn meet(&self, select: impl Fn(usize) -> Result<Selection>) -> Result<Selection> {
        let (records, wanted) = (self.uploaded.records(), self.tokens as f64);
        if records == 0 || self.tokens == 0 {
            return Ok(self.ordered(select(0)?));
        }
        let longest = self.uploaded.means.iter().map(|(_, mean)| *mean).fold(1.0, f64::max);
        let typical = self.uploaded.tokens() / records as f64;
        // So few records cannot meet the tokens; so many are where to look first.
        let mut few = ((wanted / longest).ceil() as usize).saturating_sub(1).min(records - 1);
        let mut enough = ((wanted / typical).ceil() as usize).clamp(few + 1, records);
        let mut met = select(enough)?;
        while enough < records && self.cost(&met) < wanted {
            few = enough;
            enough = enough.saturating_mul(2).min(records);
            met = select(enough)?;
        }
        while enough - few > 1 {
            let half = few + (enough - few) / 2;
            let selection = select(half)?;
            match self.cost(&selection) < wanted {
                true => few = half,
                false => (enough, met) = (half, selection),
            }
        }
        if few > 0 {
            let before = select(few)?;
            if (wanted - self.cost(&before)).abs() < (self.cost(&met) - wanted).abs() {
                met = before;
            }
        }
        Ok(self.ordered(met))
    }

    /// Says how many tokens each client is ordered: in proportion to what its records cost.
    fn ordered(&self, mut selection: Selection) -> Selection {
        let parts = self.parts(&selection);
        let costs: Vec<f64> = parts.iter().map(|part| part.cost).collect();
        let most: Vec<usize> = parts.iter().map(|part| part.most.round() as usize).collect();
        let ordered = apportion(as_size(self.tokens), &costs, &most);
        let ordered = parts.iter().zip(ordered).map(|(part, tokens)| (part.client, tokens.max(1) as u64));
        (selection.asked, selection.asked_tokens) = (0, self.tokens);
        selection.tokens = ordered.collect();
        selection
    }

    fn cost(&self, selection: &Selection) -> f64 {
        self.parts(selection).iter().map(|part| part.cost).sum()
    }

    /// What each client that trains gives.
    fn parts(&self, selection: &Selection) -> Vec<Part> {
        let mut parts = Vec::new();
        for own in selection.groups.chunk_by(|a, b| a.client == b.client) {
            let (mut cost, mut most) = (0.0, 0.0);
            for group in own.iter().filter(|group| group.records > 0) {
                let mean = self.uploaded.mean_of(group);
                cost += mean * f64::from(group.records);
                most += mean * f64::from(self.known.room(group));
            }
            if cost > 0.0 {
                let client = own[0].client;
                // The largest share is none.
                if let Some(share) = self.shares.get(&client).filter(|share| **share < u32::MAX) {
                    most = most.min(f64::from(*share));
                }
                parts.push(Part { client, cost: cost.min(most), most });
            }
        }
        parts
    }
}

fn as_size(tokens: u64) -> usize {
    usize::try_from(tokens).unwrap_or(usize::MAX)
}
