//! A chat template from outside: compiled and run on a conversation of a few turns.

#![no_main]

use fedhds_core::model::{ChatMessage, ChatTemplate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "fuzz") else { return };
    let turns = [ChatMessage::new("system", "Be brief."), ChatMessage::new("user", "Hi <&> \u{e9}"), ChatMessage::new("assistant", "")];
    for prompt in [false, true] {
        let _ = template.render(&turns, &[("bos_token", "<s>"), ("eos_token", "</s>")], prompt);
    }
});
