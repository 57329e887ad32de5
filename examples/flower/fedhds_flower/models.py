"""Model, trainer, features and evaluation in Rust; each is made once in a process."""

from __future__ import annotations

import functools

import fedhds

from .settings import Settings


@functools.cache
def _model(path: str) -> fedhds.Model:
    return fedhds.Model.load(path) if path else fedhds.Model.embedded()


def model(settings: Settings) -> fedhds.Model:
    return _model(str(settings["model.path"]))


def trainer(settings: Settings) -> fedhds.LoraTrainer:
    return fedhds.LoraTrainer(
        model(settings),
        prompt=str(settings["prompt"]),
        r=int(settings["lora.r"]),
        lora_alpha=float(settings["lora.alpha"]),
        lora_dropout=float(settings["lora.dropout"]),
        learning_rate=float(settings["train.learning-rate"]),
        local_epochs=int(settings["train.local-epochs"]),
    )


def extractor(settings: Settings) -> fedhds.LayerFeatures | None:
    """Features of the tuned model, which follow the adapter, or of the untuned one; None where the method looks at no model's."""
    kind = features_of(settings)
    if kind in ("text", "none"):
        return None
    return fedhds.LayerFeatures(model(settings), prompt=str(settings["prompt"]), frozen=kind != "model")


def features_of(settings: Settings) -> str:
    """What the method looks at: `model` (the tuned one), `proxy` (a frozen one), `text` or `none`."""
    return str(fedhds.Method(str(settings["method.preset"])).settings["features"])


def layers(settings: Settings) -> int:
    """Equal parts of a feature vector, one for each layer."""
    found = extractor(settings)
    return 1 if found is None else found.layers


def evaluator(settings: Settings) -> fedhds.ModelEvaluator:
    return fedhds.ModelEvaluator(model(settings), prompt=str(settings["prompt"]))


def first_adapter(settings: Settings) -> fedhds.Adapter:
    """What training begins with, the same as in `fedhds.Simulation`; PEFT reads it too."""
    return trainer(settings).init(fedhds.client_seed(int(settings["seed"]), "init"))
