//! Models, and the stages that run on them: features, training, evaluation.

use crate::adapter::Adapter;
use crate::array::array;
use crate::error::OrRaise as _;
use crate::records::{Parts, records, renderer};
use crate::run::heavy;
use crate::stages::settings;
use fedhds_core::features::{FeatureParams, LayerFeatures};
use fedhds_core::generate::{GenerateConfig, ModelEvaluator, generate_texts};
use fedhds_core::metrics::RougeFlavor;
use fedhds_core::model::{Device, LanguageModel};
use fedhds_core::stage::{Evaluator as _, FeatureExtractor as _, RecordScore, Trainer as _};
use fedhds_core::train::{LoraTrainer, TrainConfig};
use fedhds_core::types::{AdapterConfig, Context, Control, Seed};
use fedhds_core::{Error, Result};
use numpy::PyArray2;
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Model>()?;
    module.add_class::<Features>()?;
    module.add_class::<Trainer>()?;
    module.add_class::<Evaluator>()?;
    module.add_function(wrap_pyfunction!(write_embedded_model, module)?)
}

/// The small model that comes with the package, file by file.
const EMBEDDED: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../../examples/models/embedded/config.json")),
    ("model.safetensors", include_bytes!("../../examples/models/embedded/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../examples/models/embedded/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../examples/models/embedded/tokenizer_config.json")),
];

fn write_embedded(folder: &Path) -> Result<()> {
    EMBEDDED.iter().try_for_each(|(name, bytes)| fedhds_core::simulate::atomic_write(folder.join(name), bytes))
}

/// Writes the embedded model as a Hugging Face folder.
#[pyfunction]
fn write_embedded_model(folder: PathBuf) -> PyResult<()> {
    write_embedded(&folder).or_raise()
}

fn context(seed: u64, control: &Control) -> Context {
    Context { seed: Seed(seed), control: control.clone() }
}

/// A language model or encoder.
#[pyclass(module = "fedhds._native", frozen, from_py_object)]
#[derive(Clone)]
pub struct Model {
    pub inner: LanguageModel,
}

#[pymethods]
impl Model {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, device: &str) -> PyResult<Self> {
        let device = Device::parse(device).or_raise()?;
        let inner = heavy(py, move |_| LanguageModel::load(&path, &device))?;
        Ok(Self { inner })
    }

    #[staticmethod]
    fn embedded(py: Python<'_>, device: &str) -> PyResult<Self> {
        let device = Device::parse(device).or_raise()?;
        let inner = heavy(py, move |_| {
            // The loader reads folders; what it read is in memory when this one is gone.
            let folder = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
            write_embedded(folder.path())?;
            LanguageModel::load(folder.path(), &device)
        })?;
        Ok(Self { inner })
    }

    #[getter]
    fn family(&self) -> &'static str {
        self.inner.config.family()
    }

    /// layers, hidden_size, vocab_size, max_positions.
    #[getter]
    fn sizes(&self) -> (usize, usize, usize, usize) {
        let spec = self.inner.transformer.spec();
        (spec.layers, spec.hidden_size, spec.vocab_size, spec.max_positions)
    }

    #[getter]
    fn causal(&self) -> bool {
        self.inner.transformer.spec().causal
    }

    #[getter]
    fn default_targets(&self) -> Vec<String> {
        self.inner.transformer.spec().default_targets.clone()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.inner.fingerprint().to_owned()
    }

    /// Tokens of each text, with the special tokens that the tokenizer puts around it.
    fn count_tokens(&self, py: Python<'_>, texts: Vec<String>) -> PyResult<Vec<usize>> {
        let tokenizer = self.inner.tokenizer.clone();
        heavy(py, move |_| texts.iter().map(|text| Ok(tokenizer.encode(text, true)?.len())).collect())
    }

    /// Greedy continuations of texts.
    #[pyo3(signature = (prompts, adapter, max_new_tokens, batch_size))]
    fn generate(
        &self,
        py: Python<'_>,
        prompts: Vec<String>,
        adapter: Option<Adapter>,
        max_new_tokens: usize,
        batch_size: usize,
    ) -> PyResult<Vec<String>> {
        let model = &self.inner;
        heavy(py, move |control| {
            let config = GenerateConfig { max_new_tokens, batch_size, ..GenerateConfig::default() };
            generate_texts(model, &prompts, adapter.as_ref().map(|a| a.inner.as_ref()), &config, control)
        })
    }
}

/// Hidden states of a model's layers as features.
#[pyclass(module = "fedhds._native", frozen)]
pub struct Features {
    pub inner: Arc<LayerFeatures>,
}

