//! Which hidden states make up a record's features.

use crate::error::Result;
use crate::model::Pooling;
use crate::reduce::Layers;
use crate::settings::MAX_TOKENS;
use crate::types::range::at_least;
use serde::{Deserialize, Serialize};

/// What is taken from the model, and how records reach it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureParams {
    /// Which layers; their vectors stand side by side. The forward pass stops at the largest.
    pub layers: Layers,
    /// Put the embedding output in front, as the paper's released code does; the paper's text (eq. 6) does not. Default false.
    pub embedding: bool,
    /// How tokens become one vector. Default the last token.
    pub pooling: Pooling,
    /// Scale each layer's vector to length 1, as sentence encoders do. Default false.
    pub normalize: bool,
    /// Longest record in tokens, prompt, response and special tokens together, at least 1; the model's own limit holds beside
    /// it. Default 1,024, the paper's.
    pub max_tokens: usize,
    /// Cut longer records off at the end; otherwise they are errors. Default false.
    pub truncate: bool,
    /// Most tokens of one batch, padding included: records of neighbouring lengths go through the model together, a longer one
    /// by itself. Not set (the default), each record goes by itself: its features then depend on nothing but the record, to
    /// the last bit, and a run gives the same bits whatever a cache held before. A GPU wants batches; a CPU hardly gains.
    pub batch_tokens: Option<usize>,
}

impl Default for FeatureParams {
    fn default() -> Self {
        Self {
            layers: Layers::All,
            embedding: false,
            pooling: Pooling::LastToken,
            normalize: false,
            max_tokens: MAX_TOKENS,
            truncate: false,
            batch_tokens: None,
        }
    }
}

impl FeatureParams {
    /// What sentence encoders such as all-MiniLM-L6-v2 were trained for: the mean over the tokens of the last layer, of length
    /// 1; records are cut off at 256 tokens.
    pub fn sentence_encoder() -> Self {
        Self {
            layers: Layers::Last,
            pooling: Pooling::Mean,
            normalize: true,
            max_tokens: 256,
            truncate: true,
            ..Self::default()
        }
    }

    /// An encoder as the proxy of FedHDS-Turbo: the mean over the tokens of every layer (the paper's features are of all layers: on 40
    /// real tasks those of all-MiniLM-L6-v2 let t-SNE and HDBSCAN find 2.4 groups a client, the last layer alone 1.6); records are
    /// cut off at 256 tokens.
    pub fn encoder_proxy() -> Self {
        Self { pooling: Pooling::Mean, max_tokens: 256, truncate: true, ..Self::default() }
    }

    /// What can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        self.layers.check()?;
        at_least("max_tokens", self.max_tokens, 1)?;
        self.batch_tokens.map_or(Ok(()), |tokens| at_least("batch_tokens", tokens, 1))
    }

    /// The numbers of the hidden states of a model of `layers` layers, in order; 0 is the embedding.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::Parameter`](crate::Error::Parameter) for a layer that the model does not have.
    pub fn states(&self, layers: usize) -> Result<Vec<usize>> {
        self.check()?;
        let mut states: Vec<usize> = self.embedding.then_some(0).into_iter().collect();
        states.extend(self.layers.of(layers)?);
        Ok(states)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_checked_against_the_model() {
        let params = |layers| FeatureParams { layers, ..FeatureParams::default() };
        assert_eq!(params(Layers::All).states(3).unwrap(), [1, 2, 3]);
        assert_eq!(params(Layers::Last).states(3).unwrap(), [3]);
        assert_eq!(params(Layers::Chosen(vec![3, 1])).states(3).unwrap(), [3, 1]);
        assert_eq!(FeatureParams { embedding: true, ..FeatureParams::default() }.states(2).unwrap(), [0, 1, 2]);
        for bad in [vec![], vec![0], vec![4], vec![usize::MAX], vec![2, 2]] {
            let error = params(Layers::Chosen(bad)).states(3).unwrap_err().to_string();
            assert!(error.starts_with("layers: "), "{error}");
        }
        // Without a model nobody knows how many there are.
        params(Layers::Chosen(vec![4])).check().unwrap();
        for bad in [vec![], vec![2, 2]] {
            params(Layers::Chosen(bad)).check().unwrap_err();
        }
    }

    #[test]
    fn every_setting_has_its_range() {
        let says = |params: FeatureParams| params.check().unwrap_err().to_string();
        let none = FeatureParams { max_tokens: 0, ..FeatureParams::default() };
        assert_eq!(says(none), "max_tokens: expected a whole number of at least 1, got 0");
        let none = FeatureParams { batch_tokens: Some(0), ..FeatureParams::default() };
        assert_eq!(says(none), "batch_tokens: expected a whole number of at least 1, got 0");
        let most = usize::MAX;
        FeatureParams { max_tokens: most, batch_tokens: Some(most), ..FeatureParams::default() }.check().unwrap();
    }

    #[test]
    fn configurations_read_as_written() {
        let read = |text: &str| toml::from_str::<FeatureParams>(text);
        assert_eq!(read("").unwrap(), FeatureParams::default());
        assert_eq!(read("layers = \"last\"").unwrap().layers, Layers::Last);
        let chosen = read("layers = { chosen = [2, 4] }\npooling = \"mean\"").unwrap();
        assert_eq!((chosen.layers, chosen.pooling), (Layers::Chosen(vec![2, 4]), Pooling::Mean));
        assert!(read("layer = 1").is_err());
    }
}
