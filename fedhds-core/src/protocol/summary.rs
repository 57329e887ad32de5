//! Client to server: its groups.

use super::{GateAnswer, GroupScores, GroupTokens, Kind, MAX_DIMS, MAX_GROUPS, MAX_RECORDS, Section, Sections, Wire};
use crate::error::{Error, Result};
use crate::types::seed::first_eight;
use crate::types::{ClientId, ClusterId, Matrix, Round};
use serde::{Deserialize, Serialize};

/// One group of a client's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The client's own number for it. It is what comes back in a [`SelectionOrder`](super::SelectionOrder).
    pub cluster: ClusterId,
    /// Records in it, at least 1: the group's weight on the server, and the most that an order may ask of it.
    pub size: u32,
}

/// Client to server: the groups of its records, and nothing of the records themselves.
///
/// The paper sends (cluster id, centroid) per group (step 4); the size travels with it here, so that the server can weigh
/// groups and meet a budget of records without asking twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientSummary {
    /// Who sends it.
    pub client: ClientId,
    /// The round that it answers.
    pub round: Round,
    /// The groups in ascending order of their ids; none where nothing was grouped.
    pub groups: Vec<Group>,
    /// `[groups, dims]`: row j is the centroid of `groups[j]`. No columns where only counts were asked for.
    pub centroids: Matrix,
    /// Optional parts: [`GroupScores`], [`GroupsDigest`], [`GateAnswer`], [`GroupTokens`].
    pub sections: Sections,
}

impl ClientSummary {
    /// A summary without optional parts.
    pub fn new(client: ClientId, round: Round, groups: Vec<Group>, centroids: Matrix) -> Self {
        Self { client, round, groups, centroids, sections: Sections::default() }
    }

    /// Records in all groups.
    pub fn records(&self) -> usize {
        self.groups.iter().map(|g| g.size as usize).sum()
    }
}

/// Section 2 of a [`ClientSummary`]: that its groups are those that the server knows. The message then names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupsDigest(
    /// BLAKE3 of ids, sizes, centroids, and mean tokens where they are asked for, its first eight bytes.
    pub u64,
);

impl GroupsDigest {
    /// Of these groups and their centroids, `[groups, d]`.
    pub fn of(groups: &[Group], centroids: &Matrix) -> Self {
        Self::with_tokens(groups, centroids, &[])
    }

    /// Of these groups, their centroids and their mean tokens, `[groups]` or none: what has no tokens has the digest of [`of`](Self::of).
    pub(crate) fn with_tokens(groups: &[Group], centroids: &Matrix, tokens: &[f32]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(centroids.cols() as u64).to_le_bytes());
        for group in groups {
            hasher.update(&group.cluster.0.to_le_bytes());
            hasher.update(&group.size.to_le_bytes());
        }
        centroids.as_slice().iter().chain(tokens).for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
        Self(first_eight(&hasher))
    }
}

impl Section for GroupsDigest {
    const KIND: Kind = Kind::ClientSummary;
    const NUMBER: u16 = 2;
    const NAME: &'static str = "groups_digest";
}

impl Wire for ClientSummary {
    const KIND: Kind = Kind::ClientSummary;

