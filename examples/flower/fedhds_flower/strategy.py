"""The strategy of the run."""

from __future__ import annotations

from fedhds import Method
from fedhds.flower import FedHDS, WeightedMean

from . import models
from .settings import Settings


def make_strategy(settings: Settings) -> FedHDS:
    """FedHDS around the mean weighted by records; the server measures by itself, so clients do not evaluate."""
    return FedHDS(
        Method(str(settings["method.preset"]), budget=int(settings["method.budget"]) or None),
        WeightedMean(fraction_evaluate=0.0),
        seed=int(settings["seed"]),
        layers=models.layers(settings),
        clients_per_round=int(settings["strategy.clients-per-round"]) or None,
        query_timeout=float(settings["strategy.query-timeout"]),
        start_with=int(settings["strategy.start-with"]),
        checkpoint=str(settings["strategy.checkpoint"]) or None,
    )


def selected(strategy: FedHDS) -> str:
    """What was selected in the last round, client by client."""
    report = strategy.reports[-1]
    lines = [
        f"Round {report.round}: {sum(report.ordered.values())} records of {len(report.ordered)} clients are selected"
    ]
    for client in report.clients:
        groups = [group for group in strategy.selection if group.client == client]
        known = sum(group.records for group in groups)
        if client in report.left_out:
            lines.append(f"  client {client}: left out: {report.left_out[client]}")
        else:
            lines.append(
                f"  client {client}: {report.ordered.get(client, 0)} of {known} records in {len(groups)} groups"
            )
    return "\n".join(lines)
