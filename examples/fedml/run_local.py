"""One server and three clients as processes on this machine, which talk gRPC on the loopback address; minutes.

    python run_local.py [--out FOLDER]

FedML's platform is not asked for anything (`FEDML_ENV_VERSION=local`). Output of each process goes to FOLDER/*.log.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent


def free_ports(count):
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(rank, out):
    """The process of a rank; its output goes to a file."""
    role = "client" if rank else "server"
    command = [sys.executable, HERE / "main.py", "--cf", out / "fedml_config.yaml", "--rank", str(rank), "--role", role]
    with (out / f"{role}-{rank}.log").open("w") as log:
        environment = {**os.environ, "FEDML_ENV_VERSION": "local"}
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=out)


def listens(port):
    """Whether a server does on this port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("fedml-run"), help="folder for logs, adapter and result.json")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds after which everything is stopped")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((HERE / "fedml_config.yaml").read_text(encoding="utf-8"))
    ranks = range(config["train_args"]["client_num_in_total"] + 1)
    ports = free_ports(len(ranks))
    addresses = [f"{rank},{rank},127.0.0.1,{port}" for rank, port in zip(ranks, ports)]
    (out / "grpc_ipconfig.csv").write_text("\n".join(["eid,rank,grpc_server_ip,grpc_server_port", *addresses]) + "\n")
    config["comm_args"]["grpc_ipconfig_path"] = str(out / "grpc_ipconfig.csv")
    config["fedhds_args"]["out"] = str(out)
    (out / "fedml_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    processes, deadline = [], time.monotonic() + options.timeout

    def check():
        failed = [rank for rank, process in enumerate(processes) if process.poll() not in (None, 0)]
        if failed or time.monotonic() > deadline:
            sys.exit(f"ranks {failed} failed, or no end within {options.timeout:.0f} s: see the logs in {out}")
        time.sleep(0.5)

    try:
        for rank in ranks:
            processes.append(start(rank, out))
            while rank == 0 and not listens(ports[0]):  # a client of FedML's gives up where no server listens
                check()
        while any(process.poll() is None for process in processes):
            check()
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    print((out / "result.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
