"""Select the 1% of the records that is worth training on, across clients, without the records leaving them.

Selection (:class:`Client`, :class:`Server`), the numerics behind it (:class:`TSNE`, :class:`HDBSCAN`, ...), Rouge-L and whole
simulations. Arrays go in and come out as NumPy; what is wrong is an :class:`Error` that says what was expected and what came.
"""

from ._estimators import HDBSCAN, KMeans, KernelPCA, PCA, SharedProjection, TSNE
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
from ._selection import Client, Group, Method, Server, presets
from ._tools import RougeL, SimulationResult, rouge_l, simulate

__all__ = [
    "AdapterError",
    "CheckpointError",
    "Client",
    "ConfigError",
    "DataError",
    "Error",
    "FileError",
    "Group",
    "HDBSCAN",
    "InputError",
    "KMeans",
    "KernelPCA",
    "Method",
    "ModelError",
    "NotFiniteError",
    "PCA",
    "ParameterError",
    "ProtocolError",
    "RougeL",
    "Server",
    "SharedProjection",
    "SimulationResult",
    "StageError",
    "TSNE",
    "__version__",
    "presets",
    "rouge_l",
    "simulate",
]
