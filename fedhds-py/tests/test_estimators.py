"""Reducers and clusterers: what they find, and scikit-learn's conventions."""

import pickle

import numpy as np
import pytest

import fedhds

ALL = [fedhds.TSNE(max_iter=250), fedhds.PCA(), fedhds.KernelPCA(kernel="rbf"), fedhds.SharedProjection(4)]
CLUSTERERS = [fedhds.HDBSCAN(), fedhds.KMeans(3)]


def blobs(k=3, per=30, d=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.arange(k)[:, None] * np.full((1, d), 30.0)
    return np.concatenate([rng.normal(size=(per, d)) + c for c in centres]), np.repeat(np.arange(k), per)


def same_groups(a, b):
    return len(set(zip(a.tolist(), b.tolist()))) == len(set(a.tolist())) == len(set(b.tolist()))


@pytest.mark.parametrize("estimator", CLUSTERERS, ids=repr)
def test_blobs_are_found(estimator):
    x, truth = blobs()
    assert same_groups(estimator.fit_predict(x), truth)
    assert estimator.labels_.dtype == np.int64
    assert estimator.n_features_in_ == 5


def test_hdbscan_tells_noise_probabilities_and_centroids():
    x, truth = blobs()
    x = np.vstack([x, np.full((1, 5), 1000.0)])
    found = fedhds.HDBSCAN(5).fit(x)
    assert found.labels_[-1] == -1 and found.probabilities_[-1] == 0
    assert found.outlier_scores_.argmax() == len(x) - 1
    assert found.centroids_.shape == (3, 5)
    probability = found.probabilities_[:, None]
    for label in range(3):
        rows = found.labels_ == label
        mean = (x[rows] * probability[rows]).sum(0) / probability[rows].sum()
        np.testing.assert_allclose(found.centroids_[label], mean, rtol=1e-4, atol=1e-4)


def test_hdbscan_is_scikit_learns_on_data_without_ties():
    sklearn = pytest.importorskip("sklearn.cluster", exc_type=ImportError)
    x = np.random.default_rng(3).normal(size=(300, 2)).astype(np.float32)
    x[:150] += 6
    ours = fedhds.HDBSCAN(20, min_samples=2).fit(x)
    theirs = sklearn.HDBSCAN(20, min_samples=2, copy=True).fit(x)
    assert ours.labels_.max() == theirs.labels_.max() >= 1
    assert ((ours.labels_ == -1) == (theirs.labels_ == -1)).mean() > 0.99
    both = (ours.labels_ >= 0) & (theirs.labels_ >= 0)
    assert same_groups(ours.labels_[both], theirs.labels_[both])


def test_pca_is_the_singular_value_decomposition():
    x = np.random.default_rng(1).normal(size=(40, 6))
    ours = fedhds.PCA(3).fit_transform(x)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(ours), np.abs(u[:, :3] * s[:3]), atol=1e-4)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("shape", [(40, 6), (12, 50)])
def test_pca_keeps_its_basis_for_new_rows(shape, whiten):
    rng = np.random.default_rng(5)
    x, more = (rng.normal(size=size) * np.linspace(3, 0.5, shape[1]) + 7 for size in (shape, (9, shape[1])))
    pca = fedhds.PCA(4, whiten=whiten)
    y = pca.fit_transform(x)
    np.testing.assert_allclose(pca.transform(x), y, atol=1e-4 * np.abs(y).max())
    np.testing.assert_array_equal(pca.transform(x[3:4]), pca.transform(x)[3:4], "each row by itself")
    np.testing.assert_allclose(pca.components_ @ pca.components_.T, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(pca.mean_, x.mean(0), rtol=1e-6)
    variance = np.var(x - x.mean(0), axis=0, ddof=1).sum()
    np.testing.assert_allclose(pca.explained_variance_ratio_, pca.explained_variance_ / variance, rtol=1e-4)
    assert 0 < pca.explained_variance_ratio_.sum() <= 1 and (np.diff(pca.explained_variance_) <= 0).all()
    if not whiten:
        np.testing.assert_allclose(y.var(axis=0, ddof=1), pca.explained_variance_, rtol=1e-4)
    expected = (more - pca.mean_) @ pca.components_.T / (np.sqrt(pca.explained_variance_) if whiten else 1)
    np.testing.assert_allclose(pca.transform(more), expected, atol=1e-4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pca)).transform(more), pca.transform(more))
    with pytest.raises(fedhds.InputError, match="features, but PCA is expecting"):
        pca.transform(more[:, 1:])
    with pytest.raises(fedhds.NotFiniteError, match="row 0, column 2"):
        pca.transform(np.where(np.arange(shape[1]) == 2, np.nan, more[:1]))


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_is_scikit_learns(whiten):
    decomposition = pytest.importorskip("sklearn.decomposition", exc_type=ImportError)
    rng = np.random.default_rng(6)
    for shape in [(60, 9), (15, 40)]:
        x, more = (rng.normal(size=size) * np.linspace(3, 0.5, shape[1]) + 2 for size in (shape, (7, shape[1])))
        ours = fedhds.PCA(5, whiten=whiten).fit(x)
        theirs = decomposition.PCA(5, whiten=whiten, svd_solver="full").fit(x)
        for name in ("components_", "explained_variance_", "explained_variance_ratio_", "mean_"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-4, err_msg=name)
            assert getattr(ours, name).shape == getattr(theirs, name).shape
        np.testing.assert_allclose(ours.transform(more), theirs.transform(more), rtol=1e-4, atol=1e-4)


