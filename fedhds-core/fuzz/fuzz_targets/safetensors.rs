//! A safetensors file from outside: the index and every tensor, as the loader goes through them.

#![no_main]

use fedhds_core::model::{SafetensorsFolder, WeightSource};
use libfuzzer_sys::fuzz_target;
use std::cell::LazyCell;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a folder"));
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        std::fs::write(folder.path().join("model.safetensors"), bytes).expect("a file");
        let Ok(weights) = SafetensorsFolder::open(folder.path()) else { return };
        for name in weights.names() {
            let _ = weights.tensor(&name);
        }
    });
});
