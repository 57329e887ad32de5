//! What one process uses at a time: a folder, or a file that is written again and again.

use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Holds a folder for this process; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _held: Held,
}

impl FolderLock {
    /// Takes the folder (created where it is missing).
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when another process holds it, which is named; [`Error::Io`] when it cannot be created or written.
    pub fn acquire(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let held = Held::take(folder.join(".lock"), folder, "a folder")?;
        Ok(Self { _held: held })
    }
}

/// Holds a file that this process writes again and again, such as a checkpoint, by another one beside it, `.<name>.lock`. A process that ends, however
/// it ends, holds nothing; one that lets go takes the file beside it away.
#[derive(Debug)]
pub struct FileLock {
    beside: PathBuf,
    _held: Held,
}

impl FileLock {
    /// Takes the file, which need not be there; its folder is made.
    ///
    /// # Errors
    /// As [`FolderLock::acquire`]; [`Error::Input`] for a path that is no file's.
    pub fn acquire(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let Some(name) = path.file_name() else {
            return Err(Error::input("path", "the path of a file", path.display()));
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(".lock");
        let beside = path.with_file_name(beside);
        loop {
            let held = Held::take(beside.clone(), path, "a file")?;
            if held.is_at(&beside) {
                return Ok(Self { beside, _held: held });
            }
            // Whoever held it took it away in between: the next one is ours.
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Elsewhere another may have opened it, and would hold a file that nobody finds.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// An open file that the system keeps for us.
#[derive(Debug)]
struct Held(File);

impl Held {
    /// `of` is what it stands for, `what` is what that is.
    fn take(path: PathBuf, of: &Path, what: &str) -> Result<Self> {
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => {
                // Who holds it is told to people alone: a disk that is full takes nothing but that.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.rewind().and_then(|()| (&file).take(20).read_to_string(&mut holder));
                let holder = match holder.trim().parse::<u32>() {
                    Ok(number) if number == std::process::id() => "another run of this process is".to_owned(),
                    Ok(number) => format!("process {number} is"),
                    Err(_) => "another process is".to_owned(),
                };
                Err(Error::Checkpoint {
                    path: of.to_path_buf(),
                    message: format!(
                        "expected {what} that no other run uses, but {holder} at work in it; wait for its end, or use another"
                    ),
                })
            }
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {
                tracing::warn!(path = %of.display(), "this file system holds no files: nothing keeps another run out");
                Ok(Self(file))
            }
            Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
        }
    }

    /// Whether the file at this path is the one that is held.
    fn is_at(&self, path: &Path) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
            self.0.metadata().is_ok_and(|own| fs::metadata(path).is_ok_and(|there| same(own, there)))
        }
        #[cfg(not(unix))]
        {
            let _ = (&self.0, path);
            true
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn told(error: Error) -> String {
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        error.to_string()
    }

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::acquire(folder.path()).unwrap();
        assert!(told(FolderLock::acquire(folder.path()).unwrap_err()).contains("another run of this process"));
        drop(held);
        FolderLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_file_is_held_once_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/checkpoint.bin");
        let held = FileLock::acquire(&path).unwrap();
        assert!(told(FileLock::acquire(&path).unwrap_err()).contains("checkpoint.bin"));
        let other = FileLock::acquire(folder.path().join("deep/other.bin")).unwrap();
        drop((held, other));
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), usize::from(cfg!(windows)) * 2);
        // What a killed process left holds nobody up.
        fs::write(folder.path().join("deep/.checkpoint.bin.lock"), b"4194304\n").unwrap();
        FileLock::acquire(&path).unwrap();
        assert!(FileLock::acquire("/").is_err());
    }

    #[test]
    fn the_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::acquire(folder.path()).unwrap();
        fs::write(folder.path().join(".lock"), b"4194304\n").unwrap();
        assert!(told(FolderLock::acquire(folder.path()).unwrap_err()).contains("process 4194304 is at work"));
        drop(held);
    }

    #[test]
    fn of_many_at_once_one_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, inside) = (folder.path().join("file"), std::sync::atomic::AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(held) = FileLock::acquire(&path) else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
    }
}
