//! Messages from outside: what a peer of any intent may send.

use fedhds_core::Error;
use fedhds_core::protocol::{
    Ask, ClientSummary, ClusterOrder, GlobalAdapter, Group, GroupTokens, HEADER_BYTES, Kind, LocalUpdate, Message,
    OrderTokens, PROTOCOL_VERSION, RoundStart, SelectionOrder, TokensAsked, TrainedTokens, Wire,
};
use fedhds_core::types::{Adapter, AdapterConfig, AdapterTensor, ClientId, ClusterId, Matrix, Round, Seed};
use proptest::prelude::*;

fn ascending_ids(gaps: &[u8]) -> Vec<ClusterId> {
    let mut next = 0;
    gaps.iter()
        .map(|&gap| {
            let id = next + u32::from(gap);
            next = id + 1;
            ClusterId(id)
        })
        .collect()
}

fn any_start() -> impl Strategy<Value = Message> {
    let shared =
        (any::<u64>(), 1u32..70_000 - 4_464).prop_map(|(seed, dims)| Ask::SharedGroups { seed: Seed(seed), dims });
    (any::<u32>(), prop_oneof![Just(Ask::Counts), Just(Ask::Groups), shared])
        .prop_map(|(round, ask)| Message::RoundStart(RoundStart::new(Round(round), ask)))
}

fn any_summary() -> impl Strategy<Value = Message> {
    (any::<u32>(), any::<u32>(), proptest::collection::vec((any::<u8>(), 1u32..1_000_000), 0..9), 0usize..12)
        .prop_flat_map(|(client, round, groups, dims)| {
            let values = proptest::collection::vec(-1e30f32..1e30, groups.len() * dims);
            values.prop_map(move |values| {
                let ids = ascending_ids(&groups.iter().map(|g| g.0).collect::<Vec<_>>());
                let sent = ids.into_iter().zip(&groups).map(|(cluster, g)| Group { cluster, size: g.1 }).collect();
                let centroids = Matrix::new(groups.len(), dims, values).unwrap();
                Message::ClientSummary(ClientSummary::new(ClientId(client), Round(round), sent, centroids))
            })
        })
}

fn any_order() -> impl Strategy<Value = Message> {
    (any::<u32>(), any::<u32>(), proptest::collection::vec((any::<u8>(), 1u32..1_000_000), 0..9)).prop_map(
        |(client, round, clusters)| {
            let ids = ascending_ids(&clusters.iter().map(|c| c.0).collect::<Vec<_>>());
            let orders = ids.into_iter().zip(&clusters).map(|(cluster, c)| ClusterOrder { cluster, count: c.1 });
            let clusters = orders.collect();
            Message::SelectionOrder(SelectionOrder::new(ClientId(client), Round(round), clusters))
        },
    )
}

fn any_adapter() -> impl Strategy<Value = Adapter> {
    proptest::collection::btree_map("[a-z0-9_.]{1,40}", (1usize..5, 1usize..7), 0..5).prop_flat_map(|shapes| {
        let size: usize = shapes.values().map(|(a, b)| a * b).sum();
        proptest::collection::vec(-1e3f32..1e3, size).prop_map(move |values| {
            let mut values = values.into_iter();
            let tensor = |shape: &(usize, usize), values: &mut dyn Iterator<Item = f32>| AdapterTensor {
                shape: [shape.0, shape.1],
                data: values.take(shape.0 * shape.1).collect(),
            };
            let tensors = shapes.iter().map(|(name, shape)| (name.clone(), tensor(shape, &mut values))).collect();
            Adapter { config: AdapterConfig::default(), tensors }
        })
    })
}

/// What a message of a budget in tokens has more.
fn with_tokens(mut message: Message, tokens: u16) -> Message {
    match &mut message {
        Message::RoundStart(start) => start.sections.set(&TokensAsked).unwrap(),
        Message::ClientSummary(summary) => {
            let means = (0..summary.groups.len()).map(|group| f32::from(tokens) + group as f32 / 3.0).collect();
            summary.sections.set(&GroupTokens(means)).unwrap();
        }
        Message::SelectionOrder(order) if order.is_empty() => {}
        Message::SelectionOrder(order) => order.sections.set(&OrderTokens(tokens.into())).unwrap(),
        Message::GlobalAdapter(_) => {}
        Message::LocalUpdate(update) => {
            let tokens = u64::from(update.records) * u64::from(tokens);
            update.sections.set(&TrainedTokens(tokens)).unwrap();
        }
    }
    message
}

