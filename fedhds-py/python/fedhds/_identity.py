"""What tells a user's object apart from others: its fingerprint, or its class and what it was made with."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

_DEEP = 4
"""How far objects in objects are looked at."""
_LONGEST = 200


def name_of(stage: Any) -> str:
    """What tells a user's object apart, as one text."""
    told = identity_of(stage)
    first = told.pop("")
    return " ".join([first, *(f"{name}={value}" for name, value in told.items())])


def named(prefix: str, stage: Any) -> dict[str, str]:
    """:func:`identity_of` under a name: ``trainer``, ``trainer.learning_rate``."""
    return {f"{prefix}.{name}" if name else prefix: value for name, value in identity_of(stage).items()}


def identity_of(stage: Any) -> dict[str, str]:
    """What tells a user's object apart, by name; the class under "".

    An object that says what it is by a ``fingerprint`` is taken at its word. Of others it is what they were made with: attributes with the
    names of their ``__init__``'s arguments (with or without a leading underscore), fields of data classes, and whatever else is text, a real
    number, True or False in them. Whole numbers beside those may be counters, which change as the object works, so they do not count.
    """
    fingerprint = getattr(stage, "fingerprint", None)
    if fingerprint is not None and not callable(fingerprint):
        return {"": str(fingerprint)}
    if isinstance(stage, functools.partial):
        parts = {"": name_of(stage.func), "arguments": _told(list(stage.args), _DEEP)}
        return parts | {name: _told(value, _DEEP) for name, value in stage.keywords.items()}
    kind = stage if isinstance(stage, type) or hasattr(stage, "__qualname__") else type(stage)
    found = {"": f"{kind.__module__}.{kind.__qualname__}"}
    settings = getattr(stage, "settings", None)
    if isinstance(settings, Mapping):
        found |= {str(name): _told(value, _DEEP) for name, value in settings.items()}
    elif settings is not None and not callable(settings):
        found["settings"] = _told(settings, _DEEP)
    model = getattr(getattr(stage, "model", None), "fingerprint", None)
    if model is not None:
        found["model"] = str(model)
    if not kind.__module__.startswith("fedhds."):
        found |= {name: told for name, told in _own(stage, _DEEP).items() if name not in found}
    return found


def _own(stage: Any, deep: int) -> dict[str, str]:
    """What an object of the user's was made with."""
    if inspect.ismethod(stage):
        return _own(stage.__self__, deep)
    if inspect.isfunction(stage):
        return _of_function(stage, deep)
    known = {} if isinstance(stage, type) else dict(getattr(stage, "__dict__", {}))
    made = _arguments(stage if isinstance(stage, type) else type(stage))
    found = {}
    for name in made:
        for spelt in (name, f"_{name}"):
            if spelt in known:
                found[name] = _told(known.pop(spelt), deep)
                break
    if deep < _DEEP:
        return found  # of objects in objects no more: what they note as they work is theirs
    for name, value in known.items():
        if name != "training" and isinstance(value, (bool, float, str, np.bool_, np.floating)):
            found[name] = _told(value, deep)
    for owner in (stage if isinstance(stage, type) else type(stage)).__mro__:
        for name, value in vars(owner).items():
            if not name.startswith("_") and name not in known and isinstance(value, (bool, float, str)):
                found.setdefault(name, _told(value, deep))
    return found


def _arguments(kind: type) -> list[str]:
    made: Any = getattr(kind, "__init__")
    if made is getattr(object, "__init__"):
        return []
    try:
        return [name for name in inspect.signature(made).parameters if name != "self"]
    except (TypeError, ValueError):
        return []


def _of_function(function: Any, deep: int) -> dict[str, str]:
    """What a function has around it: defaults, and names of the function that it was made in."""
    found: dict[str, str] = {}
    try:
        parameters = inspect.signature(function).parameters.values()
        found |= {one.name: _told(one.default, deep) for one in parameters if one.default is not one.empty}
    except (TypeError, ValueError):
        pass
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        # Lists and dicts around a function are where it notes things.
        if not isinstance(value, (list, dict, set, bytearray)):
            found[name] = _told(value, deep)
    return found


def _told(value: Any, deep: int) -> str:
    """A value in words that are the same in every process; a digest where they would be long."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        text = repr(value)
    elif isinstance(value, (bytes, bytearray)):
        text = f"bytes {hashlib.sha256(value).hexdigest()}"
    elif isinstance(value, np.ndarray):
        text = f"array {value.dtype} {value.shape}"
        if value.dtype != object:
            text += f" {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    elif deep == 0:
        text = type(value).__qualname__
    elif isinstance(value, Mapping):
        text = f"{{{', '.join(f'{_told(name, deep - 1)}: {_told(one, deep - 1)}' for name, one in value.items())}}}"
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(_told(one, deep - 1) for one in value)}]"
    elif isinstance(value, (set, frozenset)):
        text = f"{{{', '.join(sorted(_told(one, deep - 1) for one in value))}}}"
    else:
        fingerprint = getattr(value, "fingerprint", None)
        if isinstance(fingerprint, str):
            text = fingerprint
        else:
            kind = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
            own = {} if isinstance(value, type) else _own(value, deep - 1)
            text = f"{kind.__module__}.{kind.__qualname__} {own}" if own else f"{kind.__module__}.{kind.__qualname__}"
    return text if len(text) <= _LONGEST else f"{text[:40]}... sha256 {hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
