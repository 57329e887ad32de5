//! Rouge-L as two Python packages compute it, bit for bit.
//!
//! C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries" (2004). The packages differ so much that their
//! figures must not be compared: say which flavour a table uses.

use super::lcs;
use super::porter::porter_stem;
use crate::error::Result;
use crate::types::Control;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which package's Rouge-L.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RougeFlavor {
    /// Package `rouge` 1.0.1, which the paper used: summary level, over *distinct* words, case and punctuation kept.
    ///
    /// Sentences end at every full stop; the words of a sentence that some sentence of the other text has in a longest
    /// common subsequence count, each once. Blank text after a full stop counts as one (empty) word, and 1e-8 is added to
    /// the denominator of F1, as there. Where that package raises an error (no sentence at all) or exceeds Python's recursion limit
    /// (a pair of sentences of about 1,000 words together), this one scores 0, or the true value.
    #[default]
    Rouge,
    /// Package `rouge_score` 0.1.2, `rougeL` without stemmer: one sequence of lower-case runs of a-z and 0-9.
    RougeScore,
    /// The same with its stemmer: words longer than 3 letters are stemmed by Porter's algorithm with NLTK's extensions.
    RougeScoreStemmed,
}

/// One Rouge-L score.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RougeL {
    /// Share of the hypothesis that is common, in [0, 1].
    pub precision: f64,
    /// Share of the reference that is common, in [0, 1].
    pub recall: f64,
    /// Their harmonic mean, in [0, 1].
    pub f1: f64,
}

/// Rouge-L of a hypothesis against one reference; 0 where either has no word.
pub fn rouge_l(flavor: RougeFlavor, hypothesis: &str, reference: &str) -> RougeL {
    // What nobody can stop ends.
    scored(flavor, hypothesis, reference, &Control::default()).unwrap_or_default()
}

fn scored(flavor: RougeFlavor, hypothesis: &str, reference: &str, control: &Control) -> Result<RougeL> {
    match flavor {
        RougeFlavor::Rouge => summary_level(hypothesis, reference, control),
        RougeFlavor::RougeScore => sequence_level(hypothesis, reference, false, control),
        RougeFlavor::RougeScoreStemmed => sequence_level(hypothesis, reference, true, control),
    }
}

/// The score against the reference that it fits best by F1, the first of equals; 0 where there is no reference.
pub fn rouge_l_best<S: AsRef<str>>(flavor: RougeFlavor, hypothesis: &str, references: &[S]) -> RougeL {
    rouge_l_best_within(flavor, hypothesis, references, &Control::default()).unwrap_or_default()
}

/// [`rouge_l_best`] of texts of any length: time grows with the product of their words.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub fn rouge_l_best_within<S: AsRef<str>>(
    flavor: RougeFlavor,
    hypothesis: &str,
    references: &[S],
    control: &Control,
) -> Result<RougeL> {
    let mut best = None::<RougeL>;
    for reference in references {
        control.check()?;
        let score = scored(flavor, hypothesis, reference.as_ref(), control)?;
        if best.is_none_or(|best| score.f1 > best.f1) {
            best = Some(score);
        }
    }
    Ok(best.unwrap_or_default())
}

/// Numbers in place of words, so that comparing is cheap.
#[derive(Default)]
struct Words<'a>(BTreeMap<&'a str, usize>);

impl<'a> Words<'a> {
    fn number(&mut self, word: &'a str) -> usize {
        let next = self.0.len();
        *self.0.entry(word).or_insert(next)
    }
}

fn summary_level(hypothesis: &str, reference: &str, control: &Control) -> Result<RougeL> {
    let mut words = Words::default();
    let hypothesis = sentences(hypothesis, &mut words);
    let reference = sentences(reference, &mut words);
    if hypothesis.is_empty() || reference.is_empty() {
        return Ok(RougeL::default());
    }
    let mut union = BTreeSet::new();
    for expected in &reference {
        for got in &hypothesis {
            union.extend(lcs::common(expected, got, control)?);
        }
    }
    let distinct = |sentences: &[Vec<usize>]| sentences.iter().flatten().collect::<BTreeSet<_>>().len() as f64;
    let recall = union.len() as f64 / distinct(&reference);
    let precision = union.len() as f64 / distinct(&hypothesis);
    let f1 = 2.0 * ((precision * recall) / (precision + recall + 1e-8));
    Ok(RougeL { precision, recall, f1 })
}

