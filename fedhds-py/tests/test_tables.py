"""Tables: whatever stands in the cells, our reader has what Python's own csv module and Arrow have, or says what it does not take."""

import csv
import datetime
import decimal
import io
import json

import pytest

import fedhds
from test_cli import call

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

FIELDS = {"instruction": "instruction", "response": "response", "input": "input", "category": "topic"}
EVERY = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
#: What people's cells hold: separators, quotes, line ends of every kind, NULs, numbers, dates, words for nothing.
CELLS = st.one_of(
    st.text(st.sampled_from(list("ab,;\t|\"'\n\r \0é\u2028\ufeff=-+@")), max_size=8),
    st.sampled_from(
        ["NA", "null", "NaN", "None", "true", "007", "1e5", "3.0", "12345678901234567890123", "2020-01-01 00:00:00", "[1, 2]", "{}"]
    ),
)
FULL = CELLS.map(lambda cell: "x" + cell)


@pytest.fixture
def run(capsys):
    return lambda *arguments, code=0: call(*arguments, code=code, capsys=capsys)


def texts(records):
    return [(r.instruction, r.input, r.response, r.category) for r in records]


@EVERY
@given(
    st.lists(st.tuples(FULL, CELLS, FULL, FULL), min_size=1, max_size=5),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from([".csv", ".tsv"]),
)
def test_cells_are_those_of_pythons_csv(tmp_path_factory, rows, quoting, ends, mark, ending):
    file = tmp_path_factory.mktemp("csv") / f"data{ending}"
    out, separator = io.StringIO(), "\t" if ending == ".tsv" else ","
    if any(end in cell for row in rows for cell in row for end in "\r\n"):
        quoting = csv.QUOTE_ALL  # Python before 3.13 leaves such a cell without quotes
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=ends)
    writer.writerow(["instruction", "input", "response", "topic"])
    writer.writerows(rows)
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + out.getvalue().encode())
    with file.open(encoding="utf-8-sig", newline="") as opened:
        theirs = [tuple(row.values()) for row in csv.DictReader(opened, delimiter=separator)]
    ours = fedhds.load_records(file, "table", fields=FIELDS)
    assert texts(ours) == theirs == rows


@EVERY
@given(
    st.lists(st.tuples(FULL, FULL, FULL), min_size=1, max_size=4),
    st.integers(0, 3),
    st.lists(FULL, min_size=1, max_size=5).filter(lambda cells: len(cells) != 3),
)
def test_a_row_with_more_or_fewer_cells_is_named_by_its_line(tmp_path_factory, rows, at, odd):
    file = tmp_path_factory.mktemp("csv") / "data.csv"
    at = min(at, len(rows))
    table = [("instruction", "response", "topic"), *rows[:at], odd, *rows[at:]]
    parts = []
    for row in table:
        out = io.StringIO()
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
        parts.append(out.getvalue())
    file.write_bytes("".join(parts).encode())
    line = "".join(parts[: at + 1]).count("\n") + 1
    with pytest.raises(fedhds.DataError, match=f"data.csv:{line}: expected 3 cells as in the first line, got {len(odd)}"):
        fedhds.load_records(file, "guess")


@EVERY
@given(st.text(st.sampled_from(list('ab,"\n\r')), max_size=30))
def test_any_text_as_a_table_is_what_csv_reads_or_an_error(tmp_path_factory, body):
    file = tmp_path_factory.mktemp("csv") / "data.csv"
    file.write_bytes(f"instruction,response\n{body}".encode())
    with file.open(newline="") as opened:
        rows = [row for row in csv.reader(opened)][1:]
    rows = [row for row in rows if row]
    fits = rows and all(len(row) == 2 and row[0].strip() and row[1].strip() for row in rows)
    try:
        ours = [[record.instruction, record.response] for record in fedhds.load_records(file, "table")]
    except fedhds.DataError as error:
        # Python's module takes a quote that is never closed for one that is closed at the end; pandas refuses it, as we do.
        assert not fits or "closes" in str(error)
    else:
        assert ours == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("instruction,response,instruction\na,b,c\n", "data.csv:1: field `instruction`: expected each column name once"),
        ("instruction,response,,\na,b,,\n", "two columns without one"),
        ("instruction;response\na;b\n", "separated by `,`, got `;`"),
        ("instruction\tresponse\na\tb\n", "got tabs: name the file .tsv"),
        ('instruction,response\na,"b\nc,d\n', "data.csv:2: expected a quote that closes"),
        ("instruction,response\n", "at least one record"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path, text, words):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(fedhds.DataError) as caught:
        fedhds.load_records(tmp_path / "data.csv", "guess")
    assert words in str(caught.value)


