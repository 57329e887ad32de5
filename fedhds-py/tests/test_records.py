"""Records: read, converted, dealt, rendered."""

import json

import pytest

import fedhds
from fedhds import Record

ROWS = [
    {"instruction": "Name the colour.", "input": "sky", "response": "blue", "topic": "colours"},
    {"instruction": "Add.", "input": "1 2", "response": ["3", "three"], "topic": "numbers"},
    {"instruction": "Say hi.", "response": "hi", "topic": "talk"},
]


def test_mappings_become_records():
    records = fedhds.as_records(ROWS, category="topic")
    assert records[1] == Record("1", "Add.", "1 2", ("3", "three"), "numbers", "numbers")
    assert records[2].input == "" and records[2].response == "hi"
    assert fedhds.as_records(records) == records
    assert fedhds.as_records(iter(records)) == records


def test_frames_become_records():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS).rename(columns={"instruction": "q", "response": "a"})
    assert frame["input"].isna().any()
    records = fedhds.as_records(frame, instruction="q", response="a", category="topic")
    assert records == fedhds.as_records(ROWS, category="topic")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("text", "expected records"),
        (7, "got int"),
        ([7], "row 0.*got int"),
        ([{"instruction": "x"}], "row 0.*`response`.*none"),
        ([ROWS[0], {"instruction": " ", "response": "x"}], "row 1.*blank"),
        ([{"instruction": "x", "response": []}], "not blank"),
        ([{"instruction": "x", "response": ["y", ""]}], "not blank"),
        ([{"instruction": ["x"], "response": "y"}], "got list"),
        ([Record("a", "x", "", ("y",)), Record("a", "z", "", ("y",))], "row 1.*`a` a second time"),
    ],
)
def test_what_is_no_record_is_named(rows, words):
    with pytest.raises(fedhds.InputError, match=words):
        fedhds.as_records(rows)


def test_jsonl_is_read_with_ones_own_fields(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps({"q": r["instruction"], "a": r["response"], "meta": {"t": r["topic"]}}) + "\n" for r in ROWS))
    records = fedhds.load_records(file, fields={"instruction": "q", "response": "a", "category": "meta.t"})
    assert [r.category for r in records] == ["colours", "numbers", "talk"]
    assert records[1].responses == ("3", "three")
    with pytest.raises(fedhds.DataError, match=r"data\.jsonl.*1.*`?response"):
        fedhds.load_records(file, fields={"instruction": "q"})
    with pytest.raises(fedhds.FileError):
        fedhds.load_records(tmp_path / "nothing.jsonl")
    with pytest.raises(fedhds.ParameterError, match="natural_instructions"):
        fedhds.load_records(file, "csv")
    with pytest.raises(fedhds.ConfigError, match="respons"):
        fedhds.load_records(file, fields={"respons": "a"})


def test_alpaca_and_dolly_are_read(tmp_path):
    file = tmp_path / "alpaca.json"
    file.write_text(json.dumps([{"instruction": "Add.", "input": "1 2", "output": "3"}]))
    assert fedhds.load_records(file, "alpaca")[0].response == "3"
    file = tmp_path / "dolly.jsonl"
    file.write_text(json.dumps({"instruction": "Add.", "context": "1 2", "response": "3", "category": "sums"}) + "\n")
    assert fedhds.load_records(file, "dolly")[0].category == "sums"


def test_every_format_is_the_cores(tmp_path):
    chat = tmp_path / "chat.json"
    turns = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "3"}]
    chat.write_text(json.dumps([{"messages": turns}]))
    table = tmp_path / "table.csv"
    table.write_text('question,answer\n"Add,\nplease",3\n')
    for file, format in ((chat, "messages"), (chat, "guess"), (table, "guess")):
        [record] = fedhds.load_records(file, format)
        assert record.response == "3" and record.instruction.startswith("Add")
    [record] = fedhds.load_records(table, "table", fields={"instruction": "question", "response": "answer"})
    assert record.instruction == "Add,\nplease" and record.id == "table-0"
    train, test = fedhds.embedded_records()
    assert fedhds.load_records(None, "embedded") == train
    assert fedhds.load_records(None, "embedded", split="test") == test
    for format, near in (("josnl", "jsonl"), ("Alpaca", "alpaca"), ("natural-instructions", "natural_instructions")):
        with pytest.raises(fedhds.ParameterError, match=f"`guess`.*did you mean `{near}`"):
            fedhds.load_records(chat, format)
    for wrong, error, words in (
        ({"format": "jsonl", "split": "test"}, fedhds.ParameterError, "split: .*does not keep its records apart"),
        ({"format": "messages", "fields": {"response": "x"}}, fedhds.ParameterError, "fields: .*id, category, family"),
        ({"format": "jsonl", "fields": {"response": b"x"}}, fedhds.ParameterError, "fields.response: expected text or None, got b'x'"),
        ({"format": "jsonl", "fields": ["response"]}, fedhds.ParameterError, "fields: expected names of fields"),
        ({"format": "jsonl", "blank_response": None}, fedhds.ParameterError, "blank_response: expected text, got None"),
        ({"format": "jsonl", "blank_response": "drop"}, fedhds.ConfigError, "drop"),
        ({"format": "natural_instructions"}, fedhds.FileError, "expected a folder"),
        ({"format": "embedded"}, fedhds.InputError, "generated"),
    ):
        with pytest.raises(error, match=words):
            fedhds.load_records(chat, **wrong)
    with pytest.raises(fedhds.FileError, match="expected a file for the format `jsonl`, got a folder"):
        fedhds.load_records(tmp_path)
    with pytest.raises(fedhds.InputError, match="got none"):
        fedhds.load_records(None)


