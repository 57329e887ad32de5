//! Each round is answered once: the same question gets the same answer again, another one an error.

use super::Client;
use super::picked::Picked;
use crate::error::{Error, Result};
use crate::protocol::{Registered, RoundStart, Section as _, SelectionOrder, Wire as _};
use crate::types::seed::first_eight;
use crate::types::{Context, Round, RowId, Seed};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};

/// The order that a client answered last, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnsweredOrder {
    /// Its round.
    pub round: Round,
    /// A hash of the order and of the seed of the choice.
    pub asked: u64,
    /// Whether losses had a say.
    pub scored: bool,
    /// The chosen records, those of ordered groups before spares.
    pub chosen: Vec<RowId>,
    /// Those that did not pass the gate.
    pub refused: Vec<RowId>,
    /// How many of either are of ordered groups.
    pub ordered: (u32, u32),
    /// Scores of records that the gate looked at; without those that are NaN.
    pub scores: Vec<(RowId, f64)>,
}

/// The last answered order, where `&Client` can write it down: choosing is reading but for this.
#[derive(Debug, Default)]
pub(super) struct Answered(Mutex<Option<AnsweredOrder>>);

impl Answered {
    pub(super) fn get(&self) -> Option<AnsweredOrder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, answered: Option<AnsweredOrder>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answered;
    }

    pub(super) fn forget(&self) {
        self.set(None);
    }
}

impl Clone for Answered {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.get()))
    }
}

/// What a round's start asks, and with which seed it is answered; what the server knows of its clients changes no answer.
pub(super) fn question(start: &RoundStart, seed: Seed) -> Result<u64> {
    let mut asked = start.clone();
    asked.sections.remove(Registered::NUMBER);
    hash(seed, &asked.encode()?)
}

fn hash(seed: Seed, bytes: &[u8]) -> Result<u64> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.0.to_le_bytes());
    hasher.update(bytes);
    Ok(first_eight(&hasher))
}

impl Client {
    /// Whether this start may be answered: no round before the last one that was, and the last one only as it was asked then.
    pub(super) fn check_round(&self, start: &RoundStart, asked: u64) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let Some(last) = state.asked else { return Ok(()) };
        if start.round < state.round {
            let expected = format!("at least {}, the last round that was answered (`unpin` forgets it)", state.round);
            return Err(Error::protocol("round_start: round", expected, start.round));
        }
        if start.round == state.round && asked != last {
            let expected = format!("what round {} was asked first (`unpin` forgets it)", start.round);
            return Err(Error::protocol("round_start", expected, "another question or seed for an answered round"));
        }
        Ok(())
    }

    /// What this order was answered with, where it was; none where it is the round's first.
    ///
    /// # Errors
    /// [`Error::Protocol`] for another order than the one that the round was answered to.
    pub(super) fn answer_to(
        &self,
        order: &SelectionOrder,
        context: &Context,
        scored: bool,
    ) -> Result<Option<AnsweredOrder>> {
        let mine = order.client == self.id && self.state.as_ref().is_some_and(|state| state.round == order.round);
        let Some(answered) = self.answered.get().filter(|answered| mine && answered.round == order.round) else {
            return Ok(None);
        };
        if answered.asked != hash(context.seed, &order.encode()?)? {
            let expected = format!("the order that round {} was answered to (`unpin` forgets it)", order.round);
            return Err(Error::protocol("selection_order", expected, "another order or seed for an answered round"));
        }
        Ok(Some(answered).filter(|answered| answered.scored || !scored))
    }

    /// Writes down what an order is answered with. One without records is no answer: nothing trains on it.
    pub(super) fn note_answer(
        &self,
        order: &SelectionOrder,
        context: &Context,
        scored: bool,
        picked: &Picked,
        scores: &[(RowId, f64)],
    ) -> Result<()> {
        if order.is_empty() {
            return Ok(());
        }
        self.answered.set(Some(AnsweredOrder {
            round: order.round,
            asked: hash(context.seed, &order.encode()?)?,
            scored,
            chosen: picked.chosen.clone(),
            refused: picked.refused.clone(),
            // The last record of an order in tokens may have been put back.
            ordered: (
                picked.ordered.0.min(picked.chosen.len()) as u32,
                picked.ordered.1.min(picked.refused.len()) as u32,
            ),
            scores: scores.to_vec(),
        }));
        Ok(())
    }
}

impl AnsweredOrder {
    /// As it was when it was picked.
    pub(super) fn into_picked(self) -> (Picked, Vec<(RowId, f64)>) {
        let ordered = (self.ordered.0 as usize, self.ordered.1 as usize);
        (Picked { chosen: self.chosen, refused: self.refused, ordered }, self.scores)
    }
}
