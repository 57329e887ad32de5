//! What is guaranteed, and against whom: nothing of it has a default, since a figure without it says nothing.

use super::Sampling;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Whose presence is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One record of a client.
    Record,
    /// A client with all its records.
    Client,
}

/// From whom it is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adversary {
    /// The server, which sees who takes part and every message.
    Server,
    /// Whoever reads the final model, and sees nothing of the rounds.
    ModelReader,
}

/// How two data sets differ that must look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// By one unit that is there or not.
    AddRemove,
    /// By one unit that is another; how many there are is public. Sensitivities are up to twice as large.
    Replace,
}

/// What an epsilon is about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// Whose presence is hidden.
    pub unit: Unit,
    /// From whom.
    pub adversary: Adversary,
    /// How neighbours differ.
    pub relation: Relation,
    /// How units are drawn.
    pub sampling: Sampling,
}

impl Guarantee {
    /// Whether an accountant's figure means what it says.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the reason: sampling does not hide anything from who sees it; a fixed number of units is told by replacing one, and
    /// Poisson sampling by adding or removing one.
    pub fn check(&self) -> Result<()> {
        match (self.adversary, self.sampling, self.relation) {
            (_, Sampling::None, _) => Ok(()),
            (Adversary::Server, _, _) => Err(Error::parameter(
                "sampling",
                "`none` against the server: it knows who takes part, so that drawing them hides nobody",
                "a sampling",
            )),
            (_, Sampling::Poisson(_), Relation::Replace) => Err(Error::parameter(
                "relation",
                "`add_remove` with Poisson sampling, which its formulas are for",
                "`replace`",
            )),
            (_, Sampling::FixedSize(_), Relation::AddRemove) => Err(Error::parameter(
                "relation",
                "`replace` where a fixed number is drawn: without one unit the number would be another",
                "`add_remove`",
            )),
            (_, Sampling::Poisson(_) | Sampling::FixedSize(_), _) if self.unit == Unit::Record => {
                Err(Error::parameter(
                    "unit",
                    "`client`: rounds draw clients, and all records of one take part together",
                    "`record`",
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unsound_combinations_say_why() {
        let sound = Guarantee {
            unit: Unit::Client,
            adversary: Adversary::ModelReader,
            relation: Relation::AddRemove,
            sampling: Sampling::Poisson(0.1),
        };
        sound.check().unwrap();
        let fixed = Guarantee { relation: Relation::Replace, sampling: Sampling::FixedSize(0.1), ..sound };
        fixed.check().unwrap();
        for unit in [Unit::Record, Unit::Client] {
            for relation in [Relation::AddRemove, Relation::Replace] {
                Guarantee { unit, relation, adversary: Adversary::Server, sampling: Sampling::None }.check().unwrap();
            }
        }
        let says = |guarantee: Guarantee| guarantee.check().unwrap_err().to_string();
        assert!(says(Guarantee { adversary: Adversary::Server, ..sound }).contains("knows who takes part"));
        assert!(says(Guarantee { relation: Relation::Replace, ..sound }).contains("add_remove"));
        assert!(says(Guarantee { relation: Relation::AddRemove, ..fixed }).contains("replace"));
        assert!(says(Guarantee { unit: Unit::Record, ..sound }).contains("rounds draw clients"));
    }
}
