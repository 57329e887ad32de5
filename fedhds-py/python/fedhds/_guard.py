"""What is wrong with an argument, said by its name.

Most arguments are checked where they are used. What no check foresaw ends in an error of Python's from the depths (``'NoneType' object is
not iterable``, a text that is no Unicode): :func:`guarded` makes it an error of ours that names the argument.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from ._cells import is_unicode, shown
from ._native import Error, InputError

Thing = TypeVar("Thing", bound=Callable[..., Any])

_BARE = (TypeError, AttributeError, UnicodeError, OverflowError, ValueError, LookupError, RecursionError)
# What is ours to answer for: our own lines, and those of the libraries that we call. A user's function that we call is not.
_OURS = tuple(
    os.path.join(os.path.dirname(file), "")
    for file in (__file__, np.__file__, os.path.join(sysconfig.get_paths()["stdlib"], "os.py"))
)
_DEPTH, _ITEMS = 3, 10_000  # how far texts are searched for


class WrongKindError(InputError, TypeError):
    """An argument of a kind that nothing can be made of: also a ``TypeError``."""


def guarded(thing: Thing) -> Thing:
    """A function or class, of which no call ends in a bare error because of its arguments."""
    if not isinstance(thing, type):
        return _wrapped(thing)  # type: ignore[return-value]
    for name, member in list(vars(thing).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(member, (classmethod, staticmethod)):
            setattr(thing, name, type(member)(_wrapped(member.__func__)))
        elif inspect.isfunction(member):
            setattr(thing, name, _wrapped(member))
    return thing


def _wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Error:
            raise
        except _BARE as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is None or not _is_ours(trace.tb_next):
                raise  # arguments that are missing or too many, which Python names; a user's own function
            raise WrongKindError(_told(call, args, kwargs, error)) from error

    return checked


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether an error came up in our own lines, or in those of the libraries that they call."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        # Code that a library makes has no file: `<frozen os>`, `<__array_function__ internals>`.
        if not file.startswith("<") and (not file.startswith(_OURS) or "site-packages" in _beyond(file)):
            return False
        trace = trace.tb_next
    return True


def _beyond(file: str) -> str:
    """What follows the standard library's folder: other people's packages lie below it."""
    stdlib = _OURS[-1]
    return file[len(stdlib) :] if file.startswith(stdlib) and not file.startswith(_OURS[:-1]) else ""


def _told(call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception) -> str:
    """The message: which argument, what it is, what is wrong with it."""
    try:
        given = dict(inspect.signature(call).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        given = dict(kwargs)
    given.pop("self", None)
    given.pop("cls", None)
    if isinstance(error, UnicodeEncodeError):
        for name, value in given.items():
            for place, text in _texts(value, ""):
                if any("\ud800" <= letter <= "\udfff" for letter in text):
                    return f"{name}{place}: expected text that is Unicode, got {ascii(text)[:60]} with a lone surrogate"
    named = re.match(r"argument '(\w+)'", str(error))
    guilty = [named[1]] if named and named[1] in given else _guilty(given, str(error))
    shown = ", ".join(f"{_kind(given[name])} as `{name}`" for name in guilty) or "nothing"
    name = call.__qualname__.removesuffix(".__init__")
    return f"{', '.join(guilty) or name}: expected what `{name}` takes, got {shown}: {error}"


def _guilty(given: Mapping[str, Any], message: str) -> list[str]:
    """The arguments that an error of Python's speaks of: those of the kind that it names, or that hold one of it."""
    found = re.search(r"'([\w.]+)'(?= object| is not|>? and )|(?:not|got) '?([\w.]+)'?$|^(?:\w+ )*?'?(\w+)'? object", message)
    kind = next((text for text in found.groups() if text), "") if found else ""
    kind = {"None": "NoneType"}.get(kind, kind.rpartition(".")[2])
    for depth in range(_DEPTH):
        guilty = [name for name, value in given.items() if kind in _kinds(value, depth)]
        if guilty:
            return guilty
    return list(given)


def _kind(value: Any) -> str:
    return type(value).__name__


def _kinds(value: Any, depth: int) -> Iterator[str]:
    """The kinds of an argument and, so deep, of what it holds."""
    yield _kind(value)
    if not depth or isinstance(value, (str, bytes)):
        return
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set)):
        for item in list(value)[:_ITEMS]:
            yield from _kinds(item, depth - 1)


def text(name: str, value: Any) -> str:
    """A text.

    Raises:
        InputError: for what is none, and for a lone surrogate.
    """
    if not isinstance(value, str):
        raise InputError(f"{name}: expected text, got {_kind(value)}")
    if not is_unicode(value):
        raise InputError(f"{name}: expected Unicode, got a lone surrogate in {shown(value)}")
    return value


def texts(name: str, value: Any) -> list[str]:
    """A list of texts.

    Raises:
        InputError: for one text, and for what is no text.
    """
    if isinstance(value, str):
        raise InputError(f"{name}: expected a list of texts, got one text")
    try:
        listed = list(value)
    except TypeError:
        raise InputError(f"{name}: expected a list of texts, got {_kind(value)}") from None
    return [text(f"{name}: row {row}", item) for row, item in enumerate(listed)]


def _texts(value: Any, place: str, depth: int = _DEPTH) -> Iterator[tuple[str, str]]:
    """The texts within an argument, each with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping) and depth:
        for key, item in list(value.items())[:_ITEMS]:
            yield from _texts(key, place, depth - 1)
            yield from _texts(item, f"{place}[{ascii(key)[:60]}]", depth - 1)
    elif isinstance(value, (list, tuple, set)) and depth:
        for number, item in enumerate(list(value)[:_ITEMS]):
            yield from _texts(item, f"{place}[{number}]", depth - 1)
