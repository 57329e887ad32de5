"""The peers' side: `peers.py WORK FOLDER REPEATS`, each in its fastest documented setting."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from measure import measure, report

WORK, FOLDER, REPEATS = sys.argv[1].removesuffix("_int8"), Path(sys.argv[2]), int(sys.argv[3])
BATCH = 8


def main() -> None:
    if WORK.startswith("kmeans"):
        kmeans()
        return
    if WORK.startswith("tsne"):
        tsne()
        return
    if WORK == "generate_llama":
        llama()
        return
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(int(sys.argv[4]))
    tokens = json.loads((FOLDER / "tokens.json").read_text("utf-8"))
    model = AutoModelForCausalLM.from_pretrained(
        FOLDER, gguf_file="model.gguf", dtype=torch.float32, attn_implementation="sdpa"
    ).eval()

    def padded(rows: list[list[int]]) -> dict[str, Any]:
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        # Without padding no mask is needed, and the attention is the causal kernel's.
        return {"input_ids": ids} if bool(mask.all()) else {"input_ids": ids, "attention_mask": mask}

    def batches(rows: list[list[int]]) -> list[list[list[int]]]:
        ordered = sorted(rows, key=len, reverse=True)
        return [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]

    if WORK.startswith("features_"):
        rows = tokens["ids"][WORK.removeprefix("features_")]

        @torch.inference_mode()
        def extract() -> None:
            for batch in batches(rows):
                ends = torch.tensor([len(row) - 1 for row in batch])
                states = model.model(**padded(batch), output_hidden_states=True, use_cache=False).hidden_states[1:]
                torch.cat([state[torch.arange(len(batch)), ends] for state in states], dim=1)

        report(measure(extract, REPEATS))
    elif WORK == "losses":
        rows = list(zip(tokens["ids"]["many"], tokens["prompts"]["many"]))

        @torch.inference_mode()
        def losses() -> None:
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                hidden = model.model(**padded([ids for ids, _ in batch]), use_cache=False).last_hidden_state
                for i, (ids, prompt) in enumerate(batch):
                    logits = model.lm_head(hidden[i, prompt - 1 : len(ids) - 1])
                    torch.nn.functional.cross_entropy(logits, torch.tensor(ids[prompt:]))

        report(measure(losses, REPEATS))
    elif WORK == "generate":
        prompts = [ids[:prompt] for ids, prompt in zip(tokens["ids"]["equal"], tokens["prompts"]["equal"])]

        @torch.inference_mode()
        def generate() -> None:
            for batch in batches(prompts):
                given = padded(batch)
                model.generate(**given, max_new_tokens=32, min_new_tokens=32, do_sample=False, pad_token_id=0)

        report(measure(generate, REPEATS))
    elif WORK == "step":
        step(model, tokens)
    else:
        raise SystemExit(f"work: expected one that compare.py names, got {WORK}")


def step(model: Any, tokens: Any) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets)).train()
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    rows = list(zip(tokens["ids"]["equal"], tokens["prompts"]["equal"]))[:4]

    def train() -> None:
        optimizer = torch.optim.Adam(trained, lr=3e-4)
        for ids, prompt in rows:
            row = torch.tensor([ids])
            hidden = tuned.base_model.model.model(input_ids=row, use_cache=False).last_hidden_state
            # The output projection on the response's rows alone, as ours.
            logits = tuned.base_model.model.lm_head(hidden[0, prompt - 1 : -1])
            torch.nn.functional.cross_entropy(logits, row[0, prompt:]).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    found = measure(train, REPEATS)
    report({key: value / len(rows) for key, value in found.items()})


def llama() -> None:
    """All prompts in one batch, then a token of each at a time: llama.cpp's own way for several sequences."""
    import ctypes

    import llama_cpp as lc
    import numpy as np

    tokens = json.loads((FOLDER / "tokens.json").read_text("utf-8"))
    prompts = [ids[:prompt] for ids, prompt in zip(tokens["ids"]["equal"], tokens["prompts"]["equal"])]
    quiet = lc.llama_log_callback(lambda *_: None)  # held as long as llama.cpp may call it
    lc.llama_log_set(quiet, ctypes.c_void_p(0))
    lc.llama_backend_init()
    model = lc.llama_model_load_from_file(str(FOLDER / "model.gguf").encode(), lc.llama_model_default_params())
    vocabulary = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    params = lc.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 2048, 1024, 1024, len(prompts)
    params.n_threads = params.n_threads_batch = int(sys.argv[4])
    context = lc.llama_init_from_model(model, params)
    batch = lc.llama_batch_init(1024, 0, 1)

    def read(rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Reads (token, position, sequence, whether it is asked); the most probable token behind each that is asked."""
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, asked) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, asked
        if lc.llama_decode(context, batch) != 0:
            raise SystemExit("llama.cpp could not read a batch")
        asked = [i for i, row in enumerate(rows) if row[3]]
        scores = (np.ctypeslib.as_array(lc.llama_get_logits_ith(context, i), (vocabulary,)) for i in asked)
        return [int(row.argmax()) for row in scores]

    def generate() -> None:
        lc.llama_memory_clear(lc.llama_get_memory(context), True)
        rows = [
            (token, at, number, at + 1 == len(prompt))
            for number, prompt in enumerate(prompts)
            for at, token in enumerate(prompt)
        ]
        new = read(rows)
        for step in range(31):
            new = read([(token, len(prompts[i]) + step, i, True) for i, token in enumerate(new)])

    report(measure(generate, REPEATS))


def tsne() -> None:
    import numpy as np
    import openTSNE
    from neighbours import divergence, load

    def reduce(x: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
        return openTSNE.TSNE(perplexity=perplexity, random_state=seed, n_jobs=int(sys.argv[4])).fit(x.astype(np.float64))

    found = divergence(load(FOLDER, WORK), reduce)
    report({**measure(lambda: divergence(load(FOLDER, WORK)[:1], reduce, score=False), REPEATS), **found})


def kmeans() -> None:
    import numpy as np
    from sklearn.cluster import KMeans

    data = np.load(FOLDER / f"{WORK}.npz")
    found: dict[str, float] = {}

    def fit() -> None:
        fitted = KMeans(int(data["k"]), n_init=1, random_state=1, algorithm="lloyd").fit(data["x"])
        found["inertia"] = float(fitted.inertia_)

    report({**measure(fit, REPEATS), **found})


main()
