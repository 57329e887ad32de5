//! What this build is and what it runs on.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(info, module)?)
}

/// Version, protocol, platform, threads, vector extensions of the processor that are there, devices that are compiled in.
#[pyfunction]
fn info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("protocol", fedhds_core::protocol::PROTOCOL_VERSION)?;
    info.set_item("platform", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS))?;
    info.set_item("threads", std::thread::available_parallelism().map_or(1, usize::from))?;
    info.set_item("vector_extensions", vector_extensions())?;
    let mut devices = vec!["cpu"];
    for (name, compiled) in [("cuda", cfg!(feature = "cuda")), ("wgpu", cfg!(feature = "wgpu"))] {
        if compiled {
            devices.push(name);
        }
    }
    info.set_item("devices", devices)?;
    Ok(info)
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn vector_extensions() -> Vec<&'static str> {
    let all = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn vector_extensions() -> Vec<&'static str> {
    if cfg!(target_arch = "aarch64") { vec!["neon"] } else { Vec::new() }
}
