//! A picture of each run's selection: all records that the frozen features know, in one plane for all runs.

use super::config::MethodEntry;
use super::federation::{Federation, family};
use super::parts::Features;
use super::plot::SelectionPlot;
use super::run_record::RunRecord;
use super::runner::Experiment;
use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::method::FeatureSource;
use crate::reduce::{Pca, PcaConfig, Tsne, TsneConfig};
use crate::stage::Reducer;
use crate::types::{ClientId, Context, Control, Matrix, RowId, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Above so many records the plane comes from PCA: t-SNE would take longer than it is worth.
const TSNE_RECORDS: usize = 3000;

impl Experiment {
    /// A picture of each run's selection, in one plane for all: that of the frozen features, where a method used them.
    pub(super) fn pictures(&self, records: &[RunRecord], federation: &Federation, control: &Control) -> Result<()> {
        let path = |r: &RunRecord| self.run_folder(&r.method, r.seed).join("selection.svg");
        let runs: Vec<&RunRecord> = records.iter().filter(|r| !r.rounds.is_empty()).collect();
        if runs.iter().all(|r| path(r).exists()) || !self.stages.proxy.extractor.is_frozen() {
            return Ok(());
        }
        let proxied = |entry: &&MethodEntry| {
            entry.resolve(self.config.budget, "").is_ok_and(|method| method.features == FeatureSource::Proxy)
        };
        let proxied: BTreeSet<&str> = self.config.methods.iter().filter(proxied).map(MethodEntry::label).collect();
        let seen: BTreeSet<_> = runs
            .iter()
            .filter(|r| proxied.contains(r.method.as_str()))
            .flat_map(|r| r.rounds.iter().flat_map(|round| &round.clients))
            .map(|c| c.client)
            .collect();
        let clients = federation.clients.iter().filter(|c| seen.contains(&c.client));
        if let Some(picture) = Picture::new(clients, &self.stages.proxy, &self.cache, control)? {
            runs.iter().try_for_each(|r| picture.save(r, &path(r)))?;
        }
        Ok(())
    }
}

/// The records in the plane.
struct Picture<'a> {
    points: Matrix,
    categories: Vec<&'a str>,
    /// The row of each (client, record).
    rows: BTreeMap<(ClientId, &'a str), RowId>,
}

impl<'a> Picture<'a> {
    /// The plane of these clients' records; their features come from the cache, where they are there. `None` where there are
    /// fewer than 2 records.
    fn new(
        clients: impl Iterator<Item = &'a ClientData>,
        features: &Features,
        cache: &RecordCache,
        control: &Control,
    ) -> Result<Option<Self>> {
        let context = Context { control: control.clone(), ..Context::new(Seed(0).derive("picture", 0)) };
        let mut parts = Vec::new();
        let mut categories = Vec::new();
        let mut rows = BTreeMap::new();
        for client in clients {
            parts.push(cache.features(features.extractor.as_ref(), &client.records, None, &context)?);
            for record in &client.records {
                rows.insert((client.client, record.id.as_str()), RowId(categories.len() as u32));
                // families: few enough to tell apart by colour
                categories.push(family(record));
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
    fn save(&self, run: &RunRecord, path: &Path) -> Result<()> {
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
