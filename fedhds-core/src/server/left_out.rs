//! Who is left out as the selection begins, when all summaries are there: no client decides by coming first.

use super::Server;
use crate::error::Error;
use crate::protocol::ClientSummary;
use crate::sorting;
use crate::types::ClientId;
use std::cmp::Reverse;

impl Server {
    /// Leaves out whoever sent another number of coordinates than most.
    pub(super) fn leave_out_other_columns(&mut self) {
        // No coordinates at all are those of a client too small to show a centroid.
        let shows = |s: &ClientSummary| self.pipeline.client.clusterer.is_none() || s.centroids.cols() > 0;
        let columns = |s: &ClientSummary| (!s.groups.is_empty() && shows(s)).then(|| s.centroids.cols());
        let mut all: Vec<usize> = self.state.summaries.values().filter_map(columns).collect();
        sorting::sort(&mut all);
        // Among equally frequent ones the smaller number.
        let frequency = |same: &&[usize]| (same.len(), Reverse(same[0]));
        let Some(most) = all.chunk_by(|a, b| a == b).max_by_key(frequency).map(|same| same[0]) else { return };
        let other = |s: &&ClientSummary| columns(s).is_some_and(|cols| cols != most);
        let others: Vec<(ClientId, usize)> =
            self.state.summaries.values().filter(other).map(|s| (s.client, s.centroids.cols())).collect();
        for (client, cols) in others {
            self.state.summaries.remove(&client);
            let expected = format!("{most} coordinates, as most clients sent");
            self.leave_out(client, Error::protocol("client_summary: centroids", expected, cols));
        }
    }

    /// Leaves out the clients with the most groups where all clients together sent more than a round may have; among equals those of the larger
    /// numbers.
    pub(super) fn leave_out_the_largest(&mut self) {
        let most = self.pipeline.server.limits.of_round();
        let mut sizes: Vec<(usize, ClientId)> =
            self.state.summaries.values().map(|summary| (summary.groups.len(), summary.client)).collect();
        let mut all: usize = sizes.iter().map(|(groups, _)| groups).sum();
        if all <= most {
            return;
        }
        sorting::sort_by_key(&mut sizes, |&size| Reverse(size));
        for (groups, client) in sizes {
            if all <= most {
                break;
            }
            let got = format!("{all}, {groups} of them of this client");
            self.state.summaries.remove(&client);
            self.leave_out(client, Error::protocol("groups of the round", format!("at most {most}"), got));
            all -= groups;
        }
    }
}
