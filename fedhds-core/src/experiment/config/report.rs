//! What a run keeps for the report beside its record.

use serde::{Deserialize, Serialize};

/// What a run keeps for its report. No result depends on it: a run that is finished is not made again because it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSettings {
    /// Records of each client on its selection map, at most, beside the chosen ones; 0, the default, keeps no map, of the server neither. A
    /// map is in the run record and says where records lie, their groups and the names of their tasks.
    pub map_records: usize,
    /// Whether each layer's features are scored by how well they tell a client's tasks apart. Default false.
    pub layers: bool,
    /// Whether a run writes a TensorBoard event file into its folder while it goes on. Default false.
    pub tensorboard: bool,
}

impl ReportSettings {
    /// Whether nothing is asked for.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
