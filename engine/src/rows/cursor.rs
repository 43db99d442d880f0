//! Cursors: how far readers of the journal are, kept in the journal itself.
//!
//! What sends the journal's records elsewhere must go on where it stopped, wherever it is started next. So its position
//! is a record like any other: it is recovered, verified and copied with them.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::fact::Fact;
use crate::ids::Sequence;

/// One reader's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// The reader.
    pub name: CompactString,
    /// As the reader wrote it.
    pub position: Vec<u8>,
}

/// Every cursor, by its reader's name: they are few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursors(pub(crate) BTreeMap<CompactString, Cursor>);

impl Cursors {
    pub(crate) fn apply(&mut self, sequence: Sequence, fact: &Fact) {
        let (Fact::CursorMoved { name, position } | Fact::MessageSkipped { name, position, .. }) = fact else { return };
        if self.0.get(name).is_none_or(|before| before.sequence < sequence) {
            let cursor = Cursor { sequence, name: name.clone(), position: position.clone() };
            self.0.insert(name.clone(), cursor);
        }
    }
}
