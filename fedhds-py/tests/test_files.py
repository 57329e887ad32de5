"""Files as people have them: packed, through pipes, with marks and NaN, and what is no data file at all."""

import gzip
import io
import json
import struct
import subprocess
import sys

import pytest

import fedhds
from test_cli import call

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EVERY = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ROWS = [{"instruction": f"Say {i}.", "response": f"it is {i}"} for i in range(20)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.fixture
def run(capsys):
    return lambda *arguments, code=0: call(*arguments, code=code, capsys=capsys)


def zst(data):
    """A Zstandard file of blocks that are not compressed; nothing in Python's library makes others."""
    blocks = [data[at : at + 50_000] for at in range(0, len(data), 50_000)] or [b""]
    made = b"\x28\xb5\x2f\xfd" + b"\xa0" + struct.pack("<I", len(data))
    for number, block in enumerate(blocks):
        made += struct.pack("<I", len(block) << 3 | (number == len(blocks) - 1))[:3] + block
    return made


PACKED = {".gz": gzip.compress, ".zst": zst, "": lambda data: data}


@pytest.mark.parametrize("ending", PACKED)
def test_packed_files_are_what_is_in_them(run, tmp_path, ending):
    pack = PACKED[ending]
    table = "instruction,response\n" + "".join(f"{row['instruction']},{row['response']}\n" for row in ROWS)
    files = {"data.jsonl": "\ufeff" + LINES, "data.json": json.dumps(ROWS), "data.csv": table, "data.tsv": table.replace(",", "\t")}
    for name, text in files.items():
        path = tmp_path / f"{name}{ending}"
        path.write_bytes(pack(text.encode()))
        records = fedhds.load_records(path, "guess")
        assert [record.response for record in records] == [row["response"] for row in ROWS]
        assert records[0].id.startswith("data-")
        out = tmp_path / "kept.jsonl"
        document = json.loads(run("select", path, "--count", 4, "--json", "--out", out))
        assert document["records"] == 20
        kept = out.read_text().splitlines()
        assert len(kept) == 4 and all(json.loads(line) in ROWS for line in kept)
    if ending:
        whole = pack(LINES.encode())
        (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
        assert ("gzip" if ending == ".gz" else "Zstandard") in run("select", tmp_path / "half", code=1)


def test_parts_of_packed_files_are_all_read(tmp_path):
    for ending, pack in PACKED.items():
        path = tmp_path / f"data.jsonl{ending}"
        path.write_bytes(b"".join(pack(line.encode()) for line in LINES.splitlines(keepends=True)))
        assert len(fedhds.load_records(path)) == 20


def test_the_form_of_what_is_written(run, tmp_path):
    (tmp_path / "data.jsonl").write_text(LINES)
    (tmp_path / "data.json").write_text(json.dumps(ROWS, indent=1))
    run("select", tmp_path / "data.jsonl", "--count", 3, "--out", tmp_path / "kept.jsonl.gz")
    run("select", tmp_path / "data.jsonl", "--count", 3, "--out", tmp_path / "kept.jsonl")
    assert gzip.decompress((tmp_path / "kept.jsonl.gz").read_bytes()) == (tmp_path / "kept.jsonl").read_bytes()
    run("select", tmp_path / "data.json", "--count", 3, "--out", tmp_path / "kept.json")
    listed = json.loads((tmp_path / "kept.json").read_text())
    run("select", tmp_path / "data.json", "--count", 3, "--out", tmp_path / "kept")
    assert [json.loads(line) for line in (tmp_path / "kept").read_text().splitlines()] == listed and len(listed) == 3


def test_stdin_is_read(run, tmp_path, monkeypatch):
    for text in (LINES, json.dumps(ROWS), "\ufeff" + LINES):
        for pack in PACKED.values():
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(text.encode()))))
            document = json.loads(run("select", "-", "--count", 3, "--json", "--out", tmp_path / "kept"))
            assert document["records"] == 20 and document["files"] == {"-": "jsonl"}
            assert all(json.loads(line) in ROWS for line in (tmp_path / "kept").read_text().splitlines())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}\n")))
    assert "stdin: no field looks like an instruction" in run("select", "-", code=1)
    assert "- is read once" in run("select", "-", "-", code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_of_the_shell_is_read_and_guessed(tmp_path):
    (tmp_path / "data.jsonl").write_text(LINES)
    command = f"'{sys.executable}' -m fedhds select <(cat '{tmp_path}/data.jsonl') --count 3 --json"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html></html>", "a web page"),
        (LINES.encode("utf-16"), "UTF-16"),
        (LINES.encode("utf-16-le"), "UTF-16"),
        (b"PK\x03\x04\x00", "zip"),
        (b"BZh91AY&SY\x00", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"SQLite format 3\x00", "SQLite"),
    ],
)
def test_what_is_no_data_file_is_named(tmp_path, content, words, run):
    for name in ("data.jsonl", "data.csv", "data.json"):
        (tmp_path / name).write_bytes(content)
        for format in ("guess", "table", "messages"):
            with pytest.raises(fedhds.DataError) as caught:
                fedhds.load_records(tmp_path / name, format)
            assert words in str(caught.value) and name in str(caught.value) and "line 1 column 1" not in str(caught.value)
        assert words in run("select", tmp_path / name, code=1)


