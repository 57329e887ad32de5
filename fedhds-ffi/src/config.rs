//! Settings of features, training and generation: structures that begin with their own size.

use crate::pointer::text_or_none;
use crate::settings::{flag, init, settings};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::features::{FeatureParams, Layers};
use fedhds_core::model::Pooling;
use fedhds_core::train::TrainConfig;
use fedhds_core::types::{AdapterConfig, Factors};
use std::ffi::c_char;

/// Settings of `fedhds_model_features`, filled by `fedhds_features_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_features_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// 0 every layer (the default), 1 the last one.
    pub layers: i32,
    /// Put the embedding's output in front; 1 is yes; default 0.
    pub embedding: u8,
    /// 0 the last token (the default), 1 the mean over tokens.
    pub pooling: i32,
    /// Scale each layer's vector to length 1; 1 is yes; default 0.
    pub normalize: u8,
    /// Longest record in tokens; default 1024.
    pub max_tokens: usize,
    /// Cut longer records off; otherwise they are errors. 1 is yes; default 0.
    pub truncate: u8,
    /// Most tokens that go through the model together; 0 (the default) is record by record.
    pub batch_tokens: usize,
}

/// A LoRA adapter and its training, filled by `fedhds_train_config_init` with the paper's values.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_train_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Rank of a fresh adapter, at least 1; default 8.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`; default 16.
    pub lora_alpha: f32,
    /// Dropout on a fresh adapter's input, in [0, 1); default 0.05.
    pub lora_dropout: f32,
    /// Scale by `lora_alpha / sqrt(r)`; 1 is yes; default 0.
    pub use_rslora: u8,
    /// Above 0; default 3e-4.
    pub learning_rate: f64,
    /// Records of a batch, at least 1; default 1.
    pub batch_size: usize,
    /// Passes over the records, at least 1; default 1.
    pub local_epochs: usize,
    /// Most optimiser steps; 0 (the default) is no limit.
    pub max_steps: usize,
    /// Batches of an optimiser step, at least 1; default 1.
    pub gradient_accumulation_steps: usize,
    /// Gradients are clipped to this norm; 0 (the default) does not clip.
    pub max_grad_norm: f64,
    /// Less memory, more time; 1 is yes; default 0.
    pub gradient_checkpointing: u8,
    /// Longest record in tokens; a longer one is an error. Default 1024.
    pub max_tokens: usize,
    /// Names of the modules that a fresh adapter adapts, with commas between them: `q_proj,v_proj`. NULL (the default) is the model's own choice.
    pub target_modules: *const c_char,
    /// Which factors are trained: 0 both (the default), 1 A alone, 2 B alone, as `fedhds_client_factors` says. The other stays as it is.
    pub factors: i32,
}

impl Default for fedhds_features_config_t {
    fn default() -> Self {
        let own = FeatureParams::default();
        Self {
            struct_size: size_of::<Self>(),
            layers: 0,
            embedding: own.embedding.into(),
            pooling: 0,
            normalize: own.normalize.into(),
            max_tokens: own.max_tokens,
            truncate: own.truncate.into(),
            batch_tokens: own.batch_tokens.unwrap_or(0),
        }
    }
}

/// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_features_config_init(
    config: *mut fedhds_features_config_t,
    size: usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_features_config_t::default()) })
}

impl Default for fedhds_train_config_t {
    fn default() -> Self {
        let (adapter, train) = (AdapterConfig::default(), TrainConfig::default());
        Self {
            struct_size: size_of::<Self>(),
            r: adapter.r,
            lora_alpha: adapter.lora_alpha,
            lora_dropout: adapter.lora_dropout,
            use_rslora: adapter.use_rslora.into(),
            learning_rate: train.learning_rate,
            batch_size: train.batch_size,
            local_epochs: train.local_epochs,
            max_steps: train.max_steps.unwrap_or(0),
            gradient_accumulation_steps: train.gradient_accumulation_steps,
            max_grad_norm: train.max_grad_norm.unwrap_or(0.0),
            gradient_checkpointing: train.gradient_checkpointing.into(),
            max_tokens: train.max_tokens,
            target_modules: std::ptr::null(),
            factors: 0,
        }
    }
}

/// Fills in the paper's values. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_train_config_init(config: *mut fedhds_train_config_t, size: usize) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_train_config_t::default()) })
}

fn unknown(name: &str, got: i32) -> Failure {
    Failure::new(FEDHDS_STATUS_PARAMETER, format!("{name}: expected 0 or 1, got {got}"))
}

/// # Safety
/// As [`settings`].
pub(crate) unsafe fn feature_params(config: *const fedhds_features_config_t) -> Outcome<FeatureParams> {
    // SAFETY: the caller's promise.
    let given = unsafe { settings(config, Default::default(), "config") }?;
    Ok(FeatureParams {
        layers: match given.layers {
            0 => Layers::All,
            1 => Layers::Last,
            other => return Err(unknown("layers", other)),
        },
        embedding: flag(given.embedding, "embedding")?,
        pooling: match given.pooling {
            0 => Pooling::LastToken,
            1 => Pooling::Mean,
            other => return Err(unknown("pooling", other)),
        },
        normalize: flag(given.normalize, "normalize")?,
        max_tokens: given.max_tokens,
        truncate: flag(given.truncate, "truncate")?,
        batch_tokens: (given.batch_tokens > 0).then_some(given.batch_tokens),
    })
}

/// # Safety
/// As [`settings`].
pub(crate) unsafe fn trained_factors(config: *const fedhds_train_config_t) -> Outcome<Factors> {
    // SAFETY: the caller's promise.
    match unsafe { settings(config, fedhds_train_config_t::default(), "config") }?.factors {
        0 => Ok(Factors::Both),
        1 => Ok(Factors::A),
        2 => Ok(Factors::B),
        other => Err(Failure::new(FEDHDS_STATUS_PARAMETER, format!("factors: expected 0, 1 or 2, got {other}"))),
    }
}

/// # Safety
/// As [`settings`]; `target_modules` in it is NULL or ends with NUL.
pub(crate) unsafe fn train_params(config: *const fedhds_train_config_t) -> Outcome<(AdapterConfig, TrainConfig)> {
    // SAFETY: the caller's promise.
    let given = unsafe { settings(config, Default::default(), "config") }?;
    // SAFETY: NULL, or a text that ends with NUL, by the caller's promise.
    let named = unsafe { text_or_none(given.target_modules, "target_modules") }?.unwrap_or_default();
    let mut target_modules: Vec<String> =
        named.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    target_modules.sort_unstable();
    let adapter = AdapterConfig {
        r: given.r,
        lora_alpha: given.lora_alpha,
        lora_dropout: given.lora_dropout,
        target_modules,
        use_rslora: flag(given.use_rslora, "use_rslora")?,
    };
    let train = TrainConfig {
        learning_rate: given.learning_rate,
        batch_size: given.batch_size,
        local_epochs: given.local_epochs,
        max_steps: (given.max_steps > 0).then_some(given.max_steps),
        gradient_accumulation_steps: given.gradient_accumulation_steps,
        max_grad_norm: (given.max_grad_norm != 0.0).then_some(given.max_grad_norm),
        gradient_checkpointing: flag(given.gradient_checkpointing, "gradient_checkpointing")?,
        max_tokens: given.max_tokens,
    };
    Ok((adapter, train))
}
