//! Token sequences of different lengths, side by side.

use crate::error::{Error, Result};

/// Sequences of token ids, padded at the right to one width `t`.
///
/// In a forward pass with a cache a batch holds the tokens that are new, and `starts` says how many tokens of each row came
/// before them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    width: usize,
    starts: Vec<usize>,
    token_types: Vec<u32>,
}

impl Batch {
    /// A batch of fresh sequences, padded with `pad` to the longest. `pad` may be any id of the vocabulary: no real token
    /// ever sees it.
    ///
    /// # Errors
    /// [`Error::Input`] without rows, or with an empty row (it is named).
    pub fn new<R: AsRef<[u32]>>(rows: &[R], pad: u32) -> Result<Self> {
        Self::continued(rows, &vec![0; rows.len()], pad)
    }

    /// A batch of new tokens of sequences whose first `starts[row]` tokens a cache holds.
    ///
    /// # Errors
    /// [`Error::Input`] as for [`Batch::new`], or when `starts` and `rows` differ in number.
    pub fn continued<R: AsRef<[u32]>>(rows: &[R], starts: &[usize], pad: u32) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::input("batch", "at least one sequence", 0));
        }
        if starts.len() != rows.len() {
            return Err(Error::input("batch starts", format!("one for each of {} rows", rows.len()), starts.len()));
        }
        let lengths: Vec<usize> = rows.iter().map(|r| r.as_ref().len()).collect();
        if let Some(row) = lengths.iter().position(|&l| l == 0) {
            return Err(Error::input(&format!("sequence {row}"), "at least one token", 0));
        }
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * width);
        for row in rows {
            ids.extend_from_slice(row.as_ref());
            ids.resize(ids.len().next_multiple_of(width), pad);
        }
        let token_types = vec![0; ids.len()];
        Ok(Self { ids, lengths, width, starts: starts.to_vec(), token_types })
    }

    /// The same batch with a token type (segment) for each token, `[rows * width]`; all are 0 otherwise.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not `rows * width` of them.
    pub fn with_token_types(mut self, token_types: Vec<u32>) -> Result<Self> {
        if token_types.len() != self.ids.len() {
            return Err(Error::input("token types", self.ids.len().to_string(), token_types.len()));
        }
        self.token_types = token_types;
        Ok(self)
    }

    /// Number of sequences, b.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Number of tokens of the longest sequence, t.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of tokens of each sequence, padding not counted, `[b]`.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The ids, row after row with padding, `[b * t]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The token types, row after row, `[b * t]`.
    pub fn token_types(&self) -> &[u32] {
        &self.token_types
    }

    /// Tokens of each row that came before, `[b]`.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Whether any row is shorter than the batch is wide.
    pub fn is_padded(&self) -> bool {
        self.lengths.iter().any(|&l| l < self.width)
    }

    /// The position of each token in its sequence, `[b * t]`; positions go on through the padding.
    pub fn positions(&self) -> Vec<usize> {
        self.starts.iter().flat_map(|&start| start..start + self.width).collect()
    }

    /// One more than the largest position of a real token.
    pub fn context(&self) -> usize {
        self.starts.iter().zip(&self.lengths).map(|(s, l)| s + l).max().unwrap_or(0)
    }

    /// Index into `[b * t]` of each row's last real token, `[b]`.
    pub fn last_tokens(&self) -> Vec<usize> {
        self.lengths.iter().enumerate().map(|(row, length)| row * self.width + length - 1).collect()
    }

    /// Checks ids and positions against a model.
    pub(crate) fn check(&self, vocab_size: usize, max_positions: usize) -> Result<()> {
        if let Some(at) = self.ids.iter().position(|&id| id as usize >= vocab_size) {
            let (row, column) = (at / self.width, at % self.width);
            return Err(Error::input(
                &format!("token {column} of sequence {row}"),
                format!("an id below {vocab_size}, the size of the model's vocabulary"),
                self.ids[at],
            ));
        }
        if self.context() > max_positions {
            return Err(Error::input(
                "sequence",
                format!("at most {max_positions} tokens, what the model was made for"),
                self.context(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_at_the_right() {
        let batch = Batch::new(&[vec![5, 6, 7], vec![8]], 0).unwrap();
        assert_eq!(batch.ids(), [5, 6, 7, 8, 0, 0]);
        assert_eq!(batch.last_tokens(), [2, 3]);
        assert_eq!(batch.positions(), [0, 1, 2, 0, 1, 2]);
        assert!(batch.is_padded());
        let next = Batch::continued(&[[1], [2]], &[3, 1], 0).unwrap();
        assert_eq!(next.positions(), [3, 1]);
        assert_eq!(next.context(), 4);
    }

    #[test]
    fn bad_batches_are_errors() {
        assert!(Batch::new::<Vec<u32>>(&[], 0).is_err());
        assert!(Batch::new(&[vec![1], vec![]], 0).unwrap_err().to_string().contains("sequence 1"));
        assert!(Batch::continued(&[[1]], &[], 0).is_err());
        let batch = Batch::new(&[vec![1, 9]], 0).unwrap();
        assert!(batch.check(9, 10).unwrap_err().to_string().contains("token 1 of sequence 0"));
        assert!(batch.check(10, 1).is_err());
        assert!(batch.check(10, 2).is_ok());
    }
}
