//! A round of selection, on both levels, gives the same bytes at any number of threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::aggregate::WeightedMean;
use fedhds_core::client::Client;
use fedhds_core::method::{MethodConfig, Preset};
use fedhds_core::protocol::Wire;
use fedhds_core::server::Server;
use fedhds_core::stage::Rows;
use fedhds_core::types::{ClientId, Context, Matrix, Round, RowId, Scores, Seed};

/// Forty records a client, in two "layers" of 24.
fn features(client: u32) -> Matrix {
    let value = |at: usize| {
        let (row, column) = (at / 48, at % 48);
        ((row % (3 + client as usize)) as f32 * 2.0 + column as f32).sin() * 3.0 + ((at * 7919) as f32).cos()
    };
    Matrix::new(40, 48, (0..40 * 48).map(value).collect()).unwrap()
}

/// Every byte that was sent, and every record chosen.
fn round(config: &MethodConfig) -> (Vec<Vec<u8>>, Vec<Vec<RowId>>) {
    let pipeline = config.pipeline(2).unwrap();
    let mut server = Server::new(pipeline.clone(), Seed(3), Box::new(WeightedMean::new())).unwrap();
    let ids: Vec<ClientId> = (0..4).map(ClientId).collect();
    let start = server.begin_round(Round(0), &ids, None).unwrap();
    let mut sent = vec![start.encode().unwrap()];
    let mut clients = Vec::new();
    for &id in &ids {
        let mut client = Client::new(id, &pipeline);
        let context = Context::new(Seed(3).derive("client", id.0.into()));
        let features = features(id.0);
        let losses = (0..features.rows()).map(|row| features.row(row)[0]).collect();
        let scores = Scores::new(["loss"], Matrix::new(features.rows(), 1, losses).unwrap()).unwrap();
        let summary = client.summarize(&start, Rows::new(&features).scores(Some(&scores)), &context).unwrap();
        sent.push(summary.encode().unwrap());
        server.receive(id, &sent[sent.len() - 1]).unwrap();
        clients.push(client);
    }
    let orders = server.select(&Context::new(Seed(3).derive("server", 0))).unwrap();
    let mut chosen = Vec::new();
    for client in &clients {
        let order = &orders[&client.id()];
        sent.push(order.encode().unwrap());
        chosen.push(client.choose(order, &Context::new(5)).unwrap());
    }
    (sent, chosen)
}

#[test]
fn every_preset_gives_the_same_bytes_at_any_number_of_threads() {
    for preset in Preset::ALL {
        let mut config = preset.config();
        config.client.shared_dims = 48; // features of text have as many columns as the shared coordinates
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| round(&config))
        };
        let one = with(1);
        assert_eq!(with(3), one, "{preset}");
        assert!(one.1.iter().any(|rows| !rows.is_empty()), "{preset}: somebody trains");
    }
}
