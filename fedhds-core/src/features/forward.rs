//! The forward pass for features: layer by layer, keeping nothing of a layer but its pooled rows.

use super::params::FeatureParams;
use crate::error::{Error, Result};
use crate::model::fused::{PACKED_ROWS, Tokens, packs};
use crate::model::tensor::{Tensor, to_vec};
use crate::model::{Batch, Fused, LoraWeights, Pooling, Transformer};
use crate::types::{Context, Control, Matrix};
use fedhds_kernels::scratch;

/// Features of token sequences, one row for each: `[n, states * hidden]`.
///
/// Sequences run longest first, so that one too big for the memory fails at once, by themselves or in padded batches
/// ([`FeatureParams::batch_tokens`]); rows come back in the order of `sequences`. The layers after the last one
/// that is used are not run, and neither is the output projection. The last layer's state is taken after the model's last
/// normalisation, as in transformers' `hidden_states`.
///
/// # Errors
/// [`Error::Parameter`] as [`FeatureParams::states`]; [`Error::Input`] for an empty sequence, one longer than the model takes
/// or an unknown id; [`Error::NotFinite`] with the sequence's number; [`Error::Cancelled`].
pub fn extract_tokens(
    model: &dyn Transformer,
    sequences: &[Vec<u32>],
    lora: Option<&LoraWeights>,
    params: &FeatureParams,
    context: &Context,
) -> Result<Matrix> {
    let spec = model.spec();
    let states = params.states(spec.layers)?;
    let last = states.iter().copied().max().unwrap_or(0);
    let mut features = Matrix::zeros(sequences.len(), states.len() * spec.hidden_size);
    context.control.begin("features", Some(sequences.len() as u64));
    let result = (|| {
        if let Some(fused) = model.fused() {
            return packed(fused, sequences, lora, params, &states, &context.control, &mut features);
        }
        for rows in batches(sequences, params) {
            let batch: Vec<&[u32]> = rows.iter().map(|&row| sequences[row].as_slice()).collect();
            let batch = Batch::new(&batch, 0)?;
            let pass = model.pass(&batch, None)?;
            let mut hidden = model.embed(&batch)?;
            for state in 0..=last {
                context.control.check()?;
                if state > 0 {
                    hidden = model.layer(state - 1, hidden, &pass, lora, None)?;
                }
                if let Some(place) = states.iter().position(|&s| s == state) {
                    let pooled = pool(model, &hidden, &batch, params.pooling, state == spec.layers)?;
                    write(&mut features, &rows, place, &to_vec(pooled)?, spec.hidden_size, params.normalize)?;
                }
            }
            context.control.advance("features", rows.len() as u64);
        }
        Ok(())
    })();
    context.control.end("features");
    result?;
    features.check_finite("features")?;
    Ok(features)
}

/// The same on packed tokens: what sequences begin with in common is computed once.
fn packed(
    model: &Fused,
    sequences: &[Vec<u32>],
    lora: Option<&LoraWeights>,
    params: &FeatureParams,
    states: &[usize],
    control: &Control,
    features: &mut Matrix,
) -> Result<()> {
    let all: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    model.check(&all)?;
    let adapters = model.adapters(lora)?;
    let last = states.iter().copied().max().unwrap_or(0);
    for pack in packs(&all, params.batch_tokens.unwrap_or(PACKED_ROWS)) {
        let tokens = Tokens::shared(&pack.iter().map(|&row| all[row]).collect::<Vec<_>>());
        let ends: Vec<usize> = (0..pack.len()).map(|i| tokens.last_row(i)).collect();
        let only = (params.pooling == Pooling::LastToken && last > 0).then_some(&ends[..]);
        let seen = |state: usize, x: &[f32]| {
            control.check()?;
            let Some(place) = states.iter().position(|&s| s == state) else { return Ok(()) };
            let rows = |rows: &[usize]| match state == model.layers() {
                true => model.normalized(&model.rows(x, rows)),
                false => model.rows(x, rows),
            };
            let pooled = match params.pooling {
                // The last layer gives these rows alone.
                Pooling::LastToken if state == last && only.is_some() => rows(&(0..pack.len()).collect::<Vec<_>>()),
                Pooling::LastToken => rows(&ends),
                Pooling::Mean => {
                    let mean = |i: usize| mean_row(&rows(&tokens.rows(i).collect::<Vec<_>>()), model.hidden_size());
                    (0..pack.len()).flat_map(mean).collect()
                }
            };
            write(features, &pack, place, &pooled, model.hidden_size(), params.normalize)
        };
        scratch::scope(|| model.run(&tokens, last, adapters.as_ref(), only, None, seen).map(scratch::give))?;
        control.advance("features", pack.len() as u64);
    }
    Ok(())
}

fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0f32; width];
    for row in rows.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = (rows.len() / width) as f32;
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

/// The numbers of the sequences of each batch.
fn batches(sequences: &[Vec<u32>], params: &FeatureParams) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&row| (std::cmp::Reverse(sequences[row].len()), row));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let budget = params.batch_tokens.unwrap_or(0);
    for row in order {
        match batches.last_mut() {
            // The first of a batch is its longest.
            Some(batch) if (batch.len() + 1) * sequences[batch[0]].len() <= budget => batch.push(row),
            _ => batches.push(vec![row]),
        }
    }
    batches
}

/// `[b, t, hidden]` -> `[b, hidden]`; `normalized`: after the model's last normalisation.
fn pool(
    model: &dyn Transformer,
    hidden: &Tensor<3>,
    batch: &Batch,
    pooling: Pooling,
    normalized: bool,
) -> Result<Tensor<2>> {
    match pooling {
        // Rows are normalised one by one: the pooled ones alone need it.
        Pooling::LastToken => {
            let rows = pooling.pool(hidden.clone(), batch)?;
            Ok(if normalized { model.final_norm(rows) } else { rows })
        }
        Pooling::Mean if normalized => {
            let [b, t, width] = hidden.dims();
            let tokens = model.final_norm(hidden.clone().reshape([b * t, width])).reshape([b, t, width]);
            pooling.pool(tokens, batch)
        }
        Pooling::Mean => pooling.pool(hidden.clone(), batch),
    }
}

