//! The caller's functions as stages of the pipeline.

use crate::callback::{UserData, fedhds_cluster_fn, fedhds_reduce_fn, fedhds_select_fn};
use crate::handle;
use crate::matrix::fedhds_matrix_view_t;
use crate::method::{Stage, fedhds_method_t};
use crate::pointer::text;
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::cluster::clustering_of_labels;
use fedhds_core::stage::{Budget, Candidates, Clusterer, Clustering, Reducer, Selector};
use fedhds_core::types::{ClusterId, Context, Matrix, RowId};
use fedhds_core::{Error, Result};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// A function of the caller's that serves as the stage of this name.
struct Custom<F> {
    name: String,
    call: F,
    user_data: UserData,
    columns: usize,
}

fn view(matrix: &Matrix) -> fedhds_matrix_view_t {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    fedhds_matrix_view_t { data: matrix.as_slice().as_ptr(), rows, cols, row_stride: cols }
}

fn returned(name: &str, code: i32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::stage(name, format!("the callback returned {code}"))) }
}

type Reduce = unsafe extern "C" fn(fedhds_matrix_view_t, u64, usize, *mut f32, *mut c_void) -> i32;
type Cluster = unsafe extern "C" fn(fedhds_matrix_view_t, u64, *mut i32, *mut c_void) -> i32;
type Select = unsafe extern "C" fn(
    fedhds_matrix_view_t,
    *const f32,
    *const i32,
    *const u32,
    u64,
    usize,
    *mut u32,
    *mut c_void,
) -> i32;

impl Reducer for Custom<Reduce> {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        context.control.check()?;
        let mut reduced = Matrix::zeros(features.rows(), self.columns);
        let place = reduced.as_mut_slice().as_mut_ptr();
        // SAFETY: a function of the caller's, called as its type says.
        let code = unsafe { (self.call)(view(features), context.seed.0, self.columns, place, self.user_data.0) };
        returned(&self.name, code).map(|()| reduced)
    }
}

impl Clusterer for Custom<Cluster> {
    fn cluster(&self, points: &Matrix, context: &Context) -> Result<Clustering> {
        context.control.check()?;
        let mut labels = vec![-1i32; points.rows()];
        // SAFETY: a function of the caller's, called as its type says.
        let code = unsafe { (self.call)(view(points), context.seed.0, labels.as_mut_ptr(), self.user_data.0) };
        returned(&self.name, code)?;
        clustering_of_labels(&self.name, points, &labels.into_iter().map(i64::from).collect::<Vec<_>>(), None)
    }
}

impl Selector for Custom<Select> {
    fn select(&self, candidates: &Candidates<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        context.control.check()?;
        let n = candidates.points.rows();
        let count = match (budget, candidates.clustering) {
            (Budget::Total(count), _) => count.min(n),
            (Budget::PerCluster(count), Some(clustering)) => {
                let mut sizes = vec![0; clustering.centroids.rows()];
                clustering.labels.iter().flatten().for_each(|label| sizes[label.index()] += 1);
                sizes.into_iter().map(|size: usize| size.min(count)).sum()
            }
            (Budget::PerCluster(count), None) => count.min(n),
        };
        let label = |label: &Option<ClusterId>| label.map_or(-1, |id| id.index() as i32);
        let labels: Option<Vec<i32>> = candidates.clustering.map(|c| c.labels.iter().map(label).collect());
        let owners: Vec<u32> = candidates.owners.iter().map(|owner| owner.0).collect();
        let mut rows = vec![u32::MAX; count];
        // SAFETY: a function of the caller's, called as its type says.
        let code = unsafe {
            (self.call)(
                view(candidates.points),
                candidates.weights.as_ptr(),
                labels.as_ref().map_or(std::ptr::null(), |labels| labels.as_ptr()),
                if owners.is_empty() { std::ptr::null() } else { owners.as_ptr() },
                context.seed.0,
                count,
                rows.as_mut_ptr(),
                self.user_data.0,
            )
        };
        returned(&self.name, code)?;
        rows.sort_unstable();
        Ok(rows.into_iter().map(RowId).collect())
    }
}

/// # Safety
/// `stage` ends with NUL.
unsafe fn set<F>(
    method: *mut fedhds_method_t,
    stage: *const c_char,
    known: &[&str],
    call: Option<F>,
    user_data: *mut c_void,
    columns: usize,
    make: impl FnOnce(Custom<F>) -> Stage,
) -> Outcome {
    // SAFETY: the caller's promise.
    let name = unsafe { text(stage, "stage") }?.to_owned();
    if !known.contains(&name.as_str()) {
        let message = format!("`stage`: expected {}, got {name}", known.join(" or "));
        return Err(Failure::new(FEDHDS_STATUS_PARAMETER, message));
    }
    let Some(call) = call else {
        return Err(Failure::new(fedhds_status_t::FEDHDS_STATUS_NULL_POINTER, "expected a function, got NULL"));
    };
    let made = make(Custom { name: name.clone(), call, user_data: UserData(user_data), columns });
    handle::write(method, |method| {
        method.stages.insert(name, made);
        Ok(())
    })
}

/// Puts the caller's reducer in the place of the method's `client.reducer` or `client.normalizer`; it gives `columns` columns, at least 1.
///
/// # Safety
/// `stage` ends with NUL; `user_data` lives as long as clients and servers of this method and bears calls from worker threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_set_reducer(
    method: *mut fedhds_method_t,
    stage: *const c_char,
    reduce: fedhds_reduce_fn,
    columns: usize,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        if !(1..=1 << 20).contains(&columns) {
            let message = format!("`columns`: expected 1 to {}, got {columns}", 1 << 20);
            return Err(Failure::new(FEDHDS_STATUS_PARAMETER, message));
        }
        let known = ["client.reducer", "client.normalizer"];
        // SAFETY: the caller's promise.
        unsafe { set(method, stage, &known, reduce, user_data, columns, |c| Stage::Reducer(Arc::new(c))) }
    })
}

/// Puts the caller's clusterer in the place of the method's `client.clusterer` or `server.clusterer`.
///
/// # Safety
/// As `fedhds_method_set_reducer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_set_clusterer(
    method: *mut fedhds_method_t,
    stage: *const c_char,
    cluster: fedhds_cluster_fn,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        let known = ["client.clusterer", "server.clusterer"];
        // SAFETY: the caller's promise.
        unsafe { set(method, stage, &known, cluster, user_data, 0, |c| Stage::Clusterer(Arc::new(c))) }
    })
}

/// Puts the caller's selector in the place of the method's `client.selector` or `server.selector`.
///
/// # Safety
/// As `fedhds_method_set_reducer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_set_selector(
    method: *mut fedhds_method_t,
    stage: *const c_char,
    select: fedhds_select_fn,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        let known = ["client.selector", "server.selector"];
        // SAFETY: the caller's promise.
        unsafe { set(method, stage, &known, select, user_data, 0, |c| Stage::Selector(Arc::new(c))) }
    })
}
