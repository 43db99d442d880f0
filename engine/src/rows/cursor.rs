//! Cursors: the positions of journal readers, kept in the journal itself.
//!
//! A reader that delivers the journal's records must resume where it stopped, wherever it restarts. So its position is
//! a record like any other: recovered, verified and copied with the rest.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Row, Stored};
use crate::bytes::Buffer;
use crate::fact::{Fact, Record, Touches};
use crate::ids::Sequence;
use crate::store::Table;

/// The position of one reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// The reader's name.
    pub name: CompactString,
    /// Opaque to the engine.
    pub position: Vec<u8>,
}

impl Row for Cursor {
    type Key = CompactString;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = CompactString> {
        touches.cursor.cloned().into_iter()
    }

    fn open(name: &CompactString, sequence: Sequence, record: &Record) -> Option<Cursor> {
        moved_to(&record.fact).map(|position| Cursor { sequence, name: name.clone(), position })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if let Some(position) = moved_to(&record.fact).filter(|_| sequence > self.sequence) {
            self.position = position;
            self.sequence = sequence;
        }
    }
}

impl Stored for Cursor {
    const TABLE: Table = Table::Cursors;
}

fn moved_to(fact: &Fact) -> Option<Vec<u8>> {
    match fact {
        Fact::CursorMoved { position, .. } | Fact::MessageSkipped { position, .. } => Some(position.clone()),
        Fact::HeadSigned(signed) => {
            let mut position = Buffer(Vec::new());
            position.put(signed);
            Some(position.0)
        }
        _ => None,
    }
}
