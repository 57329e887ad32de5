"""Reducers and clusterers with scikit-learn's conventions: parameters in ``__init__``, results in attributes with a final
underscore, ``get_params``, ``set_params``, cloning by parameters. scikit-learn itself is not needed.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._arrays import matrix, seed

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class _Estimator:
    """Parameters as scikit-learn's estimators keep them."""

    @classmethod
    def _names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Any:
        """Sets parameters by name.

        Raises:
            ParameterError: for a name that is none.
        """
        for name, value in params.items():
            if name not in self._names():
                known = ", ".join(self._names())
                raise _native.ParameterError(f"parameter `{name}`: expected one of {known}, got `{name}`")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [f"{n}={v!r}" for n, v in self.get_params().items() if v is not defaults[n].default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _settings(self, *names: str, **fixed: Any) -> str:
        """JSON of these parameters; those that are None keep the core's default."""
        values = {name: _plain(name, getattr(self, name)) for name in names} | fixed
        return json.dumps({name: value for name, value in values.items() if value is not None})


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise _native.ParameterError(f"parameter `{name}`: expected a number, text, True, False or None, got {value!r}")


class _Reducer(_Estimator):
    embedding_: Floats
    n_features_in_: int

    def fit(self, X: ArrayLike, y: Any = None) -> Any:
        """Reduces ``X``, of shape [n, d], into ``embedding_``; ``y`` is ignored."""
        features = matrix(X, "X")
        self.embedding_ = self._reduce(features)
        self.n_features_in_ = features.shape[1]
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> Floats:
        """Reduces ``X``, of shape [n, d], to [n, n_components]."""
        self.fit(X)
        return self.embedding_

    def _reduce(self, features: Floats) -> Floats:
        raise NotImplementedError


class TSNE(_Reducer):
    """Barnes-Hut t-SNE (van der Maaten 2014), the method's fusion step (eq. 7).

    The same bits for the same ``random_state``, at any number of threads.

    Args:
        n_components: columns of the result, 1 or 2 with ``theta`` above 0.
        perplexity: neighbours that count, at least 1; no more than ``perplexity_limit`` allows.
        perplexity_limit: ``"third"``, (n - 1) / 3, or the paper's ``"rows"``, n - 1.
        n_iter: steps of the descent.
        learning_rate: above 0; None is n / exaggeration.
        early_exaggeration: factor on the affinities at first, at least 1.
        early_exaggeration_iter: how many steps it lasts.
        theta: accuracy of the Barnes-Hut approximation, 0 is exact.
        random_state: the seed.

    Example:
        >>> import numpy as np, fedhds
        >>> x = np.random.default_rng(0).normal(size=(40, 16))
        >>> fedhds.TSNE(n_iter=250).fit_transform(x).shape
        (40, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        perplexity_limit: str = "third",
        n_iter: int = 1000,
        learning_rate: float | None = None,
        early_exaggeration: float = 12.0,
        early_exaggeration_iter: int = 250,
        theta: float = 0.5,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.perplexity_limit = perplexity_limit
        self.n_iter = n_iter
        self.learning_rate = learning_rate
        self.early_exaggeration = early_exaggeration
        self.early_exaggeration_iter = early_exaggeration_iter
        self.theta = theta
        self.random_state = random_state

    def _reduce(self, features: Floats) -> Floats:
        names = (
            "n_components", "perplexity", "perplexity_limit", "n_iter", "learning_rate", "early_exaggeration",
            "early_exaggeration_iter", "theta",
        )  # fmt: skip
        settings = self._settings(*names, kind="tsne")
        return _native.reduce(settings, features, seed(self.random_state, "random_state"))


class PCA(_Reducer):
    """Principal components by the Gram matrix (the paper's ablation).

    Args:
        n_components: columns of the result.
        whiten: scale each to unit variance.

    Example:
        >>> import fedhds
        >>> fedhds.PCA(1).fit_transform([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).round(1).ravel()
        array([-1.4,  0. ,  1.4], dtype=float32)
    """

    def __init__(self, n_components: int = 2, *, whiten: bool = False) -> None:
        self.n_components = n_components
        self.whiten = whiten

    def _reduce(self, features: Floats) -> Floats:
        return _native.reduce(self._settings("n_components", "whiten", kind="pca"), features, 0)


class KernelPCA(_Reducer):
    """Kernel PCA (the paper's ablation).

    Args:
        n_components: columns of the result.
        kernel: ``"linear"``, ``"rbf"``, ``"poly"`` or ``"cosine"``.
        gamma: of rbf and poly, above 0; None is 1 / columns.
        degree: of poly, at least 1.
        coef0: of poly.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        kernel: str = "linear",
        gamma: float | None = None,
        degree: int = 3,
        coef0: float = 1.0,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0

    def _reduce(self, features: Floats) -> Floats:
        own = {"rbf": ("gamma",), "poly": ("gamma", "degree", "coef0")}.get(str(self.kernel))
        kernel: Any = _plain("kernel", self.kernel)
        if own is not None:
            kernel = {kernel: json.loads(self._settings(*own))}
        settings = self._settings("n_components", kind="kernel_pca", kernel=kernel)
        return _native.reduce(settings, features, 0)


class SharedProjection(_Reducer):
    """The random projection that all clients of one seed share: their points can then be compared.

    Args:
        n_components: columns of the result, 1 to 65,536.
        random_state: the seed that they share.
    """

    def __init__(self, n_components: int = 128, *, random_state: int = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def _reduce(self, features: Floats) -> Floats:
        count = _count("n_components", self.n_components)
        return _native.project(features, count, seed(self.random_state, "random_state"))


class _Clusterer(_Estimator):
    labels_: Labels
    probabilities_: Floats
    n_features_in_: int

    def fit_predict(self, X: ArrayLike, y: Any = None) -> Labels:
        """The cluster of each row of ``X``, of shape [n, d]; -1 for noise."""
        self.fit(X)
        return self.labels_

    def fit(self, X: ArrayLike, y: Any = None) -> Any:
        """Clusters ``X``, of shape [n, d]; ``y`` is ignored."""
        raise NotImplementedError


class HDBSCAN(_Clusterer):
    """HDBSCAN* (Campello 2013, 2015): finds the number of clusters, and noise. Labels do not depend on the order of rows.

    After ``fit``: ``labels_`` [n] (-1 is noise), ``probabilities_`` [n] in [0, 1], ``outlier_scores_`` [n], ``centroids_`` [k, d]
    (weighted by the probabilities).

    Args:
        min_cluster_size: least number of points of a cluster, at least 2.
        min_samples: points within a core distance, the point itself included as in scikit-learn; None is ``min_cluster_size``.
        cluster_selection_method: ``"eom"`` or ``"leaf"``.
        allow_single_cluster: whether all points may be one cluster.
        cluster_selection_epsilon: clusters that split below this distance stay whole.

    Example:
        >>> import numpy as np, fedhds
        >>> x = np.concatenate([np.random.default_rng(0).normal(size=(30, 2)) + c for c in (0, 20)])
        >>> sorted(set(fedhds.HDBSCAN(10).fit_predict(x)))
        [np.int64(0), np.int64(1)]
    """

    outlier_scores_: Floats
    centroids_: Floats

    def __init__(
        self,
        min_cluster_size: int = 5,
        *,
        min_samples: int | None = None,
        cluster_selection_method: str = "eom",
        allow_single_cluster: bool = False,
        cluster_selection_epsilon: float = 0.0,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.cluster_selection_method = cluster_selection_method
        self.allow_single_cluster = allow_single_cluster
        self.cluster_selection_epsilon = cluster_selection_epsilon

    def fit(self, X: ArrayLike, y: Any = None) -> HDBSCAN:
        """Clusters ``X``, of shape [n, d]; ``y`` is ignored."""
        points = matrix(X, "X")
        names = (
            "min_cluster_size", "min_samples", "cluster_selection_method", "allow_single_cluster",
            "cluster_selection_epsilon",
        )  # fmt: skip
        (labels, strength, centroids), scores = _native.hdbscan(self._settings(*names), points)
        self.labels_, self.probabilities_, self.centroids_ = labels, strength, centroids
        self.outlier_scores_ = scores
        self.n_features_in_ = points.shape[1]
        return self


class KMeans(_Clusterer):
    """k-means (k-means++ starts, the best of several runs).

    After ``fit``: ``labels_`` [n], ``cluster_centers_`` [k, d] with k at most the number of distinct rows.

    Args:
        n_clusters: clusters that are wanted, at least 1.
        n_init: runs, of which the best is kept.
        max_iter: most iterations of a run.
        random_state: the seed.
    """

    cluster_centers_: Floats

    def __init__(
        self, n_clusters: int = 8, *, n_init: int = 10, max_iter: int = 300, random_state: int = 0
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> KMeans:
        """Clusters ``X``, of shape [n, d]; ``y`` is ignored."""
        points = matrix(X, "X")
        settings = self._settings(
            n_clusters=_plain("n_clusters", self.n_clusters),
            n_runs=_plain("n_init", self.n_init),
            max_n_iterations=_plain("max_iter", self.max_iter),
        )
        found = _native.kmeans(settings, points, seed(self.random_state, "random_state"))
        self.labels_, self.probabilities_, self.cluster_centers_ = found
        self.n_features_in_ = points.shape[1]
        return self


def _count(name: str, value: Any) -> int:
    """A number of things."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 0 <= int(value) < 2**31:
        raise _native.ParameterError(f"parameter `{name}`: expected a whole number of at least 0, got {value!r}")
    return int(value)
