"""Select the 1% of the records that is worth training on, across clients, without the records leaving them.

Selection (:class:`Client`, :class:`Server`), the numerics behind it (:class:`TSNE`, :class:`HDBSCAN`, ...), Rouge-L and whole
simulations. Arrays go in and come out as NumPy; what is wrong is an :class:`Error` that says what was expected and what came.
"""

from . import conditions, features
from ._aggregators import FedAdam, FedAvgM, FedSvd, FfaLora, FlexLora, RoLora, WeightedMean
from ._allowed import AllowedMethods
from ._estimators import HDBSCAN, KMeans, KernelPCA, PCA, SharedProjection, TSNE
from ._memory import TrainedGroup
from ._model import Adapter, Model, weighted_mean, write_embedded_model
from ._tuning import LayerFeatures, LoraTrainer, ModelEvaluator, RecordScore, Trained
from ._native import (
    AdapterError,
    CheckpointError,
    ConfigError,
    DataError,
    Error,
    FileError,
    InputError,
    ModelError,
    NotFiniteError,
    ParameterError,
    ProtocolError,
    StageError,
    __version__,
)
from ._progress import progress
from ._explain import Pick, explain
from ._files import load_records
from ._records import Record, as_records, embedded_records, partition, render
from ._selection import Client, Method, client_seed, presets
from ._server import FinishedRound, Group, RoundReport, Server
from ._simulation import Outcome, Simulation
from ._stages import Covered, Rows
from ._experiment import Experiments, SimulationResult, simulate
from ._judge import ResponseLoss
from ._report import Report, report
from ._text import TextFeatures, near_copies, text_features
from ._tokens import count_tokens
from ._tools import RougeL, rouge_l
from ._upload import Randomness, Summary

__all__ = [
    "Adapter",
    "AdapterError",
    "AllowedMethods",
    "CheckpointError",
    "Client",
    "ConfigError",
    "Covered",
    "DataError",
    "Error",
    "Experiments",
    "FedAdam",
    "FedAvgM",
    "FedSvd",
    "FfaLora",
    "FileError",
    "FinishedRound",
    "FlexLora",
    "Group",
    "HDBSCAN",
    "InputError",
    "KMeans",
    "KernelPCA",
    "LayerFeatures",
    "LoraTrainer",
    "Method",
    "Model",
    "ModelError",
    "ModelEvaluator",
    "NotFiniteError",
    "Outcome",
    "PCA",
    "ParameterError",
    "Pick",
    "ProtocolError",
    "Randomness",
    "Record",
    "RecordScore",
    "Report",
    "ResponseLoss",
    "RoLora",
    "RougeL",
    "RoundReport",
    "Rows",
    "Server",
    "SharedProjection",
    "Simulation",
    "SimulationResult",
    "StageError",
    "Summary",
    "TSNE",
    "TextFeatures",
    "Trained",
    "TrainedGroup",
    "WeightedMean",
    "__version__",
    "as_records",
    "client_seed",
    "count_tokens",
    "conditions",
    "embedded_records",
    "explain",
    "features",
    "load_records",
    "near_copies",
    "partition",
    "presets",
    "progress",
    "render",
    "report",
    "rouge_l",
    "simulate",
    "text_features",
    "weighted_mean",
    "write_embedded_model",
]
