//! Models: features of records, generation, evaluation, llama.cpp's files of their adapters.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::config::{feature_params, fedhds_features_config_t};
use crate::control::{context, control, fedhds_control_t};
use crate::global::fedhds_adapter_t;
use crate::handle::{self, Handle};
use crate::matrix::{fedhds_matrix_t, matrix};
use crate::metrics::flavor;
use crate::pointer::{Out, text, text_or_none};
use crate::records::fedhds_records_t;
use crate::status::fedhds_status_t;
use crate::status::{Outcome, boundary};
use fedhds_core::dataset::{Prompt, RenderPrompt};
use fedhds_core::features::LayerFeatures;
use fedhds_core::generate::{GenerateConfig, ModelEvaluator, generate_texts};
use fedhds_core::model::{Device, LanguageModel, gguf, prompt_renderer};
use fedhds_core::settings::Activations;
use fedhds_core::stage::{Evaluator as _, FeatureExtractor as _};
use fedhds_core::train::check_adapter;
use fedhds_core::{Error, parse};
use std::ffi::c_char;
use std::sync::Arc;

/// A language model or encoder; it never changes, and any number of threads may use it at once. Freed with `fedhds_model_free`.
pub struct fedhds_model_t {
    _private: [u8; 0],
}

impl Handle for fedhds_model_t {
    type Object = LanguageModel;
    const NAME: &'static str = "fedhds_model_t";
}

/// Sizes of a model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_model_info_t {
    /// Number of layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_positions: usize,
    /// Whether it predicts the next token; encoders do not.
    pub causal: bool,
}

/// The prompt template of a name (`alpaca`, `short`, `raw`, `chat`; NULL is `alpaca`) or of JSON: `{"custom": {"with_input": "..."}}`.
///
/// # Safety
/// `prompt` is NULL or ends with NUL.
pub(crate) unsafe fn renderer(
    model: &LanguageModel,
    prompt: *const c_char,
) -> Outcome<(Arc<dyn RenderPrompt>, String)> {
    // SAFETY: the caller's promise.
    let text = unsafe { text_or_none(prompt, "prompt") }?.unwrap_or("alpaca");
    let prompt: Prompt = parse::from_text("prompt", text)?;
    let json = parse::to_json("prompt", &prompt)?;
    Ok((prompt_renderer(&prompt, &model.tokenizer)?, json))
}

/// The records behind a handle, copied.
pub(crate) fn all(records: *const fedhds_records_t) -> Outcome<Vec<fedhds_core::types::Record>> {
    handle::read(records, |records| Ok(records.list.clone()))
}

/// Whether a device can be used: `cpu`, `cuda`, `cuda:1`. `FEDHDS_STATUS_DEVICE` is no: it is not there, or not compiled in.
///
/// # Safety
/// `device` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_device_check(device: *const c_char) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        Device::parse(unsafe { text(device, "device") }?)?;
        Ok(())
    })
}

/// Loads a Hugging Face folder (config.json, safetensors, tokenizer.json) or a `.gguf` file. `device` is a name, NULL is `cpu`.
///
/// # Safety
/// The texts that are not NULL end with NUL; `model` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_load(
    path: *const c_char,
    device: *const c_char,
    model: *mut *mut fedhds_model_t,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    unsafe { fedhds_model_load_with(path, device, std::ptr::null(), model) }
}

/// The same with `activations`: `f32` (NULL too), or `int8`, in which features, losses and generation multiply bytes where the file's weights are in
/// blocks (Q8_0, Q4_0, Q4_1): about twice as fast on processors that multiply bytes, with losses that move in the third digit. A model without such
/// weights is refused (`FEDHDS_STATUS_MODEL`).
///
/// # Safety
/// The texts that are not NULL end with NUL; `model` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_load_with(
    path: *const c_char,
    device: *const c_char,
    activations: *const c_char,
    model: *mut *mut fedhds_model_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, path) = unsafe { (Out::new(model, "model")?, text(path, "path")?) };
        // SAFETY: the same.
        let (device, activations) =
            unsafe { (text_or_none(device, "device")?, text_or_none(activations, "activations")?) };
        let device = Device::parse(device.unwrap_or("cpu"))?;
        let activations = activations.map(Activations::parse).transpose()?.unwrap_or_default();
        out.set(handle::new(LanguageModel::load_with(path, &device, activations)?));
        Ok(())
    })
}

