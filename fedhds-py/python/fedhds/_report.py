"""The report that people read: one page of any runs, and its tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import _native
from ._guard import guarded


@dataclass(frozen=True)
class Report:
    """A report that was made."""

    page: str
    """The page, which needs no other file and no network. Its tables lie beside it, as CSV and as Markdown."""
    runs: int
    """Runs that it is of, those of untuned models among them."""
    left_out: list[str]
    """Files that it could not be made of, and why; the page names them too."""


@guarded
def report(
    runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, out: str | os.PathLike[str] | None = None
) -> Report:
    """Makes the report of runs. Equal run records give equal bytes.

    Args:
        runs: folders of experiments or of single runs, or their ``run.json``; one or several.
        out: the folder of the page and its tables; left out, ``report`` in the first folder of ``runs``.

    Raises:
        InputError: where there is no run that can be read, with the first file that was left out.
        FileError: for a folder that is not there, or that cannot be written.
    """
    folders = [os.fspath(run) for run in ([runs] if isinstance(runs, (str, os.PathLike)) else runs)]
    if out is None:
        first = Path(folders[0]) if folders else Path()
        out = (first if first.is_dir() else first.parent) / "report"
    page, count, left_out = _native.report(folders, os.fspath(out))
    return Report(os.fspath(page), count, left_out)
