//! The header of a GGUF file: its metadata and the table of its tensors.
//!
//! Written here and not taken from the crate that dequantises: a header comes from outside, and every length in it is
//! checked against the bytes that are left before anything is allocated (docs/decisions/0005-gguf.md).

use super::quantization::Quantization;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Where tensor data begins and tensors are padded to, unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;
/// GGML's own limit on dimensions.
const MAX_DIMENSIONS: u32 = 4;

/// One value of a GGUF file's metadata; integers and floats of every width are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(i128),
    /// A float.
    Float(f64),
    /// A flag.
    Bool(bool),
    /// A text.
    String(String),
    /// A list of integers (or flags, as 0 and 1).
    Integers(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f32>),
    /// A list of texts.
    Strings(Vec<String>),
}

/// One row of the tensor table.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Outermost dimension first, as everywhere outside GGUF (the file has them reversed).
    pub shape: Vec<usize>,
    /// How the values are stored.
    pub quantization: Quantization,
    /// Where the tensor begins in the file, in bytes.
    pub offset: u64,
    /// Its length in the file, in bytes.
    pub bytes: usize,
}

impl TensorInfo {
    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Metadata and tensor table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Header {
    /// By key, for example `llama.block_count`.
    pub metadata: BTreeMap<String, Value>,
    /// By llama.cpp's name, for example `blk.0.attn_q.weight`.
    pub tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// Reads a header from the beginning of a file of `length` bytes; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Model`] when the file is no GGUF file of version 2 or 3, is cut off (also in the tensors' data), stores a
    /// tensor in a way that is not known, or contradicts itself.
    pub fn read(reader: impl Read, length: u64, path: &Path) -> Result<Self> {
        let mut r = Bytes { inner: reader, at: 0, length, path };
        let magic: [u8; 4] = r.array("magic")?;
        if &magic != b"GGUF" {
            return Err(r.error("magic", format!("expected a GGUF file, which begins with \"GGUF\", got {magic:02x?}")));
        }
        let version = r.u32("version")?;
        if version.swap_bytes() <= 3 {
            return Err(r.error("version", "expected a little-endian file, got a big-endian one"));
        }
        if !(2..=3).contains(&version) {
            return Err(r.error("version", format!("expected 2 or 3, got {version}")));
        }
        let tensor_count = r.u64("tensor count")?;
        let metadata_count = r.u64("metadata count")?;

        let mut metadata = BTreeMap::new();
        for i in 0..metadata_count {
            let key = r.string(&format!("metadata key {i} of {metadata_count}"))?;
            let kind = r.u32(&key)?;
            let value = r.value(kind, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(r.error(key, "the key occurs twice"));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(&Value::Integer(a)) if (1..=1 << 20).contains(&a) && (a as u64).is_power_of_two() => a as u64,
            Some(other) => {
                return Err(r.error("general.alignment", format!("expected a power of two up to 2^20, got {other:?}")));
            }
        };
        match metadata.get("split.count") {
            Some(Value::Integer(n)) if *n > 1 => {
                return Err(r.error("split.count", format!("one of {n} parts: join them into one file first")));
            }
            _ => {}
        }

        let mut tensors = BTreeMap::new();
        for i in 0..tensor_count {
            let name = r.string(&format!("name of tensor {i} of {tensor_count}"))?;
            let info = r.tensor(&name)?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(r.error(name, "the tensor occurs twice"));
            }
        }
        let data = r.at.next_multiple_of(alignment);
        for (name, info) in &mut tensors {
            let begin = data.checked_add(info.offset);
            let end = begin.and_then(|b| b.checked_add(info.bytes as u64));
            match (begin, end) {
                (Some(begin), Some(end)) if end <= length => info.offset = begin,
                _ => {
                    let message = format!(
                        "the file is cut off: the tensor's {} bytes at {} + {} reach beyond its {length} bytes",
                        info.bytes, data, info.offset
                    );
                    return Err(Error::model(path, name, message));
                }
            }
        }
        no_overlap(&tensors, path)?;
        Ok(Self { metadata, tensors })
    }
}

/// Refuses tensors that share bytes: a small file could otherwise ask for the memory of a large model.
fn no_overlap(tensors: &BTreeMap<String, TensorInfo>, path: &Path) -> Result<()> {
    let mut places: Vec<_> = tensors.iter().filter(|(_, info)| info.bytes > 0).collect();
    places.sort_by_key(|(_, info)| info.offset);
    for pair in places.windows(2) {
        if let [(first, before), (name, info)] = pair
            && before.offset + before.bytes as u64 > info.offset
        {
            return Err(Error::model(
                path,
                *name,
                format!("expected bytes of its own, got some of those of `{first}`"),
            ));
        }
    }
    Ok(())
}

/// A reader that knows how many bytes are left.
struct Bytes<'a, R> {
    inner: R,
    at: u64,
    length: u64,
    path: &'a Path,
}

