//! Records of one client that say the same: copies that differ in blanks, case, punctuation, or in template wording.

use super::normal_form::{NormalForm, Word};
use super::words::mix;
use crate::cluster::DisjointSets;
use crate::error::{Error, Result};
use crate::loops;
use crate::protocol::MAX_RECORDS;
use crate::types::range::within;
use crate::types::{Control, Record};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// An odd number without pattern (the golden ratio's digits).
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
/// Records that one task reads.
const RECORDS: usize = 64;

/// What still counts as a copy. Compared are normal forms: words without case and without punctuation around them, and without template
/// words at the ends of instruction and input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearCopiesConfig {
    /// Words in all that a template may add before and behind an instruction, from 0 to 16, and never more than the instruction's own.
    /// Default 6.
    pub extra_words: usize,
    /// Words that say nothing at the ends of an instruction or an input, each a word without blanks. Default: `please`, `kindly`,
    /// `question`, `task`, `instruction`, `prompt`, `input`, `output`, `answer`, `response`, `thanks`.
    pub template_words: Vec<String>,
}

impl Default for NearCopiesConfig {
    fn default() -> Self {
        let words = "please kindly question task instruction prompt input output answer response thanks";
        Self { extra_words: 6, template_words: words.split(' ').map(String::from).collect() }
    }
}

impl NearCopiesConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        within("extra_words", self.extra_words, 0..=16)?;
        match self.template_words.iter().find(|word| NormalForm::words(word).len() != 1) {
            None => Ok(()),
            Some(word) => Err(Error::parameter("template_words", "words without blanks", format!("`{word}`"))),
        }
    }
}

/// Finds near copies in records that come one by one. Of each it keeps a few hashes, at most 300 bytes with the default settings, and no
/// text.
///
/// Two records are near copies if their first responses have the same normal form, and
///
/// 1. so have their questions (instruction and input, as one text); or
/// 2. the instruction of one is that of the other with at most `extra_words` words before and behind it, and their inputs are the same; or
/// 3. both have the same input, not an empty one, and the same instruction behind a lead-in (`Here is a task for you: ...`): a first
///    sentence, label or line of at most `extra_words` words, fewer than follow it.
///
/// A word that is another one makes another question, however many words are the same: this is no measure of likeness with a threshold
/// (docs/text_features.md has what such a threshold costs). A copy of a copy is a copy.
///
/// ```
/// use fedhds_core::features::{NearCopies, NearCopiesConfig};
///
/// let mut copies = NearCopies::new(NearCopiesConfig::default())?;
/// copies.add("Name the sound of this animal.", "cow", "moo");
/// copies.add("Name the sound of this animal.", "sheep", "baa");
/// copies.add("Please: name the  sound of this animal", "Cow", "Moo.");
/// assert_eq!(copies.groups()?, [0, 1, 0]);
/// # Ok::<(), fedhds_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NearCopies {
    normal: NormalForm,
    extra_words: usize,
    signatures: Vec<Signature>,
}

/// What is kept of a record: hashes of its question, each with the response.
#[derive(Debug, Clone, Default)]
struct Signature {
    /// The whole question.
    whole: u64,
    /// The question without some words before and behind: equal to another record's whole where those are a template's.
    cut: Box<[u64]>,
    /// The question without its lead-in, where there is one and the input says what is asked: may equal another record's.
    core: Option<u64>,
}

impl NearCopies {
    /// # Errors
    /// [`Error::Parameter`], see [`NearCopiesConfig::check`].
    pub fn new(config: NearCopiesConfig) -> Result<Self> {
        config.check()?;
        let normal = NormalForm::new(&config.template_words);
        Ok(Self { normal, extra_words: config.extra_words, signatures: Vec::new() })
    }

    /// Takes in a record; `response` is the one that training uses.
    pub fn add(&mut self, instruction: &str, input: &str, response: &str) {
        self.signatures.push(self.signature(instruction, input, response));
    }

