//! Greedy generation and evaluation.

mod greedy;
mod response_loss;

pub use greedy::{GenerateConfig, generate};
pub use response_loss::response_losses;
