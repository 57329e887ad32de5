"""What the core has to say reaches Python's ``logging``, whichever thread says it."""

import json
import logging

import numpy as np
import pytest

import fedhds


@pytest.fixture
def heard(caplog):
    with caplog.at_level(logging.DEBUG, "fedhds"):
        yield caplog


def test_warnings_come_with_their_level_and_what_they_are_about(heard):
    server = fedhds.Server("random")
    server.begin_round(0, [0])
    server.leave_out(0, "it was late")
    (told,) = [record for record in heard.records if record.levelno == logging.WARNING]
    assert told.name == "fedhds" and "left out" in told.message and "it was late" in told.message
    assert "a round begins" in [record.message.partition(" round=")[0] for record in heard.records if record.levelno == logging.DEBUG]


def test_a_warning_from_a_worker_of_a_simulation_is_heard(heard):
    class Once:
        def init(self, seed):
            return fedhds.LoraTrainer(fedhds.Model.embedded()).init(seed)

        def train(self, adapter, records, seed):
            if records[0].id == "0":
                raise RuntimeError("no memory left for 100%s of it")
            return adapter

    rows = [{"instruction": f"add {i}", "response": str(i)} for i in range(4)]
    records = fedhds.as_records(rows)
    fedhds.Simulation("random", [records[:1], records[1:]], trainer=Once(), rounds=1, participation=1.0, clients_at_once=2).run()
    warned = [record.message for record in heard.records if record.levelno == logging.WARNING]
    assert any("no memory left for 100%s of it" in line for line in warned), warned


def test_settings_of_an_adapter_that_are_not_known_are_told(tmp_path):
    fedhds.LoraTrainer(fedhds.Model.embedded()).init(1).save(tmp_path)
    file = tmp_path / "adapter_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"quite_new": 3}))
    # More than a line in a log: nobody may be listening.
    with pytest.raises(fedhds.AdapterError, match="quite_new"):
        fedhds.Adapter.load(tmp_path)


def test_nothing_is_said_twice_nor_by_other_crates(heard):
    fedhds.PCA(1).fit(np.eye(5))
    server = fedhds.Server("random")
    server.begin_round(0, [0])
    assert len([record for record in heard.records if "a round begins" in record.message]) == 1
    assert {record.name for record in heard.records} == {"fedhds"}


def test_a_handler_may_call_fedhds_and_may_fail(capsys):
    class Handler(logging.Handler):
        lines = []

        def emit(self, record):
            fedhds.PCA(1).fit(np.eye(4))
            self.lines.append(record.getMessage())
            fedhds.Server("no such method")

    logger, handler = logging.getLogger("fedhds"), Handler()
    logger.addHandler(handler)
    try:
        server = fedhds.Server("random")
        server.begin_round(0, [0])
        with pytest.raises(fedhds.ConfigError):
            server.leave_out(0, "late")
    finally:
        logger.removeHandler(handler)
    assert any("late" in line for line in handler.lines)
