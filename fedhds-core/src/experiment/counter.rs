//! How far an experiment is.

use crate::types::Control;

/// How far the cells of all experiments at work are.
pub(super) struct Counter<'a> {
    pub(super) control: &'a Control,
    pub(super) done: usize,
    pub(super) of: usize,
}

impl<'a> Counter<'a> {
    /// The stage that is reported.
    const STAGE: &'static str = "cells";

    pub(super) fn begin(control: &'a Control, cells: usize) -> Self {
        control.begin(Self::STAGE, Some(cells as u64));
        Self { control, done: 0, of: cells }
    }

    pub(super) fn advance(&mut self, cells: usize) {
        self.done += cells;
        self.control.advance(Self::STAGE, cells as u64);
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.control.end(Self::STAGE);
    }
}
