//! A configuration becomes a run record, tables and plots.
