//! Files that are either whole or not there.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What the name of a temporary file ends with.
const TEMPORARY: &str = ".tmp";

/// Writes `bytes` to `path` so that a reader, also after a kill, a full disk or a power cut, finds the old content or the new, never
/// a part: a temporary file beside it is written and synchronised, then renamed over it, then the folder is synchronised.
///
/// # Errors
/// [`Error::Io`] with the path of what could not be written; the old content is then still there, and nothing beside it.
pub fn atomic_write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let mut file = Replacement::of(path)?;
    file.write(bytes)?;
    file.finish()
}

/// The bytes of a file of at most `largest` bytes. A pipe or a device, which has no end, is refused.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::Model`] when it is larger, or no file.
#[cfg(feature = "model")]
pub(crate) fn read_bounded(path: &Path, largest: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let found = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !found.is_file() {
        return Err(Error::model(path, "file", "expected a file, got a folder, a pipe or a device"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    file.take(largest + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > largest {
        return Err(Error::model(path, "file", format!("expected at most {largest} bytes, got {}", found.len())));
    }
    Ok(bytes)
}

/// The text of such a file.
///
/// # Errors
/// As [`read_bounded`], and [`Error::Model`] for bytes that are no UTF-8.
#[cfg(feature = "model")]
pub(crate) fn read_text(path: &Path, largest: u64) -> Result<String> {
    let bytes = read_bounded(path, largest)?;
    String::from_utf8(bytes).map_err(|e| Error::model(path, "file", format!("expected UTF-8: {e}")))
}

/// A file that is written part after part, and takes the place of what is there when it is finished; let go of before, it leaves no trace.
#[derive(Debug)]
pub(crate) struct Replacement {
    path: PathBuf,
    folder: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Replacement {
    /// Begins a file that will be `path`, and makes its folder.
    pub(crate) fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let Some(name) = path.file_name() else {
            return Err(Error::input("path", "the path of a file", path.display()));
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        sweep(&folder, &prefix);
        let file = temporary(&folder, &prefix).map_err(|e| Error::io(path, e))?;
        Ok(Self { path: path.to_path_buf(), folder, file: BufWriter::new(file) })
    }

    /// Writes more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { path, folder, file } = self;
        let file = file.into_inner().map_err(|e| Error::io(&path, e.into_error()))?;
        file.as_file().sync_all().map_err(|e| Error::io(&path, e))?;
        file.persist(&path).map_err(|e| Error::io(&path, e.error))?;
        sync_folder(&folder)
    }
}

/// A temporary file under a name of its own, as several writers may be at work side by side; held while its process lives.
fn temporary(folder: &Path, prefix: &OsString) -> std::io::Result<NamedTempFile> {
    loop {
        let file = builder(prefix, TEMPORARY).tempfile_in(folder)?;
        // Whoever sweeps may have been quicker than this: then the file is gone. Where files cannot be held nobody sweeps them.
        if file.as_file().lock().is_err() || file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes what killed processes left of this file: temporary files that nobody holds.
fn sweep(folder: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if !(bytes.starts_with(prefix.as_encoded_bytes()) && bytes.ends_with(TEMPORARY.as_bytes())) {
            continue;
        }
        // Held until it is gone, so that who has just made it waits and sees it.
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // Another may have been quicker.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A temporary file in a folder, under a name of its own: for what is cached, which a power cut may take.
pub(crate) fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    builder(&OsString::from(".part-"), "").tempfile_in(folder)
}

/// Temporary files with the rights of any new file, not the owner's alone, which are a temporary file's by default.
fn builder<'a>(prefix: &'a OsString, suffix: &'a str) -> tempfile::Builder<'a, 'a> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(suffix);
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666)); // less the umask
    builder
}

/// Makes the rename itself durable; only Unix lets a folder be opened for it, and not every file system lets it be synchronised.
fn sync_folder(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|f| f.sync_all()) {
        Err(e)
            if !matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
        {
            Err(Error::io(folder, e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/run.json");
        atomic_write(&path, b"old").unwrap();
        fs::write(folder.path().join("deep/.run.json.a1b2.tmp"), b"left by a killed process").unwrap();
        atomic_write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        atomic_write(&path, b"old").unwrap();
        for written in 0..3 {
            let mut new = Replacement::of(&path).unwrap();
            (0..written).for_each(|_| new.write(&[b'x'; 10_000]).unwrap());
            drop(new);
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        // a place that a folder holds
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(matches!(atomic_write(folder.path().join("taken"), b"new"), Err(Error::Io { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(matches!(atomic_write(path.join("below a file"), b"new"), Err(Error::Io { .. })));
        assert!(atomic_write("/", b"").is_err());
    }

    #[test]
    fn writers_side_by_side_tear_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let contents: Vec<Vec<u8>> = (0..4u8).map(|i| vec![b'a' + i; 50_000 * (1 + usize::from(i))]).collect();
        std::thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| {
                    for _ in 0..20 {
                        atomic_write(&path, content).unwrap();
                        assert!(contents.contains(&fs::read(&path).unwrap()));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn readers_never_see_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let contents = [vec![b'a'; 100_000], vec![b'b'; 200_000]];
        atomic_write(&path, &contents[0]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..40).for_each(|i| atomic_write(&path, &contents[i % 2]).unwrap()));
            while !writer.is_finished() {
                let seen = fs::read(&path).unwrap();
                assert!(contents.contains(&seen), "{} bytes", seen.len());
            }
        });
    }
}
