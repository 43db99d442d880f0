//! Breaks: differences between what we hold and what UR shows, from the day they open until they are explained.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::fact::{Author, BreakKind, Discrepancy, Fact};
use crate::ids::{BreakId, Sequence};
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

/// The breaks that are open, and those explained lately.
#[derive(Debug, Default)]
pub(crate) struct Breaks(pub(crate) BTreeMap<BreakId, Break>);

impl Breaks {
    pub(crate) fn is_open(&self, kind: BreakKind, subject: &str) -> bool {
        let same = |found: &Break| {
            found.resolved.is_none() && found.discrepancy.kind == kind && found.discrepancy.subject == subject
        };
        self.0.values().any(same)
    }

    pub(crate) fn get_mut(&mut self, id: BreakId) -> Option<&mut Break> {
        self.0.get_mut(&id)
    }

    pub(crate) fn open(&mut self, sequence: Sequence, at: UnixMillis, fact: &Fact) {
        for (id, discrepancy) in fact.breaks(sequence) {
            self.0.insert(id, Break::opened(id, at, discrepancy.clone()));
        }
    }
}
