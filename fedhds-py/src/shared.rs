//! Objects that change, used by one call at a time.

use crate::error::raised;
use fedhds_core::{Error, Result};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

/// An object that changes. A second call while one is at work is an error that says so: it would wait for ever where a stage of the
/// user's own makes it, and who calls a federation's object from two threads has to say in which order.
pub struct Shared<T> {
    name: &'static str,
    object: Arc<Mutex<T>>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, object: self.object.clone() }
    }
}

impl<T> Shared<T> {
    /// `name` is what errors call it.
    pub fn new(name: &'static str, object: T) -> Self {
        Self { name, object: Arc::new(Mutex::new(object)) }
    }

    /// The object, for the call that has it first.
    pub fn hold(&self) -> Result<MutexGuard<'_, T>> {
        match self.object.try_lock() {
            Ok(object) => Ok(object),
            // A panic is reported where it happens; what is behind the lock is checked data.
            Err(TryLockError::Poisoned(object)) => Ok(object.into_inner()),
            Err(TryLockError::WouldBlock) => {
                let got =
                    "one while another thread's, a stage's of its own, or one that was interrupted is still at work";
                Err(Error::input(self.name, "one call at a time", got))
            }
        }
    }

    /// Looks at the object, or changes it in moments.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> PyResult<R> {
        self.hold().map(|mut object| work(&mut object)).map_err(|error| raised(&error))
    }
}
