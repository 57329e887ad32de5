//! Cross entropy on chosen tokens: the prompt is masked, and only rows that predict a token go through the output projection.

use crate::error::{Error, Result};
use crate::model::tensor::{IntTensor, Tensor};
use crate::model::{Batch, Device, Example, Transformer, take_tokens};

/// The tokens of a batch that a loss is taken over, and the hidden states that predict them.
///
/// A token is predicted by the hidden state one place before it, so the first token of a sequence is never among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossRows {
    tokens: Vec<usize>,
    targets: Vec<u32>,
    rows: Vec<usize>,
}

impl LossRows {
    /// The tokens from `starts[row]` on: with the length of the prompt, those of the response.
    ///
    /// # Errors
    /// [`Error::Input`] when there is not one start for each row, or a row has no token from its start on.
    pub fn from_starts(batch: &Batch, starts: &[usize]) -> Result<Self> {
        if starts.len() != batch.rows() {
            return Err(Error::input(
                "response starts",
                format!("one for each of {} rows", batch.rows()),
                starts.len(),
            ));
        }
        let width = batch.width();
        let mut out = Self { tokens: Vec::new(), targets: Vec::new(), rows: Vec::new() };
        for (row, (&start, &length)) in starts.iter().zip(batch.lengths()).enumerate() {
            for token in predicted(row, start, length)? {
                out.tokens.push(row * width + token - 1);
                out.targets.extend(batch.ids().get(row * width + token));
                out.rows.push(row);
            }
        }
        Ok(out)
    }

    /// Examples side by side in a batch, and the tokens of their responses: the mask of training and of the loss in evaluation.
    ///
    /// # Errors
    /// [`Error::Input`] without examples, or for one (numbered) without a token to predict.
    pub fn of_examples(examples: &[&Example]) -> Result<(Batch, Self)> {
        let ids: Vec<&[u32]> = examples.iter().map(|example| example.ids.as_slice()).collect();
        let starts: Vec<usize> = examples.iter().map(|example| example.response_start).collect();
        let batch = Batch::new(&ids, 0)?;
        let rows = Self::from_starts(&batch, &starts)?;
        Ok((batch, rows))
    }

    /// Every token but the first of each row: the loss of pretraining.
    ///
    /// # Errors
    /// [`Error::Input`] for a row of a single token.
    pub fn all(batch: &Batch) -> Result<Self> {
        Self::from_starts(batch, &vec![1; batch.rows()])
    }

    /// Number of predicted tokens, n; at least 1.
    pub fn count(&self) -> usize {
        self.tokens.len()
    }

    /// Index into `[b * t]` of the hidden state that predicts each token, `[n]`.
    pub fn tokens(&self) -> &[usize] {
        &self.tokens
    }

    /// The predicted ids, `[n]`.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// The batch's row of each predicted token, `[n]`, in ascending order.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The mean of per-token losses of each of `rows` sequences, summed in f64 in the order of the tokens; 0 for a row
    /// without tokens.
    pub fn mean_by_row(&self, losses: &[f32], rows: usize) -> Vec<f64> {
        let mut sums = vec![(0.0f64, 0usize); rows];
        for (&row, &loss) in self.rows.iter().zip(losses) {
            if let Some((sum, count)) = sums.get_mut(row) {
                *sum += f64::from(loss);
                *count += 1;
            }
        }
        sums.into_iter().map(|(sum, count)| if count == 0 { 0.0 } else { sum / count as f64 }).collect()
    }
}

/// The tokens of a sequence that are predicted: those from `start` on, but the first.
///
/// # Errors
/// [`Error::Input`] that numbers a sequence without one.
pub(crate) fn predicted(number: usize, start: usize, length: usize) -> Result<std::ops::Range<usize>> {
    let start = start.max(1);
    if start < length {
        return Ok(start..length);
    }
    let expected = format!("a token to predict from token {start} on");
    Err(Error::input(&format!("sequence {number}"), expected, format!("{length} tokens")))
}

/// The negative log likelihood of each predicted token, in nats.
///
/// # Shapes
/// - hidden: `[b, t, hidden]`, before the last normalisation
/// - returns `[n]`
///
/// # Errors
/// [`Error::Input`] for a model without an output projection, or rows of another batch.
pub fn token_losses(model: &dyn Transformer, hidden: Tensor<3>, rows: &LossRows) -> Result<Tensor<1>> {
    let chosen = take_tokens(hidden, &rows.tokens)?;
    cross_entropy(model.logits(model.final_norm(chosen))?, &rows.targets)
}

