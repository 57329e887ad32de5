"""A small federation for the tests of `fedhds.flower`: NumPy arrays for an adapter, a step towards rows for training.

The client app is also what the real processes of `flower_processes` run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from fedhds.flower import Query, Task, answer, record_of

RECORDS, COLUMNS = 40, 8


def features_of(client: int) -> NDArray[np.float32]:
    """The records of a client: four topics, of which each client has its own share."""
    rng = np.random.default_rng(100 + client)
    topics = np.random.default_rng(5).normal(size=(4, COLUMNS)) * 6
    shares = rng.dirichlet(np.ones(4))
    points = topics[rng.choice(4, size=RECORDS, p=shares)] + rng.normal(size=(RECORDS, COLUMNS))
    return points.astype(np.float32)


def initial() -> ArrayRecord:
    """The adapter before the first round."""
    return record_of({"b": np.zeros((2, 3), dtype=np.float32), "a": np.full((1, COLUMNS), 0.5, dtype=np.float32)})


def fit(arrays: dict[str, NDArray[Any]], rows: NDArray[np.float32], seed: int) -> tuple[dict[str, NDArray[Any]], float]:
    """The arrays after training on these rows, and the loss: both depend on all that they should depend on."""
    step = np.random.default_rng(seed).normal(scale=0.01, size=(2, 3))
    target = rows.mean(axis=0, keepdims=True)
    loss = float(np.square(arrays["a"] - target).mean())
    return {"a": arrays["a"] * 0.8 + 0.2 * target, "b": arrays["b"] + step}, loss


def client_app(
    features: Callable[[int], NDArray[np.float32]] = features_of, mods: Sequence[Any] = (), **settings: Any
) -> ClientApp:
    """The client app; `settings` are those of `answer` and `Task`."""
    app = ClientApp()

    def common(context: Context) -> dict[str, Any]:
        folder = settings.get("state_dir") or context.run_config.get("state-dir") or None
        return {name: settings[name] for name in ("method", "layers") if name in settings} | {"state_dir": folder}

    @app.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        def current(query: Query) -> NDArray[np.float32]:
            found = features(query.client)
            # As features of the tuned model do, they follow the adapter.
            return found if query.arrays is None else found + query.arrays["a"].mean()

        return answer(message, context, current, records=RECORDS, **common(context))

    @app.train(mods=list(mods))
    def train(message: Message, context: Context) -> Message:
        task = Task(message, context, **common(context))
        signal(task, context)
        arrays, loss = fit(task.arrays, features(task.client)[task.rows], task.seed)
        return task.reply(arrays, train_loss=loss)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        client = int(context.node_config.get("partition-id", 0))
        (record,) = message.content.array_records.values()
        loss = float(np.square(record["a"].numpy() - features(client).mean(axis=0)).mean())
        metrics = MetricRecord({"eval_loss": loss, "num-examples": RECORDS, "num-clients": 1})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def signal(task: Task, context: Context) -> None:
    """For the test that kills a client in mid-round: says that training runs, and waits where it is told to."""
    folder = context.run_config.get("signals")
    if not folder:
        return
    Path(str(folder), f"training-{task.client}-{task.round}").write_text(str(os.getpid()), encoding="utf-8")
    if (task.client, task.round) == (context.run_config.get("hang-client"), context.run_config.get("hang-round")):
        time.sleep(600)
