//! The updates of a round, held until all are there, and the aggregator that then applies a rule to them.

use crate::aggregate::AdapterShape;
use crate::error::{Error, Result};
use crate::sorting;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, ClientId, Round};

/// A round that has begun, and its updates in the order of their clients.
#[derive(Debug, Clone)]
pub(super) struct Held {
    shape: AdapterShape,
    /// The adapter that the round began from.
    pub(super) global: Adapter,
    pub(super) round: Round,
    /// Those that trained on a record at least.
    pub(super) updates: Vec<ClientUpdate>,
    /// The last client that came, whether its update counts or not.
    last: Option<ClientId>,
}

impl Held {
    pub(super) fn begin(global: &Adapter, round: Round) -> Self {
        Self { shape: AdapterShape::of(global), global: global.clone(), round, updates: Vec::new(), last: None }
    }

    /// Checks an update and keeps it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.check(update)?;
        if update.records > 0 {
            self.updates.push(update.clone());
        }
        Ok(())
    }

    /// Checks an update and keeps nothing of it but its client.
    ///
    /// # Errors
    /// [`Error::Input`] for a client that does not come after the one before it; [`Error::Adapter`] with the client, for an adapter that is
    /// not like the global one, or not finite.
    pub(super) fn check(&mut self, update: &ClientUpdate) -> Result<()> {
        let client = update.client;
        self.shape.check(&update.adapter).map_err(|error| error.of_client(client.0))?;
        if let Some(last) = self.last.filter(|last| client <= *last) {
            let expected = format!("a client after client {last}");
            return Err(Error::input("order of client updates", expected, format!("client {client}")));
        }
        self.last = Some(client);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.updates.len()
    }

    /// The weights by client, normalised to a sum of 1.
    pub(super) fn report_weights(&self, weights: &[f64]) -> std::collections::BTreeMap<ClientId, f64> {
        let total: f64 = weights.iter().sum();
        sorting::map(self.updates.iter().zip(weights).map(|(update, weight)| (update.client, weight / total)))
    }
}

/// The error of an update that comes before [`begin`](Aggregator::begin).
pub(super) fn not_begun(what: &str, update: &ClientUpdate) -> Error {
    Error::input(what, "`begin` before `add`", format!("an update of client {}", update.client))
}

/// Goes on from no state.
///
/// # Errors
/// [`Error::Input`] for any byte.
pub(super) fn resume_nothing(what: &str, state: &[u8]) -> Result<()> {
    match state {
        [] => Ok(()),
        _ => Err(Error::input(&format!("state of the {what}"), "no bytes: it keeps nothing", state.len())),
    }
}

/// What a round of too few updates ends with: the global adapter stays. Of none there is nothing to say.
pub(super) fn too_few(what: &str, least: usize, got: usize) -> Aggregated {
    let mut aggregated = Aggregated::default();
    if got > 0 {
        let text = format!("the {what} needs at least {least} updates, got {got}: the global adapter stays");
        aggregated.report.discarded = Some(text);
    }
    aggregated
}

/// What a rule makes of the updates of a round, once all are there.
pub(super) trait Rule: std::fmt::Debug + Send + Sync {
    /// What messages call it.
    fn name(&self) -> &'static str;

    /// The fewest updates that it can be applied to, at least 1.
    fn least(&self) -> usize;

    /// The adapter and the report, of at least so many updates.
    fn combine(&self, held: &Held) -> Result<Aggregated>;

    /// The most bytes that it holds beside the updates, for so many clients and values.
    fn working_memory(&self, clients: usize, values: usize) -> u64;
}

/// A robust rule that looks at all updates of a round at once: made by [`Robust::coordinate_median`], [`Robust::trimmed_mean`],
/// [`Robust::multi_krum`] and [`Robust::geometric_median`].
///
/// It holds every update of the round, four bytes a value. A round of fewer updates than the rule needs keeps the global adapter, and the
/// report's `discarded` says so. Nothing is kept between rounds.
#[derive(Debug)]
pub struct Robust {
    rule: Box<dyn Rule>,
    held: Option<Held>,
}

impl Robust {
    pub(super) fn of(rule: impl Rule + 'static) -> Self {
        Self { rule: Box::new(rule), held: None }
    }
}

impl Aggregator for Robust {
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.held = Some(Held::begin(global, round));
        Ok(())
    }

    /// # Errors
    /// [`Error::Input`] before [`begin`](Aggregator::begin) and when the update's client does not come after the one before it;
    /// [`Error::Adapter`] that names the client and what of its adapter is not as the global one's, or not finite.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        match &mut self.held {
            Some(held) => held.add(update),
            None => Err(not_begun(self.rule.name(), update)),
        }
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let Some(held) = self.held.take() else { return Ok(Aggregated::default()) };
        let least = self.rule.least().max(1);
        if held.len() < least {
            return Ok(too_few(self.rule.name(), least, held.len()));
        }
        self.rule.combine(&held)
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        resume_nothing(self.rule.name(), state)
    }

    /// All updates, the global adapter and the result, and what the rule works with.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        (clients as u64 + 2).saturating_mul(4 * values as u64).saturating_add(self.rule.working_memory(clients, values))
    }
}
