//! What a client or server keeps, as bytes for another process to go on from: a head that says what it is, the BLAKE3 of what follows, then
//! postcard.
//!
//! Binary, since text has no NaN, which scores may hold, and an aggregator's state is large.

use crate::error::{Error, Result};
use crate::types::RunIdentity;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A state's head and body.
pub(crate) fn write(what: &str, head: &[u8], state: &impl Serialize) -> Result<Vec<u8>> {
    let body = postcard::to_stdvec(state).map_err(|e| Error::input(what, "one that can be written", e))?;
    Ok([head, blake3::hash(&body).as_bytes(), &body].concat())
}

/// The state of bytes that [`write()`] gave.
///
/// # Errors
/// [`Error::Protocol`] for other bytes, damaged ones among them.
pub(crate) fn read<T: DeserializeOwned>(what: &str, head: &[u8], bytes: &[u8]) -> Result<T> {
    let wrong = |got: String| Error::protocol(what, "what this release saved", got);
    let body = bytes.strip_prefix(head).ok_or_else(|| wrong(format!("{} other bytes", bytes.len())))?;
    let (sum, body) = body.split_at_checked(blake3::OUT_LEN).ok_or_else(|| wrong("a part of it".into()))?;
    if blake3::hash(body).as_bytes() != sum {
        return Err(wrong("damaged bytes, whose checksum is another".into()));
    }
    match postcard::take_from_bytes(body) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(wrong(format!("{} bytes more", rest.len()))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Whether a state is of what goes on from it. What nobody named is not compared.
///
/// # Errors
/// [`Error::Protocol`] that names what differs.
pub(crate) fn check_identity(what: &str, own: &RunIdentity, saved: &RunIdentity) -> Result<()> {
    if own.is_empty() || saved.is_empty() {
        return Ok(());
    }
    match own.difference(saved) {
        None => Ok(()),
        Some(difference) => Err(Error::protocol(
            what,
            "the state of the same method, seed and settings",
            format!("another: {difference}"),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_refused() {
        let bytes = write("numbers", b"numbers 1\n", &vec![1u32, 2]).unwrap();
        assert_eq!(read::<Vec<u32>>("numbers", b"numbers 1\n", &bytes).unwrap(), [1, 2]);
        let longer = [&bytes[..], b"x"].concat();
        let others: [(&[u8], &str); 3] =
            [(&bytes[1..], "other bytes"), (b"", "0 other bytes"), (&longer, "damaged bytes")];
        for (bytes, word) in others {
            let error = read::<Vec<u32>>("numbers", b"numbers 1\n", bytes).unwrap_err().to_string();
            assert!(error.contains("numbers") && error.contains(word), "{error}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(read::<Vec<u32>>("numbers", b"numbers 1\n", &flipped).is_err(), "byte {at}");
            assert!(read::<Vec<u32>>("numbers", b"numbers 1\n", &bytes[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn what_differs_is_named_and_what_nobody_named_is_not_compared() {
        let mut own = RunIdentity::default();
        own.set("seed", 1);
        let mut other = own.clone();
        check_identity("state", &own, &other).unwrap();
        other.set("seed", 2);
        let error = check_identity("state", &own, &other).unwrap_err().to_string();
        assert!(error.contains("`seed`: this run has `1`, the saved one `2`"), "{error}");
        check_identity("state", &own, &RunIdentity::default()).unwrap();
    }
}
