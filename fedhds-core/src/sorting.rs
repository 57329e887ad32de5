//! Sorting, compiled once: the standard library's sort is compiled anew for each kind of value and each comparison, 5 kB every time, which a
//! library for devices cannot afford. Loops that are to be quick sort by themselves.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The numbers below `n` in the order of `compare`; those that are equal as they come.
fn order(n: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

/// Puts the value that is to be at each place there.
fn arrange<T>(values: &mut [T], mut order: Vec<usize>) {
    for first in 0..order.len() {
        let mut place = first;
        loop {
            let from = std::mem::replace(&mut order[place], place);
            if from == first {
                break;
            }
            values.swap(place, from);
            place = from;
        }
    }
}

/// As [`slice::sort_by`]: stable.
pub(crate) fn sort_by<T>(values: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let sorted = order(values.len(), &mut |a, b| compare(&values[a], &values[b]));
    arrange(values, sorted);
}

/// As [`slice::sort`]: stable.
pub(crate) fn sort<T: Ord>(values: &mut [T]) {
    sort_by(values, T::cmp);
}

/// As [`slice::sort_by_cached_key`]: stable, and each key is made once.
pub(crate) fn sort_by_key<T, K: Ord>(values: &mut [T], key: impl Fn(&T) -> K) {
    let keys: Vec<K> = values.iter().map(key).collect();
    arrange(values, order(keys.len(), &mut |a, b| keys[a].cmp(&keys[b])));
}

/// As `collect`, which sorts first.
pub(crate) fn map<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    pairs.into_iter().for_each(|(key, value)| {
        map.insert(key, value);
    });
    map
}

/// As `collect`, which sorts first.
pub(crate) fn set<T: Ord>(values: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    values.into_iter().for_each(|value| {
        set.insert(value);
    });
    set
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        for n in [0, 1, 2, 3, 17, 300] {
            let values: Vec<(u64, usize)> =
                (0..n).map(|i| (Seed(n as u64).derive("value", i as u64).0 % 20, i)).collect();
            let (mut own, mut expected) = (values.clone(), values.clone());
            sort_by(&mut own, |a, b| b.0.cmp(&a.0));
            expected.sort_by_key(|value| std::cmp::Reverse(value.0));
            assert_eq!(own, expected);
            let (mut own, mut expected) = (values.clone(), values.clone());
            sort_by_key(&mut own, |value| value.0);
            expected.sort_by_key(|value| value.0);
            assert_eq!(own, expected);
            let (mut own, mut expected) = (values.clone(), values);
            sort(&mut own);
            expected.sort();
            assert_eq!(own, expected);
        }
    }
}
