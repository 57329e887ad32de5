//! Runs every check of the project, cheapest first, and stops at the first that fails.
//!
//! `cargo check-all` runs them all; `cargo check-all --quick` leaves out the feature combinations and the documentation;
//! `cargo check-all --list` prints the commands. What a check needs beside Rust it installs or fetches itself; where
//! the real models cannot be fetched it says that their tests will skip.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// One check: a command of the workspace.
struct Check {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Left out by `--quick`.
    slow: bool,
    /// What its failure means instead of a failed run, where it may fail.
    on_failure: Option<&'static str>,
}

const fn cargo(name: &'static str, arguments: &'static [&'static str]) -> Check {
    Check { name, program: "cargo", arguments, environment: &[], slow: false, on_failure: None }
}

const CHECKS: &[Check] = &[
    cargo("format", &["fmt", "--all", "--", "--check"]),
    cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Check {
        slow: true,
        ..cargo(
            "clippy without the model",
            &["clippy", "-p", "fedhds-core", "--no-default-features", "--all-targets", "--", "-D", "warnings"],
        )
    },
    Check {
        slow: true,
        ..cargo(
            "clippy with experiments alone",
            &[
                "clippy",
                "-p",
                "fedhds-core",
                "--no-default-features",
                "--features",
                "experiment",
                "--",
                "-D",
                "warnings",
            ],
        )
    },
    Check {
        slow: true,
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
        ..cargo("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items"])
    },
    Check {
        slow: true,
        ..cargo(
            "clippy with cuda and hub alone",
            &["clippy", "-p", "fedhds-core", "--no-default-features", "--features", "cuda,hub", "--", "-D", "warnings"],
        )
    },
    Check {
        name: "real models",
        program: "python3",
        arguments: &["examples/models/get.py"],
        environment: &[],
        slow: false,
        on_failure: Some("the tests on real models will skip, and say so"),
    },
    Check { slow: true, ..cargo("tests without the model", &["test", "-p", "fedhds-core", "--no-default-features"]) },
    cargo("tests", &["test", "--workspace"]),
    Check {
        name: "C ABI",
        program: "python3",
        arguments: &["fedhds-ffi/check.py"],
        environment: &[],
        slow: false,
        on_failure: None,
    },
    Check {
        name: "python package",
        program: "python3",
        arguments: &["fedhds-py/check.py"],
        environment: &[],
        slow: false,
        on_failure: None,
    },
];

fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = options.iter().find(|o| !["--quick", "--list"].contains(&o.as_str())) {
        eprintln!("unknown option {unknown}: expected --quick or --list");
        return ExitCode::from(2);
    }
    let quick = options.iter().any(|o| o == "--quick");
    let chosen: Vec<&Check> = CHECKS.iter().filter(|c| !(quick && c.slow)).collect();
    if options.iter().any(|o| o == "--list") {
        for check in chosen {
            println!("{:<30} {} {}", check.name, check.program, check.arguments.join(" "));
        }
        return ExitCode::SUCCESS;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut done: Vec<(&str, Duration, &str)> = Vec::new();
    for (number, check) in chosen.iter().enumerate() {
        eprintln!(
            "\n[{}/{}] {}: {} {}",
            number + 1,
            chosen.len(),
            check.name,
            check.program,
            check.arguments.join(" ")
        );
        let begun = Instant::now();
        let status = Command::new(check.program)
            .args(check.arguments)
            .envs(check.environment.iter().copied())
            .current_dir(&root)
            .status();
        let passed = matches!(&status, Ok(s) if s.success());
        if passed {
            done.push((check.name, begun.elapsed(), "passed"));
        } else if let Some(meaning) = check.on_failure {
            eprintln!("{}: {}", check.name, meaning);
            done.push((check.name, begun.elapsed(), "not available"));
        } else {
            match status {
                Ok(status) => eprintln!("\n{} failed ({status})", check.name),
                Err(error) => eprintln!("\n{} could not start: {error}", check.name),
            }
            return ExitCode::FAILURE;
        }
    }
    eprintln!();
    for (name, time, result) in done {
        eprintln!("{name:<30} {result:<14} {:6.1} s", time.as_secs_f64());
    }
    ExitCode::SUCCESS
}
