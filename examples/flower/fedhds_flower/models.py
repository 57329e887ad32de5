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


def extractor(settings: Settings) -> fedhds.LayerFeatures:
    """Features of the tuned model, which follow the adapter, where the method wants them; else of the untuned one."""
    tuned = fedhds.Method(str(settings["method.preset"])).settings["features"] == "model"
    return fedhds.LayerFeatures(model(settings), prompt=str(settings["prompt"]), frozen=not tuned)


def evaluator(settings: Settings) -> fedhds.ModelEvaluator:
    return fedhds.ModelEvaluator(model(settings), prompt=str(settings["prompt"]))


def first_adapter(settings: Settings) -> fedhds.Adapter:
    """What training begins with, the same as in `fedhds.Simulation`; PEFT reads it too."""
    return trainer(settings).init(fedhds.client_seed(int(settings["seed"]), "init"))
