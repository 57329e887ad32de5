//! Data without logic: what the stages take and return.

mod adapter;
mod control;
mod factors;
mod identity;
mod ids;
mod matrix;
pub(crate) mod range;
mod record;
mod scores;
mod secret;
pub(crate) mod seed;

pub use adapter::{Adapter, AdapterConfig, AdapterKind, AdapterTensor};
#[cfg(test)]
pub(crate) use control::stops_at_any_look;
pub use control::{CancelToken, Context, Control, Progress};
pub use factors::{Factor, Factors};
pub use identity::RunIdentity;
pub use ids::{ClientId, ClusterId, Round, RowId};
pub use matrix::Matrix;
pub use record::Record;
pub use scores::Scores;
pub use secret::Secret;
pub use seed::{Rng, Seed};
