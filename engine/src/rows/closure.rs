//! Closures of the calendar, added by people.

use serde::{Deserialize, Serialize};

use super::{Row, Stored};
use crate::fact::{Closed, Fact, Record, Touches};
use crate::ids::{ClosureId, Sequence};
use crate::store::Table;

/// One closure of the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closure {
    /// The last record folded into this row.
    pub sequence: Sequence,
    pub id: ClosureId,
    pub closed: Closed,
    pub removed: bool,
}

impl Row for Closure {
    type Key = ClosureId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = ClosureId> {
        touches.closure.into_iter()
    }

    fn open(id: &ClosureId, sequence: Sequence, record: &Record) -> Option<Closure> {
        let Fact::ClosureAdded(closed) = &record.fact else { return None };
        Some(Closure { sequence, id: *id, closed: closed.clone(), removed: false })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence && matches!(record.fact, Fact::ClosureRemoved { .. }) {
            self.removed = true;
            self.sequence = sequence;
        }
    }

    fn is_open(&self) -> bool {
        !self.removed
    }
}

impl Stored for Closure {
    const TABLE: Table = Table::Closures;
}
