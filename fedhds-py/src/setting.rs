//! Python values as settings: what a value is not is said by the setting's name, in the core's words.

use crate::plain::plain;
use fedhds_core::dataset::GroupBy;
use fedhds_core::dataset::conditions::JunkGenerators;
use fedhds_core::dataset::embedded::TestTasks;
use fedhds_core::features::Layers;
use fedhds_core::metrics::RougeFlavor;
use fedhds_core::model::Pooling;
use fedhds_core::simulate::{EvaluationSchedule, Participation};
use fedhds_core::types::{Factors, Seed};
use fedhds_core::{Error, Result};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyMapping, PyString};
use serde::de::value::{Error as NoName, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

/// A Python value, read as a setting.
pub enum Read<T> {
    /// It is one.
    Is(T),
    /// It is of the right kind, but the core's type cannot hold it; the nearest that it can.
    Beyond(T),
    /// It is of another kind.
    Other,
}

impl<T> Read<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Read<U> {
        match self {
            Read::Is(read) => Read::Is(f(read)),
            Read::Beyond(nearest) => Read::Beyond(f(nearest)),
            Read::Other => Read::Other,
        }
    }
}

/// What a setting can be.
pub trait Setting: Sized {
    /// What is expected, in words.
    fn kind() -> String;
    /// Reads a value.
    fn read(value: &Bound<'_, PyAny>) -> Read<Self>;
    /// The setting as Python has it.
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// The value as a message shows it.
fn repr(value: &Bound<'_, PyAny>) -> String {
    const LONGEST: usize = 60;
    let text = value.repr().map_or_else(|_| value.get_type().to_string(), |text| text.to_string());
    match text.chars().count() > LONGEST {
        true => text.chars().take(LONGEST).collect::<String>() + "...",
        false => text,
    }
}

/// A parameter's value.
///
/// # Errors
/// [`Error::Parameter`] that names it.
pub fn parameter<T: Setting>(name: &str, value: &Bound<'_, PyAny>) -> Result<T> {
    match T::read(value) {
        Read::Is(read) => Ok(read),
        Read::Beyond(_) | Read::Other => Err(Error::parameter(name, T::kind(), repr(value))),
    }
}

/// A value within an input, `what` of it.
///
/// # Errors
/// [`Error::Input`] that names it.
pub fn part<T: Setting>(what: &str, value: &Bound<'_, PyAny>) -> Result<T> {
    match T::read(value) {
        Read::Is(read) => Ok(read),
        Read::Beyond(_) | Read::Other => Err(Error::input(what, T::kind(), repr(value))),
    }
}

/// A setting among others of one of the core's structures, whose `check` knows the range.
///
/// # Errors
/// [`Error::Parameter`] that names it.
pub fn field<C: Default, T: Setting>(
    settings: &mut C,
    place: impl Fn(&mut C) -> &mut T,
    name: &str,
    value: &Bound<'_, PyAny>,
    check: impl Fn(&C) -> Result<()>,
) -> Result<()> {
    let expected = match T::read(value) {
        Read::Is(read) => {
            *place(settings) = read;
            return Ok(());
        }
        Read::Other => T::kind(),
        Read::Beyond(nearest) => {
            let mut alone = C::default();
            *place(&mut alone) = nearest;
            match check(&alone) {
                Err(Error::Parameter { expected, .. }) => expected,
                _ => T::kind(),
            }
        }
    };
    Err(Error::parameter(name, expected, repr(value)))
}

fn whole(value: &Bound<'_, PyAny>) -> Read<u64> {
    if value.is_instance_of::<PyBool>() {
        return Read::Other;
    }
    match (value.extract::<u64>(), value.lt(0)) {
        (Ok(number), _) => Read::Is(number),
        (Err(error), Ok(negative)) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Read::Beyond(if negative { 0 } else { u64::MAX })
        }
        _ => Read::Other,
    }
}

impl Setting for u64 {
    fn kind() -> String {
        "a whole number from 0 to 2**64 - 1".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        whole(value)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.into_pyobject(py)?.into_any())
    }
}

impl Setting for Seed {
    fn kind() -> String {
        u64::kind()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        whole(value).map(Seed)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.show(py)
    }
}

impl Setting for usize {
    fn kind() -> String {
        "a whole number".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        match whole(value) {
            Read::Is(number) => usize::try_from(number).map_or(Read::Beyond(usize::MAX), Read::Is),
            Read::Beyond(nearest) => Read::Beyond(usize::try_from(nearest).unwrap_or(usize::MAX)),
            Read::Other => Read::Other,
        }
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.into_pyobject(py)?.into_any())
    }
}

impl Setting for f64 {
    fn kind() -> String {
        "a number".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        if value.is_instance_of::<PyBool>() {
            return Read::Other;
        }
        match value.extract::<f64>() {
            Ok(number) => Read::Is(number),
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Read::Beyond(f64::INFINITY),
            Err(_) => Read::Other,
        }
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.into_pyobject(py)?.into_any())
    }
}

