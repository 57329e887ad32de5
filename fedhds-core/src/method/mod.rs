//! A method as configuration ([`MethodConfig`]) and as stages put together ([`Pipeline`]).
//!
//! Every option is documented with its reason at its field; the presets at [`Preset`].

mod allowed;
pub(crate) mod checked;
mod config;
mod count;
mod frame;
mod gate;
mod kinds;
mod name;
mod options;
mod overrides;
pub(crate) mod pipeline;
mod preset;
mod reading;
mod rules;
#[cfg(test)]
pub(crate) mod testing;

pub use allowed::AllowedMethods;
pub use checked::check_selection;
pub use config::{ClientConfig, FeatureSource, Frame, MethodConfig, ServerConfig};
pub use count::{Count, RoundBudget};
pub use frame::{MakeProjection, SharedFrame};
pub use gate::GateConfig;
pub use kinds::{
    ClientClusterer, ClientSelector, LayerNormalizer, NoParams, ReducerConfig, ServerClusterer, ServerGate,
    ServerMemory, ServerSelector,
};
pub use name::Preset;
pub use options::{Copies, Limits, Noise, Regroup, Repeats, Ungrouped};
pub use pipeline::{ClientStages, MakeMemory, Pipeline, ServerStages};
