//! How the pairs of rows and targets are cut for bounds on gains: tiles of a fixed size, so that bits do not depend on the number of threads.

use super::bounds::ROUNDOFF;
use crate::error::Result;
use crate::loops;
use crate::types::Context;
use std::ops::Range;

/// Targets of one product.
pub(super) const TILE: usize = 512;
/// Rows of one product.
pub(super) const SQUARE: usize = 256;
/// Targets of one task, a multiple of [`TILE`].
pub(super) const STRIP: usize = 16 * TILE;
/// By what share f32 sums of a tile or less, and the terms in them, none of them negative, may be off.
pub(super) const SUM: f64 = 768.0 * ROUNDOFF;
/// Accumulators of [`pairs`]; so many tasks share the blocks of rows.
const SHARES: usize = 16;

/// Writes the products of two blocks of rows.
pub(super) type Products<'a> = dyn Fn(&mut [f32], Range<usize>, Range<usize>) + Sync + 'a;
/// What a row gains at a block, of which it is given the products; what each of the block gains at the row is added to the last argument.
pub(super) type Both<'a> = dyn Fn(&[f32], usize, Range<usize>, &mut [f32]) -> f64 + Sync + 'a;

/// The sum of each of `n` rows, which are the targets too: each product serves two rows.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn pairs(n: usize, products: &Products<'_>, both: &Both<'_>, context: &Context) -> Result<Vec<f64>> {
    let blocks = n.div_ceil(SQUARE);
    let block = |at: usize| at * SQUARE..n.min((at + 1) * SQUARE);
    let shares = loops::try_map(SHARES.min(blocks), 1, |share| {
        let mut sums = vec![0.0f64; n];
        let mut out = vec![0.0f32; SQUARE * SQUARE];
        for left in (share..blocks).step_by(SHARES) {
            for right in left..blocks {
                context.control.check()?;
                let (rows, columns) = (block(left), block(right));
                let out = &mut out[..rows.len() * columns.len()];
                products(out, rows.clone(), columns.clone());
                let mut across = [0.0f32; SQUARE];
                for (row, products) in rows.zip(out.chunks_exact(columns.len())) {
                    sums[row] += both(products, row, columns.clone(), &mut across);
                }
                if left != right {
                    sums[columns].iter_mut().zip(across).for_each(|(sum, add)| *sum += f64::from(add));
                }
            }
        }
        Ok(sums)
    })?;
    let mut sums = vec![0.0; n];
    for share in shares {
        sums.iter_mut().zip(share).for_each(|(sum, add)| *sum += add);
    }
    Ok(sums)
}
