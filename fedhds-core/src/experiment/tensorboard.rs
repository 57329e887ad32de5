//! The rounds of a run as a TensorBoard event file, which grows while the run goes on.
//!
//! The format is TensorFlow's: records framed by their length and masked CRC-32C checksums (`tensorflow/core/lib/io/record_writer.h`), each an
//! `Event` message (`tensorflow/core/util/event.proto`) in protocol buffers. The time of an event is the seconds of work until then, which
//! TensorBoard shows on its relative axis: no clock is read, and the same rounds give the same bytes.

use crate::error::{Error, Result};
use crate::protocol::Direction;
use crate::simulate::RoundRecord;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What the file is called: TensorBoard looks for `tfevents`.
pub(super) const NAME: &str = "events.out.tfevents.fedhds";

/// An event file of one run.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
    written: usize,
    /// Sums over the rounds written: seconds of work, of clients alone, records trained on, bytes.
    seconds: f64,
    client_seconds: f64,
    records: f64,
    bytes: f64,
}

impl EventFile {
    /// Begins the file anew: what a stopped run had written of its rounds comes again.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let path = folder.join(NAME);
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        let mut events = Self { path, file, written: 0, seconds: 0.0, client_seconds: 0.0, records: 0.0, bytes: 0.0 };
        events.append(&framed(&[double(1, 0.0), text(3, b"brain.Event:2")].concat()))?;
        Ok(events)
    }

    /// Appends the rounds that are not written yet.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub(super) fn write(&mut self, rounds: &[RoundRecord]) -> Result<()> {
        for round in rounds.iter().skip(self.written) {
            let clients = || round.clients.iter();
            self.client_seconds += clients().map(|client| client.total_seconds()).sum::<f64>();
            let looked = round.evaluation.as_ref().map_or(0.0, |evaluation| evaluation.seconds);
            self.seconds += clients().map(|client| client.total_seconds()).sum::<f64>();
            self.seconds += round.seconds.values().sum::<f64>() + looked;
            self.records += clients().map(|client| client.selected.len()).sum::<usize>() as f64;
            let bytes = |direction| clients().map(|client| client.traffic.bytes(direction)).sum::<u64>() as f64;
            self.bytes += bytes(Direction::Up) + bytes(Direction::Down);
            let losses: Vec<f64> =
                clients().flat_map(|c| &c.losses).map(|l| f64::from(*l)).filter(|l| l.is_finite()).collect();
            let evaluation = round.evaluation.as_ref();
            let scalars = [
                ("loss/test", evaluation.map(|evaluation| evaluation.loss)),
                ("rouge_l/test", evaluation.and_then(|evaluation| evaluation.rouge_l)),
                ("loss/training", (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)),
                ("cost/records", Some(self.records)),
                ("cost/client_seconds", Some(self.client_seconds)),
                ("cost/bytes", Some(self.bytes)),
                ("cost/peak_memory_bytes", round.peak_memory_bytes.map(|bytes| bytes as f64)),
            ];
            let values = scalars.into_iter().filter_map(|(tag, value)| {
                let value = [text(1, tag.as_bytes()), [vec![0x15], (value? as f32).to_le_bytes().to_vec()].concat()];
                Some(text(1, &value.concat()))
            });
            let summary = values.collect::<Vec<_>>().concat();
            let step = [vec![0x10], varint(u64::from(round.round.0) + 1)].concat();
            self.append(&framed(&[double(1, self.seconds), step, text(5, &summary)].concat()))?;
            self.written += 1;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).and_then(|()| self.file.flush()).map_err(|e| Error::io(&self.path, e))
    }
}

/// A record: length, its checksum, the data, their checksum.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, masked(&length).to_le_bytes().as_slice(), data, &masked(data).to_le_bytes()].concat()
}

