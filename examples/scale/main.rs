//! Rounds a second and peak memory of a simulation with many clients, whose records are read from a file as rounds need them:
//!
//!   cargo run --release --example scale -- --clients 100,1000,10000
//!
//! Each client holds generated records of some tasks; ten of them take part in a round, which orders 64 records by `--method` from text
//! features and trains the embedded model on them. Each number of clients runs in a process of its own, so that peaks do not mix.

use clap::Parser;
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::dataset::embedded::EmbeddedTasks;
use fedhds_core::dataset::{ClientData, Prompt, PromptTemplate};
use fedhds_core::features::{TextFeatures, TextFeaturesConfig};
use fedhds_core::method::MethodConfig;
use fedhds_core::model::{Device, LanguageModel, prompt_renderer};
use fedhds_core::simulate::{ClientFile, Participation, Simulation, SimulationSettings};
use fedhds_core::train::{LoraTrainer, TrainConfig};
use fedhds_core::types::{AdapterConfig, ClientId, Record, Seed};
use fedhds_core::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A federation's size and its cost.
#[derive(Parser)]
struct Arguments {
    /// Numbers of clients, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    clients: Vec<u32>,
    /// Rounds of each.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Clients of a round.
    #[arg(long, default_value_t = 10)]
    participants: usize,
    /// Records of a client.
    #[arg(long, default_value_t = 40)]
    records: usize,
    /// A preset.
    #[arg(long, default_value = "fedhds_robust")]
    method: String,
    /// Where the clients' file goes.
    #[arg(long, default_value = "target/scale")]
    folder: PathBuf,
    /// Run one number of clients in this process.
    #[arg(long, hide = true)]
    here: bool,
}

/// A client with records of eight tasks.
fn client(number: u32, records: usize, tasks: &[Vec<Record>]) -> ClientData {
    let mut rng = Seed(u64::from(number)).derive("client", 0).rng();
    let chosen: Vec<usize> = rand::seq::index::sample(&mut rng, tasks.len(), 8.min(tasks.len())).into_vec();
    let mut held: Vec<Record> = chosen
        .iter()
        .flat_map(|&task| {
            let amount = records.div_ceil(chosen.len()).min(tasks[task].len());
            let drawn = rand::seq::index::sample(&mut rng, tasks[task].len(), amount).into_vec();
            drawn.into_iter().map(move |at| tasks[task][at].clone())
        })
        .collect();
    held.truncate(records);
    held.iter_mut().for_each(|record| record.id = format!("{number}/{}", record.id));
    ClientData { client: ClientId(number), name: format!("client-{number}"), records: held }
}

fn here(arguments: &Arguments, clients: u32) -> Result<()> {
    let generated = EmbeddedTasks { records_per_task: 30, allow_fewer: true, ..EmbeddedTasks::default() };
    let mut tasks: Vec<Vec<Record>> = Vec::new();
    for record in generated.generate()?.0.records {
        match tasks.last_mut().filter(|task| task[0].category == record.category) {
            Some(task) => task.push(record),
            None => tasks.push(vec![record]),
        }
    }
    let all = (0..clients).map(|number| Ok(client(number, arguments.records, &tasks)));
    let file = ClientFile::write(arguments.folder.join(format!("{clients}.clients")), all)?;
    let size = std::fs::metadata(file.path()).map_err(|e| Error::io(file.path(), e))?.len();

    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/embedded");
    let model = LanguageModel::load(embedded, &Device::parse("cpu")?)?;
    let renderer = prompt_renderer(&Prompt::Template(PromptTemplate::Short), &model.tokenizer)?;
    let settings = format!("preset = \"{}\"\ncount = {{ budget = 64 }}", arguments.method);
    let pipeline = MethodConfig::from_toml_str(&settings)?.pipeline(model.transformer.spec().layers)?;
    let trainer = LoraTrainer::new(model, renderer, AdapterConfig::default(), TrainConfig::default())?;
    let participation = Participation::Count(arguments.participants);
    let settings = SimulationSettings { rounds: arguments.rounds, participation, ..SimulationSettings::default() };
    let start = Instant::now();
    let outcome = Simulation::new(pipeline, Arc::new(file), Arc::new(trainer), Box::new(WeightedMean::new()))
        .settings(settings)
        .seed(Seed(1))
        .extractor(Arc::new(TextFeatures::new(TextFeaturesConfig::default())?))
        .run()?;
    let seconds = start.elapsed().as_secs_f64();
    let trained: usize = outcome.rounds.iter().flat_map(|round| &round.clients).map(|c| c.selected.len()).sum();
    println!(
        "| {clients} | {:.1} | {:.2} | {trained} | {} |",
        size as f64 / 1e6,
        arguments.rounds as f64 / seconds,
        peak().map_or_else(|| "-".into(), |megabytes| megabytes.to_string()),
    );
    Ok(())
}

/// Megabytes that this process held at most, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn run(arguments: &Arguments) -> Result<()> {
    if let (true, [clients]) = (arguments.here, &arguments.clients[..]) {
        return here(arguments, *clients);
    }
    println!("| clients | file, MB | rounds/s | records trained | peak, MB |\n| ---: | ---: | ---: | ---: | ---: |");
    let program = std::env::current_exe().map_err(|e| Error::io("scale", e))?;
    for clients in &arguments.clients {
        let mut command = Command::new(&program);
        command.args(["--here", "--clients", &clients.to_string(), "--rounds", &arguments.rounds.to_string()]);
        command.args(["--participants", &arguments.participants.to_string()]);
        command.args(["--records", &arguments.records.to_string(), "--method", &arguments.method, "--folder"]);
        let status = command.arg(&arguments.folder).status().map_err(|e| Error::io(&program, e))?;
        if !status.success() {
            return Err(Error::input(&format!("{clients} clients"), "a run that ends well", status));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
