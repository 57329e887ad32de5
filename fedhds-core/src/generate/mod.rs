//! Greedy generation and evaluation.

mod evaluator;
mod greedy;
mod loss_scorer;
mod response_loss;
mod texts;

pub use crate::settings::GenerateConfig;
pub use evaluator::ModelEvaluator;
pub use greedy::generate;
pub use loss_scorer::{ResponseLoss, ResponseLossConfig};
pub use response_loss::{losses_under_prompts, response_losses};
pub use texts::generate_texts;
