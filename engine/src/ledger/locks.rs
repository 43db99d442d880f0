//! The guards, each taken in one place.
//!
//! **Locks, in their one order:** `admin` (changes by people, one at a time) → `matching` (one movement of a user at a
//! time) → `postings` → `shared` (state of all decisions; read by decisions through a sharded lock, written only by
//! changes to the program and its pools) → `ids` (an id and its root, in the order of their shards) → `users` →
//! `shelves` → `keys`. Never two guards of users, never one across an await: nothing here is async.

use std::sync::PoisonError;

use super::{Admin, Ledger, Shared};
use crate::ids::{Sequence, UrId};
use crate::journal::Durability;
use crate::rows::{KeyRow, Postings, Shelf, Shelves};
use crate::store::StoreError;
use crate::sync::{MutexGuard, ShardedLockReadGuard, ShardedLockWriteGuard};

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

    pub(super) fn lock_postings(&self) -> MutexGuard<'_, Postings> {
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
        match self.journal.await_durable(sequence).map(|ticket| self.journal.block_on(&ticket)) {
            None | Some(Durability::Durable | Durability::Released) => Ok(()),
            Some(Durability::Failed) => Err(StoreError::Failed("the journal has failed".to_owned())),
        }
    }
}
