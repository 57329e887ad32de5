//! Which factors a round trains, where it is not both.

use super::{Kind, LocalUpdate, Section};
use crate::error::{Error, Result};
use crate::types::{Adapter, Factors};
use serde::{Deserialize, Serialize};

/// Section 129 of a [`RoundStart`](super::RoundStart): the round trains one factor of the adapter and the other must stay as it is, to the bit. It
/// is sent where one is frozen; a client that does not know of it refuses the round's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedFactors(
    /// A or B.
    pub Factors,
);

impl TrainedFactors {
    /// Whether it says something.
    pub(super) fn check(self) -> Result<()> {
        match self.0 {
            Factors::A | Factors::B => Ok(()),
            Factors::Both => {
                Err(Error::protocol("round_start: section `trained_factors`", "A or B, or no such section", "both"))
            }
        }
    }
}

impl Section for TrainedFactors {
    const KIND: Kind = Kind::RoundStart;
    const NUMBER: u16 = 129;
    const NAME: &'static str = "trained_factors";
}

impl LocalUpdate {
    /// Leaves out the factor that the round does not train: the server has it, and the message is about half as long. `global` is the adapter
    /// that was trained from.
    ///
    /// # Errors
    /// [`Error::Adapter`] where the trainer moved what is frozen.
    pub fn leave_out_frozen(&mut self, factors: Factors, global: &Adapter) -> Result<()> {
        factors.check_frozen(global, &self.adapter)?;
        self.adapter.tensors.retain(|name, _| factors.trains(name));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Ask, MUST_UNDERSTAND, RoundStart, Wire as _};
    use super::*;
    use crate::types::{AdapterTensor, ClientId, Round};

    #[test]
    fn it_comes_back_as_it_went_and_must_be_understood() {
        const { assert!(TrainedFactors::NUMBER >= MUST_UNDERSTAND) };
        for factors in [Factors::A, Factors::B] {
            let mut start = RoundStart::new(Round(3), Ask::Counts);
            start.sections.set(&TrainedFactors(factors)).unwrap();
            let back = RoundStart::decode(&start.encode().unwrap()).unwrap();
            assert_eq!(back.sections.get().unwrap(), Some(TrainedFactors(factors)));
        }
        let mut start = RoundStart::new(Round(3), Ask::Counts);
        start.sections.set(&TrainedFactors(Factors::Both)).unwrap();
        assert!(start.encode().unwrap_err().to_string().contains("expected A or B"));
        start.sections.insert(TrainedFactors::NUMBER, vec![7]);
        assert!(start.encode().unwrap_err().to_string().contains("trained_factors"));
    }

    #[test]
    fn an_update_without_the_frozen_factor_is_shorter() {
        let tensor = |value: f32| AdapterTensor { shape: [1, 100], data: vec![value; 100] };
        let adapter = |a: f32, b: f32| {
            let tensors = [("q.lora_A.weight".to_owned(), tensor(a)), ("q.lora_B.weight".to_owned(), tensor(b))];
            Adapter { tensors: tensors.into(), ..Adapter::default() }
        };
        let mut update = LocalUpdate::new(ClientId(1), Round(0), 3, adapter(1.0, 2.0));
        let whole = update.encoded_len().unwrap();
        assert!(update.leave_out_frozen(Factors::B, &adapter(0.0, 0.0)).unwrap_err().to_string().contains("q.lora_A"));
        update.leave_out_frozen(Factors::B, &adapter(1.0, 0.0)).unwrap();
        assert_eq!(update.adapter.tensors.keys().collect::<Vec<_>>(), ["q.lora_B.weight"]);
        assert!(update.encoded_len().unwrap() + 400 < whole);
    }
}
