"""A thousand calls of each kind leave no memory behind, and what asks for more than there is is refused."""

import gc
import itertools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fedhds

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")

WARM_UP = 200
CALLS = 1000
# What goes into every call, or comes out of it, takes 16 KiB or more, so that one forgotten buffer a call makes 16 MiB
# of growth or more. The allocator's own bookkeeping (arenas of the threads that heavy calls begin, pieces between live
# blocks) was seen to move by up to 2 MiB; the bound lies between the two.
BOUND = 6 << 20

X = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)  # 64 KiB
WIDE = X.reshape(2, 8192)
BAD = X.copy()
BAD[-1, -1] = np.nan
TEXT = "word " * 13_200  # 64 KiB


class Halves:
    """A stage in Python."""

    def reduce(self, features, seed):
        return features[:, ::2].copy()


def refused(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except fedhds.Error as error:
        return str(error)
    raise AssertionError("expected an error")


def rounds(method):
    """A call for all messages of the next round: arrays in, bytes out and in, rows out, states out and in."""
    server, client, numbers = fedhds.Server(method), fedhds.Client(0, method), itertools.count()

    def a_round():
        start = server.begin_round(next(numbers), [0])
        summary = client.summarize(start, X)
        server.receive(0, summary)
        orders = server.select()
        rows = client.choose(orders[0])
        client.mark_trained(rows)
        states = client.state(), server.state()
        client.resume(states[0])
        fedhds.Server(method).resume(states[1])
        return summary, orders, rows, states

    return a_round


def kinds():
    coverage = {"client": {"clusterer": {"kind": "kmeans", "n_clusters": 16, "n_init": 1}, "shared_dims": 256}}
    method = fedhds.Method("fedhds_coverage", budget=3, **coverage)
    own = fedhds.Method("fedhds", stages={"client.reducer": Halves()})
    server = fedhds.Server(method)
    start = server.begin_round(0, [0])
    summary = fedhds.Client(0, method).summarize(start, X)
    pair = {"A": X, "B": X.T}
    adapter = fedhds.Adapter({"r": 64}, {f"base_model.model.q_proj.lora_{x}.weight": pair[x] for x in pair})
    data = adapter.to_bytes()
    model = fedhds.Model.embedded()
    records = [fedhds.Record(str(i), "Say it again.", TEXT[:800], (TEXT[:800],)) for i in range(40)]
    short = [fedhds.Record("a", "Say hi.", "", ("hi",))]
    features = fedhds.LayerFeatures(model, prompt="short")
    trainer = fedhds.LoraTrainer(model, prompt="short")
    first = trainer.init()
    return {
        "a reducer": lambda: fedhds.SharedProjection(256).fit_transform(X),
        "a clusterer": lambda: fedhds.KMeans(2).fit(WIDE).cluster_centers_,
        "a transform": lambda: fedhds.PCA(8192).fit(WIDE).transform(WIDE),
        "messages": rounds(method),
        "a stage in Python": rounds(own),
        "text": lambda: fedhds.rouge_l(TEXT, [TEXT[:100], TEXT[:50]]),
        "adapters": lambda: (fedhds.Adapter.from_bytes(data, adapter.config).tensors, adapter.to_bytes()),
        "records": lambda: (fedhds.partition(records, "iid", clients=3), fedhds.render(records)),
        "tokens": lambda: model.count_tokens([TEXT[:80]] * 200),
        "a model's features": lambda: features.extract(short),
        "training": lambda: trainer.train(first, short),
        "a generation": lambda: model.generate(["hi"], max_new_tokens=1),
        "an array that is refused": lambda: refused(fedhds.SharedProjection().fit, BAD),
        "an array that a stage refuses": lambda: refused(fedhds.Client(0, method).summarize, start, BAD),
        "a message that is refused": lambda: refused(server.receive, 0, summary + b"x"),
        "settings that are refused": lambda: refused(fedhds.Method, TEXT),
        "a state that is refused": lambda: refused(fedhds.Client(0, method).resume, TEXT),
        "an adapter that is refused": lambda: refused(fedhds.Adapter.from_bytes, data[:-1], adapter.config),
    }


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grown(name, keep):
    """Bytes by which this process grows over the calls, after some to warm up; results are kept if ``keep``."""
    call, kept = kinds()[name], []
    for _ in range(WARM_UP):
        call()
    before = resident()
    for _ in range(CALLS):
        result = call()
        if keep:
            kept.append(result)
    return resident() - before


def in_a_process_of_its_own(name, keep=False):
    """The growth in a fresh process: in this one, what other tests freed would hide it."""
    command = [sys.executable, __file__, json.dumps([name, keep])]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@linux
@pytest.mark.parametrize("name", kinds())
def test_memory_does_not_grow(name):
    growth = in_a_process_of_its_own(name)
    assert growth < BOUND, f"{growth >> 10} KiB after {CALLS} calls"


@linux
@pytest.mark.parametrize("name", ["a reducer", "adapters", "settings that are refused"])
def test_growth_would_be_seen(name):
    """What comes out is kept on purpose."""
    assert in_a_process_of_its_own(name, keep=True) > 4 * BOUND


LARGE = {
    "clusters of a method": "a_round(client={'clusterer': {'kind': 'kmeans', 'n_clusters': 2**62}})",
    "dimensions of a method": "a_round(client={'shared_dims': 2**31})",
    "components of a method": "a_round('fedhds_shared', client={'reducer': {'kind': 'pca', 'n_components': 2**40}})",
    "records of a client": "fedhds.Client(0, 'all').summarize(fedhds.Server('all').begin_round(0, [0]), records=2**31)",
    "layers": "fedhds.Client(0, 'fedhds_shared', layers=2**32 - 1)",
    "records of a task": "fedhds.embedded_records(records_per_task=2**40)",
    "clients": "fedhds.partition([{'instruction': 'a', 'response': 'b'}], 'iid', clients=2**40)",
    "a safetensors header": "fedhds.Adapter.from_bytes((2**60).to_bytes(8, 'little') + b'{}', {'r': 1})",
    "a rank": "fedhds.LoraTrainer(fedhds.Model.embedded(), r=2**40).init()",
}


@pytest.mark.skipif(os.name == "nt", reason="memory is limited as POSIX does")
@pytest.mark.parametrize("name", LARGE)
def test_settings_that_ask_for_all_memory_are_refused(name):
    """In a process of its own, with 12 GiB of addresses."""
    code = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
        import numpy as np, fedhds
        def a_round(preset="fedhds_coverage", **settings):
            method = fedhds.Method(preset, budget=2, **settings)
            server, client = fedhds.Server(method), fedhds.Client(0, method)
            server.receive(0, client.summarize(server.begin_round(0, [0]), np.eye(9)))
            client.choose(server.select()[0])
        try:
            {LARGE[name]}
        except fedhds.Error as error:
            assert "expected" in str(error), error
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


if __name__ == "__main__":
    print(grown(*json.loads(sys.argv[1])))
