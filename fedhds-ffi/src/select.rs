//! Selectors on the caller's rows.

use crate::cluster::fedhds_clustering_t;
use crate::control::{context, fedhds_control_t};
use crate::handle;
use crate::matrix::{copied, fedhds_matrix_view_t};
use crate::pointer::{fill, slice};
use crate::settings::flag;
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, boundary};
use fedhds_core::method::check_selection;
use fedhds_core::select::{FacilityLocation, NearestCentroid, Random, RandomMember, Stratified, check_rows};
use fedhds_core::stage::{Budget, Rows, Selector};
use fedhds_core::types::ClientId;

/// How rows are chosen.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fedhds_selector_t {
    /// Those nearest to their cluster's centroid (eq. 9 and 10).
    FEDHDS_SELECTOR_NEAREST_CENTROID = 0,
    /// Those that together lie nearest to all rows.
    FEDHDS_SELECTOR_FACILITY_LOCATION = 1,
    /// Any of each cluster.
    FEDHDS_SELECTOR_RANDOM_MEMBER = 2,
    /// Any rows: the baseline.
    FEDHDS_SELECTOR_RANDOM = 3,
    /// Any rows, spread evenly over owners: the second baseline.
    FEDHDS_SELECTOR_STRATIFIED = 4,
}

/// Chooses rows, in ascending order, into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// `selector` is a `fedhds_selector_t`. `weights` has one value for each row (records that it stands for), NULL is 1 for each; `clustering` may be
/// NULL where the selector needs none; `owners` has one client for each row, or is NULL. `count` is meant for each cluster where `per_cluster` is 1,
/// in all where it is 0.
///
/// # Safety
/// `points` and its values, and `weights` and `owners` where they are not NULL, are readable; `rows` is NULL or valid for writes of
/// `capacity` numbers; `chosen` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_select(
    selector: i32,
    points: *const fedhds_matrix_view_t,
    weights: *const f32,
    owners: *const u32,
    clustering: *const fedhds_clustering_t,
    count: usize,
    per_cluster: u8,
    seed: u64,
    control: *const fedhds_control_t,
    rows: *mut u32,
    capacity: usize,
    chosen: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let selector: &dyn Selector = match selector {
            0 => &NearestCentroid,
            1 => &FacilityLocation,
            2 => &RandomMember,
            3 => &Random,
            4 => &Stratified,
            other => {
                let message = format!("`selector`: expected a fedhds_selector_t, 0 to 4, got {other}");
                return Err(Failure::new(FEDHDS_STATUS_PARAMETER, message));
            }
        };
        let per_cluster = flag(per_cluster, "per_cluster")?;
        // SAFETY: the caller's promise.
        let points = unsafe { copied(points, "points") }?;
        points.check_finite("points")?;
        let n = points.rows();
        // SAFETY: the caller's promise.
        let weights = if weights.is_null() { &[] } else { unsafe { slice(weights, n, "weights") }? };
        let owners: Vec<ClientId> = if owners.is_null() {
            Vec::new()
        } else {
            // SAFETY: the caller's promise.
            unsafe { slice(owners, n, "owners") }?.iter().copied().map(ClientId).collect()
        };
        let clustering = handle::copy_or_none(clustering)?;
        let rows_of = Rows::new(&points).weights(weights).owners(&owners).groups(clustering.as_deref());
        check_rows(&rows_of)?;
        let budget = if per_cluster { Budget::PerCluster(count) } else { Budget::Total(count) };
        let picked = selector.select(&rows_of, budget, &context(seed, control)?)?;
        check_selection("selector", &rows_of, budget, &picked)?;
        let picked: Vec<u32> = picked.into_iter().map(|row| row.0).collect();
        // SAFETY: the caller's promise.
        unsafe { fill(&picked, rows, capacity, chosen) }
    })
}
