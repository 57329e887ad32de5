"""FedHDS in Flower: a strategy for the server app, and both phases of a round for the client app.

The server app:

    from fedhds import Method
    from fedhds.flower import FedHDS, record_of

    strategy = FedHDS(Method("fedhds_coverage", budget=20), seed=7)
    strategy.start(grid, record_of(arrays), num_rounds=10)

The client app, where training is your own (PyTorch and PEFT, say):

    @app.query("hds_extract")
    def extract(message, context):
        return answer(message, context, features)        # [records, d], or a function that makes them

    @app.train()
    def train(message, context):
        task = Task(message, context)
        arrays, loss = fit(records, task.rows, task.arrays, task.seed)
        return task.reply(arrays, train_loss=loss)

Where training runs in Rust, :class:`RustClient` does both phases. Records, texts, features and row numbers never leave
a client; what does is in docs/flower.md. Needs flwr 1.41 or later (``pip install fedhds[flower]``).
"""

try:
    import flwr.serverapp.strategy  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fedhds.flower: expected Flower with its message API, flwr 1.41 or later, got: {error}"
    ) from error

from ._client import Query, Task, answer, client_number
from ._mean import WeightedMean
from ._memory import unpin
from ._peft import peft_arrays, set_peft_arrays
from ._report import RoundReport
from ._rust import LocalData, RustClient
from ._strategy import FedHDS
from ._tensors import arrays_of, record_of

__all__ = [
    "FedHDS",
    "LocalData",
    "Query",
    "RoundReport",
    "RustClient",
    "Task",
    "WeightedMean",
    "answer",
    "arrays_of",
    "client_number",
    "peft_arrays",
    "record_of",
    "set_peft_arrays",
    "unpin",
]
