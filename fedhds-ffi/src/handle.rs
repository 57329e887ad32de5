//! Handles: numbers in the shape of pointers, which are looked up and never followed.
//!
//! A handle that was freed, is of another type or was made up is found out by the look-up, whatever the caller does. Objects that change
//! serve one call at a time: a second thread gets `FEDHDS_STATUS_BUSY` instead of a data race or a deadlock.

use crate::status::fedhds_status_t::{FEDHDS_STATUS_BUSY, FEDHDS_STATUS_INVALID_HANDLE, FEDHDS_STATUS_NULL_POINTER};
use crate::status::{Failure, Outcome};
use std::any::Any;
use std::collections::HashMap;
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
    // Not consecutive, so that a small number that strays in is none.
    let id = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(16);
    let entry = Entry { name: H::NAME, object: Arc::new(RwLock::new(object)) };
    OBJECTS.write().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
    std::ptr::without_provenance_mut(id)
}

fn find<H: Handle>(handle: *const H) -> Outcome<Arc<RwLock<H::Object>>> {
    if handle.is_null() {
        return Err(Failure::new(FEDHDS_STATUS_NULL_POINTER, format!("expected a {}, got NULL", H::NAME)));
    }
    let objects = OBJECTS.read().unwrap_or_else(PoisonError::into_inner);
    let Some(entry) = objects.get(&handle.addr()) else {
        let message = format!("expected a {}, got {handle:p}, which is no handle, or one that was freed", H::NAME);
        return Err(Failure::new(FEDHDS_STATUS_INVALID_HANDLE, message));
    };
    let other = |_| {
        let message = format!("expected a {}, got a {}", H::NAME, entry.name);
        Failure::new(FEDHDS_STATUS_INVALID_HANDLE, message)
    };
    entry.object.clone().downcast::<RwLock<H::Object>>().map_err(other)
}

fn busy<H: Handle>() -> Failure {
    Failure::new(FEDHDS_STATUS_BUSY, format!("expected a {} that no other thread is using", H::NAME))
}

/// Looks at an object; several threads may do so at once.
pub(crate) fn read<H: Handle, T>(handle: *const H, look: impl FnOnce(&H::Object) -> Outcome<T>) -> Outcome<T> {
    let object = find(handle)?;
    match object.try_read() {
        Ok(object) => look(&object),
        // A panic is reported where it happens; what is behind the lock is checked data.
        Err(TryLockError::Poisoned(object)) => look(&object.into_inner()),
        Err(TryLockError::WouldBlock) => Err(busy::<H>()),
    }
}

/// Changes an object; one thread at a time.
pub(crate) fn write<H: Handle, T>(handle: *const H, change: impl FnOnce(&mut H::Object) -> Outcome<T>) -> Outcome<T> {
    let object = find(handle)?;
    match object.try_write() {
        Ok(mut object) => change(&mut object),
        Err(TryLockError::Poisoned(object)) => change(&mut object.into_inner()),
        Err(TryLockError::WouldBlock) => Err(busy::<H>()),
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
    // Dropped outside of the lock: an object may hold callbacks of the caller's.
    let entry = OBJECTS.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
    drop(entry);
    Ok(())
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
