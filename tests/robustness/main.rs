//! Bad input, killed processes, missing files.
mod dataset;
mod gguf;
