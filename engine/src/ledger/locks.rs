//! The guards, each taken in one place.
//!
//! **Locks, in their one order:** `admin` (changes by people, one at a time) → `matching` (one movement of a user at a
//! time) → `postings` → `shared` (state of all decisions; read by decisions through a sharded lock, written only by
//! changes to the program and its pools) → `answers` → `authorizations` → `users` → `shelves` → `keys`. Never two guards
//! in one map, never one across an await: nothing here is async.

use std::sync::{MutexGuard, PoisonError};

use crossbeam::sync::{ShardedLockReadGuard, ShardedLockWriteGuard};
use dashmap::mapref::entry::Entry as MapEntry;

use super::{Admin, AnswerSlot, Ledger, Shared};
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::journal::Durability;
use crate::rows::encoding::load;
use crate::rows::{Answer, Authorization, KeyRow, PostingRow, Shelf, Shelves};
use crate::store::StoreError;

impl Ledger {
    pub(super) fn lock_admin(&self) -> MutexGuard<'_, Admin> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Matches one movement of a user at a time. A decision never takes it.
    pub(super) fn lock_matching(&self, user: &UrId) -> MutexGuard<'_, ()> {
        let shard = self.users.hash_usize(user) % self.matching.len();
        let [first, ..] = &self.matching;
        self.matching.get(shard).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_postings(&self) -> MutexGuard<'_, Shelf<PostingRow>> {
        self.postings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_keys(&self) -> MutexGuard<'_, Shelf<KeyRow>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
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
        match self.journal.await_durable(sequence).map(|ticket| ticket.block()) {
            None | Some(Durability::Durable | Durability::Released) => Ok(()),
            Some(Durability::Failed) => Err(StoreError::Failed("the journal has failed".to_owned())),
        }
    }
}

impl Ledger {
    /// The answer's map entry, under its guard. Loads it from disk under the same guard if memory has none: evicted
    /// rows are on disk, and no thread can change or evict this one meanwhile.
    pub(super) fn answer(
        &self,
        id: &AuthorizationId,
    ) -> Result<MapEntry<'_, AuthorizationId, Box<AnswerSlot>>, StoreError> {
        let place = match self.answers.entry(id.clone()) {
            MapEntry::Vacant(place) => place,
            known => return Ok(known),
        };
        let Some(answer) = load::<Answer>(&*self.store, id)? else {
            return Ok(MapEntry::Vacant(place));
        };
        self.not_ahead(answer.sequence)?;
        Ok(MapEntry::Occupied(place.insert_entry(Box::new(AnswerSlot { answer, ticket: None }))))
    }

    /// The root authorization's map entry, as [`Ledger::answer`].
    pub(super) fn authorization(
        &self,
        root: &AuthorizationId,
    ) -> Result<MapEntry<'_, AuthorizationId, Box<Authorization>>, StoreError> {
        let place = match self.authorizations.entry(root.clone()) {
            MapEntry::Vacant(place) => place,
            known => return Ok(known),
        };
        let Some(row) = load::<Authorization>(&*self.store, root)? else {
            return Ok(MapEntry::Vacant(place));
        };
        self.not_ahead(row.sequence)?;
        Ok(MapEntry::Occupied(place.insert_entry(Box::new(row))))
    }

    /// Checks that a loaded row holds no record that is not durable: such a row is never written.
    fn not_ahead(&self, sequence: Sequence) -> Result<(), StoreError> {
        let durable = self.journal.durable();
        if sequence <= durable {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!("a row holds record {sequence}, and the journal ends at {durable}")))
    }
}
