//! What was done to each record: for measuring, never for selecting.

use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::types::ClientId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The truth about a federation after a [`Condition`](super::Condition). The experiment holds it; no record and no client
/// data leads to it. The same truth has the same bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Truth {
    /// Every record of every client by its id, the clean ones too.
    pub records: BTreeMap<String, RecordTruth>,
    /// The clients that answer one fixed string.
    pub bad_clients: BTreeSet<ClientId>,
    /// What was asked for and what the data allowed, for each knob that is on.
    pub reached: Vec<Reached>,
}

/// The truth about one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTruth {
    /// The task that its prompt is of; a copy's is the original's.
    pub task: String,
    /// The family of that task.
    pub family: String,
    /// The id of the record that it is a near copy of. That record may itself have become a copy of another.
    pub copy_of: Option<String>,
    /// What is wrong with its responses; none where they are right.
    pub flaw: Option<Flaw>,
}

/// What is wrong with a record's responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// They are those of another record of the client.
    Swapped(Swap),
    /// They are junk of this kind.
    Junk(JunkKind),
    /// They are the one string of a bad client.
    BadClient,
}

/// A kind of junk. What cannot be made of a record, such as the first third of one letter, becomes the boilerplate or page
/// text of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JunkKind {
    /// A polite sentence that fits anything.
    Boilerplate,
    /// The first third of the response's words; of its characters where it has fewer than three words.
    FirstThird,
    /// Words of the client's other records; of the pool's where it has no other.
    WordSalad,
    /// What is left over of a web page.
    PageText,
    /// The last half of the response's words; of its characters where it has one word.
    LastHalf,
    /// The response's characters in another order, its blanks where they were.
    Scrambled,
    /// Words of the prompt in random order.
    Echo,
}

/// Whose responses a swapped record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Swap {
    /// Those of a record of another task.
    Across,
    /// Those of another record of the same task.
    Within,
}

/// A knob of a [`Condition`](super::Condition) that changes data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // a field of `Condition` each
pub enum Knob {
    Duplicates,
    Tail,
    SwapAcross,
    SwapWithin,
    Junk,
    BadClients,
    Length,
}

impl Knob {
    /// The name of its field, `swap_across` for example.
    pub fn name(self) -> &'static str {
        match self {
            Knob::Duplicates => "duplicates",
            Knob::Tail => "tail",
            Knob::SwapAcross => "swap_across",
            Knob::SwapWithin => "swap_within",
            Knob::Junk => "junk",
            Knob::BadClients => "bad_clients",
            Knob::Length => "length",
        }
    }
}

impl std::fmt::Display for Knob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What was asked of a knob, and what the data allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// The knob.
    pub knob: Knob,
    /// Its value in the condition.
    pub asked: f64,
    /// `duplicates`, `swap_across`, `swap_within`, `junk`: the share of all clients' records that are so in the end;
    /// `bad_clients`: the share of the clients; `tail`: the share of the pool's records that is left; `length`: the standard
    /// deviation over clients of the logarithm of the mean prompt length in characters, before copies and flaws.
    pub reached: f64,
}

impl Truth {
    /// The truth about clean clients.
    ///
    /// # Errors
    /// [`Error::Input`] where an id or a client's number comes twice.
    pub(super) fn clean(clients: &[ClientData]) -> Result<Self> {
        let mut truth = Self::default();
        let mut numbers = BTreeSet::new();
        for client in clients {
            if !numbers.insert(client.client) {
                return Err(Error::input("clients", "numbers of their own", format!("{} again", client.client)));
            }
            for record in &client.records {
                let (task, family) = (record.category.clone(), record.family.clone());
                let clean = RecordTruth { task, family, copy_of: None, flaw: None };
                if truth.records.insert(record.id.clone(), clean).is_some() {
                    let got = format!("`{}` again", record.id);
                    return Err(Error::input("records", "an id of its own", got).of_client(client.client.0));
                }
            }
        }
        Ok(truth)
    }

    pub(super) fn mark(&mut self, id: &str, flaw: Flaw) {
        if let Some(record) = self.records.get_mut(id) {
            record.flaw = Some(flaw);
        }
    }

    /// What is wrong with a record; none for one that is right, and for an id that no client has.
    pub fn flaw(&self, id: &str) -> Option<Flaw> {
        self.records.get(id).and_then(|record| record.flaw)
    }

    /// Whether a record's responses are worth nothing: it has a flaw other than [`Swap::Within`]. Responses swapped within a
    /// task are wrong too, but still show the task's form, and training on them does little harm; so they count as a flaw, not
    /// as bad. An id that no client has is not bad.
    pub fn is_bad(&self, id: &str) -> bool {
        self.flaw(id).is_some_and(|flaw| flaw != Flaw::Swapped(Swap::Within))
    }

    /// How many different records these are: the copies of one original count once together with it, flawed or not, and an
    /// id that comes twice counts once. An id that no client has stands for itself.
    pub fn distinct(&self, ids: impl IntoIterator<Item = impl AsRef<str>>) -> usize {
        let original = |id: &str| self.records.get(id).and_then(|record| record.copy_of.clone());
        let keys = ids.into_iter().map(|id| original(id.as_ref()).unwrap_or_else(|| id.as_ref().to_owned()));
        keys.collect::<BTreeSet<String>>().len()
    }

    /// How many different tasks the prompts of these records are of, bad records too. Ids that no client has do not count.
    pub fn tasks(&self, ids: impl IntoIterator<Item = impl AsRef<str>>) -> usize {
        let task = |id: &str| self.records.get(id).map(|record| record.task.as_str());
        ids.into_iter().filter_map(|id| task(id.as_ref())).collect::<BTreeSet<&str>>().len()
    }

    /// The share of these records that are not bad, in [0, 1], each as often as it comes; 1 for no records.
    pub fn purity(&self, ids: impl IntoIterator<Item = impl AsRef<str>>) -> f64 {
        let (mut all, mut bad) = (0_usize, 0_usize);
        for id in ids {
            all += 1;
            bad += usize::from(self.is_bad(id.as_ref()));
        }
        if all == 0 { 1.0 } else { (all - bad) as f64 / all as f64 }
    }
}
