//! What a selector says of its choice while it makes it.

use serde::{Deserialize, Serialize};

/// Who is told in which order a selector takes rows: [`Rows::watch`](super::Rows::watch) names it.
///
/// Whoever chooses one row after the other says so with [`Rows::took`](super::Rows::took). Whoever draws says nothing.
pub trait Watch: std::fmt::Debug + Sync {
    /// The selector takes this row next, which adds so much to what it maximises, in a unit of its own. A row that gives several records is
    /// told of as often.
    fn took(&self, row: usize, gain: f64);
}

/// By what a selector measures how covered a place is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Nearness {
    /// By the records near it, each counted by its similarity `max(0, (cos - threshold) / (1 - threshold))`.
    Similarity {
        /// Cosine below which two points say nothing of each other, in [-1, 1).
        threshold: f32,
    },
    /// By its Euclidean distance to the nearest covered point.
    Distance,
}

/// How covered a place was by what earlier rounds trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Records near it, each counted by its similarity in [0, 1]; at least 0, and 0 where nothing lies near.
    Records(f64),
    /// Euclidean distance to the nearest of them, at least 0.
    Distance(f64),
}
