//! One suite over every implementation of a stage trait.
