//! Text and clustering measures, with their intervals.
