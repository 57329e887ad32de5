//! What an order is answered with.

use crate::error::Result;
use crate::sorting;
use crate::types::RowId;

/// Which of these candidates may train, and which may not.
pub(super) type Passing<'a> = dyn FnMut(Vec<RowId>) -> Result<(Vec<RowId>, Vec<RowId>)> + 'a;

/// What an order has been answered with so far.
#[derive(Default)]
pub(super) struct Picked {
    pub chosen: Vec<RowId>,
    pub refused: Vec<RowId>,
    /// How many of either are of the ordered groups; spares come behind them.
    pub ordered: (usize, usize),
}

impl Picked {
    /// The chosen rows, ascending.
    pub(super) fn ascending(mut self) -> Vec<RowId> {
        sorting::sort(&mut self.chosen);
        self.chosen
    }
}
