//! Closures of the calendar, as people added them.

use serde::{Deserialize, Serialize};

use crate::fact::{Closed, Fact};
use crate::ids::{ClosureId, Sequence};

/// The key of the one row of closures, in the same table.
pub(crate) const CLOSURES_KEY: &[u8] = b"closures";

/// All closures, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closures {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// By the record that added each.
    pub all: Vec<(ClosureId, Closed)>,
}

impl Closures {
    /// Folds one record.
    pub fn apply(&mut self, sequence: Sequence, fact: &Fact) {
        if sequence <= self.sequence {
            return;
        }
        match fact {
            Fact::ClosureAdded(closed) => self.all.push((ClosureId(sequence), closed.clone())),
            Fact::ClosureRemoved { id } => self.all.retain(|(known, _)| known != id),
            _ => return,
        }
        self.sequence = sequence;
    }
}
