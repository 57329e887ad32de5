//! A selector of one's own in a round of selection: no model, no data, no network.
//!
//! `cargo run --example custom_stage`
//!
//! `docs/adding_a_stage.md` explains it.

use fedhds_core::aggregate::WeightedMean;
use fedhds_core::client::Client;
use fedhds_core::method::{ClientStages, MethodConfig, Pipeline};
use fedhds_core::protocol::Wire as _;
use fedhds_core::server::Server;
use fedhds_core::stage::{Budget, Rows, Selector};
use fedhds_core::types::{ClientId, Context, Matrix, Round, RowId, Seed};
use fedhds_core::{Error, Result};
use std::sync::Arc;

/// The records farthest from their group's centre: the nearest can be too typical.
struct Farthest;

impl Selector for Farthest {
    fn select(&self, rows: &Rows<'_>, budget: Budget, _context: &Context) -> Result<Vec<RowId>> {
        // A client is asked for a total of each chosen group.
        let Budget::Total(count) = budget else {
            return Err(Error::stage("farthest", format!("expected a total, got {budget:?}")));
        };
        let centre = rows.groups.map(|groups| groups.centroids.row(0).to_vec()).unwrap_or_default();
        let distance =
            |row: usize| -> f32 { rows.points.row(row).iter().zip(&centre).map(|(x, c)| (x - c) * (x - c)).sum() };
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&a, &b| distance(b).total_cmp(&distance(a)).then(a.cmp(&b)));
        order.truncate(count);
        order.sort_unstable();
        Ok(order.into_iter().map(|row| RowId(row as u32)).collect())
    }

    fn uses_groups(&self) -> bool {
        true
    }
}

/// Thirty records about three topics, which lie on a circle.
fn features(client: u32) -> Result<Matrix> {
    let row = |i: u32| {
        let topic = f64::from((i + client) % 3) * 2.1;
        let off = f64::from((i * 7 + client * 13) % 10) / 12.0;
        [(topic.cos() * 4.0 + off) as f32, (topic.sin() * 4.0 - off * off) as f32]
    };
    Matrix::from_rows(&(0..30).map(row).collect::<Vec<_>>())
}

fn chosen(pipeline: &Pipeline) -> Result<Vec<(ClientId, Vec<RowId>)>> {
    let ids = [ClientId(0), ClientId(1), ClientId(2)];
    let mut server = Server::new(pipeline.clone(), Seed(7), Box::new(WeightedMean::new()))?;
    let start = server.begin_round(Round(0), &ids, None)?;
    let mut clients = Vec::new();
    for id in ids {
        let mut client = Client::new(id, pipeline);
        let context = Context::new(Seed(7).derive("client", id.0.into()));
        server.receive(id, &client.summarize(&start, &features(id.0)?, &context)?.encode()?)?;
        clients.push(client);
    }
    let orders = server.select(&Context::new(Seed(7).derive("server", 0)))?;
    let rows = |client: &Client| client.choose(&orders[&client.id()], &Context::new(7)).map(|rows| (client.id(), rows));
    clients.iter().map(rows).collect()
}

fn main() -> Result<()> {
    let preset =
        MethodConfig::from_toml_str("preset = \"fedhds_coverage\"\ncount = { budget = 6 }\nclient.layer_norm = false")?
            .pipeline(1)?;
    let mine =
        Pipeline { client: ClientStages { selector: Arc::new(Farthest), ..preset.client.clone() }, ..preset.clone() };
    for (name, pipeline) in [("nearest to the centre", &preset), ("farthest from it", &mine)] {
        println!("{name}:");
        for (client, rows) in chosen(pipeline)? {
            println!("  client {client}: records {:?}", rows.iter().map(|r| r.0).collect::<Vec<_>>());
        }
    }
    Ok(())
}
