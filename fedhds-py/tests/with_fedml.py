"""What needs the real FedML, which takes 6 GB: ``python tests/with_fedml.py [options of pytest]``.

    python3.11 -m venv ENV
    ENV/bin/pip install "fedml==0.9.6" "setuptools<81" grpcio pytest tqdm        # and fedhds
    ENV/bin/python fedhds-py/tests/with_fedml.py

Runs tests/test_fedml.py on FedML's own base classes, FedML's trainer and aggregator in one process, and the example as
one server and three clients that talk gRPC on the loopback address. ``with_fedml.py signatures`` writes the fixture
that the stand-ins are held against.
"""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURE = HERE / "fixtures/fedml-0.9.6.json"

if importlib.util.find_spec("fedhds") is None:  # the native module lies beside the sources
    sys.path.insert(0, str(HERE.parent / "python"))
    os.environ["PYTHONPATH"] = sys.path[0]
os.environ["FEDML_ENV_VERSION"] = "local"  # its platform is not asked for settings

import numpy as np  # noqa: E402
from test_fedml import arguments, federate, over_the_network, rust, rust_federation, toys  # noqa: E402, F401

import fedhds  # noqa: E402
from fedhds.fedml import ClientTrainer, ServerAggregator  # noqa: E402


def signatures():
    """Arguments of the methods that the two base classes define, and which are abstract."""
    from fedml import core

    return {
        name: {
            "methods": {
                method: list(inspect.signature(function).parameters)
                for method, function in vars(getattr(core, name)).items()
                if inspect.isfunction(function)
            },
            "abstract": sorted(getattr(core, name).__abstractmethods__),
        }
        for name in ("ClientTrainer", "ServerAggregator")
    }


class Locals:
    """FedML's ``FedMLTrainer`` of each client and its ``FedMLAggregator``, which hand each other what they return."""

    def __init__(self, server, trainers, data, args, test=None):
        from fedml.cross_silo.client.fedml_trainer import FedMLTrainer
        from fedml.cross_silo.server.fedml_aggregator import FedMLAggregator

        args.scenario, args.dataset, args.frequency_of_the_test = "horizontal", "fedhds", 1
        local, sizes = dict(enumerate(data)), {client: len(records) for client, records in enumerate(data)}
        tests = dict.fromkeys(local)
        self.args, count = args, len(data)
        self.aggregator = FedMLAggregator(None, test, 1, local, tests, sizes, count, "cpu", args, server)
        self.clients = [FedMLTrainer(c, local, sizes, tests, 1, "cpu", args, t) for c, t in enumerate(trainers)]

    def run(self):
        params = self.aggregator.get_global_model_params()
        for round in range(self.args.comm_round):
            for number, client in enumerate(self.clients):
                client.update_dataset(number)
                client.update_model(over_the_network(params[number] if type(params) is dict else params))
                up, size = client.train(round)
                self.aggregator.add_local_trained_result(number, over_the_network(up), size)
            assert self.aggregator.check_whether_all_receive()
            params, *_ = self.aggregator.aggregate()
            self.aggregator.test_on_server_for_all_clients(round)


@pytest.fixture
def privacy():
    """FedML's differential privacy is one for a process: it is off again afterwards."""
    from fedml.core.dp.fedml_differential_privacy import FedMLDifferentialPrivacy

    yield
    FedMLDifferentialPrivacy._dp_instance = None


def test_fedmls_trainer_and_aggregator_give_what_our_rounds_give(rust):
    args = arguments()
    server, trainers = rust_federation(rust, args)
    Locals(server, trainers, rust[0], args).run()
    again, clients = rust_federation(rust, args)
    federate(again, clients, rust[0], args)
    assert server.history == again.history and len(server.history) == 2
    assert server.model.adapter == again.model.adapter


def test_a_module_of_pytorch_is_trained():
    import torch

    class Own(ClientTrainer):
        def train_selected(self, records, device, args):
            optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            for record in records:
                optimizer.zero_grad()
                self.model(torch.from_numpy(record)).square().sum().backward()
                optimizer.step()

    class Server(ServerAggregator):
        pass

    torch.manual_seed(0)
    args, method = arguments(rounds=2), fedhds.Method("fedhds_coverage", budget=6)
    data = [list(np.random.default_rng(c).normal(size=(12, 3)).astype(np.float32)) for c in range(3)]
    before = torch.nn.Linear(3, 1)
    trainers, models = [], [torch.nn.Linear(3, 1) for _ in range(4)]
    for model in models:
        model.load_state_dict(before.state_dict())
    for number in range(3):
        trainers.append(Own(models[number], args, method=method, features=np.stack, seed=2))
        trainers[-1].set_id(number)
    server = Server(models[3], args, method=method, seed=2)
    Locals(server, trainers, data, args).run()
    everything = torch.from_numpy(np.concatenate([np.stack(part) for part in data]))
    assert server.model(everything).square().mean() < before(everything).square().mean()
    assert [sum(one["trained"].values()) for one in server.history] == [6, 6]


@pytest.mark.parametrize("kind", ["ldp", "cdp"])
def test_fedmls_noise_is_on_the_adapters_alone(kind, privacy):
    def run(**more):
        args = arguments(rounds=1, **more)
        server, trainers, data = toys(args)
        Locals(server, trainers, data, args).run()
        return server

    plain = run()
    noisy = run(
        enable_dp=True, dp_solution_type=kind, mechanism_type="gaussian", epsilon=0.9, delta=1e-5, sensitivity=1e-3,
        max_grad_norm=None,
    )  # fmt: skip
    assert noisy.history == plain.history and not noisy.history[0]["left_out"]
    difference = np.abs(noisy.model.state["weight"] - plain.model.state["weight"])
    assert (difference > 0).all() and (difference < 1).all()


def test_a_defence_of_fedml_sees_adapters():
    """Its norm clipping compares with the server's parameters, which it asks the aggregator for."""
    from fedml.core.security.fedml_defender import FedMLDefender

    args = arguments(rounds=1, enable_defense=True, defense_type="norm_diff_clipping", norm_bound=0.01)
    try:
        server, trainers, data = toys(args)
        Locals(server, trainers, data, args).run()
    finally:
        FedMLDefender._defender_instance = None
    norm = np.linalg.norm(server.model.state["weight"])
    assert 0 < norm <= 0.0101 and not server.history[0]["left_out"]


def test_the_example_runs_as_processes_that_talk_grpc(tmp_path):
    """Loopback addresses only; FedML keeps its files in a home of its own."""
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    command = [sys.executable, ROOT / "examples/fedml/run_local.py", "--out", tmp_path / "out", "--timeout", "900"]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    told = json.loads((tmp_path / "out/result.json").read_text(encoding="utf-8"))
    assert [sum(one["trained"].values()) for one in told["rounds"]] == [12, 12, 12]
    assert told["loss_after"] < 0.7 * told["loss_before"]
    assert fedhds.Adapter.load(tmp_path / "out/adapter").parameters > 0


if __name__ == "__main__":
    import fedml

    assert fedml.__version__ == "0.9.6", f"expected fedml 0.9.6, got {fedml.__version__}"
    if sys.argv[1:] == ["signatures"]:
        FIXTURE.write_text(json.dumps(signatures(), indent=1) + "\n", encoding="utf-8")
        sys.exit()
    files = [str(HERE / name) for name in ("test_fedml.py", "with_fedml.py")]
    with tempfile.TemporaryDirectory(prefix="fedml-home-") as home:
        os.environ["HOME"] = home
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *files, *sys.argv[1:]]))
