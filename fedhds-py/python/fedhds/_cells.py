"""Values that come from tables and from users, as text and as JSON has it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

_LONGEST = 60


def missing(value: Any) -> bool:
    """Whether it stands for no value: None, NaN, and what pandas has for these."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)) and bool(value != value)


def is_unicode(text: str) -> bool:
    """Whether it can be encoded: a lone surrogate, half of a pair, cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """The value as a message shows it: short, and whatever its own ``repr`` does."""
    try:
        text = repr(value)
    except Exception:  # among them RecursionError, for what is nested too deeply
        text = f"an object of type {type(value).__name__}"
    text = text.encode(errors="backslashreplace").decode()
    return text[:_LONGEST] + "..." if len(text) > _LONGEST else text


def plain(value: Any) -> Any:
    """The value as JSON has it: texts, numbers, lists and objects stay, bytes become ``{"base64": ...}``, NaN is null, and other things (dates,
    decimal numbers) are their text.

    Raises:
        RecursionError: for what is nested too deeply, or in itself.
    """
    if isinstance(value, (str, bool, int)):
        return value
    if missing(value):
        return None
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def cell(value: Any) -> Any:
    """A cell of a table as the reader of records takes it: a number, a date or a truth value is its text, and no value is an empty text; what is
    nested stays so."""
    if missing(value):
        return ""
    nested = isinstance(value, (np.ndarray, bytes, bytearray, memoryview, Mapping, list, tuple, set, frozenset))
    return plain(value) if nested else str(value)
