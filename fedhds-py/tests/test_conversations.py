"""Conversations as people have them: every spelling, wherever they are read, gives the same record; what is no text is named."""

import json

import numpy as np
import pytest

import fedhds
from test_cli import call

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EVERY = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=6)
ASKING = ["user", "human", "system", "tool", "function", "developer", "observation"]
ANSWERING = ["assistant", "gpt", "bot", "model"]
CASES = [str.lower, str.upper, str.title, lambda role: f" {role} "]


@st.composite
def content(draw, text):
    """A text as the content of a turn: as it is, or in parts."""
    cut = draw(st.integers(0, len(text)))
    parts = [{"type": "text", "text": part} for part in (text[:cut], text[cut:])]
    return draw(st.sampled_from([text, parts, [*parts, {"type": "text", "text": "", "image_url": None}]]))


@st.composite
def conversations(draw):
    """A row, and the texts that it has, as chat templates flatten them: parts one behind the other."""
    sharegpt = draw(st.booleans())
    who, what, field = ("from", "value", "conversations") if sharegpt else ("role", "content", "messages")
    told = [draw(TEXT) for _ in range(draw(st.integers(0, 3)))] + [draw(TEXT.filter(str.strip))]
    answer = draw(TEXT.filter(str.strip))
    roles = [draw(st.sampled_from(ASKING)) for _ in told] + [draw(st.sampled_from(ANSWERING)), "user"]
    turns = [
        {who: draw(st.sampled_from(CASES))(role), what: draw(content(text))}
        for role, text in zip(roles, [*told, answer, "thanks"], strict=True)
    ]
    return {field: turns}, "\n\n".join(text for text in told if text.strip()), answer


@pytest.fixture
def run(capsys):
    return lambda *arguments, code=0: call(*arguments, code=code, capsys=capsys)


@EVERY
@given(st.lists(conversations(), min_size=1, max_size=4))
def test_every_way_in_gives_the_same(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("chat")
    rows = [row for row, _, _ in made]
    wanted = [(asked, answer) for _, asked, answer in made]
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "list.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    given = {
        "rows": fedhds.as_records(rows),
        "arrays": fedhds.as_records([{name: np.array(turns, dtype=object) for name, turns in row.items()} for row in rows]),
        "lines": fedhds.load_records(folder / "lines.jsonl", "guess"),
        "list": fedhds.load_records(folder / "list.json", "messages"),
    }
    for name, records in given.items():
        assert [(record.instruction, record.response) for record in records] == wanted, name


def of_one_kind(content, in_parts):
    """A column has one type: all texts, or all parts."""
    if in_parts:
        return content if isinstance(content, list) else [{"type": "text", "text": content}]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@EVERY
@given(st.lists(conversations(), min_size=1, max_size=3), st.booleans())
def test_parquet_too(tmp_path_factory, made, in_parts):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {}
    for name, who, what in (("messages", "role", "content"), ("conversations", "from", "value")):
        turns = [row.get(name) for row, _, _ in made]
        if any(turns):
            kind = [own and [{who: turn[who], what: of_one_kind(turn[what], in_parts)} for turn in own] for own in turns]
            columns[name] = arrow.array(kind)
    file = tmp_path_factory.mktemp("chat") / "chat.parquet"
    parquet.write_table(arrow.table(columns), file)
    for format in ("guess", "messages"):
        records = fedhds.load_records(file, format)
        assert [(record.instruction, record.response) for record in records] == [(asked, answer) for _, asked, answer in made]


USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
NO_TEXT = [
    ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER], "image_url"),
    ([{"role": "user", "content": [{"type": "image", "text": "a"}]}, ANSWER], "`image`"),
    ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, ANSWER], "input_audio"),
    ([USER, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}], "calls of tools"),
    ([USER, {"role": "assistant", "content": "b", "function_call": {"name": "f"}}], "calls of tools"),
    ([USER, {"role": "assistant", "content": {"a": "b"}}], "an object"),
    ([USER, {"role": "oracle", "content": "b"}], "turns of `user`, `oracle` alone"),
    ([USER, {"role": None, "content": "b"}], "expected a role"),
    ([ANSWER], "none behind another"),
    ([USER, {"role": "assistant", "content": " "}], "expected a"),
    ([], "got none"),
    ("text", "got a string"),
    (None, "got null"),
    ([USER, 3], "expected an object, got 3"),
]


@pytest.mark.parametrize(("turns", "words"), NO_TEXT, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_text_is_named_with_its_place(tmp_path, turns, words):
    rows = [{"messages": [USER, ANSWER]}, {"messages": turns}]
    with pytest.raises(fedhds.InputError, match="records: row 1") as caught:
        fedhds.as_records(rows)
    assert words in str(caught.value)
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(fedhds.DataError, match="chat.jsonl:2: ") as caught:
        fedhds.load_records(tmp_path / "chat.jsonl", "messages")
    assert words in str(caught.value)


def test_bad_conversations_can_be_left_out_and_are_counted(run, tmp_path):
    bad = [{"messages": turns} for turns, _ in NO_TEXT]
    rows = [{"messages": [{"role": "USER", "content": f"a {i}"}, ANSWER]} for i in range(5)]
    mixed = [*rows[:2], *bad, *rows[2:]]
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(map(json.dumps, mixed)))
    assert "chat.jsonl:3: " in run("select", path, "--count", 2, code=1)
    skip = ["--bad-record", "skip"]
    document = json.loads(run("select", path, "--fraction", 1.0, "--method", "random", "--json", "--out", tmp_path / "kept", *skip))
    assert (document["records"], document["bad"]) == (5, len(bad)) and "chat.jsonl:3: " in document["first_bad"]
    assert [json.loads(line) for line in (tmp_path / "kept").read_text().splitlines()] == rows
    text = run("select", path, "--count", 2, *skip)
    assert f"{len(bad)} records that cannot be used left out, the first since" in text
    with pytest.warns(UserWarning, match=f"{len(bad)} rows make no record.*row 2"):
        assert len(fedhds.as_records(mixed, bad_record="skip")) == 5
    with pytest.warns(UserWarning, match=f"{len(bad)} records cannot be used.*chat.jsonl:3"):
        assert len(fedhds.load_records(path, "messages", bad_record="skip")) == 5
    with pytest.raises(fedhds.ParameterError, match="bad_record: expected `error` or `skip`, got 'drop'"):
        fedhds.as_records(rows, bad_record="drop")
    path.write_text("\n".join(map(json.dumps, bad)))
    assert f"got none: {len(bad)} are left out" in run("select", path, "--format", "messages", "--count", 1, *skip, code=1)


def test_a_simulation_reads_conversations_and_says_what_it_left_out(run, tmp_path):
    roles = [("Human", "GPT"), ("user", "Assistant"), ("USER", "bot")]
    rows = []
    for i in range(24):
        asks, answers = roles[i % 3]
        rows.append({"conversations": [{"from": asks, "value": f"Say {i}."}, {"from": answers, "value": f"It is {i}."}]})
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {"conversations": []}])))
    config = tmp_path / "chat.toml"
    config.write_text(f"""
name = "chat"
seeds = [1]
budget = 2
methods = ["random"]
prompt = "short"
[data]
format = "messages"
path = {json.dumps(str(path))}
bad_record = "error"
test = {{ fraction = 0.25 }}
partition = {{ kind = "iid", clients = 2 }}
[federation]
rounds = 1
participation = {{ count = 2 }}
[generation]
max_new_tokens = 2
records = 2
""")
    options = ["--model", "embedded", "--out", tmp_path / "out", "--dry-run"]
    assert "chat.jsonl:25: " in run("simulate", config, *options, code=1)
    config.write_text(config.read_text().replace('"error"', '"skip"'))
    assert "18" in run("simulate", config, *options)
