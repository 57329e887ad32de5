//! A picture of each run's selection: all records that the frozen features know, in one plane for all runs.

use super::parts::Features;
use super::plot::SelectionPlot;
use super::run_record::RunRecord;
use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::reduce::{Pca, PcaConfig, Tsne, TsneConfig};
use crate::stage::Reducer;
use crate::types::{ClientId, Context, Control, Matrix, RowId, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Above so many records the plane comes from PCA: t-SNE would take longer than it is worth.
const TSNE_RECORDS: usize = 3000;

/// The records in the plane.
pub(super) struct Picture<'a> {
    points: Matrix,
    categories: Vec<&'a str>,
    /// The row of each (client, record).
    rows: BTreeMap<(ClientId, &'a str), RowId>,
}

impl<'a> Picture<'a> {
    /// The plane of these clients' records; their features come from the cache, where they are there. `None` where there are
    /// fewer than 2 records.
    pub(super) fn new(
        clients: impl Iterator<Item = &'a ClientData>,
        features: &Features,
        cache: &RecordCache,
        control: &Control,
    ) -> Result<Option<Self>> {
        let context = Context { seed: Seed(0).derive("picture", 0), control: control.clone() };
        let mut parts = Vec::new();
        let mut categories = Vec::new();
        let mut rows = BTreeMap::new();
        for client in clients {
            parts.push(cache.features(features.extractor.as_ref(), &client.records, None, &context)?);
            for record in &client.records {
                rows.insert((client.client, record.id.as_str()), RowId(categories.len() as u32));
                // families: few enough to tell apart by colour
                let family = if record.family.is_empty() { &record.category } else { &record.family };
                categories.push(family.as_str());
            }
        }
        if categories.len() < 2 {
            return Ok(None);
        }
        let all = Matrix::stack(parts.iter().map(|p| &p.values))?;
        let reducer: Box<dyn Reducer> = if all.rows() <= TSNE_RECORDS {
            Box::new(Tsne::new(TsneConfig::default())?)
        } else {
            Box::new(Pca::new(PcaConfig { n_components: 2, ..PcaConfig::default() })?)
        };
        let points = reducer.reduce(&all, &context)?;
        if points.cols() != 2 {
            return Err(Error::stage("picture", format!("expected 2 columns, got {}", points.cols())));
        }
        Ok(Some(Self { points, categories, rows }))
    }

    /// Draws the run's selected records over all.
    pub(super) fn save(&self, run: &RunRecord, path: &Path) -> Result<()> {
        let selected = run.rounds.iter().flat_map(|r| &r.clients);
        let selected = selected.flat_map(|c| c.selected.iter().map(move |id| (c.client, id.as_str())));
        let chosen: BTreeSet<RowId> = selected.filter_map(|key| self.rows.get(&key).copied()).collect();
        let chosen: Vec<RowId> = chosen.into_iter().collect();
        let title = format!("{}, seed {}: {} of {} records", run.method, run.seed, chosen.len(), self.points.rows());
        SelectionPlot {
            title: &title,
            points: &self.points,
            categories: &self.categories,
            chosen: &chosen,
            centroids: None,
        }
        .save(path)
    }
}
