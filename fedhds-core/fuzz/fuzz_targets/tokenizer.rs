//! A tokenizer.json and a tokenizer_config.json from outside, as the loader goes through them, and a text encoded and decoded. The first byte says where one
//! file ends and the other begins.

#![no_main]

use fedhds_core::model::{ChatMessage, Tokenizer};
use libfuzzer_sys::fuzz_target;
use std::cell::LazyCell;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a folder"));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (json, config) = rest.split_at(rest.len() * usize::from(cut) / 255);
    FOLDER.with(|folder| {
        std::fs::write(folder.path().join("tokenizer.json"), json).expect("a file");
        std::fs::write(folder.path().join("tokenizer_config.json"), config).expect("a file");
        let Ok(tokenizer) = Tokenizer::from_folder(folder.path()) else { return };
        if let Ok(ids) = tokenizer.encode("Hi, a b\u{e9} \u{1f600}\n", true) {
            let _ = tokenizer.decode(&ids, false);
        }
        let _ = tokenizer.encode_prompt("a b");
        let _ = tokenizer.apply_chat_template(&[ChatMessage::new("user", "a")], true);
    });
});
