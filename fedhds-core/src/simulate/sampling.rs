//! Which clients take part in a round.

use crate::error::Result;
use crate::types::range::{at_least, share};
use crate::types::{ClientId, Round, Seed};
use serde::{Deserialize, Serialize};

/// How many clients take part in each round.
///
/// In TOML: `{ count = 5 }` or `{ fraction = 0.05 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Participation {
    /// So many clients, at least 1; all of them where there are fewer.
    Count(usize),
    /// This share of the clients, in (0, 1], rounded half up and at least 1.
    ///
    /// The released code takes `int(N * k)`, which drops a client by truncation (36 of 36.9).
    Fraction(f64),
}

impl Default for Participation {
    /// The paper's 5% of the clients.
    fn default() -> Self {
        Participation::Fraction(0.05)
    }
}

impl Participation {
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a count of 0 or a fraction outside (0, 1].
    pub fn check(&self) -> Result<()> {
        match *self {
            Participation::Count(count) => at_least("participation.count", count, 1),
            Participation::Fraction(fraction) => share("participation.fraction", fraction),
        }
    }

    /// Clients in a round out of `clients`: between 1 and `clients` (0 only where there are none).
    pub fn clients_of(&self, clients: usize) -> usize {
        let wanted = match *self {
            Participation::Count(count) => count,
            Participation::Fraction(fraction) => (clients as f64 * fraction + 0.5).floor() as usize,
        };
        wanted.max(1).min(clients)
    }

    /// The clients of `round`, in ascending order, drawn without replacement; depends on the seed and the round alone,
    /// so that every method of an experiment meets the same clients.
    pub fn sample(&self, clients: &[ClientId], round: Round, seed: Seed) -> Vec<ClientId> {
        let mut rng = seed.of_round(round, "sampling").rng();
        let amount = self.clients_of(clients.len());
        let drawn = rand::seq::index::sample(&mut rng, clients.len(), amount);
        let mut sampled: Vec<ClientId> = drawn.iter().filter_map(|i| clients.get(i).copied()).collect();
        sampled.sort_unstable();
        sampled
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn fractions_round_half_up_and_never_to_none() {
        assert_eq!(Participation::Fraction(0.05).clients_of(738), 37); // 36.9: the released code took 36
        assert_eq!(Participation::Fraction(0.05).clients_of(10), 1);
        assert_eq!(Participation::Fraction(0.05).clients_of(3), 1);
        assert_eq!(Participation::Fraction(1.0).clients_of(7), 7);
        assert_eq!(Participation::Count(5).clients_of(3), 3);
        assert_eq!(Participation::Count(5).clients_of(0), 0);
    }

    #[test]
    fn bad_settings_are_named() {
        for bad in [Participation::Count(0), Participation::Fraction(0.0), Participation::Fraction(1.5)] {
            assert!(matches!(bad.check(), Err(crate::Error::Parameter { .. })), "{bad:?}");
        }
        assert!(Participation::Fraction(f64::NAN).check().is_err());
        assert!(Participation::Fraction(1.0).check().is_ok());
    }

    #[test]
    fn samples_are_distinct_sorted_repeatable_and_differ_by_round() {
        let clients: Vec<ClientId> = (0..100).map(ClientId).collect();
        let draw = |round, seed| Participation::Count(10).sample(&clients, Round(round), Seed(seed));
        let first = draw(0, 1);
        assert_eq!(first.len(), 10);
        assert!(first.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(first, draw(0, 1));
        assert_ne!(first, draw(1, 1));
        assert_ne!(first, draw(0, 2));
    }

    #[test]
    fn every_client_is_met_equally_often() {
        let clients: Vec<ClientId> = (0..20).map(ClientId).collect();
        let mut seen = [0usize; 20];
        for round in 0..2000 {
            for client in Participation::Fraction(0.25).sample(&clients, Round(round), Seed(3)) {
                seen[client.index()] += 1;
            }
        }
        // 500 expected, standard deviation about 19
        assert!(seen.iter().all(|&n| (420..=580).contains(&n)), "{seen:?}");
    }
}
