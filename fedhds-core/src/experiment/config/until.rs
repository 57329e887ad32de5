//! A loss to reach beside the other settings of an experiment.

use super::{ExperimentConfig, MethodEntry};
use crate::error::{Error, Result};
use crate::simulate::EvaluationSchedule;

impl ExperimentConfig {
    /// Checks the target, and that what stands beside it lets it be looked at.
    pub(super) fn check_until(&self) -> Result<()> {
        let Some(until) = &self.until else { return Ok(()) };
        until.check().map_err(|e| e.under(""))?;
        if self.federation.evaluate == EvaluationSchedule::Never {
            let message =
                "expected `last` or `{ every = N }` beside `[until]`, which looks at evaluations, got `never`";
            return Err(Error::config("federation.evaluate", message));
        }
        let follows = |method: &&MethodEntry| method.follows().is_some();
        // A baseline takes the counts of each round: after a stop there would be none for it.
        if let Some(follower) = self.methods.iter().find(follows).filter(|_| until.stop) {
            let (label, of) = (follower.label(), follower.follows().unwrap_or_default());
            let message = format!("expected false, as `{label}` takes the counts of all rounds of `{of}`, got true");
            return Err(Error::config("until.stop", message));
        }
        Ok(())
    }
}
