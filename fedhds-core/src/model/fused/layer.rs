//! One layer on packed rows, forward and backward.

use super::adapters::{Mask, Pair};
use super::{DOWN, Fused, GATE, K, LINEARS, Linear, O, Q, UP, V};
use fedhds_kernels::attention::{self, Gradients, Heads, Segment, Span};
use fedhds_kernels::product::{self, Packed};
use fedhds_kernels::rope::Rotation;
use fedhds_kernels::{Activations, Inputs, Matrix, low_rank, norm, scratch, swiglu};

/// The adapters of a layer in one pass.
#[derive(Debug)]
pub(super) struct Adapted<'a> {
    pub pairs: &'a [Option<Pair>; LINEARS],
    pub scaling: f32,
    pub masks: [Option<Mask>; LINEARS],
}

impl Adapted<'_> {
    fn pair(&self, place: usize) -> Option<(&Pair, Option<&Mask>)> {
        self.pairs[place].as_ref().map(|pair| (pair, self.masks[place].as_ref()))
    }
}

/// What the backward pass needs of a layer's forward pass, row after row.
#[derive(Debug, Default)]
pub(super) struct Tape {
    input: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mixed: Vec<f32>,
    middle: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    /// By module, the input times A: `[rows, r]`.
    narrow: [Vec<f32>; LINEARS],
}

/// The gradients of a module's two factors: `[r, in]`, and `[r, out]` as [`Pair::b`] lies.
#[derive(Debug)]
pub(crate) struct PairGradient {
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

/// `x W^T + b` and the module's update, of rows as they are and made ready; with the update, what A made of them.
fn linear(
    linear: &Linear,
    place: usize,
    adapted: Option<&Adapted<'_>>,
    x: &[f32],
    inputs: &Inputs,
) -> (Vec<f32>, Vec<f32>) {
    let rows = inputs.rows();
    let mut out = scratch::take(rows * linear.weight.rows());
    inputs.forward(&linear.weight, &mut out);
    if let Some(bias) = &linear.bias {
        out.chunks_exact_mut(bias.len())
            .for_each(|row| row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias));
    }
    let mut narrow = Vec::new();
    if let Some((pair, mask)) = adapted.and_then(|adapted| adapted.pair(place)) {
        narrow = vec![0.0; rows * pair.r];
        match mask {
            None => low_rank::down(x, &pair.a, pair.r, &mut narrow),
            Some(mask) => {
                let dropped = mask.applied(x);
                low_rank::down(&dropped, &pair.a, pair.r, &mut narrow);
                scratch::give(dropped);
            }
        }
        low_rank::up(&narrow, &pair.b, pair.r, adapted.map_or(1.0, |adapted| adapted.scaling), &mut out);
    }
    (out, narrow)
}

/// Adds to `to_input` the gradient with respect to a linear layer's input `x`, `gradient` being that of its output and `narrow` what A made of
/// the input; returns those of its factors.
#[allow(clippy::too_many_arguments)]
fn linear_backward(
    linear: &Linear,
    place: usize,
    adapted: &Adapted<'_>,
    x: &[f32],
    narrow: &[f32],
    gradient: &[f32],
    rows: usize,
    to_input: Option<&mut [f32]>,
) -> Option<PairGradient> {
    let mut found = None;
    let mut through = None;
    if let Some((pair, mask)) = adapted.pair(place) {
        let (r, scaling) = (pair.r, adapted.scaling);
        let dropped = mask.map(|mask| mask.applied(x));
        let x = dropped.as_deref().unwrap_or(x);
        let mut by_narrow = vec![0.0; rows * r];
        low_rank::down(gradient, &pair.b, r, &mut by_narrow);
        let (mut a, mut b) = (vec![0.0; pair.a.len()], vec![0.0; pair.b.len()]);
        low_rank::gradient(narrow, gradient, r, scaling, &mut b);
        low_rank::gradient(&by_narrow, x, r, scaling, &mut a);
        found = Some(PairGradient { a, b });
        dropped.into_iter().for_each(scratch::give);
        through = Some((pair, mask, by_narrow));
    }
    if let Some(to_input) = to_input {
        let packed = Packed::new(gradient, rows, linear.weight.rows());
        product::backward(&packed, &linear.weight, to_input);
        packed.give();
        match through {
            Some((pair, None, by_narrow)) => low_rank::up(&by_narrow, &pair.a, pair.r, adapted.scaling, to_input),
            Some((pair, Some(mask), by_narrow)) => {
                let mut through = scratch::zeros(to_input.len());
                low_rank::up(&by_narrow, &pair.a, pair.r, adapted.scaling, &mut through);
                mask.apply(&mut through);
                add(to_input, &through);
                scratch::give(through);
            }
            None => {}
        }
    }
    found
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
}

