//! What makes a clean federation like a real one, by seed: repeats, rare tasks, wrong answers, clients that answer nothing.
//!
//! A [`Condition`] is a set of knobs, all off by default. What thins the data comes before the partition
//! ([`Condition::thin`]), everything else after it ([`Condition::apply`]). Ids, order and number of a client's records stay;
//! what was done to each is in the [`Truth`] alone, which nothing that a client or the server sees leads to. Each recipe is
//! the file of its name.

mod bad_clients;
mod duplicates;
mod exchange;
mod junk;
mod length;
mod slots;
mod swap_across;
mod swap_within;
mod tail;
mod truth;

pub use junk::JunkGenerators;
pub use truth::{Flaw, JunkKind, Knob, Reached, RecordTruth, Swap, Truth};

use super::{ClientData, Dataset};
use crate::error::Result;
use crate::types::Seed;
use crate::types::range::{at_least, below_one, not_negative, part};
use serde::{Deserialize, Serialize};

/// What is done to clean data. The default is clean; a knob that is off is not written.
///
/// Shares are of each client's records, rounded to the nearest count. Where the data do not allow what is asked for, as much
/// as they allow is done, and [`Truth::reached`] says how much. No record is both swapped and junk: where the shares do not
/// leave room, junk goes before `swap_across`, and that before `swap_within`. Copies may be swapped or junk like any record,
/// and all records of a bad client answer its string, whatever they were before.
///
/// Every knob draws from a seed of its own (and each client, and each record), so one does not move the draws of another.
///
/// ```
/// # use fedhds_core::dataset::Condition;
/// # #[allow(clippy::unwrap_used)] {
/// let condition: Condition = toml::from_str("duplicates = 0.3\njunk = 0.1").unwrap();
/// assert_eq!(condition, Condition { duplicates: 0.3, junk: 0.1, ..Condition::default() });
/// assert!(Condition::default().is_clean());
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// Share in [0, 1) of each client's records that become near copies of 8 records of the federation.
    #[serde(skip_serializing_if = "is_off")]
    pub duplicates: f64,
    /// Exponent, at least 0, of Zipf's law for the sizes of the tasks, the order of the tasks random: at 1 the second has
    /// half as many records as the first.
    #[serde(skip_serializing_if = "is_off")]
    pub tail: f64,
    /// Share in [0, 1] of each client's records that get the responses of another task of the client.
    #[serde(skip_serializing_if = "is_off")]
    pub swap_across: f64,
    /// Share in [0, 1] of each client's records that get other responses of their own task.
    #[serde(skip_serializing_if = "is_off")]
    pub swap_within: f64,
    /// Share in [0, 1] of each client's records that get one response that is junk.
    #[serde(skip_serializing_if = "is_off")]
    pub junk: f64,
    /// What makes the junk. Default [`JunkGenerators::Development`].
    #[serde(skip_serializing_if = "JunkGenerators::is_default")]
    pub junk_generators: JunkGenerators,
    /// Share in [0, 1] of the clients that answer one fixed string to everything.
    #[serde(skip_serializing_if = "is_off")]
    pub bad_clients: f64,
    /// The whole run selects so many records, at least 1, meant to be fewer than there are tasks. The data stay as they are:
    /// whoever sets the budget of a run heeds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scarce: Option<usize>,
    /// Standard deviation, at least 0, of the logarithm of the clients' factors of text length, before they are clipped to
    /// [1, 8].
    #[serde(skip_serializing_if = "is_off")]
    pub length: f64,
}

fn is_off(knob: &f64) -> bool {
    *knob == 0.0
}

impl Condition {
    /// Repeats, rare tasks and wrong answers together: `duplicates` .3, `tail` 1, `swap_across` .2, `junk` .1.
    pub fn mix() -> Self {
        Self { duplicates: 0.3, tail: 1.0, swap_across: 0.2, junk: 0.1, ..Self::default() }
    }

