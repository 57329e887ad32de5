//! FlexLoRA: the best adapter of the global rank for the mean of the clients' products.

use super::AdapterShape;
use super::factor_mean::no_state;
use super::product::{Module, Stack, modules, of_modules, seed_of};
use super::product_error::PRODUCT_ERROR;
use crate::error::{Error, Result};
use crate::sorting;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, ClientId, Round};
use serde::{Deserialize, Serialize};

/// Settings of FlexLoRA.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlexLoraConfig {
    /// Whether each rank is weighed among the clients that have it alone (raFLoRA); default false. It changes nothing where all ranks are equal.
    pub rank_weights: bool,
}

/// FlexLoRA (Bai et al. 2024, arXiv 2402.11505): of the target `W* = sum_k p_k s_k B_k A_k`, with shares `p_k` by records and each client's own scale
/// `s_k = alpha / r_k`, the first r singular directions, `W* ~ U S V^T`. No adapter of rank r has a product nearer to the target, and with r of at
/// least the sum of the clients' ranks it is the target itself. The report's `product_error` is what is cut off.
///
/// The next round starts from `A = c V^T`, `B = U S / (c s)` with `c = 1 / sqrt(3)`, the length of a row of A in a fresh adapter: with
/// `sqrt(S)` on both sides, as the paper splits it, a direction that has died would have zeros in both factors and never learn again. Where the
/// clients span fewer than r directions, A gets random rows and B zeros, as in a fresh adapter.
///
/// Clients may have ranks and scales of their own, up to the global rank. Those of small rank then dilute the directions that they cannot have,
/// and the rank of the result collapses to theirs; [`rank_weights`](FlexLoraConfig::rank_weights) weighs rank j by the clients with `r_k >= j` alone, `p_k / sum_{r_i >= j} p_i`
/// (raFLoRA, arXiv 2602.13486). That looks at how a product is split into ranks, where plain FlexLoRA looks at the product alone.
///
/// Nothing is kept between rounds.
#[derive(Debug, Clone, Default)]
pub struct FlexLora {
    config: FlexLoraConfig,
    running: Option<Running>,
}

#[derive(Debug, Clone)]
struct Running {
    round: Round,
    global: Adapter,
    shape: AdapterShape,
    modules: Vec<Module>,
    updates: Vec<(ClientId, usize, Adapter)>,
}

/// The length of a row of A in a fresh adapter: each of n values is uniform in (-1/sqrt(n), 1/sqrt(n)), of variance 1 / (3 n).
pub(super) fn row_length() -> f64 {
    (1.0f64 / 3.0).sqrt()
}

impl FlexLora {
    /// An aggregator that has not begun.
    pub fn new(config: &FlexLoraConfig) -> Self {
        Self { config: config.clone(), running: None }
    }

    /// The weight of rank `j` of a client of this share: among all, or among those that have such a rank.
    fn weight(&self, share: f64, j: usize, ranks: &[(usize, f64)]) -> f64 {
        if !self.config.rank_weights {
            return share;
        }
        let reach: f64 = ranks.iter().filter(|(r, _)| *r > j).map(|(_, share)| share).sum();
        if reach > 0.0 { share / reach } else { 0.0 }
    }
}

impl Running {
    /// What makes the mean of the clients' products: the stack of one module.
    fn stack(&self, module: &Module, total: f64, aggregator: &FlexLora) -> Result<Stack> {
        let ranks: Vec<(usize, f64)> =
            self.updates.iter().map(|(_, records, adapter)| (adapter.config.r, *records as f64 / total)).collect();
        let mut stack = Stack::new(module);
        for ((_, _, adapter), (_, share)) in self.updates.iter().zip(&ranks) {
            let (a, b) = module.factors(adapter)?;
            let scale = f64::from(adapter.config.scaling());
            stack.push(a, b, |j| scale * aggregator.weight(*share, j, &ranks));
        }
        Ok(stack)
    }
}

impl Aggregator for FlexLora {
    /// # Errors
    /// [`Error::Adapter`] for a tensor that is no factor, or whose other factor is missing.
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        let (modules, shape) = (modules(global)?, AdapterShape::of(global));
        self.running = Some(Running { round, global: global.clone(), shape, modules, updates: Vec::new() });
        Ok(())
    }

    /// # Errors
    /// As [`WeightedMean::add`](super::WeightedMean), but that an update may have a rank of its own, up to the global one, and a scale of its own.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let client = update.client;
        let Some(running) = &mut self.running else {
            return Err(Error::input("flexlora", "`begin` before `add`", format!("an update of client {client}")));
        };
        let config = &update.adapter.config;
        let fits = config.check().and_then(|()| running.shape.of_rank(config.r));
        let fits = fits.and_then(|shape| shape.of_scale(config).check(&update.adapter));
        fits.map_err(|error| error.of_client(client.0))?;
        if let Some((last, ..)) = running.updates.last()
            && client <= *last
        {
            let expected = format!("a client after client {last}");
            return Err(Error::input("order of client updates", expected, format!("client {client}")));
        }
        running.updates.push((client, update.records, update.adapter.clone()));
        Ok(())
    }

    /// Where the product would leave the range of f32 the global adapter stays, and the report says so.
    fn finish(&mut self) -> Result<Aggregated> {
        let Some(running) = self.running.take() else { return Ok(Aggregated::default()) };
        let total = running.updates.iter().map(|(_, records, _)| *records as u64).sum::<u64>() as f64;
        if total == 0.0 {
            return Ok(Aggregated::default());
        }
        let mut adapter = running.global.clone();
        let scale = f64::from(adapter.config.scaling());
        let joined = of_modules(&running.modules, |module| {
            let rank = module.factors(&running.global)?.0.shape[0];
            let directions = running.stack(module, total, self)?.directions(rank)?;
            let squares = (directions.square, directions.lost);
            let seed = seed_of(module, &running.global)?.derive("flexlora", u64::from(running.round.0));
            let directions = directions.completed(rank, module.inputs, module.outputs, seed);
            Ok((directions.factors(row_length(), scale), squares))
        })?;
        let (mut square, mut lost) = (0.0, 0.0);
        for (module, (factors, squares)) in running.modules.iter().zip(joined) {
            module.set(&mut adapter, factors);
            square += squares.0;
            lost += squares.1;
        }
        let mut aggregated = Aggregated::default();
        let error = if lost == 0.0 { 0.0 } else { (lost / square).sqrt() };
        aggregated.report.measures.insert(PRODUCT_ERROR.into(), error);
        let share = |(client, records, _): &(ClientId, usize, Adapter)| (*client, *records as f64 / total);
        aggregated.report.weights = sorting::map(running.updates.iter().map(share));
        match running.shape.check(&adapter) {
            Err(error) => aggregated.report.discarded = Some(format!("a product that is not finite: {error}")),
            Ok(()) => aggregated.adapter = Some(adapter),
        }
        Ok(aggregated)
    }

    fn takes_ranks(&self) -> bool {
        true
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        no_state("flexlora", state)
    }

    /// Every client's adapter, the global one and the new one, and of the modules that are worked on side by side the stack and its basis in f64.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        let (clients, values) = (clients as u64, values as u64);
        (4 * (clients + 2) + 16 * clients) * values
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
