//! Breaks: differences between what we hold and what UR shows, from the day they open until they are explained.

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::Sequence;
use crate::posting::{BreakKind, Discrepancy};
use crate::record::{Author, BreakId};
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

    /// Explains it, unless it is explained already.
    pub fn resolve(&mut self, sequence: Sequence, at: UnixMillis, author: &Author, reason: &CompactString) {
        if sequence > self.sequence && self.resolved.is_none() {
            let by = match author {
                Author::Person { name, .. } => name.clone(),
                Author::Ur | Author::Engine => CompactString::const_new(RULE),
            };
            self.resolved = Some(Resolution { at, by, reason: reason.clone() });
            self.sequence = sequence;
        }
    }
}

/// Who resolves what nobody needs to look at.
const RULE: &str = "rule";

/// Not a break's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a break's id is a record's number and its own, such as 1200-0")]
pub struct BreakIdError;

impl fmt::Display for BreakId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.opened, self.number)
    }
}

impl FromStr for BreakId {
    type Err = BreakIdError;

    fn from_str(text: &str) -> Result<Self, BreakIdError> {
        let (opened, number) = text.split_once('-').ok_or(BreakIdError)?;
        let opened = opened.parse().map(Sequence).map_err(|_| BreakIdError)?;
        let id = BreakId { opened, number: number.parse().map_err(|_| BreakIdError)? };
        if id.to_string() == text { Ok(id) } else { Err(BreakIdError) }
    }
}
