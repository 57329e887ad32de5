//! The whole method in one command, without network or data:
//!
//! ```text
//! cargo quickstart
//! ```
//!
//! or `cargo run --release --example quickstart`, which says less of what is being built.
//!
//! It tunes the small model of `examples/models/embedded` on instruction tasks that the project generates by seed: FedIT on
//! all data, FedHDS in a shared frame, FedHDS-Turbo, and the two baselines at the same number of records. The settings are
//! in `examples/configs/quickstart.toml`; records, table and pictures go to `runs/quickstart`.

use clap::Parser;
use fedhds_core::experiment::{ExperimentConfig, Overrides};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The quick start: no argument is needed.
#[derive(Parser)]
struct Arguments {
    /// Where run records, tables and checkpoints go.
    #[arg(long)]
    out: Option<PathBuf>,
    /// State records, tokens and minutes from a short measurement, and stop.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    let overrides =
        Overrides { model: Some(examples.join("models/embedded")), out: arguments.out, ..Overrides::default() };
    let config = match ExperimentConfig::load(examples.join("configs/quickstart.toml"), overrides) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    fedhds_examples::run(&[config], fedhds_examples::Work::Whole, arguments.dry_run, &fedhds_examples::control())
}
