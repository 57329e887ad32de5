//! Text and clustering measures, with their intervals.

mod clustering;
mod interval;
mod lcs;
mod neighbour;
mod paired;
mod porter;
#[cfg(feature = "experiment")]
mod ratio;
mod rouge;
#[cfg(feature = "experiment")]
mod seeds;
#[cfg(feature = "experiment")]
mod share;

pub use clustering::{adjusted_rand, calinski_harabasz, davies_bouldin, normalized_mutual_information, silhouette};
pub use interval::{Bootstrap, Interval, mean_by_task};
pub use neighbour::neighbour_f1;
pub use paired::{Measure, Paired, compare, mean_of_runs};
pub use porter::porter_stem;
#[cfg(feature = "experiment")]
pub use ratio::{SeedRatio, ratio_by_seed};
pub use rouge::{RougeFlavor, RougeL, rouge_l, rouge_l_best, rouge_l_best_within};
#[cfg(feature = "experiment")]
pub use seeds::{BySeed, RecoveredShare, SeedDifference, SeedMean, holm, paired_by_seed, recovered_share};
#[cfg(feature = "experiment")]
pub use share::Share;
