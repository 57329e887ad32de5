"""The client: in Rust, or in PyTorch and PEFT; both kinds can be in one federation."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedhds.flower import LocalData, RustClient, Task, answer

from . import models
from .dataset import client_records
from .settings import Settings, backend_of, settings_of


def make_app(given: Settings | None = None) -> ClientApp:
    """The ClientApp; with settings of its own instead of Flower's run configuration where they are given."""
    app = ClientApp()
    rust = RustClient(lambda context: local(context, settings_of(context, given)))

    @app.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        settings = settings_of(context, given)
        if backend_of(context, settings) == "rust":
            return rust.extract(message, context)
        from . import torch_models

        records = client_records(context, settings)
        # A method that looks at texts, or at nothing, is given no features.
        model = models.extractor(settings) is not None
        return answer(
            message,
            context,
            (lambda query: torch_models.features(settings, records, query.arrays)) if model else None,
            records=records,
            judge=torch_models.Judge(settings),
            layers=models.layers(settings),
            state_dir=settings["client.state-dir"] or None,
        )

    @app.train()
    def train(message: Message, context: Context) -> Message:
        settings = settings_of(context, given)
        if backend_of(context, settings) == "rust":
            return rust.train(message, context)
        from . import torch_models

        records = client_records(context, settings)
        task = Task(
            message,
            context,
            layers=models.layers(settings),
            state_dir=settings["client.state-dir"] or None,
            records=records,
            judge=torch_models.Judge(settings),
        )
        chosen = [records[row] for row in task.rows]
        arrays, loss = torch_models.train(settings, chosen, task.arrays, task.seed)
        return task.reply(arrays, train_loss=loss)

    return app


def local(context: Context, settings: Settings) -> LocalData:
    """What a client that trains in Rust has."""
    return LocalData(
        records=client_records(context, settings),
        trainer=models.trainer(settings),
        extractor=models.extractor(settings),
        state_dir=settings["client.state-dir"] or None,
    )


app = make_app()
