//! Records and data sets.

use crate::error::{OrRaise as _, raised};
use crate::run::heavy;
use crate::setting::{Setting, named, parameter, part};
use crate::settings::EmbeddedTasks;
use crate::shared::Shared;
use fedhds_core::dataset::{
    CustomPrompt, Dataset, Fields, Format, GUESS, GroupBy, LeftOut, LoadOptions, Partition, Prompt, PromptTemplate,
    ReadFrom, RenderPrompt, Source, check_name, load,
};
use fedhds_core::model::{Tokenizer, prompt_renderer};
use fedhds_core::types::{Record, Seed};
use fedhds_core::{Error, Result, dataset, parse};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyTuple, PyType};
use std::path::PathBuf;
use std::sync::Arc;

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(formats, module)?)?;
    module.add_function(wrap_pyfunction!(check_format, module)?)?;
    module.add_function(wrap_pyfunction!(load_records, module)?)?;
    module.add_function(wrap_pyfunction!(foreign, module)?)?;
    module.add_function(wrap_pyfunction!(conversation, module)?)?;
    module.add_function(wrap_pyfunction!(embedded_records, module)?)?;
    module.add_class::<Lines>()?;
    module.add_function(wrap_pyfunction!(partition, module)?)
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
    /// What renders records by it; the chat template is that of the model whose tokenizer this is.
    pub fn renderer(&self, tokenizer: Option<&Arc<Tokenizer>>) -> Result<Arc<dyn RenderPrompt>> {
        match (&self.0, tokenizer) {
            (Prompt::Chat, None) => {
                Err(Error::parameter("prompt", "a model beside it, whose chat template is meant", "none"))
            }
            (Prompt::Template(template), None) => Ok(Arc::new(template.clone())),
            (prompt, Some(tokenizer)) => prompt_renderer(prompt, tokenizer),
        }
    }

    /// What tells it from others.
    pub fn name(&self) -> Result<String> {
        serde_json::to_string(&self.0).map_err(|e| Error::config("prompt", e.to_string()))
    }
}

/// The name of each format that is read from a file or folder, with what it is in a line; first the name that asks for a guess.
#[pyfunction]
fn formats() -> Vec<(&'static str, &'static str)> {
    let guess = (GUESS, "the format that the file looks like");
    let read = Format::ALL.iter().filter(|format| format.read_from() != ReadFrom::Nothing);
    std::iter::once(guess).chain(read.map(|format| (format.name(), format.about()))).collect()
}

/// Refuses a name that is no format's.
#[pyfunction]
fn check_format(name: &str) -> PyResult<()> {
    check_name(name).or_raise()
}

/// How many records have a blank response, how many cannot be used otherwise, and what is wrong with the first of those.
pub type Left = (usize, usize, Option<String>);

/// What was left out, as Python has it.
pub fn left(out: LeftOut) -> Left {
    (out.blank, out.bad, out.first_bad)
}

