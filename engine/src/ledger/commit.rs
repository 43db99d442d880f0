//! The one commit: gives a fact its place in the journal and orders the changes of memory around it.
//!
//! **Order of change:** a fact that lowers a pool's available figure changes memory first and then claims its place in
//! the journal; a fact that raises one claims first. A decision that spends the raised amount claims later, so every
//! durable prefix of the journal is a legal state. Rows change under their guards, where order cannot be seen.

use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use super::change::ChangeError;
use super::pool::Pool;
use super::{Ledger, Shared};
use crate::fact::{Author, Difference, Fact, RECORD_BYTES_MAX, Record, SourceChange, Touches};
use crate::ids::Sequence;
use crate::journal::{NoPlace, Permit, Resolves, Ticket};
use crate::rows::legal::assert_changed;
use crate::rows::{Row, Shelves};
use crate::sync::{Entry as MapEntry, MutexGuard, ShardedLockReadGuard};
use crate::time::UnixMillis;

/// A fact was not committed; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    #[error("the record of this change would have {bytes} bytes, {RECORD_BYTES_MAX} at most: change less at once")]
    TooLarge { bytes: usize },
}

impl From<CommitError> for ChangeError {
    fn from(error: CommitError) -> ChangeError {
        match error {
            CommitError::NoPlace(error) => ChangeError::NoPlace(error),
            CommitError::TooLarge { .. } => ChangeError::Invalid(error.to_string()),
        }
    }
}

impl Ledger {
    /// Folds a record into the breaks that it opens or ends. Most records touch none, and wait for no shelf.
    pub(super) fn apply_breaks(&self, touches: &Touches<'_>, sequence: Sequence, record: &Record) {
        if !touches.breaks.is_empty() {
            self.lock_shelves().apply(touches, sequence, record);
        }
    }

    /// Reserves a place in the queue and commits the fact. The caller takes the `shared` guard before deciding the
    /// fact; the commit holds it until every row has folded the fact.
    ///
    /// # Errors
    /// The queue has no place, or the record is too large; nothing has changed.
    pub(super) fn commit<G: Deref<Target = Shared>>(
        &self,
        shared: G,
        author: &Author,
        at: UnixMillis,
        fact: Fact,
        apply: impl FnOnce(&mut G, Sequence, &Record),
    ) -> Result<Arc<Ticket>, CommitError> {
        let permit = self.journal.reserve()?;
        let ticket = Ticket::pending();
        let record = Record { at, author: author.clone(), fact };
        let payload = record.encode();
        if payload.len() > RECORD_BYTES_MAX {
            return Err(CommitError::TooLarge { bytes: payload.len() });
        }
        let resolves = Resolves::Change(Arc::clone(&ticket));
        commit_reserved(permit, shared, &record, &payload, resolves, |shared, sequence, record| {
            apply(shared, sequence, record);
            if let Author::Person { idempotency: Some(_), .. } = &record.author {
                self.lock_keys().apply(&record.touches(sequence), sequence, record);
            }
        });
        Ok(ticket)
    }

    /// Commits a fact that touches shelves only.
    ///
    /// # Errors
    /// As for [`Ledger::commit`].
    pub(super) fn commit_shelved(
        &self,
        shared: ShardedLockReadGuard<'_, Shared>,
        mut shelves: MutexGuard<'_, Shelves>,
        author: &Author,
        at: UnixMillis,
        fact: Fact,
    ) -> Result<Arc<Ticket>, CommitError> {
        self.commit(shared, author, at, fact, |_, sequence, record| {
            shelves.apply(&record.fact.touches(sequence), sequence, record);
        })
    }
}

/// Commits a record whose place was reserved before the decision. Nothing can fail from here on: a decision's record and
/// a release have lists with bounds, and fit.
pub(super) fn commit_reserved<G: Deref<Target = Shared>, T>(
    permit: Permit<'_>,
    mut shared: G,
    record: &Record,
    payload: &[u8],
    resolves: Resolves,
    apply: impl FnOnce(&mut G, Sequence, &Record) -> T,
) -> T {
    debug_assert!(payload.len() <= RECORD_BYTES_MAX, "a record of {} bytes", payload.len());
    shared.lower_pools(&record.fact);
    let claim = permit.claim();
    let sequence = claim.sequence;
    claim.publish(payload, resolves);
    let applied = apply(&mut shared, sequence, record);
    shared.raise_pools(sequence, &record.fact);
    applied
}

/// Folds a record into a row that it touches, and asserts the row's invariants.
#[track_caller]
pub(super) fn fold<R: Row>(row: &mut R, sequence: Sequence, record: &Record) {
    row.apply(sequence, record);
    assert_changed(sequence, row.sequence(), row.check(&record.fact));
}

/// Folds a record into the place of a row that it touches, as [`crate::rows::Shelf::apply`] does.
pub(super) fn fold_into<R: Row>(place: MapEntry<'_, R::Key, Box<R>>, sequence: Sequence, record: &Record)
where
    R::Key: Hash,
{
    match place {
        MapEntry::Occupied(mut row) => fold(&mut **row.get_mut(), sequence, record),
        MapEntry::Vacant(place) => {
            R::open(place.key(), sequence, record).map(|row| place.insert(Box::new(row)));
        }
    }
}

impl Shared {
    /// Lowers available figures, before the record claims its place. A decision already took from its pool while
    /// deciding; a report or a credit replaces figures while no decision runs.
    fn lower_pools(&self, fact: &Fact) {
        if is_first(fact) {
            return;
        }
        for (_, change, pool) in self.pool_changes(fact) {
            pool.lower(change);
        }
    }

    /// Raises available figures, after the record has claimed its place.
    fn raise_pools(&self, sequence: Sequence, fact: &Fact) {
        if is_first(fact) {
            return;
        }
        for (difference, change, pool) in self.pool_changes(fact) {
            pool.raise(sequence, change, difference);
        }
    }

    fn pool_changes<'a>(
        &'a self,
        fact: &'a Fact,
    ) -> impl Iterator<Item = (&'a Difference, &'a SourceChange, &'a Pool)> {
        let differences = fact.differences();
        differences.flat_map(move |difference| {
            let pools = difference.pools.iter();
            pools.filter_map(move |change| Some((difference, change, self.pool(change.currency)?)))
        })
    }
}

/// A decision that no evidence came before: the usual one.
pub(super) fn is_first(fact: &Fact) -> bool {
    matches!(fact, Fact::Decided(decided) if decided.settled.is_none())
}
