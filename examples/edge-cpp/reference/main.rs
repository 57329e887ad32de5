//! The federation of `examples/edge-cpp` in one process, by the library's own simulation: what the C++ programs must reach bit for bit.
//!
//! `cargo run --release --example edge_reference -- --out FOLDER`
//!
//! The options and their defaults are those of `edge-server`; the adapter goes to `FOLDER` as PEFT reads it.

use clap::Parser;
use fedhds_core::Result;
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::dataset::embedded::EmbeddedTasks;
use fedhds_core::dataset::{GroupBy, Partition, Prompt, PromptTemplate};
use fedhds_core::features::{FeatureParams, LayerFeatures};
use fedhds_core::method::MethodConfig;
use fedhds_core::model::{Device, LanguageModel, prompt_renderer};
use fedhds_core::simulate::{Participation, Simulation, SimulationSettings};
use fedhds_core::train::{LoraTrainer, TrainConfig, write_adapter};
use fedhds_core::types::{AdapterConfig, Seed};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The federation of the C++ example by the simulation.
#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder or a GGUF file; the embedded model by default.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The experiment's.
    #[arg(long, default_value_t = 3)]
    seed: u64,
    /// How many.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// How many.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Records of a round, over all clients.
    #[arg(long, default_value_t = 8)]
    budget: usize,
    /// Generated records of a task.
    #[arg(long, default_value_t = 3)]
    task_records: usize,
    /// How unevenly tasks are dealt.
    #[arg(long, default_value_t = 0.5)]
    alpha: f64,
    /// Of the training on a client.
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Where the adapter goes.
    #[arg(long)]
    out: PathBuf,
}

fn run(arguments: &Arguments) -> Result<()> {
    let seed = Seed(arguments.seed);
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/embedded");
    let model = LanguageModel::load(arguments.model.as_ref().unwrap_or(&embedded), &Device::parse("cpu")?)?;
    let renderer = prompt_renderer(&Prompt::Template(PromptTemplate::Short), &model.tokenizer)?;

    let tasks = EmbeddedTasks {
        records_per_task: arguments.task_records,
        test_records_per_task: 1,
        ..EmbeddedTasks::default()
    };
    let (clients, alpha) = (arguments.clients, arguments.alpha);
    let partition = Partition::Dirichlet { clients, alpha, by: GroupBy::Category, min_records: 8 };
    let clients = partition.deal(&tasks.generate()?.0, seed)?;

    let settings = format!("preset = \"fedhds_coverage\"\ncount = {{ budget = {} }}", arguments.budget);
    let pipeline = MethodConfig::from_toml_str(&settings)?.pipeline(model.transformer.spec().layers)?;
    let features = LayerFeatures::new(model.clone(), renderer.clone(), "short", FeatureParams::default())?.frozen();
    let train = TrainConfig { learning_rate: arguments.learning_rate, ..TrainConfig::default() };
    let trainer = LoraTrainer::new(model, renderer, AdapterConfig::default(), train)?;

    let everyone = Participation::Fraction(1.0);
    let settings =
        SimulationSettings { rounds: arguments.rounds, participation: everyone, ..SimulationSettings::default() };
    let outcome = Simulation::new(pipeline, Arc::new(clients), Arc::new(trainer), Box::new(WeightedMean::new()))
        .settings(settings)
        .seed(seed)
        .extractor(Arc::new(features))
        .run()?;
    write_adapter(&arguments.out, &outcome.adapter, Some("embedded"))
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
