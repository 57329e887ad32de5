//! Token sequences side by side without padding, a beginning that several share once.

use std::ops::Range;

/// Tokens from which a common beginning is computed once: fewer are not worth a place of their own.
const SHARED: usize = 8;

/// Some tokens of one or more sequences, in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The row of its first token.
    pub first: usize,
    /// Its tokens, at least 1.
    pub len: usize,
    /// The piece that comes before it; none at the beginning of a sequence.
    pub before: Option<usize>,
}

/// The rows of one forward pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// The token of each row.
    pub ids: Vec<u32>,
    /// Its place in its sequence.
    pub positions: Vec<usize>,
    /// The pieces, each after the one before it.
    pub pieces: Vec<Piece>,
    /// The last piece of each sequence.
    ends: Vec<usize>,
}

impl Tokens {
    /// Sequences that begin here, each by itself.
    pub fn apart(sequences: &[&[u32]]) -> Self {
        Self::continued(sequences, &vec![0; sequences.len()])
    }

    /// The next tokens of sequences whose first `starts` tokens were read before.
    pub fn continued(sequences: &[&[u32]], starts: &[usize]) -> Self {
        let mut tokens = Self::default();
        for (sequence, &start) in sequences.iter().zip(starts) {
            let piece = tokens.add(sequence, start, None);
            tokens.ends.push(piece);
        }
        tokens
    }

    /// Sequences that begin here; what several begin with stands once.
    pub fn shared(sequences: &[&[u32]]) -> Self {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&i| (sequences[i], i));
        let mut tokens = Self { ends: vec![0; sequences.len()], ..Self::default() };
        // Sequences of the order, the tokens of them that have a piece, and the last such piece.
        let mut open = vec![(0..order.len(), 0, None)];
        while let Some((range, depth, before)) = open.pop() {
            let of = |at: usize| &sequences[order[at]][depth..];
            // Sorted: what the first and the last have in common, all have.
            let (Some(first), Some(last)) = (range.clone().next(), range.clone().next_back()) else { continue };
            let common = of(first).iter().zip(of(last)).take_while(|(a, b)| a == b).count();
            if range.len() == 1 || common >= SHARED || (common > 0 && common == of(last).len()) {
                let piece = tokens.add(&of(first)[..common], depth, before);
                let ended = range.clone().take_while(|&at| of(at).len() == common).count();
                order[range.start..range.start + ended].iter().for_each(|&i| tokens.ends[i] = piece);
                open.push((range.start + ended..range.end, depth + common, Some(piece)));
                continue;
            }
            // Too little in common: those of a kind by themselves, in their order.
            let mut parts: Vec<Range<usize>> = Vec::new();
            for at in range {
                let joins = parts.last().is_some_and(|part| of(part.start).get(common) == of(at).get(common));
                match parts.last_mut() {
                    Some(part) if joins && of(at).len() > common => part.end = at + 1,
                    _ => parts.push(at..at + 1),
                }
            }
            open.extend(parts.into_iter().rev().map(|part| (part, depth, before)));
        }
        tokens
    }

    fn add(&mut self, ids: &[u32], position: usize, before: Option<usize>) -> usize {
        self.pieces.push(Piece { first: self.ids.len(), len: ids.len(), before });
        self.ids.extend_from_slice(ids);
        self.positions.extend(position..position + ids.len());
        self.pieces.len() - 1
    }

    /// The pieces up to this one, from the beginning of its sequence.
    pub fn path(&self, piece: usize) -> Vec<usize> {
        let mut path: Vec<usize> = std::iter::successors(Some(piece), |&piece| self.pieces[piece].before).collect();
        path.reverse();
        path
    }

    /// The last piece of each sequence.
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The rows of a sequence's tokens, in their order.
    pub fn rows(&self, sequence: usize) -> impl Iterator<Item = usize> + '_ {
        let path = self.path(self.ends[sequence]);
        path.into_iter().flat_map(|piece| {
            let Piece { first, len, .. } = self.pieces[piece];
            first..first + len
        })
    }

    /// The row of a sequence's last token.
    pub fn last_row(&self, sequence: usize) -> usize {
        let piece = &self.pieces[self.ends[sequence]];
        piece.first + piece.len - 1
    }
}

/// Sequences (by number) in packs of about so many rows each; those with a common beginning are together. Longest first: what is too
/// much for the memory fails at once.
pub(crate) fn packs(sequences: &[&[u32]], rows: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&i| (sequences[i], i));
    let mut packs: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut previous: &[u32] = &[];
    for i in order {
        let common = previous.iter().zip(sequences[i]).take_while(|(a, b)| a == b).count();
        let new = sequences[i].len() - common;
        match packs.last_mut() {
            Some((known, pack)) if *known + new <= rows => {
                *known += new;
                pack.push(i);
            }
            _ => packs.push((sequences[i].len(), vec![i])),
        }
        previous = sequences[i];
    }
    packs.sort_by_key(|(_, pack)| std::cmp::Reverse(pack.iter().map(|&i| sequences[i].len()).max()));
    packs.into_iter().map(|(_, pack)| pack).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slices(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
        sequences.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #[test]
        fn every_sequence_is_there_whatever_is_shared(
            heads in prop::collection::vec(prop::collection::vec(0u32..3, 0..30), 1..4),
            tails in prop::collection::vec((0usize..4, prop::collection::vec(0u32..3, 1..20)), 1..12),
        ) {
            let sequences: Vec<Vec<u32>> =
                tails.iter().map(|(head, tail)| [&heads[head % heads.len()][..], tail].concat()).collect();
            let apart = Tokens::apart(&slices(&sequences));
            let shared = Tokens::shared(&slices(&sequences));
            prop_assert!(shared.ids.len() <= apart.ids.len());
            for tokens in [&apart, &shared] {
                for (i, sequence) in sequences.iter().enumerate() {
                    let rows: Vec<usize> = tokens.rows(i).collect();
                    prop_assert_eq!(&rows.iter().map(|&row| tokens.ids[row]).collect::<Vec<_>>(), sequence);
                    let positions: Vec<usize> = rows.iter().map(|&row| tokens.positions[row]).collect();
                    prop_assert_eq!(positions, (0..sequence.len()).collect::<Vec<_>>());
                    prop_assert_eq!(rows.last().copied().unwrap(), tokens.last_row(i));
                }
                for (i, piece) in tokens.pieces.iter().enumerate() {
                    prop_assert!(piece.len > 0 && piece.before.is_none_or(|before| before < i));
                }
            }
            for rows in [1, 40, 1000] {
                let mut packed: Vec<usize> = packs(&slices(&sequences), rows).concat();
                packed.sort_unstable();
                prop_assert_eq!(packed, (0..sequences.len()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_common_beginning_stands_once() {
        let head: Vec<u32> = (0..20).collect();
        let sequences = [[&head[..], &[90, 91]].concat(), head.clone(), [&head[..], &[80]].concat(), vec![5, 6]];
        let tokens = Tokens::shared(&slices(&sequences));
        assert_eq!(tokens.ids.len(), 20 + 2 + 1 + 2);
        assert_eq!(tokens.pieces.iter().filter(|piece| piece.before.is_none()).count(), 2);
        // The same sequence twice is computed once.
        assert_eq!(Tokens::shared(&[&[1, 2], &[1, 2]]).ids, [1, 2]);
        // A short common beginning is not worth it.
        assert_eq!(Tokens::shared(&[&[1, 2, 3], &[1, 2, 4]]).ids.len(), 6);
        assert_eq!(packs(&slices(&sequences), 24).len(), 2);
    }
}
