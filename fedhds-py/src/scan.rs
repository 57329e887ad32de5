//! Files of any size as features: each record is read once, and what is kept of it does not grow with its text.

use crate::array::array;
use crate::error::OrRaise as _;
use crate::records::{Left, Records, left, read_options};
use crate::run::heavy;
use crate::settings::{NearCopiesConfig, TextFeaturesConfig};
use crate::shared::Shared;
use fedhds_core::dataset::{At, Format, GUESS, LoadOptions, Source};
use fedhds_core::features::{NearCopies, TextHasher};
use fedhds_core::types::{Control, Matrix, Record};
use fedhds_core::{Error, Result};
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Adds the class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TextScan>()
}

/// The rows `[n, dims]`, the near copy that each record is of, the number of its category, and the categories.
type Scanned<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u32>>, Vec<String>);

/// Of a file: its format, the names of its fields by what they hold, whether its records are lines, the line or row of each, and what
/// was left out.
type FileRead = (&'static str, BTreeMap<&'static str, String>, bool, Vec<Option<usize>>, Left);

/// Features of texts, near copies and categories of records that are read one by one and not kept.
#[pyclass(module = "fedhds._native", frozen)]
struct TextScan {
    inner: Shared<Scan>,
}

struct Scan {
    hasher: TextHasher,
    copies: NearCopies,
    rows: Vec<f32>,
    categories: HashMap<String, u32>,
    category: Vec<u32>,
}

impl Scan {
    fn take(&mut self, record: &Record) -> Result<()> {
        let (start, dims) = (self.rows.len(), self.hasher.dims());
        self.rows.resize(start + dims, 0.0);
        let row = self.rows.get_mut(start..).unwrap_or_default();
        self.hasher.row(&record.instruction, &[&record.input, record.response()], row)?;
        self.copies.add(&record.instruction, &record.input, record.response());
        let next = self.categories.len() as u32;
        let number = match self.categories.get(&record.category) {
            Some(known) => *known,
            None => *self.categories.entry(record.category.clone()).or_insert(next),
        };
        self.category.push(number);
        Ok(())
    }

    fn read_file(
        &mut self,
        path: &Path,
        format: &str,
        mut options: LoadOptions,
        control: &Control,
    ) -> Result<FileRead> {
        let format = match format {
            GUESS => {
                let (format, fields) = Format::guess(Source::Path(path), &options.fields)?;
                options.fields = fields;
                format
            }
            name => Format::by_name(name)?,
        };
        let (mut lines, mut by_line) = (Vec::new(), true);
        let mut failed = Ok(());
        let left_out = format.each(Source::Path(path), &options, control, &mut |record, origin| {
            by_line &= matches!(origin.at, Some(At::Line(_)));
            lines.push(origin.at.map(|at| at.number()));
            let taken = self.take(&record);
            if failed.is_ok() {
                failed = taken;
            }
        })?;
        let named = options.fields.named().map(|(role, name)| (role, name.to_owned())).collect();
        failed.map(|()| (format.name(), named, by_line, lines, left(left_out)))
    }
}

#[pymethods]
impl TextScan {
    #[new]
    fn new(features: TextFeaturesConfig, copies: NearCopiesConfig) -> PyResult<Self> {
        let scan = Scan {
            hasher: TextHasher::new(&features.inner).or_raise()?,
            copies: NearCopies::new(copies.inner).or_raise()?,
            rows: Vec::new(),
            categories: HashMap::new(),
            category: Vec::new(),
        };
        Ok(Self { inner: Shared::new("text scan", scan) })
    }

    /// Reads a file: its format and the names of its fields, whether its records are lines, the line or row of each, and what was
    /// left out.
    #[pyo3(signature = (path, format, **options))]
    fn read(
        &self,
        py: Python<'_>,
        path: PathBuf,
        format: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<FileRead> {
        let (options, format, scan) = (read_options(options)?, format.to_owned(), self.inner.clone());
        heavy(py, move |control| scan.hold()?.read_file(&path, &format, options, control))
    }

    /// Takes in records that were read elsewhere.
    fn add(&self, py: Python<'_>, records: Records) -> PyResult<()> {
        let shared = self.inner.clone();
        heavy(py, move |control| {
            let mut scan = shared.hold()?;
            for (at, record) in records.0.iter().enumerate() {
                if at % 64 == 0 {
                    control.check()?;
                }
                scan.take(record)?;
            }
            Ok(())
        })
    }

    /// What was made of all records; to be asked for once.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Scanned<'py>> {
        let shared = self.inner.clone();
        let (rows, groups, categories, names) = heavy(py, move |_| {
            let mut scan = shared.hold()?;
            let groups = scan.copies.groups()?.into_iter().map(|group| group as i64).collect();
            let (n, dims) = (scan.category.len(), scan.hasher.dims());
            let rows = Matrix::new(n, dims, std::mem::take(&mut scan.rows))?;
            let mut names = vec![String::new(); scan.categories.len()];
            for (name, number) in std::mem::take(&mut scan.categories) {
                match names.get_mut(number as usize) {
                    Some(place) => *place = name,
                    None => return Err(Error::input("categories", "dense numbers", number)),
                }
            }
            Ok((rows, groups, std::mem::take(&mut scan.category), names))
        })?;
        Ok((array(py, rows)?, PyArray1::from_vec(py, groups), PyArray1::from_vec(py, categories), names))
    }
}
