//! Closures of the calendar: few, changed only by people, one at a time.

use std::sync::Arc;

use super::{ChangeError, not_found};
use crate::fact::calendar::{CLOSURE_DAYS_MAX, CLOSURES_MAX, REASON_BYTES_MAX};
use crate::fact::{Author, Closed, Fact};
use crate::ids::ClosureId;
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::rows::{Closure, Row, Shelf};
use crate::time::UnixMillis;

/// A person's change to the calendar.
#[derive(Clone, Debug)]
pub enum ClosureChange {
    /// Add days without credits.
    Add(Closed),
    /// Remove a closure.
    Remove { id: ClosureId },
}

impl Ledger {
    /// The open closures, in the order they were added.
    #[must_use]
    pub fn closures(&self) -> Vec<(ClosureId, Closed)> {
        self.lock_shelves().closures.open().map(|row| (row.id, row.closed.clone())).collect()
    }

    pub(in crate::ledger) fn change_closure(
        &self,
        author: &Author,
        at: UnixMillis,
        change: ClosureChange,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let closures = &shelves.closures;
        let fact = match change {
            ClosureChange::Add(closed) => {
                check(closures, &closed)?;
                Fact::ClosureAdded(closed)
            }
            ClosureChange::Remove { id } => {
                let known = closures.get(&id).is_some_and(Closure::is_open);
                known.then_some(()).ok_or_else(|| not_found("closure", &id))?;
                Fact::ClosureRemoved { id }
            }
        };
        Ok(self.commit_shelved(shared, shelves, author, at, fact)?)
    }
}

fn check(closures: &Shelf<Closure>, closed: &Closed) -> Result<(), ChangeError> {
    let days = closed.through.0.checked_sub(closed.from.0);
    if days.is_none_or(|days| days >= CLOSURE_DAYS_MAX) {
        return Err(ChangeError::Invalid(format!(
            "a closure ends on the day it begins or later, and after {CLOSURE_DAYS_MAX} days at most"
        )));
    }
    if !(1..=REASON_BYTES_MAX).contains(&closed.reason.len()) {
        return Err(ChangeError::Invalid(format!("a closure needs a reason of 1 to {REASON_BYTES_MAX} bytes")));
    }
    if closures.open().any(|row| (row.closed.from, row.closed.through) == (closed.from, closed.through)) {
        return Err(ChangeError::Conflict("these days are closed already".to_owned()));
    }
    if closures.open().count() >= CLOSURES_MAX {
        return Err(ChangeError::Conflict(format!(
            "there are {CLOSURES_MAX} closures: remove those that are over, or use a file of holidays"
        )));
    }
    Ok(())
}
