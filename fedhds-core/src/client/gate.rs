//! A client's part in the quality gate: which pairs of a response and a prompt to take the loss of, and what the losses say.
//!
//! The client knows no model. It names [`Pair`]s; whoever runs a model gives the mean loss of each response under each prompt.

use super::Client;
use crate::error::{Error, Result};
use crate::protocol::{ClientSummary, GateAnswer, GateLimit, GateQuestion, RecordKeys, Registered, RoundStart};
use crate::sorting;
use crate::types::{RowId, Seed};
use serde::{Deserialize, Serialize};

/// Cosine from which two prompts are of one topic.
const SAME_TOPIC: f64 = 0.5;

/// Records that are ranked at least, else the client abstains.
const LEAST_RANKED: usize = 4;

/// Prompts that decoys of an open gate are taken from.
const DECOY_PROMPTS: usize = 8;

/// Losses are not below this when their logarithm is taken, in nats.
const LEAST_LOSS: f64 = 1e-6;

/// A response under a prompt: its loss is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// The record whose response it is.
    pub response: RowId,
    /// The record whose prompt it is put under: its own, or a decoy's.
    pub prompt: RowId,
}

/// How much likelier a response is under its own prompt than under a decoy; NaN without a loss.
fn score(own: f32, decoy: f32) -> f64 {
    // `max` takes the other number for NaN.
    let ln = |loss: f32| if loss.is_nan() { f64::NAN } else { f64::from(loss).max(LEAST_LOSS).ln() };
    ln(decoy) - ln(own)
}

/// The scores of each record that `losses` of a [`pilot`](Client::pilot)'s pairs tell: `ln(decoy loss) - ln(own loss)`, one for each
/// decoy; higher is better. A record without one of its losses is left out, as it is from the answer.
///
/// # Errors
/// [`Error::Input`] for another number of losses, and for a decoy before its record's own prompt.
pub fn pilot_scores(pairs: &[Pair], losses: &[f32]) -> Result<Vec<(RowId, Vec<f64>)>> {
    let mut ranked: Vec<Ranked> = Vec::new();
    for pair in pairs {
        match ranked.last_mut() {
            _ if pair.response == pair.prompt => ranked.push(Ranked { row: pair.response.index(), decoys: Vec::new() }),
            Some(last) if last.row == pair.response.index() => last.decoys.push(pair.prompt.index()),
            _ => return Err(Error::input("pairs", "a record's own prompt before its decoys", pair.prompt)),
        }
    }
    ranked.retain(|ranked| !ranked.decoys.is_empty());
    let scores = scores_of(&ranked, losses)?;
    let scored = ranked.into_iter().map(|ranked| RowId(ranked.row as u32)).zip(scores);
    Ok(scored.filter(|(_, scores)| scores.iter().all(|score| !score.is_nan())).collect())
}

/// A record with the decoys that it is scored against.
struct Ranked {
    row: usize,
    decoys: Vec<usize>,
}

impl Client {
    /// What answers the server's question: the pairs whose losses [`answer`](Client::answer) takes, after
    /// [`summarize`](Client::summarize). None where the server did not ask or knows the answer, and where this client's topics are
    /// too few to tell. Of near copies one is looked at.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a section that cannot be read, and before a summary.
    pub fn pilot(&self, start: &RoundStart) -> Result<Vec<Pair>> {
        let Some(question) = self.asked(start)? else { return Ok(Vec::new()) };
        Ok(self.ranked(start, &question)?.iter().flat_map(Ranked::pairs).collect())
    }

