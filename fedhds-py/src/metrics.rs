//! Rouge-L.

use crate::error::raised;
use crate::run::heavy;
use fedhds_core::Error;
use fedhds_core::metrics::{RougeFlavor, rouge_l_best_within};
use pyo3::prelude::*;

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rouge_l, module)?)
}

/// Precision, recall and F1 against the best reference.
#[pyfunction]
fn rouge_l(
    py: Python<'_>,
    prediction: String,
    references: Vec<String>,
    flavor: &str,
    stemmer: bool,
) -> PyResult<(f64, f64, f64)> {
    let flavor = match flavor {
        "rouge" if !stemmer => RougeFlavor::Rouge,
        "rouge_score" if stemmer => RougeFlavor::RougeScoreStemmed,
        "rouge_score" => RougeFlavor::RougeScore,
        "rouge" => return Err(raised(&Error::parameter("stemmer", "false, as `rouge` 1.0.1 has none", stemmer))),
        other => return Err(raised(&Error::parameter("flavor", "`rouge` or `rouge_score`", other))),
    };
    if references.is_empty() {
        return Err(raised(&Error::input("references", "at least one", "none")));
    }
    let score = heavy(py, move |control| rouge_l_best_within(flavor, &prediction, &references, control))?;
    Ok((score.precision, score.recall, score.f1))
}