#[pymethods]
impl Features {
    #[new]
    fn new(model: PyRef<'_, Model>, prompt: &str, params: &str, frozen: bool) -> PyResult<Self> {
        let params: FeatureParams = settings(params).or_raise()?;
        let renderer = renderer(prompt, Some(&model)).or_raise()?;
        let features = LayerFeatures::new(model.inner.clone(), renderer, prompt, params).or_raise()?;
        Ok(Self { inner: Arc::new(if frozen { features.frozen() } else { features }) })
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    /// Equal parts of a vector: its width divided by the model's.
    #[getter]
    fn layers(&self) -> PyResult<usize> {
        let hidden = self.inner.model().transformer.spec().hidden_size;
        Ok(self.inner.width().or_raise()? / hidden.max(1))
    }

    /// The token ids of each record, as the model reads them.
    fn tokens(&self, py: Python<'_>, parts: Vec<Parts>) -> PyResult<Vec<Vec<u32>>> {
        let (extractor, records) = (self.inner.clone(), records(parts));
        heavy(py, move |_| extractor.tokens(&records))
    }

    #[pyo3(signature = (parts, adapter))]
    fn extract<'py>(
        &self,
        py: Python<'py>,
        parts: Vec<Parts>,
        adapter: Option<Adapter>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let extractor = self.inner.clone();
        let records = records(parts);
        let adapter = adapter.map(|a| a.inner);
        // Evaluation mode draws nothing: the seed does not matter.
        let features = heavy(py, move |control| extractor.extract(&records, adapter.as_deref(), &context(0, control)))?;
        array(py, features)
    }
}

/// LoRA training.
#[pyclass(module = "fedhds._native", frozen)]
pub struct Trainer {
    pub inner: Arc<LoraTrainer>,
}

#[pymethods]
impl Trainer {
    #[new]
    fn new(model: PyRef<'_, Model>, prompt: &str, adapter: &str, train: &str) -> PyResult<Self> {
        let adapter: AdapterConfig = settings(adapter).or_raise()?;
        let train: TrainConfig = settings(train).or_raise()?;
        let prompt = renderer(prompt, Some(&model)).or_raise()?;
        let inner = LoraTrainer::new(model.inner.clone(), prompt, adapter, train).or_raise()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    fn init(&self, seed: u64) -> PyResult<Adapter> {
        Ok(self.inner.init(&Context::new(seed)).or_raise()?.into())
    }

    /// The adapter, the losses of the steps, the steps that were left out, the tokens.
    fn train(
        &self,
        py: Python<'_>,
        adapter: PyRef<'_, Adapter>,
        parts: Vec<Parts>,
        seed: u64,
    ) -> PyResult<(Adapter, Vec<f32>, usize, u64)> {
        let (trainer, adapter, records) = (self.inner.clone(), adapter.inner.clone(), records(parts));
        let trained = heavy(py, move |control| trainer.train(&adapter, &records, &context(seed, control)))?;
        Ok((trained.adapter.into(), trained.losses, trained.skipped, trained.tokens))
    }
}

/// id, category, loss, output, Rouge-L, exact match.
pub type Score = (String, String, f64, Option<String>, Option<f64>, Option<bool>);

/// A score for Python.
pub fn score(score: RecordScore) -> Score {
    (score.id, score.category, score.loss, score.output, score.rouge_l, score.exact_match)
}

/// Losses, generations and their Rouge-L.
#[pyclass(module = "fedhds._native", frozen)]
pub struct Evaluator {
    pub inner: Arc<ModelEvaluator>,
}

#[pymethods]
impl Evaluator {
    #[new]
    fn new(model: PyRef<'_, Model>, prompt: &str, generate: &str, rouge: &str) -> PyResult<Self> {
        let generate: GenerateConfig = settings(generate).or_raise()?;
        let prompt = renderer(prompt, Some(&model)).or_raise()?;
        let rouge: RougeFlavor = settings(&format!("\"{rouge}\"")).or_raise()?;
        let inner = ModelEvaluator::new(model.inner.clone(), prompt, generate).or_raise()?.with_rouge(rouge);
        Ok(Self { inner: Arc::new(inner) })
    }

    #[pyo3(signature = (parts, adapter, generate))]
    fn evaluate(
        &self,
        py: Python<'_>,
        parts: Vec<Parts>,
        adapter: Option<Adapter>,
        generate: bool,
    ) -> PyResult<Vec<Score>> {
        let (evaluator, records) = (self.inner.clone(), records(parts));
        let adapter = adapter.map(|a| a.inner);
        let scores =
            heavy(py, move |control| evaluator.evaluate(adapter.as_deref(), &records, generate, &context(0, control)))?;
        Ok(scores.into_iter().map(score).collect())
    }
}
