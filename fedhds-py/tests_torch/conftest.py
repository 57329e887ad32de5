"""Folders of small models, made once a run."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="these tests compare with PyTorch: see README.md")
pytest.importorskip("transformers", reason="these tests compare with transformers: see README.md")
pytest.importorskip("peft", reason="these tests compare with PEFT: see README.md")

import tiny


@pytest.fixture(scope="session", params=tiny.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="session", params=["embedded", "llama", "gpt2"])
def causal_family(request):
    return request.param


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: tiny.folder_of(name, root / name) for name in tiny.FAMILIES}
