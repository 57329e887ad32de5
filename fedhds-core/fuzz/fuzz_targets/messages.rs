//! Messages from outside: what decodes encodes to the same bytes, and neither half of the selection panics on it.

#![no_main]

use fedhds_core::aggregate::WeightedMean;
use fedhds_core::client::Client;
use fedhds_core::method::{MethodConfig, Pipeline};
use fedhds_core::protocol::Message;
use fedhds_core::server::Server;
use fedhds_core::types::{ClientId, Context, Matrix, Round, Seed};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let method = "preset = \"fedhds_coverage\"\ncount = { budget = 3 }\nclient = { clusterer = { n_clusters = 2, n_init = 1 } }";
    MethodConfig::from_toml_str(method).and_then(|method| method.pipeline(1)).expect("a preset")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let again = message.encode().expect("what was read can be written");
    // By bytes: a loss may be NaN, which equals nothing.
    assert_eq!(Message::decode(&again).and_then(|message| message.encode()).expect("and read again"), again);
    let context = Context::new(1);
    let mut client = Client::new(ClientId(0), &PIPELINE);
    let mut server = Server::new(PIPELINE.clone(), Seed(1), Box::new(WeightedMean::new())).expect("a server");
    let features = Matrix::new(4, 2, (0..8).map(|v| v as f32).collect()).expect("a matrix");
    // An update's own adapter, so that it may be one that the round takes.
    let global = match &message {
        Message::LocalUpdate(update) => Some(update.adapter.clone()),
        _ => None,
    };
    let Ok(start) = server.begin_round(Round(0), &[ClientId(0), ClientId(1)], global.as_ref()) else { return };
    let summary = client.summarize(&start, &features, &context).expect("a summary");
    match message {
        Message::RoundStart(start) => drop(client.summarize(&start, &features, &context)),
        Message::ClientSummary(other) => {
            let _ = server.receive_message(ClientId(0), Message::ClientSummary(summary));
            let _ = server.receive_message(ClientId(1), Message::ClientSummary(other));
            let _ = server.select(&context);
        }
        Message::SelectionOrder(order) => drop(client.choose(&order, &context)),
        Message::LocalUpdate(update) => {
            let _ = server.receive_message(ClientId(0), Message::ClientSummary(summary));
            let _ = server.select(&context);
            let _ = server.receive_message(ClientId(0), Message::LocalUpdate(update));
            let _ = server.finish_round();
        }
        Message::GlobalAdapter(_) => {}
    }
});
