//! Authors of records.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Provider;
use crate::bytes::Fingerprint;

/// The author of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// UR, by a signed callback or a feed.
    Ur,
    /// The engine itself, such as for the release at the deadline.
    Engine,
    /// A person or program with an admin token.
    Person {
        /// The token's name.
        name: CompactString,
        /// Makes a repeated request have one effect.
        idempotency: Option<IdempotencyKey>,
    },
    /// The second provider, by an authenticated event.
    PartnerApi,
}

impl Author {
    /// The author of a provider's word.
    #[must_use]
    pub fn of(provider: Provider) -> Author {
        match provider {
            Provider::Ur => Author::Ur,
            Provider::PartnerApi => Author::PartnerApi,
        }
    }

    /// The token's name, `ur`, `engine` or `partner_api`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Author::Ur => "ur",
            Author::Engine => "engine",
            Author::Person { name, .. } => name,
            Author::PartnerApi => Provider::PartnerApi.name(),
        }
    }
}

/// The `Idempotency-Key` of an admin request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// Chosen by the caller.
    pub key: CompactString,
    /// Hash of the request's method, path and body.
    pub fingerprint: Fingerprint,
}
