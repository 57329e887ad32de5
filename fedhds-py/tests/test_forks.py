"""A process that is forked after heavy calls does them too, with the same bits: its threads are its own."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback

import numpy as np
import pytest

import fedhds

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

PATIENCE = 120  # seconds, for what takes moments


def kinds(folder):
    """What is parallel, each as a function of nothing."""
    draw = np.random.default_rng(0)
    wide, tall = draw.normal(size=(200, 300)).astype(np.float32), draw.normal(size=(900, 16)).astype(np.float32)
    pairs, low = draw.normal(size=(2049, 32)).astype(np.float32), draw.normal(size=(600, 4)).astype(np.float32)
    train, test = fedhds.embedded_records(records_per_task=3, test_records_per_task=1)
    model = fedhds.Model.embedded()
    trainer, layers = fedhds.LoraTrainer(model, prompt="short", r=2), fedhds.LayerFeatures(model, prompt="short")
    adapter = trainer.init(1)
    clients = fedhds.partition(train[:40], "iid", clients=2, seed=1)
    method = fedhds.Method("fedhds_coverage", budget=20)
    file = folder / "records.jsonl"
    file.write_text("".join(f'{{"instruction": "add {i} and 1", "response": "{i + 1}"}}\n' for i in range(500)))

    def federation():
        server, client = fedhds.Server(method), fedhds.Client(0, method)
        server.receive(0, client.summarize(server.begin_round(0, [0]), tall))
        return client.choose(server.select()[0])

    def simulation():
        given = {"trainer": trainer, "rounds": 1, "participation": 1.0, "judge": False, "clients_at_once": 2}
        return fedhds.Simulation("random", clients, **given).run().adapter

    return {
        "HDBSCAN of pairs": lambda: fedhds.HDBSCAN(5).fit(pairs).labels_,
        "HDBSCAN of a tree": lambda: fedhds.HDBSCAN(5).fit(low).labels_,
        "k-means": lambda: fedhds.KMeans(20, n_init=2, max_iter=5).fit(tall).labels_,
        "t-SNE": lambda: fedhds.TSNE(max_iter=5).fit_transform(wide),
        "PCA": lambda: fedhds.PCA(3).fit_transform(wide),
        "kernel PCA": lambda: fedhds.KernelPCA(3, kernel="rbf").fit_transform(wide),
        "projection": lambda: fedhds.SharedProjection(64).fit_transform(wide),
        "text features": lambda: fedhds.TextFeatures().extract(train),
        "near copies": lambda: fedhds.near_copies(train),
        "a file": lambda: fedhds.load_records(file),
        "selection": federation,
        "layer features": lambda: layers.extract(train[:40]),
        "tokens": lambda: fedhds.count_tokens(train, model, "short"),
        "losses": lambda: fedhds.ResponseLoss(model, prompt="short").score(train[:40]),
        "training": lambda: trainer.train(adapter, train[:8], 1).adapter,
        "evaluation": lambda: fedhds.ModelEvaluator(model, prompt="short", max_new_tokens=4).evaluate(test[:8], adapter),
        "generation": lambda: model.generate([record.instruction for record in test[:8]], max_new_tokens=4),
        "the mean": lambda: fedhds.weighted_mean([(adapter, 1), (trainer.init(2), 2)]),
        "simulation": simulation,
        "Rouge-L": lambda: fedhds.rouge_l("a cat sat", ["the cat sat"]),
        "loading": lambda: fedhds.Model.embedded().fingerprint,
    }  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The kinds, and what each gave in this process, whose threads have all begun then."""
    work = kinds(tmp_path_factory.mktemp("files"))
    return {name: (call, call()) for name, call in work.items()}


def same(a, b):
    return np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b


def in_child(work):
    """Does the work in a fork of this process; what went wrong there, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            try:
                work()
                said = b""
            except BaseException:
                said = traceback.format_exc().encode()
            os.write(writer, said[-4000:])
        finally:
            os._exit(0)
    os.close(writer)
    until = time.monotonic() + PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            return "it hung"
        time.sleep(0.01)
    said = os.read(reader, 5000).decode()
    os.close(reader)
    return said


def check(told, names=None):
    for name, (call, expected) in told.items():
        if names is None or name in names:
            assert same(call(), expected), name


def test_each_kind_of_call_works_in_a_fork(told):
    for name in told:
        assert in_child(lambda name=name: check(told, [name])) == "", name


def test_all_of_them_work_in_one_fork_one_after_the_other(told):
    assert in_child(lambda: check(told)) == ""
    check(told, ["PCA", "training"])  # and here still


def test_a_fork_of_a_fork_works(told):
    def work():
        check(told, ["k-means"])
        assert in_child(lambda: check(told, ["k-means", "training", "simulation"])) == ""

    assert in_child(work) == ""


def test_a_fork_before_any_call_works_and_so_do_its_own():
    script = (
        "import os, numpy as np, fedhds\n"
        "x = np.random.default_rng(0).normal(size=(200, 300))\n"
        "child = os.fork()\n"
        "fedhds.PCA(2).fit(x)\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "else: os._exit(0)\n"
    )
    child = os.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", script])
    assert os.waitpid(child, 0)[1] == 0


def _pooled(rows):
    rows = np.random.default_rng(rows).normal(size=(rows, 40))
    return pickle.dumps(fedhds.PCA(2).fit_transform(rows))


def test_multiprocessing_by_fork_works(told):
    sizes = [210, 220, 230, 240]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(_pooled, sizes).get(timeout=PATIENCE)
    assert found == [_pooled(size) for size in sizes]


def test_stages_of_ones_own_and_the_log_work_in_a_fork(caplog):
    method = fedhds.Method("fedhds_coverage", budget=4, stages={"client.reducer": lambda x, seed: fedhds.PCA(2).fit_transform(x)})
    x = np.random.default_rng(0).normal(size=(300, 400))

    def work():
        server, client = fedhds.Server(method), fedhds.Client(0, method)
        with caplog.at_level(logging.DEBUG, "fedhds"):
            server.receive(0, client.summarize(server.begin_round(0, [0]), x))
        assert any("a round begins" in record.message for record in caplog.records)

    work()
    assert in_child(work) == ""
