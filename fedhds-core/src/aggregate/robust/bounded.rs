//! A mean of updates whose steps were cut: what norm bounding and centred clipping stream into.

use super::held::Held;
use super::step::{Parts, draw_parts};
use super::weighting::Weighting;
use crate::aggregate::WeightedMean;
use crate::error::Result;
use crate::stage::{Aggregated, Aggregator as _, ClientUpdate};
use crate::types::{Adapter, ClientId, Round};
use std::collections::BTreeMap;

/// The running mean of a round, and who was cut.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounded {
    mean: WeightedMean,
    limited: BTreeMap<ClientId, String>,
}

impl Bounded {
    pub(super) fn begin(global: &Adapter, round: Round) -> Result<Self> {
        let mut bounded = Self::default();
        bounded.mean.begin(global, round)?;
        Ok(bounded)
    }

    /// Adds an update of which so much of each part is kept; `why` says what of it was too long.
    pub(super) fn add(
        &mut self,
        held: &Held,
        update: &ClientUpdate,
        shares: Parts,
        weighting: Weighting,
        why: impl FnOnce() -> String,
    ) -> Result<()> {
        let mut adapter = update.adapter.clone();
        draw_parts(&held.global, &mut adapter, shares);
        self.mean.add(&ClientUpdate::new(update.client, adapter, weighting.of(update.records)))?;
        if shares.iter().any(|&share| share < 1.0) {
            self.limited.insert(update.client, why());
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Aggregated> {
        let mut aggregated = self.mean.finish()?;
        aggregated.report.limited = std::mem::take(&mut self.limited);
        Ok(aggregated)
    }

    /// The mean's, the global adapter, and the update that is being cut.
    pub(super) fn memory(&self, clients: usize, values: usize) -> u64 {
        self.mean.memory(clients, values).saturating_add(8 * values as u64)
    }
}
