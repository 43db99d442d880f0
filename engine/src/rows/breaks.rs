//! Breaks: differences between what we hold and what UR shows, from the day they open until they are explained.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::fact::{Author, BreakKind, Discrepancy, Fact, Record, Touches};
use crate::ids::{BreakId, Sequence};
use crate::store::Table;
use crate::time::UnixMillis;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// Which it is.
    pub id: BreakId,
    /// What differs.
    pub discrepancy: Discrepancy,
    /// When it was found.
    pub opened_at: UnixMillis,
    /// How it ended, once it has.
    pub resolved: Option<Resolution>,
}

/// How a break was explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// When.
    pub at: UnixMillis,
    /// Who: a person's name, or `rule`.
    pub by: CompactString,
    /// In words.
    pub reason: CompactString,
}

impl Break {
    /// The break as it is found. A difference within tolerance explains itself.
    #[must_use]
    pub fn opened(id: BreakId, at: UnixMillis, discrepancy: Discrepancy) -> Break {
        let resolved = (discrepancy.kind == BreakKind::FxDrift).then(|| Resolution {
            at,
            by: CompactString::const_new(RULE),
            reason: CompactString::const_new("within tolerance"),
        });
        Break { sequence: id.opened, id, discrepancy, opened_at: at, resolved }
    }
}

/// Who resolves what nobody needs to look at.
const RULE: &str = "rule";

impl Row for Break {
    const TABLE: Table = Table::Breaks;
    type Key = BreakId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = BreakId> {
        touches.breaks.iter().copied()
    }

    fn open(id: &BreakId, sequence: Sequence, record: &Record) -> Option<Break> {
        let (_, discrepancy) = record.fact.breaks(sequence).find(|(opened, _)| opened == id)?;
        Some(Break::opened(*id, record.at, discrepancy.clone()))
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A break that is explained stays as it is.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence
            && self.is_open()
            && let Fact::BreakResolved { reason, .. } = &record.fact
        {
            let by = match &record.author {
                Author::Person { name, .. } => name.clone(),
                Author::Ur | Author::Engine => CompactString::const_new(RULE),
            };
            self.resolved = Some(Resolution { at: record.at, by, reason: reason.clone() });
            self.sequence = sequence;
        }
    }

    fn is_open(&self) -> bool {
        self.resolved.is_none()
    }
}
