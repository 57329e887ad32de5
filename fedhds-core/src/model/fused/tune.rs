//! The loss of some examples and its gradients with respect to the adapters.

use super::adapters::Adapters;
use super::layer::{Adapted, PairGradient, Tape, attend_apart};
use super::tokens::Tokens;
use super::{Fused, LINEARS};
use crate::error::Result;
use fedhds_kernels::{cross_entropy, norm};

/// What a backward pass gives.
#[derive(Debug)]
pub(crate) struct Tuned {
    /// `scale` times the sum of the losses, in nats.
    pub loss: f64,
    /// By the path of each adapted module: the gradients of A `[r, in]` and of B, turned, `[r, out]`; none where the loss is not finite.
    pub gradients: Option<Vec<(String, PairGradient)>>,
}

/// Where a batch's rows stand when it is padded, which is what dropout is drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Padded<'a> {
    /// Rows of the padded batch.
    pub rows: usize,
    /// The place of each row of the pass among them.
    pub places: &'a [usize],
}

impl Fused {
    /// The loss `scale * sum(-log p(target))` of targets that these rows predict, and its gradients. With `checkpointing` each layer's input
    /// alone is kept, and the layer is computed again.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn backward(
        &self,
        tokens: &Tokens,
        padded: Padded<'_>,
        adapters: &Adapters,
        rows: &[usize],
        targets: &[u32],
        scale: f64,
        checkpointing: bool,
    ) -> Result<Tuned> {
        let rotation = self.rotation(tokens);
        let spans: Vec<(usize, usize)> = tokens.pieces.iter().map(|piece| (piece.first, piece.len)).collect();
        let adapted = |index: usize| {
            let mask = |place: usize| {
                adapters.layers[index][place].as_ref()?;
                let columns = self.layers[index].linears[place].weight.columns();
                adapters.mask(&self.paths[index][place], columns, padded.rows, padded.places)
            };
            Adapted { pairs: &adapters.layers[index], scaling: adapters.scaling, masks: std::array::from_fn(mask) }
        };
        // Nothing below the first layer that has adapters is trained.
        let lowest = adapters.layers.iter().position(|pairs| pairs.iter().any(Option::is_some));
        let lowest = lowest.unwrap_or(self.layers.len());
        let mut x = self.embed(tokens)?;
        let (mut inputs, mut tapes) = (Vec::new(), Vec::new());
        for index in 0..self.layers.len() {
            let attend = attend_apart(&spans);
            if index < lowest {
                x = self.layer(index, x, &rotation, None, attend, None);
            } else if checkpointing {
                inputs.push(x.clone());
                x = self.layer(index, x, &rotation, Some(&adapted(index)), attend, None);
            } else {
                let mut tape = Tape::default();
                let adapted = adapted(index);
                x = self.layer(index, x, &rotation, Some(&adapted), attend, Some(&mut tape));
                tapes.push((tape, adapted));
            }
        }
        let mut losses = vec![0.0; targets.len()];
        let (weight, eps) = self.final_norm();
        let (chosen, normed) = (self.rows(&x, rows), self.normalized(&x, rows));
        let mut by_normed = vec![0.0; normed.len()];
        cross_entropy::losses_and_gradient(&normed, self.output(), targets, scale as f32, &mut losses, &mut by_normed);
        let loss = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() * scale;
        if !loss.is_finite() {
            return Ok(Tuned { loss, gradients: None });
        }
        let mut by_chosen = vec![0.0; normed.len()];
        norm::backward(&chosen, weight, eps, &by_normed, &mut by_chosen);
        let width = self.hidden_size();
        let mut gradient = vec![0.0; x.len()];
        for (&row, by_chosen) in rows.iter().zip(by_chosen.chunks_exact(width)) {
            let place = &mut gradient[row * width..(row + 1) * width];
            place.iter_mut().zip(by_chosen).for_each(|(place, value)| *place += value);
        }
        drop(x);
        let mut gradients = Vec::new();
        for index in (lowest..self.layers.len()).rev() {
            let (tape, adapted) = match tapes.pop() {
                Some(recorded) => recorded,
                None => {
                    let mut tape = Tape::default();
                    let adapted = adapted(index);
                    let input = inputs.pop().unwrap_or_default();
                    self.layer(index, input, &rotation, Some(&adapted), attend_apart(&spans), Some(&mut tape));
                    (tape, adapted)
                }
            };
            let found: [Option<PairGradient>; LINEARS];
            (gradient, found) = self.layer_backward(index, tape, &rotation, &adapted, &spans, gradient, index > lowest);
            let paths = self.paths[index].iter().cloned();
            gradients.extend(paths.zip(found).filter_map(|(path, found)| Some((path, found?))));
        }
        Ok(Tuned { loss, gradients: Some(gradients) })
    }
}