impl Fused {
    /// Layer `index` on rows `[rows, hidden]`; `attend` makes of its queries, keys and values what the rows see. Of the last layer `only` some
    /// rows may be wanted: what comes after the attention is computed for these alone, and these come out.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn layer(
        &self,
        index: usize,
        mut x: Vec<f32>,
        rotation: &Rotation,
        adapted: Option<&Adapted<'_>>,
        only: Option<&[usize]>,
        activations: Activations,
        attend: impl FnOnce(&Heads, &[f32], Vec<f32>, Vec<f32>, Option<&mut Tape>) -> Vec<f32>,
        mut tape: Option<&mut Tape>,
    ) -> Vec<f32> {
        let (layer, heads, eps) = (&self.layers[index], self.heads(index), self.config.rms_norm_eps);
        let rows = x.len() / self.config.hidden_size;
        // Rows are made ready once for all modules that read them.
        let ready = |x: &[f32], rows: usize, places: &[usize]| {
            let weights: Vec<&Matrix> = places.iter().map(|&place| &layer.linears[place].weight).collect();
            Inputs::new(x, rows, activations, &weights)
        };
        let mut narrow: [Vec<f32>; LINEARS] = Default::default();
        let mut run = |place: usize, x: &[f32], inputs: &Inputs| {
            let (out, of_module) = linear(&layer.linears[place], place, adapted, x, inputs);
            narrow[place] = of_module;
            out
        };
        let mut normed = scratch::take(x.len());
        norm::forward(&x, &layer.input_norm, eps, &mut normed);
        let inputs = ready(&normed, rows, &[Q, K, V]);
        let (mut q, mut k, v) = (run(Q, &normed, &inputs), run(K, &normed, &inputs), run(V, &normed, &inputs));
        inputs.give();
        rotation.apply(&mut q, heads.heads);
        rotation.apply(&mut k, heads.kv_heads);
        let mut mixed = attend(&heads, &q, k, v, tape.as_deref_mut());
        match tape.as_deref_mut() {
            Some(tape) => (tape.input, tape.q) = (copied(&x), q),
            None => scratch::give(q),
        }
        if let Some(only) = only {
            mixed = chosen(mixed, heads.heads * heads.dim, only);
            x = chosen(x, self.config.hidden_size, only);
            // A row may be asked for several times: there may be more of them than there were.
            normed.resize(x.len(), 0.0);
        }
        let rows = x.len() / self.config.hidden_size;
        let inputs = ready(&mixed, rows, &[O]);
        let attended = run(O, &mixed, &inputs);
        inputs.give();
        match tape.as_deref_mut() {
            Some(tape) => tape.mixed = mixed,
            None => scratch::give(mixed),
        }
        add(&mut x, &attended);
        scratch::give(attended);
        norm::forward(&x, &layer.post_norm, eps, &mut normed);
        let inputs = ready(&normed, rows, &[GATE, UP]);
        let (gate, up) = (run(GATE, &normed, &inputs), run(UP, &normed, &inputs));
        inputs.give();
        let mut inner = scratch::take(gate.len());
        swiglu::forward(&gate, &up, &mut inner);
        let inputs = ready(&inner, rows, &[DOWN]);
        let down = run(DOWN, &inner, &inputs);
        inputs.give();
        match tape {
            Some(tape) => (tape.middle, tape.gate, tape.up, tape.narrow) = (copied(&x), gate, up, narrow),
            None => [gate, up].into_iter().for_each(scratch::give),
        }
        add(&mut x, &down);
        [normed, inner, down].into_iter().for_each(scratch::give);
        x
    }

    /// Carries the gradient of a layer's output back to its input (where `to_input`), and to the factors of its modules. The spans of the
    /// pass are `(first row, rows)`; `only` is that of the forward pass.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn layer_backward(
        &self,
        index: usize,
        tape: Tape,
        rotation: &Rotation,
        adapted: &Adapted<'_>,
        spans: &[(usize, usize)],
        only: Option<&[usize]>,
        mut gradient: Vec<f32>,
        to_input: bool,
    ) -> (Vec<f32>, [Option<PairGradient>; LINEARS]) {
        let (layer, heads, eps) = (&self.layers[index], self.heads(index), self.config.rms_norm_eps);
        let rows = gradient.len() / self.config.hidden_size;
        let mut found: [Option<PairGradient>; LINEARS] = std::array::from_fn(|_| None);
        let Tape { input, q, k, v, mixed, middle, mut gate, mut up, narrow } = tape;
        let back = |place: usize, x: &[f32], gradient: &[f32], rows, to_input: Option<&mut [f32]>| {
            linear_backward(&layer.linears[place], place, adapted, x, &narrow[place], gradient, rows, to_input)
        };
        // Feed-forward.
        let mut inner = scratch::take(gate.len());
        swiglu::forward(&gate, &up, &mut inner);
        let mut by_inner = scratch::zeros(gate.len());
        found[DOWN] = back(DOWN, &inner, &gradient, rows, Some(&mut by_inner));
        swiglu::backward(&mut gate, &mut up, &by_inner);
        let mut normed = scratch::take(middle.len());
        norm::forward(&middle, &layer.post_norm, eps, &mut normed);
        let mut by_normed = scratch::zeros(middle.len());
        found[GATE] = back(GATE, &normed, &gate, rows, Some(&mut by_normed));
        found[UP] = back(UP, &normed, &up, rows, Some(&mut by_normed));
        norm::backward(&middle, &layer.post_norm, eps, &by_normed, &mut gradient);
        [inner, by_inner, gate, up, middle].into_iter().for_each(scratch::give);
        // Attention.
        let mut by_mixed = scratch::zeros(mixed.len());
        found[O] = back(O, &mixed, &gradient, rows, Some(&mut by_mixed));
        let rows = input.len() / self.config.hidden_size;
        if let Some(only) = only {
            by_mixed = spread(by_mixed, heads.heads * heads.dim, only, rows);
            gradient = spread(gradient, self.config.hidden_size, only, rows);
            (normed, by_normed) = (scratch::take(input.len()), scratch::take(input.len()));
        }
        let (mut by_q, mut by_k, mut by_v) = (scratch::take(q.len()), scratch::take(k.len()), scratch::take(v.len()));
        let out = Gradients { q: &mut by_q, k: &mut by_k, v: &mut by_v };
        attention::backward(&q, &k, &v, spans, &heads, &by_mixed, out);
        rotation.undo(&mut by_q, heads.heads);
        rotation.undo(&mut by_k, heads.kv_heads);
        [q, k, v, mixed, by_mixed].into_iter().for_each(scratch::give);
        norm::forward(&input, &layer.input_norm, eps, &mut normed);
        by_normed.fill(0.0);
        for (place, by) in [(Q, &by_q), (K, &by_k), (V, &by_v)] {
            found[place] = back(place, &normed, by, rows, to_input.then_some(&mut by_normed[..]));
        }
        if to_input {
            norm::backward(&input, &layer.input_norm, eps, &by_normed, &mut gradient);
        }
        [by_q, by_k, by_v, normed, by_normed, input].into_iter().for_each(scratch::give);
        (gradient, found)
    }
}

