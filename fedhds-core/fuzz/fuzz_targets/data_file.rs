//! A data file from outside: guessed and read as every format that is one file (CSV, TSV, chat, JSONL, Dolly, Alpaca; plain, gzip or Zstandard), strictly
//! and with what cannot be used left out. The first byte says what the file is called, and so what its ending is.

#![no_main]

use fedhds_core::dataset::{BadRecord, BlankResponse, Format, GUESS, LoadOptions, ReadFrom, Source, foreign, load};
use fedhds_core::types::Control;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const NAMES: [&str; 8] = ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a", "a.jsonl.gz", "a.csv.zst"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&name, bytes)) = bytes.split_first() else { return };
    let name = Path::new(NAMES[usize::from(name) % NAMES.len()]);
    let source = Source::Content { name, bytes };
    let _ = foreign(bytes);
    let control = Control::default();
    let strict = LoadOptions { keep_text: true, ..LoadOptions::default() };
    let lenient = LoadOptions { bad_record: BadRecord::Skip, blank_response: BlankResponse::Skip, ..LoadOptions::default() };
    for options in [&strict, &lenient] {
        if let Ok(loaded) = load(source, GUESS, options, &control) {
            assert_eq!(loaded.dataset.records.len(), loaded.origins.len());
        }
        for format in Format::ALL.iter().filter(|format| format.read_from() == ReadFrom::File) {
            if let Ok(loaded) = format.load(source, options, &control) {
                assert_eq!(loaded.dataset.records.len(), loaded.origins.len());
                assert!(loaded.origins.iter().all(|origin| !options.keep_text || origin.text.is_some()));
            }
        }
    }
});
