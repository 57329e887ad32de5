//! Greedy generation and evaluation.
