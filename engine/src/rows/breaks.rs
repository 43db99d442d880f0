//! Breaks: differences between our figures and UR's, from opening to resolution.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Row, Stored};
use crate::fact::{Author, BreakKind, Closing, Discrepancy, EndCause, Ended, Evidence, Fact, Record, Settled, Touches};
use crate::ids::{BreakId, Sequence};
use crate::store::Table;
use crate::time::UnixMillis;

/// One break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The last record folded into this row.
    pub sequence: Sequence,
    pub id: BreakId,
    pub discrepancy: Discrepancy,
    pub opened_at: UnixMillis,
    /// `None` while open.
    pub resolved: Option<Resolution>,
}

/// The resolution of a break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    pub at: UnixMillis,
    /// A person's name, or `rule`.
    pub by: CompactString,
    pub reason: CompactString,
    /// A person's outcome, where the break asks for one.
    pub outcome: Option<Closing>,
}

impl Break {
    /// Opens a break. A difference within tolerance is resolved at once.
    #[must_use]
    pub fn opened(id: BreakId, at: UnixMillis, discrepancy: Discrepancy) -> Break {
        let resolved = is_explained(&discrepancy).then(|| Resolution {
            at,
            by: CompactString::const_new(RULE),
            reason: CompactString::const_new("within tolerance"),
            outcome: None,
        });
        Break { sequence: id.opened, id, discrepancy, opened_at: at, resolved }
    }
}

impl Break {
    /// Whether the evidence of a record ends the difference.
    fn is_explained(&self, fact: &Fact) -> bool {
        fact.explained().any(|id| id == self.id)
    }
}

/// The resolver's name for breaks that need no operator.
const RULE: &str = "rule";

/// Whether a rule explains the difference where it is found: a cent of drift at a settlement.
fn is_explained(discrepancy: &Discrepancy) -> bool {
    discrepancy.kind == BreakKind::FxDrift
}

/// Why a difference that new evidence ends is none any longer: a person's word, where a person gave one.
fn reason_of(fact: &Fact) -> CompactString {
    let none = CompactString::const_new("no longer differs");
    let Fact::Settled(settled) = fact else { return none };
    let Settled { root, evidence, .. } = &**settled;
    match evidence {
        Evidence::Closed { closing, answer, .. } => {
            answer.as_ref().map_or(CompactString::const_new(closing.name()), |answer| answer.reason.clone())
        }
        Evidence::Linked(_) => compact_str::format_compact!("linked with {root}"),
        Evidence::Ended(Ended { cause: EndCause::Person { reason }, .. }) => reason.clone(),
        Evidence::Ended(_) | Evidence::Announced(_) | Evidence::Shown(_) | Evidence::Overdue(_) => none,
    }
}

/// The outcome that a person gave.
fn outcome_of(fact: &Fact) -> Option<Closing> {
    match fact {
        Fact::Settled(settled) => match &settled.evidence {
            Evidence::Closed { closing, answer: Some(_), .. } => Some(*closing),
            _ => None,
        },
        _ => None,
    }
}

impl Row for Break {
    type Key = BreakId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = BreakId> {
        touches.breaks.iter().copied()
    }

    fn open(id: &BreakId, sequence: Sequence, record: &Record) -> Option<Break> {
        let (_, discrepancy) = record.fact.breaks(sequence).find(|(opened, _)| opened == id)?;
        // An explained difference is in the record that found it. A row of its own would never change, and every start would
        // read those of all settlements.
        (!is_explained(discrepancy)).then(|| Break::opened(*id, record.at, discrepancy.clone()))
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A resolved break does not change.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence <= self.sequence || !self.is_open() {
            return;
        }
        let reason = match &record.fact {
            Fact::BreakResolved { reason, .. } => reason.clone(),
            fact if self.is_explained(fact) => reason_of(fact),
            _ => return,
        };
        let by = match &record.author {
            Author::Person { name, .. } => name.clone(),
            Author::Ur | Author::Engine | Author::PartnerApi => CompactString::const_new(RULE),
        };
        self.resolved = Some(Resolution { at: record.at, by, reason, outcome: outcome_of(&record.fact) });
        self.sequence = sequence;
    }

    fn is_open(&self) -> bool {
        self.resolved.is_none()
    }
}

impl Stored for Break {
    const TABLE: Table = Table::Breaks;
}
