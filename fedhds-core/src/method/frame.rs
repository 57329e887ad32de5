//! One frame for the centroids of all clients.

use crate::error::Result;
use crate::stage::Reducer;
use crate::types::Seed;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes the map into the frame that all clients share, from the seed that the server sends.
pub type MakeProjection = dyn Fn(Seed) -> Result<Arc<dyn Reducer>> + Send + Sync;

/// The map that a seed made.
type Projection = (Seed, Arc<dyn Reducer>);

/// A frame that all clients share.
///
/// Each client's t-SNE has its own rotation, scale and origin, so that coordinates of two clients cannot be compared: on
/// clean topics the server's clustering of such centroids agrees with the topics no better than chance. Here the
/// groups are found in the client's own frame, but their centroids are means of the records' features under one map.
#[derive(Clone)]
pub struct SharedFrame {
    dims: u32,
    seed: Seed,
    make: Arc<MakeProjection>,
    last: Arc<Mutex<Option<Projection>>>,
}

impl SharedFrame {
    /// A frame of `dims` coordinates; `make` builds the map `[n, d] -> [n, dims]` from the seed. Rows must be mapped
    /// independently of each other, and equally on all clients.
    pub fn new(dims: u32, make: impl Fn(Seed) -> Result<Arc<dyn Reducer>> + Send + Sync + 'static) -> Self {
        Self { dims, seed: Self::SEED, make: Arc::new(make), last: Arc::default() }
    }

    /// The seed of the map where a method names none: pinned, so that no server chooses a map that shows more than another, and
    /// uploads of different federations can be compared.
    pub const SEED: Seed = Seed(0x6665_6468_6473_0001);

    /// The same frame with a map of another seed. Server and clients must agree on it: a client refuses others.
    #[must_use]
    pub fn with_seed(self, seed: Seed) -> Self {
        Self { seed, ..self }
    }

    /// The seed of the map.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Coordinates of a centroid.
    pub fn dims(&self) -> u32 {
        self.dims
    }

    /// The map of this seed; the last one is kept, for the clients of one process and for the next round.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn projection(&self, seed: Seed) -> Result<Arc<dyn Reducer>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, projection)) = last.as_ref()
            && *of == seed
        {
            return Ok(Arc::clone(projection));
        }
        let projection = (self.make)(seed)?;
        *last = Some((seed, Arc::clone(&projection)));
        Ok(projection)
    }
}