/// Sentences as the package cuts them. `str.split` of Python takes four separators for white space that Unicode does not.
fn sentences<'a>(text: &'a str, words: &mut Words<'a>) -> Vec<Vec<usize>> {
    let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let mut sentences = Vec::new();
    for sentence in text.split('.').filter(|sentence| !sentence.is_empty()) {
        let mut numbers: Vec<usize> =
            sentence.split(blank).filter(|word| !word.is_empty()).map(|word| words.number(word)).collect();
        if numbers.is_empty() {
            numbers.push(words.number(""));
        }
        sentences.push(numbers);
    }
    sentences
}

fn sequence_level(hypothesis: &str, reference: &str, stem: bool, control: &Control) -> Result<RougeL> {
    let (hypothesis, reference) = (tokens(hypothesis, stem), tokens(reference, stem));
    if hypothesis.is_empty() || reference.is_empty() {
        return Ok(RougeL::default());
    }
    let mut words = Words::default();
    let expected: Vec<usize> = reference.iter().map(|word| words.number(word)).collect();
    let got: Vec<usize> = hypothesis.iter().map(|word| words.number(word)).collect();
    let common = lcs::length(&expected, &got, control)? as f64;
    let precision = common / got.len() as f64;
    let recall = common / expected.len() as f64;
    let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    Ok(RougeL { precision, recall, f1 })
}

fn tokens(text: &str, stem: bool) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| if stem && word.len() > 3 { porter_stem(word) } else { word.into() }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Deserialize)]
    struct Case {
        hypothesis: String,
        reference: String,
        /// Precision, recall, F1; none where the package raises an error.
        rouge: Option<[f64; 3]>,
        rouge_score: [f64; 3],
        rouge_score_stemmed: [f64; 3],
    }

    fn triple(flavor: RougeFlavor, case: &Case) -> [f64; 3] {
        let RougeL { precision, recall, f1 } = rouge_l(flavor, &case.hypothesis, &case.reference);
        [precision, recall, f1]
    }

    #[test]
    fn scores_equal_both_packages() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/fixtures/rouge/scores.json")).unwrap();
        assert!(cases.len() > 200);
        for case in &cases {
            let told = format!("{:?} / {:?}", case.hypothesis, case.reference);
            assert_eq!(triple(RougeFlavor::Rouge, case), case.rouge.unwrap_or_default(), "{told}");
            assert_eq!(triple(RougeFlavor::RougeScore, case), case.rouge_score, "{told}");
            assert_eq!(triple(RougeFlavor::RougeScoreStemmed, case), case.rouge_score_stemmed, "{told}");
        }
    }

    #[test]
    fn long_sentences_are_scored() {
        let long = "word and other ".repeat(800);
        let score = rouge_l(RougeFlavor::Rouge, &long, &long);
        assert_eq!((score.precision, score.recall), (1.0, 1.0));
    }

    #[test]
    fn texts_of_sixty_thousand_words_are_scored() {
        let text = |step: usize| (0..60_000).map(|i| format!("w{} ", i * step % 5_003)).collect::<String>();
        for flavor in [RougeFlavor::Rouge, RougeFlavor::RougeScore] {
            let score = rouge_l(flavor, &text(3), &text(5));
            assert!(score.f1 > 0.0 && score.f1 < 1.0, "{flavor:?}: {score:?}");
        }
    }

    #[test]
    fn the_best_reference_counts() {
        let best = rouge_l_best(RougeFlavor::RougeScore, "a b", &["x", "a b c", "a"]);
        assert_eq!(best, rouge_l(RougeFlavor::RougeScore, "a b", "a b c"));
        assert_eq!(rouge_l_best::<&str>(RougeFlavor::Rouge, "a", &[]).f1, 0.0);
    }

    proptest! {
        #[test]
        fn scores_lie_between_0_and_1_and_are_whole_for_equal_texts(a in "\\PC{0,40}", b in "[a-d. ]{0,40}", c in "[a-d. ]{0,40}") {
            for flavor in [RougeFlavor::Rouge, RougeFlavor::RougeScore, RougeFlavor::RougeScoreStemmed] {
                for (x, y) in [(&a, &b), (&b, &c), (&b, &b)] {
                    let score = rouge_l(flavor, x, y);
                    let back = rouge_l(flavor, y, x);
                    for value in [score.precision, score.recall, score.f1] {
                        prop_assert!((0.0..=1.0).contains(&value));
                    }
                    if flavor != RougeFlavor::Rouge {
                        prop_assert_eq!(score.precision, back.recall);
                    }
                }
                let same = rouge_l(flavor, &b, &b);
                prop_assert!(same.f1 == 0.0 || same.f1 > 0.999_999);
            }
        }
    }
}