def test_a_table_is_written_as_one(run, tmp_path):
    rows = [[f"Do {i},\nplease", f'"{i}"', "1e5"] for i in range(9)]
    for name, separator in (("data.csv", ","), ("data.tsv", "\t")):
        out = io.StringIO()
        csv.writer(out, delimiter=separator).writerows([["question", "answer", "n"], *rows])
        (tmp_path / name).write_text(out.getvalue(), newline="")
        for kept in ("kept.csv", "kept.tsv"):
            run("select", tmp_path / name, "--count", 4, "--out", tmp_path / kept)
            with (tmp_path / kept).open(newline="") as opened:
                read = list(csv.reader(opened, delimiter="\t" if kept == "kept.tsv" else ","))
            assert read[0] == ["question", "answer", "n"] and len(read) == 5 and all(row in rows for row in read[1:])
            places = [rows.index(row) for row in read[1:]]
            assert places == sorted(places)
    (tmp_path / "lines.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    assert "only what was a table" in run("select", tmp_path / "lines.jsonl", "--out", tmp_path / "x.csv", code=1)
    assert "only what was Parquet" in run("select", tmp_path / "data.csv", "--out", tmp_path / "x.parquet", code=1)
    assert "Zstandard is read and not written" in run("select", tmp_path / "data.csv", "--out", tmp_path / "x.zst", code=1)


# --- Parquet --------------------------------------------------------------------------------------------------------

@EVERY
@given(st.data())
def test_parquet_has_what_arrow_has(tmp_path_factory, data):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("parquet")
    word = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(str.strip)
    n = data.draw(st.integers(1, 5))
    listed = data.draw(st.booleans())
    answer = st.lists(word, min_size=1, max_size=3) if listed else word
    others = {
        "large": (arrow.large_string(), word),
        "whole": (arrow.int64(), st.integers(-(2**63), 2**63 - 1)),
        "yes": (arrow.bool_(), st.booleans()),
        "real": (arrow.float64(), st.floats(allow_nan=True)),
        "when": (arrow.timestamp("us"), st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2030, 1, 1))),
        "bytes": (arrow.binary(), st.binary(max_size=4)),
        "nested": (arrow.struct([("a", arrow.list_(arrow.int64()))]), st.fixed_dictionaries({"a": st.lists(st.integers(0, 9), max_size=2)})),
        "money": (arrow.decimal128(9, 2), st.decimals(-99, 99, places=2, allow_nan=False)),
        "kind": (arrow.dictionary(arrow.int32(), arrow.string()), st.sampled_from(["a", "b"])),
    }
    chosen = data.draw(st.lists(st.sampled_from(sorted(others)), max_size=4, unique=True))
    columns = {
        "instruction": arrow.array([data.draw(word) for _ in range(n)], data.draw(st.sampled_from([arrow.string(), arrow.large_string()]))),
        "response": arrow.array([data.draw(answer) for _ in range(n)]),
    }
    for name in chosen:
        kind, values = others[name]
        columns[name] = arrow.array([data.draw(st.one_of(st.none(), values)) for _ in range(n)], kind)
    table = arrow.table(columns)
    parquet.write_table(table, folder / "data.parquet")
    records = fedhds.load_records(folder / "data.parquet", "guess")
    rows = table.to_pylist()
    assert [record.instruction for record in records] == [row["instruction"] for row in rows]
    assert [list(record.responses) for record in records] == [row["response"] if listed else [row["response"]] for row in rows]
    # What is kept is what came in: the same columns of the same kinds.
    from fedhds._cli.pool import Options, read
    from fedhds._cli.written import written

    pool = read([str(folder / "data.parquet")], Options())
    mine = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    (folder / "kept.parquet").write_bytes(b"".join(written("kept.parquet", pool, mine)))
    assert parquet.read_table(folder / "kept.parquet").equals(parquet.read_table(folder / "data.parquet").take(mine)) or "real" in chosen
    lines = [json.loads(line) for line in b"".join(written("kept.jsonl", pool, mine)).splitlines()]
    for line, row in zip(lines, (rows[at] for at in mine), strict=True):
        same = [name for name in row if name not in ("real", "when", "bytes", "money")]
        assert [line[name] for name in same] == [row[name] for name in same] and list(line) == list(row)


