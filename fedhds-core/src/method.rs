//! The options of a selection method, and its presets.
