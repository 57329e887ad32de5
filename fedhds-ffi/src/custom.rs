//! The caller's functions as stages of the pipeline.

use crate::callback::{UserData, fedhds_cluster_fn, fedhds_reduce_fn, fedhds_select_fn};
use crate::handle;
use crate::matrix::fedhds_matrix_view_t;
use crate::method::{Stage, fedhds_method_t};
use crate::pointer::text;
use crate::rows::{fedhds_rows_t, view, with_rows};
use crate::settings::flag;
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::cluster::clustering_of_labels;
use fedhds_core::stage::{Budget, Clusterer, Clustering, Reducer, Rows, Selector};
use fedhds_core::types::{Context, Matrix, RowId};
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

/// What a function of the caller's returned.
pub(crate) fn returned(name: &str, code: i32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::stage(name, format!("the callback returned {code}"))) }
}

type Reduce = unsafe extern "C" fn(fedhds_matrix_view_t, u64, usize, *mut f32, *mut c_void) -> i32;
type Cluster = unsafe extern "C" fn(*const fedhds_rows_t, usize, u64, *mut i32, *mut c_void) -> i32;
type Select = unsafe extern "C" fn(*const fedhds_rows_t, u64, usize, usize, *mut u32, *mut c_void) -> i32;

/// A selector of the caller's, and what it says that it looks at.
struct CustomSelector {
    custom: Custom<Select>,
    uses_groups: bool,
    uses_covered: bool,
}

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
    fn cluster(&self, rows: &Rows<'_>, wanted: Option<usize>, context: &Context) -> Result<Clustering> {
        context.control.check()?;
        let mut labels = vec![-1i32; rows.len()];
        let (wanted, place) = (wanted.unwrap_or(0), labels.as_mut_ptr());
        let code = with_rows(rows, |rows| {
            // SAFETY: a function of the caller's, called as its type says.
            unsafe { (self.call)(rows, wanted, context.seed.0, place, self.user_data.0) }
        });
        returned(&self.name, code)?;
        clustering_of_labels(&self.name, rows.points, &labels.into_iter().map(i64::from).collect::<Vec<_>>(), None)
    }
}

impl Selector for CustomSelector {
    fn select(&self, rows: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        context.control.check()?;
        let n = rows.len();
        let (count, per_cluster) = match (budget, rows.groups) {
            (Budget::Total(count), _) => (count.min(n), 0),
            (Budget::PerCluster(each), Some(clustering)) => {
                let mut sizes = vec![0; clustering.centroids.rows()];
                clustering.labels.iter().flatten().for_each(|label| sizes[label.index()] += 1);
                (sizes.into_iter().map(|size: usize| size.min(each)).sum(), each)
            }
            (Budget::PerCluster(each), None) => (each.min(n), each),
            (other, _) => {
                return Err(Error::stage(&self.custom.name, format!("expected a known budget, got {other:?}")));
            }
        };
        let mut chosen = vec![u32::MAX; count];
        let place = chosen.as_mut_ptr();
        let Custom { name, call, user_data, .. } = &self.custom;
        // SAFETY: a function of the caller's, called as its type says.
        let code =
            with_rows(rows, |rows| unsafe { call(rows, context.seed.0, count, per_cluster, place, user_data.0) });
        returned(name, code)?;
        chosen.sort_unstable();
        Ok(chosen.into_iter().map(RowId).collect())
    }

    fn uses_groups(&self) -> bool {
        self.uses_groups
    }

    fn uses_covered(&self) -> bool {
        self.uses_covered
    }
}

/// What a function that is missing is answered with.
pub(crate) fn null_function() -> Failure {
    Failure::new(fedhds_status_t::FEDHDS_STATUS_NULL_POINTER, "expected a function, got NULL")
}

/// Puts a stage into a method.
pub(crate) fn set_stage(method: *mut fedhds_method_t, name: &str, stage: Stage) -> Outcome {
    handle::write(method, |method| {
        method.stages.insert(name.to_owned(), stage);
        Ok(())
    })
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
    let call = call.ok_or_else(null_function)?;
    let made = make(Custom { name: name.clone(), call, user_data: UserData(user_data), columns });
    set_stage(method, &name, made)
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

/// Puts the caller's selector in the place of the method's `client.selector` or `server.selector`. `uses_groups` is 1 where `labels` have a say
/// in how a total is chosen, `uses_covered` is 1 where the covered points have, else 0: a method that clusters, or has a memory, for a
/// selector which does not look at it is refused when a server or client is made.
///
/// # Safety
/// As `fedhds_method_set_reducer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_set_selector(
    method: *mut fedhds_method_t,
    stage: *const c_char,
    select: fedhds_select_fn,
    uses_groups: u8,
    uses_covered: u8,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        let known = ["client.selector", "server.selector"];
        let (uses_groups, uses_covered) = (flag(uses_groups, "uses_groups")?, flag(uses_covered, "uses_covered")?);
        let make = |custom| Stage::Selector(Arc::new(CustomSelector { custom, uses_groups, uses_covered }));
        // SAFETY: the caller's promise.
        unsafe { set(method, stage, &known, select, user_data, 0, make) }
    })
}
