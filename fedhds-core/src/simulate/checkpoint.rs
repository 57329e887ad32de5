//! The state of a run after a round, in one file that is either whole or not there.
//!
//! Layout: the magic `FHDSCKPT`, a version (u32, little-endian), the BLAKE3 of the payload (32 bytes), the payload
//! (postcard). Rounds and scores travel as the same JSON that the run record is made of.

use super::{RoundRecord, RunIdentity, atomic_write};
use crate::error::{Error, Result};
use crate::stage::RecordScore;
use crate::types::Adapter;
use serde::{Deserialize, Serialize};
use std::path::Path;

const MAGIC: &[u8; 8] = b"FHDSCKPT";
const VERSION: u32 = 3;
const HEADER: usize = MAGIC.len() + 4 + 32;

/// The state of a run between two rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What the run is; a checkpoint of another identity is refused.
    pub identity: RunIdentity,
    /// The global adapter.
    pub adapter: Adapter,
    /// State of server and clients beside the adapter, as they encode it themselves; by name.
    pub state: Vec<(String, Vec<u8>)>,
    /// The rounds so far; the next one is `rounds.len()`.
    pub rounds: Vec<RoundRecord>,
    /// The scores of the last evaluation; empty before the first.
    pub scores: Vec<RecordScore>,
    /// Whether the evaluation after the last of `rounds` is due and not yet made.
    pub evaluation_pending: bool,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    /// Of this library: the rounds of one run are of one release.
    release: String,
    identity: RunIdentity,
    adapter: Adapter,
    state: Vec<(String, Vec<u8>)>,
    rounds: String,
    scores: String,
    evaluation_pending: bool,
}

impl Checkpoint {
    /// Writes the checkpoint atomically: after a kill at any moment the file holds this state or the one before.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let damaged = |e: &dyn std::fmt::Display| Error::Checkpoint {
            path: path.to_path_buf(),
            message: format!("expected state that can be encoded: {e}"),
        };
        let payload = Payload {
            release: env!("CARGO_PKG_VERSION").into(),
            identity: self.identity.clone(),
            adapter: self.adapter.clone(),
            state: self.state.clone(),
            rounds: serde_json::to_string(&self.rounds).map_err(|e| damaged(&e))?,
            scores: serde_json::to_string(&self.scores).map_err(|e| damaged(&e))?,
            evaluation_pending: self.evaluation_pending,
        };
        let payload = postcard::to_stdvec(&payload).map_err(|e| damaged(&e))?;
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
        bytes.extend_from_slice(&payload);
        atomic_write(path, &bytes)
    }

    /// Reads the checkpoint of the run `identity`; `None` where there is no file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, of another version, or belongs to another run: the message names
    /// what differs. [`Error::Io`] when it cannot be read.
    pub fn load(path: impl AsRef<Path>, identity: &RunIdentity) -> Result<Option<Self>> {
        let path = path.as_ref();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, e)),
        };
        let wrong = |message: String| Error::Checkpoint { path: path.to_path_buf(), message };
        let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
            return Err(wrong(format!("expected at least {HEADER} bytes, got {}", bytes.len())));
        };
        let (magic, rest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(wrong("expected a fedhds checkpoint, got a file that does not begin as one".into()));
        }
        let (version, hash) = rest.split_at(4);
        let version = u32::from_le_bytes(version.try_into().unwrap_or_default());
        if version != VERSION {
            return Err(wrong(format!(
                "expected version {VERSION}, got version {version}: finish it with the release that wrote it"
            )));
        }
        if blake3::hash(payload).as_bytes() != hash {
            return Err(wrong(
                "expected the content that its checksum states: the file is damaged; delete it to start this run over"
                    .into(),
            ));
        }
        let payload: Payload = postcard::from_bytes(payload)
            .map_err(|e| wrong(format!("expected a version {VERSION} checkpoint: {e}")))?;
        if payload.release != env!("CARGO_PKG_VERSION") {
            return Err(wrong(format!(
                "expected one of release {}, got one of {}, whose rounds may be others: finish it with that release, or delete it to start this \
                 run over",
                env!("CARGO_PKG_VERSION"),
                payload.release
            )));
        }
        if let Some(difference) = identity.difference(&payload.identity) {
            return Err(wrong(format!(
                "it belongs to another run; use another output folder, or delete this one. What differs: {difference}"
            )));
        }
        let rounds = serde_json::from_str(&payload.rounds)
            .map_err(|e| wrong(format!("expected the records of the rounds so far: {e}")))?;
        let scores = serde_json::from_str(&payload.scores)
            .map_err(|e| wrong(format!("expected the scores of the last evaluation: {e}")))?;
        Ok(Some(Self {
            identity: payload.identity,
            adapter: payload.adapter,
            state: payload.state,
            rounds,
            scores,
            evaluation_pending: payload.evaluation_pending,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{AdapterConfig, AdapterTensor, Round};
    use std::collections::BTreeMap;

    fn checkpoint(seed: u64) -> Checkpoint {
        let mut identity = RunIdentity::default();
        identity.set("seed", seed);
        let tensor = AdapterTensor { shape: [1, 3], data: vec![0.1, -0.0, f32::MIN_POSITIVE] };
        Checkpoint {
            identity,
            adapter: Adapter {
                config: AdapterConfig::default(),
                tensors: BTreeMap::from([("layer.lora_A.weight".to_owned(), tensor)]),
            },
            state: vec![("server".into(), vec![1, 2, 3])],
            rounds: vec![RoundRecord {
                round: Round(0),
                clients: Vec::new(),
                adapter_changed: false,
                left_out: BTreeMap::new(),
                hostile: Default::default(),
                aggregation: Default::default(),
                missing: 0,
                missing_tokens: 0,
                gate: None,
                seconds: BTreeMap::from([("select".into(), 0.1)]),
                evaluation: None,
                peak_memory_bytes: None,
                map: None,
            }],
            scores: vec![RecordScore {
                id: "r".into(),
                category: "c".into(),
                loss: 0.1 + 0.2,
                output: Some("x".into()),
                rouge_l: Some(0.3),
                exact_match: None,
            }],
            evaluation_pending: true,
        }
    }

    fn message(path: &Path, seed: u64) -> String {
        match Checkpoint::load(path, &checkpoint(seed).identity) {
            Err(Error::Checkpoint { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        let saved = checkpoint(1);
        assert_eq!(Checkpoint::load(&path, &saved.identity).unwrap(), None);
        saved.save(&path).unwrap();
        let loaded = Checkpoint::load(&path, &saved.identity).unwrap().unwrap();
        assert_eq!(loaded, saved);
        assert!(loaded.adapter.tensors["layer.lora_A.weight"].data[1].is_sign_negative());
    }

    #[test]
    fn another_run_is_refused_with_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        checkpoint(1).save(&path).unwrap();
        let text = message(&path, 2);
        assert!(text.contains("`seed`: this run has `2`, the saved one `1`"), "{text}");
    }

    #[test]
    fn one_of_another_release_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        checkpoint(1).save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut payload: Payload = postcard::from_bytes(&bytes[HEADER..]).unwrap();
        payload.release = "0.0.0-older".into();
        let payload = postcard::to_stdvec(&payload).unwrap();
        let header = [MAGIC.as_slice(), &VERSION.to_le_bytes(), blake3::hash(&payload).as_bytes()].concat();
        std::fs::write(&path, [header, payload].concat()).unwrap();
        let text = message(&path, 1);
        assert!(text.contains("got one of 0.0.0-older") && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        checkpoint(1).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            message(&path, 1);
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            message(&path, 1);
        }
    }
}
