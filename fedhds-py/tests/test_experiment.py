"""Experiments from TOML files: several in one table, on the command line and in Python; runs that fail."""

import json
import os
import signal
import subprocess
import sys

import pytest

import fedhds
from test_cli import call

CONFIG = """
name = "NAME"
out = "OUT"
seeds = [1]
budget = 3
methods = ["random", "stratified", "fedhds_robust"]
prompt = "short"
[data]
format = "embedded"
embedded = { records_per_task = 2, test_records_per_task = 1 }
partition = { kind = "iid", clients = 3 }
[data.conditions]
clean = {}
junk = { junk = 0.5 }
[federation]
rounds = 1
participation = { count = 2 }
[generation]
max_new_tokens = 2
records = 2
"""


@pytest.fixture
def run(capsys):
    return lambda *arguments, code=0: call(*arguments, code=code, capsys=capsys)


def config(folder, name, text=CONFIG):
    path = folder / f"{name}.toml"
    path.write_text(text.replace("NAME", name).replace("OUT", str(folder / name)))
    return path


def test_several_files_are_one_table(run, tmp_path):
    one, two = config(tmp_path, "one"), config(tmp_path, "two", CONFIG.replace("seeds = [1]", "seeds = [1, 2]"))
    options = ["--model", "embedded", "--methods", "random,stratified", "--seeds", "3"]
    told = run("experiment", one, two, *options, "--dry-run")
    assert "one: " in told and "two: " in told and told.count("minutes") >= 2 and not (tmp_path / "one/random").exists()
    prices = json.loads(run("experiment", one, two, *options, "--dry-run", "--json"))
    assert len(prices["table"]) == 2 and prices["failed"] == []
    text = run("experiment", one, two, *options)
    assert "random" in text and "fedhds_robust" not in text and str(tmp_path / "one") in text
    document = json.loads(run("experiment", one, two, *options, "--json"))
    rows = document["table"]["rows"]
    assert {(row["experiment"], row["condition"]) for row in rows if row["method"] == "random"} == {
        (experiment, condition) for experiment in ("one", "two") for condition in ("clean", "junk")
    }
    assert (tmp_path / "one/joint.txt").exists() and document["out"] == str(tmp_path / "one")


def test_conditions_are_chosen_and_have_seeds_of_their_own(run, tmp_path):
    file = config(tmp_path, "one", CONFIG.replace("junk = { junk = 0.5 }", "junk = { junk = 0.5, seeds = { first = 5, count = 2 } }"))
    options = ["--model", "embedded", "--methods", "random", "--json"]
    rows = json.loads(run("experiment", file, *options))["table"]["rows"]
    assert {(row["condition"], row["seeds"]) for row in rows} >= {("clean", 1), ("junk", 2)}
    rows = json.loads(run("experiment", file, *options, "--conditions", "junk", "--seeds", "5"))["table"]["rows"]
    assert [(row["condition"], row["seeds"]) for row in rows if row["method"] == "random"] == [("junk", 1)]
    with pytest.raises(fedhds.ConfigError, match="expected some of clean, junk, got `jnk`"):
        fedhds.Experiments(file, model=tmp_path, conditions=["jnk"])


def test_in_python_it_is_prepared_priced_and_run(tmp_path):
    fedhds.write_embedded_model(tmp_path / "model")
    experiments = fedhds.Experiments(config(tmp_path, "one"), model=tmp_path / "model", methods=["fedhds_robust"])
    (about,) = experiments.describe()
    assert about.startswith("one: ") and "2 conditions" in about and experiments.out == str(tmp_path / "one")
    (cost,) = experiments.cost()
    assert "minutes" in cost.text and cost.table["stages"]
    result = experiments.run()
    assert result.failed == [] and result.out == experiments.out and "fedhds_robust" in result.text
    assert experiments.run().table == result.table
    for files, options, word in (
        ([], {}, "at least one experiment"),
        ([config(tmp_path, "a"), config(tmp_path, "b")], {"out": tmp_path / "x"}, "out: expected one experiment"),
        ([tmp_path / "none.toml"], {}, "none.toml"),
        ([config(tmp_path, "bad", CONFIG.replace("budget", "bugdet"))], {}, "did you mean `budget`"),
    ):
        with pytest.raises(fedhds.Error, match=word):
            fedhds.Experiments(files, model=tmp_path / "model", **options)


FAILS = CONFIG.replace(
    'methods = ["random", "stratified", "fedhds_robust"]',
    'methods = ["random", { preset = "fedhds_robust", name = "narrow", server = { limits = { max_groups = 1 } } }]',
)


def test_a_run_that_fails_is_named_and_ends_nobody_else(run, tmp_path, capsys):
    """Every client has several groups: a server that takes one of each refuses them all."""
    path = config(tmp_path, "fails", FAILS)
    assert call("experiment", path, "--model", "embedded", code=1, capsys=capsys).count("fedhds: failed: ") == 2
    from fedhds.__main__ import main

    for command in (["experiment", path], ["simulate", path]):
        assert main([*map(str, command), "--model", "embedded"]) == 1
        out, err = capsys.readouterr()
        assert "random" in out and "narrow, seed 1" in err and "2 runs failed" in err
    assert main(["experiment", str(path), "--model", "embedded", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert len(document["failed"]) == 2 and "clean, narrow, seed 1" in document["failed"][0]
    assert {row["method"] for row in document["table"]["rows"]} >= {"random"}


def test_the_gate_alone_is_looked_at_and_nothing_is_trained(run, tmp_path):
    path = config(tmp_path, "looked")
    told = run("experiment", path, "--model", "embedded", "--gate-only", "--dry-run")
    assert "2 federations with fedhds_robust" in told and "at most 40 pairs" in told
    document = json.loads(run("experiment", path, "--model", "embedded", "--gate-only", "--json"))
    rows = document["table"]["rows"]
    assert [row["condition"] for row in rows] == ["clean", "junk"] and document["failed"] == []
    assert rows[1]["truth"]["share"] == pytest.approx(0.5, abs=0.1) and rows[1]["seeds"] == 1
    text = run("experiment", path, "--model", "embedded", "--gate-only")
    assert "open at the end" in text and str(tmp_path / "looked") in text
    assert (tmp_path / "looked/gate.md").exists() and not (tmp_path / "looked/untuned").exists()
    assert "quality gate" in run("experiment", path, "--model", "embedded", "--gate-only", "--methods", "random", code=1)


def test_what_is_not_understood_is_2(run, tmp_path):
    for arguments, word in (
        ([], "FILE"),
        (["a", "b", "--out", "x"], "--out"),
        (["a", "--seeds", "one"], "--seeds"),
        (["a", "--seeds", "1,-2"], "--seeds"),
    ):
        assert word in run("experiment", *arguments, code=2)
    assert "none.toml" in run("experiment", tmp_path / "none.toml", code=1)
    assert "examples:" in run("experiment", "--help")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT between processes")
def test_ctrl_c_is_130_and_the_same_command_goes_on(tmp_path):
    text = CONFIG.replace("rounds = 1", "rounds = 400").replace('"random", "stratified", "fedhds_robust"', '"random"')
    command = [sys.executable, "-m", "fedhds", "experiment", str(config(tmp_path, "long", text)), "--model", "embedded"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while process.poll() is None and not list((tmp_path / "long").rglob("*random*")):
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and "fedhds: stopped" in err and "Traceback" not in err
