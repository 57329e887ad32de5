//! How a total is spread over groups of unequal size.

use super::rows::Groups;
use crate::sorting;
use crate::stage::Rows;

/// `total` units over groups, in proportion to `weights`, never more than `caps[i]` for group i: the method of largest
/// remainders (Hamilton), repeated while a group is full and hands its surplus on.
///
/// The shares sum to `min(total, sum of caps)` exactly. Equal remainders go to the lower index. Where all groups that have
/// room weigh nothing, they count alike. `weights` and `caps` have the same length; weights are finite and not negative.
pub fn apportion(total: usize, weights: &[f64], caps: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; weights.len()];
    let mut left = total.min(caps.iter().sum());
    // Each pass fills a group to its cap or is the last: at most as many passes as groups.
    while left > 0 {
        let open: Vec<usize> = (0..shares.len()).filter(|&i| shares[i] < caps[i]).collect();
        let sum: f64 = open.iter().map(|&i| weights[i]).sum();
        let weight = |i: usize| if sum > 0.0 { weights[i] / sum } else { 1.0 / open.len() as f64 };
        let ideal: Vec<f64> = open.iter().map(|&i| left as f64 * weight(i)).collect();
        let room = |shares: &[usize], i: usize| caps[i] - shares[i];
        let full: Vec<usize> = (0..open.len()).filter(|&o| ideal[o] >= room(&shares, open[o]) as f64).collect();
        if !full.is_empty() {
            for o in full {
                let give = room(&shares, open[o]).min(left);
                shares[open[o]] += give;
                left -= give;
            }
            continue;
        }
        for (&i, &q) in open.iter().zip(&ideal) {
            let give = (q.floor() as usize).min(left);
            shares[i] += give;
            left -= give;
        }
        let mut by_remainder: Vec<usize> = (0..open.len()).collect();
        sorting::sort_by(&mut by_remainder, |&a, &b| {
            ideal[b].fract().total_cmp(&ideal[a].fract()).then(open[a].cmp(&open[b]))
        });
        for o in by_remainder {
            let give = left.min(1).min(room(&shares, open[o]));
            shares[open[o]] += give;
            left -= give;
        }
    }
    shares
}

/// How many rows of each cluster, and how many of the noise, a total of `total` rows takes.
///
/// 1. Coverage first: one row of each cluster that has rows, the heaviest clusters first (by the records that their rows
///    stand for, then by the lower id) where there are more clusters than rows to take.
/// 2. What is left goes to the clusters by [`apportion`] in proportion to their records.
/// 3. Noise comes last, and only where the clusters have no row left.
pub(super) fn rows_by_cluster(total: usize, all: &Rows<'_>, groups: &Groups) -> (Vec<usize>, usize) {
    let weights: Vec<f64> =
        groups.clusters.iter().map(|rows| rows.iter().map(|&r| f64::from(all.weight(r))).sum()).collect();
    let mut order: Vec<usize> = (0..weights.len()).filter(|&j| !groups.clusters[j].is_empty()).collect();
    sorting::sort_by(&mut order, |&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
    let mut quotas = vec![0; weights.len()];
    for &j in order.iter().take(total) {
        quotas[j] = 1;
    }
    let covered = order.len().min(total);
    let caps: Vec<usize> = groups.clusters.iter().zip(&quotas).map(|(rows, q)| rows.len() - q).collect();
    let more = apportion(total - covered, &weights, &caps);
    let taken = covered + more.iter().sum::<usize>();
    for (quota, extra) in quotas.iter_mut().zip(more) {
        *quota += extra;
    }
    (quotas, (total - taken).min(groups.noise.len()))
}

/// The heaviest `count` rows, the lower row first among equals: what noise gives when it is needed.
pub(super) fn heaviest(rows: &[usize], all: &Rows<'_>, count: usize) -> Vec<usize> {
    let mut rows = rows.to_vec();
    sorting::sort_by(&mut rows, |&a, &b| all.weight(b).total_cmp(&all.weight(a)).then(a.cmp(&b)));
    rows.truncate(count);
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_follow_the_weights() {
        assert_eq!(apportion(10, &[1.0, 1.0, 3.0], &[9, 9, 9]), [2, 2, 6]);
        assert_eq!(apportion(4, &[1.0, 1.0, 1.0], &[9, 9, 9]), [2, 1, 1]);
        // Hamilton by hand: quotas 2.25, 1.35, .9, .9, .6 of 6 over (15, 9, 6, 6, 4).
        assert_eq!(apportion(6, &[15.0, 9.0, 6.0, 6.0, 4.0], &[9; 5]), [2, 1, 1, 1, 1]);
        // A full group hands its surplus on.
        assert_eq!(apportion(10, &[100.0, 1.0, 1.0], &[2, 9, 9]), [2, 4, 4]);
        assert_eq!(apportion(3, &[0.0, 0.0], &[9, 9]), [2, 1]);
        assert_eq!(apportion(100, &[1.0, 0.0], &[2, 3]), [2, 3]);
        assert!(apportion(5, &[], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_total_and_keep_the_caps(
            groups in proptest::collection::vec((0.0f64..1e6, 0usize..50), 0..20), total in 0usize..600,
        ) {
            let (weights, caps): (Vec<f64>, Vec<usize>) = groups.into_iter().unzip();
            let shares = apportion(total, &weights, &caps);
            prop_assert_eq!(shares.iter().sum::<usize>(), total.min(caps.iter().sum()));
            prop_assert!(shares.iter().zip(&caps).all(|(s, c)| s <= c));
        }

        #[test]
        fn a_heavier_group_with_equal_room_never_gets_less(
            weights in proptest::collection::vec(0u32..1000, 2..10), total in 0usize..100,
        ) {
            let w: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
            let shares = apportion(total, &w, &vec![30; w.len()]);
            for a in 0..w.len() {
                for b in 0..w.len() {
                    prop_assert!(weights[a] <= weights[b] || shares[a] >= shares[b]);
                }
            }
        }
    }
}
