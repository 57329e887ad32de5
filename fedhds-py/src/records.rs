//! Records and data sets.

use crate::error::{OrRaise as _, raised};
use crate::model::Model;
use crate::run::heavy;
use crate::setting::{Setting, named, parameter, part};
use crate::settings::EmbeddedTasks;
use crate::stages::settings;
use fedhds_core::dataset::{
    BlankResponse, CustomPrompt, Dataset, Fields, GroupBy, NaturalInstructionsOptions, Partition, Prompt,
    PromptTemplate, RenderPrompt, load_alpaca, load_dolly, load_jsonl, load_natural_instructions,
};
use fedhds_core::model::prompt_renderer;
use fedhds_core::types::{Record, Seed};
use fedhds_core::{Error, Result, parse};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyMapping, PyTuple, PyType};
use std::path::PathBuf;
use std::sync::Arc;

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(load_records, module)?)?;
    module.add_function(wrap_pyfunction!(embedded_records, module)?)?;
    module.add_function(wrap_pyfunction!(partition, module)?)?;
    module.add_function(wrap_pyfunction!(render, module)?)
}

/// Records in or out: in Python a list of `fedhds.Record`.
pub struct Records(pub Vec<Record>);

impl<'py> FromPyObject<'_, 'py> for Records {
    type Error = PyErr;

    fn extract(list: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let record = |(row, record): (usize, PyResult<Bound<'py, PyAny>>)| {
            let record = record?;
            let text = |field: &str| attribute(&record, row, field);
            Ok(Record {
                id: text("id")?,
                instruction: text("instruction")?,
                input: text("input")?,
                responses: attribute(&record, row, "responses")?,
                category: text("category")?,
                family: text("family")?,
            })
        };
        Ok(Self(list.try_iter()?.enumerate().map(record).collect::<PyResult<_>>()?))
    }
}

fn attribute<T: Setting>(record: &Bound<'_, PyAny>, row: usize, field: &str) -> PyResult<T> {
    part(&format!("records: row {row}: {field}"), &record.getattr(field)?).or_raise()
}

impl<'py> IntoPyObject<'py> for Records {
    type Target = PyList;
    type Output = Bound<'py, PyList>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let class = CLASS.import(py, "fedhds", "Record")?;
        let record = |r: Record| {
            class.call1((r.id, r.instruction, r.input, PyTuple::new(py, r.responses)?, r.category, r.family))
        };
        PyList::new(py, self.0.into_iter().map(record).collect::<PyResult<Vec<_>>>()?)
    }
}

/// A prompt template: in Python a name, or the texts of one's own.
pub struct Template(Prompt);

impl<'py> FromPyObject<'_, 'py> for Template {
    type Error = PyErr;

    fn extract(prompt: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let expected = "`alpaca`, `short`, `raw`, `chat`, or the texts `with_input` and `without_input`";
        if let Ok(texts) = prompt.cast::<PyMapping>() {
            let (mut with_input, mut without_input) = (None, None);
            for item in texts.items()? {
                let (name, text): (String, Bound<'py, PyAny>) = item.extract()?;
                match name.as_str() {
                    "with_input" => with_input = Some(parameter("prompt.with_input", &text).or_raise()?),
                    "without_input" => without_input = parameter("prompt.without_input", &text).or_raise()?,
                    other => return Err(raised(&Error::parameter("prompt", expected, format!("`{other}`")))),
                }
            }
            let missing = || raised(&Error::parameter("prompt", "the text `with_input`", "none"));
            let custom = CustomPrompt { with_input: with_input.ok_or_else(missing)?, without_input };
            return Ok(Self(Prompt::Template(PromptTemplate::Custom(custom))));
        }
        let got = || prompt.repr().map_or_else(|_| "another object".into(), |text| text.to_string());
        named(&prompt).map(Self).ok_or_else(|| raised(&Error::parameter("prompt", expected, got())))
    }
}

