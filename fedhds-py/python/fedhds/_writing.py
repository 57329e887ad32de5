"""Files that are either whole or as they were, and files that one process writes at a time."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import BinaryIO

from ._native import CheckpointError

logger = getLogger("fedhds")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` when the block ends well: synchronised, then renamed over it.

    After an error, a kill, a full disk or a power cut the old content is still there. A link keeps pointing where it does, a file keeps its
    rights, and what is no file (a terminal, a pipe) is written as it is.

    Raises:
        OSError: for what could not be written.
    """
    target = Path(os.path.realpath(path))
    rights = None
    try:
        found = target.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            with target.open("wb") as plain:
                yield plain
            return
        rights = stat.S_IMODE(found.st_mode)
    except FileNotFoundError:
        pass
    beside = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if rights is not None:
            try:
                os.chmod(beside, rights)
            except OSError:
                pass  # a file system without rights
        os.replace(beside, target)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # Named as the caller does, not as the file that is gone; NumPy says how many bytes found no room, not why.
            parts = (f"{os.fspath(path)}: {error}",) if error.errno is None else (error.errno, error.strerror, os.fspath(path))
            raise OSError(*parts) from error
        raise
    _synchronise(target.parent)


def _synchronise(folder: Path) -> None:
    """Makes the rename itself last, where a folder can be opened for it."""
    if sys.platform == "win32":
        return
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(opened)
    except OSError:
        pass  # not every file system does it
    finally:
        os.close(opened)


@contextmanager
def held(path: Path | None) -> Iterator[None]:
    """Keeps other runs from this file while the block lasts, by ``.<name>.lock`` beside it, as the core does it. None holds nothing.

    A process that ends, however it ends, holds nothing.

    Raises:
        CheckpointError: where another process holds it.
        OSError: for a folder that cannot be written.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.lock")
    while True:
        file = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            taken = _take(file)
            if not taken:
                raise CheckpointError(
                    f"checkpoint {path}: expected a file that no other run uses, but {_holder(file)} at work in it; "
                    "wait for its end, or use another"
                )
            if _same(file, beside):
                break
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # whoever held it took it away in between
    try:
        try:
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        except OSError:
            pass  # who holds it is told to people alone
        yield
    finally:
        if sys.platform != "win32":
            try:
                os.unlink(beside)
            except OSError:
                pass
        os.close(file)


def _take(file: int) -> bool:
    """Takes a file for this process, unless another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 1 << 30, os.SEEK_SET)  # beyond its content, which others may read
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            logger.warning("this file system holds no files: nothing keeps another run out")
            return True
        raise


def _same(file: int, path: Path) -> bool:
    try:
        return sys.platform == "win32" or os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(file: int) -> str:
    try:
        os.lseek(file, 0, os.SEEK_SET)
        number = int(os.read(file, 20))
    except (OSError, ValueError):
        return "another process is"
    return "another run of this process is" if number == os.getpid() else f"process {number} is"