    /// Records that came so far.
    pub fn len(&self) -> usize {
        self.signatures.len()
    }

    /// Whether none came.
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    fn signature(&self, instruction: &str, input: &str, response: &str) -> Signature {
        let instruction = NormalForm::words(instruction);
        let (instruction, input) = (self.normal.core(&instruction), NormalForm::words(input));
        let input = self.normal.core(&input);
        let response = hash(ODD, &NormalForm::words(response));
        let question = |words: &[Word]| mix(hash(hash(ODD, words), input) ^ response, ODD);
        let most = self.extra_words.min(instruction.len() / 2);
        let kept = |front, back| question(instruction.get(front..instruction.len() - back).unwrap_or_default());
        let cut = (1..=most).flat_map(|extra| (0..=extra).map(move |front| (front, extra - front)));
        let cut = cut.map(|(front, back)| kept(front, back)).collect();
        // What is left must be more than what goes: else the question could pass for the closing of its template.
        let lead_in = lead_in(instruction);
        let tells = !input.is_empty() && (1..=most).contains(&lead_in) && lead_in < instruction.len() - lead_in;
        Signature { whole: question(instruction), cut, core: tells.then(|| kept(lead_in, 0)) }
    }

    /// A number for each record, `[n]`, in the order in which they came: near copies have the same one. Numbers are dense, in the order of
    /// the first record of each group. Time and memory are in proportion to the number of records.
    ///
    /// # Errors
    /// [`Error::Input`] for more records than a client may hold, [`MAX_RECORDS`].
    pub fn groups(&self) -> Result<Vec<usize>> {
        let n = self.len();
        if n > MAX_RECORDS {
            return Err(Error::input("records", format!("at most {MAX_RECORDS}"), n));
        }
        let mut sets = DisjointSets::new(n);
        let mut wholes: HashMap<u64, u32> = HashMap::with_capacity(n);
        for (i, signature) in (0..).zip(&self.signatures) {
            let first = *wholes.entry(signature.whole).or_insert(i);
            sets.union(first, i);
        }
        let mut cores: HashMap<u64, u32> = HashMap::new();
        for (i, signature) in (0..).zip(&self.signatures) {
            for whole in signature.cut.iter().filter_map(|cut| wholes.get(cut)) {
                sets.union(*whole, i);
            }
            if let Some(core) = signature.core {
                sets.union(*cores.entry(core).or_insert(i), i);
            }
        }
        let mut numbers: HashMap<u32, usize> = HashMap::new();
        let number = |i| {
            let next = numbers.len();
            *numbers.entry(sets.find(i)).or_insert(next)
        };
        Ok((0..n as u32).map(number).collect())
    }
}

/// The [`groups`](NearCopies::groups) of records, by instruction, input and first response, `[n]`.
///
/// # Errors
/// [`Error::Parameter`], see [`NearCopiesConfig::check`]; [`Error::Input`] as of [`NearCopies::groups`]; [`Error::Cancelled`].
pub fn near_copies(records: &[Record], config: NearCopiesConfig, control: &Control) -> Result<Vec<usize>> {
    let mut copies = NearCopies::new(config)?;
    copies.signatures = loops::try_map(records.len(), RECORDS, |i| {
        control.check()?;
        Ok(records.get(i).map(|r| copies.signature(&r.instruction, &r.input, r.response())).unwrap_or_default())
    })?;
    copies.groups()
}

/// Goes on from `start` with these words.
fn hash(start: u64, words: &[Word]) -> u64 {
    words.iter().fold(start, |hash, word| mix(hash ^ word.hash, ODD))
}

/// Words of the first sentence, line or label; 0 where there is only one.
fn lead_in(words: &[Word]) -> usize {
    words
        .iter()
        .position(|word| word.ends)
        .map(|last| last + 1)
        .filter(|&first| first < words.len())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "near_copies_tests.rs"]
mod tests;
