"""The command line as its user sees it: what is printed where, what is written, exit codes."""

import csv
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

import fedhds
from fedhds.__main__ import main
from fedhds._cli import doctor
from fedhds._cli.explain import nearest_kept


def call(*arguments, code=0, capsys):
    """The command in this process: its stdout; stderr must be empty where it succeeds."""
    try:
        got = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        got = stopped.code
    out, err = capsys.readouterr()
    assert got == code, err or out
    if code == 0:
        assert err == "", "no progress bars, no warnings where stderr is no terminal"
        return out
    return err


@pytest.fixture
def run(capsys):
    return lambda *arguments, code=0: call(*arguments, code=code, capsys=capsys)


def child(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "fedhds", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, check=False, **options)


@pytest.fixture
def data(tmp_path):
    """Forty records whose lines differ in every way that JSON allows."""
    train, _ = fedhds.embedded_records(records_per_task=4, test_records_per_task=1)
    lines = []
    for number, record in enumerate(train[:40]):
        row = {"instruction": record.instruction, "input": record.input, "response": record.response, "n": number}
        text = json.dumps(row, indent=None, separators=((",", ":") if number % 2 else (" , ", " : ")))
        lines.append(text + ("\r\n" if number % 3 else "\n"))
    lines[7] = lines[7].replace("e", "\\u0065", 1) if '"e' in lines[7] else "  " + lines[7]
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "".join(lines[:20]).encode() + b"\n\n" + "".join(lines[20:]).encode().rstrip())
    return path


