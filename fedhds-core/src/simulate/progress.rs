//! Progress bars with the time left, on a terminal only.

use crate::types::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bars on stderr, one for each stage at work, with the time left where a total is known; silent when stderr is not a
/// terminal.
pub struct TerminalProgress {
    bars: MultiProgress,
    open: Mutex<BTreeMap<String, Open>>,
}

/// A stage at work: its bar, and how many have begun and not ended it.
struct Open {
    bar: ProgressBar,
    begun: usize,
}

impl Default for TerminalProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl TerminalProgress {
    /// Bars on stderr if that is a terminal, else none.
    pub fn new() -> Self {
        if std::io::stderr().is_terminal() { Self::on(ProgressDrawTarget::stderr()) } else { Self::hidden() }
    }

    /// Bars that are never drawn.
    pub fn hidden() -> Self {
        Self::on(ProgressDrawTarget::hidden())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self { bars: MultiProgress::with_draw_target(target), open: Mutex::new(BTreeMap::new()) }
    }

    /// Whether nothing is drawn.
    pub fn is_hidden(&self) -> bool {
        self.bars.is_hidden()
    }

    /// A writer to stderr that moves the bars out of the way of each line: give it to the log.
    pub fn log_writer(&self) -> LogWriter {
        LogWriter { bars: self.bars.clone() }
    }

    /// The stages that are open, with the units done and the total where it is known.
    pub fn open_stages(&self) -> Vec<(String, u64, Option<u64>)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|(name, stage)| (name.clone(), stage.bar.position(), stage.bar.length())).collect()
    }
}

fn style(known_total: bool) -> ProgressStyle {
    let template = if known_total {
        "{prefix:>22} {bar:32} {pos}/{len} {elapsed_precise}, {eta} left"
    } else {
        "{prefix:>22} {spinner} {pos} {elapsed_precise}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for TerminalProgress {
    fn begin(&self, stage: &str, total: Option<u64>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = open.get_mut(stage) {
            stage.begun += 1;
            stage.bar.inc_length(total.unwrap_or(0));
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let bar = self.bars.add(bar);
        bar.set_style(style(total.is_some()));
        bar.set_prefix(stage.to_owned());
        if !self.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        open.insert(stage.to_owned(), Open { bar, begun: 1 });
    }

    fn advance(&self, stage: &str, units: u64) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = open.get(stage) {
            stage.bar.inc(units);
        }
    }

    fn end(&self, stage: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(stage) {
            Some(stage) if stage.begun > 1 => stage.begun -= 1,
            _ => {
                if let Some(Open { bar, .. }) = open.remove(stage) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
            }
        }
    }
}

/// Writes log lines to stderr without tearing the bars.
#[derive(Clone)]
pub struct LogWriter {
    bars: MultiProgress,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bars.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_nest_and_close() {
        let progress = TerminalProgress::hidden();
        assert!(progress.is_hidden());
        progress.begin("rounds", Some(3));
        progress.begin("training", None);
        progress.advance("training", 4);
        progress.advance("rounds", 1);
        progress.advance("never begun", 1);
        assert_eq!(progress.open_stages(), [("rounds".into(), 1, Some(3)), ("training".into(), 4, None)]);
        progress.end("training");
        progress.begin("training", Some(2)); // begun again: starts from 0
        assert_eq!(progress.open_stages()[1], ("training".into(), 0, Some(2)));
        progress.begin("training", Some(3)); // by another client beside the first
        progress.advance("training", 1);
        progress.end("training");
        assert_eq!(progress.open_stages()[1], ("training".into(), 1, Some(5)));
        progress.end("training");
        progress.end("rounds");
        progress.end("rounds");
        assert!(progress.open_stages().is_empty());
    }

    #[test]
    fn templates_are_valid() {
        for known in [true, false] {
            let template = style(known);
            drop(template);
        }
        assert!(
            ProgressStyle::with_template("{prefix:>22} {bar:32} {pos}/{len} {elapsed_precise}, {eta} left").is_ok()
        );
    }
}
