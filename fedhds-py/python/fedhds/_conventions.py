"""scikit-learn's conventions without scikit-learn: parameters, tags, names of columns, kinds of output.

An estimator takes its parameters in ``__init__`` as they come and checks them in ``fit``; what it found stands in
attributes with a final underscore. scikit-learn is used only where it must be there: it asks for tags, or is loaded.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import finite, given
from ._frame import Frame, frame_of
from ._guard import guarded
from ._native import InputError, ParameterError

Check = Callable[[str, Any], Any]


def whole(least: int = 0) -> Check:
    """A whole number of at least ``least``, as the core can hold it."""

    def check(name: str, value: Any) -> int:
        fits = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and least <= int(value) < 2**63
        if not fits:
            raise ParameterError(f"{name}: expected a whole number of at least {least}, got {value!r}")
        return int(value)

    return check


def real(name: str, value: Any) -> float:
    """A finite number."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        if number and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ParameterError(f"{name}: expected a finite number, got {value!r}")


def text(name: str, value: Any) -> str:
    """Text; the core knows which."""
    if not isinstance(value, str):
        raise ParameterError(f"{name}: expected text, got {value!r}")
    return str(value)


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ParameterError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def optional(check: Check) -> Check:
    """None, for the core's default, or what ``check`` takes."""
    return lambda name, value: None if value is None else check(name, value)


class NotFittedError(InputError, AttributeError):
    """A result was asked for before ``fit``."""