def test_pca_beyond_the_rank_is_zero():
    x = np.outer(np.arange(5.0), np.ones(3))
    pca = fedhds.PCA(8).fit(x)
    assert pca.components_.shape == (3, 3) and pca.embedding_.shape == pca.transform(x).shape == (5, 8)
    assert (pca.transform(x)[:, 3:] == 0).all() and len(pca.get_feature_names_out()) == 8
    np.testing.assert_allclose(pca.explained_variance_ratio_, [1, 0, 0], atol=1e-6)


def test_tsne_keeps_neighbours_and_repeats_for_a_seed():
    x, truth = blobs(k=4, per=20)
    y = fedhds.TSNE(perplexity=10, random_state=7).fit_transform(x)
    assert y.shape == (80, 2) and y.dtype == np.float32
    distance = ((y[:, None] - y[None]) ** 2).sum(-1) + np.diag(np.full(80, np.inf))
    assert (truth[distance.argmin(1)] == truth).mean() == 1
    again = fedhds.TSNE(perplexity=10, random_state=7).fit_transform(x)
    np.testing.assert_array_equal(y, again)


def test_a_shared_projection_is_one_matrix_for_a_seed():
    x = np.random.default_rng(1).normal(size=(30, 10)).astype(np.float32)
    both = fedhds.SharedProjection(4, random_state=5).fit_transform(x)
    first = fedhds.SharedProjection(4, random_state=5).fit_transform(x[:7])
    np.testing.assert_array_equal(both[:7], first)
    assert not np.array_equal(both, fedhds.SharedProjection(4, random_state=6).fit_transform(x))


@pytest.mark.parametrize("estimator", ALL + CLUSTERERS, ids=repr)
def test_parameters_are_kept_as_given(estimator):
    params = estimator.get_params()
    copy = type(estimator)(**params)
    assert copy.get_params() == params and repr(copy) == repr(estimator)
    with pytest.raises(fedhds.ParameterError, match="min_cluster"):
        estimator.set_params(min_cluster=3)
    name, value = next(iter(params.items()))
    assert estimator.set_params(**{name: value}) is estimator


TRANSDUCTIVE = [fedhds.TSNE(max_iter=250), fedhds.KernelPCA(kernel="rbf")]


@pytest.mark.parametrize("estimator", TRANSDUCTIVE, ids=repr)
def test_transform_knows_the_rows_that_fit_saw(estimator):
    x = np.random.default_rng(4).normal(size=(30, 3))
    x[7] = x[3]
    y = estimator.fit_transform(x)
    np.testing.assert_array_equal(estimator.transform(x), y)
    np.testing.assert_array_equal(estimator.transform(x[10:20][::-1]), y[10:20][::-1])
    np.testing.assert_array_equal(estimator.transform(x[7:8]), y[3:4])
    with pytest.raises(fedhds.InputError, match="row 1"):
        estimator.transform([x[0], x[1] + 1e-3])
    with pytest.raises(fedhds.NotFiniteError, match="row 0, column 2"):
        estimator.transform([[0, 0, np.nan]])


def _inertia(x, means):
    return ((x - means.cluster_centers_[means.labels_]) ** 2).sum()


