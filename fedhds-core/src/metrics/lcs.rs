//! Longest common subsequences in little memory: 64 columns of the table a word of bits (Hyyrö, "Bit-parallel LCS-length computation
//! revisited", 2004), and of its rows only as many as their square root at a time.

use crate::error::Result;
use crate::types::Control;

/// Words between looks at whether to go on.
const BETWEEN_LOOKS: usize = 256;

/// Length of the longest common subsequences of two sequences.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn length(x: &[usize], y: &[usize], control: &Control) -> Result<usize> {
    let mut row = Row::new(y);
    for part in x.chunks(BETWEEN_LOOKS) {
        control.check()?;
        part.iter().for_each(|word| row.advance(*word));
    }
    Ok(row.rises())
}

/// One longest common subsequence, from its end. Of several, the one that the package `rouge` meets: from the corner of the table of lengths it takes
/// equal words, else goes up where the length above is larger than the one at the left, else to the left.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn common(x: &[usize], y: &[usize], control: &Control) -> Result<Vec<usize>> {
    let step = x.len().isqrt().max(1);
    let mut row = Row::new(y);
    // The rows before each `step` words of x.
    let mut kept = Vec::new();
    for part in x.chunks(step) {
        control.check()?;
        kept.push(row.bits.clone());
        part.iter().for_each(|word| row.advance(*word));
    }
    let mut common = Vec::new();
    let mut left = y.len();
    for (begin, part) in kept.into_iter().zip(x.chunks(step)).rev() {
        control.check()?;
        row.bits = begin;
        let mut rows = Vec::with_capacity(part.len());
        for word in part {
            row.advance(*word);
            rows.push(row.bits.clone());
        }
        for (word, bits) in part.iter().zip(&rows).rev() {
            // To the left as long as the words differ and the length does not rise: then the one above is not larger.
            while let Some(other) = left.checked_sub(1).and_then(|at| y.get(at)) {
                if word == other {
                    common.push(*word);
                    left -= 1;
                    break;
                }
                if rises(bits, left - 1) {
                    break;
                }
                left -= 1;
            }
        }
    }
    Ok(common)
}

/// Whether the length rises at a column.
fn rises(bits: &[u64], column: usize) -> bool {
    bits.get(column / 64).is_some_and(|block| block >> (column % 64) & 1 == 0)
}

/// A row of the table of lengths: bit `j` is 0 where the length rises from column `j` to `j + 1`.
struct Row {
    bits: Vec<u64>,
    /// Each word of y with its column, sorted.
    places: Vec<(usize, usize)>,
    /// The columns of the last word that was asked for, as bits.
    columns: Vec<u64>,
    last: Option<usize>,
}

impl Row {
    /// The row before the first word.
    fn new(y: &[usize]) -> Self {
        let mut places: Vec<(usize, usize)> = y.iter().enumerate().map(|(column, word)| (*word, column)).collect();
        places.sort_unstable();
        let blocks = y.len().div_ceil(64);
        Self { bits: vec![u64::MAX; blocks], places, columns: vec![0; blocks], last: None }
    }

    fn rises(&self) -> usize {
        self.bits.iter().map(|block| block.count_zeros() as usize).sum()
    }

    /// Sets the bits of a word's columns, or clears them.
    fn mark(&mut self, word: usize, set: bool) {
        let first = self.places.partition_point(|(other, _)| *other < word);
        for (_, column) in self.places.iter().skip(first).take_while(|(other, _)| *other == word) {
            if let Some(block) = self.columns.get_mut(column / 64) {
                let bit = 1 << (column % 64);
                *block = if set { *block | bit } else { *block & !bit };
            }
        }
    }

    /// The row after one more word.
    fn advance(&mut self, word: usize) {
        if self.last != Some(word) {
            if let Some(last) = self.last.replace(word) {
                self.mark(last, false);
            }
            self.mark(word, true);
        }
        let mut carry = false;
        for (bits, columns) in self.bits.iter_mut().zip(&self.columns) {
            let (sum, over) = bits.overflowing_add(*bits & columns);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            carry = over || again;
            *bits = sum | (*bits & !columns);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole table, as the packages have it.
    fn table(x: &[usize], y: &[usize]) -> Vec<Vec<usize>> {
        let mut table = vec![vec![0; y.len() + 1]; x.len() + 1];
        for (i, a) in x.iter().enumerate() {
            for (j, b) in y.iter().enumerate() {
                table[i + 1][j + 1] = if a == b { table[i][j] + 1 } else { table[i][j + 1].max(table[i + 1][j]) };
            }
        }
        table
    }

    fn walked(x: &[usize], y: &[usize]) -> Vec<usize> {
        let table = table(x, y);
        let (mut i, mut j) = (x.len(), y.len());
        let mut common = Vec::new();
        while i > 0 && j > 0 {
            if x[i - 1] == y[j - 1] {
                common.push(x[i - 1]);
                (i, j) = (i - 1, j - 1);
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common
    }

    proptest! {
        #[test]
        fn both_equal_the_whole_table(
            words in 1..12usize,
            x in proptest::collection::vec(0..1000usize, 0..200),
            y in proptest::collection::vec(0..1000usize, 0..200),
        ) {
            let few = |text: &[usize]| text.iter().map(|word| word % words).collect::<Vec<_>>();
            let (x, y) = (few(&x), few(&y));
            prop_assert_eq!(length(&x, &y, &Control::default()).unwrap(), table(&x, &y)[x.len()][y.len()]);
            prop_assert_eq!(common(&x, &y, &Control::default()).unwrap(), walked(&x, &y));
        }
    }

    #[test]
    fn sixty_thousand_words_need_no_table() {
        // 14 GB as a table.
        let x: Vec<usize> = (0..60_000).map(|i| i * i % 10_007).collect();
        let y: Vec<usize> = (0..60_000).map(|i| i * 7 % 10_007).collect();
        let found = common(&x, &y, &Control::default()).unwrap();
        assert_eq!(found.len(), length(&x, &y, &Control::default()).unwrap());
        assert!(found.len() > 1_000);
    }
}
