"""Losses and generations computed with PyTorch alone: what fedhds is measured against."""

from __future__ import annotations

from typing import Any

import torch

import fedhds


def randomized(model: Any, seed: int) -> Any:
    """A PEFT model whose B is not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "lora_B" in name:
                values.copy_(torch.randn(values.shape, generator=generator) * 0.2)
    return model.eval()


def _ids(tokenizer: Any, prompt: str, response: str) -> tuple[list[int], int]:
    """Prompt, response and end as ids, and where the response begins."""
    end = tokenizer.eos_token_id

    def plain(text: str) -> list[int]:
        ids = list(tokenizer(text)["input_ids"])
        return ids[:-1] if ids[-1:] == [end] and not text.endswith(tokenizer.eos_token) else ids

    first, whole = plain(prompt), plain(prompt + response)
    if whole[: len(first)] != first:
        whole = first + list(tokenizer(response, add_special_tokens=False)["input_ids"])
    return [*whole, end], len(first)


@torch.no_grad()
def response_losses(model: Any, tokenizer: Any, records: list[fedhds.Record], prompt: str) -> list[float]:
    """Mean cross-entropy of the response's tokens and the end, in nats, record by record."""
    losses = []
    for text, response in fedhds.render(records, prompt):
        ids, start = _ids(tokenizer, text, response)
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        loss = torch.nn.functional.cross_entropy(logits[start - 1 : -1], torch.tensor(ids[start:]))
        losses.append(float(loss))
    return losses


@torch.no_grad()
def generations(model: Any, tokenizer: Any, records: list[fedhds.Record], prompt: str, most: int) -> list[str]:
    """Greedy continuations as text, without the blanks around them."""
    texts = []
    for text, response in fedhds.render(records, prompt):
        ids, start = _ids(tokenizer, text, response)
        ids = ids[:start]
        for _ in range(most):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        texts.append(tokenizer.decode(ids[start:], skip_special_tokens=True).strip())
    return texts