/// `-log softmax(logits)[target]` of each row, in nats.
///
/// # Shapes
/// - logits: `[n, vocab]`
/// - targets: `[n]`, below vocab
/// - returns `[n]`
///
/// # Errors
/// [`Error::Input`] when targets and rows differ in number, or a target is outside of the vocabulary.
pub fn cross_entropy(logits: Tensor<2>, targets: &[u32]) -> Result<Tensor<1>> {
    let [n, vocab] = logits.dims();
    if targets.len() != n {
        return Err(Error::input("targets", format!("one for each of {n} rows"), targets.len()));
    }
    if let Some(target) = targets.iter().find(|&&target| target as usize >= vocab) {
        return Err(Error::input("target", format!("an id below {vocab}"), target));
    }
    let ids = targets.iter().map(|&id| id as i32).collect();
    let ids: IntTensor<2> = Device::of(&logits).int_tensor(ids, [n, 1])?;
    // log sum exp(x) - x[target], with the row's maximum taken out first; its gradient cancels.
    let shifted = logits.clone() - logits.detach().max_dim(1);
    let normaliser = shifted.clone().exp().sum_dim(1).log();
    Ok((normaliser - shifted.gather(1, ids)).reshape([n]))
}

/// The sum of a vector, `[n]` to `[1]`, in an order that does not depend on the number of threads.
pub fn sum(values: Tensor<1>) -> Tensor<1> {
    values.sum_dim(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::tensor::{lifted, to_vec};

    #[test]
    fn the_prompt_is_masked() {
        let batch = Batch::new(&[vec![5, 6, 7, 8], vec![9, 10]], 0).unwrap();
        let rows = LossRows::from_starts(&batch, &[2, 1]).unwrap();
        assert_eq!(rows.tokens(), [1, 2, 4]);
        assert_eq!(rows.targets(), [7, 8, 10]);
        assert_eq!(rows.rows(), [0, 0, 1]);
        assert_eq!(rows.mean_by_row(&[1.0, 2.0, 4.0], 2), [1.5, 4.0]);
        assert_eq!(LossRows::all(&batch).unwrap().targets(), [6, 7, 8, 10]);
        assert_eq!(LossRows::from_starts(&batch, &[0, 0]).unwrap(), LossRows::all(&batch).unwrap());
        let examples =
            [Example { ids: vec![5, 6, 7, 8], response_start: 2 }, Example { ids: vec![9, 10], response_start: 1 }];
        let together = LossRows::of_examples(&examples.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(together, (batch, rows));
        assert!(LossRows::of_examples(&[]).is_err());
    }

    #[test]
    fn a_row_without_response_is_an_error() {
        let batch = Batch::new(&[vec![5, 6, 7], vec![9, 10]], 0).unwrap();
        let error = LossRows::from_starts(&batch, &[1, 2]).unwrap_err().to_string();
        assert!(error.contains("sequence 1"), "{error}");
        assert!(LossRows::from_starts(&batch, &[1]).is_err());
        assert!(LossRows::all(&Batch::new(&[vec![1]], 0).unwrap()).is_err());
    }

    #[test]
    fn cross_entropy_and_its_gradient() {
        let logits = vec![1.0, 2.0, 3.0, 1000.0, 0.0, -1000.0];
        let tensor = Device::cpu().tensor(logits.clone(), [2, 3]).unwrap();
        let leaf = lifted(tensor).require_grad();
        let losses = cross_entropy(leaf.clone(), &[0, 1]).unwrap();
        let gradients = sum(losses.clone()).backward();
        let losses = to_vec(losses.inner()).unwrap();
        let z: f64 = (1.0f64).exp() + (2.0f64).exp() + (3.0f64).exp();
        assert!((f64::from(losses[0]) - (z.ln() - 1.0)).abs() < 1e-5, "{losses:?}");
        assert_eq!(losses[1], 1000.0);
        let gradient = to_vec(leaf.grad(&gradients).unwrap()).unwrap();
        for (j, x) in [1.0f64, 2.0, 3.0].iter().enumerate() {
            let expected = x.exp() / z - if j == 0 { 1.0 } else { 0.0 };
            assert!((f64::from(gradient[j]) - expected).abs() < 1e-6, "{gradient:?}");
        }
        assert_eq!(&gradient[3..], [1.0, -1.0, 0.0]);
    }

    #[test]
    fn targets_are_checked() {
        let logits = Device::cpu().tensor(vec![0.0; 6], [2, 3]).unwrap();
        assert!(cross_entropy(logits.clone(), &[0]).is_err());
        assert!(cross_entropy(logits, &[0, 3]).unwrap_err().to_string().contains("below 3"));
    }
}
