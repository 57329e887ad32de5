//! Models, and the stages that run on them: features, training, evaluation.

use crate::adapter::Adapter;
use crate::array::array;
use crate::error::OrRaise as _;
use crate::records::{Records, Template};
use crate::run::{heavy, light};
use crate::scores::Scores;
use crate::setting::parameter;
use crate::settings::{AdapterConfig, FeatureParams, GenerateConfig, TrainConfig};
use fedhds_core::features::LayerFeatures;
use fedhds_core::generate::{ModelEvaluator, generate_texts};
use fedhds_core::metrics::RougeFlavor;
use fedhds_core::model::{Activations, Device, LanguageModel, gguf};
use fedhds_core::stage::{Evaluator as _, FeatureExtractor as _, Trainer as _};
use fedhds_core::train::{LoraTrainer, check_adapter};
use fedhds_core::types::{Context, Control, Factors, Record};
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
    module.add_function(wrap_pyfunction!(feature_states, module)?)?;
    module.add_function(wrap_pyfunction!(render, module)?)?;
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
fn write_embedded_model(py: Python<'_>, folder: PathBuf) -> PyResult<()> {
    light(py, || write_embedded(&folder))
}

/// The numbers of the hidden states that make up the features of a model of so many layers, in order; 0 is the embedding.
#[pyfunction]
fn feature_states(params: &FeatureParams, layers: usize) -> PyResult<Vec<usize>> {
    params.inner.states(layers).or_raise()
}

fn context(seed: u64, control: &Control) -> Context {
    Context { control: control.clone(), ..Context::new(seed) }
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
    fn load(py: Python<'_>, path: PathBuf, device: &str, activations: &str) -> PyResult<Self> {
        let device = Device::parse(device).or_raise()?;
        let activations = Activations::parse(activations).or_raise()?;
        let inner = heavy(py, move |_| LanguageModel::load_with(&path, &device, activations))?;
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

    /// llama.cpp's file of an adapter, for a model of this family and size.
    fn save_gguf(&self, py: Python<'_>, path: PathBuf, adapter: PyRef<'_, Adapter>) -> PyResult<()> {
        let (model, adapter) = (self.inner.clone(), adapter.inner.clone());
        heavy(py, move |_| {
            check_adapter(&adapter, model.transformer.spec())?;
            gguf::write_adapter(path, &adapter, &model.config)
        })
    }

    /// Tokens of each text, special tokens of the model's own included.
    fn count_tokens(&self, py: Python<'_>, texts: Vec<String>) -> PyResult<Vec<usize>> {
        let tokenizer = self.inner.tokenizer.clone();
        heavy(py, move |control| {
            let count = |text: &String| {
                control.check()?;
                Ok(tokenizer.encode(text, true)?.len())
            };
            texts.iter().map(count).collect()
        })
    }

    /// Greedy continuations of texts.
    #[pyo3(signature = (prompts, adapter, config))]
    fn generate(
        &self,
        py: Python<'_>,
        prompts: Vec<String>,
        adapter: Option<Adapter>,
        config: &GenerateConfig,
    ) -> PyResult<Vec<String>> {
        let (model, config) = (self.inner.clone(), config.inner.clone());
        heavy(py, move |control| {
            generate_texts(&model, &prompts, adapter.as_ref().map(|a| a.inner.as_ref()), &config, control)
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
    fn new(model: &Model, prompt: Template, params: FeatureParams, frozen: bool) -> PyResult<Self> {
        let (renderer, name) = (prompt.renderer(Some(&model.inner.tokenizer)).or_raise()?, prompt.name().or_raise()?);
        let features = LayerFeatures::new(model.inner.clone(), renderer, name, params.inner).or_raise()?;
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
    fn tokens(&self, py: Python<'_>, records: Records) -> PyResult<Vec<Vec<u32>>> {
        let extractor = self.inner.clone();
        heavy(py, move |_| extractor.tokens(&records.0))
    }

    #[pyo3(signature = (records, adapter))]
    fn extract<'py>(
        &self,
        py: Python<'py>,
        records: Records,
        adapter: Option<Adapter>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let extractor = self.inner.clone();
        let adapter = adapter.map(|a| a.inner);
        // Evaluation mode draws nothing: the seed does not matter.
        let features =
            heavy(py, move |control| extractor.extract(&records.0, adapter.as_deref(), &context(0, control)))?;
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
    fn new(model: &Model, prompt: Template, adapter: AdapterConfig, config: TrainConfig) -> PyResult<Self> {
        let prompt = prompt.renderer(Some(&model.inner.tokenizer)).or_raise()?;
        let inner = LoraTrainer::new(model.inner.clone(), prompt, adapter.inner, config.inner).or_raise()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    fn init(&self, py: Python<'_>, seed: u64) -> PyResult<Adapter> {
        let trainer = self.inner.clone();
        Ok(heavy(py, move |control| trainer.init(&context(seed, control)))?.into())
    }

    /// The adapter, the losses of the steps, the steps that were left out, the tokens.
    fn train(
        &self,
        py: Python<'_>,
        adapter: PyRef<'_, Adapter>,
        records: Records,
        seed: u64,
        factors: &Bound<'_, PyAny>,
    ) -> PyResult<(Adapter, Vec<f32>, usize, u64)> {
        let factors: Factors = parameter("factors", factors).or_raise()?;
        let (trainer, adapter) = (self.inner.clone(), adapter.inner.clone());
        let trained =
            heavy(py, move |control| trainer.train(&adapter, &records.0, &context(seed, control).training(factors)))?;
        Ok((trained.adapter.into(), trained.losses, trained.skipped, trained.tokens))
    }
}

/// Losses, generations and their Rouge-L.
#[pyclass(module = "fedhds._native", frozen)]
pub struct Evaluator {
    pub inner: Arc<ModelEvaluator>,
}

#[pymethods]
impl Evaluator {
    #[new]
    fn new(model: &Model, prompt: Template, config: GenerateConfig, rouge: &Bound<'_, PyAny>) -> PyResult<Self> {
        let prompt = prompt.renderer(Some(&model.inner.tokenizer)).or_raise()?;
        let rouge: RougeFlavor = parameter("rouge", rouge).or_raise()?;
        let inner = ModelEvaluator::new(model.inner.clone(), prompt, config.inner).or_raise()?.with_rouge(rouge);
        Ok(Self { inner: Arc::new(inner) })
    }

    #[pyo3(signature = (records, adapter, generate))]
    fn evaluate(&self, py: Python<'_>, records: Records, adapter: Option<Adapter>, generate: bool) -> PyResult<Scores> {
        let evaluator = self.inner.clone();
        let adapter = adapter.map(|a| a.inner);
        let scores = heavy(py, move |control| {
            evaluator.evaluate(adapter.as_deref(), &records.0, generate, &context(0, control))
        })?;
        Ok(Scores(scores))
    }
}

/// Prompt and response of each record, as a model reads them.
#[pyfunction]
#[pyo3(signature = (records, prompt, model))]
fn render(
    py: Python<'_>,
    records: Records,
    prompt: Template,
    model: Option<PyRef<'_, Model>>,
) -> PyResult<Vec<(String, String)>> {
    let prompt = prompt.renderer(model.as_deref().map(|model| &model.inner.tokenizer)).or_raise()?;
    heavy(py, move |control| {
        let text = |record: &Record| {
            control.check()?;
            prompt.render(record).map(|text| (text.prompt, text.response))
        };
        records.0.iter().map(text).collect()
    })
}
