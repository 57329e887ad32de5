//! Shared by the examples: the log, Ctrl-C and the way an experiment is run and printed.

use fedhds_core::experiment::{Experiment, ExperimentConfig, FailedRun, Finished, report, run_all};
use fedhds_core::simulate::{LogWriter, TerminalProgress};
use fedhds_core::types::{CancelToken, Control};
use fedhds_core::{Error, Result};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// Progress bars and the log on stderr, and Ctrl-C as a request to stop.
///
/// The log shows what `RUST_LOG` asks for, else one line a round (`fedhds_core=info`).
pub fn control() -> Control {
    let progress = TerminalProgress::new();
    log_to(progress.log_writer());
    let cancel = CancelToken::default();
    let asked = cancel.clone();
    let handler = move || {
        if asked.is_cancelled() {
            std::process::exit(130); // the second time: at once; the last checkpoint is whole
        }
        eprintln!("stopping at the next safe point; Ctrl-C again stops at once");
        asked.cancel();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!("Ctrl-C will end the process without a message: {error}");
    }
    Control { cancel, progress: Some(Arc::new(progress)) }
}

fn log_to(writer: LogWriter) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,fedhds_core=info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(move || writer.clone());
    if subscriber.try_init().is_err() {
        eprintln!("the log goes where it was set to go before");
    }
}

/// What is done of experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Everything.
    Whole,
    /// The quality gate's part alone: nothing is trained.
    GateOnly,
}

/// States the cost of these experiments, runs them unless `dry_run`, one after the other, and prints their table; says how to go on after
/// Ctrl-C. It is a failure where a run failed, though everything else is finished.
pub fn run(configs: &[ExperimentConfig], work: Work, dry_run: bool, control: &Control) -> ExitCode {
    let attempted = match work {
        Work::Whole => attempt(configs, dry_run, control),
        Work::GateOnly => gate_only(configs, dry_run, control),
    };
    match attempted {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            for run in &failed {
                eprintln!("failed: {}: {run}", run.experiment);
            }
            eprintln!(
                "{} runs failed, all others are finished. The same command tries the failed ones again.",
                failed.len()
            );
            ExitCode::FAILURE
        }
        Err(Error::Cancelled) => {
            let folders: Vec<String> = configs.iter().map(|config| config.out.display().to_string()).collect();
            eprintln!(
                "stopped; every finished round is kept in {}. The same command goes on from there.",
                folders.join(", ")
            );
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(configs: &[ExperimentConfig], dry_run: bool, control: &Control) -> Result<Vec<FailedRun>> {
    let mut experiments = Vec::new();
    for config in configs {
        let experiment = Experiment::prepare(config, control)?;
        println!("{}", experiment.describe());
        println!("{}", experiment.cost(control)?.to_text());
        experiments.push(experiment);
    }
    if dry_run {
        println!("dry run: nothing was trained");
        return Ok(Vec::new());
    }
    let Finished { results, out, failed } = run_all(&experiments, control)?;
    println!("{}", results.to_text());
    println!("run records, table and plots: {}", out.display());
    // The runs are finished, whether the page can be written or not.
    let folders: Vec<&Path> = configs.iter().map(|config| config.out.as_path()).collect();
    match report(&folders, out.join("report")) {
        Ok(made) => println!("report: {}", made.page.display()),
        Err(error) => eprintln!("no report was made: {error}"),
    }
    Ok(failed)
}

/// Makes the report of these runs in `out`, or in the folder `report` of the first.
pub fn report_of(runs: &[PathBuf], out: Option<PathBuf>) -> ExitCode {
    let beside = || {
        let first = runs.first().map(PathBuf::as_path).unwrap_or_else(|| Path::new("."));
        let folder = if first.is_dir() { first } else { first.parent().unwrap_or(first) };
        folder.join("report")
    };
    match report(runs, out.unwrap_or_else(beside)) {
        Ok(made) => {
            for file in &made.left_out {
                eprintln!("left out: {file}");
            }
            println!("report of {} runs: {}", made.runs, made.page.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The quality gate of each experiment, one after the other, each with a table of its own.
fn gate_only(configs: &[ExperimentConfig], dry_run: bool, control: &Control) -> Result<Vec<FailedRun>> {
    let mut failed = Vec::new();
    for config in configs {
        let experiment = Experiment::prepare(config, control)?;
        println!("{}\n{}", experiment.describe(), experiment.describe_gate_only()?);
        if !dry_run {
            let finished = experiment.gate_only(control)?;
            println!("{}\ntables: {}", finished.table.to_text(), finished.out.display());
            failed.extend(finished.failed);
        }
    }
    Ok(failed)
}
