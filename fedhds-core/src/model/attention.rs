//! Scaled dot-product attention with grouped queries (Vaswani et al. 2017; Ainslie et al. 2023).

use super::cache::KvCache;
use super::tensor::{Tensor, is_autodiff, like};
use crate::error::{Error, Result};
use burn::tensor::activation::softmax;

/// softmax(q k^T / sqrt(head_dim) + mask) v.
///
/// The queries that share a key head are folded into rows of one product, so that keys and values are never repeated.
///
/// # Shapes
/// - q: `[b, t, heads, head_dim]`
/// - k, v: `[b, t, kv_heads, head_dim]`, joined with what `cache` holds of this layer
/// - mask: `[1 or b * heads, t * s]` for s keys, the cached ones included
/// - returns `[b * t, heads * head_dim]`
pub(crate) fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: Option<&Tensor<2>>,
    cache: Option<(&mut KvCache, usize)>,
) -> Result<Tensor<2>> {
    let [b, t, heads, dim] = q.dims();
    let kv_heads = k.dims()[2];
    let group = heads / kv_heads;
    let mut k = k.permute([0, 2, 1, 3]);
    let mut v = v.permute([0, 2, 1, 3]);
    if let Some((cache, layer)) = cache {
        if is_autodiff(&k) {
            return Err(Error::input("cache", "a forward pass without gradients", "one with gradients"));
        }
        (k, v) = cache.append(layer, k, v)?;
    }
    let keys = k.dims()[2];
    let k = k.reshape([b * kv_heads, keys, dim]);
    let v = v.reshape([b * kv_heads, keys, dim]);
    let q = q.permute([0, 2, 1, 3]).reshape([b * kv_heads, group * t, dim]);
    let scores = q.mul_scalar(1.0 / (dim as f64).sqrt()).matmul(k.swap_dims(1, 2));
    let scores = match mask {
        None => scores,
        Some(mask) => {
            let mask = like(mask.clone(), &scores);
            (scores.reshape([b * heads, t * keys]) + mask).reshape([b * kv_heads, group * t, keys])
        }
    };
    let mixed = softmax(scores, 2).matmul(v);
    Ok(mixed.reshape([b, heads, t, dim]).permute([0, 2, 1, 3]).reshape([b * t, heads * dim]))
}
