"""Clients and servers through their messages."""

import json
from pathlib import Path

import numpy as np
import pytest

import fedhds


def features(client, n=40, d=8):
    rng = np.random.default_rng(client)
    return rng.normal(size=(n, d)) + 8 * rng.integers(0, 3, size=(n, 1))


def a_round(method, number=0, clients=(0, 3, 7), seed=5, server=None, known=None):
    server = server or fedhds.Server(method, seed=seed)
    known = {} if known is None else known
    start = server.begin_round(number, clients)
    for client in clients:
        known.setdefault(client, fedhds.Client(client, method, seed=seed))
        server.receive(client, known[client].summarize(start, features(client)))
    return {client: known[client].choose(order) for client, order in server.select().items()}, server, known


@pytest.mark.parametrize("preset", ["fedhds_shared", "fedhds_coverage"])
def test_the_budget_is_met_and_a_seed_repeats(preset):
    method = fedhds.Method(preset, budget=7)
    rows, server, _ = a_round(method)
    assert sum(map(len, rows.values())) == 7
    assert sum(group.ordered for group in server.selection) == 7
    assert all((np.diff(r) > 0).all() and r.dtype == np.int64 for r in rows.values())
    again, _, _ = a_round(method)
    assert all(np.array_equal(rows[c], again[c]) for c in rows)


def test_methods_without_features_need_only_a_number():
    method = fedhds.Method("stratified", budget=6)
    server = fedhds.Server(method)
    start = server.begin_round(0, [0, 1, 2])
    clients = [fedhds.Client(c, method) for c in range(3)]
    for client in clients:
        server.receive(client.id, client.summarize(start, records=10))
    orders = server.select()
    assert [len(client.choose(orders[client.id])) for client in clients] == [2, 2, 2]
    with pytest.raises(fedhds.InputError, match="records"):
        clients[0].summarize(start)


def test_what_was_trained_on_comes_last():
    method = fedhds.Method("random", budget=9)
    first, server, known = a_round(method)
    for client, rows in first.items():
        known[client].mark_trained(rows)
    second, _, _ = a_round(method, 1, server=server, known=known)
    assert all(not set(first[c]) & set(second[c]) for c in first)


def test_the_papers_method_may_select_nobody():
    rows, server, _ = a_round(fedhds.Method("fedhds_turbo"), clients=(0,))
    assert set(rows) == {0}
    assert len(rows[0]) == sum(group.ordered for group in server.selection)


def test_states_go_on_in_another_process():
    method = fedhds.Method("fedhds_shared", budget=5)
    server, client = fedhds.Server(method, seed=2), fedhds.Client(4, method, seed=2)
    start = server.begin_round(3, [4])
    server.receive(4, client.summarize(start, features(4)))
    client.mark_trained([1, 2])
    other_server, other = fedhds.Server(method, seed=2), fedhds.Client(4, method, seed=2)
    other_server.resume(server.state())
    other.resume(client.state())
    orders, others = server.select(), other_server.select()
    assert orders == others
    np.testing.assert_array_equal(client.choose(orders[4]), other.choose(others[4]))
    np.testing.assert_array_equal(client.groups, other.groups)
    with pytest.raises(fedhds.ProtocolError, match="state"):
        other.resume(b"{}")
    with pytest.raises(fedhds.ProtocolError, match="server state"):
        other_server.resume(client.state())
    for cut in range(len(server.state())):
        with pytest.raises(fedhds.ProtocolError, match="state"):
            fedhds.Server(method, seed=2).resume(server.state()[:cut])


