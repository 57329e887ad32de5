"""Our side: `ours.py WORK FOLDER REPEATS`. FOLDER has model.gguf; `prepare` writes the records, and the ids that the peers read."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import fedhds
import numpy as np
from measure import measure, report

WORK, FOLDER, REPEATS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
#: llama.cpp rounds the rows too.
INT8 = WORK.endswith(("_int8", "_llama"))
WHAT = WORK.removesuffix("_int8").removesuffix("_llama")
TOKENS, RESPONSE = 129, 32


def main() -> None:
    if WORK.startswith("kmeans"):
        kmeans()
        return
    if WORK.startswith("tsne"):
        tsne()
        return
    model = fedhds.Model(FOLDER / "model.gguf", activations="int8" if INT8 else "f32")
    if WORK == "prepare":
        prepare(model, Path(sys.argv[4]) if len(sys.argv) > 4 else None)
        return
    records = {kind: fedhds.as_records(rows) for kind, rows in json.loads((FOLDER / "records.json").read_text("utf-8")).items()}
    if WHAT.startswith("features_"):
        extractor, chosen = fedhds.LayerFeatures(model, prompt="raw"), records[WHAT.removeprefix("features_")]
        report(measure(lambda: extractor.extract(chosen), REPEATS))
    elif WHAT == "step":
        trainer = fedhds.LoraTrainer(model, prompt="raw", lora_dropout=0.0)
        adapter, chosen = trainer.init(1), records["equal"][:4]
        found = measure(lambda: trainer.train(adapter, chosen, 1), REPEATS)
        report({key: value / 4 for key, value in found.items()})
    elif WHAT == "generate":
        prompts = [prompt for prompt, _ in fedhds.render(records["equal"], "raw")]
        report(measure(lambda: model.generate(prompts, max_new_tokens=32, batch_size=8), REPEATS))
    elif WHAT == "losses":
        evaluator = fedhds.ModelEvaluator(model, prompt="raw")
        report(measure(lambda: evaluator.evaluate(records["many"], generate=False), REPEATS))
    else:
        raise SystemExit(f"work: expected one that compare.py names, got {WORK}")


def prepare(model: fedhds.Model, data: Path | None) -> None:
    """Distinct records of one length, and real ones where there are any; their ids, and how many of them are the prompt's."""
    rng = random.Random(1)
    words = "river garden seven music paper winter bridge silver doctor window coffee yellow planet market summer".split()
    extractor = fedhds.LayerFeatures(model, prompt="raw")

    def record(number: int) -> fedhds.Record:
        prompt, response = f"{number}", "the"
        while True:
            made = fedhds.Record(f"r{number}", prompt, "", (response,))
            [ids] = extractor.tokens([made])
            head = model.count_tokens([fedhds.render([made], "raw")[0][0]])[0]
            if len(ids) == TOKENS:
                return made
            if head < TOKENS - RESPONSE:
                prompt += " " + rng.choice(words)
            else:
                response += " " + rng.choice(words)

    many = [record(number) for number in range(32)]
    records = {"equal": many[:8], "many": many}
    if data is not None:
        # Eight tasks, eight records of each, as a client may have them.
        train = fedhds.load_records(data, "natural_instructions", blank_response="skip")
        fits = [record for record in train if len(record.instruction) + len(record.input) + len(record.response) < 2000]
        places = range(0, len(fits) - 8, max(1, len(fits) // 8))
        records["real"] = [record for place in list(places)[:8] for record in fits[place : place + 8]]
    rows = {kind: [vars_of(record) for record in chosen] for kind, chosen in records.items()}
    (FOLDER / "records.json").write_text(json.dumps(rows), encoding="utf-8")
    prompts = {kind: model.count_tokens([p for p, _ in fedhds.render(chosen, "raw")]) for kind, chosen in records.items()}
    ids = {kind: extractor.tokens(chosen) for kind, chosen in records.items()}
    (FOLDER / "tokens.json").write_text(json.dumps({"ids": ids, "prompts": prompts}), encoding="utf-8")


def vars_of(record: fedhds.Record) -> dict[str, str]:
    return {"id": record.id, "instruction": record.instruction, "input": record.input, "response": record.response}


def tsne() -> None:
    from neighbours import divergence, load

    def reduce(x: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
        return fedhds.TSNE(perplexity=perplexity, random_state=seed).fit_transform(x)

    found = divergence(load(FOLDER, WORK), reduce)
    report({**measure(lambda: divergence(load(FOLDER, WORK)[:1], reduce, score=False), REPEATS), **found})


def kmeans() -> None:
    data = np.load(FOLDER / f"{WORK}.npz")
    found: dict[str, float] = {}

    def fit() -> None:
        found["inertia"] = float(fedhds.KMeans(int(data["k"]), n_init=1, random_state=1).fit(data["x"]).inertia_)

    report({**measure(fit, REPEATS), **found})


main()
