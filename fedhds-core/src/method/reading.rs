//! A method's configuration from text, from a table, or by its name alone.

use super::config::MethodConfig;
use super::name::Preset;
use super::overrides;
use crate::error::Result;
use crate::parse;
use serde::Deserialize;

impl MethodConfig {
    /// A preset's configuration by its name.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) that lists the names.
    pub fn preset(name: &str) -> Result<Self> {
        Preset::from_name(name).map(Preset::config)
    }

    /// A preset and what differs from it, from TOML text.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) that names the key: unknown keys, values of another kind or out of range, options that do not fit together.
    pub fn from_toml_str(text: &str) -> Result<Self> {
        let read = || Self::checked(parse::toml_value(overrides::METHOD, text)?);
        read().map_err(|error| parse::located(error, text))
    }

    /// A preset and what differs from it, from text: TOML, JSON, or the preset's bare name.
    ///
    /// In JSON an option that is null is one that is not given.
    ///
    /// # Errors
    /// As [`from_toml_str`](MethodConfig::from_toml_str).
    pub fn from_text(text: &str) -> Result<Self> {
        let read = || Self::checked(parse::value_of_text(overrides::METHOD, text)?);
        read().map_err(|error| parse::located(error, text))
    }

    /// A preset's name, or a table of a preset and what differs from it.
    ///
    /// A stage is given by its bare name (`reducer = "pca"`) or with settings (`reducer = { kind = "pca", n_components = 8 }`). Without
    /// `kind` the settings change the preset's own stage; another kind starts from that kind's defaults.
    ///
    /// # Errors
    /// As [`from_toml_str`](MethodConfig::from_toml_str).
    pub fn from_toml(value: toml::Value) -> Result<Self> {
        Self::checked(value.into())
    }

    fn checked(value: parse::Value) -> Result<Self> {
        let config = overrides::read(value)?;
        config.check()?;
        Ok(config)
    }
}

impl<'de> Deserialize<'de> for MethodConfig {
    /// A name or a table, as [`MethodConfig::from_toml`] reads it, in any self-describing format.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = parse::Value::deserialize(deserializer)?;
        Self::checked(value).map_err(serde::de::Error::custom)
    }
}
