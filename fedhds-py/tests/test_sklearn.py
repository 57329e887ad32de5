"""scikit-learn's own checks of an estimator, its pipelines, and frames in and out."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fedhds

sklearn = pytest.importorskip("sklearn", minversion="1.6", exc_type=ImportError)
checks = pytest.importorskip("sklearn.utils.estimator_checks", exc_type=ImportError)

from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

ONLY_ITS_ROWS = "it places the rows that `fit` saw and has no map for the test rows of this check"
EXPECTED = {
    "TSNE": {
        "check_fit_idempotent": ONLY_ITS_ROWS,
        "check_fit2d_1sample": "the check sets a perplexity of 0.5, and fewer than one neighbour is refused",
    },
    "KernelPCA": {"check_fit_idempotent": ONLY_ITS_ROWS},
}
REDUCERS = [fedhds.TSNE(max_iter=250), fedhds.PCA(), fedhds.KernelPCA(), fedhds.SharedProjection(2)]
CLUSTERERS = [fedhds.HDBSCAN(), fedhds.KMeans()]


def blobs():
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(size=(30, 4)) + c for c in (0, 20, 40)]), np.repeat(np.arange(3), 30)


def same_groups(a, b):
    return len(set(zip(a.tolist(), b.tolist()))) == len(set(a.tolist())) == len(set(b.tolist()))


@pytest.mark.filterwarnings("ignore:.*does not inherit from.*:UserWarning", "ignore:Skipping check.*")
@pytest.mark.parametrize("estimator", REDUCERS + CLUSTERERS, ids=repr)
def test_check_estimator_passes(estimator):
    expected = EXPECTED.get(type(estimator).__name__, {})
    results = checks.check_estimator(estimator, expected_failed_checks=expected, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(expected), "an exception too many"
    assert sum(r["status"] == "passed" for r in results) > 30


@pytest.mark.parametrize("estimator", CLUSTERERS, ids=repr)
def test_the_checks_of_clusterers_pass(estimator):
    """``check_estimator`` runs them only for what inherits from scikit-learn."""
    name = type(estimator).__name__
    checks.check_clustering(name, estimator)
    checks.check_clustering(name, estimator, readonly_memmap=True)
    checks.check_clusterer_compute_labels_predict(name, estimator)
    assert sklearn.base.is_clusterer(estimator)


@pytest.mark.parametrize("estimator", REDUCERS + CLUSTERERS, ids=repr)
def test_the_checks_of_names_and_frames_pass(estimator):
    """Those that scikit-learn keeps for its own estimators."""
    pytest.importorskip("pandas")
    name = type(estimator).__name__
    checks.check_dataframe_column_names_consistency(name, estimator)
    if hasattr(estimator, "transform"):
        checks.check_transformer_get_feature_names_out(name, estimator)
        checks.check_transformer_get_feature_names_out_pandas(name, estimator)
        checks.check_set_output_transform(name, estimator)
        checks.check_set_output_transform_pandas(name, estimator)
        checks.check_global_output_transform_pandas(name, estimator)


def test_pipelines_run_from_records_to_clusters():
    x, truth = blobs()
    pipeline = make_pipeline(StandardScaler(), fedhds.TSNE(perplexity=10, max_iter=500), fedhds.HDBSCAN(10))
    labels = pipeline.fit_predict(x)
    assert same_groups(labels[labels >= 0], truth[labels >= 0]) and (labels >= 0).mean() > 0.8
    again = sklearn.clone(pipeline)
    assert again.get_params()["tsne__perplexity"] == 10 and not hasattr(again[-1], "labels_")
    np.testing.assert_array_equal(again.fit_predict(x), labels)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pipeline))[-1].labels_, labels)
    again.set_params(hdbscan__min_cluster_size=1000)
    assert (again.fit_predict(x) == -1).all()


def test_pipelines_predict_new_rows():
    x, truth = blobs()
    pipeline = make_pipeline(fedhds.SharedProjection(3, random_state=4), fedhds.KMeans(3))
    assert same_groups(pipeline.fit(x[::2]).predict(x[1::2]), truth[1::2])


def test_frames_come_in_and_go_out():
    pandas = pytest.importorskip("pandas")
    x, truth = blobs()
    frame = pandas.DataFrame(x, columns=list("abcd"), index=[f"record {i}" for i in range(len(x))])
    frame["d"] = frame["d"].astype("Float64")
    labels = fedhds.KMeans(3).fit_predict(frame)
    assert same_groups(labels, truth)
    pipeline = make_pipeline(StandardScaler(), fedhds.PCA()).set_output(transform="pandas")
    out = pipeline.fit_transform(frame)
    assert list(out.columns) == ["pca0", "pca1"] and list(out.index) == list(frame.index)
    assert (out.dtypes == np.float32).all()
    projection = fedhds.SharedProjection(2).fit(frame)
    assert list(projection.feature_names_in_) == list("abcd")
    with pytest.raises(fedhds.InputError, match="same order"):
        projection.transform(frame[list("dcba")])
    projection.fit(x)
    assert not hasattr(projection, "feature_names_in_")
    frame.loc["record 4", "d"] = None
    with pytest.raises(fedhds.InputError, match="NAType|row 4, column 3"):
        projection.fit(frame)


def test_what_is_not_fitted_says_so_in_both_words():
    for call in (fedhds.KMeans().predict, fedhds.PCA().transform):
        with pytest.raises(NotFittedError, match="expected `fit`") as error:
            call([[1.0]])
        assert isinstance(error.value, fedhds.InputError)
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    with pytest.raises(fedhds.InputError, match="expected `fit`"):
        fedhds.PCA().get_feature_names_out()


def test_scikit_learn_is_not_needed():
    code = """
        import sys
        sys.modules["sklearn"] = None  # any import of it fails
        import fedhds, pickle
        x = [[0.0, 1.0], [2.0, 1.0], [9.0, 9.0]]
        reducer = fedhds.SharedProjection(2).fit(x)
        assert reducer.transform(x).shape == (3, 2) and pickle.loads(pickle.dumps(reducer)).n_components == 2
        try:
            fedhds.KMeans().predict(x)
        except fedhds.InputError as error:
            print(error)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert "expected `fit`" in ran.stdout, ran.stderr
