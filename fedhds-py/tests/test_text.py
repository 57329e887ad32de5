"""Features of texts and near copies: the pinned rows, records and texts alike, what is refused, methods that look at texts."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import fedhds

ROWS = json.loads((Path(__file__).parents[2] / "tests/fixtures/text/rows.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", ROWS, ids=range(len(ROWS)))
def test_rows_are_the_pinned_ones(case):
    found = fedhds.text_features([case["instruction"]], [" ".join(case["rest"])], dims=case["dims"], seed=case["seed"])
    np.testing.assert_allclose(found[0], case["row"], atol=1e-6)


def test_records_and_their_texts_have_the_same_rows():
    train, _ = fedhds.embedded_records(records_per_task=2)
    records = train[:50]
    extractor = fedhds.TextFeatures()
    found = extractor.extract(records)
    assert found.dtype == np.float32 and found.shape == (50, 128)
    texts = fedhds.text_features([r.instruction for r in records], [f"{r.input} {r.response}" for r in records])
    assert np.array_equal(found, texts)
    assert np.array_equal(extractor.of_texts([records[3].instruction])[0], fedhds.text_features([records[3].instruction])[0])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.array_equal(extractor.extract(records[10:20]), found[10:20])
    assert extractor.is_frozen and extractor.layers == 1
    assert extractor.extract([]).shape == (0, 128) and fedhds.text_features([]).shape == (0, 128)


def test_prompts_are_told_by_instruction_or_where_that_is_one_by_category():
    records = fedhds.embedded_records(records_per_task=2)[0][:50]
    extractor = fedhds.TextFeatures()
    assert np.array_equal(extractor.prompts(records), fedhds.text_features([r.instruction for r in records]))
    alike = [dataclasses.replace(record, instruction="Read the text and answer.") for record in records]
    assert np.array_equal(extractor.prompts(alike), fedhds.text_features([r.category for r in records]))
    assert extractor.prompts([]).shape == (0, 128)


def test_another_seed_is_another_frame():
    ours, theirs = fedhds.TextFeatures(), fedhds.TextFeatures(64, seed=3)
    assert ours.fingerprint != theirs.fingerprint
    assert repr(theirs) == "TextFeatures(dims=64, seed=3)"
    assert fedhds.text_features(["one text"], dims=64, seed=3).tolist() == theirs.of_texts(["one text"]).tolist()


def test_what_is_no_text_is_named():
    for dims, word in ((3, "4 to 4096"), (5000, "4 to 4096"), (1.5, "whole number"), ("8", "whole number")):
        with pytest.raises(fedhds.ParameterError, match=f"dims: expected.*{word}"):
            fedhds.TextFeatures(dims)
    with pytest.raises(fedhds.ParameterError, match="seed"):
        fedhds.TextFeatures(seed=-1)
    with pytest.raises(fedhds.InputError, match="one text"):
        fedhds.text_features("one text")
    with pytest.raises(fedhds.InputError, match="instructions: row 1: expected text, got int"):
        fedhds.text_features(["a", 2])
    with pytest.raises(fedhds.InputError, match="rests: expected 2 texts, one for each instruction, got 1"):
        fedhds.text_features(["a", "b"], ["c"])
    with pytest.raises(fedhds.InputError, match="got int"):
        fedhds.text_features(7)


def records(*texts):
    return [fedhds.Record(str(i), asked, about, (said,)) for i, (asked, about, said) in enumerate(texts)]


def test_near_copies_are_found_and_others_are_not():
    copies = records(
        ("Name the sound of this animal.", "cow", "moo"),
        ("Name the sound of this animal.", "sheep", "baa"),
        ("Please: name the  sound of this animal", "Cow", "Moo."),
        ("Name the sound of this animal.", "cow", "baa"),
        ("Name the sound of that animal.", "cow", "moo"),
    )
    found = fedhds.near_copies(copies)
    assert found.dtype == np.int64 and found.tolist() == [0, 1, 0, 2, 3]
    assert fedhds.near_copies([]).tolist() == []
    framed = records(("Name the sound.", "cow", "moo"), ("Now go on and name the sound.", "cow", "moo"))
    assert fedhds.near_copies(framed).tolist() == [0, 1]  # four words more than half of three
    framed = records(("Name one sound of it.", "", "moo"), ("So name one sound of it.", "", "moo"))
    assert fedhds.near_copies(framed).tolist() == [0, 0]
    assert fedhds.near_copies(framed, extra_words=0).tolist() == [0, 1]
    with pytest.raises(fedhds.ParameterError, match="extra_words"):
        fedhds.near_copies(framed, extra_words=17)
    with pytest.raises(fedhds.ParameterError, match="template_words"):
        fedhds.near_copies(framed, template_words=["two words"])


def test_copies_count_as_one_record_of_which_one_trains():
    method = fedhds.Method("fedhds_robust", budget=20)
    texts = [f"Say {word} and nothing else at all" for word in "alpha beta gamma delta epsilon zeta".split()]
    rows = fedhds.text_features(texts * 5, [str(i % 6) for i in range(30)])
    copies = np.tile(np.arange(6), 5)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    start = server.begin_round(0, [0])
    server.receive(0, client.summarize(start, rows, copies=copies))
    kept = client.choose(server.select()[0])
    assert len(kept) == 6 and sorted(copies[kept]) == list(range(6))
    assert sum(group.records for group in server.selection) == 6
    for bad, word in (([0] * 29, "30 values"), ([-1] * 30, "whole number"), (["a"] * 30, "whole number")):
        with pytest.raises(fedhds.Error, match=f"copies: expected.*{word}"):
            fedhds.Client(1, method).summarize(start, rows, copies=bad)
    with pytest.raises(fedhds.InputError, match="prompts: expected 30 rows"):
        fedhds.Client(1, method).summarize(start, rows, prompts=rows[:3])


class Trainer:
    """Trains nothing; what it was given is in `seen`."""

    def __init__(self):
        self.seen = []

    def init(self, seed):
        pair = {"A": np.zeros((1, 3)), "B": np.zeros((2, 1))}
        tensors = {f"base_model.model.q_proj.lora_{x}.weight": pair[x] for x in pair}
        return fedhds.Adapter({"r": 1, "target_modules": ["q_proj"]}, tensors)

    def train(self, adapter, records, seed):
        self.seen += [record.id for record in records]
        return adapter


def test_a_simulation_of_texts_needs_no_model():
    train, _ = fedhds.embedded_records(records_per_task=3)
    clients = fedhds.partition(train, "dirichlet", clients=4, alpha=0.5, min_records=10, seed=1)
    method = fedhds.Method("fedhds_robust", budget=8)
    runs = []
    for extractor in (None, fedhds.TextFeatures()):
        trainer = Trainer()
        given = {"rounds": 3, "participation": 1.0, "evaluate": "never", "seed": 2}
        outcome = fedhds.Simulation(method, clients, trainer=trainer, extractor=extractor, **given).run()
        runs.append(trainer.seen)
        assert [sum(len(c["selected"]) for c in r["clients"]) for r in outcome.rounds] == [8, 8, 8]
    assert runs[0] == runs[1] and len(set(runs[0])) == 24, "no record trains twice"
    with pytest.raises(fedhds.Error, match="extractor"):
        fedhds.Simulation("fedhds_coverage", clients, trainer=Trainer()).run()
