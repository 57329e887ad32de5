//! What text features and near copies share: letters without case, and a hash with the same bits on every machine.

/// The two halves of `a * b`, folded: one multiplication carries every bit of both into every bit of the hash.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Hands on the characters of a word, lower-cased one by one (Unicode's mapping; a final sigma is a sigma), as their code points: below
/// 2^21.
pub(super) fn codes(word: &str, mut take: impl FnMut(u64)) {
    if word.is_ascii() {
        word.bytes().for_each(|byte| take(u64::from(byte.to_ascii_lowercase())));
        return;
    }
    for character in word.chars().flat_map(char::to_lowercase) {
        take(u64::from(u32::from(if character == 'ς' { 'σ' } else { character })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_goes_and_nothing_else() {
        let read = |word: &str| {
            let mut found = String::new();
            codes(word, |code| found.extend(char::from_u32(code as u32)));
            found
        };
        for (word, lower) in
            [("Fox-7", "fox-7"), ("ÄÖß", "äöß"), ("ΣΟΦΟΣ", "σοφοσ"), ("σοφος", "σοφοσ"), ("猫🦊", "猫🦊")]
        {
            assert_eq!(read(word), lower);
        }
    }
}
