//! Instruction data: loaders, prompt templates, partitions over clients.
