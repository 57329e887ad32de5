//! Adapters of many clients become one.
