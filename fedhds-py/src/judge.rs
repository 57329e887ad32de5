//! What judges responses for the quality gate: their losses under prompts.

use crate::adapter::Adapter;
use crate::array::array;
use crate::error::OrRaise as _;
use crate::model::Model;
use crate::records::{Records, Template};
use crate::run::heavy;
use crate::setting::parameter;
use fedhds_core::generate;
use fedhds_core::stage::Scorer as _;
use fedhds_core::types::Context;
use numpy::PyArray2;
use pyo3::prelude::*;
use std::sync::Arc;

/// Adds the class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ResponseLoss>()
}

/// The mean loss of each record's response under its prompt.
#[pyclass(module = "fedhds._native", frozen)]
pub struct ResponseLoss {
    pub inner: Arc<generate::ResponseLoss>,
}

#[pymethods]
impl ResponseLoss {
    #[new]
    #[pyo3(signature = (model, prompt, frozen, max_response_tokens, batch_size))]
    fn new(
        model: &Model,
        prompt: Template,
        frozen: bool,
        max_response_tokens: Option<&Bound<'_, PyAny>>,
        batch_size: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut config = generate::ResponseLossConfig { frozen, ..Default::default() };
        if let Some(tokens) = max_response_tokens {
            config.max_response_tokens = parameter("max_response_tokens", tokens).or_raise()?;
        }
        if let Some(records) = batch_size {
            config.batch_size = parameter("batch_size", records).or_raise()?;
        }
        let (renderer, name) = (prompt.renderer(Some(&model.inner.tokenizer)).or_raise()?, prompt.name().or_raise()?);
        let inner = generate::ResponseLoss::new(model.inner.clone(), renderer, &name, config).or_raise()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    /// `[records, 1]`, NaN where nothing of a response fits behind its prompt.
    #[pyo3(signature = (records, adapter))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        records: Records,
        adapter: Option<Adapter>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let scorer = self.inner.clone();
        let adapter = adapter.map(|a| a.inner);
        let losses = heavy(py, move |control| {
            let context = Context { control: control.clone(), ..Context::new(0) };
            scorer.score(&records.0, adapter.as_deref(), &context)
        })?;
        array(py, losses)
    }
}
