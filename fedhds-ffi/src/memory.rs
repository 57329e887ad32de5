//! The caller's memory of the selection.

use crate::buffer::{fedhds_bytes_t, taken};
use crate::callback::UserData;
use crate::custom::{null_function, returned, set_stage};
use crate::matrix::{copied, fedhds_matrix_view_t};
use crate::method::{Stage, fedhds_method_t};
use crate::pointer::slice;
use crate::settings::settings;
use crate::status::{Failure, boundary, fedhds_status_t};
use fedhds_core::stage::{Covered, Memory, TrainedGroup};
use fedhds_core::types::Round;
use fedhds_core::{Error, Result};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// Records of one uploaded group that were trained on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_trained_group_t {
    /// Whose group it is.
    pub client: u32,
    /// The client's number for it.
    pub cluster: u32,
    /// Its centroid as it was uploaded, `dims` values; the library's, valid during the call.
    pub centroid: *const f32,
    /// Columns of the centroid.
    pub dims: usize,
    /// Records of it that were trained on, at least 1.
    pub records: usize,
}

/// What a server keeps of the selection between rounds, as functions of the caller's. Each returns 0, or anything else for a failure.
/// Begin with `fedhds_memory_t mine = {sizeof mine}`: what is not set is NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_memory_t {
    /// The size of this structure.
    pub struct_size: usize,
    /// The most points that it ever keeps, at least 1; more are an error.
    pub bound: usize,
    /// A round begins; what an earlier one began and never committed is forgotten. NULL does nothing.
    pub begin: Option<unsafe extern "C" fn(round: u32, user_data: *mut c_void) -> i32>,
    /// A round ended: what the accepted updates trained on, in the order of (client, cluster). `groups` is the library's and valid during
    /// the call, NULL where `count` is 0. Not NULL.
    pub commit: Option<
        unsafe extern "C" fn(groups: *const fedhds_trained_group_t, count: usize, user_data: *mut c_void) -> i32,
    >,
    /// What is covered: points `[m, d]` in the space of the uploaded centroids, and `mass`, m values above 0 (records trained on there). Both
    /// stay the caller's, and are copied before the next call. Called when a server is made and after each of the other functions. Not NULL.
    pub covered: Option<
        unsafe extern "C" fn(points: *mut fedhds_matrix_view_t, mass: *mut *const f32, user_data: *mut c_void) -> i32,
    >,
    /// Everything it knows, for a checkpoint: bytes of `fedhds_bytes_new`, which the library takes over and frees. NULL keeps nothing.
    pub state: Option<unsafe extern "C" fn(state: *mut *mut fedhds_bytes_t, user_data: *mut c_void) -> i32>,
    /// Goes on from what `state` gave, which is the library's and valid during the call. NULL refuses every state that is not empty.
    pub resume: Option<unsafe extern "C" fn(state: *const u8, length: usize, user_data: *mut c_void) -> i32>,
}

const STAGE: &str = "server.memory";

/// The caller's functions, and what they last said is covered.
struct Custom {
    calls: fedhds_memory_t,
    user_data: UserData,
    covered: Covered,
}

/// Everything that a stage of the caller's keeps; nothing without a function for it.
pub(crate) fn state_of(
    stage: &'static str,
    call: Option<unsafe extern "C" fn(*mut *mut fedhds_bytes_t, *mut c_void) -> i32>,
    user_data: UserData,
) -> Result<Vec<u8>> {
    let Some(call) = call else { return Ok(Vec::new()) };
    let mut state = null_mut();
    // SAFETY: a function of the caller's, called as its type says.
    returned(stage, unsafe { call(&mut state, user_data.0) })?;
    taken(state).map_err(of_stage(stage))
}

/// Has a stage of the caller's go on from its state.
pub(crate) fn resume_from(
    stage: &'static str,
    call: Option<unsafe extern "C" fn(*const u8, usize, *mut c_void) -> i32>,
    user_data: UserData,
    state: &[u8],
) -> Result<()> {
    match call {
        // SAFETY: a function of the caller's, called as its type says.
        Some(call) => returned(stage, unsafe { call(state.as_ptr(), state.len(), user_data.0) }),
        None if state.is_empty() => Ok(()),
        None => Err(Error::stage(stage, "expected a `resume` function for a state, got NULL")),
    }
}

