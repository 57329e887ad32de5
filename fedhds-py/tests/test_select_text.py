"""`fedhds select` by texts alone: near copies, groups, what is said of each pick, and how little is held."""

import json
import os
import sys
import tracemalloc

import numpy as np
import pytest

import fedhds
from fedhds._cli.pick import MOST_GROUPS, TwoLevels, from_text, pick
from fedhds._cli.pool import Options, read
from test_cli import call

TOPICS = {
    "animals": "Name the noise that {} makes on the farm.",
    "sums": "Work out what {} and some more come to.",
    "cities": "Which country has the town of {} in it?",
    "words": "Write a sentence with the word {} in it.",
}


@pytest.fixture
def run(capsys):
    return lambda *arguments, code=0: call(*arguments, code=code, capsys=capsys)


def rows(n=60):
    """Records of four topics, every third one a near copy of the one before it."""
    made = []
    for i in range(n):
        if i % 3 == 2:
            made.append(dict(made[-1], instruction=f"Please: {made[-1]['instruction'].lower()}"))
            continue
        name = list(TOPICS)[i % 4]
        made.append({"instruction": TOPICS[name].format(f"{name}{i}"), "output": f"{name} {i}", "category": name})
    return made


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows())))
    return path


def test_near_copies_count_as_one_and_one_is_kept(run, data, tmp_path):
    document = json.loads(run("select", data, "--fraction", 1.0, "--json", "--out", tmp_path / "kept"))
    assert (document["records"], document["distinct"], document["wanted"]) == (60, 40, 60)
    assert len(document["kept"]) == 40 and document["method"] == "fedhds_robust"
    assert document["features"] == {"from": "text", "layers": 1, "columns": 128}
    assert sum(record["copies"] for record in document["kept"]) == 60
    lines = (tmp_path / "kept").read_text().splitlines()
    kept = [fedhds.Record(str(i), json.loads(line)["instruction"], "", (json.loads(line)["output"],)) for i, line in enumerate(lines)]
    assert fedhds.near_copies(kept).tolist() == list(range(40))
    text = run("select", data, "--fraction", 1.0)
    assert "20 are near copies of others" in text and "60 were wanted, but the groups hold no more" in text


def test_every_pick_is_explained_on_demand(run, data):
    document = json.loads(run("select", data, "--count", 6, "--groups", 4, "--json"))
    sizes = {group["group"]: group["records"] for group in document["groups"]}
    assert sum(sizes.values()) == 60 and len(document["kept"]) == 6
    for record in document["kept"]:
        assert record["group_records"] == sizes[record["group"]] and record["copies"] in (1, 2)
    assert sum(record["stands_for"] for record in document["kept"]) == 60
    told = run("select", data, "--count", 6, "--groups", 4, "--explain", "--show", 2)
    head = next(line for line in told.splitlines() if "stands for" in line).split("  ")
    assert [name.strip() for name in head if name.strip()] == ["line", "stands for", "group", "of", "copies", "kept record"]
    for record in document["kept"]:
        cells = [line.split() for line in told.splitlines() if line.split()[:1] == [str(record["line"])]]
        wanted = [record[name] for name in ("line", "stands_for", "group", "group_records", "copies")]
        assert [str(value) for value in wanted] in [row[:5] for row in cells]
    assert "copies" not in run("select", data, "--count", 6).replace("near copies", "")


def test_all_topics_are_covered_before_one_comes_twice(run, data):
    document = json.loads(run("select", data, "--count", 4, "--category", "category", "--json"))
    texts = [record["text"] for record in document["kept"]]
    assert len({name for name in TOPICS for text in texts if f"→ {name}" in text}) == 4
    assert any(group["category"].endswith("100%") for group in document["groups"])


@pytest.mark.parametrize("method", ["fedhds_coverage", "fedhds_shared", "fedhds"])
def test_other_methods_look_at_texts_too(run, data, method):
    document = json.loads(run("select", data, "--count", 5, "--method", method, "--json"))
    assert document["features"]["from"] == "text" and len(document["kept"]) <= 5


def test_files_are_read_by_lines_and_never_held(tmp_path):
    path = tmp_path / "many.jsonl"
    filler = "and so on " * 200
    with path.open("w") as file:
        for i in range(3000):
            file.write(json.dumps({"instruction": f"Say {i} of {i % 7}.", "output": f"{i} {filler}"}) + "\n")
    tracemalloc.start()
    pool = read([str(path)], Options())
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(pool) == 3000 and pool.values.shape == (3000, 128)
    assert held < pool.values.nbytes + 400 * len(pool) < path.stat().st_size / 2
    extractor = fedhds.TextFeatures()
    chosen = [0, 7, 8, 2999]
    found = list(pool.fetch(chosen))
    assert [record.instruction for record, _ in found] == [f"Say {i} of {i % 7}." for i in chosen]
    assert np.array_equal(extractor.extract([record for record, _ in found]), pool.values[chosen])
    assert [pool.place(row).line for row in chosen] == [1, 8, 9, 3000]


def test_several_files_of_several_kinds(run, tmp_path):
    lines, listed = tmp_path / "a.jsonl", tmp_path / "b.json"
    made = rows(24)
    lines.write_text("\ufeff" + "\n\n".join(map(json.dumps, made[:12])) + "\n", encoding="utf-8")
    listed.write_text(json.dumps(made[6:], indent=1))
    pool = read([str(lines), str(listed)], Options())
    assert len(pool) == 30 and pool.copies[6:12].tolist() == pool.copies[12:18].tolist()
    assert [pool.place(row).line for row in (0, 1, 11, 12, 29)] == [1, 3, 23, 0, 17]
    got = [json.loads(text)["output"] for _, text in pool.fetch(range(30))]
    assert got == [row["output"] for row in made[:12] + made[6:]]
    document = json.loads(run("select", lines, listed, "--fraction", 1.0, "--json"))
    assert (document["records"], document["distinct"]) == (30, 16)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_pipe_is_read_once(run, data, tmp_path):
    import threading

    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(data.read_bytes()), daemon=True).start()
    document = json.loads(run("select", pipe, "--format", "alpaca", "--count", 3, "--json", "--out", tmp_path / "kept"))
    assert len(document["kept"]) == 3 and (tmp_path / "kept").read_bytes().count(b"\n") == 3


def test_two_levels_make_many_groups_of_alike_rows():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(500, 16)) * 10
    truth = np.repeat(np.arange(500), 8)
    points = (centres[truth] + rng.normal(size=(4000, 16)) * 0.1).astype(np.float32)
    labels = TwoLevels(500).cluster(points, 3)
    sizes = np.bincount(labels)
    assert labels.shape == (4000,) and 300 < len(sizes) <= 500 and sizes.min() >= 3
    assert np.array_equal(labels, TwoLevels(500).cluster(points, 3))
    pure = sum(np.bincount(truth[labels == label]).max() for label in range(len(sizes)))
    assert pure / 4000 > 0.6
    assert len(set(TwoLevels(5).cluster(points, 3).tolist())) == 5
    same = np.ones((600, 4), dtype=np.float32)
    assert set(TwoLevels(300).cluster(same, 0).tolist()) == {0}


def test_groups_are_at_most_five_thousand():
    values = np.random.default_rng(1).normal(size=(31000, 8)).astype(np.float32)
    picked = pick(from_text(values), len(values), "fedhds_robust", 40, None, 0)
    assert len(picked.kept) == 40 and picked.groups is not None and 3000 < picked.groups.max() < MOST_GROUPS
