//! Runs a federation from a configuration on real data and a real model:
//!
//! ```text
//! cargo run --release --example federate -- --config examples/configs/one_task_per_client.toml \
//!     --data DIR --model DIR_OR_GGUF --proxy DIR_OR_GGUF
//! ```
//!
//! It says what the work will cost before it starts (`--dry-run` stops there), keeps every finished round, and goes on
//! where it was stopped when the same command is given again. Several files are several experiments, each in its own folder, and one
//! table of all. At the end there is a report, one page that a browser shows; `--report RUNS...` makes it of any runs.

use clap::Parser;
use fedhds_core::experiment::{ExperimentConfig, Overrides};
use fedhds_examples::Work;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Federated instruction tuning on a selected coreset.
#[derive(Parser)]
struct Arguments {
    /// An experiment, a TOML file; several give one table of all.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// The same without `--config`.
    #[arg(value_name = "FILE", required_unless_present_any = ["config", "report"])]
    files: Vec<PathBuf>,
    /// The data: a file or folder in the configuration's format; in place of `data.path`.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The model to tune: a Hugging Face folder or a GGUF file; in place of `model.path`.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The frozen model that extracts features for `fedhds_turbo`; in place of `model.proxy`.
    #[arg(long)]
    proxy: Option<PathBuf>,
    /// The frozen model that judges responses for a quality gate; in place of `model.judge`, else the untuned model.
    #[arg(long)]
    judge: Option<PathBuf>,
    /// Where run records, tables and checkpoints go; in place of `out`, of one experiment alone.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The seeds, comma-separated; in place of `seeds`, those of single conditions too.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// The methods, comma-separated names; in place of `methods`.
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// The conditions, comma-separated names; all of them without it.
    #[arg(long, value_delimiter = ',')]
    conditions: Vec<String>,
    /// Only look at the quality gate: does it open on these data? Nothing is trained.
    #[arg(long)]
    gate_only: bool,
    /// Only make the report of runs that are there: folders of experiments or of single runs. `--out` says where the page goes.
    #[arg(long, value_name = "RUNS", num_args = 1.., conflicts_with_all = ["config", "files"])]
    report: Vec<PathBuf>,
    /// State records, tokens and minutes from a short measurement, and stop.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.report.is_empty() {
        return fedhds_examples::report_of(&arguments.report, arguments.out);
    }
    let overrides = Overrides {
        data: arguments.data,
        model: arguments.model,
        proxy: arguments.proxy,
        judge: arguments.judge,
        out: arguments.out,
        seeds: arguments.seeds,
        methods: arguments.methods,
        conditions: arguments.conditions,
    };
    let files: Vec<PathBuf> = arguments.config.into_iter().chain(arguments.files).collect();
    if files.len() > 1 && overrides.out.is_some() {
        eprintln!("error: --out: expected one experiment, got {}: each needs a folder of its own", files.len());
        return ExitCode::FAILURE;
    }
    let configs: Result<Vec<_>, _> = files.iter().map(|file| ExperimentConfig::load(file, overrides.clone())).collect();
    match configs {
        Ok(configs) => {
            let work = if arguments.gate_only { Work::GateOnly } else { Work::Whole };
            fedhds_examples::run(&configs, work, arguments.dry_run, &fedhds_examples::control())
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
