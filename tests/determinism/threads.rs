//! The number of threads is fixed when a process starts its pool: a test runs itself in processes of 1, 2 and 3 threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

/// FNV-1a over bytes.
pub fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether `bits` gives one text at any number of threads; `test` is the full name of the test that calls this.
pub fn check(test: &str, bits: impl Fn() -> String) {
    if std::env::var_os("FEDHDS_PRINT_BITS").is_some() {
        println!("bits {}", bits());
        return;
    }
    let run = |threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("FEDHDS_PRINT_BITS", "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let at = text.find("bits ").unwrap_or_else(|| panic!("{text}"));
        text[at + 5..].lines().next().unwrap_or_default().to_string()
    };
    let one = run("1");
    assert!(one.split_whitespace().all(|part| part.len() == 16) && !one.is_empty(), "{one}");
    assert_eq!(run("2"), one);
    assert_eq!(run("3"), one);
}
