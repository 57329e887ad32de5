//! How many records train in a round.

use crate::error::{Error, Result};
use crate::types::Round;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What a round may spend: a number of records, or `{ tokens = N }`.
///
/// Tokens are those of a record's prompt, response and end of sequence. Where records differ in length, methods that spend equal tokens cost
/// alike, and methods that train on equally many records do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundBudget {
    /// So many records, at least 1.
    Records(usize),
    /// So many tokens, at least 1.
    Tokens(u64),
}

/// How many records train in a round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "Written", into = "Written")]
pub enum Count {
    /// One record per cluster that the server finds (the paper): the clustering decides, and the count varies from round to
    /// round; it may be none.
    #[default]
    PerCluster,
    /// So many records, at least 1: met exactly where the clients' groups hold so many, all of them where they hold fewer.
    Budget(usize),
    /// So many tokens, at least 1; in a configuration `{ budget = { tokens = N } }`. The clients' orders sum to it where their groups hold so
    /// many, and each client meets its order to within one record: it stops before or after the record that reaches it, whichever is nearer,
    /// and not before its first record.
    Tokens(u64),
    /// This share of the records in the clients' groups, in (0, 1], rounded to the nearest count, at least 1: met as a budget.
    Ratio(f64),
    /// So many records in each round, that of the first round first, met as a budget; 0 is a round without a selection, and so is
    /// one past the end. For a baseline at the count that another method's clustering decided on.
    PerRound(Vec<usize>),
    /// Every record in a group.
    All,
}

/// A count as configurations write it: budgets of records and of tokens are one key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    PerCluster,
    Budget(RoundBudget),
    Ratio(f64),
    PerRound(Vec<usize>),
    All,
}

impl From<Written> for Count {
    fn from(written: Written) -> Self {
        match written {
            Written::PerCluster => Count::PerCluster,
            Written::Budget(budget) => budget.into(),
            Written::Ratio(ratio) => Count::Ratio(ratio),
            Written::PerRound(counts) => Count::PerRound(counts),
            Written::All => Count::All,
        }
    }
}

impl From<Count> for Written {
    fn from(count: Count) -> Self {
        match count {
            Count::PerCluster => Written::PerCluster,
            Count::Budget(records) => Written::Budget(RoundBudget::Records(records)),
            Count::Tokens(tokens) => Written::Budget(RoundBudget::Tokens(tokens)),
            Count::Ratio(ratio) => Written::Ratio(ratio),
            Count::PerRound(counts) => Written::PerRound(counts),
            Count::All => Written::All,
        }
    }
}

impl From<RoundBudget> for Count {
    fn from(budget: RoundBudget) -> Self {
        match budget {
            RoundBudget::Records(records) => Count::Budget(records),
            RoundBudget::Tokens(tokens) => Count::Tokens(tokens),
        }
    }
}

/// The table of a budget in tokens.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InTokens {
    tokens: u64,
}

impl Serialize for RoundBudget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match *self {
            RoundBudget::Records(records) => records.serialize(serializer),
            RoundBudget::Tokens(tokens) => InTokens { tokens }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RoundBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RoundBudget;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of records, or `{ tokens = N }`")
            }

            fn visit_u64<E: de::Error>(self, records: u64) -> std::result::Result<RoundBudget, E> {
                match usize::try_from(records) {
                    Ok(records) => Ok(RoundBudget::Records(records)),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(records), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, records: i64) -> std::result::Result<RoundBudget, E> {
                match u64::try_from(records) {
                    Ok(records) => self.visit_u64(records),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(records), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<RoundBudget, A::Error> {
                let InTokens { tokens } = InTokens::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RoundBudget::Tokens(tokens))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Count {
    /// # Errors
    /// [`Error::Parameter`] for a budget of 0 or a ratio outside (0, 1].
    pub fn check(&self) -> Result<()> {
        match self {
            Count::Budget(0) => Err(Error::parameter("count.budget", "at least 1", 0)),
            Count::Tokens(0) => Err(Error::parameter("count.budget.tokens", "at least 1", 0)),
            Count::Ratio(ratio) if !(*ratio > 0.0 && *ratio <= 1.0) => {
                Err(Error::parameter("count.ratio", "above 0 and at most 1", ratio))
            }
            _ => Ok(()),
        }
    }

    /// The tokens of a round, where its budget is in tokens.
    pub fn tokens(&self) -> Option<u64> {
        match self {
            Count::Tokens(tokens) => Some(*tokens),
            _ => None,
        }
    }

    /// The records that a round asks for, where `records` records are in groups: as [`budget`](Count::budget), but a number that the
    /// configuration names stays what it is where the groups hold fewer.
    pub fn asked(&self, round: Round, records: usize) -> Option<usize> {
        match self {
            Count::Budget(budget) => Some(*budget),
            Count::PerRound(counts) => Some(counts.get(round.0 as usize).copied().unwrap_or_default()),
            _ => self.budget(round, records),
        }
    }

    /// The budget of a round in records, where `records` records are in groups; `None` where the clustering decides. Of a budget in tokens
    /// the most that it may come to: all of them.
    pub fn budget(&self, round: Round, records: usize) -> Option<usize> {
        match self {
            Count::PerCluster => None,
            Count::Budget(budget) => Some(records.min(*budget)),
            Count::Ratio(ratio) => Some(((*ratio * records as f64).round() as usize).clamp(records.min(1), records)),
            Count::PerRound(counts) => Some(counts.get(round.0 as usize).map_or(0, |count| records.min(*count))),
            Count::All | Count::Tokens(_) => Some(records),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_budgets() {
        assert_eq!(Count::PerCluster.budget(Round(0), 10), None);
        assert_eq!(Count::Budget(4).budget(Round(0), 10), Some(4));
        assert_eq!(Count::Budget(40).budget(Round(0), 10), Some(10));
        assert_eq!(Count::Ratio(0.25).budget(Round(0), 10), Some(3));
        assert_eq!(Count::Ratio(1e-9).budget(Round(0), 10), Some(1));
        assert_eq!(Count::Ratio(0.5).budget(Round(0), 0), Some(0));
        assert_eq!(Count::All.budget(Round(0), 10), Some(10));
        let counts = Count::PerRound(vec![3, 0]);
        assert_eq!([0, 1, 2].map(|round| counts.budget(Round(round), 10)), [Some(3), Some(0), Some(0)]);
        assert_eq!(counts.budget(Round(0), 2), Some(2));
        assert_eq!((Count::Tokens(9).tokens(), Count::Budget(9).tokens()), (Some(9), None));
        for bad in [Count::Budget(0), Count::Tokens(0), Count::Ratio(0.0), Count::Ratio(1.5), Count::Ratio(f64::NAN)] {
            assert!(bad.check().is_err());
        }
    }

    #[test]
    fn a_budget_is_a_number_of_records_or_a_table_of_tokens() {
        for (text, count) in [("20", Count::Budget(20)), (r#"{"tokens":900}"#, Count::Tokens(900))] {
            let text = format!(r#"{{"budget":{text}}}"#);
            assert_eq!(serde_json::from_str::<Count>(&text).unwrap(), count);
            assert_eq!(serde_json::to_string(&count).unwrap(), text);
        }
        for (text, word) in [
            (r#"{"budget":{"records":3}}"#, "unknown field `records`"),
            (r#"{"budget":{}}"#, "missing field `tokens`"),
            (r#"{"budget":[3]}"#, "a number of records, or `{ tokens = N }`"),
            (r#"{"budget":{"tokens":-3}}"#, "-3"),
        ] {
            let error = serde_json::from_str::<Count>(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
