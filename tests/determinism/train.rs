//! Training, losses and generation do not depend on the number of threads, nor on whether clients train side by side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::threads::{self, hash};
use fedhds_core::generate::{GenerateConfig, generate, response_losses};
use fedhds_core::model::{Device, Example, InMemoryWeights, LlamaConfig, LoraWeights, ModelConfig};
use fedhds_core::train::{TrainConfig, init::init_adapter, train_adapter};
use fedhds_core::types::{AdapterConfig, Context, Control, Seed};

/// Large enough that matrix products, softmax and sums are split over threads.
fn bits() -> String {
    let mut llama = LlamaConfig::new(2000, 192, 2, 6);
    llama.num_key_value_heads = 2;
    llama.initializer_range = 0.1;
    let config = ModelConfig::Llama(llama);
    let model = config.build(&InMemoryWeights::random(&config, Seed(3)).unwrap(), &Device::cpu()).unwrap();
    let example =
        |r: u32| Example { ids: (0..150 - 10 * r).map(|i| (i * 31 + r * 7) % 2000).collect(), response_start: 60 };
    let examples: Vec<Example> = (0..4).map(example).collect();
    let adapter = init_adapter(&AdapterConfig::default(), model.spec(), Seed(4)).unwrap();
    let mut text = String::new();
    for gradient_checkpointing in [false, true] {
        let config = TrainConfig { batch_size: 2, local_epochs: 2, gradient_checkpointing, ..TrainConfig::default() };
        let trained = train_adapter(model.as_ref(), &adapter, &examples, &config, &Context::new(5)).unwrap();
        assert_eq!(trained.losses.len(), 4);
        let beside = || train_adapter(model.as_ref(), &adapter, &examples, &config, &Context::new(5)).unwrap();
        let both: Vec<_> = std::thread::scope(|scope| {
            let threads = [0, 1].map(|_| scope.spawn(beside));
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(both.iter().all(|other| other.adapter == trained.adapter && other.losses == trained.losses));
        let losses = trained.losses.iter().flat_map(|v| v.to_le_bytes());
        let tensors = trained.adapter.tensors.values().flat_map(|t| t.data.iter().flat_map(|v| v.to_le_bytes()));
        text += &format!("{:016x} ", hash(losses.chain(tensors)));
        let lora = LoraWeights::from_adapter(&trained.adapter, model.spec(), &model.device()).unwrap();
        let losses = response_losses(
            model.as_ref(),
            &examples,
            3,
            Some(&lora),
            rayon::current_num_threads(),
            &Control::default(),
        )
        .unwrap();
        text += &format!("{:016x} ", hash(losses.iter().flat_map(|v| v.to_le_bytes())));
        let prompts: Vec<&[u32]> = examples.iter().map(|e| &e.ids[..e.response_start]).collect();
        let config = GenerateConfig {
            max_new_tokens: 8,
            batch_size: 4,
            batches_at_once: rayon::current_num_threads(),
            ..GenerateConfig::default()
        };
        let outputs = generate(model.as_ref(), &prompts, &[], &config, Some(&lora), &Control::default()).unwrap();
        text += &format!("{:016x} ", hash(outputs.iter().flatten().flat_map(|v| v.to_le_bytes())));
    }
    text
}

#[test]
fn an_adapter_has_the_same_bits_at_any_thread_count() {
    threads::check("train::an_adapter_has_the_same_bits_at_any_thread_count", bits);
}
