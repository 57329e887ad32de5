"""Arbitrary arrays, numbers, bytes and texts into the public API: an answer or an exception, never a crash of Python.

An exception is a ``fedhds.Error`` or a ``TypeError``; for text that is no Unicode (lone surrogates) Python's own
``UnicodeEncodeError``. Most of an example is what it should be, so that the rest comes far. The examples are the same
in every run. A crash ends pytest itself, with a traceback of faulthandler that names the test.
"""

import copy
import json
from contextlib import contextmanager

import numpy as np
import pytest

import fedhds

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

ALLOWED = (fedhds.Error, TypeError, UnicodeEncodeError)


def fuzz(examples):
    checks = list(HealthCheck)
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=checks)


@contextmanager
def refusals(answers):
    """Lets nothing out but what is allowed, and that only with a message; counts what was answered."""
    try:
        with np.errstate(all="ignore"):
            yield
        answers.append(True)
    except ALLOWED as error:
        assert str(error).strip()
        answers.append(False)


def both(answers, least=0.1):
    """Whether the examples came far: neither all were refused nor all answered."""
    share = sum(answers) / len(answers)
    assert least < share < 0.98, f"{share:.0%} of {len(answers)} calls were answered"


def mostly(usual, odd, share=4):
    """``usual`` in about ``share`` of ``share + 1`` examples."""
    return st.integers(0, share).flatmap(lambda n: usual if n else odd)


# Arrays: values, layouts, shapes, kinds.
SPECIAL = [-0.0, 1e-45, 1e-30, 3e38, -3e38, 1e300, np.nan, np.inf, -np.inf]
VALUES = mostly(st.floats(-100, 100, width=32), st.one_of(st.sampled_from(SPECIAL), st.floats(width=32)), 30)
DTYPES = "float64 float16 int8 uint64 bool complex64 object <U2 S2 datetime64[s] longdouble >f4".split()
CLAIMS = [(2**40, 1), (1, 2**40), (2**20, 2**20), (2**40, 0), (0, 2**40), (2**31, 2), (2**40,)]
SHAPES = mostly(st.tuples(st.integers(1, 14), st.integers(1, 5)), st.lists(st.integers(0, 4), max_size=4), 8)


@st.composite
def arrays(draw):
    """Mostly small matrices of finite numbers, of any layout; some of other kinds, shapes, or sizes only claimed."""
    if draw(st.integers(0, 15)) == 15:
        kind = draw(st.sampled_from(["float32", "float64", "int8"]))
        return np.broadcast_to(np.zeros((), dtype=kind), draw(st.sampled_from(CLAIMS)))
    shape = draw(SHAPES)
    pool = draw(st.lists(VALUES, min_size=1, max_size=8))
    with np.errstate(all="ignore"):
        array = np.resize(np.array(pool), int(np.prod(shape, dtype=int))).reshape(shape)
        array = np.asarray(array + np.arange(array.size).reshape(shape) % 7)  # rows differ, for the most part
        kind = draw(mostly(st.just("float32"), st.sampled_from(DTYPES), 5))
        try:
            array = array.astype(kind)
        except (ValueError, TypeError, OverflowError):
            pass  # NaN as a date
    layout = draw(st.integers(0, 6))
    if layout == 1:
        return np.asfortranarray(array)
    if layout == 2 and array.ndim:
        return array[::-1]
    if layout == 3 and array.ndim == 2:
        return np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == 4:
        array.flags.writeable = False
    if layout == 5:
        return array.tolist()
    if layout == 6 and array.dtype != object:
        unaligned = np.zeros(array.nbytes + 1, dtype=np.uint8)[1:].view(array.dtype).reshape(array.shape)
        unaligned[...] = array
        return unaligned
    return array