impl<R: Read> Bytes<'_, R> {
    fn error(&self, what: impl Into<String>, message: impl Into<String>) -> Error {
        Error::model(self.path, what, message)
    }

    fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<()> {
        self.check(buffer.len() as u64, 1, what)?;
        self.inner.read_exact(buffer).map_err(|e| Error::io(self.path, e))?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    /// Checks that `count` items of at least `size` bytes each are left, and returns the count as a length.
    fn check(&self, count: u64, size: u64, what: &str) -> Result<usize> {
        let left = self.length.saturating_sub(self.at);
        match count.checked_mul(size) {
            Some(bytes) if bytes <= left => Ok(count as usize),
            _ => {
                let message = format!(
                    "the file is cut off or damaged: expected {count} x {size} bytes at byte {}, {left} are left",
                    self.at
                );
                Err(self.error(what, message))
            }
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut buffer = [0; N];
        self.fill(&mut buffer, what)?;
        Ok(buffer)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn string(&mut self, what: &str) -> Result<String> {
        let length = self.u64(what)?;
        let mut buffer = vec![0; self.check(length, 1, what)?];
        self.fill(&mut buffer, what)?;
        String::from_utf8(buffer).map_err(|e| self.error(what, format!("expected UTF-8: {e}")))
    }

    /// An integer of GGUF's value types 0 to 5, 7 (a flag), 10 and 11.
    fn integer(&mut self, kind: u32, what: &str) -> Result<Option<i128>> {
        Ok(Some(match kind {
            0 => i128::from(u8::from_le_bytes(self.array(what)?)),
            1 => i128::from(i8::from_le_bytes(self.array(what)?)),
            2 => i128::from(u16::from_le_bytes(self.array(what)?)),
            3 => i128::from(i16::from_le_bytes(self.array(what)?)),
            4 => i128::from(u32::from_le_bytes(self.array(what)?)),
            5 => i128::from(i32::from_le_bytes(self.array(what)?)),
            7 => i128::from(u8::from_le_bytes(self.array(what)?) != 0),
            10 => i128::from(u64::from_le_bytes(self.array(what)?)),
            11 => i128::from(i64::from_le_bytes(self.array(what)?)),
            _ => return Ok(None),
        }))
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<Value> {
        Ok(match kind {
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array(key)?))),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            7 => Value::Bool(self.array::<1>(key)? != [0]),
            8 => Value::String(self.string(key)?),
            9 => self.list(key)?,
            _ => match self.integer(kind, key)? {
                Some(value) => Value::Integer(value),
                None => return Err(self.error(key, format!("expected a value type from 0 to 12, got {kind}"))),
            },
        })
    }

    fn list(&mut self, key: &str) -> Result<Value> {
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(self.error(key, format!("expected a list of numbers, flags or texts, got type {kind}"))),
        };
        let count = self.check(count, size, key)?;
        Ok(match kind {
            6 | 12 => {
                let mut list = Vec::with_capacity(count);
                for _ in 0..count {
                    list.push(match kind {
                        6 => f32::from_le_bytes(self.array(key)?),
                        _ => f64::from_le_bytes(self.array(key)?) as f32,
                    });
                }
                Value::Floats(list)
            }
            8 => {
                // A text takes 8 bytes in the file at the least and 24 in memory: no worse than that.
                let mut list = Vec::with_capacity(count);
                for _ in 0..count {
                    list.push(self.string(key)?);
                }
                Value::Strings(list)
            }
            _ => {
                let mut list = Vec::with_capacity(count);
                for _ in 0..count {
                    let value = self.integer(kind, key)?.unwrap_or_default();
                    let value = i64::try_from(value)
                        .map_err(|_| self.error(key, format!("expected integers below 2^63, got {value}")))?;
                    list.push(value);
                }
                Value::Integers(list)
            }
        })
    }

    fn tensor(&mut self, name: &str) -> Result<TensorInfo> {
        let dimensions = self.u32(name)?;
        if dimensions > MAX_DIMENSIONS {
            return Err(self.error(name, format!("expected up to {MAX_DIMENSIONS} dimensions, got {dimensions}")));
        }
        let mut file_shape = Vec::new();
        for _ in 0..dimensions {
            file_shape.push(self.u64(name)?);
        }
        let kind = self.u32(name)?;
        let offset = self.u64(name)?;
        let quantization = Quantization::from_code(kind).ok_or_else(|| {
            let known = Quantization::names();
            self.error(name, format!("stored as GGML type {kind}, which cannot be read; can be read: {known}"))
        })?;
        let row = file_shape.first().copied().unwrap_or(1);
        let elements = file_shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let bytes = elements.and_then(|n| quantization.bytes(n));
        match bytes {
            Some(bytes)
                if row.is_multiple_of(quantization.block() as u64) && elements <= Some(isize::MAX as u64 / 4) =>
            {
                Ok(TensorInfo {
                    shape: file_shape.iter().rev().map(|&d| d as usize).collect(),
                    quantization,
                    offset,
                    bytes: bytes as usize,
                })
            }
            _ => {
                let message = format!(
                    "expected rows of a multiple of {} values ({}) and a size that fits, got dimensions {file_shape:?}",
                    quantization.block(),
                    quantization.name()
                );
                Err(self.error(name, message))
            }
        }
    }
}
