//! Weights in safetensors: one file, or several with an index.

use super::weights::{WeightData, WeightSource, missing};
use crate::error::{Error, Result};
use crate::files::read_text;
use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype, TensorView};
use fedhds_kernels::{Form, Matrix};
use half::{bf16, f16};
use memmap2::Mmap;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

const SINGLE: &str = "model.safetensors";
/// Last parts of the names of tensors that only quantized weights have.
const QUANTIZED: [&str; 11] = [
    "SCB",
    "absmax",
    "g_idx",
    "input_scale",
    "quant_map",
    "qweight",
    "qzeros",
    "weight_packed",
    "weight_scale",
    "weight_scale_inv",
    "weight_scale_2",
];
const INDEX: &str = "model.safetensors.index.json";

/// Largest index of several files, in bytes.
const LARGEST_INDEX: u64 = 64 << 20;

/// A folder's weights, mapped into memory and converted tensor by tensor.
#[derive(Debug)]
pub struct SafetensorsFolder {
    path: PathBuf,
    shards: Vec<Shard>,
    /// The shard of each tensor.
    index: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
}

impl SafetensorsFolder {
    /// Opens `model.safetensors`, or every file that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`Error::Model`] that names a file that is missing, cut off or not in this format, or a tensor that the index places in a
    /// file that lacks it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        if path.join(SINGLE).is_file() {
            let shard = Shard::open(path.join(SINGLE))?;
            let index = shard.names()?.into_iter().map(|name| (name, 0)).collect();
            return Self { path, shards: vec![shard], index }.not_quantized();
        }
        if !path.join(INDEX).is_file() {
            let other = ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"]
                .into_iter()
                .find(|name| path.join(name).is_file());
            let got = other.map_or("neither".into(), |name| format!("{name}, which cannot be read"));
            return Err(Error::model(&path, SINGLE, format!("expected it or {INDEX} in the folder, got {got}")));
        }
        let placed = read_index(&path.join(INDEX))?;
        let files: BTreeSet<&String> = placed.values().collect();
        let mut shards = Vec::new();
        let mut numbers = BTreeMap::new();
        for file in files {
            let mut parts = Path::new(file).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return Err(Error::model(path.join(INDEX), file, "expected a file of this folder, got a path"));
            }
            let shard = Shard::open(path.join(file))?;
            let names = shard.names()?;
            if let Some((name, _)) = placed.iter().find(|(name, f)| *f == file && !names.contains(*name)) {
                let message = format!("expected it in {file}, where the index places it, and it is not there");
                return Err(Error::model(&path, format!("tensor `{name}`"), message));
            }
            numbers.insert(file.clone(), shards.len());
            shards.push(shard);
        }
        let index = placed.iter().filter_map(|(name, file)| Some((name.clone(), *numbers.get(file)?))).collect();
        Self { path, shards, index }.not_quantized()
    }

    /// Refuses the scales that stand beside quantized weights: without them the weights are only numbers.
    fn not_quantized(self) -> Result<Self> {
        let last = |name: &str| name.rsplit('.').next().is_some_and(|end| QUANTIZED.contains(&end));
        match self.index.keys().find(|name| last(name)) {
            None => Ok(self),
            Some(name) => {
                let message = "expected plain weights, got a part of quantized ones (fp8, GPTQ, AWQ, bitsandbytes): not supported";
                Err(Error::model(&self.path, format!("tensor `{name}`"), message))
            }
        }
    }

    /// The files that hold the weights, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.shards.iter().map(|shard| shard.path.clone()).collect()
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let found = std::fs::metadata(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::model(&path, "weights", "expected this file, and it is not there"),
            _ => Error::io(&path, e),
        })?;
        // To open a pipe is to wait for somebody who writes.
        if !found.is_file() {
            return Err(Error::model(&path, "weights", "expected a file, got a folder, a pipe or a device"));
        }
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        // SAFETY: the map is read only; a file that is changed while it is mapped gives other values or ends the process, as with
        // every reader of this format.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&path, e))?;
        Ok(Self { path, map })
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|e| {
            let message = format!("expected a whole safetensors file, got {} bytes: {e}", self.map.len());
            Error::model(&self.path, "weights", message)
        })
    }

    fn names(&self) -> Result<BTreeSet<String>> {
        Ok(self.tensors()?.names().into_iter().map(String::from).collect())
    }
}

