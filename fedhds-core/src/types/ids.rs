//! Typed numbers: a cluster's number cannot stand where a record's number belongs.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The number as an index.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<u32> for $name {
            fn from(value: u32) -> Self {
                Self(value)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A client of the federation, from 0.
    ClientId
);
id!(
    /// A cluster of one clustering, dense from 0; `None` in place of it means noise.
    ClusterId
);
id!(
    /// A row of a matrix: a record on a client, a centroid on the server.
    RowId
);
id!(
    /// A round of the federation, from 0.
    Round
);
