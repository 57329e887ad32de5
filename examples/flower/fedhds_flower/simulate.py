"""The whole federation in one command on the simulation engine:

python -m fedhds_flower.simulate --clients 10 --set num-server-rounds=3 --set method.budget=10
"""

from __future__ import annotations

import argparse
import tomllib
from typing import Any

from flwr.simulation import run_simulation

from . import client_app, server_app
from .settings import defaults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10, help="virtual clients (default: %(default)s)")
    parser.add_argument(
        "--at-once", type=int, default=2, help="how many of them work at the same time (default: %(default)s)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of pyproject.toml")
    arguments = parser.parse_args()
    settings = defaults()
    for given in arguments.set:
        name, _, value = given.partition("=")
        if name not in settings:
            parser.error(f"--set {given}: expected one of {', '.join(sorted(settings))}")
        settings[name] = _value(value, settings[name])
    run_simulation(
        server_app.make_app(settings),
        client_app.make_app(settings),
        num_supernodes=arguments.clients,
        backend_config={"init_args": {"num_cpus": arguments.at_once}, "client_resources": {"num_cpus": 1}},
    )


def _value(text: str, default: Any) -> Any:
    """A value of the default's type; text needs no quotes."""
    return text if isinstance(default, str) else type(default)(tomllib.loads(f"value = {text}")["value"])


if __name__ == "__main__":
    main()
