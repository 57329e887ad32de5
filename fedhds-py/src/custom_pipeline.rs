//! The user's stages in the place of a method's.

use crate::custom::Custom;
use crate::custom_server::CustomMemory;
use crate::failures::Failures;
use fedhds_core::method::Pipeline;
use fedhds_core::{Error, Result};
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Puts the user's stages in the place of the method's, by their names in error messages.
pub fn replace(pipeline: &mut Pipeline, stages: BTreeMap<String, Py<PyAny>>, failures: &Failures) -> Result<()> {
    // In the order of names: a server's clusterer is there before the selector, which goes by it.
    for (name, object) in stages {
        let plain = |object| Arc::new(Custom::new(&name, object, failures));
        match name.as_str() {
            "client.normalizer" => pipeline.client.normalizer = Some(plain(object)),
            "client.reducer" => pipeline.client.reducer = Some(plain(object)),
            "client.clusterer" => pipeline.client.clusterer = Some(plain(object)),
            "client.upload" => pipeline.client.upload = Some(plain(object)),
            "client.selector" => {
                pipeline.client.selector = Arc::new(Custom::selector(&name, object, failures, true)?);
            }
            "server.clusterer" => pipeline.server.clusterer = Some(plain(object)),
            "server.selector" => {
                let groups = pipeline.server.clusterer.is_some();
                pipeline.server.selector = Arc::new(Custom::selector(&name, object, failures, groups)?);
            }
            "server.memory" => {
                let factory = plain(object);
                pipeline.server.memory =
                    Some(Arc::new(move || Ok(Box::new(CustomMemory::new(factory.made("make")?)?))));
            }
            _ => {
                let known = "client.normalizer, client.reducer, client.clusterer, client.upload, client.selector, server.clusterer, \
                             server.selector or server.memory";
                return Err(Error::parameter("stages", known, name));
            }
        }
    }
    pipeline.check()
}
