"""Why records were picked: by the server, in the run record, on the command line."""

import copy
import json
import os
import re

import numpy as np
import pytest

import fedhds
from fedhds.__main__ import main
from test_gate import CLIENTS, METHOD, Judge, a_round, simulate


@pytest.fixture(scope="module")
def outcome():
    """Three rounds with an open gate."""
    return simulate(CLIENTS, Judge(), rounds=3)[1]


@pytest.fixture
def file(outcome, tmp_path):
    """The same as a run record."""
    told = {"schema": 1, "experiment": "test", "method": "fedhds_robust", "seed": 3, "rounds": outcome.rounds}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


@pytest.fixture
def run(capsys):
    def call(*arguments, code=0):
        try:
            got = main(["explain", *map(str, arguments)])
        except SystemExit as stopped:
            got = stopped.code
        out, err = capsys.readouterr()
        assert got == code, err or out
        return (out, err) if code == 0 else err

    return call


def test_each_record_of_an_open_gate_has_its_reasons(outcome):
    picks = fedhds.explain(outcome, refused=True)
    taken = [pick for pick in picks if not pick.refused]
    ids = [id for one in outcome.rounds for client in one["clients"] for id in client["selected"]]
    assert [pick.record for pick in taken] == ids and len(taken) < len(picks)
    assert taken == fedhds.explain(outcome)
    for pick in picks:
        gate = outcome.rounds[pick.round]["gate"]
        assert gate["open"] and (pick.score >= gate["least_score"]) != pick.refused
        assert pick.record.startswith(f"{pick.client}-") and pick.size >= 3 and pick.counted
        assert pick.ordered > 0 or pick.spare
        assert (pick.rank is None) == (pick.ordered == 0) == (pick.gain is None) == (pick.covered_records is None)
        assert pick.covered_distance is None and set(pick.caps) <= {"share", "room", "pass"}
    for number in range(3):
        first = {(p.client, p.group): p for p in picks if p.round == number and p.rank}
        ranked = sorted(first.values(), key=lambda pick: pick.rank)
        # Of a submodular sum no later record gains more.
        gains = [pick.gain for pick in ranked]
        assert gains == sorted(gains, reverse=True) and len({pick.rank for pick in ranked}) == len(ranked)
    assert all(pick.covered_records == 0 for pick in picks if pick.round == 0 and pick.rank)
    assert any(pick.covered_records > 0.1 for pick in picks if pick.round == 2 and pick.rank)


def test_a_run_is_narrowed_and_read_from_where_it_is(outcome, file):
    everything = fedhds.explain(outcome, refused=True)
    for run in (file, str(file), file.parent, json.loads(file.read_text())):
        assert fedhds.explain(run, refused=True) == everything
    narrow = fedhds.explain(outcome, round=1, client=4, refused=True)
    assert narrow == [pick for pick in everything if (pick.round, pick.client) == (1, 4)]
    some = everything[5]
    assert some in fedhds.explain(outcome, record=some.record, refused=True)
    for wrong, what in (({"round": 7}, "round"), ({"client": 99}, "client"), ({"record": "none"}, "record")):
        with pytest.raises(fedhds.InputError, match=f"{what}: expected"):
            fedhds.explain(outcome, **wrong)
    with pytest.raises(fedhds.FileError, match="run record that can be read"):
        fedhds.explain(file.parent / "nowhere")
    for text, match in (("[]", "an object, got list"), ("{}", "`rounds` with `clients`"), ("{", "in JSON")):
        file.write_text(text)
        with pytest.raises(fedhds.DataError, match=match):
            fedhds.explain(file)


def test_the_server_says_what_the_run_record_says(outcome):
    """The server's half alone, from messages: the reasons of the simulation's first round."""
    server, machines = fedhds.Server(METHOD, seed=3), [fedhds.Client(c, METHOD, seed=3) for c in range(6)]
    a_round(server, machines, CLIENTS)
    ordered = [group for group in server.selection if group.ordered]
    told = {
        (client["client"], group["group"]): group
        for client in outcome.rounds[0]["clients"]
        for group in client.get("groups", [])
        if group["ordered"]
    }
    assert {(group.client, group.cluster) for group in ordered} == set(told)
    for group in ordered:
        same = told[group.client, group.cluster]
        assert (group.rank, group.gain, group.records) == (same["rank"], same["gain"], same["size"])
        assert group.covered_records == same["covered"]["records"] and group.covered_distance is None
        assert set(group.caps) == set(same.get("caps", {}))
    assert all(group.rank is None and group.gain is None for group in server.selection if not group.ordered)


def test_limits_are_named():
    method = fedhds.Method("fedhds_robust", budget=12, server={"gate": "none", "share_cap": 1.0})
    server, clients = fedhds.Server(method), [fedhds.Client(c, method) for c in range(4)]
    start = server.begin_round(0, range(4))
    for client in clients:
        server.receive(client.id, client.summarize(start, fedhds.TextFeatures().extract(CLIENTS[client.id])))
    server.select()
    assert all("share" in group.caps for group in server.selection), "three records of each client"
    method = fedhds.Method("random", budget=2)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    server.receive(0, client.summarize(server.begin_round(0, [0]), records=2))
    server.select()
    assert [(group.caps, group.rank) for group in server.selection] == [(("room",), None)]


