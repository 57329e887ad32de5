//! An adapter from outside: settings and tensors. The first byte says where one ends and the other begins.

#![no_main]

use fedhds_core::train::adapter_config::AdapterFileConfig;
use fedhds_core::train::adapter_file::{from_bytes, to_bytes};
use fedhds_core::types::AdapterConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (json, tensors) = rest.split_at(rest.len() * usize::from(cut) / 255);
    let config = std::str::from_utf8(json).ok().and_then(|text| AdapterFileConfig::from_json("fuzz", text).ok());
    let config = config.map_or_else(|| AdapterConfig { r: 2, ..AdapterConfig::default() }, |config| config.adapter);
    if let Ok(adapter) = from_bytes(tensors, &config) {
        let again = to_bytes(&adapter).expect("what was read can be written");
        let back = from_bytes(&again, &config).expect("and read again");
        assert_eq!(back.tensors.len(), adapter.tensors.len());
    }
});