@pytest.mark.parametrize("name", ["tatsu-lab/alpaca", "databricks/databricks-dolly-15k", "a_b/c.d"])
def test_an_id_of_the_hub_is_said_to_be_none(name, run):
    assert "Hugging Face hub" in run("select", name, code=1)
    with pytest.raises(fedhds.FileError, match=f"{name}.*download it first"):
        fedhds.load_records(name)
    with pytest.raises(fedhds.FileError, match="expected a file or folder, got an address"):
        fedhds.load_records(f"hf://datasets/{name}", "guess")
    with pytest.raises(fedhds.FileError) as caught:
        fedhds.load_records("none/data.jsonl")
    assert "hub" not in str(caught.value)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abN\"\\", max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@EVERY
@given(st.lists(st.tuples(VALUES, st.text(min_size=1, max_size=5).filter(lambda t: t.strip() and t.isprintable())), min_size=1, max_size=4), st.data())
def test_what_python_writes_as_json_is_read(tmp_path_factory, made, data):
    """NaN and infinities, whole numbers of any size, any nesting beside the texts: what is no text of the record is nobody's business."""
    folder = tmp_path_factory.mktemp("json")
    rows = [{"extra": extra, "instruction": f"x{text}", "response": f"y{text}", "more": [extra]} for extra, text in made]
    tight = data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :  ")]))
    ascii = data.draw(st.booleans())
    ends = data.draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    lines = ends.join(json.dumps(row, separators=tight, ensure_ascii=ascii) for row in rows)
    (folder / "a.jsonl").write_bytes(lines.encode())
    (folder / "b.json").write_text(json.dumps(rows, separators=tight, ensure_ascii=ascii, indent=data.draw(st.sampled_from([None, 1]))), encoding="utf-8")
    for name in ("a.jsonl", "b.json"):
        records = fedhds.load_records(folder / name, "guess")
        assert [(r.instruction, r.response) for r in records] == [(row["instruction"], row["response"]) for row in rows]


def test_nan_is_no_value_and_a_key_twice_counts_as_in_python(tmp_path):
    path = tmp_path / "data.jsonl"
    text = '{"instruction": "a", "input": NaN, "response": "b", "response": "c", "score": -Infinity}'
    path.write_text(text)
    [record] = fedhds.load_records(path)
    assert (record.input, record.response) == ("", json.loads(text)["response"]) == ("", "c")
    path.write_text('{"instruction": NaN, "response": "b"}')
    with pytest.raises(fedhds.DataError, match="data.jsonl:1: field `instruction`: expected a string, got null"):
        fedhds.load_records(path)
    path.write_text('{"instruction": "a", "response": "b", "score": NaN, "more": nan}')
    with pytest.raises(fedhds.DataError, match="data.jsonl:1: expected JSON"):
        fedhds.load_records(path, "guess")


def test_numbers_that_are_rounded_are_no_ids(tmp_path):
    path = tmp_path / "data.jsonl"
    for number in (2**53 + 1, 2**64 - 1, -(2**63), 1.5):
        path.write_text(json.dumps({"instruction": "a", "response": "b", "id": number}))
        assert fedhds.load_records(path, fields={"id": "id"})[0].id == str(number)
    for number in (2**64, -(2**63) - 1, 10**30, 1e300):
        path.write_text(json.dumps({"instruction": "a", "response": "b", "id": number}))
        with pytest.raises(fedhds.DataError, match="data.jsonl:1: field `id`: expected a number that is told from its neighbours"):
            fedhds.load_records(path, fields={"id": "id"})


@pytest.mark.parametrize("depth", [200, 3_000])
@pytest.mark.parametrize("opens", ["[", '{"a":'])
@pytest.mark.parametrize("at", ["extra", "instruction", "response", "messages", "whole"])
def test_what_is_nested_too_deeply_is_an_error_with_its_place(tmp_path, run, depth, opens, at):
    closes = "]" if opens == "[" else "}"
    deep = opens * depth + "1" + closes * depth
    good = '{"instruction": "a", "response": "b", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    row = deep if at == "whole" else json.dumps({"instruction": "a", "response": "b", "extra": 1} | {at: 0}).replace(f'"{at}": 0', f'"{at}": {deep}')
    for text, place in ((f"{good}\n{row}\n", ":2"), (f"[{good},\n{row}]", ":2")):
        path = tmp_path / "data.json"
        path.write_text(text)
        for format in ("guess", "jsonl", "messages"):
            with pytest.raises(fedhds.DataError) as caught:
                fedhds.load_records(path, format)
            assert f"data.json{place}" in str(caught.value) and "recursion limit" in str(caught.value)
        error = run("select", path, code=1)
        assert f"data.json{place}" in error and "unexpected" not in error


def test_a_file_that_changes_between_two_readings_is_named(tmp_path):
    from fedhds._cli.pool import Options, read

    path = tmp_path / "data.jsonl"
    path.write_text(LINES)
    pool = read([str(path)], Options())
    path.write_text(LINES.splitlines()[0] + "\n")
    with pytest.raises(fedhds.DataError, match="the file changed"):
        list(pool.fetch([0, 5]))
    path.write_text("\n" * 30)
    with pytest.raises(fedhds.DataError):
        list(pool.fetch([0, 5]))
