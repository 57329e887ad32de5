//! What is left of a text where only its words count.

use super::words::{codes, mix};
use crate::sorting;

/// An odd number without pattern (the digits of the square root of 2).
const ODD: u64 = 0xB504_F333_F9DE_6485;

/// Punctuation around a word; operators (`+`, `-`, `%`, `=`) are words or parts of them.
const AROUND: &[char] = &[
    '.', ',', ';', ':', '!', '?', '"', '\'', '`', '(', ')', '[', ']', '{', '}', '…', '‘', '’', '“', '”', '«', '»', '–',
    '—', '¿', '¡', '、', '。', '，', '：', '；', '！', '？', '「', '」',
];
/// What ends a sentence or a label.
const ENDS: &[char] = &['.', ':', ';', '!', '?', '…', '。', '：', '；', '！', '？'];

/// A word without case and punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub hash: u64,
    /// Whether a sentence, a label (`Question:`) or a line ends behind it.
    pub ends: bool,
}

/// Template words, by their hashes in ascending order.
#[derive(Debug, Clone)]
pub(super) struct NormalForm {
    template: Vec<u64>,
}

impl NormalForm {
    pub(super) fn new(template_words: &[String]) -> Self {
        let mut template: Vec<u64> =
            template_words.iter().flat_map(|word| Self::words(word)).map(|word| word.hash).collect();
        sorting::sort(&mut template);
        Self { template }
    }

    /// The words of a text. A text of nothing but punctuation is one word as it is: `!` is no copy of `?`.
    pub(super) fn words(text: &str) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        for line in text.lines() {
            let before = words.len();
            for run in line.split_whitespace() {
                let word = run.trim_matches(AROUND);
                if !word.is_empty() && !decoration(word) {
                    words.push(Word { hash: hash(word), ends: false });
                }
                let closes = run.trim_end_matches(AROUND).len();
                let ends = run.get(closes..).is_some_and(|behind| behind.contains(ENDS));
                if let Some(last) = words.last_mut() {
                    last.ends |= ends;
                }
            }
            if let Some(last) = words.get_mut(before..).and_then(<[Word]>::last_mut) {
                last.ends = true;
            }
        }
        if words.is_empty() && !text.trim().is_empty() {
            words.push(Word { hash: !hash(text.trim()), ends: true });
        }
        words
    }

    /// The words without template words at both ends; all of them where nothing else would be left.
    pub(super) fn core<'a>(&self, words: &'a [Word]) -> &'a [Word] {
        let says = |word: &Word| self.template.binary_search(&word.hash).is_err();
        match (words.iter().position(says), words.iter().rposition(says)) {
            (Some(first), Some(last)) => words.get(first..=last).unwrap_or(words),
            _ => words,
        }
    }
}

/// Headings and rules of markup: `###`, `---`.
fn decoration(word: &str) -> bool {
    let only = |character| word.chars().all(|c| c == character);
    only('#') || word.len() > 1 && (only('-') || only('_'))
}

fn hash(word: &str) -> u64 {
    let mut hash = ODD;
    codes(word, |code| hash = mix(hash ^ code, ODD));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(a: &str, b: &str) -> bool {
        let hashes = |text| NormalForm::words(text).iter().map(|word| word.hash).collect::<Vec<_>>();
        hashes(a) == hashes(b)
    }

    #[test]
    fn words_count_and_what_is_around_them_does_not() {
        assert!(equal("Name the sound.", " name  THE\nsound"));
        assert!(equal("cat, dog", "cat dog"));
        assert!(equal("### Task:\n\"Go!\"", "task go ---"));
        assert!(equal("", " \n "));
        for (a, b) in [
            ("7 - 3", "7 + 3"),
            ("-5", "5"),
            ("1.5", "15"),
            ("1 2", "12"),
            ("C", "C#"),
            ("!", "?"),
            ("!", ""),
            ("don't", "don t"),
            ("a b", "b a"),
            ("5%", "5"),
        ] {
            assert!(!equal(a, b), "`{a}` and `{b}`");
        }
    }

    #[test]
    fn sentences_end_at_points_colons_and_lines() {
        let ends = |text| NormalForm::words(text).iter().map(|word| word.ends).collect::<Vec<_>>();
        assert_eq!(ends("Please: say it. Now"), [true, false, true, true]);
        assert_eq!(ends("one (two.) three,\nfour"), [false, true, true, true]);
        assert_eq!(ends("version 1.5 of it :"), [false, false, false, true]);
    }

    #[test]
    fn template_words_go_from_the_ends() {
        let normal = NormalForm::new(&["please".into(), "answer".into()]);
        let core = |text| normal.core(&NormalForm::words(text)).len();
        assert_eq!(core("Please, please name the answer of it. Answer:"), 5);
        assert_eq!(core("answer"), 1);
        assert_eq!(core(""), 0);
    }
}
