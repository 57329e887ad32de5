//! Server to client: what to train on.

use super::{GateLimit, Kind, MAX_GROUPS, MAX_RECORDS, OrderTokens, Section as _, Sections, SpareGroups, Wire};
use crate::error::{Error, Result};
use crate::types::{ClientId, ClusterId, Round};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many records of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterOrder {
    /// The client's number for the group, as its summary gave it.
    pub cluster: ClusterId,
    /// Records to train on, at least 1 and at most the size that the summary gave. The paper orders 1. Where an upload stage
    /// changed that size, the group may hold fewer: the client then trains on those that it holds.
    pub count: u32,
}

/// Server to client: the records to train on, by group (eq. 9; the client picks the records themselves, eq. 10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionOrder {
    /// Who it is for.
    pub client: ClientId,
    /// The round.
    pub round: Round,
    /// Groups in ascending order of their ids; empty where the client does not train in this round.
    pub clusters: Vec<ClusterOrder>,
    /// Optional parts: [`SpareGroups`], [`GateLimit`], [`OrderTokens`].
    pub sections: Sections,
}

impl SelectionOrder {
    /// An order without optional parts.
    pub fn new(client: ClientId, round: Round, clusters: Vec<ClusterOrder>) -> Self {
        Self { client, round, clusters, sections: Sections::default() }
    }

    /// Records that the client trains on.
    pub fn records(&self) -> usize {
        self.clusters.iter().map(|c| c.count as usize).sum()
    }

    /// Whether the client does not train in this round.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}

impl Wire for SelectionOrder {
    const KIND: Kind = Kind::SelectionOrder;

    fn check(&self) -> Result<()> {
        let err = |what: &str, expected: String, got: String| Err(Error::protocol(what, expected, got));
        if self.clusters.len() > MAX_GROUPS {
            return err("selection_order: clusters", format!("at most {MAX_GROUPS}"), self.clusters.len().to_string());
        }
        let mut last = None;
        for order in &self.clusters {
            if last >= Some(order.cluster) {
                let expected = format!("ids in ascending order after {}", last.unwrap_or(ClusterId(0)));
                return err("selection_order: cluster", expected, order.cluster.to_string());
            }
            last = Some(order.cluster);
            if order.count == 0 {
                return err("selection_order: count", "at least 1".into(), format!("0 in cluster {}", order.cluster));
            }
        }
        let records: u64 = self.clusters.iter().map(|c| u64::from(c.count)).sum();
        if records > MAX_RECORDS as u64 {
            return err("selection_order: records", format!("at most {MAX_RECORDS}"), records.to_string());
        }
        self.sections.check(Self::KIND, &[SpareGroups::NUMBER, GateLimit::NUMBER, OrderTokens::NUMBER])?;
        if let Some(OrderTokens(tokens)) = self.sections.get()? {
            let what = "selection_order: section `order_tokens`";
            if self.is_empty() {
                return err(what, "no tokens where the client does not train".into(), tokens.to_string());
            }
            if tokens == 0 {
                return err(what, "at least 1".into(), "0".into());
            }
        }
        if let Some(limit) = self.sections.get::<GateLimit>()?
            && !(limit.least_score.is_finite()
                && (1..=GateLimit::MAX_DECOYS).contains(&limit.decoys)
                && (1..=GateLimit::MAX_TRIES).contains(&limit.tries))
        {
            let expected = format!(
                "a finite score, 1 to {} decoys and 1 to {} tries",
                GateLimit::MAX_DECOYS,
                GateLimit::MAX_TRIES
            );
            return err("selection_order: gate_limit", expected, format!("{limit:?}"));
        }
        if let Some(SpareGroups(spares)) = self.sections.get()? {
            let mut seen = BTreeSet::new();
            if let Some(twice) = spares.iter().find(|group| !seen.insert(**group)) {
                return err("selection_order: spare_groups", "distinct groups".into(), format!("{twice} twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn order(clusters: &[(u32, u32)]) -> SelectionOrder {
        let clusters = clusters.iter().map(|&(c, count)| ClusterOrder { cluster: ClusterId(c), count }).collect();
        SelectionOrder::new(ClientId(1), Round(300), clusters)
    }

    #[test]
    fn comes_back_as_it_went() {
        for clusters in [&[][..], &[(0, 1)], &[(0, 1), (4, 20), (1000, 300)]] {
            let message = order(clusters);
            assert_eq!(SelectionOrder::decode(&message.encode().unwrap()).unwrap(), message);
        }
        assert_eq!(order(&[(0, 1), (2, 1)]).encoded_len().unwrap(), 4 + 1 + 2 + 1 + 2 * 2 + 1);
        assert_eq!(order(&[(0, 1), (2, 5)]).records(), 6);
    }

    #[test]
    fn noise_duplicates_and_empty_picks_cannot_be_sent() {
        // The released code sends the label of the j-th record for the j-th centroid: -1 and duplicates among them.
        assert!(order(&[(1, 1), (1, 1)]).encode().unwrap_err().to_string().contains("ascending"));
        assert!(order(&[(2, 1), (1, 1)]).encode().is_err());
        assert!(order(&[(2, 0)]).encode().unwrap_err().to_string().contains("at least 1"));
        assert!(order(&[(0, u32::MAX), (1, u32::MAX)]).encode().is_err());
    }
}
