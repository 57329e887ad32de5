//! Text and clustering measures, with their intervals.

mod porter;
mod rouge;

pub use porter::porter_stem;
pub use rouge::{RougeFlavor, RougeL, rouge_l, rouge_l_best};
