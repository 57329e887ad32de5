//! `cargo quickstart`: builds the quick start, saying what is being built and how long it takes, and runs it.
//!
//! The same as `cargo run --release --example quickstart`, for a first build of minutes. What stands after `--` goes to the example.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

const PACKAGE: &str = "fedhds-examples";
/// CPU minutes of a whole build, measured (docs/speed.md).
const WHOLE_BUILD: f64 = 12.0;
/// Longer than this many cores do not shorten it: the chain of burn's crates.
const SHORTEST: f64 = 3.0;
/// Where nobody watches a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match build().and_then(|built| if built { run() } else { Ok(ExitCode::FAILURE) }) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A command of this workspace's cargo.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// The number of crates that the example is made of; nothing where cargo does not tell.
fn crates() -> Option<usize> {
    let tree = cargo(&["tree", "--quiet", "--package", PACKAGE, "--edges", "normal,build,dev", "--prefix", "none"]);
    let output = { tree }.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<String> =
        text.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    names.sort_unstable();
    names.dedup();
    Some(names.len())
}

/// Builds the example; false where the build failed, after what cargo said of it.
fn build() -> std::io::Result<bool> {
    let all = crates();
    let mut child = cargo(&["build", "--release", "--package", PACKAGE, "--example", "quickstart", "--color", "never"])
        .stderr(Stdio::piped())
        .spawn()?;
    let mut progress = Progress::new(all);
    if let Some(said) = child.stderr.take() {
        for line in BufReader::new(said).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            match line.trim_start().strip_prefix("Compiling ") {
                Some(name) => progress.begun(name.split(" (").next().unwrap_or(name)),
                None if line.trim_start().starts_with("Finished ") => {}
                None => progress.pass_on(&line),
            }
        }
    }
    let built = child.wait()?.success();
    progress.end(built);
    Ok(built)
}

fn run() -> std::io::Result<ExitCode> {
    let mut command = cargo(&["run", "--quiet", "--release", "--package", PACKAGE, "--example", "quickstart", "--"]);
    let status = command.args(std::env::args().skip(1).skip_while(|argument| argument == "--")).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is said while cargo builds: one line that is written over on a terminal, else a line now and then.
struct Progress {
    all: Option<usize>,
    begun: usize,
    since: Instant,
    last_line: Instant,
    terminal: bool,
    /// Whether the cursor stands after an unfinished line.
    open: bool,
}

impl Progress {
    fn new(all: Option<usize>) -> Self {
        let now = Instant::now();
        Self { all, begun: 0, since: now, last_line: now, terminal: std::io::stderr().is_terminal(), open: false }
    }

    fn begun(&mut self, name: &str) {
        if self.begun == 0 {
            let cores = available_parallelism().map_or(1, usize::from);
            let minutes = (WHOLE_BUILD / cores as f64).max(SHORTEST);
            let crates = self.all.map_or_else(String::new, |all| format!(", {all} crates"));
            eprintln!(
                "building fedhds and what it stands on{crates}: at most about {minutes:.0} minutes on {cores} {}",
                if cores == 1 { "core" } else { "cores" }
            );
        }
        self.begun += 1;
        let of = self.all.filter(|&all| all >= self.begun).map_or_else(String::new, |all| format!(" of {all}"));
        let time = self.since.elapsed().as_secs();
        let line = format!("{:2}:{:02}  crate {}{of}: {name}", time / 60, time % 60, self.begun);
        if self.terminal {
            eprint!("\r\x1b[K{}", line.chars().take(78).collect::<String>());
            let _ = std::io::stderr().flush();
            self.open = true;
        } else if self.last_line.elapsed() >= LINE_EVERY {
            eprintln!("{line}");
            self.last_line = Instant::now();
        }
    }

    /// What cargo says beside: downloads, warnings, errors, a lock that it waits for.
    fn pass_on(&mut self, line: &str) {
        self.close();
        eprintln!("{line}");
    }

    fn close(&mut self) {
        if self.open {
            eprint!("\r\x1b[K");
            self.open = false;
        }
    }

    fn end(&mut self, built: bool) {
        self.close();
        if built && self.begun > 0 {
            let time = self.since.elapsed().as_secs();
            eprintln!("built in {} min {} s", time / 60, time % 60);
        }
    }
}
