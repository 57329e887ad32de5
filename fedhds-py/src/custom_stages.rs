//! Own stages that keep nothing between calls.

use crate::adapter::Adapter;
use crate::array::{array, matrix};
use crate::custom::Custom;
use crate::records::Records;
use crate::scores::Scores;
use crate::setting::Setting as _;
use fedhds_core::cluster::clustering_of_labels;
use fedhds_core::stage::{
    Budget, Clusterer, Clustering, Covered, Evaluator, FeatureExtractor, RecordScore, Reducer, Rows, Scorer, Selector,
    Trained, Trainer,
};
use fedhds_core::types::{self, ClusterId, Context, Matrix, Record, RowId};
use fedhds_core::{Error, Result};
use numpy::{PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;

impl Reducer for Custom {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        self.call(Some(context), |object| {
            let given = array(object.py(), features.clone())?;
            let reduced = object.call_method1("reduce", (given, context.seed.0))?;
            matrix(&reduced.extract::<PyReadonlyArray2<'_, f32>>()?)
        })
    }
}

/// Names, and values `[n, k]`.
type Named<'py> = (Vec<String>, Bound<'py, PyArray2<f32>>);
/// Clusters, -1 for none, and membership probabilities.
type Labels<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>);
/// Points and mass.
type Points<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);
/// What `fedhds._stages.Rows` is made of: points, weights, scores, owners, groups, covered.
type Given<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f32>>,
    Option<Named<'py>>,
    Bound<'py, PyArray1<i64>>,
    Option<Labels<'py>>,
    Option<Points<'py>>,
);

fn given<'py>(py: Python<'py>, rows: &Rows<'_>) -> PyResult<Given<'py>> {
    let weights = (0..rows.len()).map(|i| rows.weight(i)).collect();
    let scores = |s: &types::Scores| Ok::<_, PyErr>((s.names().to_vec(), array(py, s.values().clone())?));
    let label = |label: &Option<ClusterId>| label.map_or(-1, |id| id.index() as i64);
    let groups = |c: &Clustering| {
        (PyArray1::from_vec(py, c.labels.iter().map(label).collect()), PyArray1::from_vec(py, c.strength.clone()))
    };
    let covered = |c: &Covered| Ok::<_, PyErr>((array(py, c.points.clone())?, PyArray1::from_vec(py, c.mass.clone())));
    Ok((
        array(py, rows.points.clone())?,
        PyArray1::from_vec(py, weights),
        rows.scores.map(scores).transpose()?,
        PyArray1::from_vec(py, rows.owners.iter().map(|owner| i64::from(owner.0)).collect()),
        rows.groups.map(groups),
        rows.covered.map(covered).transpose()?,
    ))
}

impl Clusterer for Custom {
    fn cluster(&self, rows: &Rows<'_>, wanted: Option<usize>, context: &Context) -> Result<Clustering> {
        let (labels, probabilities) = self.call(Some(context), |object| {
            let given = (given(object.py(), rows)?, wanted, context.seed.0);
            object.call_method1("cluster", given)?.extract::<(Vec<i64>, Vec<f32>)>()
        })?;
        clustering_of_labels(&self.name, rows.points, &labels, Some(probabilities))
    }
}

impl Selector for Custom {
    fn select(&self, rows: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        let (count, per_cluster) = match budget {
            Budget::Total(count) => (count, false),
            Budget::PerCluster(count) => (count, true),
            other => {
                return Err(Error::stage(&self.name, format!("expected a count in all or per cluster, got {other:?}")));
            }
        };
        let chosen = self.call(Some(context), |object| {
            let given = (given(object.py(), rows)?, count, per_cluster, context.seed.0);
            object.call_method1("select", given)?.extract::<Vec<u32>>()
        })?;
        Ok(chosen.into_iter().map(RowId).collect())
    }

    fn uses_groups(&self) -> bool {
        self.uses_groups
    }

    fn uses_covered(&self) -> bool {
        self.uses_covered
    }
}

impl FeatureExtractor for Custom {
    fn extract(&self, records: &[Record], adapter: Option<&types::Adapter>, context: &Context) -> Result<Matrix> {
        self.call(Some(context), |object| {
            let adapter = adapter.map(|adapter| Adapter::from(adapter.clone()));
            let features = object.call_method1("extract", (Records(records.to_vec()), adapter))?;
            matrix(&features.extract::<PyReadonlyArray2<'_, f32>>()?)
        })
    }

    fn is_frozen(&self) -> bool {
        self.call(None, |object| object.getattr("is_frozen")?.extract()).unwrap_or(false)
    }

    fn fingerprint(&self) -> String {
        self.call(None, |object| object.getattr("fingerprint")?.extract()).unwrap_or_default()
    }
}

impl Trainer for Custom {
    fn init(&self, context: &Context) -> Result<types::Adapter> {
        let adapter: Adapter =
            self.call(Some(context), |object| Ok(object.call_method1("init", (context.seed.0,))?.extract()?))?;
        Ok((*adapter.inner).clone())
    }

    fn train(&self, adapter: &types::Adapter, records: &[Record], context: &Context) -> Result<Trained> {
        let (adapter, losses, skipped, tokens) = self.call(Some(context), |object| {
            let factors = context.factors.show(object.py())?;
            let given = (Adapter::from(adapter.clone()), Records(records.to_vec()), context.seed.0, factors);
            object.call_method1("train", given)?.extract::<(Adapter, Vec<f32>, usize, u64)>()
        })?;
        Ok(Trained { adapter: (*adapter.inner).clone(), losses, skipped, tokens })
    }
}

impl Scorer for Custom {
    fn names(&self) -> Vec<String> {
        self.call(None, |object| object.getattr("names")?.extract()).unwrap_or_default()
    }

    fn score(&self, records: &[Record], adapter: Option<&types::Adapter>, context: &Context) -> Result<Matrix> {
        self.call(Some(context), |object| {
            let adapter = adapter.map(|adapter| Adapter::from(adapter.clone()));
            let values = object.call_method1("score", (Records(records.to_vec()), adapter))?;
            matrix(&values.extract::<PyReadonlyArray2<'_, f32>>()?)
        })
    }

    fn is_frozen(&self) -> bool {
        self.call(None, |object| object.getattr("is_frozen")?.extract()).unwrap_or(false)
    }

    fn fingerprint(&self) -> String {
        self.call(None, |object| object.getattr("fingerprint")?.extract()).unwrap_or_default()
    }
}

impl Evaluator for Custom {
    fn evaluate(
        &self,
        adapter: Option<&types::Adapter>,
        records: &[Record],
        generate: bool,
        context: &Context,
    ) -> Result<Vec<RecordScore>> {
        let Scores(scores) = self.call(Some(context), |object| {
            let adapter = adapter.map(|adapter| Adapter::from(adapter.clone()));
            let given = (Records(records.to_vec()), adapter, generate);
            object.call_method1("evaluate", given)?.extract::<Scores>()
        })?;
        if scores.len() != records.len() {
            return Err(Error::stage(&self.name, format!("expected {} scores, got {}", records.len(), scores.len())));
        }
        Ok(scores)
    }
}
