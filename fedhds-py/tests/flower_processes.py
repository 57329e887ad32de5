"""A SuperLink and SuperNodes as processes of their own on the loopback, for the tests of `fedhds.flower`.

Nothing of it outlives a test: every process that was started, and all that it started, is killed by its id.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import fedhds

PYPROJECT = """
[project]
name = "toy"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedhds"

[tool.flwr.app.components]
serverapp = "toy.server_app:app"
clientapp = "toy.client_app:app"

[tool.flwr.app.config]
rounds = 2
nodes = 2
out = ""
checkpoint = ""
state-dir = ""
signals = ""
hang-client = -1
hang-round = -1
query-timeout = 60.0
train-timeout = 60.0
"""

CLIENT_APP = """
from toy.flower_toy import client_app

app = client_app()
"""

SERVER_APP = """
import hashlib
import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedhds import Method
from fedhds.flower import FedHDS, WeightedMean, arrays_of
from toy.flower_toy import initial

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    strategy = FedHDS(
        Method("fedhds_coverage", budget=7, client={"clusterer": {"n_clusters": 4}}),
        WeightedMean(fraction_evaluate=0.0),
        seed=7,
        query_timeout=config["query-timeout"],
        start_with=config["nodes"],
        checkpoint=config["checkpoint"] or None,
    )
    result = strategy.start(grid, initial(), num_rounds=config["rounds"], timeout=config["train-timeout"])
    arrays = {name: array.tobytes().hex() for name, array in arrays_of(result.arrays).items()}
    text = json.dumps({"reports": [report.write() for report in strategy.reports], "arrays": arrays})
    part = Path(config["out"] + ".part")
    part.write_text(text)
    part.rename(config["out"])
"""


def write_app(folder: Path) -> Path:
    """A Flower app around `flower_toy`."""
    package = folder / "toy"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "client_app.py").write_text(CLIENT_APP, encoding="utf-8")
    (package / "server_app.py").write_text(SERVER_APP, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("flower_toy.py"), package)
    return folder


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def parents() -> list[tuple[int, int]]:
    """Each process and the one that started it."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [(int(child), int(parent)) for child, parent in (line.split() for line in listed.splitlines())]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue  # it has ended since
            # The name in brackets may hold spaces and brackets itself.
            found.append((int(entry.name), int(stat.rpartition(")")[2].split()[1])))
    return found


def descendants(pid: int) -> list[int]:
    """A process and all below it, children first."""
    pairs, found = parents(), [pid]
    for one in found:
        found += [child for child, parent in pairs if parent == one]
    return found[::-1]


def kill(pids: Iterable[int]) -> None:
    """Kills processes by their ids, those that are gone already excepted."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Federation:
    """A SuperLink and what connects to it.

    Args:
        folder: for logs and Flower's own files.
        simulation: whether the SuperLink runs virtual nodes itself.
        tls: certificate files (certificate, key, CA) for encrypted connections.
        node_auth: whether nodes must be registered with their keys.
    """

    def __init__(
        self,
        folder: Path,
        *,
        simulation: bool = False,
        tls: tuple[Path, Path, Path] | None = None,
        node_auth: bool = False,
    ) -> None:
        self.folder = folder
        self.home = folder / "flwr"
        self.home.mkdir(parents=True)
        self.port = free_port()
        self.tls = tls
        self._bin = Path(sys.executable).parent
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        address = f'address = "127.0.0.1:{self.port}"'
        secure = f'root-certificates = "{tls[2]}"' if tls else "insecure = true"
        (self.home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\n{address}\n{secure}\n'
        )
        extra = ["--simulation"] if simulation else []
        extra += ["--enable-supernode-auth"] if node_auth else []
        if tls:
            certificate, key, authority = tls
            extra += [
                "--ssl-certfile",
                str(certificate),
                "--ssl-keyfile",
                str(key),
                "--ssl-ca-certfile",
                str(authority),
            ]
        else:
            extra += ["--insecure"]
        self.start("superlink", "flower-superlink", "--host", "127.0.0.1", "--port", str(self.port), *extra)
        self.wait(lambda: self.listens(self.port), "the SuperLink to listen", 60)

    def environment(self) -> dict[str, str]:
        package = str(Path(fedhds.__file__).parent.parent)
        return os.environ | {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "PATH": f"{self._bin}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")])),
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    def start(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [str(self._bin / program), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.folder,
            )

    def supernode(self, client: int, *arguments: str) -> None:
        """A SuperNode with this `partition-id`."""
        secure = ["--root-certificates", str(self.tls[2])] if self.tls else ["--insecure"]
        config = f"partition-id={client} num-partitions=2"
        self.start(
            f"supernode-{client}", "flower-supernode", "--superlink", f"127.0.0.1:{self.port}", "--host", "127.0.0.1",
            "--port", str(free_port()), "--node-config", config, *secure, *arguments,
        )  # fmt: skip

    def command(self, *arguments: str, timeout: float = 60) -> str:
        """Runs `flwr` to its end; its output."""
        done = subprocess.run(
            [str(self._bin / "flwr"), *arguments],
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd=self.folder,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise AssertionError(
                f"flwr {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
            )
        return done.stdout

    def run(self, app: Path, config: Mapping[str, Any], *arguments: str) -> None:
        """Hands an app to the SuperLink."""
        overrides = " ".join(f"{name}={json.dumps(value)}" for name, value in config.items())
        self.command("run", str(app), "here", "--run-config", overrides, *arguments)

    def result(self, out: Path, seconds: float) -> dict[str, Any]:
        """What the server app wrote at its end."""
        self.wait(out.exists, "the server app to end", seconds)
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    def kill(self, name: str) -> None:
        """SIGKILL for a process and those below it."""
        process = self._processes.pop(name)
        kill(descendants(process.pid))
        process.wait(30)

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Waits until something holds; fails with the logs where a process ended or the time is up."""
        end = time.monotonic() + seconds
        while not ready():
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > end:
                why = f"{ended} ended" if ended else f"{seconds} s are over"
                raise AssertionError(f"waited for {what}: {why}\n{self.logs()}")
            time.sleep(0.2)

    @staticmethod
    def listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def logs(self) -> str:
        """The end of each log."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in sorted(self.folder.glob("*.log"))
        )

    def __enter__(self) -> Federation:
        return self

    def __exit__(self, *exception: object) -> None:
        # All ids first: what is below a dead process has another parent.
        everything = [pid for process in self._processes.values() for pid in descendants(process.pid)]
        kill(everything)
        for process in self._processes.values():
            process.wait(30)
        self._processes.clear()