    /// The summary with the answer to the server's question: `losses` are the mean losses of [`pilot`](Client::pilot)'s pairs, in
    /// nats, in their order; NaN where there is none. It abstains where its records or topics are too few to tell.
    ///
    /// # Errors
    /// As [`pilot`](Client::pilot); [`Error::Input`] for another number of losses.
    pub fn answer(&self, summary: &mut ClientSummary, start: &RoundStart, losses: &[f32]) -> Result<()> {
        let Some(question) = self.asked(start)? else { return Ok(()) };
        let ranked = self.ranked(start, &question)?;
        let mut bins = [0u32; 14];
        let mut records = 0;
        for scores in scores_of(&ranked, losses)? {
            if scores.iter().all(|score| !score.is_nan()) {
                scores.iter().for_each(|score| bins[GateAnswer::bin(*score)] += 1);
                records += 1;
            }
        }
        let scored = records as usize >= LEAST_RANKED;
        let answer = if scored { GateAnswer::Scored { records, bins } } else { GateAnswer::Abstained };
        summary.sections.set(&answer)
    }

    /// The question, where the server asks this client.
    fn asked(&self, start: &RoundStart) -> Result<Option<GateQuestion>> {
        let known = start.sections.get::<Registered>()?.and_then(|registered| registered.of(self.id));
        if known.is_some_and(|known| known.answered) {
            return Ok(None);
        }
        start.sections.get()
    }

    fn pilot_seed(&self, start: &RoundStart) -> Result<Seed> {
        let keys = start.sections.get::<RecordKeys>()?.map_or(Seed(0), |RecordKeys(seed)| seed);
        Ok(keys.derive("pilot", u64::from(self.id.0)))
    }

    /// The records that answer the question; none where they are of too few topics.
    fn ranked(&self, start: &RoundStart, question: &GateQuestion) -> Result<Vec<Ranked>> {
        let representatives = self.representatives(self.pilot_seed(start)?, question.representatives as usize)?;
        let mut leaders: Vec<usize> = Vec::new();
        for &row in &representatives {
            if !leaders.iter().any(|&leader| self.same_topic(row, leader)) {
                leaders.push(row);
            }
        }
        if leaders.len() < question.topics as usize {
            return Ok(Vec::new());
        }
        let seed = self.pilot_seed(start)?;
        let decoys = question.decoys as usize;
        let ranked =
            representatives.iter().map(|&row| Ranked { row, decoys: self.decoys(row, &representatives, decoys, seed) });
        Ok(ranked.filter(|ranked| ranked.decoys.len() >= decoys.min(3)).collect())
    }

    /// Distinct records in groups, in the order of keys of their own, so many.
    fn representatives(&self, seed: Seed, count: usize) -> Result<Vec<usize>> {
        let Some(state) = &self.state else {
            return Err(Error::protocol("gate", "a summary before it", "no summary was made"));
        };
        let labels = state.clustering.labels.iter().enumerate();
        let mut rows: Vec<usize> = labels.filter(|(_, label)| label.is_some()).map(|(row, _)| row).collect();
        // What has copies here has them elsewhere: one original in many clients' answers would count many times.
        sorting::sort_by_key(&mut rows, |&row| {
            (state.has_copies(row), seed.derive("representative", row as u64).0, row)
        });
        rows.truncate(count);
        Ok(rows)
    }

    /// Prompts of other topics than a record's, at most so many, in an order of this record's own.
    fn decoys(&self, row: usize, representatives: &[usize], count: usize, seed: Seed) -> Vec<usize> {
        let seed = seed.derive("decoys", row as u64);
        let mut decoys: Vec<usize> = self.others(row, representatives).collect();
        sorting::sort_by_key(&mut decoys, |&decoy| (seed.derive("decoy", decoy as u64).0, decoy));
        decoys.truncate(count);
        decoys
    }