def _not_fitted(message: str) -> InputError:
    """The error, which is also scikit-learn's own where that is loaded: its users catch it by that name."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    if theirs is None:
        return NotFittedError(message)
    body = {"__module__": __name__, "__reduce__": lambda error: (_not_fitted, error.args)}
    both: type[InputError] = type("NotFittedError", (NotFittedError, theirs), body)
    return both(message)


@guarded
class Estimator:
    """Parameters as scikit-learn's estimators keep them, and what they check of their input."""

    n_features_in_: int
    """Columns of what it was fitted on."""
    feature_names_in_: NDArray[np.object_]
    """Their names, where they were all text; absent for arrays."""

    _kind: str
    _frame: Frame | None = None
    """Where ``fit`` placed its rows for the core, which works in float32; None where they are as they came."""
    _near = False
    """Whether the result goes by the distances of neighbours."""

    def _moves(self) -> bool:
        """Whether the result does not depend on where the rows lie."""
        return True

    @classmethod
    def _names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Any:
        """Sets parameters by name; they are checked by ``fit``.

        Raises:
            ParameterError: for a name that is none.
        """
        for name, value in params.items():
            if name not in self._names():
                known = ", ".join(self._names())
                raise ParameterError(f"{name}: expected one of {known}, got `{name}`")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [f"{n}={v!r}" for n, v in self.get_params().items() if repr(v) != repr(defaults[n].default)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_tags__(self) -> Any:
        utils = importlib.import_module("sklearn.utils")
        tags = utils.Tags(estimator_type=self._kind, target_tags=utils.TargetTags(required=False))
        if self._kind == "transformer":
            tags.transformer_tags = utils.TransformerTags(preserves_dtype=["float32"])
        return tags

    def _settings(self, checks: Mapping[str, Check], **fixed: Any) -> str:
        """JSON of these parameters; those that are None keep the core's default."""
        values = {name: check(name, getattr(self, name)) for name, check in checks.items()} | fixed
        return json.dumps({name: value for name, value in values.items() if value is not None})

    def _fit_features(self, X: Any) -> NDArray[np.float32]:
        """``X`` for ``fit``, at least [1, 1]: float32, where that cannot hold what ``X`` tells by :attr:`_frame`."""
        array = given(X, "X", rows=1, columns=1)
        double = array.dtype == np.float64
        self._frame = frame_of(array, "X", moves=self._moves(), near=self._near) if double else None
        return self._placed(array)

    def _placed(self, array: NDArray[Any]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", under="ignore"):  # what becomes infinite is named by row and column
            return array.astype(np.float32, copy=False) if self._frame is None else self._frame.place(array.astype(np.float64))

    def _remember(self, X: Any, features: NDArray[np.float32]) -> None:
        """What later input is held against; called when the fit has succeeded."""
        self.n_features_in_ = features.shape[1]
        names = _column_names(X)
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _more_features(self, X: Any) -> NDArray[np.float32]:
        """``X`` after ``fit``, with the same columns."""
        name = type(self).__name__
        self._need_fit()
        array = given(X, "X", rows=1)
        names, known = _column_names(X), getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and list(names) != list(known):
            raise InputError(_unlike_names(list(known), list(names)))
        if array.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {array.shape[1]} features, but {name} is expecting {self.n_features_in_} features as input"
            )
        features = self._placed(array)
        finite(features, "X")
        return features

    def _need_fit(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise _not_fitted(f"{type(self).__name__}: expected `fit` to be called first, got one that is not fitted")


@guarded
class Transformer(Estimator):
    """An estimator whose result is a matrix: its columns have names, and it can be a data frame."""

    _kind = "transformer"
    _sklearn_output_config: dict[str, str]  # the name that scikit-learn's clone copies

    def set_output(self, *, transform: str | None = None) -> Any:
        """Sets what ``transform`` and ``fit_transform`` give: an array, or a frame.

        Args:
            transform: ``"default"``, ``"pandas"`` or ``"polars"``; None leaves it as it is. Where nothing is set,
                scikit-learn's ``set_config(transform_output=...)`` counts.
        """
        if transform is not None:
            if transform not in ("default", "pandas", "polars"):
                raise ParameterError(
                    f"transform: expected 'default', 'pandas', 'polars' or None, got {transform!r}"
                )
            self._sklearn_output_config = {"transform": transform}
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns that come out: the class's name and a number.

        Args:
            input_features: None, or the names that ``fit`` saw.
        """
        self._need_fit()
        if input_features is not None:
            given, known = list(input_features), getattr(self, "feature_names_in_", None)
            if known is not None and given != list(known):
                told = f"expected {list(known)}, got {given}"
                raise InputError(f"input_features is not equal to feature_names_in_: {told}")
            if len(given) != self.n_features_in_:
                told = f"({self.n_features_in_}), got {len(given)}"
                raise InputError(f"input_features should have length equal to number of features {told}")
        name = type(self).__name__.lower()
        return np.array([f"{name}{i}" for i in range(self._columns())], dtype=object)

    def _columns(self) -> int:
        """Columns that come out."""
        raise NotImplementedError

    def _wrapped(self, X: Any, result: NDArray[Any]) -> Any:
        """``result`` as the kind of output that is set."""
        kind = getattr(self, "_sklearn_output_config", {}).get("transform")
        config = getattr(sys.modules.get("sklearn"), "get_config", None)
        if kind is None and config is not None:
            kind = config().get("transform_output")
        if kind not in ("pandas", "polars"):
            return result
        frames = importlib.import_module(kind)
        columns = self.get_feature_names_out().tolist()
        if kind == "polars":
            return frames.DataFrame(result, schema=columns, orient="row")
        return frames.DataFrame(result, index=X.index if isinstance(X, frames.DataFrame) else None, columns=columns)


def _column_names(X: Any) -> NDArray[np.object_] | None:
    """The names of a frame's columns where all are text."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return np.array(names, dtype=object) if names and all(isinstance(name, str) for name in names) else None


def _unlike_names(known: list[str], given: list[str]) -> str:
    """What differs, in scikit-learn's words."""
    message = "The feature names should match those that were passed during fit.\n"
    for title, names in (
        ("Feature names unseen at fit time:\n", sorted(set(given) - set(known))),
        ("Feature names seen at fit time, yet now missing:\n", sorted(set(known) - set(given))),
    ):
        if names:
            message += title + "".join(f"- {name}\n" for name in names[:5]) + ("- ...\n" if len(names) > 5 else "")
    if set(known) == set(given):
        message += "Feature names must be in the same order as they were in fit.\n"
    return message