def test_parquet_is_read_by_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    file = tmp_path / "data.parquet"
    pandas.DataFrame({"question": ["a", "b"], "answer": ["c", None]}).to_parquet(file)
    with pytest.raises(fedhds.DataError, match=r"data\.parquet: field `\[1\]\.answer`.*empty"):
        fedhds.load_records(file, "guess")
    [record] = fedhds.load_records(file, "guess", blank_response="skip")
    assert (record.id, record.instruction, record.response) == ("data-0", "a", "c")
    (tmp_path / "broken.parquet").write_text("text")
    with pytest.raises(fedhds.DataError, match="broken.parquet: expected a table"):
        fedhds.load_records(tmp_path / "broken.parquet", "table")
    with pytest.raises(fedhds.FileError, match="absent.parquet"):
        fedhds.load_records(tmp_path / "absent.parquet", "table")


@pytest.mark.parametrize(
    "how",
    [
        {"kind": "iid", "clients": 4},
        {"kind": "dirichlet", "clients": 4, "alpha": 0.5},
        {"kind": "labels", "clients": 4, "labels_per_client": 20},
        {"kind": "one_task_per_client"},
    ],
)
def test_each_record_goes_to_one_client(how):
    train, _ = fedhds.embedded_records(records_per_task=4)
    parts = fedhds.partition(train, seed=3, **how)
    dealt = [record.id for part in parts for record in part]
    assert sorted(dealt) == sorted(record.id for record in train)
    assert parts == fedhds.partition(train, seed=3, **how)
    if "clients" in how:
        assert len(parts) == 4
        assert parts != fedhds.partition(train, seed=4, **how)


def test_partitions_that_cannot_be_are_refused():
    train, _ = fedhds.embedded_records(records_per_task=1)
    for wrong in ({"kind": "iid"}, {"kind": "iid", "clients": 0}, {"kind": "dirichlet", "clients": 2}, {"kind": "odd"}):
        with pytest.raises((fedhds.ParameterError, fedhds.ConfigError), match="clients|alpha|odd"):
            fedhds.partition(train, **wrong)
    with pytest.raises(fedhds.ConfigError, match="alpha"):
        fedhds.partition(train, "iid", clients=2, alpha=1.0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kind": "iid", "clients": 0}, "clients: expected a whole number of at least 1, got 0"),
        ({"kind": "iid", "clients": "two"}, "clients: expected a whole number, got 'two'"),
        ({"kind": "iid", "clients": 2, "min_records": 0}, "min_records: expected a whole number of at least 1, got 0"),
        ({"kind": "dirichlet", "clients": 2, "alpha": float("nan")}, "alpha: expected a number above 0, got nan"),
        ({"kind": "dirichlet", "clients": 2, "alpha": -1}, "alpha: expected a number above 0, got -1.0"),
        ({"kind": "dirichlet", "clients": 2, "alpha": 1.0, "by": "task"}, "by: expected `category` or `family`, got 'task'"),
        ({"kind": 7}, "kind: expected text, got 7"),
    ],
)
def test_a_wrong_setting_of_a_partition_is_named_with_its_value(how, message):
    train, _ = fedhds.embedded_records(records_per_task=1)
    with pytest.raises(fedhds.ParameterError) as caught:
        fedhds.partition(train, **how)
    assert str(caught.value) == message


def test_a_field_of_a_record_that_is_no_text_is_named():
    good = Record("a", "Add.", "1 2", ("3",))
    for wrong, message in (
        (Record("b", 7, "", ("x",)), "records: row 1: instruction: expected text, got 7"),
        (Record("b", "Add.", None, ("x",)), "records: row 1: input: expected text, got None"),
        (Record("b", "Add.", "", ("x", 3)), "records: row 1: responses: expected a list of texts, got ('x', 3)"),
        (Record("b", "Add.", "", "x"), "records: row 1: responses: expected a list of texts, got 'x'"),
    ):
        with pytest.raises(fedhds.InputError) as caught:
            fedhds.render([good, wrong])
        assert str(caught.value) == message


