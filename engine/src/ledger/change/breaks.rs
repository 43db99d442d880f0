//! Breaks: at most one open per kind and subject.

use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, not_found};
use crate::fact::{Author, BreakAnswer, Closing, Discrepancy, Fact};
use crate::ids::{AuthorizationId, BreakId};
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::rows::{Break, Shelves};
use crate::store::StoreError;
use crate::time::{Moment, UnixMillis};

/// Refuses what a person says about a break that is not open.
fn check_open(shelves: &Shelves, id: BreakId) -> Result<(), ChangeError> {
    let found = shelves.breaks.get(&id).ok_or_else(|| not_found("open break", &id))?;
    match &found.resolved {
        None => Ok(()),
        Some(resolved) => Err(ChangeError::Conflict(format!("break {id} was resolved by {}", resolved.by))),
    }
}

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
        check_open(&shelves, id)?;
        Ok(self.commit_shelved(shared, shelves, author, at, Fact::BreakResolved { id, reason })?)
    }

    /// Resolves a break with the outcome of the question that UR leaves open about its authorization.
    pub(in crate::ledger) fn answer_break(
        &self,
        author: &Author,
        at: UnixMillis,
        root: &AuthorizationId,
        closing: Closing,
        answer: BreakAnswer,
    ) -> Result<Arc<Ticket>, ChangeError> {
        // Changes by people are made one at a time, and a rule that ends the break leaves nothing to answer.
        check_open(&self.lock_shelves(), answer.id)?;
        self.close_question(author, at, root, closing, Some(answer))
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
