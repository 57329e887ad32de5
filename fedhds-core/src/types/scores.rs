//! Numbers of each record beside its features: losses, ranks, lengths.

use super::Matrix;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Named numbers of rows: `[n, k]`, column j being `names[j]`. A value may be NaN where a scorer has nothing to say of a row;
/// it is never infinite.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Scores {
    names: Vec<String>,
    values: Matrix,
}

impl Scores {
    /// Scores with these names, one for each column of `values` `[n, k]`.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that is missing, empty or there twice, and for an infinite value, with its row and column.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>, values: Matrix) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() != values.cols() {
            return Err(Error::input("scores: names", format!("{}, one for each column", values.cols()), names.len()));
        }
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() || names[..at].contains(name) {
                return Err(Error::input("scores: names", "distinct names that are not empty", format!("`{name}`")));
            }
        }
        if let Some(at) = values.as_slice().iter().position(|value| value.is_infinite()) {
            let (row, column) = (at / names.len(), &names[at % names.len()]);
            return Err(Error::input(
                "scores",
                "finite values, or NaN where there is none",
                format!("{} at row {row} of `{column}`", values.as_slice()[at]),
            ));
        }
        Ok(Self { names, values })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.rows()
    }

    /// The columns' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All values, `[n, k]`.
    pub fn values(&self) -> &Matrix {
        &self.values
    }

    /// The column of this name, one value for each row.
    pub fn column(&self, name: &str) -> Option<impl Iterator<Item = f32> + '_> {
        let at = self.names.iter().position(|n| n == name)?;
        Some(self.values.iter_rows().map(move |row| row[at]))
    }

    /// These rows' scores, in this order.
    ///
    /// # Errors
    /// As [`Matrix::take_rows`].
    pub fn take_rows(&self, rows: &[usize]) -> Result<Self> {
        Ok(Self { names: self.names.clone(), values: self.values.take_rows(rows)? })
    }
}

/// What is written; reading it checks it.
#[derive(Serialize, Deserialize)]
struct Parts {
    names: Vec<String>,
    values: Matrix,
}

impl TryFrom<Parts> for Scores {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts { names, values } = parts;
        // A deserialised matrix is checked by nobody before this.
        let (rows, cols) = (values.rows(), values.cols());
        Scores::new(names, Matrix::new(rows, cols, values.into_vec())?)
    }
}

impl From<Scores> for Parts {
    fn from(scores: Scores) -> Self {
        Parts { names: scores.names, values: scores.values }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_bad_ones_are_named() {
        let values = || Matrix::new(2, 2, vec![1.0, 2.0, f32::NAN, 4.0]).unwrap();
        let scores = Scores::new(["loss", "rank"], values()).unwrap();
        assert_eq!(scores.column("rank").unwrap().collect::<Vec<_>>(), [2.0, 4.0]);
        assert!(scores.column("length").is_none());
        assert_eq!(scores.take_rows(&[1]).unwrap().column("rank").unwrap().next(), Some(4.0));
        let message = |names: &[&str], values| Scores::new(names.to_vec(), values).unwrap_err().to_string();
        assert!(message(&["loss"], values()).contains("expected 2"));
        assert!(message(&["loss", "loss"], values()).contains("distinct"));
        let infinite = Matrix::new(1, 2, vec![0.0, f32::INFINITY]).unwrap();
        assert!(message(&["loss", "rank"], infinite).contains("row 0 of `rank`"));
        assert!(Scores::new(Vec::<String>::new(), Matrix::zeros(3, 0)).unwrap().rows() == 3);
    }

    #[test]
    fn what_is_read_is_checked() {
        let scores = Scores::new(["loss"], Matrix::new(2, 1, vec![1.0, 2.0]).unwrap()).unwrap();
        let json = serde_json::to_string(&scores).unwrap();
        assert_eq!(serde_json::from_str::<Scores>(&json).unwrap(), scores);
        assert!(serde_json::from_str::<Scores>(&json.replace("\"loss\"", "")).is_err());
        assert!(serde_json::from_str::<Scores>(&json.replace("\"rows\":2", "\"rows\":3")).is_err());
    }
}