def blobs(n=40, k=4):
    """Features in which record i belongs to group i % k."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)) + 50 * np.eye(k, 6)[np.arange(n) % k]


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, blobs())
    return path


# --- select ---------------------------------------------------------------------------------------------------------


def test_the_kept_lines_are_the_files_own_in_their_order(run, data, tmp_path):
    out = tmp_path / "kept.jsonl"
    text = run("select", data, "--count", 7, "--out", out)
    kept = out.read_bytes().splitlines(keepends=True)
    originals = data.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    originals[-1] += b"\n"
    assert len(kept) == 7 and len(set(kept)) == 7
    places = [originals.index(line) for line in kept]
    assert places == sorted(places)
    assert f"7 lines written to {out}" in text and "kept      7 (17.50%) by fedhds_robust, seed 0" in text
    again = tmp_path / "again.jsonl"
    run("select", data, "--count", 7, "--out", again)
    assert again.read_bytes() == out.read_bytes()
    assert "what letters the texts are made of" in text and "--model" in text
    assert "small model in the package" in run("select", data, "--count", 7, "--model", "embedded")


def test_the_document_says_what_and_why(run, data, array, tmp_path):
    options = ["--method", "fedhds_coverage", "--json", "--out", tmp_path / "kept"]
    document = json.loads(run("select", data, "--features", array, "--count", 4, *options))
    assert [group["records"] for group in document["groups"]] == [10, 10, 10, 10]
    assert [group["kept"] for group in document["groups"]] == [1, 1, 1, 1]
    assert sum(record["stands_for"] for record in document["kept"]) == document["records"] == 40
    assert sorted(record["group"] for record in document["kept"]) == [0, 1, 2, 3]
    written = [json.loads(line)["n"] for line in (tmp_path / "kept").read_text().splitlines()]
    assert sorted(n % 4 for n in written) == [0, 1, 2, 3]
    # Two blank lines stand in the middle of the file.
    assert [record["line"] for record in document["kept"]] == [n + 1 + 2 * (n >= 20) for n in written]
    assert document["files"] == {str(data): "jsonl"} and document["method"] == "fedhds_coverage"
    assert document["features"] == {"from": str(array), "layers": 1, "columns": 6}


def test_features_of_ones_own_are_selected_by_the_default_method_too(run, data, array):
    document = json.loads(run("select", data, "--features", array, "--count", 4, "--groups", 4, "--json"))
    assert document["method"] == "fedhds_robust" and [group["records"] for group in document["groups"]] == [10] * 4
    lines = [record["line"] for record in document["kept"]]
    assert sorted((line - 1 - 2 * (line > 20)) % 4 for line in lines) == [0, 1, 2, 3], "one of each"


def test_more_of_a_group_are_spread_over_it(run, data, array):
    options = ["--fraction", 0.2, "--groups", 2, "--method", "fedhds_coverage", "--json"]
    document = json.loads(run("select", data, "--features", array, *options))
    assert len(document["kept"]) == 8 and len(document["groups"]) == 2
    lines = [record["line"] for record in document["kept"]]
    # Two groups of two blobs each: kept records that cover their group come from both.
    assert {(line - 1 - 2 * (line > 20)) % 4 for line in lines} == {0, 1, 2, 3}


def test_nearest_kept_records_are_of_the_own_group_where_it_has_one():
    points = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [2.1]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1, 1, -1])
    assert nearest_kept(points, labels, np.array([0, 2])).tolist() == [0, 0, 2, 2, 2, 2]
    assert nearest_kept(points, labels, np.array([0, 3])).tolist() == [0, 0, 0, 3, 3, 0]
    rng = np.random.default_rng(1)
    points = rng.normal(size=(9000, 3)).astype(np.float32)
    kept = np.arange(0, 9000, 700)
    expected = kept[((points[:, None] - points[kept][None]) ** 2).sum(-1).argmin(1)]
    assert (nearest_kept(points, np.zeros(9000, dtype=np.int64), kept) == expected).mean() > 0.999


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_baselines_need_no_model(run, data, method):
    document = json.loads(run("select", data, "--method", method, "--count", 5, "--json"))
    assert len(document["kept"]) == 5 and document["groups"] == [] and document["features"] is None
    other = json.loads(run("select", data, "--method", method, "--count", 5, "--json", "--seed", 1))
    assert other["kept"] != document["kept"]
    assert "as a baseline" in run("select", data, "--method", method, "--count", 5)


def test_tsne_and_hdbscan_serve_too(run, tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"instruction": f"Say {i}.", "response": str(i)}) + "\n" for i in range(120)))
    np.save(tmp_path / "x.npy", blobs(120))
    document = json.loads(
        run("select", path, "--features", tmp_path / "x.npy", "--count", 6, "--method", "fedhds_shared", "--json")
    )
    assert len(document["kept"]) == 6
    found = [group for group in document["groups"] if group["group"] >= 0]
    assert len(found) == 4 and all(group["kept"] for group in found)


def test_features_can_be_kept_for_later(run, data, tmp_path):
    kept = tmp_path / "features"
    options = ["--model", "embedded", "--save-features", kept]
    first = json.loads(run("select", data, "--count", 3, "--json", *options))
    assert np.load(kept).shape == (40, 512) and first["features"]["layers"] == 4
    second = json.loads(run("select", data, "--count", 3, "--json", "--features", kept, "--feature-layers", 4))
    assert second["kept"] == first["kept"] and second["groups"] == first["groups"]


def test_a_model_from_a_folder(run, data, tmp_path):
    fedhds.write_embedded_model(tmp_path / "model")
    ours = json.loads(run("select", data, "--count", 3, "--json", "--model", "embedded"))
    theirs = json.loads(run("select", data, "--count", 3, "--json", "--model", tmp_path / "model"))
    assert theirs["kept"] == ours["kept"] and theirs["features"]["from"] == str(tmp_path / "model")
    options = ["--model", "embedded", "--layers", "4,2", "--pooling", "last_token", "--prompt", "chat"]
    chosen = json.loads(run("select", data, "--count", 3, "--json", *options))
    assert (chosen["features"]["layers"], chosen["features"]["columns"]) == (2, 256)


def test_long_records_are_cut_and_counted(run, tmp_path):
    path = tmp_path / "long.jsonl"
    rows = [{"instruction": "word " * (400 if i == 2 else 3), "response": f"r{i}"} for i in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    document = json.loads(run("select", path, "--count", 2, "--json", "--model", "embedded"))
    assert document["features"]["cut_off"] == 1 and document["features"]["max_tokens"] == 256
    assert "1 record longer than 256 tokens" in run("select", path, "--count", 2, "--model", "embedded")


FORMS = {
    "alpaca": ("list", [{"instruction": f"Do {i}.", "input": "x", "output": f"out {i}"} for i in range(6)]),
    "dolly": (
        "lines",
        [{"instruction": f"Do {i}.", "context": "c", "response": f"r {i}", "category": "qa"} for i in range(6)],
    ),
    "jsonl": ("lines", [{"prompt": f"Do {i}.", "completion": f"done {i}"} for i in range(6)]),
    "messages": (
        "lines",
        [
            {"messages": [{"role": "user", "content": f"Do {i}."}, {"role": "assistant", "content": f"done {i}"}]}
            for i in range(6)
        ],
    ),
}


@pytest.mark.parametrize("format", FORMS)
def test_forms_are_guessed(run, tmp_path, format):
    kind, rows = FORMS[format]
    path, out = tmp_path / "data.json", tmp_path / "out"
    path.write_text(json.dumps(rows, indent=1) if kind == "list" else "\n".join(map(json.dumps, rows)))
    document = json.loads(run("select", path, "--count", 2, "--json", "--out", out))
    assert document["files"] == {str(path): format} and document["records"] == 6
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(kept) == 2 and all(row in rows for row in kept)
    assert [rows[record["line"] - (kind == "lines")] for record in document["kept"]] == kept
    assert all("Do " in record["text"] and "→" in record["text"] for record in document["kept"])
    assert document["kept"] == json.loads(run("select", path, "--count", 2, "--json", "--format", format, *(
        ["--instruction", "prompt", "--response", "completion"] if format == "jsonl" else []
    )))["kept"]  # fmt: skip


def test_conversations_give_their_last_answer(run, tmp_path):
    said = [("system", "Be brief."), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "Farewell")]
    turns = [*said, ("human", "?")]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns]}
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps(row))
    document = json.loads(run("select", path, "--count", 1, "--json"))
    assert document["kept"][0]["text"] == "Be brief.\n\nHi\n\nHello\n\nBye → Farewell"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}]}))
    assert "chat.jsonl:1: expected `messages`" in run("select", path, "--count", 1, code=1)


def test_tables_are_read_by_pandas(run, tmp_path):
    pytest.importorskip("pandas", reason="pandas reads tables", exc_type=ImportError)
    path, out = tmp_path / "data.csv", tmp_path / "out"
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [("question", "answer", "context"), *((f"Do {i},\nplease", f"NA {i}", "") for i in range(5))]
    )
    path.write_text(buffer.getvalue())
    document = json.loads(run("select", path, "--count", 2, "--json", "--out", out))
    assert document["files"] == {str(path): "table"} and document["records"] == 5
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["question"] for row in kept] == [f"Do {record['line']},\nplease" for record in document["kept"]]


def test_a_folder_of_tasks(run, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "splits/default").mkdir(parents=True)
    for task in ("one", "two"):
        instances = [{"id": f"{task}-{i}", "input": f"in {i}", "output": [f"out {i}"]} for i in range(4)]
        document = {"Definition": [f"Do {task}."], "Instances": instances}
        (tmp_path / f"tasks/{task}.json").write_text(json.dumps(document))
    (tmp_path / "splits/default/train_tasks.txt").write_text("one\ntwo\n")
    (tmp_path / "splits/default/test_tasks.txt").write_text("two\n")
    document = json.loads(run("select", tmp_path, "--count", 2, "--json", "--out", tmp_path / "out"))
    assert document["records"] == 8 and list(document["files"].values()) == ["natural_instructions"]
    kept = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [f"{row['instruction']} | {row['input']} → {row['responses'][0]}" for row in kept] == [
        record["text"] for record in document["kept"]
    ]
    assert json.loads(run("select", tmp_path, "--count", 2, "--json", "--split", "test"))["records"] == 4


def test_fields_are_named_with_dots_and_categories_are_counted(run, tmp_path):
    path = tmp_path / "qa.jsonl"
    topics = ["even", "odd", "odd", "odd"] * 10
    rows = [{"q": {"text": f"Why {i}?"}, "a": [f"so {i}", "thus"], "topic": topic} for i, topic in enumerate(topics)]
    path.write_text("\n".join(map(json.dumps, rows)))
    np.save(tmp_path / "x.npy", blobs())
    options = ["--instruction", "q.text", "--response", "a", "--category", "topic", "--features", tmp_path / "x.npy"]
    document = json.loads(run("select", path, "--count", 4, "--json", *options))
    # Record i is in group i % 4.
    assert sorted(group["category"] for group in document["groups"]) == ["even 100%", *["odd 100%"] * 3]
    assert all(re.fullmatch(r"Why (\d+)\? → so \1", record["text"]) for record in document["kept"])
    assert "even 100%" in run("select", path, "--count", 4, *options)
    two = json.loads(run("select", path, "--count", 1, "--groups", 1, "--json", *options))["groups"]
    assert [group["category"] for group in two] == ["odd 75%"]


def test_an_instruction_that_all_share_is_not_repeated(run, tmp_path):
    path = tmp_path / "same.jsonl"
    asked = "Translate the sentence below into French"
    rows = [{"instruction": asked, "input": f"number {i}", "response": f"numéro {i}"} for i in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    text = run("select", path, "--count", 3, "--method", "random")
    assert asked not in text and len(re.findall(r"…\d → numéro \d", text)) == 3
    document = json.loads(run("select", path, "--count", 3, "--method", "random", "--json"))
    assert all(record["text"].startswith(asked) for record in document["kept"])


def test_a_terminal_without_the_characters_shows_others(data, array):
    done = child("select", data, "--features", array, "--count", 4, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stderr == b"" and b" ? " in done.stdout


def test_several_files_are_one_pool(run, data, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"instruction": "Only this.", "response": "yes"}\n{"instruction": "And this.", "response": "no"}')
    out = ["--out", tmp_path / "o"]
    document = json.loads(run("select", data, other, "--count", 42, "--json", "--method", "random", *out))
    assert document["records"] == 42 and {record["file"] for record in document["kept"]} == {str(data), str(other)}
    kept = (tmp_path / "o").read_bytes()
    assert kept.count(b"\n") == 42 and kept.endswith(b'"response": "no"}\n') and b"\xef\xbb\xbf" not in kept
    text = run("select", data, other, "--count", 42, "--method", "random", "--show", 0)
    assert str(other) in text and "Only this." in text


def test_blank_responses_are_named_or_dropped(run, tmp_path):
    for name, lines in {
        "data.jsonl": ['{"instruction": "a", "response": "b"}', '{"instruction": "c", "response": " "}'],
        "chat.jsonl": [
            '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
            '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}',
        ],
    }.items():
        path = tmp_path / name
        path.write_text("\n".join(lines))
        assert f"{name}:2" in run("select", path, "--count", 1, code=1)
        document = json.loads(run("select", path, "--count", 1, "--json", "--blank-response", "skip"))
        assert (document["records"], document["blank"]) == (1, 1)
        assert "1 without a response" in run("select", path, "--count", 1, "--blank-response", "skip")


def test_lines_on_stdout_leave_the_report_to_stderr(data, array):
    done = child("select", data, "--features", array, "--count", 4, "--out", "-")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4 and all(json.loads(line) for line in done.stdout.splitlines())
    assert b"stands for" in done.stderr


def test_the_report_fits_its_terminal_and_can_be_cut_short(run, data, array, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    text = run("select", data, "--features", array, "--count", 30, "--show", 3)
    tables = text[text.index("group  ") :]
    assert max(map(len, tables.splitlines())) <= 90
    assert "… and 27 records more (--show 0 prints all)" in text
    full = run("select", data, "--features", array, "--count", 30, "--show", 0)
    assert "more (--show" not in full and len(full.splitlines()) > len(text.splitlines())
    stands = [int(n) for n in re.findall(r"^ *\d+ +(\d+) +\d+  ", full[full.index("stands for") :], re.M)]
    assert len(stands) == 30 and sum(stands) == 40 and stands == sorted(stands, reverse=True)


@pytest.mark.parametrize(
    "arguments, word",
    [
        ([], "FILE"),
        (["x", "--method", "best"], "fedhds_coverage"),
        (["x", "--format", "josnl"], "did you mean `jsonl`?"),
        (["x", "--format", "csv"], "`natural_instructions`"),
        (["x", "--fraction", "0"], "above 0"),
        (["x", "--fraction", "1.5"], "at most 1"),
        (["x", "--fraction", "a"], "--fraction"),
        (["x", "--count", "0"], "at least 1"),
        (["x", "--count", "3", "--fraction", "0.1"], "not allowed with"),
        (["x", "--model", "m", "--features", "f"], "not allowed with"),
        (["x", "--seed", "-1"], "--seed"),
        (["x", "--json", "--out", "-"], "--out -"),
        (["x", "--groups", "3", "--method", "random"], "--groups"),
        (["x", "--groups", "3", "--method", "fedhds"], "fedhds_robust or fedhds_coverage"),
        (["x", "--layers", "first"], "--layers"),
        (["x", "--max-tokens", "9"], "--max-tokens: only with --model"),
        (["x", "--pooling", "max"], "last_token"),
        (["x", "--feature-layers", "3"], "--features"),
        (["x", "--save-features", "f", "--features", "g"], "--save-features"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_understood_is_2(run, arguments, word):
    error = run("select", *arguments, code=2)
    assert word in error and "usage: fedhds select" in error


def test_failures_are_1_and_one_line(run, data, array, tmp_path):
    def fails(*arguments):
        error = run("select", *arguments, code=1)
        assert error.startswith("fedhds: error: ") and error.count("\n") == 1 and "Traceback" not in error
        return error

    assert "none.jsonl" in fails(tmp_path / "none.jsonl")
    assert "40 records" in fails(data, "--count", 41)
    assert "no such field" in fails(data, "--instruction", "question")
    hole = blobs()
    hole[2, 1] = np.nan
    short, flat = np.ones((3, 2)), np.ones(40)
    for values, word in ((short, "expected 40 rows"), (flat, "1 dimensions"), (hole, "row 2, column 1")):
        np.save(tmp_path / "bad.npy", values)
        assert word in fails(data, "--features", tmp_path / "bad.npy")
    np.save(tmp_path / "bad.npy", blobs())
    assert "4 equal parts" in fails(data, "--features", tmp_path / "bad.npy", "--feature-layers", 4)
    np.save(tmp_path / "bad.npy", np.array(["a"] * 40)[:, None])
    assert "dtype" in fails(data, "--features", tmp_path / "bad.npy")
    np.save(tmp_path / "bad.npy", np.array([{}] * 40), allow_pickle=True)
    assert "numpy.save" in fails(data, "--features", tmp_path / "bad.npy")
    assert "numpy.save" in fails(data, "--features", data)
    assert "no model" in fails(data, "--model", tmp_path / "no model")
    assert "colour, shade" in fails(_text(tmp_path, '{"colour": "red", "shade": 1}'))
    assert ":2: expected JSON" in fails(_text(tmp_path, '{"instruction": "a", "response": "b"}\n{"instruction": '))
    assert "bad.jsonl" in fails(_text(tmp_path, "[1, 2]"))
    assert "bad.jsonl" in fails(_text(tmp_path, ""))
    assert "does not keep its records apart" in fails(data, "--split", "test")
    assert "expected a folder" in fails(data, "--format", "natural_instructions")
    assert "expected a file" in fails(tmp_path, "--format", "jsonl")
    assert "device" in fails(data, "--model", "embedded", "--device", "abacus")
    before = data.read_bytes()
    assert "another file" in fails(data, "--out", data) and data.read_bytes() == before
    assert "folder that is there" in fails(data, "--out", tmp_path / "no/kept.jsonl")
    assert "layers from 1 to 4" in fails(data, "--model", "embedded", "--layers", "1,9")


def _text(folder, text):
    path = folder / "bad.jsonl"
    path.write_text(text)
    return path


# --- simulate -------------------------------------------------------------------------------------------------------

CONFIG = """
name = "small"
seeds = [1, 2]
budget = 4
methods = ["random", "stratified"]
prompt = "short"
[data]
format = "embedded"
embedded = { records_per_task = 2, test_records_per_task = 1 }
partition = { kind = "iid", clients = 3 }
[federation]
rounds = 1
participation = { count = 2 }
[generation]
max_new_tokens = 2
records = 2
"""


def test_a_simulation_is_priced_run_and_not_run_again(run, tmp_path):
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    options = ["--model", "embedded", "--out", tmp_path / "out", "--seed", 1, "--method", "random"]
    assert "minutes" in run("simulate", config, *options, "--dry-run")
    assert not (tmp_path / "out/random").exists()
    text = run("simulate", config, *options)
    assert "random" in text and "stratified" not in text and str(tmp_path / "out") in text
    document = json.loads(run("simulate", config, *options, "--json"))
    rows = {row["method"]: row for row in document["table"]["rows"]}
    assert set(rows) == {"untuned", "random"} and rows["random"]["trained"] == 4
    base = json.loads(next((tmp_path / "out").rglob("adapter_config.json")).read_text())["base_model_name_or_path"]
    assert (tmp_path / "out/embedded-model/config.json").exists() and base == str(tmp_path / "out/embedded-model")


def test_a_bad_simulation_is_1_and_one_line(run, tmp_path):
    config = tmp_path / "small.toml"
    assert "small.toml" in run("simulate", config, code=1)
    config.write_text(CONFIG.replace("budget", "bugdet"))
    error = run("simulate", config, "--model", "embedded", "--out", tmp_path / "out", code=1)
    assert "bugdet" in error and error.count("\n") == 1
    assert "--seed" in run("simulate", config, "--seed", "x", code=2)


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_the_doctor_finds_this_installation_well(run):
    text = run("doctor")
    assert fedhds.__version__ in text and "cpu" in text and text.count("  pass  ") == len(doctor.CHECKS)
    document = json.loads(run("doctor", "--json"))
    assert all(test["passed"] for test in document["self_test"]) and document["numpy"] == np.__version__
    assert set(document["packages"]) >= {"flwr", "fedml", "transformers", "peft", "tqdm"}


def test_the_doctor_names_what_fails(capsys, monkeypatch):
    def broken():
        raise ValueError("the bits differ")

    monkeypatch.setattr(doctor, "CHECKS", [("sums", lambda: None), ("bits", broken)])
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "pass  sums" in out and "FAIL  bits: ValueError: the bits differ" in out and "1 of 2 checks failed" in out
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["self_test"][1]["error"] == "ValueError: the bits differ"


# --- all ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["select"], ["simulate"], ["experiment"], ["report"], ["explain"], ["doctor"]], ids=" ".join)
def test_help_is_help(run, command):
    text = run(*command, "--help")
    assert "usage: fedhds" in text and ("examples:" in text) == (command not in ([], ["doctor"]))
    assert "130" in text or command
    assert "--json" in text or not command


def test_a_process_of_its_own(data):
    assert child("--version").stdout.decode().strip() == f"fedhds {fedhds.__version__}"
    none = child()
    assert none.returncode == 2 and b"COMMAND" in none.stderr
    failed = child("select", "none.jsonl")
    assert failed.returncode == 1 and failed.stdout == b"" and failed.stderr.count(b"\n") == 1


def test_what_nobody_foresaw_is_one_line_too(capsys, monkeypatch, data):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("fedhds._cli.select.read", broken)
    assert main(["select", str(data)]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error and error.count("\n") == 1
    monkeypatch.setenv("FEDHDS_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["select", str(data)])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes that break")
def test_a_reader_that_has_enough_is_no_error(data, array):
    command = f"'{sys.executable}' -m fedhds select '{data}' --features '{array}' --count 4 --json | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"{", b"")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_bars_are_shown_on_a_terminal_and_ctrl_c_is_130(tmp_path):
    pytest.importorskip("tqdm", reason="tqdm draws the bars", exc_type=ImportError)
    import fcntl  # neither is on Windows
    import termios

    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"instruction": f"Say {i}.", "response": str(i)}) + "\n" for i in range(6000)))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6000, 50)))
    arguments = ["select", path, "--features", tmp_path / "x.npy", "--method", "fedhds_shared", "--count", "60"]
    shown, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "fedhds", *map(str, arguments)], stdout=subprocess.PIPE, stderr=terminal,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    os.close(terminal)
    text = b""
    while b"t-SNE" not in text and (more := os.read(shown, 4096)):
        text += more
    process.send_signal(signal.SIGINT)
    try:
        while more := os.read(shown, 4096):
            text += more
    except OSError:
        pass  # how Linux says that the other side of a pseudo-terminal is closed
    out, _ = process.communicate(timeout=60)
    os.close(shown)
    assert process.returncode == 130, text
    assert out == b"" and b"fedhds: stopped" in text and b"Traceback" not in text
