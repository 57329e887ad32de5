//! Records of a hostile client that trains on wrong responses.

use crate::dataset::ClientData;

/// The client's records with the responses of others of its own: each has those of the next record of another task, or where the client has one
/// task, of the next record. Ids and instructions stay, as does the number; a client of one record has its response emptied.
pub(in crate::simulate) fn flipped(data: &ClientData) -> ClientData {
    let n = data.records.len();
    let responses = |at: usize| {
        let others = (1..n).map(|step| &data.records[(at + step) % n]);
        let mut others = others.peekable();
        let next = others.peek().copied();
        let other_task = others.find(|record| record.category != data.records[at].category);
        other_task.or(next).map_or_else(Vec::new, |record| record.responses.clone())
    };
    let mut flipped = data.clone();
    for (at, record) in flipped.records.iter_mut().enumerate() {
        let all = responses(at);
        record.responses = if all.is_empty() { vec![String::new()] } else { all };
    }
    flipped
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{ClientId, Record};

    fn data(tasks: &[&str]) -> ClientData {
        let record = |(at, task): (usize, &&str)| Record {
            id: format!("r{at}"),
            responses: vec![format!("answer {at}")],
            category: (*task).to_owned(),
            ..Record::default()
        };
        let records = tasks.iter().enumerate().map(record).collect();
        ClientData { client: ClientId(3), name: "three".into(), records }
    }

    fn answers(data: &ClientData) -> Vec<&str> {
        data.records.iter().map(|record| record.responses[0].as_str()).collect()
    }

    #[test]
    fn responses_are_those_of_another_task_where_there_is_one() {
        let before = data(&["a", "a", "b"]);
        let after = flipped(&before);
        assert_eq!(answers(&after), ["answer 2", "answer 2", "answer 0"]);
        let ids =
            |data: &ClientData| data.records.iter().map(|r| (r.id.clone(), r.category.clone())).collect::<Vec<_>>();
        assert_eq!(ids(&after), ids(&before));
        assert_eq!(answers(&flipped(&data(&["a", "a"]))), ["answer 1", "answer 0"]);
        assert_eq!(answers(&flipped(&data(&["a"]))), [""]);
        assert!(flipped(&data(&[])).records.is_empty());
    }
}
