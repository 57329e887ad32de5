"""Writes what PyTorch, transformers and PEFT compute on the embedded model, for `tests/test_peft.py`."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import peft
import tiny
from reference import generations, randomized, response_losses

import fedhds
from fedhds.features import from_transformers

PROMPT = "short"
NEW_TOKENS = 12
#: Settings of the features in the fixture, by their name in `features.npz`.
FEATURES = {
    "all_last_token": {"prompt": PROMPT},
    "mean_normalized": {"prompt": "raw", "layers": [4, 2], "pooling": "mean", "normalize": True},
    "chat_truncated": {"prompt": "chat", "layers": "last", "embedding": True, "max_tokens": 20, "truncate": True},
}


def write(folder: Path) -> None:
    """Writes the fixtures; the folder is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records = tiny.records()
    (folder / "records.jsonl").write_text(
        "".join(json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n" for record in records),
        encoding="utf-8",
    )
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        fedhds.write_embedded_model(base)
        model, tokenizer = tiny.load(base, "embedded")
        arrays = {name: from_transformers(model, tokenizer, records, **chosen) for name, chosen in FEATURES.items()}
        facts = {
            "made_with": {name: version(name) for name in ("torch", "transformers", "peft", "tokenizers", "numpy")},
            "prompt": PROMPT,
            "max_new_tokens": NEW_TOKENS,
            "features": FEATURES,
            "model": fedhds.Model.load(base).fingerprint,
            "base": _scores(model, tokenizer, records),
        }
        # PEFT's own adapter, with its default names and an odd scaling.
        config = peft.LoraConfig(r=3, lora_alpha=5, use_rslora=True, task_type="CAUSAL_LM")
        theirs = randomized(peft.get_peft_model(model, config), seed=5)
        theirs.peft_config["default"].base_model_name_or_path = "embedded"
        theirs.save_pretrained(folder / "peft_adapter")
        facts["peft_adapter"] = _scores(theirs, tokenizer, records)
        arrays["peft_adapter"] = from_transformers(theirs, tokenizer, records, prompt=PROMPT)
        # Ours, as PEFT reads it.
        targets = ["q_proj", "down_proj"]
        trainer = fedhds.LoraTrainer(
            fedhds.Model.load(base), prompt=PROMPT, r=2, target_modules=targets, learning_rate=1e-2, local_epochs=2
        )
        trained = trainer.train(trainer.init(seed=3), records[:8], seed=3).adapter
        trained.save(folder / "fedhds_adapter", base_model="embedded")
        model, _ = tiny.load(base, "embedded")
        ours = peft.PeftModel.from_pretrained(model, folder / "fedhds_adapter")
        facts["fedhds_adapter"] = _scores(ours, tokenizer, records)
    (folder / "peft_adapter" / "README.md").unlink(missing_ok=True)  # PEFT's form to fill in
    (folder / "peft_adapter" / "adapter_model.safetensors").chmod(0o644)
    np.savez_compressed(folder / "features.npz", **arrays)
    (folder / "fixture.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{size / 1000:.0f} kB in {folder}")


def _scores(model: object, tokenizer: object, records: list[fedhds.Record]) -> dict[str, list[object]]:
    losses = response_losses(model, tokenizer, records, PROMPT)
    return {"losses": list(losses), "outputs": list(generations(model, tokenizer, records, PROMPT, NEW_TOKENS))}
