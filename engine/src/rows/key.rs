//! The idempotency keys of people's requests.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::shelf::{KeyBytes, RowKey};
use super::{Row, Stored};
use crate::bytes::Fingerprint;
use crate::fact::{Author, Record, Touches};
use crate::ids::Sequence;
use crate::store::Table;
use crate::time::UnixMillis;

/// How long an idempotency key is known: 24 hours.
const KNOWN_MILLIS: u64 = 24 * 3600 * 1000;

/// One key: the last request made with it. Rows of forgotten keys stay on disk until they are collected; the program's
/// row says which those are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(crate) sequence: Sequence,
    at: UnixMillis,
    fingerprint: Fingerprint,
}

impl KeyRow {
    /// The request made with the key, while the key is known.
    pub(crate) fn request(&self, now: UnixMillis) -> Option<Fingerprint> {
        (self.at.0.saturating_add(KNOWN_MILLIS) >= now.0).then_some(self.fingerprint)
    }
}

/// The caller's name and its key.
pub(crate) type CallersKey = (CompactString, CompactString);

impl RowKey for CallersKey {
    fn bytes(&self) -> KeyBytes {
        let (name, key) = self;
        let mut bytes = KeyBytes::from_slice(name.as_bytes());
        // Neither a token's name nor a header's value holds this byte.
        bytes.push(0);
        bytes.extend_from_slice(key.as_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (name, key) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
        Some((name.into(), key.into()))
    }
}

impl Row for KeyRow {
    type Key = CallersKey;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = CallersKey> {
        touches.key.map(|(name, key)| (name.clone(), key.clone())).into_iter()
    }

    fn open(_: &CallersKey, sequence: Sequence, record: &Record) -> Option<KeyRow> {
        let Author::Person { idempotency: Some(made), .. } = &record.author else { return None };
        Some(KeyRow { sequence, at: record.at, fingerprint: made.fingerprint })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A key that is used again was forgotten before: the later request replaces the earlier.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence
            && let Some(again) = KeyRow::open(&Default::default(), sequence, record)
        {
            *self = again;
        }
    }

    fn is_open(&self) -> bool {
        false
    }
}

impl Stored for KeyRow {
    const TABLE: Table = Table::Keys;
    const LOADED_AT_START: bool = false;
}
