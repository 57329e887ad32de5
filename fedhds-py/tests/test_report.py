"""The report of runs: made by hand and at the end of an experiment, of files that are whole and of others."""

import csv
import json

import pytest

import fedhds
from test_cli import call
from test_experiment import CONFIG, config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a small experiment, run by the command, and what the command printed."""
    folder = tmp_path_factory.mktemp("report")
    fedhds.write_embedded_model(folder / "model")
    views = CONFIG.replace("[federation]", "[report]\nmap_records = 5\ntensorboard = true\n[federation]")
    file = config(folder, "small", views.replace(', "fedhds_robust"', ""))
    experiments = fedhds.Experiments(file, model=folder / "model")
    experiments.run()
    return folder / "small", experiments


def test_it_is_one_page_with_its_tables_and_the_same_each_time(runs, tmp_path):
    folder, experiments = runs
    made = experiments.report()
    assert made.page == str(folder / "report/report.html") and made.runs == 5 and made.left_out == []
    page = (folder / "report/report.html").read_text()
    assert "<h1>FedHDS: small</h1>" in page and "<h2 id=\"costs\">" in page
    assert "http://" not in page and "https://" not in page and page.count("<script") == 1
    again = fedhds.report([folder, folder], out=tmp_path)
    assert (tmp_path / "report.html").read_text() == page and again.runs == 5
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["condition"], row["method"]) for row in rows} >= {("clean", "random"), ("junk", "stratified")}
    record = json.loads((folder / "junk/stratified/seed-1/run.json").read_text())
    (row,) = [row for row in rows if (row["condition"], row["method"]) == ("junk", "stratified")]
    assert float(row["loss"]) == record["metrics"]["loss"]["mean"]
    assert (folder / "junk/stratified/seed-1/events.out.tfevents.fedhds").stat().st_size > 100


def test_the_command_names_what_it_leaves_out(runs, tmp_path, capsys):
    folder, _ = runs
    copy = tmp_path / "runs/random"
    copy.mkdir(parents=True)
    (copy / "run.json").write_bytes((folder / "clean/random/seed-1/run.json").read_bytes())
    (tmp_path / "runs/run.json").write_text("{")
    from fedhds.__main__ import main

    assert main(["report", str(tmp_path / "runs"), "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["runs"] == 1 and document["page"] == str(tmp_path / "runs/report/report.html")
    assert len(document["left_out"]) == 1 and "left out: " in err and "run.json" in err
    text = call("report", copy, "--out", tmp_path / "page", capsys=capsys)
    assert text.strip() == f"report of 1 run: {tmp_path / 'page/report.html'}"
    assert "at least one run record" in call("report", tmp_path / "page", code=1, capsys=capsys)
    assert "none" in call("report", tmp_path / "none", code=1, capsys=capsys)
    assert "RUNS" in call("report", code=2, capsys=capsys)
    with pytest.raises(fedhds.InputError, match="at least one run record"):
        fedhds.report([], out=tmp_path / "nothing")
