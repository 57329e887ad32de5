//! An upload stage that is a Python object: it sees a summary without its wire format, and draws from the client's secret.

use crate::array::{array, matrix};
use crate::custom::Custom;
use fedhds_core::protocol::{ClientSummary, Group, GroupScores, Section as _};
use fedhds_core::stage::Upload;
use fedhds_core::types::{ClusterId, Scores, Secret};
use fedhds_core::{Error, Result};
use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What comes back: clusters, sizes, centroids, and scores by name.
type Released<'py> =
    (Vec<u32>, Vec<u32>, PyReadonlyArray2<'py, f32>, Option<(Vec<String>, PyReadonlyArray2<'py, f32>)>);

impl Upload for Custom {
    fn release(&self, mut summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
        let scores = summary.sections.get::<GroupScores>()?;
        // 256 bits of one draw each, of which the object makes as much randomness as it needs.
        let key: Vec<u8> = (0..4).flat_map(|_| secret.next_u64().to_le_bytes()).collect();
        let (groups, centroids, scores) = self.call(None, |object| {
            let py = object.py();
            let clusters = summary.groups.iter().map(|group| i64::from(group.cluster.0)).collect();
            let sizes = summary.groups.iter().map(|group| i64::from(group.size)).collect();
            let named =
                |GroupScores(s): &GroupScores| Ok::<_, PyErr>((s.names().to_vec(), array(py, s.values().clone())?));
            let given = (
                summary.client.0,
                summary.round.0,
                PyArray1::from_vec(py, clusters),
                PyArray1::from_vec(py, sizes),
                array(py, summary.centroids.clone())?,
                scores.as_ref().map(named).transpose()?,
                PyBytes::new(py, &key),
            );
            let released = object.call_method1("release", given)?;
            let (clusters, sizes, centroids, scores) = released.extract::<Released<'_>>()?;
            let group = |(cluster, size)| Group { cluster: ClusterId(cluster), size };
            let groups: Vec<Group> = clusters.into_iter().zip(sizes).map(group).collect();
            let scores = scores.map(|(names, values)| Ok::<_, PyErr>((names, matrix(&values)?))).transpose()?;
            Ok((groups, matrix(&centroids)?, scores))
        })?;
        summary.groups = groups;
        summary.centroids = centroids;
        summary.sections.remove(GroupScores::NUMBER);
        if let Some((names, values)) = scores {
            let of_stage = |error: Error| Error::stage(&self.name, error.to_string());
            summary.sections.set(&GroupScores(Scores::new(names, values).map_err(of_stage)?))?;
        }
        Ok(summary)
    }
}