def test_scalars_of_a_parquet_file_are_their_text(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for values, told in (
        ([2**53 + 1, None], str(2**53 + 1)),
        ([True, None], "True"),
        ([1.5, float("nan")], "1.5"),
        ([datetime.datetime(2020, 1, 2), None], "2020-01-02 00:00:00"),
        ([decimal.Decimal("1.50"), None], "1.50"),
    ):
        parquet.write_table(arrow.table({"instruction": ["a", "b"], "response": values}), tmp_path / "data.parquet")
        [record] = fedhds.load_records(tmp_path / "data.parquet", "guess", blank_response="skip")
        assert record.response == told
    for values, words in (
        ([b"raw"], "field `[0].response`: expected a string or a list of strings, got bytes"),
        ([{"a": 1}], "got an object"),
        ([[1]], "field `[0].response[0]`: expected a string, got 1"),
    ):
        parquet.write_table(arrow.table({"instruction": ["a"], "response": values}), tmp_path / "data.parquet")
        with pytest.raises(fedhds.DataError) as caught:
            fedhds.load_records(tmp_path / "data.parquet", "guess")
        assert words in str(caught.value)


def test_a_parquet_file_is_known_by_how_it_begins_and_a_pointer_by_its_words(tmp_path, run):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"instruction": ["a"], "response": ["b"]}), tmp_path / "data")
    assert fedhds.load_records(tmp_path / "data", "guess")[0].response == "b"
    whole = (tmp_path / "data").read_bytes()
    document = json.loads(run("select", tmp_path / "data", "--json"))
    assert document["records"] == 1 and list(document["files"].values()) == ["table"]
    for content, words in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "Git LFS pointer"),
        (b"", "an empty file"),
        (b"text", "another kind of file"),
        (whole[: len(whole) // 2], "data.parquet"),
    ):
        (tmp_path / "data.parquet").write_bytes(content)
        with pytest.raises(fedhds.DataError) as caught:
            fedhds.load_records(tmp_path / "data.parquet", "guess")
        assert words in str(caught.value)
    twice = arrow.table([["a"], ["b"], ["c"]], names=["instruction", "response", "response"])
    parquet.write_table(twice, tmp_path / "data.parquet")
    with pytest.raises(fedhds.DataError, match="field `response`: expected each column name once"):
        fedhds.load_records(tmp_path / "data.parquet", "guess")


def test_a_frame_with_a_name_twice_is_refused_and_other_frames_are_read():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["a", "b", "c"]], columns=["instruction", "response", "response"])
    with pytest.raises(fedhds.InputError, match="expected each column once, got `response` twice"):
        fedhds.as_records(frame)
    frame = pandas.DataFrame({"instruction": ["a"], "input": pandas.array([None], dtype="string"), "response": [["b", "c"]]})
    [record] = fedhds.as_records(frame)
    assert (record.input, record.responses) == ("", ("b", "c"))
    arrow = pytest.importorskip("pyarrow")
    assert fedhds.as_records(arrow.Table.from_pandas(frame)) == [record]
