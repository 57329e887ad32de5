//! Bad input, killed processes, missing files.
