//! Runs a federation from a configuration on real data and a real model:
//!
//! ```text
//! cargo run --release --example federate -- --config examples/configs/one_task_per_client.toml \
//!     --data DIR --model DIR_OR_GGUF --proxy DIR_OR_GGUF
//! ```
//!
//! It says what the work will cost before it starts (`--dry-run` stops there), keeps every finished round, and goes on
//! where it was stopped when the same command is given again.

use clap::Parser;
use fedhds_core::experiment::{ExperimentConfig, Overrides};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Federated instruction tuning on a selected coreset.
#[derive(Parser)]
struct Arguments {
    /// The experiment, a TOML file.
    #[arg(long)]
    config: PathBuf,
    /// The data: a file or folder in the configuration's format; in place of `data.path`.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The model to tune: a Hugging Face folder or a GGUF file; in place of `model.path`.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The frozen model that extracts features for `fedhds_turbo`; in place of `model.proxy`.
    #[arg(long)]
    proxy: Option<PathBuf>,
    /// Where run records, tables and checkpoints go; in place of `out`.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The seeds, comma-separated; in place of `seeds`.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// The methods, comma-separated names; in place of `methods`.
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// State records, tokens and minutes from a short measurement, and stop.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let overrides = Overrides {
        data: arguments.data,
        model: arguments.model,
        proxy: arguments.proxy,
        out: arguments.out,
        seeds: arguments.seeds,
        methods: arguments.methods,
    };
    let config = match ExperimentConfig::load(&arguments.config, overrides) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    fedhds_examples::run(&config, arguments.dry_run, &fedhds_examples::control())
}
