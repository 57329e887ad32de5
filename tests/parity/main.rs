//! Equal results with pinned references: fixtures lie beside the scripts that made them, compared within a tolerance.
mod gguf;
mod models;
mod train;
mod real_models;
