//! The two messages that carry an adapter.

use super::{Kind, MAX_RECORDS, Section as _, Sections, TrainedGroups, TrainedTokens, Wire};
use crate::error::{Error, Result};
use crate::types::{Adapter, ClientId, Round};
use serde::{Deserialize, Serialize};

/// Server to client: the adapter that the round starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GlobalAdapter {
    /// The round.
    pub round: Round,
    /// The adapter; four bytes a value on the wire.
    pub adapter: Adapter,
    /// Optional parts; none yet.
    pub sections: Sections,
}

impl GlobalAdapter {
    /// The message without optional parts.
    pub fn new(round: Round, adapter: Adapter) -> Self {
        Self { round, adapter, sections: Sections::default() }
    }
}

/// Client to server: the adapter after local training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalUpdate {
    /// Who trained.
    pub client: ClientId,
    /// The round.
    pub round: Round,
    /// Records trained on, at least 1: the weight in the mean (eq. 12).
    pub records: u32,
    /// The adapter after training; four bytes a value on the wire. A factor that the round does not train
    /// [may be left out](LocalUpdate::leave_out_frozen).
    pub adapter: Adapter,
    /// Mean loss on response tokens over the optimiser steps, in nats, at least 0 and finite; none where no step was taken or the
    /// trainer measures no loss. One number, since losses of single steps tell of single records.
    pub loss: Option<f32>,
    /// Optimiser steps that were not taken, because loss or gradient was not finite.
    pub skipped: u32,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Optional parts: [`TrainedGroups`], [`TrainedTokens`].
    pub sections: Sections,
}

impl LocalUpdate {
    /// The message of an adapter that was trained on so many records, without optional parts.
    pub fn new(client: ClientId, round: Round, records: u32, adapter: Adapter) -> Self {
        Self { client, round, records, adapter, loss: None, skipped: 0, tokens: 0, sections: Sections::default() }
    }
}

/// Shapes agree with lengths, values and settings are finite.
fn check_adapter(message: &str, adapter: &Adapter) -> Result<()> {
    for (name, value) in [("lora_alpha", adapter.config.lora_alpha), ("lora_dropout", adapter.config.lora_dropout)] {
        if !value.is_finite() {
            return Err(Error::protocol(format!("{message}: {name}"), "a finite value", value));
        }
    }
    for (name, tensor) in &adapter.tensors {
        let [rows, cols] = tensor.shape;
        if rows.checked_mul(cols) != Some(tensor.data.len()) {
            let got = format!("{} values", tensor.data.len());
            return Err(Error::protocol(format!("{message}: tensor {name}"), format!("{rows} x {cols} values"), got));
        }
        if let Some(at) = tensor.data.iter().position(|v| !v.is_finite()) {
            let got = format!("{} at value {at}", tensor.data[at]);
            return Err(Error::protocol(format!("{message}: tensor {name}"), "finite values", got));
        }
    }
    Ok(())
}

impl Wire for GlobalAdapter {
    const KIND: Kind = Kind::GlobalAdapter;

    fn check(&self) -> Result<()> {
        self.sections.check(Self::KIND, &[])?;
        check_adapter("global_adapter", &self.adapter)
    }
}

impl Wire for LocalUpdate {
    const KIND: Kind = Kind::LocalUpdate;

    fn check(&self) -> Result<()> {
        if !(1..=MAX_RECORDS).contains(&(self.records as usize)) {
            return Err(Error::protocol("local_update: records", format!("1 to {MAX_RECORDS}"), self.records));
        }
        if let Some(loss) = self.loss
            && !loss.is_finite()
        {
            return Err(Error::protocol("local_update: loss", "a finite value, or none", loss));
        }
        self.sections.check(Self::KIND, &[TrainedGroups::NUMBER, TrainedTokens::NUMBER])?;
        if let Some(TrainedTokens(tokens)) = self.sections.get()?
            && tokens < u64::from(self.records)
        {
            let expected = format!("at least {}, one for each record", self.records);
            return Err(Error::protocol("local_update: section `trained_tokens`", expected, tokens));
        }
        if let Some(TrainedGroups(groups)) = self.sections.get()? {
            let what = "local_update: trained_groups";
            if groups.windows(2).any(|pair| pair[0].0 >= pair[1].0) || groups.iter().any(|(_, count)| *count == 0) {
                let expected = "ids in ascending order, each with at least one record";
                return Err(Error::protocol(what, expected, format!("{} groups", groups.len())));
            }
            let records: u64 = groups.iter().map(|(_, count)| u64::from(*count)).sum();
            if records != u64::from(self.records) {
                return Err(Error::protocol(what, format!("{} records in all", self.records), records));
            }
        }
        check_adapter("local_update", &self.adapter)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{AdapterTensor, ClusterId};

    fn adapter() -> Adapter {
        let mut adapter = Adapter::default();
        for (name, shape) in [("layers.0.q_proj.lora_A.weight", [8, 64]), ("layers.0.q_proj.lora_B.weight", [64, 8])] {
            let data = (0..shape[0] * shape[1]).map(|v| (v as f32 - 250.0) / 7.0).collect();
            adapter.tensors.insert(name.into(), AdapterTensor { shape, data });
        }
        adapter
    }

    fn update() -> LocalUpdate {
        LocalUpdate {
            loss: Some(2.25),
            skipped: 1,
            tokens: 1 << 40,
            ..LocalUpdate::new(ClientId(3), Round(1), 3, adapter())
        }
    }

    #[test]
    fn comes_back_bit_for_bit() {
        let global = GlobalAdapter::new(Round(0), adapter());
        let bytes = global.encode().unwrap();
        assert_eq!(GlobalAdapter::decode(&bytes).unwrap(), global);
        let values = global.adapter.parameters() * 4;
        assert!(bytes.len() > values && bytes.len() < values + 120, "{} bytes for {values} of values", bytes.len());
        assert_eq!(LocalUpdate::decode(&update().encode().unwrap()).unwrap(), update());
        assert_eq!(update().encoded_len().unwrap(), update().encode().unwrap().len());
    }

    #[test]
    fn adapters_that_would_spoil_the_mean_are_refused() {
        type Spoil = fn(&mut LocalUpdate);
        let cases: [(&str, Spoil); 6] = [
            ("loss: expected a finite value", |u| u.loss = Some(f32::INFINITY)),
            ("3 records in all", |u| u.sections.set(&TrainedGroups(vec![(ClusterId(0), 2)])).unwrap()),
            ("finite values, got NaN at value 5", |u| {
                u.adapter.tensors.values_mut().for_each(|t| t.data[5] = f32::NAN);
            }),
            ("9 x 64 values", |u| {
                u.adapter.tensors.get_mut("layers.0.q_proj.lora_A.weight").unwrap().shape[0] = 9;
            }),
            ("records", |u| u.records = 0),
            ("lora_alpha", |u| u.adapter.config.lora_alpha = f32::INFINITY),
        ];
        for (word, spoil) in cases {
            let mut message = update();
            spoil(&mut message);
            assert!(message.encode().unwrap_err().to_string().contains(word));
            let bytes = [&b"FH\x02\x05"[..], &postcard::to_stdvec(&message).unwrap()[..]].concat();
            assert!(LocalUpdate::decode(&bytes).unwrap_err().to_string().contains(word));
        }
    }
}