impl SafetensorsFolder {
    fn read<R>(&self, name: &str, of: impl FnOnce(&Shard, TensorView<'_>) -> Result<R>) -> Result<R> {
        let shard = self.index.get(name).and_then(|&i| self.shards.get(i)).ok_or_else(|| missing(&self.path, name))?;
        let tensors = shard.tensors()?;
        of(shard, tensors.tensor(name).map_err(|_| missing(&shard.path, name))?)
    }
}

impl WeightSource for SafetensorsFolder {
    fn names(&self) -> Vec<String> {
        self.index.keys().cloned().collect()
    }

    fn tensor(&self, name: &str) -> Result<WeightData> {
        self.read(name, |shard, view| {
            let bytes = view.data();
            let data = match view.dtype() {
                Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
                Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
                Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
                other => {
                    let message = format!("expected f32, f16, bf16 or f64, got {other:?}");
                    return Err(Error::model(&shard.path, format!("tensor `{name}`"), message));
                }
            };
            Ok(WeightData { shape: view.shape().to_vec(), data })
        })
    }

    /// As the file stores it: f16 and bf16 stay so.
    fn matrix(&self, name: &str) -> Result<Matrix> {
        self.read(name, |_, view| {
            let form = match view.dtype() {
                Dtype::F16 => Form::F16,
                Dtype::BF16 => Form::Bf16,
                _ => return self.plain_matrix(name),
            };
            match view.shape() {
                &[rows, columns] => Matrix::stored(rows, columns, form, view.data()),
                _ => None,
            }
            .map_or_else(|| self.plain_matrix(name), Ok)
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = read_text(path, LARGEST_INDEX)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Error::model(path, "index", format!("expected JSON: {e}")))?;
    let map = value
        .get("weight_map")
        .and_then(|m| m.as_object())
        .ok_or_else(|| Error::model(path, "weight_map", "expected an object from tensor to file"))?;
    map.iter()
        .map(|(name, file)| match file.as_str() {
            Some(file) => Ok((name.clone(), file.to_string())),
            None => {
                Err(Error::model(path, format!("weight_map: `{name}`"), format!("expected a file name, got {file}")))
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn weights() -> BTreeMap<String, WeightData> {
        let weight = |shape: &[usize]| {
            let len = shape.iter().product::<usize>();
            WeightData { shape: shape.to_vec(), data: (0..len).map(|i| i as f32 / 8.0 - 1.0).collect() }
        };
        BTreeMap::from([("a".into(), weight(&[2, 3])), ("b".into(), weight(&[4]))])
    }

    fn write(file: &Path, weights: &BTreeMap<String, WeightData>) {
        let bytes = |weight: &WeightData| weight.data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let bytes: Vec<Vec<u8>> = weights.values().map(bytes).collect();
        let views = weights.iter().zip(&bytes).map(|((name, weight), bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, weight.shape.clone(), bytes).unwrap())
        });
        std::fs::write(file, ::safetensors::serialize(views, None).unwrap()).unwrap();
    }

    #[test]
    fn a_cut_off_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(SINGLE);
        write(&file, &weights());
        let bytes = std::fs::read(&file).unwrap();
        for len in [0, 5, 20, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..len]).unwrap();
            let error = SafetensorsFolder::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(SINGLE) || len == 0, "{error}");
        }
    }

    #[test]
    fn shards_are_joined_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let all = weights();
        for (file, name) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
            let part = BTreeMap::from([(name.to_string(), all[name].clone())]);
            write(&folder.path().join(file), &part);
        }
        let index = |text: &str| std::fs::write(folder.path().join(INDEX), text).unwrap();
        index(r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#);
        let source = SafetensorsFolder::open(folder.path()).unwrap();
        assert_eq!(source.tensor("b").unwrap(), all["b"]);
        assert_eq!(source.files().len(), 2);
        index(r#"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}}"#);
        let error = SafetensorsFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tensor `b`") && error.contains("one.safetensors"), "{error}");
        index(r#"{"weight_map": {"a": "one.safetensors", "b": "three.safetensors"}}"#);
        let error = SafetensorsFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("three.safetensors"), "{error}");
        index(r#"{"weight_map": {"a": "../one.safetensors"}}"#);
        assert!(SafetensorsFolder::open(folder.path()).is_err());
        let empty = tempfile::tempdir().unwrap();
        std::fs::write(empty.path().join("pytorch_model.bin"), b"").unwrap();
        let error = SafetensorsFolder::open(empty.path()).unwrap_err().to_string();
        assert!(error.contains("pytorch_model.bin"), "{error}");
    }
}
