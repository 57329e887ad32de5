//! How many records of a client count, where what a round asks for follows from the sizes that clients claim.

use crate::sorting;

/// The largest level of which each of `clients` holds a cap's share: `level <= cap / clients * sum_i min(claim_i, level)`. A claim above it
/// counts as so much, so that no client makes the round ask for more by claiming more. Claims that all lie below it stay, and so do those of so few clients
/// that the cap is none.
pub(super) fn within_shares(mut claims: Vec<u64>, cap: f64, clients: usize) -> u64 {
    sorting::sort(&mut claims);
    let mut rest: f64 = claims.iter().map(|&claim| claim as f64).sum();
    let mut level = u64::MAX;
    // From the largest down: those above the level count as the level.
    for (above, &claim) in claims.iter().rev().enumerate() {
        let open = clients as f64 - cap * above as f64;
        if open <= 0.0 {
            break;
        }
        level = (cap * rest / open).ceil() as u64;
        if claim <= level {
            break;
        }
        rest -= claim as f64;
    }
    level
}

/// The largest level so that the claims, each at most so much, are no more than `most` together.
pub(super) fn within_total(mut claims: Vec<u64>, most: u64) -> u64 {
    sorting::sort(&mut claims);
    let mut left = most;
    for (at, &claim) in claims.iter().enumerate() {
        let each = left / (claims.len() - at) as u64;
        if claim > each {
            return each;
        }
        left -= claim;
    }
    u64::MAX
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_huge_claim_counts_as_a_share() {
        // L = 1.5 / 5 (400 + L).
        assert_eq!(within_shares(vec![100, 100, 1_000_000, 100, 100], 1.5, 5), 172);
        assert!(within_shares(vec![100, 120, 80, 100], 1.5, 4) >= 120, "usual claims stay");
        // Two of five: L = 1.5 / 5 (300 + 2 L).
        assert_eq!(within_shares(vec![1 << 24, 100, 100, 100, 1 << 24], 1.5, 5), 225);
        assert!(within_shares(vec![7], 1.5, 1) >= 7);
        assert_eq!(within_shares(vec![], 1.5, 3), u64::MAX);
        assert_eq!(within_total(vec![5, 1_000, 10, 2_000], 100), 42);
        assert_eq!(within_total(vec![5, 10], 100), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_claim_counts_for_more_than_its_share_of_all_that_count(
            claims in prop::collection::vec(prop_oneof![1u64..500, Just(1 << 24)], 2..20), cap in 1.0f64..3.0,
        ) {
            let n = claims.len();
            let level = within_shares(claims.clone(), cap, n);
            let counted: Vec<u64> = claims.iter().map(|&claim| claim.min(level)).collect();
            let share = cap * counted.iter().sum::<u64>() as f64 / n as f64;
            let large = counted.iter().filter(|&&count| count as f64 > share + 1.0 + cap).count();
            // Where the cap's shares of those above it are everything, there is nobody to measure them by.
            prop_assert!(large == 0 || cap * large as f64 >= n as f64, "{:?} of {:?}", counted, claims);
            let most = 1 + claims.iter().sum::<u64>() / 2;
            let level = within_total(claims.clone(), most);
            let sum: u64 = claims.iter().map(|&claim| claim.min(level)).sum();
            prop_assert!(sum <= most && sum + n as u64 > most.min(claims.iter().sum()), "{} of {}", sum, most);
        }
    }
}
