"""The run's configuration: what Flower hands over, or pyproject.toml where an app is run without Flower's command."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context

Settings = Mapping[str, Any]


def defaults() -> dict[str, Any]:
    """`[tool.flwr.app.config]` with dotted names."""
    file = Path(__file__).resolve().parent.parent / "pyproject.toml"
    with file.open("rb") as opened:
        config = tomllib.load(opened)["tool"]["flwr"]["app"]["config"]
    return _flat(config)


def settings_of(context: Context, given: Settings | None = None) -> Settings:
    """What a run was given, or else Flower's run configuration."""
    return given if given is not None else context.run_config


def backend_of(context: Context, settings: Settings) -> str:
    """What this client trains with: its node's word counts before the run's.

    Raises:
        ValueError: for another backend than these two.
    """
    backend = str(context.node_config.get("backend", settings["backend"]))
    if backend not in ("rust", "torch"):
        raise ValueError(f"backend: expected `rust` or `torch`, got {backend!r}")
    return backend


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
