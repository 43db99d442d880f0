//! Breaks in the ledger: at most one open per kind and subject.

use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, not_found};
use crate::fact::{Author, Discrepancy, Fact};
use crate::ids::{BreakId, Sequence};
use crate::journal::{Settles, Word};
use crate::ledger::Ledger;
use crate::ledger::commit::append;
use crate::time::{Moment, UnixMillis};

impl Ledger {
    /// Opens a break, unless the same one is open.
    ///
    /// # Errors
    /// It was not opened.
    pub fn open_break(&self, discrepancy: Discrepancy, now: Moment) -> Result<Option<Arc<Word>>, ChangeError> {
        let _shared = self.read_shared();
        let mut breaks = self.lock_breaks();
        if breaks.is_open(discrepancy.kind, &discrepancy.subject) {
            return Ok(None);
        }
        let permit = self.journal.reserve()?;
        let at = self.stamp(now);
        let word = Word::pending();
        let fact = Fact::BreakOpened(Box::new(discrepancy));
        let (sequence, fact) = append(permit, Author::Engine, at, fact, Settles::Decision(Arc::clone(&word)));
        breaks.open(sequence, at, &fact);
        Ok(Some(word))
    }

    /// Explains a break.
    pub(in crate::ledger) fn resolve_break(
        &self,
        author: &Author,
        at: UnixMillis,
        id: BreakId,
        reason: CompactString,
    ) -> Result<Arc<Word>, ChangeError> {
        let _shared = self.read_shared();
        let mut breaks = self.lock_breaks();
        let found = breaks.get_mut(id).ok_or_else(|| not_found("open break", &id))?;
        if let Some(resolved) = &found.resolved {
            return Err(ChangeError::Conflict(format!("break {id} was resolved by {}", resolved.by)));
        }
        let permit = self.journal.reserve()?;
        let word = Word::pending();
        let fact = Fact::BreakResolved { id, reason };
        let (sequence, fact) = append(permit, author.clone(), at, fact, Settles::Decision(Arc::clone(&word)));
        if let Fact::BreakResolved { reason, .. } = &fact {
            found.resolve(sequence, at, author, reason);
        }
        Ok(word)
    }

    pub(in crate::ledger) fn note_breaks(&self, sequence: Sequence, at: UnixMillis, fact: &Fact) {
        if fact.breaks(sequence).next().is_some() {
            self.lock_breaks().open(sequence, at, fact);
        }
    }
}
