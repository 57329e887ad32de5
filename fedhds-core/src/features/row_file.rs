//! One record's numbers in a file: written beside its place and moved there when it is whole, with a hash over all of it. A
//! killed process leaves no half file that would be read, and a damaged one is told from a whole one.

use crate::error::{Error, Result};
use crate::files::temporary_in;
use std::io::Write as _;
use std::path::Path;

/// The first bytes of a file: the format and its version.
const MAGIC: &[u8; 8] = b"FHDSROW2";
/// Magic, seconds (f64), number of values (u64).
const HEAD: usize = 8 + 8 + 8;
/// BLAKE3 of seconds, number and values, before the values.
const HEADER: usize = HEAD + 32;

/// The numbers of one record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// `[k]`.
    pub values: Vec<f32>,
    /// Seconds that they took to compute.
    pub seconds: f64,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 4 * self.values.len());
        bytes.extend(MAGIC);
        bytes.extend(self.seconds.to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        bytes.extend([0; 32]);
        bytes.extend(self.values.iter().flat_map(|v| v.to_le_bytes()));
        let hash = hash(&bytes);
        bytes[HEAD..HEADER].copy_from_slice(hash.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, values) = bytes.split_at_checked(HEADER)?;
        let seconds = f64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
        let count = u64::from_le_bytes(header.get(16..HEAD)?.try_into().ok()?);
        let whole = header.starts_with(MAGIC)
            && Some(values.len() as u64) == count.checked_mul(4)
            && header.get(HEAD..HEADER)? == hash(bytes).as_bytes();
        whole.then(|| Self {
            values: values.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            seconds,
        })
    }

    /// The row of a file; none where there is no file, or (with a warning) where it is damaged.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a cached row cannot be read: computed again");
                return None;
            }
        };
        let row = Self::decode(&bytes);
        if row.is_none() {
            tracing::warn!(file = %path.display(), "a cached row is damaged: computed again");
        }
        row
    }

    /// Puts the row into a file of this folder.
    pub(super) fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let failed = |e| Error::io(folder.join(name), e);
        let mut file = temporary_in(folder).map_err(failed)?;
        file.write_all(&self.encode()).map_err(failed)?;
        file.persist(folder.join(name)).map_err(|e| failed(e.error))?;
        Ok(())
    }
}

/// Of everything but the magic and the hash itself.
fn hash(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes.get(8..HEAD).unwrap_or_default());
    hasher.update(bytes.get(HEADER..).unwrap_or_default());
    hasher.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_every_damage_is_seen() {
        let row = Row { values: vec![1.5, -0.0, f32::MIN_POSITIVE], seconds: 0.25 };
        let bytes = row.encode();
        assert_eq!(Row::decode(&bytes).unwrap(), row);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Row::decode(&flipped), None, "byte {at}");
            assert_eq!(Row::decode(&bytes[..at]), None, "{at} bytes");
        }
        assert_eq!(Row::decode(&[&bytes[..], &[0; 4]].concat()), None);
        let none = Row { values: vec![], seconds: 0.0 };
        assert_eq!(Row::decode(&none.encode()).unwrap(), none);
    }
}
