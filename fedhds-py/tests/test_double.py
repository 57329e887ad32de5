"""float64 that float32 cannot hold: the same as near 0 and of size 1, or an error; never something else."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fedhds

ESTIMATORS = {
    "hdbscan": lambda: fedhds.HDBSCAN(5),
    "kmeans": lambda: fedhds.KMeans(3),
    "pca": lambda: fedhds.PCA(3),
    "tsne": lambda: fedhds.TSNE(max_iter=20, perplexity=5),
    "linear": lambda: fedhds.KernelPCA(2),
    "cosine": lambda: fedhds.KernelPCA(2, kernel="cosine"),
    "poly": lambda: fedhds.KernelPCA(2, kernel="poly"),
    "rbf": lambda: fedhds.KernelPCA(2, kernel="rbf"),
    "projection": lambda: fedhds.SharedProjection(3),
}


def grid(rng, groups=3, rows=12, columns=3):
    """Groups of whole numbers, far apart: float64 holds them beside offsets up to 1e12 and scales by powers of two."""
    centres = rng.permutation(groups)[:, None] * np.array([4000.0, -3000.0, 1000.0])[:columns]
    return np.concatenate([centre + rng.integers(-40, 40, (rows, columns)) for centre in centres]).astype(np.float64)


def near(a, b, scale):
    return np.abs(np.abs(a) - np.abs(b)).max() <= 1e-4 * scale


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, 1e6, -1e9, 1e9, 1e12]), power=st.integers(-300, 300))
@example(seed=638, offset=1e12, power=-190)  # float32 holds none of it, and all rows lie far off: the loss hid in its own mean
def test_what_moves_and_scales_with_its_rows_is_told_alike(seed, offset, power):
    rng = np.random.default_rng(seed)
    base = grid(rng)
    scale = 2.0**power
    far = (base + offset) * scale
    plain, moved = fedhds.HDBSCAN(5).fit(base), fedhds.HDBSCAN(5).fit(far)
    assert moved.labels_.tolist() == plain.labels_.tolist()
    exact = moved.centroids_.dtype == np.float64  # what float32 holds as it is comes back in it
    assert exact or abs(offset) <= 1e6
    close = 1.0 if offset > 1e11 else 1e-2 if exact else 0.1
    assert np.allclose(moved.centroids_.astype(np.float64) / scale - offset, plain.centroids_, atol=close)
    plain, moved = fedhds.KMeans(3).fit(base), fedhds.KMeans(3).fit(far)
    assert moved.labels_.tolist() == plain.labels_.tolist() == plain.predict(base).tolist() == moved.predict(far).tolist()
    assert np.allclose(moved.cluster_centers_.astype(np.float64) / scale - offset, plain.cluster_centers_, atol=close)
    plain, moved = fedhds.PCA(2).fit(base), fedhds.PCA(2).fit(far)
    assert near(moved.embedding_.astype(np.float64) / scale, plain.embedding_, 5000)
    assert near(moved.transform(far).astype(np.float64) / scale, plain.embedding_, 5000)
    assert np.allclose(moved.mean_ / scale - offset, plain.mean_, atol=1e-2)
    assert np.allclose(moved.explained_variance_ratio_, plain.explained_variance_ratio_, atol=1e-5)
    assert np.isfinite(fedhds.TSNE(max_iter=5, perplexity=5).fit_transform(far)).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, 3.0, 1e3, 1e7, 1e9, 1e13]), scale=st.sampled_from([1e-200, 1e-30, 1.0, 1e20, 1e200]),
       name=st.sampled_from(sorted(ESTIMATORS)))  # fmt: skip
def test_no_estimator_is_silently_wrong(seed, offset, scale, name):
    rng = np.random.default_rng(seed)
    base = grid(rng)
    far = (base + offset) * scale
    estimator = ESTIMATORS[name]()
    try:
        estimator.fit(far)
    except (fedhds.InputError, fedhds.NotFiniteError, fedhds.StageError) as error:
        assert name in ("cosine", "poly", "projection", "rbf"), str(error)
        return
    if hasattr(estimator, "embedding_"):
        assert np.isfinite(estimator.embedding_).all()
        if name not in ("rbf", "poly"):  # a kernel with a width of its own tells nothing of rows that are all near or all far
            assert np.ptp(estimator.embedding_.astype(np.float64), axis=0)[0] > 0
    if hasattr(estimator, "labels_"):
        assert len(set(estimator.labels_.tolist())) == 3


def test_honest_float32_and_what_it_holds_keep_their_bits():
    rng = np.random.default_rng(1)
    single = rng.normal(size=(40, 4)).astype(np.float32) * 1e3 + 1e5
    for name, make in ESTIMATORS.items():
        one, two = make().fit(single), make().fit(single.astype(np.float64))
        result = "labels_" if hasattr(one, "labels_") else "embedding_"
        assert getattr(one, result).dtype == getattr(two, result).dtype
        assert getattr(one, result).tobytes() == getattr(two, result).tobytes(), name
        assert one._frame is None and two._frame is None
    twice = rng.normal(size=(40, 4))
    assert fedhds.PCA(2).fit_transform(twice).tobytes() == fedhds.PCA(2).fit_transform(twice.astype(np.float32)).tobytes()


def test_the_case_of_the_issue():
    three = np.array([0.0, 20, 40, 0, 20, 40])
    points = (1e9 + np.concatenate([three, three + 500]))[:, None]
    assert fedhds.HDBSCAN(3).fit_predict(points).tolist() == [0] * 6 + [1] * 6
    assert fedhds.HDBSCAN(3).fit_predict(points.astype(np.int64)).tolist() == [0] * 6 + [1] * 6
    assert fedhds.HDBSCAN(3).fit_predict(points.tolist()).tolist() == [0] * 6 + [1] * 6
    with pytest.raises(fedhds.InputError, match="nearest others float32 can tell"):
        fedhds.HDBSCAN(3).fit_predict(np.concatenate([points, points - 1e9]))


@pytest.mark.parametrize("call", [
    lambda x: fedhds.SharedProjection(2).fit(x),
    lambda x: fedhds.KernelPCA(2, kernel="cosine").fit(x),
    lambda x: fedhds.Client(0, fedhds.Method("fedhds_coverage", budget=2)).summarize(
        fedhds.Server(fedhds.Method("fedhds_coverage", budget=2)).begin_round(0, [0]), x),
])  # fmt: skip
def test_what_cannot_be_moved_is_refused(call):
    rows = np.random.default_rng(0).normal(size=(30, 4))
    call(rows)
    call(rows + 100)
    with pytest.raises(fedhds.InputError, match="subtract the mean"):
        call(rows + 1e9)


def test_a_constant_and_one_row_are_what_they_were():
    for constant in (np.full((6, 2), 1e9 + 0.1), np.full((6, 2), 0.1), np.full((1, 2), 1e9 + 0.1)):
        assert (fedhds.PCA(1).fit_transform(constant) == 0).all()
        assert fedhds.KMeans(2).fit(constant).labels_.tolist() == [0] * len(constant)
        assert (fedhds.TSNE(max_iter=5).fit_transform(constant) == 0).all()
        fedhds.HDBSCAN(2).fit(constant)
        assert np.isfinite(fedhds.SharedProjection(2).fit_transform(constant)).all()
    for bad in (np.nan, np.inf, -np.inf):
        rows = np.ones((5, 2)) * 1e9 + np.arange(10).reshape(5, 2)
        rows[3, 1] = bad
        for name, make in ESTIMATORS.items():
            with pytest.raises(fedhds.NotFiniteError, match="row 3, column 1"):
                make().fit(rows)


def test_a_projection_waits_with_new_parameters_for_the_next_fit():
    rows = np.random.default_rng(0).normal(size=(5, 3))
    projection = fedhds.SharedProjection(2, random_state=1).fit(rows)
    before = projection.transform(rows)
    projection.set_params(n_components=3, random_state=2)
    assert projection.transform(rows).tobytes() == before.tobytes()
    assert projection.fit(rows).transform(rows).shape == (5, 3)


@pytest.mark.parametrize("shape", [(50, 10), (20, 50), (12, 300), (200, 5)])
@pytest.mark.parametrize("offset", [0.0, 100.0, 1e9])
def test_whitening_leaves_out_what_the_rank_does_not_give(shape, offset):
    rng = np.random.default_rng(3)
    rows, columns = shape
    low = rng.normal(size=(rows, 3)) @ rng.normal(size=(3, columns)) + offset
    pca = fedhds.PCA(5, whiten=True).fit(low)
    for result in (pca.embedding_, pca.transform(low)):
        assert np.allclose(result[:, :3].var(axis=0, ddof=1), 1, atol=1e-2)
        assert (result[:, 3:] == 0).all()
    full = fedhds.PCA(3, whiten=True).fit(rng.normal(size=shape) * [1e-3, *[1.0] * (columns - 1)])
    assert np.allclose(full.embedding_.var(axis=0, ddof=1), 1, atol=1e-2)