def test_coverage_is_a_distance_where_the_selector_measures_one():
    shared = {"client": {"reducer": {"kind": "none"}, "clusterer": {"n_clusters": 4}}}
    method = fedhds.Method("fedhds_coverage", budget=3, server={"memory": "coverage"}, **shared)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    features = np.random.default_rng(0).normal(size=(60, 16)) + 9 * np.eye(6, 16)[np.arange(60) % 6]
    for number in range(2):
        server.receive(0, client.summarize(server.begin_round(number, [0]), features))
        order = server.select()[0]
        ordered = [group for group in server.selection if group.ordered]
        assert sorted(group.rank for group in ordered) == [1, 2, 3] and all(group.gain > 0 for group in ordered)
        assert all((group.covered_distance is None) == (number == 0) for group in ordered)
        client.mark_trained(client.choose(order))
        server.end_round({0: 3})


def test_the_command_prints_a_table_for_each_round(run, file, outcome):
    text, err = run(file)
    assert err == "" and "fedhds_robust with seed 3 of test" in text
    assert re.findall(r"^round (\d): ", text, re.M) == ["0", "1", "2"] and text.count("the gate is open:") == 3
    head, *rows = text.split("\n\n")[1].split("\n")[1:]
    assert head.split() == ["client", "record", "group", "of", "rank", "gain", "covered", "caps", "score"]
    picks = fedhds.explain(outcome, round=0)
    assert len(rows) == len(picks)
    for row, pick in zip(rows, picks):
        fields = row.split()
        assert fields[:4] == [str(pick.client), pick.record, str(pick.group), str(pick.size)]
        assert fields[4] == ("-" if pick.rank is None else str(pick.rank)) and f"{pick.score:.3g}" in fields
        assert all(cap in row for cap in pick.caps) and ("spare" in row) == pick.spare
    text, _ = run(file, "--refused", "--show", 2)
    assert "refused" in text and text.count("--show 0 prints all") == 3
    some = fedhds.explain(outcome, round=1)[0]
    text, _ = run(file.parent, "--round", 1, "--client", some.client)
    assert "round 1:" in text and "round 0:" not in text and some.record in text
    assert all(line.split()[0] == str(some.client) for line in text.split("\n\n")[1].split("\n")[2:] if line)


def test_the_command_prints_json_and_says_what_is_wrong(run, file, outcome):
    document = json.loads(run(file, "--json", "--refused")[0])
    assert (document["method"], document["seed"]) == ("fedhds_robust", 3)
    flat = [{"round": one["round"], **pick} for one in document["rounds"] for pick in one["picks"]]
    expected = fedhds.explain(outcome, refused=True)
    assert [pick["record"] for pick in flat] == [pick.record for pick in expected]
    assert [pick["rank"] for pick in flat] == [pick.rank for pick in expected]
    assert document["rounds"][1]["gate"] == outcome.rounds[1]["gate"]
    record = expected[0].record
    (one,) = json.loads(run(file, "--json", "--record", record, "--round", 0)[0])["rounds"]
    assert [pick["record"] for pick in one["picks"]] == [record]
    for arguments, code in ((["--round", 9], 1), (["--record", "none"], 1), (["--round", "x"], 2), (["--client", -1], 2)):
        assert "expected" in run(file, *arguments, code=code)
    assert run(file.parent / "none", code=1).count("\n") == 1


def test_a_record_of_an_older_release_says_less(run, file):
    old = json.loads(file.read_text())
    for client in (client for one in old["rounds"] for client in one["clients"]):
        for name in ("groups", "reasons", "refused_reasons"):
            client.pop(name, None)
    file.write_text(json.dumps(old))
    picks = fedhds.explain(file)
    assert picks and all(pick.group is None and pick.rank is None and pick.score is None for pick in picks)
    text, err = run(file)
    assert picks[0].record in text and "older release" in err


def test_a_client_that_was_left_out_is_marked(outcome, file):
    told = copy.deepcopy(json.loads(file.read_text()))
    told["rounds"][0]["left_out"] = {"2": "its message was refused"}
    assert {pick.counted for pick in fedhds.explain(told, round=0, client=2)} <= {False}
    assert all(pick.counted for pick in fedhds.explain(told, round=0, client=1))


def test_cells_of_an_experiment_are_explained(run, tmp_path):
    config = tmp_path / "small.toml"
    config.write_text("""
name = "small"
seeds = [1]
budget = 4
methods = ["random", "fedhds", "fedhds_robust"]
prompt = "short"
[data]
format = "embedded"
embedded = { records_per_task = 2, test_records_per_task = 1 }
partition = { kind = "iid", clients = 3 }
[federation]
rounds = 2
participation = { count = 2 }
[generation]
max_new_tokens = 2
records = 2
""")
    model = tmp_path / "model"
    fedhds.write_embedded_model(model)
    out = fedhds.simulate(os.fspath(config), model=os.fspath(model), out=os.fspath(tmp_path / "out")).out
    robust, random, paper = (f"{out}/{name}/seed-1" for name in ("fedhds_robust", "random", "fedhds"))
    text, err = run(robust)
    assert err == "" and "round 1: 4 records; the gate is closed" in text
    assert any(pick.rank == 1 for pick in fedhds.explain(robust, round=1))
    drawn = fedhds.explain(random)
    assert len(drawn) == 8 and all(pick.group == 0 and pick.rank is None and pick.ordered for pick in drawn)
    assert run(random)[1] == ""
    assert all(pick.server_cluster is not None and pick.rank is None for pick in fedhds.explain(paper))
