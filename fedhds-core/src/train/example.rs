//! A record as token ids.

/// Prompt and response as one token sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Prompt, response and end of sequence.
    pub ids: Vec<u32>,
    /// Index of the response's first token.
    pub response_start: usize,
}
