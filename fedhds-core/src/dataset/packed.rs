//! Packed files, read as what is in them: gzip and Zstandard, known by their first bytes whatever their names are.

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, copy, sink};

/// Something to read from, as a source gives it.
pub(super) type Bytes<'a> = Box<dyn BufRead + Send + 'a>;

/// What is in a packed file; another file as it is.
pub(super) fn unpacked(mut file: Bytes<'_>) -> Result<Bytes<'_>> {
    let start = file.fill_buf()?;
    Ok(if start.starts_with(b"\x1f\x8b") {
        Box::new(BufReader::new(Named { kind: "gzip", inner: MultiGzDecoder::new(file) }))
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") || matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        let inner = Zstd { frames: FrameDecoder::new(), within: false, file };
        Box::new(BufReader::new(Named { kind: "Zstandard", inner }))
    } else {
        file
    })
}

/// Says of an error what was being unpacked.
struct Named<R> {
    kind: &'static str,
    inner: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.inner.read(buffer).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => error,
            kind => Error::new(kind, format!("expected a whole {} file: {error}", self.kind)),
        })
    }
}

/// Every frame of a Zstandard file: programs that pack on many threads, and `cat`, write more than one.
struct Zstd<R> {
    frames: FrameDecoder,
    /// Whether a frame was begun and is not read to its end.
    within: bool,
    file: R,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            while self.within {
                if self.frames.can_collect() > 0 {
                    return self.frames.read(buffer);
                }
                if self.frames.is_finished() {
                    self.within = false;
                    let (told, found) = (self.frames.get_checksum_from_data(), self.frames.get_calculated_checksum());
                    if told.is_some() && told != found {
                        return Err(Error::new(ErrorKind::InvalidData, "its checksum is another one"));
                    }
                } else {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    self.frames.decode_blocks(&mut self.file, one).map_err(broken)?;
                }
            }
            if self.file.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.frames.reset(&mut self.file) {
                Ok(()) => self.within = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    copy(&mut self.file.by_ref().take(length.into()), &mut sink())?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

fn broken(error: FrameDecoderError) -> Error {
    Error::new(ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        unpacked(Box::new(bytes))?.read_to_end(&mut all)?;
        Ok(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Any text, packed in one part or in several.
        #[test]
        fn what_was_packed_comes_out(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..4)) {
            let whole = parts.concat();
            for pack in [gzip, zstd] {
                let packed: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
                prop_assert_eq!(&read(&packed).unwrap(), &whole);
            }
            // A frame that is to be skipped stands before and between those of text.
            let skipped = b"\x53\x2a\x4d\x18\x03\x00\x00\x00abc";
            let packed = [&skipped[..], &zstd(&whole), skipped, &zstd(b"z")].concat();
            prop_assert_eq!(read(&packed).unwrap(), [&whole[..], b"z"].concat());
        }

        /// A part of a file is never taken for all of it, and damage is no panic.
        #[test]
        fn half_a_file_is_an_error(
            text in prop::collection::vec(any::<u8>(), 1..3000),
            cut in any::<prop::sample::Index>(),
            edit in any::<(prop::sample::Index, u8)>(),
        ) {
            for (pack, kind) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "Zstandard")] {
                let mut packed = pack(&text);
                let part = &packed[..4 + cut.index(packed.len() - 4)];
                let error = read(part).unwrap_err().to_string();
                prop_assert!(error.contains(kind), "{}", error);
                let at = edit.0.index(packed.len());
                packed[at] = edit.1;
                let _ = read(&packed);
            }
        }
    }

    #[test]
    fn other_files_are_left_as_they_are() {
        assert_eq!(read(b"{\"a\": 1}").unwrap(), b"{\"a\": 1}");
        assert_eq!(read(b"").unwrap(), b"");
    }
}
