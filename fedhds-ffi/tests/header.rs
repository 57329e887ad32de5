//! The committed header is the one that the sources give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

/// `FEDHDS_WRITE_HEADER=1 cargo test --workspace --test header` writes it anew.
#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(root).with_config(config).generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = root.join("include/fedhds.h");
    if std::env::var_os("FEDHDS_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if made != committed {
        let first = made.lines().zip(committed.lines()).position(|(a, b)| a != b).unwrap_or_default();
        panic!(
            "include/fedhds.h differs from the sources from line {}: write it with FEDHDS_WRITE_HEADER=1",
            first + 1
        );
    }
}
