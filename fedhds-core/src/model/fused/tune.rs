//! The loss of some examples and its gradients with respect to the adapters.

use super::adapters::Adapters;
use super::layer::{Adapted, PairGradient, Tape, attend_apart};
use super::tokens::Tokens;
use super::{Fused, LINEARS, O};
use fedhds_kernels::attention::Heads;
use fedhds_kernels::{Activations, cross_entropy, norm, scratch};

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
    /// The loss `scale * sum(-log p(target))` of targets that these rows (each once) predict, and its gradients. With `checkpointing` each layer's input
    /// alone is kept, and the layer is computed again. The sequences were [checked](Self::check).
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
    ) -> Tuned {
        let rotation = self.rotation(tokens);
        let spans: Vec<(usize, usize)> = tokens.pieces.iter().map(|piece| (piece.first, piece.len)).collect();
        let attend = |heads: &Heads, q: &[f32], k: Vec<f32>, v: Vec<f32>, tape: Option<&mut Tape>| {
            attend_apart(&spans, heads, q, k, v, tape)
        };
        let last = self.layers.len().saturating_sub(1);
        let only = |index: usize| (index == last).then_some(rows);
        let few: Vec<usize> = rows.iter().map(|&row| padded.places[row]).collect();
        let adapted = |index: usize| {
            let mask = |place: usize| {
                adapters.layers[index][place].as_ref()?;
                let columns = self.layers[index].linears[place].weight.columns();
                let places = if index == last && place >= O { &few } else { padded.places };
                adapters.mask(&self.paths[index][place], columns, padded.rows, places)
            };
            Adapted { pairs: &adapters.layers[index], scaling: adapters.scaling, masks: std::array::from_fn(mask) }
        };
        // Nothing below the first layer that has adapters is trained.
        let lowest = adapters.layers.iter().position(|pairs| pairs.iter().any(Option::is_some));
        let lowest = lowest.unwrap_or(self.layers.len());
        let mut x = self.embed(tokens);
        let (mut inputs, mut tapes) = (Vec::new(), Vec::new());
        for index in 0..self.layers.len() {
            if index < lowest {
                x = self.layer(index, x, &rotation, None, only(index), Activations::F32, attend, None);
            } else if checkpointing {
                inputs.push(x.clone());
                x = self.layer(index, x, &rotation, Some(&adapted(index)), only(index), Activations::F32, attend, None);
            } else {
                let mut tape = Tape::default();
                let adapted = adapted(index);
                x = self.layer(
                    index,
                    x,
                    &rotation,
                    Some(&adapted),
                    only(index),
                    Activations::F32,
                    attend,
                    Some(&mut tape),
                );
                tapes.push((tape, adapted));
            }
        }
        let mut losses = vec![0.0; targets.len()];
        let (weight, eps) = self.final_norm();
        let normed = self.normalized(&x);
        let mut by_normed = vec![0.0; normed.len()];
        cross_entropy::losses_and_gradient(&normed, self.output(), targets, scale as f32, &mut losses, &mut by_normed);
        let loss = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() * scale;
        if !loss.is_finite() {
            return Tuned { loss, gradients: None };
        }
        let mut gradient = scratch::zeros(x.len());
        norm::backward(&x, weight, eps, &by_normed, &mut gradient);
        scratch::give(x);
        let mut gradients = Vec::new();
        for index in (lowest..self.layers.len()).rev() {
            let (tape, adapted) = match tapes.pop() {
                Some(recorded) => recorded,
                None => {
                    let mut tape = Tape::default();
                    let adapted = adapted(index);
                    let input = inputs.pop().unwrap_or_default();
                    scratch::give(self.layer(
                        index,
                        input,
                        &rotation,
                        Some(&adapted),
                        only(index),
                        Activations::F32,
                        attend,
                        Some(&mut tape),
                    ));
                    (tape, adapted)
                }
            };
            let found: [Option<PairGradient>; LINEARS];
            (gradient, found) =
                self.layer_backward(index, tape, &rotation, &adapted, &spans, only(index), gradient, index > lowest);
            let paths = self.paths[index].iter().cloned();
            gradients.extend(paths.zip(found).filter_map(|(path, found)| Some((path, found?))));
        }
        scratch::give(gradient);
        Tuned { loss, gradients: Some(gradients) }
    }
}
