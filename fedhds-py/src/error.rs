//! The core's error as Python exceptions.

use fedhds_core::Error;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// The classes, made once: `Error`, and one below it for each kind, which is also the built-in that it is a kind of.
struct Classes {
    base: Py<PyType>,
    kinds: Vec<(&'static str, Py<PyType>)>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

/// Name, what it tells, and the built-in class that it also is.
const KINDS: [(&str, &str, Builtin); 11] = [
    ("ParameterError", "A parameter outside its documented range.", Builtin::Value),
    ("InputError", "An argument whose shape, length or content does not fit.", Builtin::Value),
    ("NotFiniteError", "A value that is NaN or infinite where finite numbers are needed.", Builtin::Value),
    ("DataError", "A record or line of a data set that cannot be used.", Builtin::Value),
    ("ConfigError", "A configuration that cannot be run.", Builtin::Value),
    ("ModelError", "A model file or folder that cannot be loaded.", Builtin::Value),
    ("AdapterError", "An adapter that does not fit the model or another adapter.", Builtin::Value),
    ("ProtocolError", "A message that cannot be read, or that comes at the wrong time.", Builtin::Value),
    ("StageError", "A stage, possibly your own, that failed or returned something unusable.", Builtin::None),
    ("CheckpointError", "A checkpoint that does not belong to this run, or is damaged.", Builtin::None),
    ("FileError", "A file that could not be read or written, or a device that cannot be used.", Builtin::Os),
];

#[derive(Clone, Copy)]
enum Builtin {
    None,
    Value,
    Os,
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes = CLASSES.get_or_try_init(py, || make(py))?;
    module.add("Error", classes.base.bind(py))?;
    classes.kinds.iter().try_for_each(|(name, class)| module.add(*name, class.bind(py)))
}

fn make(py: Python<'_>) -> PyResult<Classes> {
    let class = |name: &str, doc: &str, bases: Bound<'_, PyTuple>| -> PyResult<Py<PyType>> {
        let body = PyDict::new(py);
        body.set_item("__doc__", doc)?;
        body.set_item("__module__", "fedhds")?;
        let made = py.get_type::<PyType>().call1((name, bases, body))?;
        Ok(made.cast_into::<PyType>()?.unbind())
    };
    let doc = "What went wrong in fedhds: the message says what was expected, what came, and where.";
    let base = class("Error", doc, PyTuple::new(py, [py.get_type::<PyException>()])?)?;
    let mut kinds = Vec::with_capacity(KINDS.len());
    for (name, doc, builtin) in KINDS {
        let own = base.bind(py).clone();
        let bases = match builtin {
            Builtin::None => PyTuple::new(py, [own])?,
            Builtin::Value => PyTuple::new(py, [own, py.get_type::<PyValueError>()])?,
            Builtin::Os => PyTuple::new(py, [own, py.get_type::<PyOSError>()])?,
        };
        kinds.push((name, class(name, doc, bases)?));
    }
    Ok(Classes { base, kinds })
}

/// The exception of an error of the core.
pub fn raised(error: &Error) -> PyErr {
    let name = match error {
        Error::Cancelled => return PyKeyboardInterrupt::new_err("cancelled"),
        Error::Parameter { .. } => "ParameterError",
        Error::Input { .. } => "InputError",
        Error::NotFinite { .. } => "NotFiniteError",
        Error::Data { .. } => "DataError",
        Error::Config { .. } => "ConfigError",
        Error::Model { .. } => "ModelError",
        Error::Adapter { .. } => "AdapterError",
        Error::Protocol { .. } => "ProtocolError",
        Error::Stage { .. } => "StageError",
        Error::Checkpoint { .. } => "CheckpointError",
        Error::Device { .. } | Error::Io { .. } => "FileError",
        _ => "Error",
    };
    Python::attach(|py| {
        let classes = match CLASSES.get_or_try_init(py, || make(py)) {
            Ok(classes) => classes,
            Err(error) => return error,
        };
        let class = classes.kinds.iter().find(|(kind, _)| *kind == name).map_or(&classes.base, |(_, class)| class);
        PyErr::from_type(class.bind(py).clone(), error.to_string())
    })
}

/// A result of the core as one of Python.
pub trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for fedhds_core::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| raised(&error))
    }
}
