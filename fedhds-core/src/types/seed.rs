//! Where every random draw comes from.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// The generator of every random draw: its stream is the same on every machine.
pub type Rng = ChaCha8Rng;

/// A seed. Derive one for each (round, client, stage); never draw twice from the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of a named part of this seed's work, for example `seed.derive("round", 3).derive("client", 7).derive("tsne", 0)`.
    ///
    /// BLAKE3 of (this seed, name, number): parts do not correlate, and their order of evaluation does not matter.
    #[must_use]
    pub fn derive(self, name: &str, number: u64) -> Seed {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&number.to_le_bytes());
        Seed(first_eight(&hasher))
    }

    /// The seed of a draw before the first round, from the experiment's seed: `init` of the first adapter.
    #[must_use]
    pub fn before_rounds(self, draw: &str) -> Seed {
        self.derive(draw, 0)
    }

    /// The seed of a draw of a round that belongs to neither client nor server, from the experiment's seed: `sampling` of clients,
    /// `evaluate`.
    #[must_use]
    pub fn of_round(self, round: super::Round, draw: &str) -> Seed {
        self.derive("round", u64::from(round.0)).derive(draw, 0)
    }

    /// The seed of one call of a round, from the experiment's seed, as the simulation derives it: `who` is `client` or `server` with its
    /// number, `call` what it does (`features`, `summarize`, `choose`, `train`, `select`). A federation over another transport that uses
    /// it gives the simulation's bits.
    #[must_use]
    pub fn of_call(self, round: super::Round, who: &str, number: u32, call: &str) -> Seed {
        self.derive("round", u64::from(round.0)).derive(who, u64::from(number)).derive(call, 0)
    }

    /// A generator at the start of this seed's stream.
    pub fn rng(self) -> Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}

/// The first eight bytes of a hash, as a number.
pub(crate) fn first_eight(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl From<u64> for Seed {
    fn from(value: u64) -> Self {
        Seed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn the_draws_of_a_run_are_derived_as_ever() {
        let (seed, round) = (Seed(7), crate::types::Round(3));
        // Adapters and picks of every run depend on these.
        assert_eq!(seed.before_rounds("init"), seed.derive("init", 0));
        assert_eq!(seed.of_round(round, "sampling"), seed.derive("round", 3).derive("sampling", 0));
        let train = seed.derive("round", 3).derive("client", 5).derive("train", 0);
        assert_eq!(seed.of_call(round, "client", 5, "train"), train);
    }

    #[test]
    fn parts_differ_and_repeat() {
        let seed = Seed(7);
        assert_eq!(seed.derive("a", 1), seed.derive("a", 1));
        assert_ne!(seed.derive("a", 1), seed.derive("a", 2));
        assert_ne!(seed.derive("a", 1), seed.derive("b", 1));
        assert_eq!(seed.rng().next_u64(), seed.rng().next_u64());
    }
}
