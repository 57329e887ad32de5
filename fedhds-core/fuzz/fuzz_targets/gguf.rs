//! A GGUF file from outside: header, settings, tokenizer and every tensor, as the loader goes through them.

#![no_main]

use fedhds_core::model::WeightSource;
use fedhds_core::model::gguf::GgufFile;
use libfuzzer_sys::fuzz_target;
use std::cell::LazyCell;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a folder"));
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).expect("a file");
        let Ok(file) = GgufFile::open(&path) else { return };
        let _ = file.config_json();
        let _ = file.tokenizer();
        for name in file.names() {
            let _ = file.tensor(&name);
        }
    });
});
