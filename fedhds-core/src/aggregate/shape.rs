//! What every adapter of a round must be like: the global one.

use crate::error::{Error, Result};
use crate::types::{Adapter, AdapterConfig, Factor};
use serde::{Deserialize, Serialize};

/// The settings, names and shapes of an adapter, without its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterShape {
    config: AdapterConfig,
    /// In the order of their names.
    tensors: Vec<(String, [usize; 2])>,
}

impl AdapterShape {
    /// The shape of this adapter.
    pub fn of(adapter: &Adapter) -> Self {
        let tensors = adapter.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape)).collect();
        Self { config: adapter.config.clone(), tensors }
    }

    /// The rank.
    pub fn rank(&self) -> usize {
        self.config.r
    }

    /// The shape of an adapter of another rank on the same modules: A has so many rows, B so many columns.
    ///
    /// # Errors
    /// [`Error::Adapter`] for a rank of 0 or above this shape's own, where what a client of that rank learns would not fit.
    pub fn of_rank(&self, r: usize) -> Result<Self> {
        // Arrays of another library may come without their settings: the tensors then have a rank of which those say nothing.
        if r == self.config.r {
            return Ok(self.clone());
        }
        if !(1..=self.config.r).contains(&r) {
            let expected = format!("1 to {}, the rank of the global adapter", self.config.r);
            return Err(Error::adapter("r", expected, r));
        }
        let tensor = |(name, [rows, cols]): &(String, [usize; 2])| {
            let shape = match Factor::of(name) {
                Some((_, Factor::A)) => [r, *cols],
                Some((_, Factor::B)) => [*rows, r],
                None => [*rows, *cols],
            };
            (name.clone(), shape)
        };
        let config = AdapterConfig { r, ..self.config.clone() };
        Ok(Self { config, tensors: self.tensors.iter().map(tensor).collect() })
    }

    /// With another scale: `lora_alpha` and `use_rslora` of these settings.
    pub(super) fn of_scale(mut self, config: &AdapterConfig) -> Self {
        (self.config.lora_alpha, self.config.use_rslora) = (config.lora_alpha, config.use_rslora);
        self
    }

    /// The most bytes of a message that carries an adapter of this shape.
    pub(crate) fn encoded_len(&self) -> usize {
        let targets: usize = self.config.target_modules.iter().map(|name| name.len() + 10).sum();
        let tensor = |(name, [rows, cols]): &(String, [usize; 2])| {
            rows.saturating_mul(*cols).saturating_mul(4).saturating_add(name.len() + 40)
        };
        self.tensors.iter().map(tensor).fold(targets + 200, usize::saturating_add)
    }

    /// Whether an adapter means the same and every value of it is there and finite. Dropout acts in training alone and may differ.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the setting or tensor, with row and column of a value that is not finite.
    pub fn check(&self, adapter: &Adapter) -> Result<()> {
        self.check_config(&adapter.config)?;
        for (name, [rows, cols]) in &self.tensors {
            let expected = || format!("a tensor of shape [{rows}, {cols}], as the global adapter has");
            let Some(tensor) = adapter.tensors.get(name) else {
                return Err(Error::adapter(name, expected(), "no such tensor"));
            };
            if tensor.shape != [*rows, *cols] {
                return Err(Error::adapter(name, expected(), format!("shape {:?}", tensor.shape)));
            }
            if rows.checked_mul(*cols) != Some(tensor.data.len()) {
                let got = format!("{} values", tensor.data.len());
                return Err(Error::adapter(name, format!("{rows} x {cols} values"), got));
            }
            if let Some(at) = tensor.data.iter().position(|value| !value.is_finite()) {
                let got = format!("{} at row {}, column {}", tensor.data[at], at / cols, at % cols);
                return Err(Error::adapter(name, "finite values", got));
            }
        }
        let known = |name: &String| self.tensors.binary_search_by(|(known, _)| known.cmp(name)).is_ok();
        match adapter.tensors.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let expected = format!("only the {} tensors of the global adapter", self.tensors.len());
                Err(Error::adapter(name, expected, "this tensor too"))
            }
        }
    }

    /// Adapters of another rank, scale or target are not comparable.
    fn check_config(&self, got: &AdapterConfig) -> Result<()> {
        let expected = &self.config;
        let differs = |name: &str, expected: String, got: String| {
            Err(Error::adapter(name, format!("{expected}, as the global adapter has"), got))
        };
        if got.r != expected.r {
            return differs("r", expected.r.to_string(), got.r.to_string());
        }
        if got.lora_alpha != expected.lora_alpha {
            return differs("lora_alpha", expected.lora_alpha.to_string(), got.lora_alpha.to_string());
        }
        if got.use_rslora != expected.use_rslora {
            return differs("use_rslora", expected.use_rslora.to_string(), got.use_rslora.to_string());
        }
        if got.target_modules != expected.target_modules {
            let list = |modules: &[String]| modules.join(", ");
            return differs("target_modules", list(&expected.target_modules), list(&got.target_modules));
        }
        Ok(())
    }
}
