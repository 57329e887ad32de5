"""Reducers and clusterers with scikit-learn's conventions (:mod:`fedhds._conventions`); scikit-learn is not needed.

They compute in float32 with sums in float64. What float32 holds is used to the bit. float64 that it cannot hold is moved and scaled first where
the result does not depend on it (:mod:`fedhds._frame`): points, means and distances then come back in float64 where float32 would cut them.
Where the result does depend on it, or nothing helps, it is an :class:`InputError`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._guard import guarded
from ._arrays import room, seed
from ._conventions import Estimator, Transformer, flag, optional, real, text, whole

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]

_VALUES = 2**20  # that one step of a loop over rows looks at: 8 MiB in double precision


@guarded
class _Reducer(Transformer):
    embedding_: NDArray[Any]

    def fit(self, X: ArrayLike, y: Any = None) -> Any:
        """Reduces ``X``, of shape [n, d], into ``embedding_``; ``y`` is ignored."""
        features = self._fit_features(X)
        self.embedding_ = self._reduced(features)
        self._remember(X, features)
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any:
        """Reduces ``X``, of shape [n, d], to [n, n_components]."""
        self.fit(X)
        return self._wrapped(X, self.embedding_)

    def _columns(self) -> int:
        return int(self.embedding_.shape[1])

    def _reduced(self, features: Floats) -> NDArray[Any]:
        """What the core makes of it, where there is room for that."""
        columns = whole(1)("n_components", getattr(self, "n_components"))
        room(len(features), columns, "n_components: the result")
        return self._reduce(features)

    def _reduce(self, features: Floats) -> NDArray[Any]:
        raise NotImplementedError

    def _lengths(self, placed: Floats) -> NDArray[Any]:
        """What the core gave, in the unit of what was fitted."""
        return placed if self._frame is None else self._frame.lengths(placed)


@guarded
class _Transductive(_Reducer):
    """A reducer that places the rows it was fitted on, and has no map for others."""

    _near = True
    _rows: list[bytes]  # digests: a copy of the features would take their memory again

    def _remember(self, X: Any, features: Floats) -> None:
        super()._remember(X, features)
        self._rows = _digests(features)

    def transform(self, X: ArrayLike) -> Any:
        """The places of rows that :meth:`fit` saw, [n, n_components]; there is no map for others. Pipelines need it.

        Raises:
            InputError: for a row that ``fit`` did not see.
        """
        rows = _digests(self._more_features(X))
        if rows == self._rows:
            return self._wrapped(X, self.embedding_.copy())
        places: dict[bytes, int] = {}
        for place, row in enumerate(self._rows):
            places.setdefault(row, place)  # the first of equal rows
        for i, row in enumerate(rows):
            if row not in places:
                name = type(self).__name__
                places_none = f"X: expected rows that `fit` saw ({name} places no others), got another in row {i}"
                raise _native.InputError(places_none)
        return self._wrapped(X, self.embedding_[[places[row] for row in rows]])


def _digests(features: Floats) -> list[bytes]:
    """One for each row; equal rows have equal ones, 0 and -0 are equal."""
    return [hashlib.blake2b((row + 0).tobytes(), digest_size=16).digest() for row in features]


@guarded
class TSNE(_Transductive):
    """Barnes-Hut t-SNE (van der Maaten 2014), the method's fusion step (eq. 7).

    The same bits for the same ``random_state``, at any number of threads. After ``fit``: ``embedding_`` [n, n_components], and
    ``n_iter_``, the steps that were taken: all of ``max_iter``.

    Args:
        n_components: columns of the result, 1 to 3.
        perplexity: neighbours that count, at least 1; no more than ``perplexity_limit`` allows.
        perplexity_limit: ``"third"``, (n - 1) / 3, or the paper's ``"rows"``, n - 1.
        max_iter: steps of the descent.
        learning_rate: above 0; None is n / exaggeration.
        early_exaggeration: factor on the affinities at first, at least 1.
        early_exaggeration_iter: how many steps it lasts.
        angle: accuracy of the Barnes-Hut approximation in [0, 1], 0 is exact (van der Maaten's theta).
        random_state: the seed.

    Example:
        >>> import numpy as np, fedhds
        >>> x = np.random.default_rng(0).normal(size=(40, 16))
        >>> fedhds.TSNE(max_iter=250).fit_transform(x).shape
        (40, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        perplexity_limit: str = "third",
        max_iter: int = 1000,
        learning_rate: float | None = None,
        early_exaggeration: float = 12.0,
        early_exaggeration_iter: int = 250,
        angle: float = 0.5,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.perplexity_limit = perplexity_limit
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.early_exaggeration = early_exaggeration
        self.early_exaggeration_iter = early_exaggeration_iter
        self.angle = angle
        self.random_state = random_state

    def _reduce(self, features: Floats) -> Floats:
        checks = {
            "n_components": whole(1), "perplexity": real, "perplexity_limit": text, "max_iter": whole(),
            "learning_rate": optional(real), "early_exaggeration": real, "early_exaggeration_iter": whole(),
            "angle": real,
        }  # fmt: skip
        settings = self._settings(checks, kind="tsne")
        self.n_iter_ = self.max_iter
        return _native.reduce(settings, features, seed(self.random_state, "random_state"))


@guarded
class PCA(_Reducer):
    """Principal components by the Gram matrix (the paper's ablation).

    After ``fit`` on [n, d]: ``components_`` [k, d], k the least of ``n_components``, n and d: the directions of most
    variance, each of length 1 and orthogonal to the others, 0 beyond the rank; ``explained_variance_`` [k] over n - 1;
    ``explained_variance_ratio_`` [k], its share in the variance of all columns; ``mean_`` [d].

    Args:
        n_components: columns of the result; those beyond ``components_`` are 0.
        whiten: scale each to unit variance. A direction in which the rows differ by rounding alone has none: it is 0, as those beyond the
            rank are (scikit-learn scales the rounding up).

    Example:
        >>> import fedhds
        >>> pca = fedhds.PCA(1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        >>> pca.transform([[0.0, 0.0], [3.0, 3.0]]).round(1).ravel()
        array([-1.4,  2.8], dtype=float32)
    """

    components_: Floats
    explained_variance_: Doubles
    explained_variance_ratio_: Doubles
    mean_: Doubles
    _placed_fit: tuple[Doubles, Doubles] | None = None
    """Explained variance and mean as the core sees them, where the rows were placed for it."""

    def __init__(self, n_components: int = 2, *, whiten: bool = False) -> None:
        self.n_components = n_components
        self.whiten = whiten

    def transform(self, X: ArrayLike) -> Any:
        """Rows by these components, [m, d] to [m, n_components]: ``(X - mean_) @ components_.T``."""
        features = self._more_features(X)
        columns = self._columns()
        room(len(features), columns, "n_components: the result")
        whiten = flag("whiten", self.whiten)
        variance, mean = self._placed_fit or (self.explained_variance_, self.mean_)
        result = _native.pca_transform(self.components_, variance, mean, whiten, columns, features)
        return self._wrapped(X, result if whiten else self._lengths(result))

    def _reduce(self, features: Floats) -> NDArray[Any]:
        found = _native.pca_fit(self._settings({"n_components": whole(1), "whiten": flag}), features)
        embedding, self.components_, self.explained_variance_, self.explained_variance_ratio_, self.mean_ = found
        self._placed_fit = None
        if self._frame is not None:
            self._placed_fit = self.explained_variance_, self.mean_
            self.explained_variance_ = self._frame.squares(self.explained_variance_)
            self.mean_ = self._frame.points(self.mean_)
        return embedding if self.whiten else self._lengths(embedding)


@guarded
class KernelPCA(_Transductive):
    """Kernel PCA (the paper's ablation).

    Args:
        n_components: columns of the result.
        kernel: ``"linear"``, ``"rbf"``, ``"poly"`` or ``"cosine"``.
        gamma: of rbf and poly, above 0; None is 1 / columns.
        degree: of poly, 1 to 16.
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

    def _reduce(self, features: Floats) -> NDArray[Any]:
        checks = {
            "n_components": whole(1), "kernel": text, "gamma": optional(real), "degree": whole(1), "coef0": real,
        }  # fmt: skip
        fixed: dict[str, Any] = {}
        if self._frame is not None and self.kernel in ("rbf", "poly"):
            gamma = checks["gamma"]("gamma", self.gamma)
            # Products of the placed rows are those of the rows by the square of the factor.
            own = 1.0 / features.shape[1] if gamma is None else gamma
            fixed["gamma"] = self._frame.squares(own)
            if own > 0 and not 0.0 < fixed["gamma"] < np.inf:
                raise _native.InputError(f"X: expected values whose squares by gamma, {own}, float64 holds, got values of other sizes")
        settings = self._settings(checks, kind="kernel_pca", **fixed)
        found = _native.reduce(settings, features, 0)
        return self._lengths(found) if self.kernel == "linear" else found

    def _moves(self) -> bool:
        return self.kernel in ("linear", "rbf")


@guarded
class SharedProjection(_Reducer):
    """The random projection that all clients of one seed share: their points can then be compared.

    Args:
        n_components: columns of the result, 1 to 65,536.
        random_state: the seed that they share.
    """

    _fitted: tuple[int, int]
    """Columns and seed of the last ``fit``: parameters that are set later wait for the next."""

    def __init__(self, n_components: int = 128, *, random_state: int = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def transform(self, X: ArrayLike) -> Any:
        """Projects rows, [n, d] to [n, n_components]: the same matrix for all rows of d columns."""
        features = self._more_features(X)
        room(len(features), self._fitted[0], "n_components: the result")
        return self._wrapped(X, self._lengths(_native.project(features, *self._fitted)))

    def _reduce(self, features: Floats) -> NDArray[Any]:
        count = whole(1)("n_components", self.n_components)
        room(features.shape[1], count, "n_components: the projection")
        fitted = count, seed(self.random_state, "random_state")
        found = _native.project(features, *fitted)
        self._fitted = fitted
        return self._lengths(found)

    def _moves(self) -> bool:
        return False


@guarded
class _Clusterer(Estimator):
    _kind = "clusterer"
    labels_: Labels
    probabilities_: Floats

    def fit_predict(self, X: ArrayLike, y: Any = None) -> Labels:
        """The cluster of each row of ``X``, of shape [n, d]; -1 for noise."""
        self.fit(X)
        return self.labels_

    def fit(self, X: ArrayLike, y: Any = None) -> Any:
        """Clusters ``X``, of shape [n, d]; ``y`` is ignored."""
        raise NotImplementedError


@guarded
class HDBSCAN(_Clusterer):
    """HDBSCAN* (Campello 2013, 2015): finds the number of clusters, and noise, whatever the order of rows.

    After ``fit``: ``labels_`` [n] (-1 is noise), ``probabilities_`` [n] of membership in [0, 1] (0 for noise),
    ``outlier_scores_`` [n], ``centroids_`` [k, d] (weighted by the probabilities).

    Args:
        min_cluster_size: least number of points of a cluster, at least 2.
        min_samples: points within a core distance, the point itself included as in scikit-learn; None is
            ``min_cluster_size``.
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
    centroids_: NDArray[Any]
    _near = True

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
        points = self._fit_features(X)
        checks = {
            "min_cluster_size": whole(2), "min_samples": optional(whole(1)), "cluster_selection_method": text,
            "allow_single_cluster": flag, "cluster_selection_epsilon": real,
        }  # fmt: skip
        fixed: dict[str, Any] = {}
        if self._frame is not None:
            epsilon = real("cluster_selection_epsilon", self.cluster_selection_epsilon)
            fixed["cluster_selection_epsilon"] = epsilon * self._frame.factor
        (labels, probabilities, centroids), scores = _native.hdbscan(self._settings(checks, **fixed), points)
        self.labels_, self.probabilities_ = labels, probabilities
        self.centroids_ = centroids if self._frame is None else self._frame.points(centroids)
        self.outlier_scores_ = scores
        self._remember(X, points)
        return self


@guarded
class KMeans(_Clusterer):
    """k-means (greedy k-means++ starts, the best of several), with scikit-learn's settings.

    After ``fit``: ``labels_`` [n], ``cluster_centers_`` [k, d] with k at most the number of distinct rows, ``inertia_`` (the sum of
    squared distances to the nearest centre) and ``n_iter_`` of the start that was kept.

    Example:
        >>> import numpy as np, fedhds
        >>> x = np.concatenate([np.random.default_rng(0).normal(size=(30, 2)) + c for c in (0, 20)])
        >>> fedhds.KMeans(2).fit(x).predict([[0, 0], [19, 19]])
        array([0, 1])

    Args:
        n_clusters: clusters that are wanted, at least 1.
        n_init: starts from different initial centres, at least 1, of which the best is kept.
        max_iter: most iterations of a start, at least 1.
        tol: a start ends when the centres' squared moves sum to at most this times the mean variance of the columns, at
            least 0; with 0 it ends when no label changes.
        random_state: the seed.
    """

    cluster_centers_: NDArray[Any]
    inertia_: float
    n_iter_: int
    _placed_centres: Floats | None = None
    """The centres as the core sees them, where the rows were placed for it."""

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_init: int = 10,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> KMeans:
        """Clusters ``X``, of shape [n, d]; ``y`` is ignored."""
        points = self._fit_features(X)
        checks = {"n_clusters": whole(1), "n_init": whole(1), "max_iter": whole(1), "tol": real}
        settings = self._settings(checks)
        found, self.inertia_, self.n_iter_ = _native.kmeans(settings, points, seed(self.random_state, "random_state"))
        self.labels_, self.probabilities_, self.cluster_centers_ = found
        self._placed_centres = None
        if self._frame is not None:
            self._placed_centres = found[2]
            self.cluster_centers_ = self._frame.points(found[2])
            self.inertia_ = self._frame.squares(self.inertia_)
        self._remember(X, points)
        return self

    def predict(self, X: ArrayLike) -> Labels:
        """The nearest centre of each row of ``X``, of shape [n, d]; the first of equally near ones."""
        points = self._more_features(X)
        placed = self.cluster_centers_ if self._placed_centres is None else self._placed_centres
        centres = placed.astype(np.float64)
        labels = np.empty(len(points), dtype=np.int64)
        step = max(1, _VALUES // points.shape[1])
        for start in range(0, len(points), step):
            rows = points[start : start + step].astype(np.float64)
            distances = np.stack([np.square(rows - centre).sum(axis=1) for centre in centres])
            labels[start : start + step] = distances.argmin(axis=0)
        return labels
