//! One record's row of text features.

use super::text_config::TextFeaturesConfig;
use super::words::{codes, mix};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Columns that one n-gram is written to.
const SIGNS: usize = 4;
/// Different n-grams that a row has room for from the start: 36 kB.
const ROOM: usize = 3500;
/// An odd number without pattern (the golden ratio's digits).
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Makes rows of text features one by one, in memory that does not grow with the number of texts.
///
/// For the instruction `a` and the rest `b` (input and response) of a record, the row is
///
/// ```text
/// v = unit(P1 h(a) + P2 h(b))
/// ```
///
/// `h(t)` has a 1 for every different n-gram of `t`, and 0 for all others. A word is a run of characters that are not blanks
/// (Unicode's White_Space), lower-cased, with one blank before and one behind it; the n-grams are the runs of 3 and of 4 characters
/// (not bytes) of each word, scikit-learn's `char_wb` with `ngram_range=(3, 4)` and `binary=True`. How often an n-gram occurs does
/// not count.
///
/// `P` is a sparse Johnson-Lindenstrauss map (Kane and Nelson 2014, the block construction): the columns are four equal blocks, and the
/// n-gram's 64-bit hash says for each the column and the sign of a 1. Dot products are kept without bias; that of two rows has a
/// standard deviation of about `1 / sqrt(dims)`. The hash has a key of its own for each part, so that an n-gram of the instruction is
/// another than the same one in the input.
///
/// Sums are of whole numbers, and every later operation is one that all machines round alike. While a row is made it takes at most about
/// 20 bytes for each different n-gram of the record, and 36 kB.
///
/// ```
/// use fedhds_core::features::{TextFeaturesConfig, TextHasher};
///
/// let hasher = TextHasher::new(&TextFeaturesConfig::default())?;
/// let (mut one, mut other) = (vec![0.0; 128], vec![0.0; 128]);
/// hasher.row("Name the sound that this animal makes.", &["a cow", "moo"], &mut one)?;
/// hasher.row("name the sound that this  animal makes", &["a cow", "Moo"], &mut other)?;
/// let cosine: f32 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
/// assert!(cosine > 0.9);
/// # Ok::<(), fedhds_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TextHasher {
    /// Where each block of columns begins, and the end of the last.
    starts: [usize; SIGNS + 1],
    instruction: Key,
    rest: Key,
}

/// The key of the hash of one part of a record.
#[derive(Debug, Clone, Copy)]
struct Key(u64, u64);

impl Key {
    /// Of three code points, and the fourth where there is one.
    fn hash(self, three: u64, fourth: Option<u64>) -> u64 {
        let fourth = fourth.map_or(0, |code| code | (1 << 32));
        mix(mix(three ^ self.0, fourth ^ self.1), ODD)
    }
}

impl TextHasher {
    /// # Errors
    /// [`Error::Parameter`], see [`TextFeaturesConfig::check`].
    pub fn new(config: &TextFeaturesConfig) -> Result<Self> {
        config.check()?;
        let key = |part| {
            let seed = config.seed.derive("text features", part);
            Key(seed.derive("key", 0).0, seed.derive("key", 1).0)
        };
        Ok(Self { starts: std::array::from_fn(|block| block * config.dims / SIGNS), instruction: key(0), rest: key(1) })
    }

    /// Columns of a row.
    pub fn dims(&self) -> usize {
        self.starts[SIGNS]
    }

    /// Writes the row of a record with this instruction; `rest` is its input and response, as if they stood in one text with a blank
    /// between. Length 1, or all 0 where there is no word.
    ///
    /// # Errors
    /// [`Error::Input`] where `row` has not [`dims`](Self::dims) values.
    pub fn row(&self, instruction: &str, rest: &[&str], row: &mut [f32]) -> Result<()> {
        if row.len() != self.dims() {
            return Err(Error::input("row of text features", format!("{} values", self.dims()), row.len()));
        }
        // Room at once for what most records have: growing step by step takes a third of the time.
        let ngrams = 2 * (instruction.len() + rest.iter().map(|text| text.len()).sum::<usize>());
        let seen = HashSet::with_capacity_and_hasher(ngrams.min(ROOM), BuildHasherDefault::default());
        let mut sums = Sums { starts: self.starts, seen, values: vec![0; row.len()] };
        sums.add(self.instruction, instruction);
        rest.iter().for_each(|text| sums.add(self.rest, text));
        let squares: f64 = sums.values.iter().map(|&sum| (sum as f64).powi(2)).sum();
        let scale = if squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
        row.iter_mut().zip(sums.values).for_each(|(value, sum)| *value = (sum as f64 * scale) as f32);
        Ok(())
    }
}

/// What a row adds up to so far.
struct Sums {
    starts: [usize; SIGNS + 1],
    /// The hashes of the n-grams that are in: the same n-gram adds nothing more.
    seen: HashSet<u64, BuildHasherDefault<Same>>,
    values: Vec<i64>,
}

impl Sums {
    fn add(&mut self, key: Key, text: &str) {
        for word in text.split_whitespace() {
            // The last three characters: 21 bits each, the oldest lowest.
            let (mut three, mut length) = (0, 0);
            let mut push = |code: u64| {
                let before = three;
                three = before >> 21 | code << 42;
                length += 1;
                if length > 2 {
                    self.take(key.hash(three, None));
                }
                if length > 3 {
                    self.take(key.hash(before, Some(code)));
                }
            };
            push(u64::from(b' '));
            codes(word, &mut push);
            push(u64::from(b' '));
        }
    }

    /// Adds an n-gram: 16 bits of its hash are the column within a block, and the lowest of them the sign.
    fn take(&mut self, hash: u64) {
        if !self.seen.insert(hash) {
            return;
        }
        for block in 0..SIGNS {
            let (start, end) = (self.starts[block], self.starts[block + 1]);
            let bits = (hash >> (16 * block)) as usize & 0xFFFF;
            let column = start + (((bits >> 1) * (end - start)) >> 15);
            if let Some(sum) = self.values.get_mut(column) {
                *sum += if bits & 1 == 0 { 1 } else { -1 };
            }
        }
    }
}

/// The hash of a number that is a hash already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
