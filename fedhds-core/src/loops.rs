//! Parallel loops over rayon's threads, compiled once for all callers.
//!
//! rayon compiles its splitting and stealing anew for every closure, about four kilobytes a time; here the work is called through a
//! pointer, once for each piece, so that the library for devices stays small. A piece is a block of rows or a row of real work, never
//! one number. What a piece is does not depend on the number of threads, so neither do results.

use crate::error::{Error, Result};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Calls `work` for every number below `count`, `at_least` of them in a row on one thread.
fn each(count: usize, at_least: usize, work: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().with_min_len(at_least.max(1)).for_each(work);
}

/// Hands each item to `work` with its number, `at_least` of them in a row on one thread.
pub(crate) fn hand_out<T: Send>(items: Vec<T>, at_least: usize, work: impl Fn(usize, T) + Sync) {
    let items: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    each(items.len(), at_least, &|i| {
        let item = items[i].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(item) = item {
            work(i, item);
        }
    });
}

/// Calls `work` on each part of `size` values (at least 1; the last may be shorter) with its number.
pub(crate) fn parts<T: Send>(values: &mut [T], size: usize, at_least: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    hand_out(values.chunks_mut(size.max(1)).collect(), at_least, work);
}

/// [`hand_out`] of work that may fail.
///
/// # Errors
/// That of the lowest item that failed.
pub(crate) fn try_hand_out<T: Send>(
    items: Vec<T>,
    at_least: usize,
    work: impl Fn(usize, T) -> Result<()> + Sync,
) -> Result<()> {
    let first: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    hand_out(items, at_least, |i, item| {
        if let Err(error) = work(i, item) {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            if first.as_ref().is_none_or(|(earlier, _)| i < *earlier) {
                *first = Some((i, error));
            }
        }
    });
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// [`parts`] of work that may fail.
///
/// # Errors
/// That of the lowest part that failed.
pub(crate) fn try_parts<T: Send>(
    values: &mut [T],
    size: usize,
    at_least: usize,
    work: impl Fn(usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    try_hand_out(values.chunks_mut(size.max(1)).collect(), at_least, work)
}

/// `of(0)`, `of(1)`, ..., `count` of them, `block` in a row on one thread.
pub(crate) fn map<R: Default + Send>(count: usize, block: usize, of: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut values = Vec::new();
    values.resize_with(count, R::default);
    parts(&mut values, block, 1, |part, values| {
        values.iter_mut().zip(part * block..).for_each(|(value, i)| *value = of(i));
    });
    values
}

/// [`map`] of work that may fail.
///
/// # Errors
/// That of the lowest block that failed.
pub(crate) fn try_map<R: Default + Send>(
    count: usize,
    block: usize,
    of: impl Fn(usize) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let mut values = Vec::new();
    values.resize_with(count, R::default);
    try_parts(&mut values, block, 1, |part, values| {
        values.iter_mut().zip(part * block..).try_for_each(|(value, i)| {
            *value = of(i)?;
            Ok(())
        })
    })?;
    Ok(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_worked_on_once_and_in_its_place() {
        for (count, block) in [(0, 3), (1, 3), (7, 3), (9, 3), (100, 1)] {
            let expected: Vec<usize> = (0..count).map(|i| i * i).collect();
            assert_eq!(map(count, block, |i| i * i), expected);
            assert_eq!(try_map(count, block, |i| Ok(i * i)).unwrap(), expected);
            let mut values = vec![0; count];
            parts(&mut values, block, 2, |part, values| values.iter_mut().for_each(|value| *value += part + 1));
            assert!(values.iter().enumerate().all(|(i, value)| *value == i / block + 1), "{values:?}");
        }
    }

    #[test]
    fn the_first_error_is_told() {
        let odd = |i: usize| if i % 2 == 1 { Err(Error::input("numbers", "even ones", i)) } else { Ok(i) };
        for _ in 0..20 {
            assert!(try_map(50, 1, odd).unwrap_err().to_string().contains("got 1"));
        }
    }
}
