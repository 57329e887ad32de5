//! Which rows stand for all: records on a client, uploaded centroids on the server.
//!
//! | selector | picks | file |
//! |---|---|---|
//! | [`NearestCentroid`] | the rows nearest to their group's centre (eq. 9 and 10) | `nearest_centroid.rs` |
//! | [`RandomMember`] | any member of each group | `random_member.rs` |
//! | [`FacilityLocation`] | rows that together lie near everything | `facility_location.rs` |
//! | [`Random`] | any rows | `random.rs` |
//! | [`Stratified`] | any rows, spread over their owners | `stratified.rs` |
//!
//! What all keep to:
//!
//! - The rows are distinct and in ascending order. Equal candidates are taken by the lower row number.
//! - [`Budget::Total`](crate::stage::Budget::Total) is met exactly where there are so many rows; where there are fewer,
//!   every row is taken.
//! - [`Budget::PerCluster`](crate::stage::Budget::PerCluster) takes so many of each cluster, all of a smaller one, and no
//!   noise. Candidates without a clustering are one cluster.
//! - How a total is spread over clusters is [`quota`]'s rule.

mod candidates;
mod facility_location;
mod nearest_centroid;
pub mod quota;
mod random;
mod random_member;
mod stratified;

pub use candidates::check_candidates;
pub use facility_location::FacilityLocation;
pub use nearest_centroid::NearestCentroid;
pub use random::Random;
pub use random_member::RandomMember;
pub use stratified::Stratified;