impl Setting for f32 {
    fn kind() -> String {
        f64::kind()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        match f64::read(value) {
            Read::Is(number) if number.is_finite() && (number as f32).is_infinite() => Read::Beyond(number as f32),
            Read::Is(number) => Read::Is(number as f32),
            Read::Beyond(nearest) => Read::Beyond(nearest as f32),
            Read::Other => Read::Other,
        }
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // The number that was written, 0.05, and not the nearest of f64 to the nearest of f32.
        self.to_string().parse().unwrap_or(f64::from(*self)).show(py)
    }
}

impl Setting for bool {
    fn kind() -> String {
        "True or False".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        value.extract().map_or(Read::Other, Read::Is)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBool::new(py, *self).to_owned().into_any())
    }
}

impl Setting for String {
    fn kind() -> String {
        "text".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        value.extract().map_or(Read::Other, Read::Is)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::new(py, self).into_any())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        format!("{} or None", T::kind())
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        if value.is_none() {
            return Read::Is(None);
        }
        T::read(value).map(Some)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.as_ref().map_or_else(|| Ok(py.None().into_bound(py)), |value| value.show(py))
    }
}

/// Items of a list, tuple or set; a text is none of these.
fn items<T: Setting>(value: &Bound<'_, PyAny>) -> Option<Vec<T>> {
    if value.is_instance_of::<PyString>() {
        return None;
    }
    let read = |item: PyResult<Bound<'_, PyAny>>| match T::read(&item.ok()?) {
        Read::Is(read) => Some(read),
        Read::Beyond(_) | Read::Other => None,
    };
    value.try_iter().ok()?.map(read).collect()
}

impl Setting for Vec<String> {
    fn kind() -> String {
        "a list of texts".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        items(value).map_or(Read::Other, Read::Is)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.into_pyobject(py)?.into_any())
    }
}

impl Setting for Vec<usize> {
    fn kind() -> String {
        "a list of whole numbers".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        items(value).map_or(Read::Other, Read::Is)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.into_pyobject(py)?.into_any())
    }
}

/// One of the core's choices by its name in a configuration.
pub fn named<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> Option<T> {
    let name: String = value.extract().ok()?;
    let name: StrDeserializer<'_, NoName> = name.as_str().into_deserializer();
    T::deserialize(name).ok()
}

macro_rules! choice {
    ($type:ty, $names:literal) => {
        impl Setting for $type {
            fn kind() -> String {
                $names.into()
            }

            fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
                named(value).map_or(Read::Other, Read::Is)
            }

            fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                plain(py, self)
            }
        }
    };
}

choice!(Pooling, "`last_token` or `mean`");
choice!(RougeFlavor, "`rouge`, `rouge_score` or `rouge_score_stemmed`");
choice!(JunkGenerators, "`development` or `confirmation`");
choice!(Factors, "`both`, `a` or `b`");
choice!(GroupBy, "`category` or `family`");
choice!(TestTasks, "`development`, `confirmation` or `all`");

impl Setting for Layers {
    fn kind() -> String {
        "`all`, `last` or a list of whole numbers from 1".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        named(value).or_else(|| items(value).map(Layers::Chosen)).map_or(Read::Other, Read::Is)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Layers::Chosen(chosen) => Ok(chosen.into_pyobject(py)?.into_any()),
            named => plain(py, named),
        }
    }
}

/// The value of a mapping's only key, where that is `key`.
fn only<'py>(value: &Bound<'py, PyAny>, key: &str) -> Option<Bound<'py, PyAny>> {
    let table = value.cast::<PyMapping>().ok().filter(|table| table.len().is_ok_and(|keys| keys == 1))?;
    table.get_item(key).ok()
}

/// A count or a fraction: an `int` or a `float`, or a table as in a configuration.
impl Setting for Participation {
    fn kind() -> String {
        "a number of clients, or a share in (0, 1] as a float".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        if let Some(count) = only(value, "count") {
            return usize::read(&count).map(Participation::Count);
        }
        if let Some(fraction) = only(value, "fraction") {
            return f64::read(&fraction).map(Participation::Fraction);
        }
        match usize::read(value) {
            Read::Other => f64::read(value).map(Participation::Fraction),
            count => count.map(Participation::Count),
        }
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Participation::Count(count) => count.show(py),
            Participation::Fraction(fraction) => fraction.show(py),
        }
    }
}

/// `last`, `never` or after every so many rounds: an `int`, or a table as in a configuration.
impl Setting for EvaluationSchedule {
    fn kind() -> String {
        "`last`, `never` or a whole number of rounds".into()
    }

    fn read(value: &Bound<'_, PyAny>) -> Read<Self> {
        if let Some(named) = named(value) {
            return Read::Is(named);
        }
        let every = only(value, "every");
        usize::read(every.as_ref().unwrap_or(value)).map(EvaluationSchedule::Every)
    }

    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            EvaluationSchedule::Every(rounds) => rounds.show(py),
            named => plain(py, named),
        }
    }
}
