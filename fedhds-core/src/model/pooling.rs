//! One vector for a sequence.

use super::batch::Batch;
use super::device::Device;
use super::tensor::{Tensor, like};
use super::transformer::take_tokens;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the tokens of a sequence become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The last token that is not padding (the paper; for models that predict tokens).
    LastToken,
    /// The mean over the tokens that are not padding (sentence encoders).
    Mean,
}

impl Pooling {
    /// `[b, t, hidden]` to `[b, hidden]`; padding has no influence.
    ///
    /// # Errors
    /// [`Error::Input`] when `hidden` is not of this batch.
    pub fn pool(self, hidden: Tensor<3>, batch: &Batch) -> Result<Tensor<2>> {
        let [b, t, width] = hidden.dims();
        if [b, t] != [batch.rows(), batch.width()] {
            let expected = format!("{} x {} tokens, as the batch has", batch.rows(), batch.width());
            return Err(Error::input("hidden states", expected, format!("{b} x {t}")));
        }
        match self {
            Self::LastToken => take_tokens(hidden, &batch.last_tokens()),
            Self::Mean => {
                let mut weights = vec![0.0; b * t];
                for (row, &len) in weights.chunks_mut(t.max(1)).zip(batch.lengths()) {
                    row.iter_mut().take(len).for_each(|weight| *weight = 1.0 / len as f32);
                }
                let weights = Device::of(&hidden).tensor(weights, [b, 1, t])?;
                Ok(like(weights, &hidden).matmul(hidden).reshape([b, width]))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::tensor::to_vec;

    #[test]
    fn padding_has_no_influence() {
        let batch = Batch::new(&[vec![1, 2], vec![3]], 0).unwrap();
        let hidden = Device::cpu().tensor(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 99.0, 99.0], [2, 2, 2]).unwrap();
        let pool = |pooling: Pooling| to_vec(pooling.pool(hidden.clone(), &batch).unwrap()).unwrap();
        assert_eq!(pool(Pooling::LastToken), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(pool(Pooling::Mean), [2.0, 3.0, 5.0, 6.0]);
        let other = Batch::new(&[[1]], 0).unwrap();
        assert!(Pooling::Mean.pool(hidden, &other).is_err());
    }
}
