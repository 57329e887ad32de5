//! Messages: round trips, sizes, versions, hostile bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod messages;
