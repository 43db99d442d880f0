//! Breaks: at most one open per kind and subject.

use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, not_found};
use crate::fact::{Author, Discrepancy, Fact};
use crate::ids::BreakId;
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::rows::Break;
use crate::store::StoreError;
use crate::time::{Moment, UnixMillis};

impl Ledger {
    /// Opens a break, unless one of the same kind and subject is open.
    ///
    /// # Errors
    /// The break was not opened.
    pub fn open_break(&self, discrepancy: Discrepancy, now: Moment) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let Discrepancy { kind, subject, .. } = &discrepancy;
        let is_same = |found: &Break| found.discrepancy.kind == *kind && found.discrepancy.subject == *subject;
        if shelves.breaks.open().any(is_same) {
            return Ok(None);
        }
        let fact = Fact::BreakOpened(Box::new(discrepancy));
        Ok(Some(self.commit_shelved(shared, shelves, &Author::Engine, self.stamp(now), fact)?))
    }

    /// Resolves a break with a reason.
    pub(in crate::ledger) fn resolve_break(
        &self,
        author: &Author,
        at: UnixMillis,
        id: BreakId,
        reason: CompactString,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let found = shelves.breaks.get(&id).ok_or_else(|| not_found("open break", &id))?;
        if let Some(resolved) = &found.resolved {
            return Err(ChangeError::Conflict(format!("break {id} was resolved by {}", resolved.by)));
        }
        Ok(self.commit_shelved(shared, shelves, author, at, Fact::BreakResolved { id, reason })?)
    }

    /// The open breaks, oldest first.
    #[must_use]
    pub fn open_breaks(&self) -> Vec<Break> {
        self.lock_shelves().breaks.open().cloned().collect()
    }

    /// One break, open or resolved.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn break_by_id(&self, id: BreakId) -> Result<Option<Break>, StoreError> {
        self.read_shelved(&id)
    }
}
