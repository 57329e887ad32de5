//! Some lines of a file, by their numbers.

use super::source::{BYTE_ORDER_MARK, Bytes, Place, Source};
use crate::error::{Error, Result};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

/// Reads lines of a file again, each as it stands there; of a packed file, those of what is in it.
pub struct Lines {
    file: PathBuf,
    reader: Bytes<'static>,
    /// Lines that were passed.
    passed: usize,
}

impl Lines {
    /// Lines of the file, from its beginning.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(file: &Path) -> Result<Self> {
        let file = file.to_path_buf();
        let reader = Source::opened(&file)?;
        Ok(Self { file, reader, passed: 0 })
    }

    /// The lines of these numbers, which count from 1, ascend, and lie behind those that were asked for before. Each ends with a line break, and
    /// none has a byte order mark.
    ///
    /// # Errors
    /// [`Error::Data`] where the file ends before; [`Error::Io`].
    pub fn take(&mut self, numbers: &[usize]) -> Result<Vec<Vec<u8>>> {
        let mut lines = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let mut line = Vec::new();
            while self.passed < number {
                line.clear();
                if self.reader.read_until(b'\n', &mut line).map_err(|e| Error::io(&self.file, e))? == 0 {
                    let message = format!("expected line {number} again, got {} lines: the file changed", self.passed);
                    return Err(Place::whole(&self.file).error("", message));
                }
                self.passed += 1;
            }
            if number == 1 && line.starts_with(BYTE_ORDER_MARK.as_bytes()) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            lines.push(line);
        }
        Ok(lines)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_as_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.jsonl");
        std::fs::write(&file, "\u{feff}one\r\n\ntwo \nthree").unwrap();
        let mut lines = Lines::open(&file).unwrap();
        assert_eq!(lines.take(&[1, 3]).unwrap(), [b"one\r\n".to_vec(), b"two \n".to_vec()]);
        assert_eq!(lines.take(&[4]).unwrap(), [b"three\n".to_vec()]);
        assert!(lines.take(&[5]).unwrap_err().to_string().contains("expected line 5 again, got 4 lines"));
        assert!(matches!(Lines::open(&folder.path().join("absent")), Err(Error::Io { .. })));
    }
}