/// Puts a batch's pooled rows into their places.
fn write(
    features: &mut Matrix,
    rows: &[usize],
    place: usize,
    values: &[f32],
    width: usize,
    normalize: bool,
) -> Result<()> {
    if values.len() != rows.len() * width {
        return Err(Error::input("hidden states", format!("{} values", rows.len() * width), values.len()));
    }
    for (&row, vector) in rows.iter().zip(values.chunks_exact(width)) {
        let out = &mut features.row_mut(row)[place * width..(place + 1) * width];
        out.copy_from_slice(vector);
        if normalize {
            let length = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
            out.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod tests {
    use super::*;
    use crate::model::testing::Recorded;
    use crate::model::{Device, InMemoryWeights, ModelConfig};
    use crate::reduce::Layers;
    use crate::types::Seed;
    use std::path::Path;

    /// A Llama of three layers with random weights.
    pub(crate) fn small_model() -> Box<dyn Transformer> {
        let text = r#"{"model_type": "llama", "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
            "initializer_range": 0.3}"#;
        let config = ModelConfig::from_json(Path::new("(test)"), text).unwrap();
        config.build(&InMemoryWeights::random(&config, Seed(1)).unwrap(), &Device::cpu()).unwrap()
    }

    fn sequences() -> Vec<Vec<u32>> {
        [5usize, 2, 9, 5, 1, 9, 12].iter().map(|&n| (0..n as u32).map(|i| (i * 7 + n as u32) % 50).collect()).collect()
    }

    fn extract(model: &dyn Transformer, sequences: &[Vec<u32>], params: &FeatureParams) -> Matrix {
        extract_tokens(model, sequences, None, params, &Context::new(0)).unwrap()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + a.abs()))
    }

    #[test]
    fn a_record_alone_gives_what_it_gives_in_any_batch() {
        let model = small_model();
        for pooling in [Pooling::LastToken, Pooling::Mean] {
            let params = FeatureParams { pooling, embedding: true, ..FeatureParams::default() };
            let plain = extract(model.as_ref(), &sequences(), &params);
            assert_eq!((plain.rows(), plain.cols()), (7, 4 * 16));
            let padded =
                extract(model.as_ref(), &sequences(), &FeatureParams { batch_tokens: Some(1024), ..params.clone() });
            let narrow = FeatureParams { batch_tokens: Some(20), ..params.clone() };
            let narrow = extract(model.as_ref(), &sequences(), &narrow);
            for (row, sequence) in sequences().iter().enumerate() {
                let alone = extract(model.as_ref(), std::slice::from_ref(sequence), &params);
                for many in [&plain, &padded, &narrow] {
                    assert!(close(many.row(row), alone.row(0)), "row {row}, {pooling:?}");
                }
            }
        }
    }

    #[test]
    fn order_is_kept() {
        let model = small_model();
        let params = FeatureParams::default();
        let forward = extract(model.as_ref(), &sequences(), &params);
        let mut reversed = sequences();
        reversed.reverse();
        let backward = extract(model.as_ref(), &reversed, &params);
        for row in 0..7 {
            assert!(close(forward.row(row), backward.row(6 - row)), "row {row}");
        }
        assert!(!close(forward.row(0), forward.row(1)));
    }

    #[test]
    fn batches_stay_within_the_budget() {
        let batches =
            |budget| batches(&sequences(), &FeatureParams { batch_tokens: budget, ..FeatureParams::default() });
        assert_eq!(batches(None), [[6], [2], [5], [0], [3], [1], [4]]);
        assert_eq!(batches(Some(1)), [[6], [2], [5], [0], [3], [1], [4]]);
        assert_eq!(batches(Some(24)), [vec![6, 2], vec![5, 0], vec![3, 1, 4]]);
        assert_eq!(batches(Some(1024)), [vec![6, 2, 5, 0, 3, 1, 4]]);
    }

    #[test]
    fn the_pass_stops_at_the_last_layer_that_is_used() {
        let model = Recorded::new(small_model());
        let one = vec![vec![1, 2, 3]];
        let all = extract(&model, &one, &FeatureParams::default());
        // No output projection is needed.
        assert_eq!(model.take(), (3, 0));
        let chosen = FeatureParams { layers: Layers::Chosen(vec![2, 1]), ..FeatureParams::default() };
        let chosen = extract(&model, &one, &chosen);
        assert_eq!(model.take(), (2, 0));
        assert_eq!(chosen.row(0)[..16], all.row(0)[16..32]);
        assert_eq!(chosen.row(0)[16..], all.row(0)[..16]);
        let last = extract(&model, &one, &FeatureParams { layers: Layers::Last, ..FeatureParams::default() });
        assert_eq!(last.row(0), &all.row(0)[32..]);
    }

    #[test]
    fn normalised_vectors_have_length_one() {
        let params = FeatureParams { normalize: true, ..FeatureParams::default() };
        let features = extract(small_model().as_ref(), &sequences(), &params);
        for vector in features.as_slice().chunks(16) {
            let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
    }

    #[test]
    fn bad_sequences_and_a_stop_are_errors() {
        let model = small_model();
        let run = |sequences: &[Vec<u32>], context: &Context| {
            extract_tokens(model.as_ref(), sequences, None, &FeatureParams::default(), context)
        };
        assert_eq!(run(&[], &Context::new(0)).unwrap().rows(), 0);
        assert!(run(&[vec![]], &Context::new(0)).is_err());
        assert!(run(&[vec![50]], &Context::new(0)).is_err());
        assert!(run(&[vec![1; 65]], &Context::new(0)).is_err());
        let context = Context::new(0);
        context.control.cancel.cancel();
        assert!(matches!(run(&[vec![1]], &context), Err(Error::Cancelled)));
    }
}
