//! What tells records and adapters apart.

use crate::types::{Adapter, Record};

/// BLAKE3 over everything in the records, ids and all responses too, in their order: what tells one client's data, or one test
/// set, from another.
pub fn content_hash(records: &[Record]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for record in records {
        text(&mut hasher, &record.id);
        text(&mut hasher, &record.instruction);
        text(&mut hasher, &record.input);
        text(&mut hasher, &record.responses.len().to_string());
        record.responses.iter().for_each(|response| text(&mut hasher, response));
        text(&mut hasher, &record.category);
        text(&mut hasher, &record.family);
    }
    *hasher.finalize().as_bytes()
}

/// BLAKE3 over everything of a record but its id: the same question in another data set is the same content.
pub(super) fn record_hash(record: &Record) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in [&record.instruction, &record.input, &record.category, &record.family] {
        text(&mut hasher, part);
    }
    record.responses.iter().for_each(|response| text(&mut hasher, response));
    hasher.finalize()
}

/// BLAKE3 over what an adapter does in evaluation: dropout is off there, so of the settings the scaling alone counts.
pub(super) fn adapter_hash(adapter: &Adapter) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&adapter.config.scaling().to_le_bytes());
    for (name, tensor) in &adapter.tensors {
        text(&mut hasher, name);
        for size in tensor.shape {
            hasher.update(&(size as u64).to_le_bytes());
        }
        for value in &tensor.data {
            hasher.update(&value.to_le_bytes());
        }
    }
    hasher.finalize()
}

/// A text with its length before it, so that no two lists of texts hash alike.
pub(super) fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(ids: &[&str]) -> Vec<Record> {
        ids.iter().map(|id| Record { id: (*id).into(), responses: vec!["x".into()], ..Record::default() }).collect()
    }

    #[test]
    fn every_field_counts_in_the_content() {
        let base = records(&["a"]);
        let mut other = base.clone();
        other[0].responses.push("y".into());
        assert_ne!(content_hash(&base), content_hash(&other));
        assert_ne!(record_hash(&base[0]), record_hash(&other[0]));
        assert_ne!(content_hash(&records(&["ab", "c"])), content_hash(&records(&["a", "bc"])));
        // The id tells clients' lists apart, not what a record says.
        assert_ne!(content_hash(&records(&["a"])), content_hash(&records(&["b"])));
        assert_eq!(record_hash(&records(&["a"])[0]), record_hash(&records(&["b"])[0]));
    }
}
