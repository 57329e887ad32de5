//! Stages that are Python objects.
//!
//! The package's own wrappers (`fedhds._stages`) stand before the user's objects: what crosses here has fixed names and types, and what an
//! object raises becomes the cause of the error that the pipeline reports.

use crate::adapter::Adapter;
use crate::array::{array, matrix};
use crate::records::Records;
use crate::run::Failures;
use crate::scores::Scores;
use fedhds_core::cluster::clustering_of_labels;
use fedhds_core::method::{Grouping, Pipeline};
use fedhds_core::stage::{
    Aggregator, Budget, Candidates, ClientUpdate, Clusterer, Clustering, Evaluator, FeatureExtractor, RecordScore,
    Reducer, Selector, Trained, Trainer,
};
use fedhds_core::types::{self, ClusterId, Context, Matrix, Record, RowId};
use fedhds_core::{Error, Result};
use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A Python object that serves as the stage of this name.
#[derive(Clone)]
pub struct Custom {
    name: String,
    object: Arc<Py<PyAny>>,
    failures: Failures,
}

impl Custom {
    /// `name` is what errors call it.
    pub fn new(name: &str, object: Py<PyAny>, failures: &Failures) -> Self {
        Self { name: name.to_owned(), object: Arc::new(object), failures: failures.clone() }
    }

    fn call<T>(&self, context: Option<&Context>, work: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> Result<T> {
        if let Some(context) = context {
            context.control.check()?;
        }
        Python::attach(|py| {
            work(self.object.bind(py)).map_err(|raised| {
                let error = Error::stage(&self.name, raised.to_string());
                self.failures.keep(raised);
                error
            })
        })
    }
}

/// Puts the user's stages in the place of the method's, by their names in error messages.
pub fn replace(pipeline: &mut Pipeline, stages: BTreeMap<String, Py<PyAny>>, failures: &Failures) -> Result<()> {
    for (name, object) in stages {
        let custom = Arc::new(Custom::new(&name, object, failures));
        match name.as_str() {
            "client.normalizer" => pipeline.client.normalizer = Some(custom),
            "client.reducer" => pipeline.client.reducer = Some(custom),
            "client.clusterer" => pipeline.client.clusterer = Some(custom),
            "client.selector" => pipeline.client.selector = custom,
            "server.clusterer" => pipeline.server.grouping = Grouping::Fixed(custom),
            "server.selector" => pipeline.server.selector = custom,
            _ => {
                let known = "client.normalizer, client.reducer, client.clusterer, client.selector, server.clusterer or server.selector";
                return Err(Error::parameter("stages", known, name));
            }
        }
    }
    pipeline.check()
}

impl Reducer for Custom {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        self.call(Some(context), |object| {
            let given = array(object.py(), features.clone())?;
            let reduced = object.call_method1("reduce", (given, context.seed.0))?;
            matrix(&reduced.extract::<PyReadonlyArray2<'_, f32>>()?)
        })
    }
}

impl Clusterer for Custom {
    fn cluster(&self, points: &Matrix, context: &Context) -> Result<Clustering> {
        let (labels, strength) = self.call(Some(context), |object| {
            let given = array(object.py(), points.clone())?;
            object.call_method1("cluster", (given, context.seed.0))?.extract::<(Vec<i64>, Vec<f32>)>()
        })?;
        clustering_of_labels(&self.name, points, &labels, Some(strength))
    }
}

impl Selector for Custom {
    fn select(&self, candidates: &Candidates<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        let (count, per_cluster) = match budget {
            Budget::Total(count) => (count, false),
            Budget::PerCluster(count) => (count, true),
        };
        let rows = self.call(Some(context), |object| {
            let py = object.py();
            let points = array(py, candidates.points.clone())?;
            let weights = PyArray1::from_slice(py, candidates.weights);
            let label = |label: &Option<ClusterId>| label.map_or(-1, |id| id.index() as i64);
            let labels = candidates.clustering.map(|c| PyArray1::from_vec(py, c.labels.iter().map(label).collect()));
            let owners: Vec<u32> = candidates.owners.iter().map(|owner| owner.0).collect();
            let given = (points, weights, labels, owners, count, per_cluster, context.seed.0);
            object.call_method1("select", given)?.extract::<Vec<u32>>()
        })?;
        Ok(rows.into_iter().map(RowId).collect())
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
            let given = (Adapter::from(adapter.clone()), Records(records.to_vec()), context.seed.0);
            object.call_method1("train", given)?.extract::<(Adapter, Vec<f32>, usize, u64)>()
        })?;
        Ok(Trained { adapter: (*adapter.inner).clone(), losses, skipped, tokens })
    }
}

impl Aggregator for Custom {
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.call(None, |object| {
            let given = (update.client.0, Adapter::from(update.adapter.clone()), update.records);
            object.call_method1("add", given).map(|_| ())
        })
    }

    fn finish(&mut self) -> Result<Option<types::Adapter>> {
        let adapter: Option<Adapter> =
            self.call(None, |object| Ok(object.call_method0("finish")?.extract::<Option<Adapter>>()?))?;
        Ok(adapter.map(|adapter| (*adapter.inner).clone()))
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
