//! Which layers of a feature vector count.

use crate::error::{Error, Result};
use crate::types::Matrix;
use serde::{Deserialize, Serialize};

/// What is no layer.
const EMBEDDING: &str = "`embedding` adds the embedding output";

/// The layers whose hidden states are taken. In a configuration: `layers = "all"`, `"last"` or `{ chosen = [6, 12] }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layers {
    /// Every layer, first to last (eq. 6).
    #[default]
    All,
    /// The last layer alone (the ablation "last layer").
    Last,
    /// These layers, numbered from 1, in this order.
    Chosen(Vec<usize>),
}

impl Layers {
    /// Whether it is what holds where nothing is said.
    pub fn is_all(&self) -> bool {
        *self == Layers::All
    }

    /// What can be checked without knowing how many layers there are.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no layer, layer 0, or one that is named twice.
    pub fn check(&self) -> Result<()> {
        let Layers::Chosen(chosen) = self else { return Ok(()) };
        if chosen.is_empty() {
            return Err(Error::parameter("layers", "at least one layer", "none"));
        }
        for (i, layer) in chosen.iter().enumerate() {
            if chosen[..i].contains(layer) {
                return Err(Error::parameter("layers", "each layer once", format!("{layer} twice")));
            }
        }
        match chosen.contains(&0) {
            true => Err(Error::parameter("layers", format!("layers from 1 ({EMBEDDING})"), 0)),
            false => Ok(()),
        }
    }

    /// Their numbers among `layers` layers, from 1, in order.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::Parameter`] for a layer that is not among them.
    pub fn of(&self, layers: usize) -> Result<Vec<usize>> {
        self.check()?;
        match self {
            Layers::All => Ok((1..=layers).collect()),
            Layers::Last => Ok(vec![layers]),
            Layers::Chosen(chosen) => match chosen.iter().find(|layer| !(1..=layers).contains(*layer)) {
                Some(layer) => {
                    Err(Error::parameter("layers", format!("layers from 1 to {layers} ({EMBEDDING})"), layer))
                }
                None => Ok(chosen.clone()),
            },
        }
    }

    /// How many they are among `layers` layers.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn count(&self, layers: usize) -> Result<usize> {
        match self {
            // However many somebody claims: no list of them is made.
            Layers::All => Ok(layers),
            Layers::Last => Ok(1),
            Layers::Chosen(_) => self.of(layers).map(|chosen| chosen.len()),
        }
    }

    /// The least number of layers that has them all, at least 1.
    pub fn least(&self) -> usize {
        match self {
            Layers::All | Layers::Last => 1,
            Layers::Chosen(chosen) => chosen.iter().copied().max().unwrap_or(1).max(1),
        }
    }

    /// The columns of these layers alone.
    ///
    /// `features` is `[n, layers * h]`, layer after layer; the result `[n, picked * h]`.
    ///
    /// # Errors
    /// As [`of`](Self::of); [`Error::Input`] when the columns are not a multiple of `layers`.
    pub fn pick(&self, features: &Matrix, layers: usize) -> Result<Matrix> {
        if layers == 0 || !features.cols().is_multiple_of(layers) {
            return Err(Error::input("features", format!("a multiple of {layers} layers as columns"), features.cols()));
        }
        let picked = self.of(layers)?;
        let width = features.cols() / layers;
        let mut values = Vec::with_capacity(features.rows() * picked.len() * width);
        for row in features.iter_rows() {
            picked.iter().for_each(|layer| values.extend_from_slice(&row[(layer - 1) * width..layer * width]));
        }
        Matrix::new(features.rows(), picked.len() * width, values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_picked_layers_remain_in_their_order() {
        let features = Matrix::from_rows(&[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]]).unwrap();
        assert_eq!(Layers::All.pick(&features, 3).unwrap(), features);
        assert_eq!(Layers::Last.pick(&features, 3).unwrap(), Matrix::from_rows(&[[5.0, 6.0], [11.0, 12.0]]).unwrap());
        let chosen = Layers::Chosen(vec![3, 1]).pick(&features, 3).unwrap();
        assert_eq!(chosen.row(1), [11.0, 12.0, 7.0, 8.0]);
        assert_eq!(Layers::Last.pick(&Matrix::zeros(0, 6), 2).unwrap().cols(), 3);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let features = Matrix::zeros(2, 6);
        let says = |layers: Layers, of: usize| layers.pick(&features, of).unwrap_err().to_string();
        assert!(says(Layers::Chosen(vec![4]), 3).starts_with("layers: expected layers from 1 to 3"));
        assert!(says(Layers::Chosen(vec![0]), 3).contains("from 1"));
        assert!(says(Layers::Chosen(vec![]), 3).contains("at least one"));
        assert!(says(Layers::Chosen(vec![2, 2]), 3).contains("2 twice"));
        assert!(says(Layers::Last, 4).contains("multiple of 4"));
        assert!(Layers::Last.pick(&features, 0).is_err());
        let counts =
            [Layers::All, Layers::Last, Layers::Chosen(vec![2, 1])].map(|layers| layers.count(usize::MAX).unwrap());
        assert_eq!(counts, [usize::MAX, 1, 2]);
        assert_eq!((Layers::Last.least(), Layers::Chosen(vec![2, 9]).least()), (1, 9));
    }
}
