//! The federation in one process: client sampling, checkpoints, progress.