fn any_message() -> impl Strategy<Value = Message> {
    let global = (any::<u32>(), any_adapter())
        .prop_map(|(round, adapter)| Message::GlobalAdapter(GlobalAdapter::new(Round(round), adapter)));
    let loss = proptest::option::of(0f32..20.0);
    let update = (any::<(u32, u32)>(), 1u32..1000, any_adapter(), loss, any::<(u32, u64)>()).prop_map(
        |((client, round), records, adapter, loss, (skipped, tokens))| {
            let update = LocalUpdate::new(ClientId(client), Round(round), records, adapter);
            Message::LocalUpdate(LocalUpdate { loss, skipped, tokens, ..update })
        },
    );
    let message = prop_oneof![any_start(), any_summary(), any_order(), global, update];
    let message = (message, proptest::option::of(1u16..1000)).prop_map(|(message, tokens)| match tokens {
        Some(tokens) => with_tokens(message, tokens),
        None => message,
    });
    // Sections that this version does not know are kept as they came.
    let sections = proptest::collection::btree_map(64u16..128, proptest::collection::vec(any::<u8>(), 0..20), 0..4);
    (message, sections).prop_map(|(mut message, more)| {
        let sections = match &mut message {
            Message::RoundStart(m) => &mut m.sections,
            Message::ClientSummary(m) => &mut m.sections,
            Message::SelectionOrder(m) => &mut m.sections,
            Message::GlobalAdapter(m) => &mut m.sections,
            Message::LocalUpdate(m) => &mut m.sections,
        };
        more.into_iter().for_each(|(number, bytes)| sections.insert(number, bytes));
        message
    })
}

fn is_refused(bytes: &[u8]) -> bool {
    matches!(Message::decode(bytes), Err(Error::Protocol { .. }))
}

/// Decoding ends without a panic, with a message or a protocol error; what is accepted can be sent on.
fn survives(bytes: &[u8]) {
    match Message::decode(bytes) {
        Ok(message) => {
            let again = message.encode().expect("what was accepted can be sent");
            let decoded = Message::decode(&again).expect("what was sent can be read");
            assert_eq!(decoded.encode().unwrap(), again);
        }
        Err(Error::Protocol { .. }) => {}
        Err(other) => panic!("expected a protocol error, got {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_message_comes_back_as_it_went(message in any_message()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(Kind::of(&bytes).unwrap(), message.kind());
        prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    #[test]
    fn a_cut_message_is_refused(message in any_message(), at in any::<prop::sample::Index>()) {
        let bytes = message.encode().unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(is_refused(cut));
    }

    #[test]
    fn bytes_after_a_message_are_refused(message in any_message(), more in proptest::collection::vec(any::<u8>(), 1..9)) {
        let bytes = [message.encode().unwrap(), more].concat();
        prop_assert!(is_refused(&bytes));
    }

    #[test]
    fn a_spoilt_message_does_no_harm(
        message in any_message(), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut bytes = message.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = with;
        survives(&bytes);
    }

    #[test]
    fn noise_behind_a_good_header_does_no_harm(kind in 0u8..8, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives(&[&[b'F', b'H', PROTOCOL_VERSION, kind][..], &body].concat());
    }

    #[test]
    fn plain_noise_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }
}

#[test]
fn lengths_that_nothing_backs_are_refused_without_making_room() {
    // The largest varint that postcard takes for a length, in each place where a message has one.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let bodies: [(u8, &[u8]); 6] = [
        (2, &[0, 0]),                                  // groups
        (2, &[0, 0, 1, 0, 1, 1, 2]),                   // coordinates
        (3, &[0, 0]),                                  // clusters
        (4, &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0]),          // target modules
        (4, &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),    // tensors
        (4, &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), // the name of one
    ];
    for (kind, start) in bodies {
        let bytes = [&[b'F', b'H', PROTOCOL_VERSION, kind][..], start, &huge].concat();
        assert!(matches!(Message::decode(&bytes), Err(Error::Protocol { .. })), "kind {kind}: {start:?}");
    }
}

/// What Table 5 of the paper counts for a client, and what ours takes: it carries version, round, client, group sizes and the number of sections.
#[test]
fn bytes_of_a_client() {
    let summary = |groups: u32, dims: usize| {
        let sent = (0..groups).map(|j| Group { cluster: ClusterId(j), size: 20 }).collect();
        let centroids = Matrix::zeros(groups as usize, dims);
        ClientSummary::new(ClientId(3), Round(12), sent, centroids).encode().unwrap().len()
    };
    let (fedhds, turbo, shared) = (summary(5, 2), summary(9, 2), summary(5, 128));
    println!(
        "FedHDS, 5 groups: paper 44, ours {fedhds}; Turbo, 9 groups: paper 76, ours {turbo}; shared frame: {shared}"
    );
    assert_eq!((fedhds, turbo), (61, 101));
    // Lengths of 128 and more take a second byte.
    assert_eq!(shared, 5 * (4 * 128 + 2) + HEADER_BYTES + 2 + 1 + 5 + 1);
}

#[test]
fn the_documented_bytes_are_the_bytes() {
    let groups = vec![Group { cluster: ClusterId(0), size: 12 }, Group { cluster: ClusterId(1), size: 5 }];
    let centroids = Matrix::new(2, 2, vec![1.0, -2.0, 0.5, 0.0]).unwrap();
    let message = ClientSummary::new(ClientId(7), Round(2), groups, centroids);
    let documentation = include_str!("../../docs/wire_protocol.md");
    let line = documentation.lines().find(|line| line.starts_with("46 48 02 02")).expect("the example's line");
    let bytes: Vec<u8> = line.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    assert_eq!(bytes, message.encode().unwrap());
}
