//! Stages that are Python objects.
//!
//! The package's own wrappers (`fedhds._stages`) stand before the user's objects: what crosses here has fixed names and types, and what an
//! object raises becomes the cause of the error that the pipeline reports.

use crate::failures::Failures;
use fedhds_core::Result;
use fedhds_core::types::Context;
use pyo3::prelude::*;
use std::sync::Arc;

/// A Python object that serves as the stage of this name.
#[derive(Clone)]
pub struct Custom {
    pub name: String,
    object: Arc<Py<PyAny>>,
    failures: Failures,
    /// What a selector says that it looks at.
    pub uses_groups: bool,
    pub uses_covered: bool,
}

impl Custom {
    /// `name` is what errors call it.
    pub fn new(name: &str, object: Py<PyAny>, failures: &Failures) -> Self {
        Self {
            name: name.to_owned(),
            object: Arc::new(object),
            failures: failures.clone(),
            uses_groups: true,
            uses_covered: false,
        }
    }

    /// A selector: what it does not say of its use of groups is as the method has it, `groups`.
    pub fn selector(name: &str, object: Py<PyAny>, failures: &Failures, groups: bool) -> Result<Self> {
        let custom = Self::new(name, object, failures);
        let (uses_groups, uses_covered) = custom.call(None, |object| {
            Ok((object.getattr("uses_groups")?.extract::<Option<bool>>()?, object.getattr("uses_covered")?.extract()?))
        })?;
        Ok(Self { uses_groups: uses_groups.unwrap_or(groups), uses_covered, ..custom })
    }

    /// Work with the object; what it raises is an error of this stage.
    pub fn call<T>(&self, context: Option<&Context>, work: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> Result<T> {
        if let Some(context) = context {
            context.control.check()?;
        }
        Python::attach(|py| work(self.object.bind(py)).map_err(|raised| self.failures.keep(py, &self.name, raised)))
    }

    /// The same stage with what the object's method `make` gives in the object's place.
    pub fn made(&self, make: &str) -> Result<Self> {
        let object = self.call(None, |object| Ok(object.call_method0(make)?.unbind()))?;
        Ok(Self { object: Arc::new(object), ..self.clone() })
    }
}
