//! Randomness that the server cannot know.

use crate::error::{Error, Result};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// A client's secret: where the randomness of what it uploads comes from, never from the experiment's seed, which the server knows.
///
/// It is drawn from the operating system once, is kept in the client's state, and moves on with every draw, so that noise is
/// never drawn twice, also not after a resume. Tests give the bytes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    key: [u8; 32],
    draws: u64,
}

impl Secret {
    /// A secret from the operating system.
    ///
    /// # Errors
    /// [`Error::Input`] where the system has no randomness to give.
    pub fn from_system() -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::input("secret", "randomness from the operating system", e))?;
        Ok(Self { key, draws: 0 })
    }

    /// A secret that is known, for tests: what is drawn from it protects nobody.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self { key, draws: 0 }
    }

    /// A generator for one draw; the next call gives another one.
    pub fn rng(&mut self) -> ChaCha20Rng {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&self.draws.to_le_bytes());
        self.draws += 1;
        ChaCha20Rng::from_seed(*hasher.finalize().as_bytes())
    }

    /// 64 bits of one draw: a seed for stages outside of this crate.
    pub fn next_u64(&mut self) -> u64 {
        self.rng().next_u64()
    }
}

impl std::fmt::Debug for Secret {
    /// Says how often it was drawn from, and nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("draws", &self.draws).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_draw_comes_twice() {
        let mut secret = Secret::from_bytes([7; 32]);
        let first = secret.next_u64();
        let kept = serde_json::to_string(&secret).unwrap();
        let second = secret.next_u64();
        assert_ne!(first, second);
        let mut resumed: Secret = serde_json::from_str(&kept).unwrap();
        assert_eq!(resumed.next_u64(), second, "goes on where it stood");
        assert_eq!(Secret::from_bytes([7; 32]).next_u64(), first);
        assert_ne!(Secret::from_system().unwrap().next_u64(), Secret::from_system().unwrap().next_u64());
        assert!(!format!("{secret:?}").contains('7'), "{secret:?}");
    }
}