/// A failure of checking what a function filled in, as the stage's.
pub(crate) fn of_stage(stage: &'static str) -> impl Fn(Failure) -> Error {
    move |failure| Error::stage(stage, failure.message)
}

impl Custom {
    fn look(&mut self) -> Result<()> {
        let Some(call) = self.calls.covered else { return Ok(()) };
        let mut view = fedhds_matrix_view_t { data: null(), rows: 0, cols: 0, row_stride: 0 };
        let mut mass = null();
        // SAFETY: a function of the caller's, called as its type says.
        returned(STAGE, unsafe { call(&mut view, &mut mass, self.user_data.0) })?;
        // SAFETY: the caller's promise about what the function filled in.
        let (points, mass) = unsafe {
            let points = copied(&view, "covered").map_err(of_stage(STAGE))?;
            (points, slice(mass, view.rows, "mass").map_err(of_stage(STAGE))?)
        };
        self.covered = Covered { points, mass: mass.to_vec() };
        Ok(())
    }
}

impl Memory for Custom {
    fn begin(&mut self, round: Round) -> Result<()> {
        if let Some(call) = self.calls.begin {
            // SAFETY: a function of the caller's, called as its type says.
            returned(STAGE, unsafe { call(round.0, self.user_data.0) })?;
        }
        self.look()
    }

    fn commit(&mut self, trained: &[TrainedGroup<'_>]) -> Result<()> {
        let Some(call) = self.calls.commit else { return Ok(()) };
        let group = |group: &TrainedGroup<'_>| fedhds_trained_group_t {
            client: group.client.0,
            cluster: group.cluster.0,
            centroid: group.centroid.as_ptr(),
            dims: group.centroid.len(),
            records: group.records,
        };
        let groups: Vec<fedhds_trained_group_t> = trained.iter().map(group).collect();
        let first = if groups.is_empty() { null() } else { groups.as_ptr() };
        // SAFETY: a function of the caller's, called as its type says.
        returned(STAGE, unsafe { call(first, groups.len(), self.user_data.0) })?;
        self.look()
    }

    fn covered(&self) -> &Covered {
        &self.covered
    }

    fn state(&self) -> Result<Vec<u8>> {
        state_of(STAGE, self.calls.state, self.user_data)
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        resume_from(STAGE, self.calls.resume, self.user_data, state)?;
        self.look()
    }

    fn bound(&self) -> usize {
        self.calls.bound
    }
}

/// Puts the caller's memory in the place of the method's `server.memory`. The method must have `client.frame = "shared"` and a
/// `server.selector` that looks at what is covered. `memory` is read during the call. Servers of one method share the functions and
/// `user_data`: an app with several servers makes a method for each.
///
/// # Safety
/// `memory` points to a structure of the size that it begins with; `user_data` lives as long as servers of this method.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_set_memory(
    method: *mut fedhds_method_t,
    memory: *const fedhds_memory_t,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        let none = fedhds_memory_t {
            struct_size: 0,
            bound: 0,
            begin: None,
            commit: None,
            covered: None,
            state: None,
            resume: None,
        };
        // SAFETY: the caller's promise.
        let calls = unsafe { settings(memory, none, "memory") }?;
        if calls.commit.is_none() || calls.covered.is_none() {
            return Err(null_function());
        }
        if calls.bound == 0 {
            return Err(Error::parameter("memory: bound", "at least 1", 0).into());
        }
        let user_data = UserData(user_data);
        let make = move || -> Result<Box<dyn Memory>> {
            let mut custom = Custom { calls, user_data, covered: Covered::default() };
            custom.look()?;
            Ok(Box::new(custom))
        };
        set_stage(method, STAGE, Stage::Memory(Arc::new(make)))
    })
}