/// These rows alone.
fn chosen(values: Vec<f32>, width: usize, rows: &[usize]) -> Vec<f32> {
    let mut some = scratch::take(rows.len() * width);
    some.chunks_exact_mut(width).zip(rows).for_each(|(to, &row)| to.copy_from_slice(&values[row * width..][..width]));
    scratch::give(values);
    some
}

/// Rows among `all`, the others 0.
fn spread(values: Vec<f32>, width: usize, rows: &[usize], all: usize) -> Vec<f32> {
    let mut whole = scratch::zeros(all * width);
    values.chunks_exact(width).zip(rows).for_each(|(from, &row)| whole[row * width..][..width].copy_from_slice(from));
    scratch::give(values);
    whole
}

fn copied(values: &[f32]) -> Vec<f32> {
    let mut copy = scratch::take(values.len());
    copy.copy_from_slice(values);
    copy
}

/// Attention of sequences that begin in this pass, each `(first row, rows)` in a piece of its own.
pub(super) fn attend_apart(
    spans: &[(usize, usize)],
    heads: &Heads,
    q: &[f32],
    k: Vec<f32>,
    v: Vec<f32>,
    tape: Option<&mut Tape>,
) -> Vec<f32> {
    let kv = heads.kv_heads * heads.dim;
    let span = |&(first, len): &(usize, usize)| {
        let range = first * kv..(first + len) * kv;
        Span { first, len, segments: vec![Segment { keys: &k[range.clone()], values: &v[range] }] }
    };
    let mut mixed = scratch::take(q.len());
    attention::forward(q, &spans.iter().map(span).collect::<Vec<_>>(), heads, &mut mixed);
    match tape {
        Some(tape) => (tape.k, tape.v) = (k, v),
        None => [k, v].into_iter().for_each(scratch::give),
    }
    mixed
}
