//! How work is watched and stopped from outside.

use super::{Factors, Seed};
use crate::error::{Error, Result};
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives progress; called from worker threads, so it must be quick and must not panic.
///
/// A stage is begun, advanced any number of times and ended. Stages may nest and run side by side; where several clients work at
/// once, one stage is begun several times before it ends: their units add up, and it is over when each has ended it.
pub trait Progress: Send + Sync {
    /// `stage` begins; `total` units are expected where that is known.
    fn begin(&self, stage: &str, total: Option<u64>);
    /// `units` more of `stage` are done.
    fn advance(&self, stage: &str, units: u64);
    /// `stage` is over.
    fn end(&self, stage: &str);
}

/// A flag that stops work from another thread. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    asked: AtomicBool,
    /// How often work looked, and at which look it is asked to stop; 0 is at none.
    #[cfg(test)]
    looks: AtomicUsize,
    #[cfg(test)]
    stop_at: AtomicUsize,
}

impl CancelToken {
    /// Asks for a stop; work ends with [`Error::Cancelled`] at its next check.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        #[cfg(test)]
        if self.0.looks.fetch_add(1, Ordering::Relaxed) + 1 == self.0.stop_at.load(Ordering::Relaxed) {
            self.cancel();
        }
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Asks for a stop at the look of this number, from 1.
    #[cfg(test)]
    pub(crate) fn cancel_at(&self, look: usize) {
        self.0.stop_at.store(look, Ordering::Relaxed);
    }

    /// How often work looked.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> usize {
        self.0.looks.load(Ordering::Relaxed)
    }
}

/// What work reports to and is stopped by; the default reports nowhere and never stops.
#[derive(Clone, Default)]
pub struct Control {
    /// Stops the work.
    pub cancel: CancelToken,
    /// Hears of progress, where anyone listens.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Control {
    /// # Errors
    /// [`Error::Cancelled`] when a stop was asked for. Long loops call this between units of work.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Reports that `stage` begins.
    pub fn begin(&self, stage: &str, total: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress.begin(stage, total);
        }
    }

    /// Reports `units` more of `stage`.
    pub fn advance(&self, stage: &str, units: u64) {
        if let Some(progress) = &self.progress {
            progress.advance(stage, units);
        }
    }

    /// Reports that `stage` is over.
    pub fn end(&self, stage: &str) {
        if let Some(progress) = &self.progress {
            progress.end(stage);
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("cancel", &self.cancel).field("progress", &self.progress.is_some()).finish()
    }
}

/// What every stage is given beside its input: its own seed, and its control.
#[derive(Debug, Clone)]
pub struct Context {
    /// The seed of this one call: derived from (experiment, round, client, stage) by the caller.
    pub seed: Seed,
    /// Progress and cancellation.
    pub control: Control,
    /// Which factors of the adapter a [`Trainer`](crate::stage::Trainer) trains: what the round's aggregator says. Other stages are told both.
    pub factors: Factors,
}

impl Context {
    /// A context with this seed that reports nowhere.
    pub fn new(seed: impl Into<Seed>) -> Self {
        Self { seed: seed.into(), control: Control::default(), factors: Factors::Both }
    }

    /// The context of a part of this work: the same but for a seed derived from this one's.
    #[must_use]
    pub fn derive(&self, name: &str, number: u64) -> Self {
        Self { seed: self.seed.derive(name, number), ..self.clone() }
    }

    /// With these factors to train.
    #[must_use]
    pub fn training(self, factors: Factors) -> Self {
        Self { factors, ..self }
    }
}

/// Work that looks at its control at least `least` times ends with [`Error::Cancelled`] at whichever look it is asked to stop.
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(crate) fn stops_at_any_look<T>(what: &str, least: usize, work: impl Fn(&Control) -> Result<T>) {
    let all = Control::default();
    work(&all).unwrap_or_else(|error| panic!("{what}: {error}"));
    let looks = all.cancel.looks();
    assert!(looks >= least, "{what}: {looks} looks, at least {least} expected");
    for part in 0..=12 {
        let stopped = Control::default();
        stopped.cancel.cancel_at((looks - 1) * part / 12 + 1);
        assert!(matches!(work(&stopped), Err(Error::Cancelled)), "{what}: look {part}/12 of {looks} is not heeded");
    }
}
