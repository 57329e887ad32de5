//! Where a model's weights come from: tensors by the names that transformers gives them.

use super::config::ModelConfig;
use super::config::names::{Names, Prefix};
use super::device::Device;
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::types::Seed;
use fedhds_kernels::Matrix as StoredMatrix;
use rand_distr::{Distribution, Normal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One tensor's shape and values.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightData {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub data: Vec<f32>,
}

/// Weights by name. Implemented by folders of safetensors, by GGUF files and by [`InMemoryWeights`].
pub trait WeightSource: Send + Sync {
    /// The names of all tensors, sorted.
    fn names(&self) -> Vec<String>;

    /// The shape and the values of a tensor as f32.
    ///
    /// # Errors
    /// [`Error::Model`] that names a tensor that is not there or cannot be read.
    fn tensor(&self, name: &str) -> Result<WeightData>;

    /// A matrix in the form that the file has it in; by default its values as f32.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor), and for a tensor that is no matrix.
    fn matrix(&self, name: &str) -> Result<StoredMatrix> {
        self.plain_matrix(name)
    }

    /// A matrix of a tensor's values as f32.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix).
    fn plain_matrix(&self, name: &str) -> Result<StoredMatrix> {
        let WeightData { shape, data } = self.tensor(name)?;
        let message = format!("expected 2 dimensions, got {shape:?}");
        let matrix = match shape[..] {
            [rows, columns] => StoredMatrix::new(rows, columns, &data),
            _ => None,
        };
        matrix.ok_or_else(|| Error::model(self.path(), format!("tensor `{name}`"), message))
    }

    /// The file or folder, for errors.
    fn path(&self) -> &Path;
}

/// Weights held in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InMemoryWeights {
    path: PathBuf,
    tensors: BTreeMap<String, WeightData>,
}

impl InMemoryWeights {
    /// Weights from a map; errors call them `(in memory)`.
    pub fn new(tensors: BTreeMap<String, WeightData>) -> Self {
        Self { path: "(in memory)".into(), tensors }
    }

    /// Fresh weights for a model, as transformers initialises them: matrices from N(0, `initializer_range`^2), norm weights 1,
    /// biases 0. Each tensor has its own stream, so that the draw does not depend on what else the model has.
    ///
    /// # Errors
    /// [`Error::Parameter`] when `initializer_range` is negative or not finite.
    pub fn random(config: &ModelConfig, seed: Seed) -> Result<Self> {
        let deviation = config.initializer_range();
        let normal = Normal::new(0.0f32, deviation)
            .map_err(|_| Error::parameter("initializer_range", "a finite number, at least 0", deviation))?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in config.weight_shapes() {
            let len = (shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)))
                .filter(|len| *len <= isize::MAX as usize / size_of::<f32>())
                .ok_or_else(|| Error::parameter(&name, "a shape that memory can hold", format!("{shape:?}")))?;
            let data = match (shape.len(), name.ends_with(".bias")) {
                (_, true) => vec![0.0; len],
                (1, false) => vec![1.0; len],
                _ => {
                    let mut rng = seed.derive(&name, 0).rng();
                    (0..len).map(|_| normal.sample(&mut rng)).collect()
                }
            };
            tensors.insert(name, WeightData { shape, data });
        }
        Ok(Self::new(tensors))
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, WeightData> {
        &self.tensors
    }

    /// The tensors by name, to change.
    pub fn tensors_mut(&mut self) -> &mut BTreeMap<String, WeightData> {
        &mut self.tensors
    }
}

impl WeightSource for InMemoryWeights {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn tensor(&self, name: &str) -> Result<WeightData> {
        self.tensors.get(name).cloned().ok_or_else(|| missing(&self.path, name))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// The error for a tensor that is not there.
pub(crate) fn missing(path: &Path, name: &str) -> Error {
    Error::model(path, format!("tensor `{name}`"), "expected it, and it is not there")
}

/// Fetches a model's tensors with their shapes checked.
///
/// Files differ in whether names carry the prefix of the model's body (`model.`, `transformer.`, `bert.`): the family's names
/// are read with or without it, as the file has them.
pub(crate) struct Loader<'a> {
    source: &'a dyn WeightSource,
    device: &'a Device,
    names: BTreeSet<String>,
    strip: &'static str,
    add: &'static str,
}

impl<'a> Loader<'a> {
    /// Weights under a family's names, whether the file's names have the family's prefix or not.
    pub fn new(source: &'a dyn WeightSource, device: &'a Device, family: &Names) -> Self {
        let names: BTreeSet<String> = source.names().into_iter().collect();
        let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        let (strip, add) = match family.prefix {
            Prefix::Carried(prefix) => (if has(prefix) { "" } else { prefix }, ""),
            Prefix::Added(prefix) => ("", if has(prefix) { prefix } else { "" }),
        };
        Self { source, device, names, strip, add }
    }

    fn name_in_file(&self, name: &str) -> String {
        format!("{}{}", self.add, name.strip_prefix(self.strip).unwrap_or(name))
    }

    /// Whether the tensor is there.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(&self.name_in_file(name))
    }

    fn fetch(&self, name: &str, shape: &[usize]) -> Result<WeightData> {
        let name = self.name_in_file(name);
        let weight = if self.names.contains(&name) {
            self.source.tensor(&name)?
        } else {
            return Err(missing(self.source.path(), &name));
        };
        if weight.shape != shape || weight.data.len() != shape.iter().product::<usize>() {
            let message = format!("expected shape {shape:?}, got {:?}", weight.shape);
            return Err(Error::model(self.source.path(), format!("tensor `{name}`"), message));
        }
        Ok(weight)
    }

    /// A matrix of this shape in the form that the file has it in.
    pub fn stored(&self, name: &str, shape: [usize; 2]) -> Result<StoredMatrix> {
        let name = self.name_in_file(name);
        if !self.names.contains(&name) {
            return Err(missing(self.source.path(), &name));
        }
        let matrix = self.source.matrix(&name)?;
        let found = [matrix.rows(), matrix.columns()];
        if found != shape {
            let message = format!("expected shape {shape:?}, got {found:?}");
            return Err(Error::model(self.source.path(), format!("tensor `{name}`"), message));
        }
        Ok(matrix)
    }

    /// The values of a vector of this length.
    pub fn values(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        Ok(self.fetch(name, &[len])?.data)
    }

    /// A matrix of this shape.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>> {
        self.device.tensor(self.fetch(name, &shape)?.data, shape)
    }

    /// A vector of this length.
    pub fn vector(&self, name: &str, len: usize) -> Result<Tensor<1>> {
        self.device.tensor(self.fetch(name, &[len])?.data, [len])
    }

    /// A vector of this length, where `present`.
    pub fn vector_if(&self, present: bool, name: &str, len: usize) -> Result<Option<Tensor<1>>> {
        present.then(|| self.vector(name, len)).transpose()
    }
}
