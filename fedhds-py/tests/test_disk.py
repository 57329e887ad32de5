"""What a full disk, a kill or a second run may do to files: the old one or the new one, whole, and one writer at a time."""

import errno
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedhds
from test_own_stages import Trainer
from fedhds._writing import held, replacing

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


def listed(folder):
    return sorted(one.name for one in folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=5000), max_size=5), fails=st.one_of(st.none(), st.integers(0, 5)), old=st.one_of(st.none(), st.binary(max_size=100)))
def test_a_file_is_replaced_whole_or_stays(tmp_path_factory, parts, fails, old):
    folder = tmp_path_factory.mktemp("files")
    path = folder / "out.jsonl"
    if old is not None:
        path.write_bytes(old)
    stops = fails is not None and fails <= len(parts)
    try:
        with replacing(path) as file:
            for number, part in enumerate([*parts, b""]):
                if stops and number == fails:
                    raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")
                file.write(part)
    except OSError as error:
        assert stops and error.errno == errno.ENOSPC and error.filename == str(path)
    assert path.exists() == (not stops or old is not None)
    if path.exists():
        assert path.read_bytes() == (old if stops else b"".join(parts))
    assert len(listed(folder)) == path.exists()


@POSIX
def test_rights_links_and_devices_stay_what_they_are(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    with replacing(link) as out:
        out.write(b"new")
    assert link.is_symlink() and file.read_text() == "new" and file.stat().st_mode & 0o777 == 0o640
    with replacing(os.devnull) as out:
        out.write(b"gone")
    assert not os.path.isfile(os.devnull)
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError) as full:
            with replacing("/dev/full") as out:
                out.write(b"x" * 100_000)
        assert full.value.errno == errno.ENOSPC


def records(path, count, words=20):
    lines = [json.dumps({"instruction": f"{i} " + "word " * words, "response": f"answer {i * i}"}) + "\n" for i in range(count)]
    path.write_text("".join(lines))
    return lines


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from fedhds.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@POSIX
@pytest.mark.parametrize("limit", [0, 1, 1000, 4096, 5000])
def test_select_keeps_the_old_file_where_the_new_one_has_no_room(tmp_path, limit):
    records(tmp_path / "data.jsonl", 200)
    for option, name in (("--out", "kept.jsonl"), ("--save-features", "features.npy")):
        target = tmp_path / name
        target.write_bytes(b"old")
        told = subprocess.run(
            [sys.executable, "-c", LIMITED, str(limit), "select", str(tmp_path / "data.jsonl"), "--count", "100", option, str(target), "--quiet"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        reason = "File too large" if name == "kept.jsonl" else "written|File too large"
        assert told.returncode == 1 and re.search(f"{name}: .*({reason})", told.stderr), told.stderr
        assert target.read_bytes() == b"old"
    assert listed(tmp_path) == ["data.jsonl", "features.npy", "kept.jsonl"]


def test_select_writes_over_what_was_there(tmp_path, capsys):
    lines = records(tmp_path / "data.jsonl", 30)
    (tmp_path / "kept.jsonl").write_text("old")
    from fedhds.__main__ import main

    assert main(["select", str(tmp_path / "data.jsonl"), "--count", "5", "--out", str(tmp_path / "kept.jsonl"), "--quiet"]) == 0
    kept = (tmp_path / "kept.jsonl").read_text().splitlines(keepends=True)
    assert len(kept) == 5 and set(kept) <= set(lines)
    assert listed(tmp_path) == ["data.jsonl", "kept.jsonl"]


def hold(path, ready, end):
    with held(path):
        ready.set()
        end.wait(60)


def test_a_file_is_held_by_one_process_and_a_dead_one_holds_nothing(tmp_path):
    path = tmp_path / "run.npz"
    spawn = multiprocessing.get_context("spawn")
    ready, end = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(path, ready, end))
    other.start()
    assert ready.wait(60)
    with pytest.raises(fedhds.CheckpointError, match=rf"run.npz.*process {other.pid} is at work"):
        with held(path):
            pass
    other.kill()
    other.join()
    with held(path):
        with pytest.raises(fedhds.CheckpointError, match="another run of this process"):
            with held(path):
                pass
        with held(tmp_path / "other.npz"):
            pass
    if sys.platform != "win32":
        assert listed(tmp_path) == []
    with held(None):
        pass


def test_of_many_threads_one_holds_a_file(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(100):
            try:
                with held(tmp_path / "file"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except fedhds.CheckpointError:
                pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert set(most) == {1}


def test_the_core_and_python_keep_each_other_out(tmp_path):
    clients = [[fedhds.Record("a", "x", "", ("y",))]] * 2
    run = fedhds.Simulation("random", clients, trainer=Trainer(), rounds=1, participation=1.0, checkpoint=tmp_path / "c.bin")
    with held(tmp_path / "c.bin"):
        with pytest.raises(fedhds.CheckpointError, match="another run of this process is at work"):
            run.run()
    run.run()
    assert listed(tmp_path) == ["c.bin"]
