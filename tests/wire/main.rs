//! Messages: round trips, sizes, versions, hostile bytes.
