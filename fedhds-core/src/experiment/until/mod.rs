//! What it took runs to reach a loss: of one run, over seeds, and as text.

mod cost;
mod record;
mod text;

pub(super) use cost::OfSeeds;
pub use cost::{CostToTarget, RatioToRandom, TargetCost};
pub use record::{Reached, UntilRecord};
pub(super) use text::Costs;

/// What a reader must know where the untuned model is at the target already: every run reaches it at its first look.
pub(super) fn told_of_untuned(loss: f64, until: &crate::simulate::Until) -> Option<String> {
    let message = || format!("the untuned model's loss of {loss:.3} is at the target of {} already", until.loss);
    until.is_reached(loss).then(message)
}
