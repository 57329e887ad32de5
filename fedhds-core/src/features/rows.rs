//! Numbers of records as a cache gives them.

use crate::types::Matrix;

/// Numbers of records, `[n, k]`, and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedRows {
    /// `[n, k]`, one row for each record, in the order of the records.
    pub values: Matrix,
    /// Seconds that computing them took, when they were computed.
    pub seconds: f64,
}