    /// Those of other topics than a record's.
    fn others<'a>(&'a self, row: usize, representatives: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        representatives.iter().copied().filter(move |&decoy| decoy != row && !self.same_topic(row, decoy))
    }

    fn same_topic(&self, a: usize, b: usize) -> bool {
        let Some(state) = &self.state else { return false };
        let prompts = state.prompts.as_ref().unwrap_or(&state.points);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
        let (a, b) = (prompts.row(a), prompts.row(b));
        dot(a, b) >= SAME_TOPIC * (dot(a, a) * dot(b, b)).sqrt()
    }

    /// The mean score of each of these records under an open gate, `losses` giving the mean loss of each pair; NaN for a record without a
    /// decoy of another topic, or without losses.
    pub(super) fn mean_scores(
        &self,
        rows: &[RowId],
        limit: &GateLimit,
        losses: &mut dyn FnMut(&[Pair]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f64>> {
        let seed = self.state.as_ref().and_then(|state| state.keys).unwrap_or(Seed(0));
        let seed = seed.derive("pilot", u64::from(self.id.0));
        // The same few prompts for all records: whoever keeps what a model made of a prompt makes it once.
        let representatives =
            self.representatives(seed, DECOY_PROMPTS.max((limit.decoys as usize).saturating_mul(2)))?;
        let ranked: Vec<Ranked> = rows
            .iter()
            .map(|row| {
                let decoys = self.others(row.index(), &representatives).take(limit.decoys as usize);
                Ranked { row: row.index(), decoys: decoys.collect() }
            })
            .collect();
        let pairs: Vec<Pair> = ranked.iter().flat_map(Ranked::pairs).collect();
        let given = if pairs.is_empty() { Vec::new() } else { losses(&pairs)? };
        // Of no scores the mean is NaN too.
        let mean = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
        Ok(scores_of(&ranked, &given)?.into_iter().map(mean).collect())
    }
}

/// Of records with these mean scores those that pass an open gate's limit, and those that do not. A record without a score passes: nothing
/// tells that it is bad.
pub(super) fn passing(rows: &[RowId], scores: &[f64], limit: &GateLimit) -> (Vec<RowId>, Vec<RowId>) {
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for (row, score) in rows.iter().zip(scores) {
        if *score < f64::from(limit.least_score) { failed.push(*row) } else { passed.push(*row) }
    }
    (passed, failed)
}

/// The scores of each record against its decoys, of the losses of all their [pairs](Ranked::pairs).
fn scores_of(ranked: &[Ranked], losses: &[f32]) -> Result<Vec<Vec<f64>>> {
    let pairs: usize = ranked.iter().map(|ranked| ranked.pairs().count()).sum();
    if losses.len() != pairs {
        return Err(Error::input("losses", format!("{pairs}, one for each pair"), losses.len()));
    }
    let mut rest = losses.iter();
    let scores = ranked.iter().map(|ranked| {
        let given: Vec<f32> = rest.by_ref().take(ranked.pairs().count()).copied().collect();
        given.iter().skip(1).map(|&decoy| score(given[0], decoy)).collect()
    });
    Ok(scores.collect())
}

impl Ranked {
    /// Its own prompt first, then the decoys; none where there is no decoy to compare with.
    fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        let pair = |prompt: usize| Pair { response: RowId(self.row as u32), prompt: RowId(prompt as u32) };
        let own = (!self.decoys.is_empty()).then_some(self.row);
        own.into_iter().chain(self.decoys.iter().copied()).map(pair)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pilots_losses_are_scores_of_its_records() {
        let pair = |response: u32, prompt: u32| Pair { response: RowId(response), prompt: RowId(prompt) };
        let pairs = [pair(4, 4), pair(4, 1), pair(4, 2), pair(1, 1), pair(1, 4), pair(2, 2), pair(2, 4)];
        let scored = pilot_scores(&pairs, &[1.0, 2.0, 0.5, 1.0, f32::NAN, 3.0, 3.0]).unwrap();
        // Row 1 has no loss under its decoy.
        assert_eq!(scored, [(RowId(4), vec![2f64.ln(), 0.5f64.ln()]), (RowId(2), vec![0.0])]);
        assert!(pilot_scores(&pairs, &[1.0]).unwrap_err().to_string().contains("7, one for each pair"));
        let error = pilot_scores(&pairs[1..], &[1.0; 6]).unwrap_err().to_string();
        assert!(error.contains("its decoys"), "{error}");
        assert_eq!(pilot_scores(&[], &[]).unwrap(), []);
    }
}