    fn check(&self) -> Result<()> {
        let err = |what: &str, expected: String, got: String| Err(Error::protocol(what, expected, got));
        if self.groups.len() > MAX_GROUPS {
            return err("client_summary: groups", format!("at most {MAX_GROUPS}"), self.groups.len().to_string());
        }
        let (rows, cols, values) = (self.centroids.rows(), self.centroids.cols(), self.centroids.as_slice().len());
        if rows != self.groups.len() || cols > MAX_DIMS || rows.checked_mul(cols) != Some(values) {
            let expected = format!("{} rows of at most {MAX_DIMS} values", self.groups.len());
            return err("client_summary: centroids", expected, format!("{rows} x {cols} with {values} values"));
        }
        let mut last = None;
        for group in &self.groups {
            if last >= Some(group.cluster) {
                let expected = format!("ids in ascending order after {}", last.unwrap_or(ClusterId(0)));
                return err("client_summary: cluster", expected, group.cluster.to_string());
            }
            last = Some(group.cluster);
            if group.size == 0 {
                return err("client_summary: size", "at least 1".into(), format!("0 in cluster {}", group.cluster));
            }
        }
        // Summed in u64: 2^20 groups of 2^32 records do not overflow it.
        let records: u64 = self.groups.iter().map(|g| u64::from(g.size)).sum();
        if records > MAX_RECORDS as u64 {
            return err("client_summary: records", format!("at most {MAX_RECORDS}"), records.to_string());
        }
        if let Some(at) = self.centroids.as_slice().iter().position(|v| !v.is_finite()) {
            let (row, column) = (at / cols, at % cols);
            let got = format!("{} at row {row}, column {column}", self.centroids.as_slice()[at]);
            return err("client_summary: centroids", "finite values".into(), got);
        }
        let known = [GroupScores::NUMBER, GroupsDigest::NUMBER, GateAnswer::NUMBER, GroupTokens::NUMBER];
        self.sections.check(Self::KIND, &known)?;
        self.sections.get::<GateAnswer>()?;
        if let Some(tokens) = self.sections.get::<GroupTokens>()? {
            tokens.check(self.groups.len())?;
        }
        if self.sections.get::<GroupsDigest>()?.is_some() && !self.groups.is_empty() {
            let got = format!("{} groups", self.groups.len());
            return err("client_summary: groups_digest", "no groups beside it".into(), got);
        }
        if let Some(GroupScores(scores)) = self.sections.get()? {
            if scores.rows() != self.groups.len() {
                let expected = format!("{} rows, one for each group", self.groups.len());
                return err("client_summary: scores", expected, scores.rows().to_string());
            }
            let (most, longest) = GroupScores::MAX;
            if scores.names().len() > most || scores.names().iter().any(|name| name.len() > longest) {
                let expected = format!("at most {most} scores with names of at most {longest} bytes");
                return err("client_summary: scores", expected, format!("{} scores", scores.names().len()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn summary(groups: usize, dims: usize) -> ClientSummary {
        ClientSummary::new(
            ClientId(7),
            Round(2),
            (0..groups).map(|j| Group { cluster: ClusterId(j as u32), size: 4 + j as u32 }).collect(),
            Matrix::new(groups, dims, (0..groups * dims).map(|v| v as f32 - 3.5).collect()).unwrap(),
        )
    }

    #[test]
    fn comes_back_as_it_went() {
        for (groups, dims) in [(0, 0), (0, 2), (1, 0), (5, 2), (9, 128)] {
            let message = summary(groups, dims);
            let bytes = message.encode().unwrap();
            assert_eq!(ClientSummary::decode(&bytes).unwrap(), message);
            assert_eq!(bytes.len(), message.encoded_len().unwrap());
        }
    }

    #[test]
    fn a_client_costs_what_the_paper_counts_and_the_sizes() {
        // Table 5 counts 44 bytes for FedHDS (5 centroids of 2 x f32, and 4) and 76 for Turbo (9). Ours adds the header
        // of 4, client, round, five lengths of one byte each, the count of sections, and id and size of each group.
        let bytes = |groups| summary(groups, 2).encoded_len().unwrap();
        assert_eq!(bytes(5), 5 * (8 + 2) + 4 + 2 + 4 + 1);
        assert_eq!(bytes(9), 9 * (8 + 2) + 4 + 2 + 4 + 1);
    }

    #[test]
    fn nonsense_is_refused_on_both_sides() {
        type Spoil = fn(&mut ClientSummary);
        let cases: [(&str, Spoil); 6] = [
            ("finite", |m| m.centroids.row_mut(1)[1] = f32::NAN),
            ("finite", |m| m.centroids.row_mut(0)[0] = f32::INFINITY),
            ("ascending", |m| m.groups[1].cluster = ClusterId(0)),
            ("at least 1", |m| m.groups[2].size = 0),
            ("rows", |m| m.groups.truncate(2)),
            ("at most 16777216", |m| m.groups[0].size = u32::MAX),
        ];
        for (word, spoil) in cases {
            let mut message = summary(3, 2);
            spoil(&mut message);
            let error = message.encode().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            // A peer that does not check sends it all the same.
            let body = postcard::to_stdvec(&message).unwrap();
            let bytes = [&b"FH\x02\x02"[..], &body[..]].concat();
            assert_eq!(ClientSummary::decode(&bytes).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_matrix_that_lies_about_its_shape_is_refused() {
        // client 7, round 2, one group (0, 4), then rows 1, columns 65536, no values, no sections.
        let body = [7, 2, 1, 0, 4, 1, 0x80, 0x80, 0x04, 0, 0];
        let bytes = [&b"FH\x02\x02"[..], &body[..]].concat();
        assert!(ClientSummary::decode(&bytes).unwrap_err().to_string().contains("with 0 values"));
        // A length prefix of 2^63 values with nothing behind it ends at once.
        let body = [7, 2, 1, 0, 4, 1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let bytes = [&b"FH\x02\x02"[..], &body[..]].concat();
        assert!(matches!(ClientSummary::decode(&bytes), Err(Error::Protocol { .. })));
    }
}
