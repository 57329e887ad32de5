//! The caller's upload stage, and the secret that it draws from.

use crate::callback::UserData;
use crate::custom::{null_function, returned, set_stage};
use crate::handle::{self, Handle};
use crate::method::{Stage, fedhds_method_t};
use crate::pointer::{check_length, null};
use crate::rows::Names;
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::protocol::{ClientSummary, Group, GroupScores};
use fedhds_core::stage::Upload;
use fedhds_core::types::{ClusterId, Matrix, Scores, Secret};
use fedhds_core::{Error, Result};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// A client's secret, which the server does not know, during one call of an upload stage. The library owns it and frees it after the call.
pub struct fedhds_secret_t {
    _private: [u8; 0],
}

impl Handle for fedhds_secret_t {
    type Object = Secret;
    const NAME: &'static str = "fedhds_secret_t";
}

/// What a client is about to send, for its upload stage. The library owns all of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_summary_t {
    /// Who sends it.
    pub client: u32,
    /// The round that it answers.
    pub round: u32,
    /// Number of groups; the stage may lower it, and moves those that it keeps to the front.
    pub groups: usize,
    /// The client's numbers of its groups, ascending, `groups` values. Groups may be left out; no number may be new.
    pub clusters: *mut u32,
    /// Records of each group, `groups` values, at least 1 each; an order for more than a group holds is an order for all of it.
    pub sizes: *mut u32,
    /// Columns of the centroids.
    pub dims: usize,
    /// Row after row, `groups` times `dims` values, finite; NULL where there are no values.
    pub centroids: *mut f32,
    /// Scores of each group that go up with it; 0 where the method does not share them.
    pub scores: usize,
    /// `scores` names, each ending with NUL.
    pub score_names: *const *const c_char,
    /// Row after row, `groups` times `scores` values: the mean over the group's records, or NaN.
    pub score_values: *mut f32,
}

/// An upload stage: changes what a client sends. It may lower `summary->groups` and write to the arrays behind the pointers; the
/// pointers, `dims` and what is const stay as they are. All of it, and `secret`, is the library's and valid during the call. 0 is success.
pub type fedhds_upload_fn = Option<
    unsafe extern "C" fn(summary: *mut fedhds_summary_t, secret: *mut fedhds_secret_t, user_data: *mut c_void) -> i32,
>;

type Release = unsafe extern "C" fn(*mut fedhds_summary_t, *mut fedhds_secret_t, *mut c_void) -> i32;

struct Custom {
    call: Release,
    user_data: UserData,
}

const STAGE: &str = "client.upload";

impl Upload for Custom {
    fn release(&self, mut summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
        let n = summary.groups.len();
        let mut clusters: Vec<u32> = summary.groups.iter().map(|group| group.cluster.0).collect();
        let mut sizes: Vec<u32> = summary.groups.iter().map(|group| group.size).collect();
        let dims = summary.centroids.cols();
        let mut centroids = std::mem::take(&mut summary.centroids).into_vec();
        let shared = summary.sections.get::<GroupScores>()?;
        let names = shared.as_ref().map(|GroupScores(scores)| Names::of(scores));
        let columns = names.as_ref().map_or(0, |names| names.pointers.len());
        let mut values = shared.as_ref().map_or_else(Vec::new, |GroupScores(s)| s.values().as_slice().to_vec());
        let mut given = fedhds_summary_t {
            client: summary.client.0,
            round: summary.round.0,
            groups: n,
            clusters: clusters.as_mut_ptr(),
            sizes: sizes.as_mut_ptr(),
            dims,
            centroids: if centroids.is_empty() { std::ptr::null_mut() } else { centroids.as_mut_ptr() },
            scores: columns,
            score_names: names.as_ref().map_or(std::ptr::null(), |names| names.pointers.as_ptr()),
            score_values: if values.is_empty() { std::ptr::null_mut() } else { values.as_mut_ptr() },
        };
        let lent: *mut fedhds_secret_t = handle::new(secret.clone());
        // SAFETY: a function of the caller's, called as its type says.
        let code = unsafe { (self.call)(&mut given, lent, self.user_data.0) };
        // What was drawn stays drawn, also where the stage failed.
        if let Ok(drawn) = handle::take(lent) {
            *secret = drawn;
        }
        returned(STAGE, code)?;
        let kept = given.groups;
        if kept > n {
            return Err(Error::stage(STAGE, format!("expected at most {n} groups, got {kept}")));
        }
        summary.groups = (clusters.into_iter().zip(sizes).take(kept))
            .map(|(cluster, size)| Group { cluster: ClusterId(cluster), size })
            .collect();
        centroids.truncate(kept * dims);
        summary.centroids = Matrix::new(kept, dims, centroids)?;
        if let Some(GroupScores(scores)) = shared {
            values.truncate(kept * columns);
            let scores = Scores::new(scores.names().to_vec(), Matrix::new(kept, columns, values)?)?;
            summary.sections.set(&GroupScores(scores))?;
        }
        Ok(summary)
    }
}

/// Puts the caller's stage between grouping and sending: clipping, noise, groups that are too small to show. It takes the place of the
/// method's `client.upload`. It is called once a round: a client that is asked again sends the same bytes again.
///
/// # Safety
/// `user_data` lives as long as clients of this method and bears calls from their threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_set_upload(
    method: *mut fedhds_method_t,
    upload: fedhds_upload_fn,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        let call = upload.ok_or_else(null_function)?;
        set_stage(method, STAGE, Stage::Upload(Arc::new(Custom { call, user_data: UserData(user_data) })))
    })
}

/// Draws secret random bytes: `length` of them into `bytes`. No draw comes twice, also not after a resume of the client's state.
///
/// # Safety
/// `bytes` is valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_secret_draw(
    secret: *mut fedhds_secret_t,
    bytes: *mut u8,
    length: usize,
) -> fedhds_status_t {
    boundary(|| {
        if bytes.is_null() && length > 0 {
            return Err(null("bytes"));
        }
        check_length::<u8>(length, "bytes")?;
        handle::write(secret, |secret| {
            for at in (0..length).step_by(8) {
                let drawn = secret.next_u64().to_le_bytes();
                let count = drawn.len().min(length - at);
                // SAFETY: within `length` bytes that are writable by the caller's promise.
                unsafe { std::ptr::copy_nonoverlapping(drawn.as_ptr(), bytes.add(at), count) };
            }
            Ok(())
        })
    })
}
