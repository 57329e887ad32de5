"""Conditions and the truth about them."""

import pytest

import fedhds
from fedhds.conditions import Condition, RecordTruth


@pytest.fixture(scope="module")
def clients():
    train, _ = fedhds.embedded_records(records_per_task=6)
    return fedhds.partition(train, "dirichlet", clients=5, alpha=0.5, min_records=20, seed=1)


def test_knobs_are_the_cores_and_checked():
    assert Condition() == Condition.named("clean") and repr(Condition()) == "Condition()"
    mix = Condition.named("mix")
    assert mix == Condition(duplicates=0.3, tail=1.0, swap_across=0.2, junk=0.1) and hash(mix) != hash(Condition())
    assert mix.settings["junk_generators"] == "development" and mix.settings["scarce"] is None
    assert repr(Condition(junk=0.5)) == "Condition(junk=0.5)"
    for knobs, word in (
        ({"duplicates": 1.0}, r"duplicates: expected a number in \[0, 1\)"),
        ({"junk": -0.1}, "junk"),
        ({"scarce": 0}, "scarce: expected.*at least 1"),
        ({"tail": "steep"}, "tail: expected a number"),
        ({"junk_generators": "mine"}, "junk_generators: expected `development` or `confirmation`"),
    ):
        with pytest.raises(fedhds.ParameterError, match=word):
            Condition(**knobs)
    for name in ("mixed", None):
        with pytest.raises(fedhds.ParameterError, match="name: expected `clean` or `mix`"):
            Condition.named(name)


def test_clean_data_stay_as_they_are(clients):
    same, truth = Condition().apply(clients, seed=3)
    assert same == [list(records) for records in clients] and truth.reached == []
    assert len(truth) == sum(map(len, clients)) and all(one.flaw is None and one.copy_of is None for one in truth.values())
    ids = [record.id for record in clients[0]]
    assert truth.purity(ids) == 1.0 and truth.distinct(ids) == len(ids)
    assert truth.tasks(ids) == len({record.category for record in clients[0]})


def test_the_truth_says_what_was_done(clients):
    condition = Condition(duplicates=0.3, swap_across=0.2, junk=0.1, bad_clients=0.2)
    changed, truth = condition.apply(clients, seed=3)
    before = {record.id: record for records in clients for record in records}
    after = {record.id: record for records in changed for record in records}
    assert list(after) == list(before) == list(dict.fromkeys(after)) and set(truth) == set(after)
    assert {one.knob for one in truth.reached} == {"duplicates", "swap_across", "junk", "bad_clients"}
    assert [one.asked for one in truth.reached if one.knob == "junk"] == [0.1]
    (bad,) = truth.bad_clients
    assert len({record.response for record in changed[bad]}) == 1
    kinds = {"swapped": {"across"}, "junk": {"boilerplate", "first_third", "word_salad"}, "bad_client": {None}, None: {None}}
    for id, one in truth.items():
        assert isinstance(one, RecordTruth) and one.kind in kinds[one.flaw]
        assert truth.is_bad(id) == (one.flaw is not None)
        if one.flaw is None and one.copy_of is None:
            assert after[id] == before[id]
    ids = [record.id for record in changed[bad]]
    assert truth.purity(ids) == 0.0 and truth.purity(ids[:1] + ["unknown"]) == 0.5 and truth.purity([]) == 1.0
    copies = [id for id, one in truth.items() if one.copy_of]
    assert copies and truth.distinct(copies) <= 8 and truth.tasks(copies) <= 8
    assert "bad_clients=" in repr(truth)
    again, other = condition.apply(clients, seed=3)[0], condition.apply(clients, seed=4)[0]
    assert again == changed != other
    with pytest.raises(fedhds.InputError, match="ids: expected ids"):
        truth.purity("a")


def test_rare_tasks_come_before_the_partition():
    train, _ = fedhds.embedded_records(records_per_task=10)
    kept, (reached,) = Condition(tail=1.0).thin(train, seed=2)
    assert 0 < len(kept) < len(train) and [record for record in train if record in set(kept)] == kept
    assert reached.knob == "tail" and reached.asked == 1.0 and reached.reached == pytest.approx(len(kept) / len(train))
    assert Condition(junk=0.2).thin(train, seed=2) == (train, [])


def test_ids_must_be_of_one_client(clients):
    with pytest.raises(fedhds.InputError):
        Condition(junk=0.1).apply([clients[0], clients[0]], seed=1)


def test_a_junk_answer_of_a_lone_record_takes_its_words_from_the_pool():
    record = fedhds.Record("a", "Say it.", "", ("one two three",), "t", "t")
    words = [fedhds.Record(str(i), f"Ask {i}.", "", (f"other {i}",), "t", "t") for i in range(20)]
    changed, truth = Condition(junk=1.0).apply([[record]], seed=5, pool=words)
    assert truth["a"].flaw == "junk" and changed[0][0].response != record.response
