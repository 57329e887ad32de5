//! What a client keeps from one message, or one process, to the next.

use super::{AnsweredOrder, Client, Pins};
use crate::cluster::check_clustering;
use crate::error::{Error, Result};
use crate::protocol::{ClientSummary, Wire as _};
use crate::saved;
use crate::stage::Clustering;
use crate::types::{ClientId, Factors, Matrix, Round, RowId, RunIdentity, Scores, Secret, Seed};
use serde::{Deserialize, Serialize};

/// What a client remembers between its summary and the order that answers it. Serialisable, so that a client may end in
/// between and go on elsewhere (with Flower: in `context.state`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientState {
    /// Whose it is.
    pub client: ClientId,
    /// The round of the summary.
    pub round: Round,
    /// Its records in the frame of the uploaded centroids, `[records, dims]`; no columns where no features were looked at.
    pub points: Matrix,
    /// The groups of its records, row i being record i; centroids in the same frame.
    pub clustering: Clustering,
    /// Scores of its records, where it has any.
    pub scores: Option<Scores>,
    /// What was sent, where an upload stage made something else of the groups: it is sent again when it is asked for again.
    pub released: Option<ClientSummary>,
    /// What the random keys of its records come from, where the server said so.
    pub keys: Option<Seed>,
    /// What the features hold, where the method groups once: other features are grouped anew.
    pub content: u64,
    /// Whether its one group is too small to show a centroid.
    pub hidden: bool,
    /// Features of its records' prompts alone, where they are known.
    pub prompts: Option<Matrix>,
    /// Records that stand for near copies of theirs, ascending.
    pub copied: Vec<RowId>,
    /// Tokens of its records, `[records]`, where the server's budget is in tokens; else empty.
    pub tokens: Vec<u32>,
    /// Distinct records of each group, near copies counted once where they are known; empty where no features were looked at.
    pub distinct: Vec<u32>,
    /// A hash of what the round's start asked, and of the seed; none where that is forgotten ([`Client::unpin`]).
    pub asked: Option<u64>,
    /// Which factors of the adapter the round trains.
    pub factors: Factors,
}

impl ClientState {
    /// Tokens of a record.
    pub(super) fn tokens_of(&self, row: RowId) -> u64 {
        self.tokens.get(row.index()).copied().unwrap_or_default().into()
    }

    /// Whether a record stands for near copies of it.
    pub(super) fn has_copies(&self, row: usize) -> bool {
        u32::try_from(row).is_ok_and(|row| self.copied.binary_search(&RowId(row)).is_ok())
    }
}

/// What a client last marked as trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTrained {
    /// The round.
    pub round: Round,
    /// The records that it had not trained on before, ascending.
    pub rows: Vec<RowId>,
}

/// Everything that a client keeps from one process to the next. It holds its secret, so it belongs on the client's disk alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SavedClient {
    /// What the client is: its method, and what else it was [told](Client::identify).
    pub identity: RunIdentity,
    /// What it remembers of its last summary.
    pub state: Option<ClientState>,
    /// The records that were marked as trained on, ascending.
    pub trained: Vec<RowId>,
    /// The secret of its upload stage, with how often it was drawn from, so that no draw comes twice.
    pub secret: Option<Secret>,
    /// What it trained on last: open again where the server says that it did not count.
    pub last: Option<LastTrained>,
    /// Records that did not pass an open gate, ascending.
    pub refused: Vec<RowId>,
    /// What it was told at first contact.
    pub pins: Pins,
    /// The order that it answered last.
    pub answered: Option<AnsweredOrder>,
}

impl SavedClient {
    const HEAD: &[u8] = b"FHDS client state 4\n";

    /// As bytes, for [`from_bytes`](SavedClient::from_bytes).
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        saved::write("client state", Self::HEAD, self)
    }

    /// From bytes that [`to_bytes`](SavedClient::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] for other bytes, those of another release among them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        saved::read("client state", Self::HEAD, bytes)
    }
}

impl Client {
    /// Says what it is beside its method, such as the experiment's seed or the model: [`restore`](Client::restore) refuses what was saved of another.
    pub fn identify(&mut self, name: &str, value: impl ToString) {
        self.identity.set(name, value);
    }

