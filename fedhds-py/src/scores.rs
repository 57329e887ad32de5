//! What an evaluation finds of records.

use crate::error::OrRaise as _;
use crate::setting::{Setting, part};
use fedhds_core::stage::RecordScore;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyType};

/// Scores in or out: in Python a list of `fedhds.RecordScore`.
pub struct Scores(pub Vec<RecordScore>);

impl<'py> FromPyObject<'_, 'py> for Scores {
    type Error = PyErr;

    fn extract(list: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let score = |(row, score): (usize, PyResult<Bound<'py, PyAny>>)| {
            let score = score?;
            Ok(RecordScore {
                id: attribute(&score, row, "id")?,
                category: attribute(&score, row, "category")?,
                loss: attribute(&score, row, "loss")?,
                output: attribute(&score, row, "output")?,
                rouge_l: attribute(&score, row, "rouge_l")?,
                exact_match: attribute(&score, row, "exact_match")?,
            })
        };
        Ok(Self(list.try_iter()?.enumerate().map(score).collect::<PyResult<_>>()?))
    }
}

fn attribute<T: Setting>(score: &Bound<'_, PyAny>, row: usize, field: &str) -> PyResult<T> {
    part(&format!("scores: row {row}: {field}"), &score.getattr(field)?).or_raise()
}

impl<'py> IntoPyObject<'py> for Scores {
    type Target = PyList;
    type Output = Bound<'py, PyList>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let class = CLASS.import(py, "fedhds", "RecordScore")?;
        let score = |s: RecordScore| class.call1((s.id, s.category, s.loss, s.output, s.rouge_l, s.exact_match));
        PyList::new(py, self.0.into_iter().map(score).collect::<PyResult<Vec<_>>>()?)
    }
}