def test_a_wrong_setting_of_embedded_records_is_named_with_its_value():
    for setting, message in (
        ({"records_per_task": 0}, "records_per_task: expected a whole number from 1 to 1048576, got 0"),
        ({"test_records_per_task": 2**21}, "test_records_per_task: expected a whole number from 1 to 1048576, got 2097152"),
        ({"tasks": "all"}, "tasks: expected a whole number or None, got 'all'"),
        ({"test_tasks": "confirm"}, "test_tasks: expected `development`, `confirmation` or `all`, got 'confirm'"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 2**64 - 1, got -1"),
    ):
        with pytest.raises(fedhds.ParameterError) as caught:
            fedhds.embedded_records(**setting)
        assert str(caught.value) == message


def test_embedded_records_come_from_their_seed():
    train, test = fedhds.embedded_records(records_per_task=3, test_records_per_task=2, seed=5)
    assert (train, test) == fedhds.embedded_records(records_per_task=3, test_records_per_task=2, seed=5)
    assert train != fedhds.embedded_records(records_per_task=3, seed=6)[0]
    assert not {r.category for r in train} & {r.category for r in test}
    confirmation = fedhds.embedded_records(records_per_task=3, test_records_per_task=2, test_tasks="confirmation", seed=5)
    assert confirmation[0] == train and not {r.category for r in test} & {r.category for r in confirmation[1]}
    with pytest.raises(fedhds.ParameterError, match="tasks"):
        fedhds.embedded_records(tasks=0)


def test_prompts_are_rendered():
    record = Record("a", "Add.", "1 2", ("3", "three"))
    [(prompt, response)] = fedhds.render([record])
    assert prompt.startswith("Below is an instruction") and prompt.endswith("### Response:\n") or "### Response:" in prompt
    assert response == "3" and "1 2" in prompt
    assert fedhds.render([record], {"with_input": "{instruction}|{input}|"}) == [("Add.|1 2|", "3")]
    with pytest.raises(fedhds.ConfigError, match="inptu"):
        fedhds.render([record], {"with_input": "{inptu}"})
    with pytest.raises(fedhds.ParameterError, match="model"):
        fedhds.render([record], "chat")
    with pytest.raises(fedhds.ParameterError, match="prompt"):
        fedhds.render([record], 7)


DEEP: list = []
for _ in range(3000):
    DEEP = [DEEP]
RING: dict = {}
RING["messages"] = [RING]


@pytest.mark.parametrize("wrong", ["a\ud800", "\udfff", None, b"x", 3j, [], {}, object(), DEEP, float("nan")], ids=lambda w: type(w).__name__)
@pytest.mark.parametrize("field", ["instruction", "response", "input", "topic", "key"])
@pytest.mark.parametrize("as_record", [False, True])
def test_what_is_no_text_of_a_record_is_named_with_its_row(wrong, field, as_record):
    row = {"instruction": "a", "input": "b", "response": "c", "topic": "d", "key": "e"}
    good = row | {"key": "f"}

    def record(row):
        return Record(row["key"], row["instruction"], row["input"], (row["response"],), row["topic"], row["topic"])

    rows = [good, row | {field: wrong}]
    nothing = wrong is None or wrong != wrong
    if field == "input" and nothing and not as_record:
        assert fedhds.as_records(rows, id="key", category="topic")[1].input == ""
        return
    with pytest.raises(fedhds.Error, match="records: row 1: ") as caught:
        fedhds.as_records([record(row) for row in rows] if as_record else rows, id="key", category="topic")
    assert len(str(caught.value)) < 300
    for call in (fedhds.near_copies, fedhds.TextFeatures().extract, fedhds.render):
        with pytest.raises(fedhds.Error, match="records: row 1: "):
            call([record(good), record(rows[1])])


@pytest.mark.parametrize("turns", [[{"role": "user", "content": "\ud800"}], DEEP, RING, 7, "text", None, [None], [{"role": 1}]], ids=lambda t: type(t).__name__)
def test_turns_that_are_none_are_named_with_their_row(turns):
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    with pytest.raises(fedhds.InputError, match="records: row 1: "):
        fedhds.as_records([good, {"messages": turns}])


def test_texts_with_lone_surrogates_are_named():
    with pytest.raises(fedhds.InputError, match="instructions: row 1: expected Unicode"):
        fedhds.text_features(["a", "b\ud800"])
    with pytest.raises(fedhds.InputError, match="prediction: expected Unicode"):
        fedhds.rouge_l("\ud800", "a")


def test_mappings_of_columns_or_splits_are_no_rows():
    with pytest.raises(fedhds.InputError, match="got one dict"):
        fedhds.as_records({"train": [{"instruction": "a", "response": "b"}]})
