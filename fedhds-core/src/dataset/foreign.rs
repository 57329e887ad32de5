//! Files that are often taken for text, by how they begin, and what to do with them.

/// First bytes, and what a file is that has them.
const STARTS: [(&[u8], &str); 13] = [
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file: unpack it first"),
    (b"PK\x03\x04", "a zip file (or an office document): unpack or export it first"),
    (b"PAR1", "a Parquet file: export it as CSV or JSON lines first"),
    (b"ARROW1\x00\x00", "an Arrow file: export it as CSV or JSON lines first"),
    (b"SQLite format 3\x00", "an SQLite data base: export it as CSV or JSON lines first"),
    (b"\x89HDF", "an HDF5 file: export it as CSV or JSON lines first"),
    (b"%PDF-", "a PDF document"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, which stands for the file: get the file itself, for example with `git lfs pull`",
    ),
];

const UTF_16: &str = "UTF-16: save it as UTF-8";

/// What a file that begins with these bytes is in place of text in UTF-8; none where it may be that.
pub fn foreign(start: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = STARTS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(what);
    }
    if matches!(start, [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]) {
        return Some("a bzip2 file: unpack it first");
    }
    // Every other byte of Latin letters.
    if matches!(start, [_, 0, _, 0, ..] | [0, _, 0, _, ..]) {
        return Some(UTF_16);
    }
    let words = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    let page = [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|page| words.get(..page.len()).is_some_and(|words| words.eq_ignore_ascii_case(page)));
    page.then_some("a web page: what was downloaded is not the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_known_by_its_beginning() {
        for (start, word) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"[..], "Git LFS"),
            (b"BZh91AY&SY", "bzip2"),
            (b"{\0\"\0a\0", "UTF-16"),
            (b"\0{\0\"\0a", "UTF-16"),
            (b"\n <!DOCTYPE HTML><html>", "web page"),
            (b"<html lang=\"en\">", "web page"),
        ] {
            assert!(foreign(start).is_some_and(|what| what.contains(word)), "{word}");
        }
        for start in [&b"BZhours,response"[..], b"version,response", b"<htm", b"{\"a\": 1}", b"", b"a", b"\0\0\0\0"] {
            assert_eq!(foreign(start).is_some(), start.starts_with(b"\0"), "{start:?}");
        }
    }
}