def test_silent_clients_are_left_out_and_a_broken_round_is_left():
    method = fedhds.Method("fedhds_coverage", budget=4)
    server, client = fedhds.Server(method), fedhds.Client(1, method)
    start = server.begin_round(0, [0, 1])
    server.receive(1, client.summarize(start, features(1)))
    assert set(server.select()) == {1}
    server.begin_round(1, [0, 1])
    with pytest.raises(fedhds.ProtocolError, match="round"):
        server.receive(1, client.summarize(start, features(1)))


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b"HD" + b[2:], lambda b: 7])
def test_damaged_messages_are_refused(damage):
    method = fedhds.Method("fedhds_coverage", budget=4)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    start = server.begin_round(0, [0])
    summary = client.summarize(start, features(0))
    with pytest.raises(fedhds.ProtocolError, match="expected"):
        server.receive(0, damage(summary))
    server.receive(0, summary)
    with pytest.raises(fedhds.ProtocolError):
        server.receive(0, summary)


def test_methods_are_checked_where_they_are_made():
    with pytest.raises(fedhds.ConfigError, match="fedhds_turbo"):
        fedhds.Method("fedhds_tubro")
    with pytest.raises(fedhds.ConfigError, match="client.nois"):
        fedhds.Method("fedhds", client={"nois": "drop"})
    with pytest.raises(fedhds.ConfigError, match="`preset`: .*did you mean `fedhds_turbo`"):
        fedhds.Method("fedhds_tubro")
    with pytest.raises(fedhds.ConfigError, match="`client.nois`: .*did you mean `noise`"):
        fedhds.Method("fedhds", client={"nois": "drop"})
    for perplexity, word in [("30", "a number, got the text `30`"), ([30], "got a list"), (float("nan"), "JSON")]:
        with pytest.raises(fedhds.ConfigError, match=word):
            fedhds.Method("fedhds", client={"reducer": {"perplexity": perplexity}})
    with pytest.raises(fedhds.ConfigError, match="at least 1"):
        fedhds.Method("random", budget=0)
    with pytest.raises(fedhds.ParameterError, match="count"):
        fedhds.Method("random", budget=3, count="all")
    assert fedhds.Method("random") == fedhds.Method("random") != fedhds.Method("random", budget=3)
    assert fedhds.Method("fedhds").settings["client"]["clusterer"]["min_cluster_size"] == 5
    for wrong in (-1, 2**32, 1.5, "0", True):
        with pytest.raises(fedhds.ParameterError, match="client"):
            fedhds.Client(wrong, "random")


def test_the_same_seed_chooses_the_records_of_the_cores_simulation(tmp_path):
    """The simulation tells the ids of what it chose, in the order of rows: every row must be one id, in all rounds."""
    config = tmp_path / "config.toml"
    config.write_text("""
name = "same"
seeds = [5]
budget = 30
methods = [{ preset = "stratified", client = { repeats = "allow" } }]
prompt = "short"
data = { format = "embedded", embedded = { records_per_task = 2, test_records_per_task = 1 }, partition = { kind = "iid", clients = 4 } }
federation = { rounds = 8, participation = { count = 3 } }
generation = { max_new_tokens = 1, records = 0 }
""")
    model = Path(__file__).parents[2] / "examples/models/embedded"
    fedhds.simulate(config, model=model, out=tmp_path / "out")
    record = json.loads((tmp_path / "out/stratified/seed-5/run.json").read_text())
    method = fedhds.Method("stratified", budget=30, client={"repeats": "allow"})
    server = fedhds.Server(method, seed=5)
    pairs: set = set()
    chosen = 0
    for step in record["rounds"]:
        seen = {entry["client"]: entry for entry in step["clients"]}
        clients = {c: fedhds.Client(c, method, seed=5) for c in seen}
        start = server.begin_round(step["round"], list(seen))
        for c, client in clients.items():
            server.receive(c, client.summarize(start, records=seen[c]["records"]))
        for c, order in server.select().items():
            rows = clients[c].choose(order)
            chosen += len(rows)
            pairs |= {(c, row, id) for row, id in zip(rows.tolist(), seen[c]["selected"], strict=True)}
    rows = {(c, row) for c, row, _ in pairs}
    ids = {id for _, _, id in pairs}
    assert chosen > len(pairs) + 50, "records come up again and again"
    assert len(rows) == len(ids) == len(pairs)
