//! Where a run stands: one file, written whole or not at all.

use fedhds_core::model::{InMemoryWeights, WeightData};
use fedhds_core::simulate::atomic_write;
use fedhds_core::train::adam::{AdamMoments, AdamState};
use fedhds_core::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Everything that the rest of a run depends on, beside its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The settings, as text; a run with others does not continue this one.
    pub settings: String,
    /// Steps done.
    pub step: u64,
    /// Seconds of work so far.
    pub seconds: f64,
    /// The weights.
    pub weights: BTreeMap<String, WeightData>,
    /// The optimiser's moments.
    pub adam: AdamState,
}

impl Checkpoint {
    /// # Errors
    /// [`Error::Io`], [`Error::Checkpoint`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let damaged = |e: safetensors::SafeTensorError| Error::Checkpoint { path: path.into(), message: e.to_string() };
        let mut tensors = Vec::new();
        for (name, weight) in &self.weights {
            tensors.push((format!("weight.{name}"), weight.shape.clone(), weight.data.as_slice()));
        }
        for (name, moments) in &self.adam.moments {
            tensors.push((format!("first.{name}"), vec![moments.first.len()], moments.first.as_slice()));
            tensors.push((format!("second.{name}"), vec![moments.second.len()], moments.second.as_slice()));
        }
        let views = tensors.iter().map(|(name, shape, data)| {
            TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(data)).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        let metadata = HashMap::from([
            ("settings".to_owned(), self.settings.clone()),
            ("step".to_owned(), self.step.to_string()),
            ("seconds".to_owned(), self.seconds.to_string()),
        ]);
        atomic_write(path, &serialize(views, Some(metadata)).map_err(damaged)?)
    }

    /// The checkpoint at `path`, or none where there is no file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] for a damaged file or one of a run with other settings.
    pub fn read(path: &Path, settings: &str) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |message: String| Error::Checkpoint { path: path.into(), message };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let field = |name: &str| metadata.get(name).cloned().ok_or_else(|| damaged(format!("no `{name}`")));
        let step: u64 = field("step")?.parse().map_err(|_| damaged("`step` is not a number".into()))?;
        let seconds: f64 = field("seconds")?.parse().map_err(|_| damaged("`seconds` is not a number".into()))?;
        if field("settings")? != settings {
            return Err(damaged(format!("it belongs to a run with settings {}, got {settings}", field("settings")?)));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let (mut weights, mut moments) = (BTreeMap::new(), BTreeMap::<String, AdamMoments>::new());
        for (name, view) in file.iter() {
            let data: Vec<f32> =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            match name.split_once('.') {
                Some(("weight", name)) => {
                    weights.insert(name.to_owned(), WeightData { shape: view.shape().to_vec(), data });
                }
                Some((kind, name)) => {
                    let moments = moments.entry(name.to_owned()).or_default();
                    moments.step = step;
                    if kind == "first" { moments.first = data } else { moments.second = data }
                }
                None => return Err(damaged(format!("unknown tensor `{name}`"))),
            }
        }
        Ok(Some(Self { settings: settings.into(), step, seconds, weights, adam: AdamState { moments } }))
    }

    /// The weights as a source for a model.
    pub fn source(&self) -> InMemoryWeights {
        InMemoryWeights::new(self.weights.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("fedhds-pretrain-checkpoint-{}", std::process::id()));
        let weight = WeightData { shape: vec![2, 2], data: vec![1.0, -2.0, f32::MIN_POSITIVE, 4.0] };
        let moments = AdamMoments { step: 7, first: vec![0.5; 4], second: vec![0.25; 4] };
        let checkpoint = Checkpoint {
            settings: "a".into(),
            step: 7,
            seconds: 1.5,
            weights: BTreeMap::from([("w.x".to_owned(), weight)]),
            adam: AdamState { moments: BTreeMap::from([("w.x".to_owned(), moments)]) },
        };
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path, "a").unwrap(), Some(checkpoint));
        assert!(Checkpoint::read(&path, "b").unwrap_err().to_string().contains("settings a"));
        std::fs::write(&path, b"short").unwrap();
        assert!(Checkpoint::read(&path, "a").is_err());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Checkpoint::read(&path, "a").unwrap(), None);
    }
}