/// CRC-32C, rotated and shifted so that a checksum of data with checksums in them stays one.
fn masked(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    let crc = !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn double(field: u8, value: f64) -> Vec<u8> {
    [vec![(field << 3) | 1], value.to_le_bytes().to_vec()].concat()
}

/// Bytes, a text or a message, with their length before them.
fn text(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![(field << 3) | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::{Kind, Traffic};
    use crate::simulate::EvaluationRecord;
    use std::collections::BTreeMap;

    /// CRC-32C by a table over nibbles, unlike the writer's: Castagnoli's polynomial, reflected.
    fn crc(data: &[u8]) -> u32 {
        let table: Vec<u32> = (0..16u32).map(|i| (0..4).fold(i, |v, _| (v >> 1) ^ (0x82f6_3b78 * (v & 1)))).collect();
        let nibble = |crc: u32, value: u32| table[((crc ^ value) & 15) as usize] ^ (crc >> 4);
        !data.iter().fold(!0, |crc, byte| nibble(nibble(crc, u32::from(*byte)), u32::from(*byte >> 4)))
    }

    /// The data of each record; every checksum must hold, and nothing may be left.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let unmasked = |bytes: &[u8]| {
            let masked = u32::from_le_bytes(bytes.try_into().unwrap()).wrapping_sub(0xa282_ead8);
            masked.rotate_left(15)
        };
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(unmasked(&bytes[8..12]), crc(&bytes[..8]));
            assert_eq!(unmasked(&bytes[12 + length..16 + length]), crc(&bytes[12..12 + length]));
            records.push(bytes[12..12 + length].to_vec());
            bytes = &bytes[16 + length..];
        }
        records
    }

    /// The fields of a protocol buffers message: number, and its bytes as they are (of a whole number: little-endian).
    fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        fn number(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = number(&mut bytes);
            let length = match key & 7 {
                0 => {
                    found.push(((key >> 3) as u8, number(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                5 => 4,
                _ => number(&mut bytes) as usize,
            };
            found.push(((key >> 3) as u8, bytes[..length].to_vec()));
            bytes = &bytes[length..];
        }
        found
    }

    fn round(at: u32) -> RoundRecord {
        let mut traffic = Traffic::default();
        traffic.add(Kind::LocalUpdate, 700);
        let client = serde_json::json!({
            "client": 1, "records": 9, "centroids": 0, "selected": ["a", "b"], "tokens": 7, "skipped": 1,
            "losses": [1.0, null, 2.0], "traffic": traffic, "seconds": {"train": 2.5},
        });
        let record = serde_json::json!({
            "round": at, "clients": [client], "adapter_changed": true, "seconds": {"select": 0.5}, "evaluation": null,
        });
        let mut round: RoundRecord = serde_json::from_value(record).unwrap();
        let evaluated = EvaluationRecord { loss: 1.25, rouge_l: Some(0.5), ..EvaluationRecord::from_scores(&[], 1.0) };
        round.evaluation = (at == 199).then_some(evaluated);
        round
    }

    #[test]
    fn an_independent_reader_finds_every_scalar_and_a_file_begun_anew_is_the_same() {
        assert_eq!(crc(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
        let folder = tempfile::tempdir().unwrap();
        let rounds: Vec<RoundRecord> = (0..200).map(round).collect();
        let mut events = EventFile::create(folder.path()).unwrap();
        events.write(&rounds[..150]).unwrap();
        events.write(&rounds).unwrap();
        let bytes = std::fs::read(folder.path().join(NAME)).unwrap();
        let records = records(&bytes);
        assert_eq!(records.len(), 201);
        assert_eq!(fields(&records[0])[1], (3, b"brain.Event:2".to_vec()));
        let last = fields(&records[200]);
        assert_eq!(last[0], (1, (200.0 * 3.0 + 1.0f64).to_le_bytes().to_vec()), "seconds of work until then");
        assert_eq!(last[1], (2, 200u64.to_le_bytes().to_vec()), "a number of two bytes");
        let scalar = |(_, value): &(u8, Vec<u8>)| {
            let parts: BTreeMap<u8, Vec<u8>> = fields(value).into_iter().collect();
            let number = f32::from_le_bytes(parts[&2].as_slice().try_into().unwrap());
            (String::from_utf8(parts[&1].clone()).unwrap(), number)
        };
        let scalars: BTreeMap<String, f32> = fields(&last[2].1).iter().map(scalar).collect();
        let expected = [
            ("cost/bytes", 140_000.0),
            ("cost/client_seconds", 500.0),
            ("cost/records", 400.0),
            ("loss/test", 1.25),
            ("loss/training", 1.5),
            ("rouge_l/test", 0.5),
        ];
        assert_eq!(scalars, expected.map(|(tag, value)| (tag.to_owned(), value)).into());
        assert!(!fields(&records[5])[2].1.windows(9).any(|part| part == b"loss/test"), "no evaluation, no scalar");
        EventFile::create(folder.path()).unwrap().write(&rounds).unwrap();
        assert_eq!(std::fs::read(folder.path().join(NAME)).unwrap(), bytes);
    }
}