    /// The secret that its upload stage draws from; none before the first draw.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Gives it its secret: the one that it had in an earlier process, or a known one in tests. Without it the operating system gives
    /// one at the first draw. A client that forgets how often it drew would draw the same noise again, so it is kept with the state.
    pub fn set_secret(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// Everything that it keeps, to go on in another process.
    pub fn saved(&self) -> SavedClient {
        SavedClient {
            identity: self.identity.clone(),
            state: self.state.clone(),
            trained: self.trained().collect(),
            secret: self.secret.clone(),
            last: self.last.clone(),
            refused: self.refused.iter().copied().collect(),
            pins: self.pins,
            answered: self.answered.get(),
        }
    }

    /// Goes on from what [`saved`](Client::saved) gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] that names what differs for the state of another method, seed or whatever else both were told; as
    /// [`resume`](Client::resume) and [`pin`](Client::pin).
    pub fn restore(&mut self, saved: SavedClient) -> Result<()> {
        saved::check_identity("client state", &self.identity, &saved.identity)?;
        if let Some(answered) = &saved.answered {
            let records = saved.state.as_ref().map_or(0, |state| state.points.rows());
            let rows =
                answered.chosen.iter().chain(&answered.refused).chain(answered.scores.iter().map(|(row, _)| row));
            if let Some(row) = rows.into_iter().find(|row| row.index() >= records) {
                return Err(Error::input("client state: answered", format!("rows below {records}"), row));
            }
            let (chosen, refused) = (answered.ordered.0 as usize, answered.ordered.1 as usize);
            if chosen > answered.chosen.len() || refused > answered.refused.len() {
                let expected = format!("at most {} and {}", answered.chosen.len(), answered.refused.len());
                return Err(Error::input(
                    "client state: answered: ordered",
                    expected,
                    format!("{chosen} and {refused}"),
                ));
            }
        }
        self.pin(saved.pins)?;
        if let Some(state) = saved.state {
            self.resume(state)?;
        }
        self.trained.extend(saved.trained);
        self.last = saved.last;
        self.refused.extend(saved.refused);
        self.answered.set(saved.answered);
        if let Some(secret) = saved.secret {
            self.set_secret(secret);
        }
        Ok(())
    }

    /// What it remembers of its last summary; none before the first.
    pub fn state(&self) -> Option<&ClientState> {
        self.state.as_ref()
    }

    /// Goes on from a state that [`state`](Client::state) gave, here or in another process.
    ///
    /// # Errors
    /// [`Error::Protocol`] when it is another client's, [`Error::Input`] or [`Error::Stage`] when it does not fit together.
    pub fn resume(&mut self, state: ClientState) -> Result<()> {
        if state.client != self.id {
            return Err(Error::protocol("client state: client", self.id.to_string(), state.client));
        }
        // A deserialised matrix is checked by nobody before this.
        let whole = |m: Matrix| Matrix::new(m.rows(), m.cols(), m.into_vec());
        let points = whole(state.points)?;
        let clustering = Clustering { centroids: whole(state.clustering.centroids)?, ..state.clustering };
        check_clustering("client state", &clustering, points.rows(), points.cols())?;
        if let Some(scores) = &state.scores
            && scores.rows() != points.rows()
        {
            return Err(Error::input("client state: scores", format!("{} rows", points.rows()), scores.rows()));
        }
        let prompts = state.prompts.map(whole).transpose()?;
        if let Some(prompts) = &prompts
            && prompts.rows() != points.rows()
        {
            return Err(Error::input("client state: prompts", format!("{} rows", points.rows()), prompts.rows()));
        }
        if !state.tokens.is_empty() && state.tokens.len() != points.rows() {
            return Err(Error::input("client state: tokens", format!("none or {}", points.rows()), state.tokens.len()));
        }
        if !state.distinct.is_empty() && state.distinct.len() != clustering.centroids.rows() {
            let expected = format!("none or {}, one for each group", clustering.centroids.rows());
            return Err(Error::input("client state: distinct", expected, state.distinct.len()));
        }
        if let Some(released) = &state.released {
            released.check()?;
        }
        self.state = Some(ClientState { points, clustering, prompts, ..state });
        Ok(())
    }
}
