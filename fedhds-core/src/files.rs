//! Files that are either whole or not there, and a folder that one process uses at a time.

use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` so that a reader, also after a kill or a power cut, finds the old content or the new, never
/// a part: a temporary file beside it is written and synchronised, then renamed over it, then the folder is synchronised.
///
/// # Errors
/// [`Error::Io`] with the path of what could not be written; the old content is then still there.
pub fn atomic_write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let Some(name) = path.file_name() else {
        return Err(Error::input("path", "the path of a file", path.display()));
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    // One fixed name: what a killed process left is overwritten, nothing piles up. FolderLock keeps a second writer out.
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    let temporary = folder.join(temporary);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::io(&temporary, e))?;
    fs::rename(&temporary, path).map_err(|e| Error::io(path, e))?;
    sync_folder(&folder)
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

/// A temporary file in a folder, under a name of its own: for writers that may be at work side by side. Once persisted it has the rights of any
/// new file, not the owner's alone, which are a temporary file's by default.
pub(crate) fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".part-");
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666)); // less the umask
    builder.tempfile_in(folder)
}

/// Makes the rename itself durable; only Unix lets a folder be opened for it.
fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io(folder, e))?;
    }
    Ok(())
}

/// Holds a folder for this process; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder (created where it is missing).
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when another process holds it, [`Error::Io`] when it cannot be created or written.
    pub fn acquire(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let path = folder.join(".lock");
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Checkpoint {
                path: folder.to_path_buf(),
                message: "expected a folder that no other run uses, but another process is at work in it".into(),
            }),
            Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
        }
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
        fs::write(folder.path().join("deep/.run.json.tmp"), b"left by a killed process").unwrap();
        atomic_write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        atomic_write(&path, b"old").unwrap();
        // the temporary name is taken by a folder: the write fails before anything is replaced
        fs::create_dir(folder.path().join(".run.json.tmp")).unwrap();
        assert!(matches!(atomic_write(&path, b"new"), Err(Error::Io { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(atomic_write("/", b"").is_err());
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

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::acquire(folder.path()).unwrap();
        assert!(matches!(FolderLock::acquire(folder.path()), Err(Error::Checkpoint { .. })));
        drop(held);
        FolderLock::acquire(folder.path()).unwrap();
    }
}
