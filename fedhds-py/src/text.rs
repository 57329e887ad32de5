//! Features of texts, and near copies.

use crate::array::array;
use crate::error::{OrRaise as _, raised};
use crate::records::Records;
use crate::run::heavy;
use crate::settings::{NearCopiesConfig, TextFeaturesConfig};
use crate::shared::Shared;
use fedhds_core::stage::FeatureExtractor as _;
use fedhds_core::types::{Context, Control, Record};
use fedhds_core::{Error, features};
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use std::sync::Arc;

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TextFeatures>()?;
    module.add_class::<NearCopies>()
}

/// A context of which the seed does not matter: nothing is drawn.
fn context(control: &Control) -> Context {
    Context { control: control.clone(), ..Context::new(0) }
}

/// Texts as features, without a model.
#[pyclass(module = "fedhds._native", frozen)]
pub struct TextFeatures {
    pub inner: Arc<features::TextFeatures>,
}

impl TextFeatures {
    fn rows<'py>(&self, py: Python<'py>, records: Vec<Record>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let extractor = self.inner.clone();
        array(py, heavy(py, move |control| extractor.extract(&records, None, &context(control)))?)
    }
}

#[pymethods]
impl TextFeatures {
    #[new]
    fn new(config: TextFeaturesConfig) -> PyResult<Self> {
        Ok(Self { inner: Arc::new(features::TextFeatures::new(config.inner).or_raise()?) })
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn extract<'py>(&self, py: Python<'py>, records: Records) -> PyResult<Bound<'py, PyArray2<f32>>> {
        self.rows(py, records.0)
    }

    fn prompts<'py>(&self, py: Python<'py>, records: Records) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let extractor = self.inner.clone();
        array(py, heavy(py, move |control| extractor.prompts(&records.0, control))?)
    }

    /// The rows of instructions, each with the rest of its record; no rests are empty ones.
    #[pyo3(signature = (instructions, rests))]
    fn of_texts<'py>(
        &self,
        py: Python<'py>,
        instructions: Vec<String>,
        rests: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let n = instructions.len();
        let rests = rests.unwrap_or_else(|| vec![String::new(); n]);
        if rests.len() != n {
            let expected = format!("{n} texts, one for each instruction");
            return Err(raised(&Error::input("rests", expected, rests.len())));
        }
        let record = |(instruction, input)| Record { instruction, input, ..Record::default() };
        self.rows(py, instructions.into_iter().zip(rests).map(record).collect())
    }
}

/// Near copies among records that come in parts.
#[pyclass(module = "fedhds._native", frozen)]
pub struct NearCopies {
    inner: Shared<features::NearCopies>,
}

#[pymethods]
impl NearCopies {
    #[new]
    fn new(config: NearCopiesConfig) -> PyResult<Self> {
        Ok(Self { inner: Shared::new("near copies", features::NearCopies::new(config.inner).or_raise()?) })
    }

    /// Takes in records.
    fn add(&self, py: Python<'_>, records: Records) -> PyResult<()> {
        let shared = self.inner.clone();
        heavy(py, move |control| {
            let mut copies = shared.hold()?;
            for (at, record) in records.0.iter().enumerate() {
                if at % 64 == 0 {
                    control.check()?;
                }
                copies.add(&record.instruction, &record.input, record.response());
            }
            Ok(())
        })
    }

    /// A number for each record that came: near copies have the same one.
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let copies = self.inner.clone();
        let groups = heavy(py, move |_| copies.hold()?.groups())?;
        Ok(PyArray1::from_vec(py, groups.into_iter().map(|group| group as i64).collect()))
    }
}