    /// The condition of a name: `clean` or `mix`; none for any other name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "clean" => Some(Self::default()),
            "mix" => Some(Self::mix()),
            _ => None,
        }
    }

    /// Checks the range of every knob.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first knob outside of its range.
    pub fn check(&self) -> Result<()> {
        below_one("duplicates", self.duplicates)?;
        not_negative("tail", self.tail)?;
        part("swap_across", self.swap_across)?;
        part("swap_within", self.swap_within)?;
        part("junk", self.junk)?;
        part("bad_clients", self.bad_clients)?;
        self.scarce.map_or(Ok(()), |records| at_least("scarce", records, 1))?;
        not_negative("length", self.length)
    }

    /// Whether every knob is off, whatever would make the junk.
    pub fn is_clean(&self) -> bool {
        Self { junk_generators: JunkGenerators::default(), ..self.clone() } == Self::default()
    }

    /// What comes before the partition: `tail`. `records` is how many there should be in all; where the pool holds more, large tasks
    /// take what small ones leave, and none is as many as the pool holds. The order of the records that are kept stays. Returns what was
    /// reached; where the knob is off, it is empty and the pool stays as it is.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) as of [`Condition::check`]; the pool is then unchanged.
    pub fn thin(&self, pool: &mut Dataset, records: Option<usize>, seed: Seed) -> Result<Vec<Reached>> {
        self.check()?;
        if is_off(&self.tail) {
            return Ok(Vec::new());
        }
        let records = records.unwrap_or(pool.len());
        let reached = tail::apply(self.tail, pool, records, seed.derive(Knob::Tail.name(), 0));
        Ok(vec![Reached { knob: Knob::Tail, asked: self.tail, reached }])
    }

    /// What comes after the partition, and the truth about every record of every client. `pool` is the data set that was
    /// dealt; it lends its words to the junk of a client that has no other record.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) as of [`Condition::check`], [`Error::Input`](crate::Error::Input) where two records of the clients have one id or two
    /// clients have one number; the clients are then unchanged.
    pub fn apply(&self, clients: &mut [ClientData], pool: &Dataset, seed: Seed) -> Result<Truth> {
        self.check()?;
        let mut truth = Truth::clean(clients)?;
        let of = |knob: Knob| seed.derive(knob.name(), 0);
        let flaws = seed.derive("flaws", 0);
        if !is_off(&self.length) {
            let reached = length::apply(self.length, clients, of(Knob::Length));
            truth.reached.push(Reached { knob: Knob::Length, asked: self.length, reached });
        }
        if !is_off(&self.duplicates) {
            duplicates::apply(self.duplicates, clients, &mut truth, of(Knob::Duplicates));
        }
        // Swaps and junk take different records, so that junk, which goes first, meets responses that are still right.
        for client in clients.iter_mut() {
            let number = u64::from(client.client.0);
            let of = |knob: Knob| of(knob).derive("client", number);
            let flaws = flaws.derive("client", number);
            if !is_off(&self.junk) {
                junk::apply(self.junk, self.junk_generators, client, pool, &mut truth, flaws, of(Knob::Junk));
            }
            if !is_off(&self.swap_across) {
                swap_across::apply(self.swap_across, client, &mut truth, flaws, of(Knob::SwapAcross));
            }
            if !is_off(&self.swap_within) {
                swap_within::apply(self.swap_within, client, &mut truth, flaws, of(Knob::SwapWithin));
            }
        }
        if !is_off(&self.bad_clients) {
            bad_clients::apply(self.bad_clients, clients, &mut truth, of(Knob::BadClients));
        }
        self.report(clients.len(), &mut truth);
        Ok(truth)
    }

    /// Counts what is true in the end: a bad client's records are neither swapped nor junk any more.
    fn report(&self, clients: usize, truth: &mut Truth) {
        let records = truth.records.len();
        let flawed = |fits: fn(Flaw) -> bool| truth.records.values().filter(|r| r.flaw.is_some_and(fits)).count();
        let copies = truth.records.values().filter(|record| record.copy_of.is_some()).count();
        let counts = [
            (Knob::Duplicates, self.duplicates, copies, records),
            (Knob::SwapAcross, self.swap_across, flawed(|flaw| flaw == Flaw::Swapped(Swap::Across)), records),
            (Knob::SwapWithin, self.swap_within, flawed(|flaw| flaw == Flaw::Swapped(Swap::Within)), records),
            (Knob::Junk, self.junk, flawed(|flaw| matches!(flaw, Flaw::Junk(_))), records),
            (Knob::BadClients, self.bad_clients, truth.bad_clients.len(), clients),
        ];
        let on = counts.into_iter().filter(|(_, asked, _, _)| !is_off(asked));
        truth.reached.extend(on.map(|(knob, asked, count, all)| {
            let reached = count as f64 / all.max(1) as f64;
            Reached { knob, asked, reached }
        }));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