/// The sizes of a model.
///
/// # Safety
/// `info` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_info(
    model: *const fedhds_model_t,
    info: *mut fedhds_model_info_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(info, "info") }?;
        let model = handle::copy(model)?;
        let spec = model.transformer.spec();
        out.set(fedhds_model_info_t {
            layers: spec.layers,
            hidden_size: spec.hidden_size,
            vocab_size: spec.vocab_size,
            max_positions: spec.max_positions,
            causal: spec.causal,
        });
        Ok(())
    })
}

/// Features of records, one row each: the hidden states of the layers side by side (eq. 6). `adapter` is applied to the model where it is not
/// NULL: leave it out for a frozen proxy. `prompt` is a template's name or JSON, NULL is `alpaca`.
///
/// # Safety
/// `prompt` is NULL or ends with NUL; `config` is readable; `features` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_features(
    model: *const fedhds_model_t,
    records: *const fedhds_records_t,
    adapter: *const fedhds_adapter_t,
    prompt: *const c_char,
    config: *const fedhds_features_config_t,
    control: *const fedhds_control_t,
    features: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, params) = unsafe { (Out::new(features, "features")?, feature_params(config)?) };
        let model = handle::copy(model)?;
        // SAFETY: the caller's promise.
        let (renderer, name) = unsafe { renderer(&model, prompt) }?;
        let adapter = handle::copy_or_none(adapter)?;
        let extractor = LayerFeatures::new(model, renderer, name, params)?;
        // Evaluation mode draws nothing: the seed does not matter.
        out.set(matrix(extractor.extract(&all(records)?, adapter.as_deref(), &context(0, control)?)?));
        Ok(())
    })
}

/// Continues a text greedily by at most `max_new_tokens` tokens.
///
/// # Safety
/// `prompt` ends with NUL; `output` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_generate(
    model: *const fedhds_model_t,
    adapter: *const fedhds_adapter_t,
    prompt: *const c_char,
    max_new_tokens: usize,
    watch: *const fedhds_control_t,
    output: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, prompt) = unsafe { (Out::new(output, "output")?, text(prompt, "prompt")?) };
        let (model, adapter, control) = (handle::copy(model)?, handle::copy_or_none(adapter)?, control(watch)?);
        let config = GenerateConfig { max_new_tokens, ..GenerateConfig::default() };
        let made = generate_texts(&model, &[prompt], adapter.as_deref(), &config, &control)?;
        out.set(bytes(made.concat().into_bytes()));
        Ok(())
    })
}

/// Scores of records as a JSON list, in order: `id`, `category`, `loss` (mean over the response's tokens, in nats), and where text is generated `output`,
/// `rouge_l` (F1 in [0, 1]) and `exact_match`. `max_new_tokens` of 0 generates nothing; `flavor` is that of `fedhds_rouge_l`.
///
/// # Safety
/// `prompt` is NULL or ends with NUL; `scores` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_evaluate(
    model: *const fedhds_model_t,
    adapter: *const fedhds_adapter_t,
    records: *const fedhds_records_t,
    prompt: *const c_char,
    max_new_tokens: usize,
    flavor: i32,
    control: *const fedhds_control_t,
    scores: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(scores, "scores") }?;
        let (model, adapter, records) = (handle::copy(model)?, handle::copy_or_none(adapter)?, all(records)?);
        // SAFETY: the caller's promise.
        let (renderer, _) = unsafe { renderer(&model, prompt) }?;
        let config = GenerateConfig { max_new_tokens: max_new_tokens.max(1), ..GenerateConfig::default() };
        let evaluator = ModelEvaluator::new(model, renderer, config)?.with_rouge(self::flavor(flavor)?);
        let found = evaluator.evaluate(adapter.as_deref(), &records, max_new_tokens > 0, &context(0, control)?)?;
        let json = serde_json::to_vec(&found).map_err(|e| Error::input("scores", "finite numbers", e))?;
        out.set(bytes(json));
        Ok(())
    })
}

/// Writes the file that llama.cpp's `--lora` reads, for a base model of this family and size.
///
/// # Safety
/// `path` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_save_gguf(
    adapter: *const fedhds_adapter_t,
    model: *const fedhds_model_t,
    path: *const c_char,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let path = unsafe { text(path, "path") }?;
        let (adapter, model) = (handle::copy(adapter)?, handle::copy(model)?);
        check_adapter(&adapter, model.transformer.spec())?;
        Ok(gguf::write_adapter(path, &adapter, &model.config)?)
    })
}

/// Frees the model; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_model_free(model: *mut fedhds_model_t) -> fedhds_status_t {
    boundary(|| handle::free(model))
}
