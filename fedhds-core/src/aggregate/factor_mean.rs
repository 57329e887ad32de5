//! The mean of one factor, while the other stays as it is: with a common A, `mean(B) A` is the mean of the products `B A`.

use super::WeightedMean;
use super::product::modules;
use crate::error::{Error, Result};
use crate::stage::{Aggregated, Aggregator as _, ClientUpdate};
use crate::types::{Adapter, Factors, Round};

/// The weighted mean of the factors that a round trains.
#[derive(Debug, Clone, Default)]
pub(super) struct FactorMean {
    mean: WeightedMean,
    /// What the round trains, and the adapter that it began from.
    running: Option<(Factors, Adapter)>,
}

impl FactorMean {
    /// # Errors
    /// [`Error::Adapter`] for a tensor that is no factor, or whose other factor is missing: nothing would say whether it is frozen.
    pub(super) fn begin(&mut self, global: &Adapter, round: Round, factors: Factors) -> Result<()> {
        modules(global)?;
        self.mean.begin(global, round)?;
        self.running = Some((factors, global.clone()));
        Ok(())
    }

    /// # Errors
    /// As of the mean; [`Error::Adapter`] that names the client and its tensor which is frozen and moved.
    pub(super) fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let client = update.client;
        let Some((factors, global)) = &self.running else {
            return Err(Error::input("aggregator", "`begin` before `add`", format!("an update of client {client}")));
        };
        factors.check_frozen(global, &update.adapter).map_err(|error| error.of_client(client.0))?;
        self.mean.add(update)
    }

    pub(super) fn finish(&mut self) -> Result<Aggregated> {
        let mut aggregated = self.mean.finish()?;
        if let (Some((factors, global)), Some(adapter)) = (self.running.take(), &mut aggregated.adapter) {
            // The mean of equal values is that value but for its bits: zero loses its sign.
            factors.restore(&global, adapter);
        }
        Ok(aggregated)
    }

    /// The mean's, and the global adapter.
    pub(super) fn memory(&self, clients: usize, values: usize) -> u64 {
        self.mean.memory(clients, values) + 4 * values as u64
    }
}

/// Refuses a state where none is kept.
pub(super) fn no_state(name: &str, state: &[u8]) -> Result<()> {
    match state {
        [] => Ok(()),
        _ => Err(Error::input(&format!("state of {name}"), "no bytes: it keeps nothing", state.len())),
    }
}
