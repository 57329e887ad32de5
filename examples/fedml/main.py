"""The server (rank 0) or a client (rank 1 and on) of a federation in FedML's cross-silo runner; training runs in Rust.

    python main.py --cf fedml_config.yaml --rank 0 --role server
    python main.py --cf fedml_config.yaml --rank 1 --role client
"""

import json
from pathlib import Path

import fedml
from fedml import FedMLRunner

import fedhds
from fedhds.fedml import RustClientTrainer, RustModel, RustServerAggregator


def load_data(args):
    """FedML's data set of eight: ours are lists of records. A real client loads its own alone."""
    train, test = fedhds.embedded_records(
        records_per_task=args.records_per_task, test_records_per_task=2, seed=args.experiment_seed
    )
    parts = fedhds.partition(
        train, "dirichlet", clients=args.client_num_in_total, alpha=0.5, min_records=20, seed=args.experiment_seed
    )
    clients = dict(enumerate(parts))
    sizes = {client: len(records) for client, records in clients.items()}
    return [len(train), len(test), train, test, sizes, clients, dict.fromkeys(clients), 0]


def main():
    args = fedml.init(check_env=False)
    seed = args.experiment_seed
    base = fedhds.Model.embedded()  # or fedhds.Model.load("a Hugging Face folder or GGUF file")
    trainer = fedhds.LoraTrainer(base, prompt=args.prompt, learning_rate=args.learning_rate)
    evaluator = fedhds.ModelEvaluator(base, prompt=args.prompt)
    method = fedhds.Method(args.method, budget=args.budget)
    extractor, layers = None, 1
    if method.settings["features"] in ("model", "proxy"):  # else the records' texts are enough, or nothing is looked at
        extractor = fedhds.LayerFeatures(base, prompt=args.prompt)  # of a smaller model where the tuned one is large
        layers = extractor.layers
    model = RustModel(trainer, seed=seed)
    if args.rank:
        client = RustClientTrainer(model, args, method=method, extractor=extractor, seed=seed)
        FedMLRunner(args, fedml.device.get_device(args), load_data(args), model, client_trainer=client).run()
        return
    server = RustServerAggregator(
        model, args, method=method, layers=layers, seed=seed, evaluator=evaluator, generate=True
    )
    data = load_data(args)
    before, _ = loss(evaluator, data[3], None)
    FedMLRunner(args, fedml.device.get_device(args), data, model, server_aggregator=server).run()
    after, rouge = loss(evaluator, data[3], model.adapter)
    out = Path(args.out)
    model.adapter.save(out / "adapter")  # PEFT reads it
    told = {"rounds": server.history, "records": data[0], "loss_before": before, "loss_after": after, "rouge_l": rouge}
    (out / "result.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    print(f"loss on unseen tasks {before:.3f} before, {after:.3f} after; Rouge-L {rouge:.3f}; see {out}", flush=True)


def loss(evaluator, records, adapter):
    """Mean loss, and Rouge-L where there is an adapter."""
    scores = evaluator.evaluate(records, adapter, adapter is not None)
    rouge = sum(score.rouge_l or 0.0 for score in scores) / len(scores)
    return sum(score.loss for score in scores) / len(scores), rouge


if __name__ == "__main__":
    main()
