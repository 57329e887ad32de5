"""The same model, training and features in PyTorch, transformers and PEFT; imported only where a client uses it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model  # type: ignore[import-not-found, unused-ignore]
from transformers import AutoModelForCausalLM, AutoTokenizer  # type: ignore[import-not-found, unused-ignore]

import fedhds
from fedhds.features import from_transformers
from fedhds.flower import peft_arrays, set_peft_arrays

from . import models
from .settings import Settings

Arrays = dict[str, NDArray[Any]]


@functools.cache
def _folder(path: str) -> Path:
    if path:
        return Path(path)
    folder = Path(tempfile.mkdtemp(prefix="fedhds-model-"))
    fedhds.write_embedded_model(folder)
    return folder


@functools.cache
def _loaded(path: str, r: int, alpha: float, dropout: float, targets: tuple[str, ...]) -> tuple[Any, Any]:
    folder = _folder(path)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(
        r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config), AutoTokenizer.from_pretrained(folder)


def load(settings: Settings) -> tuple[Any, Any]:
    """The PEFT model and its tokenizer."""
    targets = tuple(models.first_adapter(settings).config["target_modules"])
    alpha, dropout = float(settings["lora.alpha"]), float(settings["lora.dropout"])
    return _loaded(str(settings["model.path"]), int(settings["lora.r"]), alpha, dropout, targets)


def features(settings: Settings, records: list[fedhds.Record], arrays: Arrays | None) -> NDArray[np.float32]:
    """Features of all layers, of the tuned model where its arrays are given; equal to those in Rust within 1e-4."""
    model, tokenizer = load(settings)
    if arrays is None:
        with model.disable_adapter():
            return from_transformers(model, tokenizer, records, prompt=str(settings["prompt"]))
    set_peft_arrays(model, arrays)
    return from_transformers(model, tokenizer, records, prompt=str(settings["prompt"]))


class Judge:
    """Losses of the untuned model, for the quality gate: in nats a token, over the first tokens of a response as in Rust."""

    most = 32

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def score(self, records: list[fedhds.Record], adapter: Any) -> NDArray[np.float32]:
        """The mean loss of each record's response under its prompt, [n]; NaN where nothing of it fits behind the prompt."""
        model, tokenizer = load(self._settings)
        losses = []
        with torch.no_grad(), model.disable_adapter():
            for pair in fedhds.render(records, str(self._settings["prompt"])):
                ids, labels = encode(tokenizer, pair)
                prompt = int((labels == -100).sum())
                end = min(prompt + self.most, int(model.config.max_position_embeddings))
                fits = end > prompt  # another record's prompt may be longer than its own
                loss = float(model(input_ids=ids[:, :end], labels=labels[:, :end]).loss) if fits else float("nan")
                losses.append(loss)
        return np.array(losses, dtype=np.float32)


def train(settings: Settings, records: list[fedhds.Record], arrays: Arrays, seed: int) -> tuple[Arrays, float]:
    """LoRA training with Adam on the responses, record by record in a drawn order: arrays and mean loss."""
    model, tokenizer = load(settings)
    set_peft_arrays(model, arrays)
    torch.manual_seed(seed % 2**63)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=float(settings["train.learning-rate"]))
    examples = [encode(tokenizer, pair) for pair in fedhds.render(records, str(settings["prompt"]))]
    order = np.random.default_rng(seed)
    losses = []
    model.train()
    for _ in range(int(settings["train.local-epochs"])):
        for number in order.permutation(len(examples)):
            ids, labels = examples[number]
            optimizer.zero_grad()
            loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    model.eval()
    return peft_arrays(model), float(np.mean(losses))


def encode(tokenizer: Any, pair: tuple[str, str]) -> tuple[Any, Any]:
    """Tokens and labels [1, n] of a prompt and its response; -100 where nothing is to be learnt.

    Prompt and response are encoded apart, as in generation.
    """
    prompt = tokenizer(pair[0])["input_ids"]
    response = tokenizer(pair[1], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    ids, labels = prompt + response, [-100] * len(prompt) + response
    return torch.tensor([ids]), torch.tensor([labels])