impl Template {
    /// What renders records by it; the chat template is the model's.
    pub fn renderer(&self, model: Option<&Model>) -> Result<Arc<dyn RenderPrompt>> {
        match (&self.0, model) {
            (Prompt::Chat, None) => {
                Err(Error::parameter("prompt", "a model beside it, whose chat template is meant", "none"))
            }
            (Prompt::Template(template), None) => Ok(Arc::new(template.clone())),
            (prompt, Some(model)) => prompt_renderer(prompt, &model.inner.tokenizer),
        }
    }

    /// What tells it from others.
    pub fn name(&self) -> Result<String> {
        serde_json::to_string(&self.0).map_err(|e| Error::config("prompt", e.to_string()))
    }
}

/// Reads a file, or a folder in Natural Instructions layout. `json` has the fields of jsonl, or the blank-response rule.
#[pyfunction]
fn load_records(
    py: Python<'_>,
    format: &str,
    path: PathBuf,
    json: &str,
    blank_response: &str,
    split: &str,
) -> PyResult<Records> {
    let blank: BlankResponse = parse::from_json("blank_response", blank_response).or_raise()?;
    let (format, split) = (format.to_owned(), split.to_owned());
    let fields: Fields = settings(json).or_raise()?;
    let data: Dataset = heavy(py, move |control| match format.as_str() {
        "jsonl" => load_jsonl(&path, &fields, control),
        "alpaca" => load_alpaca(&path, blank, control),
        "dolly" => load_dolly(&path, blank, control),
        "natural_instructions" => {
            let options = NaturalInstructionsOptions { blank_response: blank, ..Default::default() };
            load_natural_instructions(&path, &split, &options, control)
        }
        other => Err(Error::parameter("format", "`jsonl`, `alpaca`, `dolly` or `natural_instructions`", other)),
    })?;
    Ok(Records(data.records))
}

/// Train and test records that are generated by seed.
#[pyfunction]
fn embedded_records(tasks: &EmbeddedTasks) -> PyResult<(Records, Records)> {
    let (train, test) = tasks.inner.generate().or_raise()?;
    Ok((Records(train.records), Records(test.records)))
}

/// The rows of each client. The settings are those of a configuration's `partition`.
#[pyfunction]
#[pyo3(signature = (records, seed, **settings))]
fn partition(records: Records, seed: u64, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Vec<usize>>> {
    let partition = read_partition(settings).or_raise()?;
    let data = Dataset::new("records", records.0).or_raise()?;
    partition.check().and_then(|()| partition.split(&data, Seed(seed))).or_raise()
}

/// Each value by its own type; which of them go together, the core's reading of a configuration says.
fn read_partition(settings: Option<&Bound<'_, PyDict>>) -> Result<Partition> {
    let mut table = serde_json::Map::new();
    for (key, value) in settings.into_iter().flatten() {
        let key = key.to_string();
        let read = match key.as_str() {
            "kind" => parameter::<String>(&key, &value)?.into(),
            "alpha" => parameter::<f64>(&key, &value).and_then(|alpha| finite(&key, alpha))?,
            "by" => match parameter::<GroupBy>(&key, &value)? {
                GroupBy::Category => "category".into(),
                GroupBy::Family => "family".into(),
            },
            _ => parameter::<usize>(&key, &value)?.into(),
        };
        table.insert(key, read);
    }
    serde_json::from_value(table.into()).map_err(|e| Error::config("partition", e.to_string()))
}

/// JSON has no other numbers, and neither has a partition.
fn finite(name: &str, number: f64) -> Result<serde_json::Value> {
    let number = serde_json::Number::from_f64(number).ok_or_else(|| {
        let got = if number.is_nan() { "nan".into() } else { number.to_string() };
        Error::parameter(name, "a number above 0", got)
    })?;
    Ok(number.into())
}

/// Prompt and response of each record, as a model reads them.
#[pyfunction]
#[pyo3(signature = (records, prompt, model))]
fn render(records: Records, prompt: Template, model: Option<PyRef<'_, Model>>) -> PyResult<Vec<(String, String)>> {
    let prompt = prompt.renderer(model.as_deref()).or_raise()?;
    let text = |record: &Record| prompt.render(record).map(|text| (text.prompt, text.response));
    records.0.iter().map(text).collect::<Result<_>>().or_raise()
}