# Parameters.
SMALL = st.integers(1, 6)
ODD = st.one_of(
    st.integers(-2, 12), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from([2**31, 2**40, 2**63, 10**400, np.int8(3), np.float32(0.5), True, None, [2], np.zeros(2)]),
)  # fmt: skip
# For counts of steps: large ones are right, and take long.
SLOW = st.sampled_from([-1, 0, 2.5, None, True, "3", np.uint64(2)])
ABOVE = st.floats(0.0009765625, 50, width=32)
SEED = mostly(st.integers(0, 2**64 - 1), ODD, 20)
KINDS = {
    fedhds.TSNE: {
        "n_components": (st.integers(1, 2), ODD), "perplexity": (ABOVE, ODD), "max_iter": (st.integers(0, 25), SLOW),
        "perplexity_limit": (st.sampled_from(["third", "rows"]), ODD), "learning_rate": (ABOVE, ODD),
        "angle": (ABOVE, ODD), "early_exaggeration": (st.floats(1, 50), ODD), "early_exaggeration_iter": (SMALL, ODD),
        "random_state": (SEED, ODD),
    },
    fedhds.PCA: {"n_components": (SMALL, ODD), "whiten": (st.booleans(), ODD)},
    fedhds.KernelPCA: {
        "n_components": (SMALL, ODD), "kernel": (st.sampled_from(["linear", "rbf", "poly", "cosine"]), ODD),
        "gamma": (ABOVE, ODD), "degree": (SMALL, ODD), "coef0": (ABOVE, ODD),
    },
    fedhds.SharedProjection: {"n_components": (SMALL, SLOW), "random_state": (SEED, ODD)},
    fedhds.HDBSCAN: {
        "min_cluster_size": (st.integers(2, 5), ODD), "min_samples": (SMALL, ODD),
        "allow_single_cluster": (st.booleans(), ODD), "cluster_selection_epsilon": (ABOVE, ODD),
        "cluster_selection_method": (st.sampled_from(["eom", "leaf"]), ODD),
    },
    fedhds.KMeans: {
        "n_clusters": (SMALL, ODD), "n_init": (SMALL, SLOW), "max_iter": (SMALL, SLOW), "tol": (ABOVE, ODD),
        "random_state": (SEED, ODD),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_estimators(kind):
    answers = []
    usual = {"max_iter": 20} if kind is fedhds.TSNE else {}  # more steps tell no more

    @fuzz(200)
    @given(st.data(), arrays(), arrays())
    def run(data, x, more):
        names = data.draw(st.sets(st.sampled_from(sorted(KINDS[kind])), max_size=2))
        estimator = kind(**usual | {name: data.draw(mostly(*KINDS[kind][name], 6)) for name in sorted(names)})
        assert repr(estimator)
        with refusals(answers):
            rows = getattr(estimator, "fit_transform", estimator.fit)(x)
            rows = rows.labels_ if rows is estimator else rows
            assert len(rows) == len(x) and np.isfinite(rows).all()
            later = [getattr(estimator, name) for name in ("transform", "predict") if hasattr(estimator, name)]
            assert all(len(method(x)) == len(x) for method in later)
        for method in later if answers[-1] else []:
            with refusals([]):
                method(more)

    run()
    both(answers, 0.4)


def damaged(data, message):
    """A message with bytes changed, cut off or added, or something else."""
    kind = data.draw(st.integers(0, 4))
    at = data.draw(st.integers(0, len(message)))
    if kind == 0:
        return message[:at] + data.draw(st.binary(min_size=1, max_size=3)) + message[at + 1 :]
    if kind == 1:
        return message[:at]
    if kind == 2:
        return message[:at] + data.draw(st.binary(max_size=12)) + message[at:]
    if kind == 3:
        return data.draw(st.one_of(st.binary(max_size=40), st.just(None), st.text(max_size=3), st.integers()))
    return memoryview(message)


def small_adapter():
    pair = {"A": np.ones((1, 2)), "B": np.ones((1, 1))}
    return fedhds.Adapter({"r": 1}, {f"base_model.model.q_proj.lora_{x}.weight": pair[x] for x in pair})


PRESETS = [("fedhds_coverage", 3), ("fedhds_shared", 4), ("fedhds_turbo", None), ("random", 2), ("all", None)]
ORDER = ["begin", "summarize", "receive", "select", "choose", "update", "finish"]
BROKEN = ["other features", "other start", "other summary", "other order", "other update", "other state"]


def test_messages_in_any_order():
    """A server and two clients that are handed each other's messages, now and then damaged or out of turn."""
    answers = []

    @fuzz(200)
    @given(st.data(), st.sampled_from(PRESETS))
    def run(data, chosen):
        method = fedhds.Method(*chosen)
        server = fedhds.Server(method, seed=3)
        clients = [fedhds.Client(i, method, seed=3) for i in range(2)]
        features = np.random.default_rng(0).normal(size=(8, 4))
        start, summaries, orders, rows, round = b"", [b"", b""], {}, {}, 0
        states = [server.state(), clients[0].state()]
        calls = list(ORDER + ORDER)
        for _ in range(data.draw(st.integers(0, 3))):
            calls.insert(data.draw(st.integers(0, len(calls))), data.draw(st.sampled_from(BROKEN + ORDER)))
        for call in calls:
            i = data.draw(st.integers(0, 1)) if call.startswith("other") else 0
            with refusals(answers):
                if call == "begin":
                    start, round = server.begin_round(round, [0, 1], small_adapter()), round + 1
                elif call == "summarize":
                    summaries = [client.summarize(start, features) for client in clients]
                elif call == "receive":
                    for c, summary in enumerate(summaries):
                        server.receive(c, summary)
                elif call == "select":
                    orders = server.select()
                    assert all(group.records >= group.ordered >= 0 for group in server.selection)
                elif call == "choose":
                    rows = {c: clients[c].choose(order) for c, order in orders.items()}
                    for c, chosen_rows in rows.items():
                        clients[c].mark_trained(chosen_rows)
                        assert len(set(chosen_rows.tolist())) == len(chosen_rows)
                        assert (chosen_rows < len(clients[c].groups)).all()
                elif call == "update":
                    for c, chosen_rows in rows.items():
                        if len(chosen_rows):
                            server.receive_update(c, small_adapter(), len(chosen_rows))
                elif call == "finish":
                    server.finish_round()
                elif call == "other features":
                    clients[i].summarize(start, data.draw(arrays()), records=data.draw(ODD))
                elif call == "other start":
                    clients[i].summarize(damaged(data, start), features)
                elif call == "other summary":
                    server.receive(i, damaged(data, summaries[i]))
                elif call == "other order":
                    clients[i].choose(damaged(data, orders.get(i, b"")))
                elif call == "other update":
                    server.receive_update(data.draw(ODD), small_adapter(), data.draw(ODD))
                else:
                    text = data.draw(st.sampled_from([*states, clients[i].state(), server.state()]))
                    at = data.draw(st.integers(0, len(text)))
                    more = data.draw(st.sampled_from([b"", b"9", b"-1", b"\xff\xff\xff\xff\xff", b"[", bytes(9)]))
                    data.draw(st.sampled_from([*clients, server])).resume(text[:at] + more + text[at:])

    run()
    both(answers, 0.5)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


def test_methods():
    """Settings of a preset of which one is replaced, and the numbers of clients, rounds, layers."""
    answers = []

    @fuzz(200)
    @given(st.data(), st.sampled_from(fedhds.presets()))
    def run(data, preset):
        given = copy.deepcopy(fedhds.Method(preset, 3 if preset in ("random", "stratified") else None).settings)
        place, name = given, data.draw(st.sampled_from(sorted(given)))
        while isinstance(place[name], dict) and place[name] and data.draw(st.integers(0, 4)):
            place = place[name]
            name = data.draw(st.sampled_from(sorted(place)))
        words = st.sampled_from(["drop", "keep", "nearest", "facility_location", "shared", "avoid", "allow", "pca"])
        alike = {int: SMALL, float: ABOVE, bool: st.booleans(), str: words}.get(type(place[name]), st.just(place[name]))
        name = data.draw(mostly(st.just(name), st.text(max_size=4), 15))
        place[name] = data.draw(mostly(alike, st.one_of(JSON, ODD)))
        number = mostly(SMALL, ODD, 15)
        with refusals(answers):
            method = fedhds.Method(given.pop("preset", preset), **given)
            assert fedhds.Method(**json.loads(json.dumps(method.settings))) == method
            fedhds.Client(data.draw(number), method, layers=data.draw(number))
            server = fedhds.Server(method, layers=data.draw(number), seed=data.draw(SEED))
            server.begin_round(data.draw(number), data.draw(st.lists(number, min_size=1, max_size=3, unique_by=repr)))

    run()
    both(answers)


def test_rouge():
    answers, texts = [], st.text(st.characters(), max_size=20)

    @fuzz(200)
    @given(
        mostly(texts, ODD), mostly(st.lists(mostly(texts, ODD, 12), min_size=1, max_size=4), ODD),
        mostly(st.sampled_from(["rouge", "rouge_score"]), ODD), mostly(st.booleans(), ODD),
    )  # fmt: skip
    def run(prediction, references, flavor, stemmer):
        with refusals(answers):
            score = fedhds.rouge_l(prediction, references, flavor=flavor, stemmer=stemmer)
            assert all(0 <= value <= 1 for value in (score.precision, score.recall, score.f1))

    run()
    both(answers)


def test_adapters():
    answers = []
    names = st.sampled_from([*small_adapter().tensors, "base_model.model.v_proj.lora_A.weight", "", "a.b"])

    @fuzz(200)
    @given(st.data())
    def run(data):
        adapter = small_adapter()
        keys = st.sampled_from(["r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "x"])
        config = adapter.config | data.draw(st.dictionaries(keys, st.one_of(ODD, JSON), max_size=1))
        tensors = adapter.tensors | data.draw(st.dictionaries(names, arrays(), max_size=1))
        with refusals(answers):
            fedhds.Adapter(config, tensors)
        with refusals(answers):
            adapter.with_tensors(tensors)
        with refusals(answers):
            other = fedhds.Adapter.from_bytes(damaged(data, adapter.to_bytes()), config)
            other.parameters, other.tensors, repr(other)
        with refusals(answers):
            count = data.draw(mostly(SMALL, ODD))
            assert fedhds.weighted_mean([(adapter, count), (other if answers[-1] else adapter, 1)]).parameters == 3

    run()
    both(answers)


def test_records():
    answers = []
    field = mostly(st.text(min_size=1, max_size=6), st.one_of(ODD, JSON), 12)
    whole = {"instruction": field, "response": field}
    row = mostly(st.fixed_dictionaries(whole, optional={"input": field, "category": field}), JSON, 20)
    kinds = st.sampled_from([("iid", {"clients"}), ("dirichlet", {"clients", "alpha"}), ("one_task_per_client", set())])

    @fuzz(200)
    @given(st.data(), mostly(st.lists(row, min_size=1, max_size=6), JSON))
    def run(data, rows):
        with refusals(answers):
            records = fedhds.as_records(rows)
            prompts = mostly(st.sampled_from(["alpaca", "short", "raw"]), st.one_of(st.just("chat"), JSON))
            assert len(fedhds.render(records, data.draw(prompts))) == len(records)
            kind, named = data.draw(mostly(kinds, st.tuples(st.text(max_size=4), st.just({"min_records"}))))
            numbers = {name: data.draw(mostly(st.integers(1, 3), ODD)) for name in sorted(named)}
            parts = fedhds.partition(records, kind, **numbers, seed=data.draw(SEED))
            assert sorted(r.id for part in parts for r in part) == sorted(r.id for r in records)

    run()
    both(answers)
