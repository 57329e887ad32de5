//! The sections of a budget in tokens. Where there is none, none of them is sent.

use super::{Kind, Section};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The most tokens that a record may have: 16,777,216.
pub const MAX_RECORD_TOKENS: u32 = 1 << 24;

/// Section 128 of a [`RoundStart`](super::RoundStart): the budget is in tokens, and a summary without [`GroupTokens`] is refused. A client
/// that does not know of tokens refuses the round's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensAsked;

impl Section for TokensAsked {
    const KIND: Kind = Kind::RoundStart;
    const NUMBER: u16 = 128;
    const NAME: &'static str = "tokens_asked";
}

/// Section 4 of a [`ClientSummary`](super::ClientSummary): the mean tokens of the records of each group, prompt, response and end of sequence. Of a group of one
/// record it is that record's length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GroupTokens(
    /// One for each group, in the order of the summary's groups; 1 to [`MAX_RECORD_TOKENS`].
    pub Vec<f32>,
);

impl GroupTokens {
    /// Whether they are those of so many groups.
    pub(super) fn check(&self, groups: usize) -> Result<()> {
        let GroupTokens(means) = self;
        let fail = |expected: String, got: String| {
            Err(Error::protocol("client_summary: section `group_tokens`", expected, got))
        };
        if means.len() != groups {
            return fail(format!("{groups} means, one for each group"), means.len().to_string());
        }
        // NaN is in no range.
        match means.iter().position(|mean| !(1.0..=MAX_RECORD_TOKENS as f32).contains(mean)) {
            None => Ok(()),
            Some(at) => fail(format!("1 to {MAX_RECORD_TOKENS}"), format!("{} at group {at}", means[at])),
        }
    }
}

impl Section for GroupTokens {
    const KIND: Kind = Kind::ClientSummary;
    const NUMBER: u16 = 4;
    const NAME: &'static str = "group_tokens";
}

/// Section 128 of a [`SelectionOrder`](super::SelectionOrder): the tokens that the client trains on. The order's counts then say in which
/// proportion the groups give, and the client stops before or after the record that reaches the tokens, whichever is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTokens(
    /// At least 1.
    pub u64,
);

impl Section for OrderTokens {
    const KIND: Kind = Kind::SelectionOrder;
    const NUMBER: u16 = 128;
    const NAME: &'static str = "order_tokens";
}

/// Section 2 of a [`LocalUpdate`](super::LocalUpdate): the tokens of the records that were trained on, each record once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedTokens(
    /// At least 1 for each record.
    pub u64,
);

impl Section for TrainedTokens {
    const KIND: Kind = Kind::LocalUpdate;
    const NUMBER: u16 = 2;
    const NAME: &'static str = "trained_tokens";
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{ClusterOrder, Group, LocalUpdate, RoundStart, SelectionOrder, Wire};
    use super::*;
    use crate::protocol::Ask;
    use crate::protocol::ClientSummary;
    use crate::types::{Adapter, ClientId, ClusterId, Matrix, Round};

    fn summary(means: &[f32]) -> ClientSummary {
        let groups = (0..2).map(|j| Group { cluster: ClusterId(j), size: 3 }).collect();
        let mut summary = ClientSummary::new(ClientId(1), Round(0), groups, Matrix::zeros(2, 1));
        summary.sections.set(&GroupTokens(means.to_vec())).unwrap();
        summary
    }

    fn order(tokens: u64) -> SelectionOrder {
        let mut order =
            SelectionOrder::new(ClientId(1), Round(0), vec![ClusterOrder { cluster: ClusterId(0), count: 2 }]);
        order.sections.set(&OrderTokens(tokens)).unwrap();
        order
    }

    fn update(tokens: u64) -> LocalUpdate {
        let mut update = LocalUpdate::new(ClientId(1), Round(0), 3, Adapter::default());
        update.sections.set(&TrainedTokens(tokens)).unwrap();
        update
    }

    fn back<M: Wire + PartialEq + std::fmt::Debug>(message: &M) {
        assert_eq!(&M::decode(&message.encode().unwrap()).unwrap(), message);
    }

    #[test]
    fn they_come_back_as_they_went() {
        let mut start = RoundStart::new(Round(3), Ask::Counts);
        start.sections.set(&TokensAsked).unwrap();
        back(&start);
        back(&summary(&[1.0, MAX_RECORD_TOKENS as f32]));
        back(&order(u64::MAX));
        back(&update(3));
        assert_eq!(order(300).sections.get().unwrap(), Some(OrderTokens(300)));
    }

    /// The error of a peer that does not check, and of one that does.
    fn refused<M: Wire + serde::Serialize>(message: &M, word: &str) {
        let error = message.encode().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        let bytes = [&b"FH\x02"[..], &[M::KIND.byte()], &postcard::to_stdvec(message).unwrap()].concat();
        assert_eq!(M::decode(&bytes).map(|_| ()).unwrap_err().to_string(), error);
    }

    #[test]
    fn what_no_record_can_have_is_refused() {
        refused(&summary(&[3.0]), "expected 2 means, one for each group, got 1");
        for bad in [0.0, 0.5, -1.0, f32::NAN, f32::INFINITY, 2.0 * MAX_RECORD_TOKENS as f32] {
            refused(&summary(&[3.0, bad]), "at group 1");
        }
        refused(&order(0), "at least 1");
        let empty = SelectionOrder { clusters: Vec::new(), ..order(5) };
        refused(&empty, "no tokens where the client does not train");
        refused(&update(2), "at least 3");
        let mut start = RoundStart::new(Round(3), Ask::Counts);
        start.sections.insert(TokensAsked::NUMBER, vec![1]);
        refused(&start, "section `tokens_asked`");
        let mut long = update(9);
        long.sections.insert(TrainedTokens::NUMBER, vec![0xff; 4]);
        refused(&long, "section `trained_tokens`");
    }

    #[test]
    fn who_does_not_know_of_tokens_refuses_what_must_be_understood() {
        for number in [TokensAsked::NUMBER, OrderTokens::NUMBER] {
            assert!(number >= crate::protocol::MUST_UNDERSTAND);
        }
        // In the place of an old client: a number that this one does not know.
        let mut start = RoundStart::new(Round(3), Ask::Counts);
        start.sections.insert(255, Vec::new());
        refused(&start, "number 255");
    }
}
