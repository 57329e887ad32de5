"""Wrong arguments to everything that is public: an answer, a ``fedhds.Error``, or a ``TypeError`` of Python's that names the argument.

Each call is first made with arguments that are right; then each of them, and pairs of them, are replaced by values of other kinds.
"""

import inspect
import itertools
import random

import numpy as np
import pytest

import fedhds

BAD = [
    None, True, 5, -1, 2.5, float("nan"), float("inf"), 10**400, 1j, "text", "", "\ud800", "a\udfffb", "nul\0", b"bytes", [], [None],
    ["\ud800"], [5], [[1, 2], [3]], [[float("nan")]], {}, {"a": 1}, {1: 2}, {"\ud800": "\ud800"}, set(), (), object(), object, len,
    Ellipsis, np.zeros(3), np.zeros((2, 2, 2)), np.array(["a"]), np.array([None]), np.float32(1), np.datetime64("2020"), iter([1]),
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Texts among the wrong arguments are names of files to some calls: what is written by them goes away."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """What is public, each with arguments that are right: (name, function, arguments)."""
    folder = tmp_path_factory.mktemp("files")
    train, test = fedhds.embedded_records(records_per_task=2, test_records_per_task=1)
    train, test = train[:6], test[:2]
    file = folder / "records.jsonl"
    file.write_text('{"instruction": "a", "response": "b"}\n')
    model = fedhds.Model.embedded()
    trainer = fedhds.LoraTrainer(model, prompt="short")
    adapter = trainer.init(1)
    adapter.save(folder / "adapter")
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    method = fedhds.Method("fedhds_coverage", budget=2)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    start = server.begin_round(0, [0], adapter)
    summary = client.summarize(start, features)
    server.receive(0, summary)
    order = server.select()[0]
    rows = client.choose(order).tolist()
    pairs = [(0, 0), (0, 1)]
    condition = fedhds.conditions.Condition(junk=0.5)
    clients, truth = condition.apply([train], 1)
    simulation = dict(method="random", clients=[train], trainer=trainer, rounds=1, participation=1.0, judge=False)
    run = fedhds.Simulation(**simulation).run()
    layers, text = fedhds.LayerFeatures(model, prompt="short"), fedhds.TextFeatures()
    evaluator, judge = fedhds.ModelEvaluator(model, max_new_tokens=1), fedhds.ResponseLoss(model, prompt="short")
    fitted = {kind: kind(2).fit(features) for kind in (fedhds.PCA, fedhds.SharedProjection, fedhds.HDBSCAN, fedhds.KMeans)}
    fitted[fedhds.TSNE] = fedhds.TSNE(max_iter=2).fit(features)
    fitted[fedhds.KernelPCA] = fedhds.KernelPCA().fit(features)
    names = list(adapter.tensors)
    public = [
        (fedhds.Method, dict(preset="fedhds_coverage", budget=3, stages={"client.reducer": lambda x, seed: x})),
        (fedhds.client_seed, dict(seed=1, call="train", round=0, client=1)),
        (fedhds.Client, dict(client=0, method="random", layers=1, seed=1, secret=bytes(32))),
        (client.summarize, dict(start=start, features=features, scores={"a": np.zeros(12)}, copies=[0] * 12, prompts=features)),
        (client.pilot, dict(start=start)),
        (client.choose, dict(order=order, losses=lambda pairs: [0.0] * len(pairs))),
        (client.update, dict(order=order, rows=rows, adapter=adapter, losses=[1.0], skipped=0, tokens=1)),
        (client.mark_trained, dict(rows=[0])),
        (client.resume, dict(state=client.state())),
        (client.answer, dict(summary=summary, start=start, losses=[])),
        (fedhds.Server, dict(method="random", layers=1, seed=1, aggregator=fedhds.FedAdam())),
        (lambda **given: fedhds.Server("random").begin_round(**given), dict(round=0, clients=[0], adapter=adapter)),
        (server.receive, dict(client=0, message=summary)),
        (server.receive_update, dict(client=0, adapter=adapter, records=1, loss=0.5)),
        (server.most, dict(client=0)),
        (lambda **given: fedhds.Server("random").leave_out(**given), dict(client=0, reason="late")),
        (lambda **given: fedhds.Server("random").end_round(**given), dict(trained={0: 1})),
        (lambda **given: fedhds.Server(method).resume(**given), dict(state=fedhds.Server(method).state(), adapter=None)),
        (fedhds.Model, dict(path=folder, device="cpu", activations="f32")),
        (fedhds.Model.load, dict(path=folder)),
        (fedhds.Model.embedded, dict(device="cpu")),
        (model.count_tokens, dict(texts=["a"])),
        (model.generate, dict(prompts=["a"], adapter=adapter, max_new_tokens=1, batch_size=1)),
        (fedhds.write_embedded_model, dict(folder=folder / "model")),
        (fedhds.Adapter, dict(config=adapter.config, tensors=adapter.tensors)),
        (fedhds.Adapter.load, dict(folder=folder / "adapter")),
        (fedhds.Adapter.from_bytes, dict(data=adapter.to_bytes(), config=adapter.config)),
        (adapter.save, dict(folder=folder / "saved", base_model="base")),
        (adapter.with_tensors, dict(tensors={name: adapter.tensors[name] for name in names})),
        (adapter.save_gguf, dict(path=folder / "adapter.gguf", model=model)),
        (fedhds.weighted_mean, dict(adapters=[(adapter, 1)])),
        (fedhds.LayerFeatures, dict(model=model, prompt="short", layers="all", pooling="mean", max_tokens=9, batch_tokens=None)),
        (layers.extract, dict(records=train, adapter=adapter)),
        (layers.tokens, dict(records=train)),
        (fedhds.LoraTrainer, dict(model=model, prompt="short", r=2, target_modules=["q_proj"], learning_rate=0.1, max_grad_norm=None)),
        (trainer.init, dict(seed=1)),
        (trainer.train, dict(adapter=adapter, records=train[:1], seed=1)),
        (fedhds.ModelEvaluator, dict(model=model, prompt="short", max_new_tokens=1, batch_size=1, rouge="rouge")),
        (evaluator.evaluate, dict(records=test[:1], adapter=adapter, generate=False)),
        (fedhds.ResponseLoss, dict(model=model, prompt="short", max_response_tokens=3, batch_size=2, frozen=True)),
        (judge.score, dict(records=train[:1], adapter=adapter)),
        (judge.losses, dict(records=train, pairs=pairs)),
        (fedhds.TextFeatures, dict(dims=8, seed=1)),
        (text.extract, dict(records=train, adapter=None)),
        (text.prompts, dict(records=train)),
        (text.of_texts, dict(instructions=["a"], rests=["b"])),
        (fedhds.text_features, dict(instructions=["a"], rests=["b"], dims=8, seed=1)),
        (fedhds.near_copies, dict(records=train, extra_words=2, template_words=["please"])),
        (fedhds.count_tokens, dict(records=train, model=model, prompt="short")),
        (fedhds.rouge_l, dict(prediction="a", references=["a"], flavor="rouge", stemmer=False)),
        (fedhds.as_records, dict(data=[{"instruction": "a", "response": "b"}], instruction="instruction", input=None)),
        (fedhds.load_records, dict(path=file, format="jsonl", fields={}, blank_response="error", split=None)),
        (fedhds.embedded_records, dict(records_per_task=1, test_records_per_task=1, tasks=2, seed=1, allow_fewer=True)),
        (fedhds.partition, dict(records=train, kind="dirichlet", clients=2, alpha=1.0, by="category", min_records=1, seed=1)),
        (fedhds.render, dict(records=train, prompt="short", model=model)),
        (fedhds.explain, dict(run=run, round=0, client=0, record=train[0].id, refused=False)),
        (fedhds.Simulation, simulation | dict(extractor=text, evaluator=evaluator, test=test, generate=1, evaluate="last", seed=1)),
        (fedhds.Experiments, dict(configs=[folder / "none.toml"], data=None, out=folder / "out", seeds=[1], methods=["random"])),
        (fedhds.simulate, dict(config=folder / "none.toml", model=None, seeds=[1], conditions=["clean"])),
        (fedhds.report, dict(runs=[folder / "none"], out=folder / "report")),
        (fedhds.progress, dict(listener=False)),
        (fedhds.Randomness, dict(key=bytes(32))),
        (fedhds.Randomness(bytes(32)).bytes, dict(count=3)),
        (fedhds.Randomness(bytes(32)).uniform, dict(shape=(2, 3))),
        (fedhds.Randomness(bytes(32)).normal, dict(shape=(2, 3), std=1.0)),
        (fedhds.conditions.Condition, dict(duplicates=0.1, junk=0.1, scarce=3, length=0.1, junk_generators="development")),
        (fedhds.conditions.Condition.named, dict(name="mix")),
        (condition.thin, dict(records=train, seed=1, all=None)),
        (condition.apply, dict(clients=[train], seed=1, pool=train)),
        (truth.is_bad, dict(id=train[0].id)),
        (truth.purity, dict(ids=[train[0].id])),
        (truth.distinct, dict(ids=[train[0].id])),
        (truth.tasks, dict(ids=[train[0].id])),
    ]
    for kind, one in fitted.items():
        # Counts of steps are right where they are large, and take long.
        given = {name: value for name, value in one.get_params().items() if name != "max_iter"}
        public.append((lambda kind=kind, **more: kind(**more).fit(features), given))
        public.append((one.fit, dict(X=features)))
        public.append((one.set_params, given))
        public.extend((getattr(one, name), dict(X=features)) for name in ("transform", "predict") if hasattr(one, name))
    return [(getattr(call, "__qualname__", str(call)), call, given) for call, given in public]


def answer(name, call, given, wrong):
    """Makes the call; whether it was answered."""
    try:
        with np.errstate(all="ignore"):
            result = call(**given)
        return result is not None or True
    except fedhds.Error as error:
        text = str(error)
        assert text.strip(), name
        return False
    except TypeError as error:
        assert any(argument in str(error) for argument in given), f"{name}: {wrong}: {error}"
        return False
    except BaseException as error:
        raise AssertionError(f"{name}: {wrong}: {type(error).__name__}: {error}") from error


def test_each_argument_of_each_call_may_be_wrong(calls):
    answered = refused = 0
    for name, call, given in calls:
        for argument in given:
            for bad in BAD:
                if inspect.isgenerator(bad):
                    continue
                done = answer(name, call, given | {argument: bad}, {argument: bad})
                answered, refused = answered + done, refused + (not done)
    assert refused > 5 * answered > 0, (answered, refused)


def test_two_arguments_may_be_wrong(calls):
    draw = random.Random(7)
    for name, call, given in calls:
        pairs = list(itertools.combinations(given, 2))
        for one, other in draw.sample(pairs, min(4, len(pairs))):
            wrong = {one: draw.choice(BAD), other: draw.choice(BAD)}
            answer(name, call, given | wrong, wrong)


def test_the_argument_is_named():
    server, client = fedhds.Server("random"), fedhds.Client(0, "random")
    for wrong, call in {
        "prediction": lambda: fedhds.rouge_l("a \ud800", "b"),
        "references: row 1": lambda: fedhds.rouge_l("a", ["b", "\udc00"]),
        "clients": lambda: server.begin_round(0, None),
        "rows": lambda: client.mark_trained(5),
        "reason": lambda: server.leave_out(0, "\ud800"),
        "instructions: row 0": lambda: fedhds.text_features(["\ud800"]),
        "adapters": lambda: fedhds.weighted_mean(None),
        "path": lambda: fedhds.Model(None),
        "config": lambda: fedhds.Adapter(5, {}),
        "fields": lambda: fedhds.load_records("file.jsonl", fields={1: 2}),
    }.items():
        with pytest.raises(fedhds.Error) as raised:
            call()
        assert str(raised.value).startswith(wrong), raised.value


def test_what_a_function_of_the_users_raises_stays_as_it_is():
    def mine():
        raise TypeError("of my own")

    with pytest.raises(TypeError, match="of my own") as raised:
        fedhds.Client(0, "random").summarize(b"", mine)
    assert not isinstance(raised.value, fedhds.Error)