def test_a_projection_and_k_means_take_new_rows():
    x, truth = blobs()
    projection = fedhds.SharedProjection(4).fit(x[:50])
    np.testing.assert_array_equal(projection.transform(x), fedhds.SharedProjection(4).fit_transform(x))
    means = fedhds.KMeans(3).fit(x)
    np.testing.assert_array_equal(means.predict(x), means.labels_)
    np.testing.assert_array_equal(means.predict(means.cluster_centers_), np.arange(3))
    distances = ((x[:, None] - means.cluster_centers_[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(means.predict(x + 0.25), distances.argmin(1), "blobs lie far apart")
    once = fedhds.KMeans(3, n_init=1, max_iter=1, tol=0).fit(x)
    assert _inertia(x, means) <= _inertia(x, once)
    with pytest.raises(fedhds.InputError, match="2 features, but KMeans is expecting 5"):
        means.predict(x[:, :2])
    with pytest.raises(fedhds.InputError, match="fit"):
        fedhds.KMeans().predict(x)


BAD = [
    (np.zeros(3), "1 dimensions"),
    (np.zeros((2, 2, 2)), "3 dimensions"),
    (np.float64(1), "0 dimensions"),
    ([[1, 2], [3]], "unlike lengths"),
    ([["a", "b"]], "dtype"),
    (np.zeros((0, 3)), "at least 1 rows"),
    (np.zeros((3, 0)), "at least 1 columns"),
    ([], "1 dimensions"),
    (np.zeros((3, 3), dtype="datetime64[s]"), "datetime64"),
    (np.zeros((3, 3), dtype=[("a", "f4")]), "dtype"),
    (np.ma.array(np.zeros((3, 3)), mask=np.eye(3)), "masked"),
    ([[10**400]], "objects"),
    (np.broadcast_to(np.float32(0), (2**20, 2**20)), "memory"),
    (np.broadcast_to(np.float64(0), (2**40, 1)), "memory"),
    (np.broadcast_to(np.int8(0), (1, 2**40)), "memory"),
    (np.zeros((3, 3), dtype=complex), "complex"),
    (np.array([[object()]]), "objects"),
]


@pytest.mark.parametrize("values, word", BAD, ids=[word for _, word in BAD])
@pytest.mark.parametrize("estimator", [fedhds.PCA(), fedhds.HDBSCAN()], ids=repr)
def test_what_is_no_matrix_is_refused(estimator, values, word):
    with pytest.raises(fedhds.InputError, match=word) as error:
        estimator.fit(values)
    assert isinstance(error.value, ValueError) and isinstance(error.value, fedhds.Error)


@pytest.mark.parametrize("estimator", ALL + CLUSTERERS, ids=repr)
def test_nan_is_named_by_row_and_column(estimator):
    x = np.ones((20, 3))
    x[4, 2] = np.nan
    with pytest.raises(fedhds.NotFiniteError, match="row 4, column 2"):
        estimator.fit(x)


@pytest.mark.parametrize("estimator", [fedhds.PCA(1), fedhds.SharedProjection(2), fedhds.HDBSCAN(2)], ids=repr)
def test_any_layout_gives_the_same(estimator):
    def result(x):
        estimator.fit(x)
        return estimator.labels_ if hasattr(estimator, "labels_") else estimator.embedding_

    base = np.random.default_rng(2).normal(size=(12, 4)).astype(np.float32)
    expected = result(base)
    wide = np.zeros((24, 8), dtype=np.float32)
    wide[::2, ::2] = base
    locked = base.copy()
    locked.flags.writeable = False
    double = base.astype(np.float64)
    for same in [np.asfortranarray(base), wide[::2, ::2], base[::-1][::-1], locked, double, base.tolist()]:
        np.testing.assert_array_equal(result(same), expected)
    assert base.flags.c_contiguous and (wide[1::2] == 0).all()


@pytest.mark.parametrize("estimator", CLUSTERERS + [fedhds.PCA(), fedhds.TSNE(max_iter=250)], ids=repr)
@pytest.mark.parametrize("n", range(1, 6))
def test_few_rows_are_defined(estimator, n):
    for x in (np.arange(n * 3.0).reshape(n, 3), np.ones((n, 3))):
        estimator.fit(x)
        rows = estimator.labels_ if hasattr(estimator, "labels_") else estimator.embedding_
        assert len(rows) == n


@pytest.mark.parametrize(
    "estimator, word",
    [
        (fedhds.HDBSCAN(1), "min_cluster_size"),
        (fedhds.HDBSCAN("5"), "min_cluster_size.*whole number of at least 2, got '5'"),
        (fedhds.HDBSCAN(cluster_selection_epsilon=float("nan")), "epsilon.*finite"),
        (fedhds.HDBSCAN(allow_single_cluster=1), "allow_single_cluster.*True or False"),
        (fedhds.HDBSCAN(cluster_selection_method="best"), "unknown variant"),
        (fedhds.KMeans(0), "n_clusters"),
        (fedhds.KMeans(n_init=0), "n_init"),
        (fedhds.KMeans(max_iter=2.0), "max_iter"),
        (fedhds.KMeans(tol=-1e-9), "tol.*at least 0"),
        (fedhds.KMeans(tol=float("nan")), "tol.*finite"),
        (fedhds.TSNE(None), "n_components"),
        (fedhds.TSNE(2**40, angle=0.0), "n_components.*memory"),
        (fedhds.TSNE(learning_rate=10**400), "learning_rate.*finite"),
        (fedhds.SharedProjection(2**40), "n_components.*memory"),
        (fedhds.PCA(2**40), "n_components.*memory"),
        (fedhds.KernelPCA(2**40), "n_components.*memory"),
        (fedhds.KernelPCA(kernel="sigmoid"), "unknown variant"),
        (fedhds.KernelPCA(kernel=3), "kernel.*text"),
        (fedhds.KernelPCA(kernel="rbf", gamma="auto"), "gamma.*finite"),
        (fedhds.TSNE(angle=-1.0), "angle"),
        (fedhds.TSNE(random_state=-1), "random_state"),
        (fedhds.PCA([2]), "n_components"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(estimator, word):
    with pytest.raises(fedhds.Error, match=word):
        estimator.fit(np.random.default_rng(0).normal(size=(20, 3)))
