"""FedHDS in FedML: a ``ClientTrainer`` and a ``ServerAggregator`` for its cross-silo runner.

FedML knows one exchange a round: parameters go down, clients train, parameters come up. FedHDS needs two, so that one
round of it is two of FedML's (``comm_round`` is twice the rounds):

1. the adapter and the round's start go down, each client groups its records, a few centroids come up;
2. an order goes down to each client, it trains on the records that it chooses by it, its adapter comes up.

The selection's messages ride along with the parameters as tensors of bytes, under names that begin with ``fedhds.``;
records, texts, features and row numbers never leave a client. FedML's aggregation, its defences and its noise see
adapters alone, weighted by the records that were trained on.

Training in Rust:

    model = RustModel(fedhds.LoraTrainer(fedhds.Model.load("model")), seed=7)
    method = fedhds.Method("fedhds_coverage", budget=20)
    extractor = fedhds.LayerFeatures(fedhds.Model.load("proxy"))
    trainer = RustClientTrainer(model, args, method=method, extractor=extractor, seed=7)
    aggregator = RustServerAggregator(model, args, method=method, layers=extractor.layers, seed=7)
    FedMLRunner(args, device, dataset, model, trainer, aggregator).run()

With PyTorch and PEFT, subclass :class:`ClientTrainer` and give it ``train_selected``. docs/fedml.md tells the rest.
Needs fedml 0.9.6 (``pip install fedhds[fedml] "setuptools<81"``); without it the classes stand on bases of the same
shape, for tests.
"""

from ._client import ClientTrainer
from ._rust import RustClientTrainer, RustModel, RustServerAggregator
from ._server import ServerAggregator

__all__ = ["ClientTrainer", "RustClientTrainer", "RustModel", "RustServerAggregator", "ServerAggregator"]
