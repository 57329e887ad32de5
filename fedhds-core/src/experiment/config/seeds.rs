//! Seeds in a configuration: a list of them, or the first and how many.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The most seeds that a range may name: each is a run of every method.
const MOST: u64 = 1_000_000;

/// A list of seeds, or `{ first = 100, count = 20 }` for 100 to 119.
pub(super) struct Seeds(pub(super) Vec<u64>);

/// Seeds one after another.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    first: u64,
    count: u64,
}

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Seeds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of seeds, or a table with `first` and `count`")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Seeds, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Seeds)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Seeds, A::Error> {
                let Span { first, count } = Span::deserialize(MapAccessDeserializer::new(map))?;
                match first.checked_add(count) {
                    Some(end) if (1..=MOST).contains(&count) => Ok(Seeds((first..end).collect())),
                    _ => Err(de::Error::custom(format!("expected `count` from 1 to {MOST}, got {count} from {first}"))),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// For a field that is a list.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    Seeds::deserialize(deserializer).map(|Seeds(seeds)| seeds)
}
