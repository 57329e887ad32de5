//! Which clients are hostile.

use crate::error::{Error, Result};
use crate::types::range::part;
use crate::types::{ClientId, Seed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The hostile clients of a run. In TOML `0.2`, or a list as `[0, 7]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hostile {
    /// This share of the clients, in [0, 1], rounded to the nearest count; who they are is drawn by the run's seed.
    Share(f64),
    /// These clients, each once.
    Listed(Vec<ClientId>),
}

impl Hostile {
    /// # Errors
    /// [`Error::Parameter`] for a share outside of [0, 1], and a client that is listed twice.
    pub fn check(&self) -> Result<()> {
        match self {
            Hostile::Share(share) => part("clients", *share),
            Hostile::Listed(clients) => {
                let mut seen = BTreeSet::new();
                match clients.iter().find(|client| !seen.insert(**client)) {
                    Some(twice) => Err(Error::parameter("clients", "each client once", format!("{twice} twice"))),
                    None => Ok(()),
                }
            }
        }
    }

    /// The hostile ones of these clients: the same in every round of a run, and for every method and rule of one seed.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a listed client that is none of them.
    pub fn of(&self, clients: &[ClientId], seed: Seed) -> Result<BTreeSet<ClientId>> {
        match self {
            Hostile::Share(share) => {
                let count = ((clients.len() as f64 * share).round() as usize).min(clients.len());
                let drawn = rand::seq::index::sample(&mut seed.before_rounds("attack").rng(), clients.len(), count);
                Ok(drawn.iter().filter_map(|at| clients.get(at).copied()).collect())
            }
            Hostile::Listed(listed) => match listed.iter().find(|client| !clients.contains(client)) {
                Some(other) => {
                    let expected = format!("some of the {} clients of the federation", clients.len());
                    Err(Error::parameter("clients", expected, format!("client {other}")))
                }
                None => Ok(listed.iter().copied().collect()),
            },
        }
    }
}

impl std::fmt::Display for Hostile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hostile::Share(share) => write!(f, "{share} of the clients"),
            Hostile::Listed(clients) => {
                let clients: Vec<String> = clients.iter().map(ClientId::to_string).collect();
                write!(f, "clients {}", clients.join(", "))
            }
        }
    }
}
