"""Which methods a client runs that a server names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import _native
from ._native import ParameterError
from ._selection import Method, _method

_DEFAULTS: dict[str, Any] = json.loads(_native.allowed_methods("{}"))


class AllowedMethods:
    """The methods that a client runs where the server names one and the client pins none: presets by name, within limits.

    A server may change its own part of a method, and the budget. Of the client's part it may ask for no more work than these limits, and
    for nothing that shows more than the preset does: another kind of features, frame, reducer or clusterer, smaller groups, scores.

    Args:
        presets: names of :func:`fedhds.presets`; None for all.
        max_clusters: the most groups that k-means makes.
        max_init: the most starts of k-means.
        max_iter: the most iterations of t-SNE and of a start of k-means.
        max_components: the most columns that a reducer gives.
        max_shared_dims: the most coordinates of a centroid in the frame that clients share.

    Raises:
        ConfigError: for a preset that is none.
        ParameterError: for a limit that is no whole number of at least 0.

    Example:
        >>> import fedhds
        >>> allowed = fedhds.AllowedMethods(["fedhds_robust", "random"], max_clusters=32)
        >>> allowed.check(fedhds.Method("fedhds_robust", budget=20))
        >>> allowed.check("fedhds")
        Traceback (most recent call last):
        fedhds.ProtocolError: ...
    """

    def __init__(
        self,
        presets: Sequence[str] | None = None,
        *,
        max_clusters: int = _DEFAULTS["max_clusters"],
        max_init: int = _DEFAULTS["max_init"],
        max_iter: int = _DEFAULTS["max_iter"],
        max_components: int = _DEFAULTS["max_components"],
        max_shared_dims: int = _DEFAULTS["max_shared_dims"],
    ) -> None:
        limits: dict[str, Any] = {
            "max_clusters": max_clusters,
            "max_init": max_init,
            "max_iter": max_iter,
            "max_components": max_components,
            "max_shared_dims": max_shared_dims,
        }
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
                raise ParameterError(f"{name}: expected a whole number from 0 to 2**32 - 1, got {value!r}")
        if presets is not None:
            if isinstance(presets, str) or not all(isinstance(preset, str) for preset in presets):
                raise ParameterError(f"presets: expected names in a list, got {presets!r}")
            limits["presets"] = list(presets)
        self._json = _native.allowed_methods(json.dumps(limits))

    @property
    def settings(self) -> dict[str, Any]:
        """Every limit, as it stands."""
        settings: dict[str, Any] = json.loads(self._json)
        return settings

    def check(self, method: Method | str) -> None:
        """Whether a client runs this method.

        Raises:
            ProtocolError: that names the first setting which it does not agree to.
        """
        _native.check_allowed(self._json, _method(method)._json)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"AllowedMethods({given})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AllowedMethods) and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._json)
