//! What takes the place of a record that is in quarantine.

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// What the bytes of a stand-in begin with. Those of a record begin with its version, and there is no version 0: a reader
/// that knows of no stand-ins refuses them.
const STAND_IN: u8 = 0;

const WRITTEN: u8 = 0;

const HASHED: u8 = 1;

const LOST: u8 = 2;

/// Takes the place of a record that is in quarantine: no fold takes it in, and the tree's hashes stay what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// When the record before it was made; 0 where nobody can tell.
    pub at: UnixMillis,
    /// What is known of the record.
    pub original: Original,
}

/// What is known of a record in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Original {
    /// Its bytes, and so its hash in the tree.
    Written(Vec<u8>),
    /// Nothing; a hash over it and others was stored before, of its tile or with the watermark, and counts.
    Hashed,
    /// Nothing: in the tree, the stand-in's own bytes count.
    Lost,
}

impl StandIn {
    /// Its bytes in the journal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, rest): (u8, &[u8]) = match &self.original {
            Original::Written(bytes) => (WRITTEN, bytes),
            Original::Hashed => (HASHED, &[]),
            Original::Lost => (LOST, &[]),
        };
        let mut bytes = vec![STAND_IN, kind];
        bytes.extend_from_slice(&self.at.0.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    /// Reads its bytes; `None` where they are none of a stand-in.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<StandIn> {
        let [STAND_IN, kind, rest @ ..] = bytes else { return None };
        let (at, rest) = rest.split_first_chunk()?;
        let original = match (*kind, rest) {
            (WRITTEN, bytes) => Original::Written(bytes.to_vec()),
            (HASHED, []) => Original::Hashed,
            (LOST, []) => Original::Lost,
            _ => return None,
        };
        Some(StandIn { at: UnixMillis(u64::from_be_bytes(*at)), original })
    }
}
