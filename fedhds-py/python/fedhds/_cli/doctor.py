"""``fedhds doctor``: what is installed, and whether it works."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import HDBSCAN, TSNE, Adapter, Client, LayerFeatures, LoraTrainer, Method, Model, Server, __version__, _native
from .. import embedded_records
from .console import add_common, table

#: Packages that are not needed, and what each is for.
OPTIONAL = {
    "flwr": "fedhds.flower: strategy and client helpers for Flower",
    "fedml": "fedhds.fedml: trainer and aggregator for FedML",
    "torch": "fedhds.features.from_transformers, training by PEFT",
    "transformers": "fedhds.features.from_transformers",
    "peft": "loads the adapters that are trained here, and the other way round",
    "tqdm": "progress bars",
    "pandas": "frames as records; `fedhds select` on CSV and Parquet",
    "scikit-learn": "pipelines around the reducers and clusterers",
    "matplotlib": "the plots of the notebook",
}

DESCRIPTION = "Say what is installed and what this machine offers, and try the parts that everything rests on."


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("doctor", help="check the installation", description=DESCRIPTION)
    parser.set_defaults(run=run, parser=parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints versions, devices and packages, and runs the self test; 1 where a part of it fails."""
    facts = _facts()
    results = [(name, _attempt(check)) for name, check in CHECKS]
    failed = sum(1 for _, error in results if error is not None)
    if arguments.json:
        tests = [{"name": name, "passed": error is None, "error": error} for name, error in results]
        print(json.dumps(facts | {"self_test": tests}, ensure_ascii=False, indent=1))
        return 1 if failed else 0
    packages = [(name, version or "-", purpose) for name, (version, purpose) in facts.pop("packages").items()]
    print("\n".join(f"{name.replace('_', ' '):<18} {value}" for name, value in facts.items()))
    print(f"\n{table(('optional', 'version', 'for'), packages, ('optional', 'version', 'for'))}")
    print("\nself test")
    for name, error in results:
        print(f"  {'pass' if error is None else 'FAIL'}  {name}{'' if error is None else f': {error}'}")
    if failed:
        print(f"\n{failed} of {len(results)} checks failed")
    return 1 if failed else 0


def _facts() -> dict[str, Any]:
    info = _native.info()
    devices = ", ".join(info["devices"]) + ("" if "cuda" in info["devices"] else " (cuda is not compiled in)")
    threads = os.environ.get("RAYON_NUM_THREADS")
    return {
        "fedhds": f"{__version__} (wire protocol {info['protocol']})",
        "native_module": f"{_native.__file__} ({info['platform']})",
        "python": f"{platform.python_version()} at {sys.executable}",
        "numpy": np.__version__,
        "system": platform.platform(),
        "vector_extensions": ", ".join(info["vector_extensions"]) or "none that this build knows",
        "threads": f"{info['threads']}" + (f", limited to {threads} by RAYON_NUM_THREADS" if threads else ""),
        "devices": devices,
        "packages": {name: (_version(name), purpose) for name, purpose in OPTIONAL.items()},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _attempt(check: Callable[[], None]) -> str | None:
    """What went wrong, or None."""
    try:
        check()
    except Exception as error:  # whatever it is, the other checks run
        return f"{type(error).__name__}: {error}"
    return None


def _expect(condition: bool, expected: str) -> None:
    if not condition:
        raise RuntimeError(f"expected {expected}")


def _selection() -> None:
    train, _ = embedded_records(records_per_task=1, test_records_per_task=1)
    features = LayerFeatures(Model.embedded(), prompt="short").extract(train[:40])
    _expect(features.shape == (40, 512) and bool(np.isfinite(features).all()), "finite features of shape (40, 512)")
    method = Method("fedhds_coverage", 5)
    server, clients = Server(method, layers=4), [Client(i, method, layers=4) for i in range(2)]
    start = server.begin_round(0, [0, 1])
    for i, client in enumerate(clients):
        server.receive(client.id, client.summarize(start, features[20 * i : 20 * (i + 1)]))
    orders = server.select()
    chosen = [len(client.choose(orders[client.id])) for client in clients]
    _expect(sum(chosen) == 5, f"5 records, as ordered; got {chosen}")


def _determinism() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(30, 8)) + 10 * c for c in range(3)])
    planes = [TSNE(max_iter=300, perplexity=10, random_state=1).fit_transform(x) for _ in range(2)]
    _expect(np.array_equal(planes[0], planes[1]), "the same t-SNE twice, to the last bit")
    labels = HDBSCAN(5).fit_predict(planes[0])
    truth = np.repeat(np.arange(3), 30)
    pairs = set(zip(labels.tolist(), truth.tolist()))
    _expect(labels.max() == 2 and len({p for p in pairs if p[0] >= 0}) == 3, "HDBSCAN to find the three groups")


def _training() -> None:
    train, _ = embedded_records(records_per_task=1, test_records_per_task=1)
    trainer = LoraTrainer(Model.embedded(), prompt="short", learning_rate=1e-2, local_epochs=4, lora_dropout=0.0)
    start = trainer.init(seed=1)
    trained = trainer.train(start, train[:1], seed=1)
    _expect(trained.losses[-1] < trained.losses[0], f"the loss to fall; got {trained.losses}")
    _expect(
        Adapter.from_bytes(trained.adapter.to_bytes(), trained.adapter.config) == trained.adapter,
        "an adapter to survive as bytes",
    )


CHECKS: list[tuple[str, Callable[[], None]]] = [
    ("features of the embedded model, and a selection over two clients", _selection),
    ("t-SNE and HDBSCAN give the same bits twice, and the right groups", _determinism),
    ("LoRA training lowers the loss, and its adapter survives as bytes", _training),
]
