//! `bad_clients`: some clients answer everything with one string.

use super::{Flaw, Truth, slots};
use crate::dataset::ClientData;
use crate::types::Seed;
use rand::seq::IndexedRandom as _;

/// What a bad client may answer.
const STRINGS: [&str; 8] = [
    "I do not know.",
    "n/a",
    "see above",
    "No comment.",
    "The answer is not available.",
    "asdf asdf",
    "Please ask someone else.",
    "???",
];

/// `share` of the clients, the first of a random order, draw a string each and give it as the only response to everything.
pub(super) fn apply(share: f64, clients: &mut [ClientData], truth: &mut Truth, seed: Seed) {
    let order = slots::order(clients.len(), seed.derive("order", 0));
    for index in order.into_iter().take(slots::count(share, clients.len())) {
        let Some(client) = clients.get_mut(index) else { continue };
        let mut rng = seed.derive("client", u64::from(client.client.0)).rng();
        let string = STRINGS.choose(&mut rng).copied().unwrap_or_default();
        for record in &mut client.records {
            record.responses = vec![string.to_owned()];
            truth.mark(&record.id, Flaw::BadClient);
        }
        truth.bad_clients.insert(client.client);
    }
}
