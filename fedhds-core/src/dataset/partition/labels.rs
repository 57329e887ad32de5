//! A fixed number of groups for each client.

use super::even;
use crate::error::{Error, Result};
use crate::sorting;
use crate::types::Seed;
use rand::seq::SliceRandom;

/// Every client takes the groups that fewest clients hold so far (drawn among equals), so that all groups are held.
pub(super) fn split(
    groups: Vec<Vec<usize>>,
    clients: usize,
    labels_per_client: usize,
    min_records: usize,
    seed: Seed,
) -> Result<Vec<Vec<usize>>> {
    if labels_per_client > groups.len() {
        let expected = format!("at most {}, the number of groups", groups.len());
        return Err(Error::parameter("labels_per_client", expected, labels_per_client));
    }
    if clients * labels_per_client < groups.len() {
        let least = groups.len().div_ceil(labels_per_client);
        let expected = format!("at least {least}, so that all {} groups are held", groups.len());
        return Err(Error::parameter("clients", expected, clients));
    }
    let mut holders = vec![Vec::new(); groups.len()];
    let mut rng = seed.derive("holders", 0).rng();
    for client in 0..clients {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.shuffle(&mut rng);
        sorting::sort_by_key(&mut order, |&group| holders.get(group).map_or(0, Vec::len));
        for group in order.into_iter().take(labels_per_client) {
            if let Some(holders) = holders.get_mut(group) {
                holders.push(client);
            }
        }
    }
    let mut dealt: Vec<Vec<usize>> = vec![Vec::new(); clients];
    for (number, (rows, mut holders)) in groups.into_iter().zip(holders).enumerate() {
        // The longer parts come first: they go to the clients that have least so far.
        sorting::sort_by_key(&mut holders, |&client| dealt.get(client).map_or(0, Vec::len));
        let parts = even::split(rows, holders.len().max(1), seed.derive("group", number as u64));
        for (client, part) in holders.into_iter().zip(parts) {
            if let Some(rows) = dealt.get_mut(client) {
                rows.extend(part);
            }
        }
    }
    if let Some((client, rows)) = dealt.iter().enumerate().find(|(_, rows)| rows.len() < min_records) {
        let expected = format!("at most {}, what client {client} holds of its {labels_per_client} groups", rows.len());
        return Err(Error::parameter("min_records", expected, min_records));
    }
    Ok(dealt)
}
