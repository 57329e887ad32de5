//! `swap_within`: records get other responses of their own task.

use super::exchange::{Answers, exchange, hand_over};
use super::{Flaw, Swap, Truth, slots};
use crate::dataset::ClientData;
use crate::types::Seed;

/// `share` of the client's records trade their responses, all of a record's together, so that each gets those of a record of
/// its own task that shares no response with it. A record whose task has no other such record keeps its own.
pub(super) fn apply(share: f64, client: &mut ClientData, truth: &mut Truth, flaws: Seed, seed: Seed) {
    let answers = Answers::of(&client.records);
    let fits = |a: usize, b: usize| {
        let pair = answers.get(a).zip(answers.get(b));
        pair.is_some_and(|(a, b)| a.same_task(b) && !a.share_a_response(b))
    };
    let order = slots::without_flaw(client, truth, flaws);
    let gets = exchange(&order, slots::count(share, client.records.len()), fits, &mut seed.rng());
    hand_over(&mut client.records, &gets);
    for record in gets.iter().filter_map(|(slot, _)| client.records.get(*slot)) {
        truth.mark(&record.id, Flaw::Swapped(Swap::Within));
    }
}
