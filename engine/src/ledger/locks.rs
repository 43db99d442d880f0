//! The guards, each taken in one place.

use std::sync::{MutexGuard, PoisonError};

use crossbeam::sync::{ShardedLockReadGuard, ShardedLockWriteGuard};
use dashmap::mapref::entry::Entry as Place;

use super::{Admin, AnswerSlot, Ledger, Shared};
use crate::ids::{AuthorizationId, Sequence};
use crate::rows::encoding::load;
use crate::rows::{Alerts, Answer, Authorization, Breaks, Closures, Cursors, Postings, Prefunds};
use crate::store::{StoreError, Table};

impl Ledger {
    pub(super) fn lock_admin(&self) -> MutexGuard<'_, Admin> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_breaks(&self) -> MutexGuard<'_, Breaks> {
        self.breaks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_alerts(&self) -> MutexGuard<'_, Alerts> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_prefunds(&self) -> MutexGuard<'_, Prefunds> {
        self.prefunds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_closures(&self) -> MutexGuard<'_, Closures> {
        self.closures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_postings(&self) -> MutexGuard<'_, Postings> {
        self.postings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read_shared(&self) -> ShardedLockReadGuard<'_, Shared> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no decision runs. From then on the journal's last claimed place and memory agree exactly.
    pub(super) fn stop_decisions(&self) -> ShardedLockWriteGuard<'_, Shared> {
        self.shared.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything up to `sequence` is durable.
    pub(super) fn await_durable(&self, sequence: Sequence) -> Result<(), StoreError> {
        while self.journal.durable() < sequence {
            if self.journal.has_failed() {
                return Err(StoreError::Failed("the journal has failed".to_owned()));
            }
            std::thread::park_timeout(std::time::Duration::from_micros(100));
        }
        Ok(())
    }
}

impl Ledger {
    /// The answer's place, under its guard. Where memory has none the disk is asked, under the same guard: what memory
    /// forgot is on disk, and nobody can change it or forget more of it meanwhile.
    pub(super) fn answer(
        &self,
        id: &AuthorizationId,
    ) -> Result<Place<'_, AuthorizationId, Box<AnswerSlot>>, StoreError> {
        let place = match self.answers.entry(id.clone()) {
            Place::Vacant(place) => place,
            known => return Ok(known),
        };
        let Some(answer) = load::<Answer>(&*self.store, Table::Answers, id.as_str().as_bytes())? else {
            return Ok(Place::Vacant(place));
        };
        self.not_ahead(answer.sequence)?;
        Ok(Place::Occupied(place.insert_entry(Box::new(AnswerSlot { answer, word: None }))))
    }

    /// The root authorization's place, as [`Ledger::answer`].
    pub(super) fn authorization(
        &self,
        root: &AuthorizationId,
    ) -> Result<Place<'_, AuthorizationId, Box<Authorization>>, StoreError> {
        let place = match self.authorizations.entry(root.clone()) {
            Place::Vacant(place) => place,
            known => return Ok(known),
        };
        let Some(row) = load::<Authorization>(&*self.store, Table::Authorizations, root.as_str().as_bytes())? else {
            return Ok(Place::Vacant(place));
        };
        self.not_ahead(row.sequence)?;
        Ok(Place::Occupied(place.insert_entry(Box::new(row))))
    }

    /// A row is written only once every record that it holds is durable.
    fn not_ahead(&self, sequence: Sequence) -> Result<(), StoreError> {
        let durable = self.journal.durable();
        if sequence <= durable {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!("a row holds record {sequence}, and the journal ends at {durable}")))
    }
}
