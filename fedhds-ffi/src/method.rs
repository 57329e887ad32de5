//! Selection methods.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::handle::{self, Handle};
use crate::pointer::{Out, text};
use crate::status::{Outcome, boundary, fedhds_status_t};
use fedhds_core::method::{AllowedMethods, MakeMemory, MethodConfig, Pipeline};
use fedhds_core::stage::{Clusterer, Reducer, Selector, Upload};
use fedhds_core::{Error, parse};
use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::Arc;

/// A selection method: settings, and stages of the caller's own. Clients and servers that were made of it keep what it was then. Freed with
/// `fedhds_method_free`.
pub struct fedhds_method_t {
    _private: [u8; 0],
}

impl Handle for fedhds_method_t {
    type Object = Method;
    const NAME: &'static str = "fedhds_method_t";
}

/// A stage of the caller's own.
#[derive(Clone)]
pub(crate) enum Stage {
    Reducer(Arc<dyn Reducer>),
    Clusterer(Arc<dyn Clusterer>),
    Selector(Arc<dyn Selector>),
    Upload(Arc<dyn Upload>),
    Memory(Arc<MakeMemory>),
}

/// What is behind a method's handle.
#[derive(Clone)]
pub(crate) struct Method {
    pub(crate) config: MethodConfig,
    pub(crate) stages: BTreeMap<String, Stage>,
}

/// The pipeline of a method, for features of `layers` equal parts.
pub(crate) fn pipeline(method: *const fedhds_method_t, layers: usize) -> Outcome<Pipeline> {
    let method = handle::copy(method)?;
    let mut pipeline = method.config.pipeline(layers)?;
    for (name, stage) in method.stages {
        match (name.as_str(), stage) {
            ("client.normalizer", Stage::Reducer(stage)) => pipeline.client.normalizer = Some(stage),
            ("client.reducer", Stage::Reducer(stage)) => pipeline.client.reducer = Some(stage),
            ("client.clusterer", Stage::Clusterer(stage)) => pipeline.client.clusterer = Some(stage),
            ("client.selector", Stage::Selector(stage)) => pipeline.client.selector = stage,
            ("server.clusterer", Stage::Clusterer(stage)) => pipeline.server.clusterer = Some(stage),
            ("server.selector", Stage::Selector(stage)) => pipeline.server.selector = stage,
            ("client.upload", Stage::Upload(stage)) => pipeline.client.upload = Some(stage),
            ("server.memory", Stage::Memory(stage)) => pipeline.server.memory = Some(stage),
            // Names are checked where stages are set.
            (name, _) => return Err(Error::parameter("stage", "a stage of the pipeline", name).into()),
        }
    }
    pipeline.check()?;
    Ok(pipeline)
}

/// A method from TOML or JSON: a preset, and what differs from it; or a preset's bare name. `preset = "fedhds_coverage"` and
/// `count = { budget = 20 }` on two lines are facility location with 20 records a round. Unknown keys are errors.
///
/// # Safety
/// `settings` ends with NUL; `method` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_new(
    settings: *const c_char,
    method: *mut *mut fedhds_method_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, settings) = unsafe { (Out::new(method, "method")?, text(settings, "settings")?) };
        let config = MethodConfig::from_text(settings)?;
        out.set(handle::new(Method { config, stages: BTreeMap::new() }));
        Ok(())
    })
}

/// Every setting of the method, as JSON.
///
/// # Safety
/// `json` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_settings(
    method: *const fedhds_method_t,
    json: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(json, "json") }?;
        let method = handle::copy(method)?;
        let text = parse::to_json("method", &method.config)?;
        out.set(bytes(text.into_bytes()));
        Ok(())
    })
}

/// Whether a client should run a method whose settings a server named: `FEDHDS_STATUS_PROTOCOL` says which setting asks for more work, or shows
/// more, than it may. `limits` is a JSON object or TOML of `presets` (names), `max_clusters`, `max_init`, `max_iter`, `max_components` and
/// `max_shared_dims`, each with a default; NULL takes all defaults, which allow every preset.
///
/// # Safety
/// `limits` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_method_check_allowed(
    method: *const fedhds_method_t,
    limits: *const c_char,
) -> fedhds_status_t {
    boundary(|| {
        let method = handle::copy(method)?;
        let allowed: AllowedMethods = match limits.is_null() {
            true => AllowedMethods::default(),
            // SAFETY: the caller's promise.
            false => parse::from_text("limits", unsafe { text(limits, "limits") }?)?,
        };
        allowed.check(&method.config)?;
        Ok(())
    })
}

/// Frees the method; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_method_free(method: *mut fedhds_method_t) -> fedhds_status_t {
    boundary(|| handle::free(method))
}
