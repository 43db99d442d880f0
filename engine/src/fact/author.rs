//! Who causes a record.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::bytes::Fingerprint;

/// Who caused a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// A signed callback of UR's.
    Ur,
    /// The engine itself, such as the release at the deadline.
    Engine,
    /// A person or program with an admin token.
    Person {
        /// The token's name.
        name: CompactString,
        /// So that a repeated request has one effect.
        idempotency: Option<IdempotencyKey>,
    },
}

impl Author {
    /// The token's name, `ur` or `engine`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Author::Ur => "ur",
            Author::Engine => "engine",
            Author::Person { name, .. } => name,
        }
    }
}

/// The `Idempotency-Key` of an admin request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// As the caller chose it.
    pub key: CompactString,
    /// Of the request's method, path and body.
    pub fingerprint: Fingerprint,
}
