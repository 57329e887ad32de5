"""Parquet files, which only Python has a reader for at hand: rows as they stand there, and some of them as Parquet again."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any

from . import _native
from ._native import DataError, FileError

MAGIC = b"PAR1"


def is_parquet(path: str, start: bytes) -> bool:
    """Whether a file is one, by how it begins, or else by its name."""
    return start.startswith(MAGIC) or path.lower().endswith(".parquet")


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError:
        return None


def rows(path: str, content: bytes | None = None) -> list[dict[str, Any]]:
    """The rows, each a mapping by the names of the columns, of Python's own kinds: numbers, lists and structs stay what they are.

    Args:
        path: the file, which messages name.
        content: what is in it, where that is in memory.

    Raises:
        DataError: for what is no table, for a name that two columns have, and where nothing that reads Parquet is installed.
        FileError: for a file that cannot be read.
    """
    try:
        if content is None:
            with open(path, "rb") as file:
                start = file.read(64)
        else:
            start = content[:64]
        if not start.startswith(MAGIC):
            got = _native.foreign(start) or ("an empty file" if not start else "another kind of file")
            raise DataError(f"{path}: expected a table in Parquet, got {got}")
        if _pyarrow() is None:
            return _rows_by_pandas(path, content)
        table = _table(path, content)
        _once(path, table.schema.names)
        found: list[dict[str, Any]] = table.to_pylist()
        return found
    except FileError:
        raise
    except OSError as error:
        if error.errno is None:  # how pyarrow says that a file is cut off
            raise DataError(f"{path}: expected a table in Parquet: {error}") from error
        raise FileError(f"{path}: {error.strerror}") from error
    except (ValueError, ImportError, NotImplementedError, TypeError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected a table in Parquet: {error}") from error


def _table(path: str, content: bytes | None) -> Any:
    source = path if content is None else io.BytesIO(content)
    return importlib.import_module("pyarrow.parquet").ParquetFile(source).read()


def _rows_by_pandas(path: str, content: bytes | None) -> list[dict[str, Any]]:
    """The same where pandas has another reader."""
    try:
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise DataError(f"{path}: a .parquet file is read by pyarrow, which is not installed") from error
    frame = pandas.read_parquet(path if content is None else io.BytesIO(content))
    _once(path, list(frame.columns))
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _once(path: str, names: Sequence[str]) -> None:
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise DataError(f"{path}: field `{twice}`: expected each column name once, got it twice")


def some_rows(files: Sequence[tuple[str, bytes | None, Sequence[int]]]) -> bytes:
    """A Parquet file of some rows of others, with their own kinds of columns.

    Args:
        files: of each its path, what is in it where that is in memory, and the numbers of rows.

    Raises:
        DataError: where the files' columns differ, and where pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    name = files[0][0]
    if pyarrow is None:
        raise DataError(f"{name}: Parquet is written by pyarrow, which is not installed")
    try:
        whole = pyarrow.concat_tables([_table(path, content).take(list(rows)) for path, content, rows in files])
        out = io.BytesIO()
        importlib.import_module("pyarrow.parquet").write_table(whole, out)
        return out.getvalue()
    except (ValueError, NotImplementedError, TypeError) as error:
        raise DataError(f"{name}: expected rows that can be written as Parquet: {error}") from error
