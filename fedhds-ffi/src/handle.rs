//! Handles: numbers in the shape of pointers, which are looked up and never followed.
//!
//! A handle that was freed, is of another type or was made up is found out by the look-up, whatever the caller does. Objects that change
//! serve one call at a time: a second thread gets `FEDHDS_STATUS_BUSY` instead of a data race or a deadlock.

use crate::status::fedhds_status_t::{FEDHDS_STATUS_BUSY, FEDHDS_STATUS_INVALID_HANDLE, FEDHDS_STATUS_NULL_POINTER};
use crate::status::{Failure, Outcome};
use std::any::Any;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, TryLockError};

/// A C type, and what is behind it.
pub(crate) trait Handle {
    /// The object.
    type Object: Send + Sync + 'static;
    /// The C type's name.
    const NAME: &'static str;
}

struct Entry {
    name: &'static str,
    object: Arc<dyn Any + Send + Sync>,
}

static OBJECTS: LazyLock<RwLock<HashMap<usize, Entry>>> = LazyLock::new(RwLock::default);
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// A new handle of an object.
pub(crate) fn new<H: Handle>(object: H::Object) -> *mut H {
    std::ptr::without_provenance_mut(keep(Entry { name: H::NAME, object: Arc::new(RwLock::new(object)) }))
}

#[inline(never)]
fn keep(entry: Entry) -> usize {
    // Not consecutive, so that a small number that strays in is none.
    let id = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(16);
    OBJECTS.write().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
    id
}

fn find<H: Handle>(handle: *const H) -> Outcome<Arc<RwLock<H::Object>>> {
    let (name, object) = entry(handle.cast(), H::NAME)?;
    object.downcast::<RwLock<H::Object>>().map_err(|_| other(name, H::NAME))
}

/// What is behind a handle, by the name of its type: once for all types.
#[inline(never)]
fn entry(handle: *const c_void, expected: &str) -> Outcome<(&'static str, Arc<dyn Any + Send + Sync>)> {
    if handle.is_null() {
        return Err(Failure::new(FEDHDS_STATUS_NULL_POINTER, format!("expected a {expected}, got NULL")));
    }
    let objects = OBJECTS.read().unwrap_or_else(PoisonError::into_inner);
    match objects.get(&handle.addr()) {
        Some(entry) => Ok((entry.name, entry.object.clone())),
        None => {
            let message = format!("expected a {expected}, got {handle:p}, which is no handle, or one that was freed");
            Err(Failure::new(FEDHDS_STATUS_INVALID_HANDLE, message))
        }
    }
}

#[cold]
#[inline(never)]
fn other(name: &str, expected: &str) -> Failure {
    Failure::new(FEDHDS_STATUS_INVALID_HANDLE, format!("expected a {expected}, got a {name}"))
}

#[cold]
#[inline(never)]
fn busy(name: &str) -> Failure {
    Failure::new(FEDHDS_STATUS_BUSY, format!("expected a {name} that no other thread is using"))
}

/// Looks at an object; several threads may do so at once.
pub(crate) fn read<H: Handle, T>(handle: *const H, look: impl FnOnce(&H::Object) -> Outcome<T>) -> Outcome<T> {
    let object = find(handle)?;
    match object.try_read() {
        Ok(object) => look(&object),
        // A panic is reported where it happens; what is behind the lock is checked data.
        Err(TryLockError::Poisoned(object)) => look(&object.into_inner()),
        Err(TryLockError::WouldBlock) => Err(busy(H::NAME)),
    }
}

/// Changes an object; one thread at a time.
pub(crate) fn write<H: Handle, T>(handle: *const H, change: impl FnOnce(&mut H::Object) -> Outcome<T>) -> Outcome<T> {
    let object = find(handle)?;
    match object.try_write() {
        Ok(mut object) => change(&mut object),
        Err(TryLockError::Poisoned(object)) => change(&mut object.into_inner()),
        Err(TryLockError::WouldBlock) => Err(busy(H::NAME)),
    }
}

/// A copy of what is behind a handle, for objects that are cheap to copy.
pub(crate) fn copy<H: Handle>(handle: *const H) -> Outcome<H::Object>
where
    H::Object: Clone,
{
    read(handle, |object| Ok(object.clone()))
}

/// The same for a handle that may be NULL.
pub(crate) fn copy_or_none<H: Handle>(handle: *const H) -> Outcome<Option<H::Object>>
where
    H::Object: Clone,
{
    if handle.is_null() { Ok(None) } else { copy(handle).map(Some) }
}

/// Frees a handle; NULL is fine. A call that still uses the object keeps it until it ends.
pub(crate) fn free<H: Handle>(handle: *const H) -> Outcome {
    if handle.is_null() {
        return Ok(());
    }
    find(handle)?;
    forget(handle.addr());
    Ok(())
}

#[inline(never)]
fn forget(id: usize) {
    // Dropped outside of the lock: an object may hold callbacks of the caller's.
    let entry = OBJECTS.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    drop(entry);
}

/// What is behind a handle, which is freed.
pub(crate) fn take<H: Handle>(handle: *const H) -> Outcome<H::Object>
where
    H::Object: Clone,
{
    let object = copy(handle);
    free(handle)?;
    object
}
