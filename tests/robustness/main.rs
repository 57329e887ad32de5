//! Bad input, killed processes, missing files.
mod gguf;
