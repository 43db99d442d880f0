//! Ends a day of the journal: what ages by time goes by a record, never by when a thread ran.
//!
//! A user's row folds alone, so a user has a record of its own. One record a day for all users, folded by each row at its
//! next touch, would make rows on disk depend on which of them were touched; and a busy user needs none, because every
//! spend drops what is older than its windows. So each spend costs at most one record more in its life. Decisions read
//! exact windows whether or not a row has aged.

use std::sync::PoisonError;

use super::Ledger;
use super::commit::{CommitError, fold};
use super::write_rows::BATCH;
use crate::fact::{Author, Fact};
use crate::ids::{Sequence, UrId};
use crate::journal::NoPlace;
use crate::rows::{KeyRow, Row, SPENDS_KEPT_SECONDS, Stored, User, each_stored};
use crate::store::StoreError;
use crate::time::{Moment, UnixMillis, UnixSeconds};

/// A day of the journal.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

const DAY_SECONDS: i64 = 24 * 3600;

impl Ledger {
    /// Ends a day if the last one ended 24 hours ago: forgets idempotency keys older than the day before, and drops what no
    /// window of a user can include. Rests after each batch, so that decisions keep running. Returns the number of users.
    ///
    /// # Errors
    /// The store failed; the process must stop.
    pub fn age_with_rests(&self, now: Moment, rest: &mut dyn FnMut()) -> Result<usize, StoreError> {
        if !now.trusted {
            return Ok(0);
        }
        let at = self.stamp(now);
        let ended = self.end_day(at);
        let users = if ended { self.age_users(at, rest)? } else { 0 };
        self.collect_keys(rest)?;
        Ok(users)
    }

    /// Whether a day ended.
    fn end_day(&self, at: UnixMillis) -> bool {
        let mut admin = self.lock_admin();
        let aged = admin.aged;
        if aged.sequence > Sequence::ZERO && aged.at.0.saturating_add(DAY_MILLIS) > at.0 {
            return false;
        }
        // Every key of a record before the last day's end is a day old.
        let fact = Fact::Aged { keys_through: aged.sequence };
        let committed = self.commit(self.read_shared(), &Author::Engine, at, fact, |_, sequence, record| {
            admin.aged.apply(sequence, record.at, &record.fact);
            self.lock_keys().drop_through(aged.sequence);
        });
        // Without a place the day ends at the next turn.
        committed.is_ok()
    }

    fn age_users(&self, at: UnixMillis, rest: &mut dyn FnMut()) -> Result<usize, StoreError> {
        let before = at.seconds().plus(-SPENDS_KEPT_SECONDS);
        let quiet_since = at.seconds().plus(-DAY_SECONDS);
        // Copies the few ids; each shard of the map is held for microseconds.
        let ageing = |user: &User| {
            let is_quiet = user.spends().newest().is_some_and(|at| at < quiet_since);
            is_quiet && user.spends().ages(before, UnixSeconds(i64::MAX)) || user.ages_quietly(at.seconds())
        };
        let ids: Vec<UrId> = self.users.iter().filter(|row| ageing(row.value())).map(|row| row.key().clone()).collect();
        for batch in ids.chunks(BATCH) {
            for id in batch {
                self.age_user(id, at, before, at)?;
            }
            rest();
        }
        Ok(ids.len())
    }

    /// Ages one user, unless nothing of it ages. Waits where the journal has no place: decisions need it more.
    pub(super) fn age_user(
        &self,
        id: &UrId,
        at: UnixMillis,
        before: UnixSeconds,
        latest: UnixMillis,
    ) -> Result<(), StoreError> {
        loop {
            let shared = self.read_shared();
            let Some(mut row) = self.users.get_mut(id) else { return Ok(()) };
            if !row.ages(before, latest, at.seconds()) {
                return Ok(());
            }
            let fact = Fact::UserAged { user: id.clone(), before, latest };
            match self
                .commit(shared, &Author::Engine, at, fact, |_, sequence, record| fold(&mut **row, sequence, record))
            {
                Ok(_) => return Ok(()),
                Err(CommitError::NoPlace(NoPlace::Full)) => drop(row),
                Err(error) => return Err(StoreError::Failed(error.to_string())),
            }
            self.await_durable(self.journal.claimed())?;
        }
    }

    /// Deletes the rows of forgotten keys from the disk, once for each day that ended. They are deleted only once the
    /// record that forgets them is durable: else a crash would make the journal know a key that no row holds.
    fn collect_keys(&self, rest: &mut dyn FnMut()) -> Result<(), StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let aged = self.lock_admin().aged;
        if aged.keys_through <= tail.keys_collected {
            return Ok(());
        }
        self.await_durable(aged.sequence)?;
        let (mut over, mut read) = (Vec::new(), 0);
        let mut failed = Ok(());
        each_stored(&*self.store, &mut |key, row: KeyRow| {
            if row.sequence() <= aged.keys_through {
                over.push(crate::rows::RowKey::bytes(&key).to_vec());
            }
            read += 1;
            if over.len() == BATCH && failed.is_ok() {
                failed = self.store.delete_rows(KeyRow::TABLE, &over);
                over.clear();
            }
            if read % BATCH == 0 {
                rest();
            }
        })?;
        failed?;
        self.store.delete_rows(KeyRow::TABLE, &over)?;
        tail.keys_collected = aged.keys_through;
        Ok(())
    }
}
