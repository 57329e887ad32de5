//! Which rows stand for all: records on a client, uploaded centroids on the server.
//!
//! | selector | picks | file |
//! |---|---|---|
//! | [`NearestCentroid`] | the rows nearest to their group's centre (eq. 9 and 10) | `nearest_centroid.rs` |
//! | [`RandomMember`] | members of each group, at random | `random_member.rs` |
//! | [`FacilityLocation`] | rows that together lie near everything | `facility_location.rs` |
//! | [`SaturatedCoverage`] | rows near what is least covered, several times where it pays | `saturated_coverage.rs` |
//! | [`Perplexity`] | rows of low, middling or high perplexity | `perplexity.rs` |
//! | [`Random`] | rows uniformly at random | `random.rs` |
//! | [`Stratified`] | the same, spread over their owners | `stratified.rs` |
//!
//! What all keep to:
//!
//! - The rows are distinct and in ascending order. Equal rows are taken by the lower row number.
//! - [`Budget::Total`](crate::stage::Budget::Total) is met exactly where there are so many rows; where there are fewer,
//!   every row is taken.
//! - [`Budget::PerCluster`](crate::stage::Budget::PerCluster) takes so many of each cluster, all of a smaller one, and no
//!   noise. Rows without groups are one cluster.
//! - How a total is spread over clusters is [`quota`]'s rule.
//!
//! [`CoverageMemory`] remembers on the server what earlier rounds have covered (`memory.rs`).

mod bounds;
mod coverage_gains;
mod covered_before;
mod facility_first;
mod facility_gains;
mod facility_location;
mod facility_terms;
mod memory;
mod nearest_centroid;
mod perplexity;
pub mod quota;
mod random;
mod random_member;
mod rows;
mod saturated_coverage;
mod stratified;
mod tiles;

pub(crate) use covered_before::covered_before;
pub use facility_location::FacilityLocation;
pub use memory::{CoverageMemory, CoverageMemoryConfig};
pub use nearest_centroid::NearestCentroid;
pub use perplexity::{Band, Perplexity};
pub use random::Random;
pub use random_member::RandomMember;
pub use rows::check_rows;
pub use saturated_coverage::SaturatedCoverage;
pub use stratified::Stratified;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing {
    use crate::stage::Watch;
    use std::sync::Mutex;

    /// Remembers what a selector says.
    #[derive(Debug, Default)]
    pub struct Told(Mutex<Vec<(usize, f64)>>);

    impl Watch for Told {
        fn took(&self, row: usize, gain: f64) {
            self.0.lock().unwrap().push((row, gain));
        }
    }

    impl Told {
        /// (row, gain), in order.
        pub fn take(&self) -> Vec<(usize, f64)> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }
}
