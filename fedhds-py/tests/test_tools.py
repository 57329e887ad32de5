"""Rouge-L, simulations, interrupts."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import fedhds

ROOT = Path(__file__).parents[2]

CONFIG = """
name = "small"
seeds = [1]
budget = 4
methods = ["random"]
prompt = "short"
data = { format = "embedded", embedded = { records_per_task = 2, test_records_per_task = 1 }, partition = { kind = "iid", clients = 3 } }
federation = { rounds = 2, participation = { count = 2 } }
generation = { max_new_tokens = 2, records = 2 }
"""


def test_rouge_has_both_flavours():
    assert fedhds.rouge_l("a cat sat", ["no", "the cat sat"], flavor="rouge_score").f1 == pytest.approx(2 / 3)
    assert fedhds.rouge_l("running dogs", "run dog", flavor="rouge_score", stemmer=True).f1 == pytest.approx(1)
    with pytest.raises(fedhds.ParameterError, match="flavor"):
        fedhds.rouge_l("a", "a", flavor="bleu")
    with pytest.raises(fedhds.InputError, match="at least one"):
        fedhds.rouge_l("a", [])


def test_a_simulation_runs_and_is_not_run_again(tmp_path):
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    model = ROOT / "examples/models/embedded"
    cost = fedhds.simulate(config, model=model, out=tmp_path / "out", dry_run=True)
    assert cost.table["stages"] and "minutes" in cost.text
    result = fedhds.simulate(config, model=model, out=tmp_path / "out")
    rows = {row["method"]: row for row in result.table["rows"]}
    assert rows["random"]["trained"] == 8 and "random" in result.text
    record = json.loads((Path(result.out) / "random/seed-1/run.json").read_text())
    assert len(record["rounds"]) == 2
    assert fedhds.simulate(config, model=model, out=tmp_path / "out").table == result.table


def test_a_simulation_refuses_what_is_wrong_before_it_works(tmp_path):
    config = tmp_path / "small.toml"
    with pytest.raises(fedhds.FileError, match="small.toml"):
        fedhds.simulate(config)
    config.write_text(CONFIG.replace("budget", "bugdet"))
    with pytest.raises(fedhds.ConfigError, match=r"small\.toml: `bugdet` \(line \d+, column 1\): .*did you mean `budget`"):
        fedhds.simulate(config)
    config.write_text(CONFIG)
    with pytest.raises(fedhds.ConfigError, match="model"):
        fedhds.simulate(config, model=tmp_path / "none")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT between processes")
def test_ctrl_c_stops_heavy_work():
    code = """
        import signal, numpy as np, fedhds
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are begun without it
        x = np.random.default_rng(0).normal(size=(3000, 50))
        try:
            print("begins", flush=True)
            fedhds.TSNE(max_iter=100_000).fit(x)
        except KeyboardInterrupt:
            print("stopped", flush=True)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begins\n"
    time.sleep(1)  # by then it is in the native call, which would go on for minutes
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "stopped\n"
