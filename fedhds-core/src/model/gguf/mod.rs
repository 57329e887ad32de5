//! A model in one GGUF file, as llama.cpp writes it: weights, settings and tokenizer.
//!
//! Each is turned into what a Hugging Face folder would hold (tensors under Hugging Face's names and in its layout,
//! `config.json`, `tokenizer.json`), so that one loader serves both. Weights are dequantised to f32, one tensor at a time.

mod adapter;
pub mod config;
pub mod header;
pub mod names;
pub mod quantization;
pub mod tokenizer;

pub use adapter::{adapter_bytes, write_adapter};

use super::weights::{WeightData, WeightSource, missing};
use crate::error::{Error, Result};
use fedhds_kernels::{Form, Matrix};
use header::{Header, TensorInfo};
use names::{Architecture, Conversion};
use quantization::Quantization;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An opened GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    header: Header,
    architecture: String,
    /// Hugging Face's name -> llama.cpp's name, and what was done to the tensor.
    table: BTreeMap<String, (String, Conversion)>,
}

impl GgufFile {
    /// Reads the header and checks that every tensor lies within the file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Model`] when it is no GGUF file, is cut off, or holds an
    /// architecture or a tensor type that cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        // To open a pipe is to wait for somebody who writes.
        if !std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?.is_file() {
            return Err(Error::model(&path, "file", "expected a file, got a folder, a pipe or a device"));
        }
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        let length = file.metadata().map_err(|e| Error::io(&path, e))?.len();
        let header = Header::read(BufReader::with_capacity(1 << 18, file), length, &path)?;
        let metadata = config::Metadata::new(&header, &path);
        let architecture = metadata.architecture()?.to_string();
        let (heads, heads_kv) = config::heads(&metadata, &architecture)?;
        let table = Architecture::new(&architecture, heads, heads_kv).table(&header);
        Ok(Self { path, header, architecture, table })
    }

    /// `general.architecture`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Metadata and tensor table as the file has them.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What `config.json` would say.
    ///
    /// # Errors
    /// [`Error::Model`] that names the key that is missing or wrong.
    pub fn config_json(&self) -> Result<serde_json::Value> {
        config::config_json(&self.header, &self.path)
    }

    /// The file's tokenizer.
    ///
    /// # Errors
    /// [`Error::Model`] that names the key that is missing or wrong.
    pub fn tokenizer(&self) -> Result<tokenizer::GgufTokenizer> {
        tokenizer::tokenizer(&self.header, &self.path)
    }

    /// The shape of a tensor by llama.cpp's name, outermost dimension first, and its values as f32, as the file has them.
    ///
    /// # Errors
    /// [`Error::Model`] when there is no such tensor; [`Error::Io`] when the file cannot be read.
    pub fn raw_tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let info = self.info(name)?;
        let bytes = read_at(&self.path, info.offset, info.bytes, name)?;
        Ok((info.shape.clone(), info.quantization.dequantize(&bytes, &self.path, name)?))
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.header.tensors.get(name).ok_or_else(|| missing(&self.path, name))
    }
}

/// Under Hugging Face's names and in its layout.
impl WeightSource for GgufFile {
    fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    fn tensor(&self, name: &str) -> Result<WeightData> {
        let (stored, conversion) = self.table.get(name).ok_or_else(|| missing(&self.path, name))?;
        let (mut shape, mut values) = self.raw_tensor(stored)?;
        match *conversion {
            Conversion::None => {}
            Conversion::InterleavedHeads { heads } => values = self.split_heads(stored, &shape, values, heads)?,
            Conversion::Transposed => match shape[..] {
                [rows, columns] => {
                    values = names::transpose(&values, rows, columns);
                    shape.reverse();
                }
                _ => return Err(Error::model(&self.path, stored, format!("expected 2 dimensions, got {shape:?}"))),
            },
        }
        Ok(WeightData { shape, data: values })
    }

    /// As the file stores it, where that is a form that products read.
    fn matrix(&self, name: &str) -> Result<Matrix> {
        let (stored, conversion) = self.table.get(name).ok_or_else(|| missing(&self.path, name))?;
        let info = self.info(stored)?;
        let form = match info.quantization {
            Quantization::F16 => Some(Form::F16),
            Quantization::BF16 => Some(Form::Bf16),
            Quantization::Q8_0 => Some(Form::Q8_0),
            Quantization::Q4_0 => Some(Form::Q4_0),
            Quantization::Q4_1 => Some(Form::Q4_1),
            _ => None,
        };
        let (Some(form), [rows, columns]) = (form, &info.shape[..]) else { return self.plain_matrix(name) };
        let mut bytes = match *conversion {
            Conversion::Transposed => return self.plain_matrix(name),
            _ => read_at(&self.path, info.offset, info.bytes, stored)?,
        };
        if let Conversion::InterleavedHeads { heads } = *conversion {
            bytes = self.split_heads(stored, &info.shape, bytes, heads)?;
        }
        let message = || Error::model(&self.path, stored, format!("expected whole rows of {columns} values"));
        Matrix::stored(*rows, *columns, form, &bytes).ok_or_else(message)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl GgufFile {
    /// Rows in the order of Hugging Face's heads, whatever a row is made of.
    fn split_heads<T: Copy>(&self, stored: &str, shape: &[usize], values: Vec<T>, heads: usize) -> Result<Vec<T>> {
        let rows = shape.first().copied().unwrap_or(0);
        if rows == 0 || !rows.is_multiple_of(2 * heads) {
            let message = format!("expected rows for {heads} heads of even size, got {shape:?}");
            return Err(Error::model(&self.path, stored, message));
        }
        Ok(names::split_heads(&values, heads, values.len() / rows))
    }
}

/// `bytes` bytes of the file from `offset`. The header's check has bounded `bytes` by the file's length.
fn read_at(path: &Path, offset: u64, bytes: usize, what: &str) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    file.seek(SeekFrom::Start(offset)).map_err(|e| Error::io(path, e))?;
    let mut buffer = vec![0; bytes];
    file.read_exact(&mut buffer).map_err(|e| Error::model(path, what, format!("{bytes} bytes cannot be read: {e}")))?;
    Ok(buffer)
}