/// The format, the records, the line or row of each, its text where that is kept, and what was left out.
type Loaded = (&'static str, Records, Vec<Option<usize>>, Vec<Option<String>>, Left);

/// Reads a data set; `content` is what is in the file where that is in memory.
#[pyfunction]
#[pyo3(signature = (path, format, content, **options))]
fn load_records(
    py: Python<'_>,
    path: Option<PathBuf>,
    format: &str,
    content: Option<Vec<u8>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Loaded> {
    let (options, format) = (read_options(options)?, format.to_owned());
    let loaded = heavy(py, move |control| {
        let source = match (&path, &content) {
            (None, _) => Source::Nothing,
            (Some(path), None) => Source::Path(path),
            (Some(name), Some(bytes)) => Source::Content { name, bytes },
        };
        load(source, &format, &options, control)
    })?;
    let (lines, texts) = loaded.origins.into_iter().map(|o| (o.at.map(|at| at.number()), o.text)).unzip();
    let left = (loaded.left_out, loaded.bad, loaded.first_bad);
    Ok((loaded.format.name(), Records(loaded.dataset.records), lines, texts, left))
}

/// What a file that begins with these bytes is in place of text.
#[pyfunction]
fn foreign(start: &[u8]) -> Option<&'static str> {
    dataset::foreign(start)
}

/// What a conversation asks and is answered: `turns` is JSON of an object with turns, `what` is what an error names.
#[pyfunction]
fn conversation(what: &str, turns: &str) -> PyResult<(String, String)> {
    let broken = |error| raised(&Error::input(what, "a conversation that JSON can hold", error));
    let object = serde_json::from_str(turns).map_err(broken)?;
    let found = dataset::conversation(&object).map_err(|fault| {
        let what = if fault.field.is_empty() { what.to_owned() } else { format!("{what}: field `{}`", fault.field) };
        raised(&Error::input(&what, fault.expected, fault.got))
    })?;
    Ok((found.instruction, found.response))
}

/// Lines of a file by their numbers, which ascend.
#[pyclass(module = "fedhds._native", frozen)]
struct Lines {
    inner: Shared<dataset::Lines>,
}

#[pymethods]
impl Lines {
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: Shared::new("lines", dataset::Lines::open(&path).or_raise()?) })
    }

    fn take<'py>(&self, py: Python<'py>, numbers: Vec<usize>) -> PyResult<Bound<'py, PyList>> {
        let shared = self.inner.clone();
        let lines = heavy(py, move |_| shared.hold()?.take(&numbers))?;
        PyList::new(py, lines.iter().map(|line| PyBytes::new(py, line)))
    }
}

/// How a data set is read, by the names that Python has.
pub fn read_options(given: Option<&Bound<'_, PyDict>>) -> PyResult<LoadOptions> {
    const KNOWN: [&str; 5] = ["fields", "blank_response", "bad_record", "split", "keep_text"];
    let mut options = LoadOptions::default();
    for (key, value) in given.into_iter().flatten() {
        let key = key.to_string();
        match key.as_str() {
            "fields" => options.fields = read_fields(&value)?,
            "blank_response" => {
                let name: String = parameter(&key, &value).or_raise()?;
                options.blank_response = parse::from_name(&key, &name).or_raise()?;
            }
            "bad_record" => {
                let name: String = parameter(&key, &value).or_raise()?;
                options.bad_record = parse::from_name(&key, &name).or_raise()?;
            }
            "split" => options.split = parameter(&key, &value).or_raise()?,
            "keep_text" => options.keep_text = parameter(&key, &value).or_raise()?,
            _ => return Err(raised(&Error::config(&key, parse::unknown_name(&key, &KNOWN)))),
        }
    }
    Ok(options)
}

/// The names of fields by what they hold.
fn read_fields(named: &Bound<'_, PyAny>) -> PyResult<Fields> {
    const KNOWN: [&str; 6] = ["instruction", "input", "response", "id", "category", "family"];
    let mut fields = Fields::default();
    for item in named.cast::<PyMapping>()?.items()? {
        let (role, name): (String, Bound<'_, PyAny>) = item.extract()?;
        let place = match role.as_str() {
            "instruction" => &mut fields.instruction,
            "input" => &mut fields.input,
            "response" => &mut fields.response,
            "id" => &mut fields.id,
            "category" => &mut fields.category,
            "family" => &mut fields.family,
            _ => return Err(raised(&Error::config(format!("fields.{role}"), parse::unknown_name(&role, &KNOWN)))),
        };
        *place = parameter(&format!("fields.{role}"), &name).or_raise()?;
    }
    Ok(fields)
}

/// Train and test records that are generated by seed.
#[pyfunction]
fn embedded_records(py: Python<'_>, tasks: &EmbeddedTasks) -> PyResult<(Records, Records)> {
    let tasks = tasks.inner.clone();
    let (train, test) = heavy(py, move |_| tasks.generate())?;
    Ok((Records(train.records), Records(test.records)))
}

/// The rows of each client. The settings are those of a configuration's `partition`.
#[pyfunction]
#[pyo3(signature = (records, seed, **settings))]
fn partition(
    py: Python<'_>,
    records: Records,
    seed: u64,
    settings: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<Vec<usize>>> {
    let partition = read_partition(settings).or_raise()?;
    heavy(py, move |_| {
        let data = Dataset::new("records", records.0)?;
        partition.check()?;
        partition.split(&data, Seed(seed))
    })
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
