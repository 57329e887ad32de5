//! Adapters: PEFT's folders, bytes, arrays.

use crate::array::{array, matrix};
use crate::error::OrRaise as _;
use crate::run::{heavy, light};
use crate::settings::AdapterConfig;
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::stage::{Aggregator as _, ClientUpdate};
use fedhds_core::train::{adapter_file, read_adapter, write_adapter};
use fedhds_core::types::{AdapterTensor, ClientId, Matrix, Round};
use fedhds_core::{Error, types};
use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Adds class and function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Adapter>()?;
    module.add_function(wrap_pyfunction!(weighted_mean, module)?)
}

/// What PEFT puts before the name of every module; the core leaves it out.
const PREFIX: &str = "base_model.model.";

/// A LoRA adapter; it never changes.
#[pyclass(module = "fedhds._native", frozen, from_py_object)]
#[derive(Clone)]
pub struct Adapter {
    pub inner: Arc<types::Adapter>,
}

impl From<types::Adapter> for Adapter {
    fn from(adapter: types::Adapter) -> Self {
        Self { inner: Arc::new(adapter) }
    }
}

#[pymethods]
impl Adapter {
    /// From settings and tensors under PEFT's names, with or without its prefix.
    #[new]
    fn new(config: AdapterConfig, tensors: BTreeMap<String, PyReadonlyArray2<'_, f32>>) -> PyResult<Self> {
        let mut kept = BTreeMap::new();
        for (name, values) in tensors {
            let values = matrix(&values)?;
            values.check_finite(&name).or_raise()?;
            let shape = [values.rows(), values.cols()];
            let name = name.strip_prefix(PREFIX).unwrap_or(&name).to_owned();
            kept.insert(name, AdapterTensor { shape, data: values.into_vec() });
        }
        let adapter = types::Adapter { config: config.inner, tensors: kept };
        // Through PEFT's form and back: what the file may not say, the arrays may not say either.
        let bytes = adapter_file::to_bytes(&adapter).or_raise()?;
        Ok(adapter_file::from_bytes(&bytes, &adapter.config).or_raise()?.into())
    }

    /// Any arrays by name, for aggregation alone: what they are is their owner's affair.
    #[staticmethod]
    fn of_arrays(arrays: BTreeMap<String, PyReadonlyArray2<'_, f32>>) -> PyResult<Self> {
        let tensor = |(name, values)| {
            let values = matrix(&values)?;
            Ok((name, AdapterTensor { shape: [values.rows(), values.cols()], data: values.into_vec() }))
        };
        let tensors = arrays.into_iter().map(tensor).collect::<PyResult<_>>()?;
        Ok(types::Adapter { tensors, ..types::Adapter::default() }.into())
    }

    /// Copies of the arrays under the names that `of_arrays` had.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.named(py, "")
    }

    #[staticmethod]
    fn load(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        Ok(heavy(py, move |_| read_adapter(folder))?.into())
    }

    #[pyo3(signature = (folder, base_model))]
    fn save(&self, py: Python<'_>, folder: PathBuf, base_model: Option<String>) -> PyResult<()> {
        let adapter = self.inner.clone();
        heavy(py, move |_| write_adapter(folder, &adapter, base_model.as_deref()))
    }

    /// The tensors as a safetensors file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &light(py, || adapter_file::to_bytes(&self.inner))?))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8], config: &AdapterConfig) -> PyResult<Self> {
        Ok(light(py, || adapter_file::from_bytes(bytes, &config.inner))?.into())
    }

    /// The settings.
    #[getter]
    fn config(&self) -> AdapterConfig {
        AdapterConfig { inner: self.inner.config.clone() }
    }

    #[getter]
    fn parameters(&self) -> usize {
        self.inner.parameters()
    }

    /// Copies of the tensors under PEFT's names, in their order.
    fn tensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.named(py, PREFIX)
    }

    fn equals(&self, other: PyRef<'_, Adapter>) -> bool {
        self.inner == other.inner
    }
}

impl Adapter {
    fn named<'py>(&self, py: Python<'py>, prefix: &str) -> PyResult<Bound<'py, PyDict>> {
        let tensors = PyDict::new(py);
        for (name, tensor) in &self.inner.tensors {
            let [rows, columns] = tensor.shape;
            let values: Bound<'py, PyArray2<f32>> =
                array(py, Matrix::new(rows, columns, tensor.data.clone()).or_raise()?)?;
            tensors.set_item(format!("{prefix}{name}"), values)?;
        }
        Ok(tensors)
    }
}

/// The mean of adapters, weighted by records (eq. 12), in this order.
#[pyfunction]
fn weighted_mean(py: Python<'_>, adapters: Vec<(PyRef<'_, Adapter>, usize)>) -> PyResult<Adapter> {
    let updates: Vec<(Arc<types::Adapter>, usize)> = adapters.iter().map(|(a, n)| (a.inner.clone(), *n)).collect();
    let mean = heavy(py, move |_| {
        let none = || Error::input("adapters", "at least one with records", "none");
        let (first, _) = updates.first().ok_or_else(none)?;
        let mut mean = WeightedMean::new();
        mean.begin(first, Round(0))?;
        for (number, (adapter, records)) in updates.into_iter().enumerate() {
            mean.add(&ClientUpdate::new(ClientId(number as u32), (*adapter).clone(), records))?;
        }
        mean.finish()?.adapter.ok_or_else(none)
    })?;
    Ok(mean.into())
}
