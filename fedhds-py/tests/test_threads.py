"""One object in many threads, and Ctrl-C: every call ends, with an answer or an error that says why."""

import _thread
import threading
import time

import numpy as np
import pytest

import fedhds

METHOD = fedhds.Method("fedhds_coverage", budget=4)


def in_threads(work, count=4, times=6):
    """Calls the work so often in so many threads at once; what was raised."""
    raised, ready = [], threading.Barrier(count)

    def run():
        ready.wait()
        for _ in range(times):
            try:
                work()
            except BaseException as error:
                raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    [thread.start() for thread in threads]
    [thread.join(120) for thread in threads]
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_what_never_changes_serves_all_threads():
    train, test = fedhds.embedded_records(records_per_task=1, test_records_per_task=1)
    model = fedhds.Model.embedded()
    trainer, text = fedhds.LoraTrainer(model, prompt="short", r=2, max_steps=1), fedhds.TextFeatures()
    layers, evaluator = fedhds.LayerFeatures(model, prompt="short"), fedhds.ModelEvaluator(model, max_new_tokens=1)
    adapter, kmeans = trainer.init(1), fedhds.KMeans(2, n_init=1).fit(np.eye(6))
    simulation = fedhds.Simulation("random", [train[:4]], trainer=trainer, rounds=1, participation=1.0, judge=False)
    for call in [
        lambda: layers.extract(train[:4], adapter), lambda: trainer.train(adapter, train[:2]), lambda: text.extract(train),
        lambda: evaluator.evaluate(test[:1], adapter), lambda: model.generate(["a"], max_new_tokens=1), adapter.to_bytes,
        lambda: kmeans.predict(np.eye(6)), lambda: fedhds.KMeans(2, n_init=1).fit(np.eye(6)), lambda: simulation.run(),
    ]:  # fmt: skip
        assert in_threads(call, times=2) == []


def test_what_changes_serves_one_call_at_a_time_and_says_so():
    x = np.random.default_rng(0).normal(size=(400, 20))
    server, client = fedhds.Server(METHOD), fedhds.Client(0, METHOD)
    start = server.begin_round(0, [0])
    summary = client.summarize(start, x)
    server.receive(0, summary)
    calls = [
        lambda: client.summarize(start, x), lambda: client.mark_trained([1]), client.state, lambda: client.trained,
        lambda: client.refused, lambda: client.groups, lambda: client.pilot(start), lambda: client.resume(client.state()),
        server.state, server.orders, lambda: server.selection, lambda: server.most(0), lambda: server.receive(0, summary),
        lambda: server.begin_round(1, [0]), server.select, server.abandon_round, lambda: server.leave_out(0, "late"),
    ]  # fmt: skip
    number = iter(range(10**9))
    raised = in_threads(lambda: calls[next(number) % len(calls)](), times=40)
    assert all(isinstance(error, fedhds.Error) for error in raised), raised
    assert client.id == 0


def test_a_stage_that_calls_its_own_server_gets_an_error():
    class Memory:
        def commit(self, trained):
            server.selection

        covered = staticmethod(lambda: (np.zeros((0, 0)), np.zeros(0)))
        state = staticmethod(lambda: b"")
        resume = staticmethod(lambda state: None)
        bound = staticmethod(lambda: 3)

    server = fedhds.Server(fedhds.Method("fedhds_coverage", budget=2, stages={"server.memory": Memory}))
    client = fedhds.Client(0, METHOD)
    server.receive(0, client.summarize(server.begin_round(0, [0]), np.eye(9)))
    server.select()
    with pytest.raises(fedhds.Error, match="one call at a time"):
        server.end_round({0: 1})


DRAW = np.random.default_rng(1)
ROWS = DRAW.normal(size=(60_000, 64)).astype(np.float32)
WIDE = DRAW.normal(size=(6_000, 6_000)).astype(np.float32)


def slow(folder):
    """Calls that take minutes where nobody stops them."""
    train, test = fedhds.embedded_records(records_per_task=40, test_records_per_task=40, allow_fewer=True)
    many = [fedhds.Record(f"{i} {r.id}", r.instruction, r.input, r.responses) for i in range(60) for r in train]
    model = fedhds.Model.embedded()
    trainer = fedhds.LoraTrainer(model, prompt="short", batch_size=256, local_epochs=1000)
    word = " ".join(str(i % 997) for i in range(1_000_000))
    return {
        "k-means": lambda: fedhds.KMeans(4000).fit(ROWS),
        "HDBSCAN of pairs": lambda: fedhds.HDBSCAN(5).fit(ROWS),
        "HDBSCAN of a tree": lambda: fedhds.HDBSCAN(5).fit(DRAW.normal(size=(400_000, 12))),
        "t-SNE": lambda: fedhds.TSNE(angle=0.0).fit(ROWS[:20_000]),
        "PCA of many components": lambda: fedhds.PCA(3000).fit(WIDE),
        "kernel PCA": lambda: fedhds.KernelPCA(3000, kernel="rbf").fit(WIDE),
        "projection": lambda: fedhds.SharedProjection(60_000).fit(WIDE[:2000]),
        "training": lambda: trainer.train(trainer.init(1), many, 1),
        "layer features": lambda: fedhds.LayerFeatures(model, prompt="short", batch_tokens=100_000).extract(many),
        "evaluation": lambda: fedhds.ModelEvaluator(model, max_new_tokens=200, batch_size=512).evaluate(many),
        "generation": lambda: model.generate([r.instruction for r in many], max_new_tokens=200, batch_size=512),
        "losses": lambda: fedhds.ResponseLoss(model, batch_size=512).score(many),
        "simulation": lambda: fedhds.Simulation("random", [many], trainer=trainer, judge=False).run(),
        "Rouge-L": lambda: fedhds.rouge_l(word, [word[::-1]] * 20, flavor="rouge_score"),
        "selection": lambda: fedhds.Client(0, METHOD).summarize(fedhds.Server(METHOD).begin_round(0, [0]), np.tile(ROWS, (1, 4))),
    }  # fmt: skip


def test_a_call_in_another_thread_goes_on_through_ctrl_c():
    found = []
    thread = threading.Thread(target=lambda: found.append(fedhds.KMeans(3, n_init=1).fit(ROWS[:2000, :8]).labels_))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _thread.interrupt_main()
        for _ in range(200):
            time.sleep(0.01)
    thread.join(300)
    assert len(found[0]) == 2000


@pytest.fixture(scope="module")
def minutes(tmp_path_factory):
    return slow(tmp_path_factory.mktemp("files"))


NAMES = (
    "k-means", "HDBSCAN of pairs", "HDBSCAN of a tree", "t-SNE", "PCA of many components", "kernel PCA", "projection", "training",
    "layer features", "evaluation", "generation", "losses", "simulation", "Rouge-L", "selection",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_is_heard(minutes, name):
    """Within seconds of it where a machine is busy; the calls would take minutes."""
    came = []

    def interrupt():
        came.append(time.monotonic())
        _thread.interrupt_main()

    timer = threading.Timer(1.0, interrupt)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            minutes[name]()
        heard = time.monotonic() - came[0]
    finally:
        timer.cancel()
        timer.join()
    assert heard < 20, heard
