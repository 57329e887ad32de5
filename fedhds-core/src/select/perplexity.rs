//! Rows by their perplexity.

use super::rows::{Groups, check_rows, row_ids};
use crate::error::{Error, Result};
use crate::stage::{Budget, Rows, Selector};
use crate::types::{Context, RowId};
use serde::{Deserialize, Serialize};

/// The column of [`Rows::scores`] that is looked at: the mean loss of a record's response, whose exponential is the perplexity.
const LOSS: &str = "loss";

/// Which perplexities are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// The lowest: what the model finds likely.
    Low,
    /// Those around the median: what Marion et al. 2023 (*When Less is More*) found best.
    #[default]
    Middle,
    /// The highest: what the model finds hard, or what is wrong.
    High,
}

/// Rows by their perplexity: the lowest, the highest, or those around the median (Marion et al. 2023); the paper's baseline `Perplexity`.
///
/// A total ignores groups; with [`Budget::PerCluster`] it runs within each. Rows whose loss is NaN come last; equal ones go to the smaller
/// key ([`Rows::keys`]), then to the lower row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Perplexity {
    /// Which are taken.
    pub band: Band,
}

impl Perplexity {
    /// `count` of these rows.
    fn best(&self, mut rows: Vec<usize>, count: usize, losses: &[f32], keys: &[u64]) -> Vec<usize> {
        let tie = |row: usize| (keys.get(row).copied().unwrap_or_default(), row);
        let known = rows.iter().filter(|row| !losses[**row].is_nan()).count();
        rows.sort_unstable_by(|&a, &b| {
            let nan = losses[a].is_nan().cmp(&losses[b].is_nan());
            nan.then(losses[a].total_cmp(&losses[b])).then_with(|| tie(a).cmp(&tie(b)))
        });
        match self.band {
            Band::Low => {}
            Band::High => rows[..known].reverse(),
            Band::Middle => {
                // Twice the distance from the middle rank, so that it is whole.
                let middle = known.saturating_sub(1);
                let mut ranked: Vec<(usize, usize)> = rows.iter().enumerate().map(|(rank, &row)| (rank, row)).collect();
                ranked[..known].sort_by_key(|(rank, _)| (2 * rank).abs_diff(middle));
                rows = ranked.into_iter().map(|(_, row)| row).collect();
            }
        }
        rows.truncate(count);
        rows
    }
}

impl Selector for Perplexity {
    /// # Errors
    /// [`Error::Input`] without scores, or without a `loss` among them.
    fn select(&self, all: &Rows<'_>, budget: Budget, _context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let expected = || format!("a scorer that gives `{LOSS}`, which `perplexity` ranks by");
        let Some(scores) = all.scores else { return Err(Error::input("rows: scores", expected(), "none")) };
        let Some(losses) = scores.column(LOSS) else {
            return Err(Error::input("rows: scores", expected(), scores.names().join(", ")));
        };
        let losses: Vec<f32> = losses.collect();
        let chosen = match budget {
            Budget::Total(total) => self.best((0..all.len()).collect(), total, &losses, all.keys),
            Budget::PerCluster(count) => {
                let clusters = Groups::of(all).clusters.into_iter();
                clusters.flat_map(|rows| self.best(rows, count, &losses, all.keys)).collect()
            }
        };
        Ok(row_ids(chosen))
    }

    fn uses_groups(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::{Matrix, Scores};

    fn picked(band: Band, losses: &[f32], total: usize) -> Vec<u32> {
        let points = Matrix::zeros(losses.len(), 0);
        let scores = Scores::new([LOSS], Matrix::new(losses.len(), 1, losses.to_vec()).unwrap()).unwrap();
        let rows = Rows::new(&points).scores(Some(&scores));
        let picks = Perplexity { band }.select(&rows, Budget::Total(total), &Context::new(0)).unwrap();
        picks.into_iter().map(|row| row.0).collect()
    }

    #[test]
    fn each_band_takes_its_own() {
        let losses = [5.0, 1.0, f32::NAN, 3.0, 2.0, 4.0];
        assert_eq!(picked(Band::Low, &losses, 2), [1, 4]);
        assert_eq!(picked(Band::High, &losses, 2), [0, 5]);
        assert_eq!(picked(Band::Middle, &losses, 1), [3]);
        assert_eq!(picked(Band::Middle, &losses, 3), [3, 4, 5]);
        for band in [Band::Low, Band::Middle, Band::High] {
            assert_eq!(picked(band, &losses, 5), [0, 1, 3, 4, 5], "what has no loss comes last");
            assert_eq!(picked(band, &losses, 6).len(), 6);
        }
        assert_eq!(picked(Band::Middle, &[1.0, 2.0, 3.0, 4.0], 2), [1, 2]);
        assert_eq!(picked(Band::High, &[2.0, 2.0, 1.0], 1).len(), 1);
    }

    #[test]
    fn without_a_loss_it_says_what_it_needs() {
        let points = Matrix::zeros(2, 0);
        let select = |rows: Rows<'_>| {
            Perplexity::default().select(&rows, Budget::Total(1), &Context::new(0)).unwrap_err().to_string()
        };
        assert!(select(Rows::new(&points)).contains("expected a scorer that gives `loss`"));
        let other = Scores::new(["length"], Matrix::zeros(2, 1)).unwrap();
        assert!(select(Rows::new(&points).scores(Some(&other))).contains("got length"));
    }
}
