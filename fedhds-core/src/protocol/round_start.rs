//! Server to client: a round begins.

use super::{
    GateLimit, GateQuestion, Kind, MAX_DIMS, RecordKeys, Registered, Section as _, Sections, TokensAsked,
    TrainedFactors, Wire,
};
use crate::error::{Error, Result};
use crate::types::{Round, Seed};
use serde::{Deserialize, Serialize};

/// What a client shall send before training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// How many records it holds, as one group without coordinates: selection that looks at no features.
    Counts,
    /// Its groups, each centroid in the client's own frame (the paper).
    Groups,
    /// Its groups, each centroid mapped by the projection that this seed makes: one frame for all clients.
    SharedGroups {
        /// The seed of the projection; the same for all clients of a federation and in all rounds.
        seed: Seed,
        /// Coordinates of a centroid, 1 to [`MAX_DIMS`].
        dims: u32,
    },
}

/// Server to client: a round begins, and this is what the server asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundStart {
    /// The round; the answers carry it back.
    pub round: Round,
    /// What to send.
    pub ask: Ask,
    /// Optional parts: [`RecordKeys`], [`Registered`], [`GateQuestion`], [`TokensAsked`], [`TrainedFactors`].
    pub sections: Sections,
}

impl RoundStart {
    /// A round's start without optional parts.
    pub fn new(round: Round, ask: Ask) -> Self {
        Self { round, ask, sections: Sections::default() }
    }
}

impl Wire for RoundStart {
    const KIND: Kind = Kind::RoundStart;

    fn check(&self) -> Result<()> {
        let known =
            [RecordKeys::NUMBER, Registered::NUMBER, GateQuestion::NUMBER, TokensAsked::NUMBER, TrainedFactors::NUMBER];
        self.sections.check(Self::KIND, &known)?;
        self.sections.get::<TokensAsked>()?;
        self.sections.get::<TrainedFactors>()?.map_or(Ok(()), TrainedFactors::check)?;
        self.sections.get::<RecordKeys>()?;
        if let Some(question) = self.sections.get::<GateQuestion>()? {
            for (name, number, most) in
                [("representatives", question.representatives, 64), ("decoys", question.decoys, GateLimit::MAX_DECOYS)]
            {
                if !(1..=most).contains(&number) {
                    return Err(Error::protocol(
                        format!("round_start: gate_question: {name}"),
                        format!("1 to {most}"),
                        number,
                    ));
                }
            }
        }
        if let Some(Registered(known)) = self.sections.get()?
            && known.windows(2).any(|pair| pair[0].client >= pair[1].client)
        {
            return Err(Error::protocol("round_start: registered", "clients in ascending order", "others"));
        }
        if let Ask::SharedGroups { dims, .. } = self.ask
            && !(1..=MAX_DIMS).contains(&(dims as usize))
        {
            return Err(Error::protocol("round_start: dims", format!("1 to {MAX_DIMS}"), dims));
        }
        Ok(())
    }
}
