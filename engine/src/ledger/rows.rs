//! Rows follow the journal lazily: a tail that notes which rows records touched, writes their present state, and then
//! moves the watermark. A second cursor forgets, from memory, what has long been on disk.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use compact_str::CompactString;

use super::Ledger;
use super::fold::{CLOSURES_KEY, PROGRAM_KEY, PoolRow, ProgramRow, break_key, record_key, row};
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::journal::{Row, Settled, StoreError, Table};
use crate::pool::Pool;
use crate::record::{BreakId, Fact};
use crate::time::UnixMillis;

/// Records whose rows are written in one go: bounds the batch in memory to tens of megabytes.
const RECORDS_MAX: usize = 50_000;
/// Users whose rows are written once, however many of the records touched them; as many rows in one go.
const USERS_MAX: usize = 500_000;
const USERS_IN_BATCH: usize = 10_000;

/// Where the tail stands.
#[derive(Debug)]
pub(super) struct Tail {
    /// Every row on disk holds at least the records up to here.
    watermark: Sequence,
    /// What the records up to here left in memory was looked at for eviction.
    evicted: Sequence,
}

impl Tail {
    pub(super) fn at(watermark: Sequence) -> Tail {
        Tail { watermark, evicted: watermark }
    }
}

/// What one turn of the tail wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsWritten {
    /// Rows written.
    pub rows: usize,
    /// Every row on disk now holds at least the records up to here.
    pub watermark: Sequence,
    /// Whether more records are waiting for another turn.
    pub more: bool,
}

#[derive(Default)]
struct Touched {
    authorizations: BTreeSet<AuthorizationId>,
    answers: BTreeSet<AuthorizationId>,
    breaks: BTreeSet<BreakId>,
    postings: BTreeSet<CompactString>,
}

impl Touched {
    fn note(&mut self, sequence: Sequence, fact: &Fact) {
        self.breaks.extend(fact.breaks(sequence).map(|(id, _)| id));
        if let Fact::BreakResolved { id, .. } = fact {
            self.breaks.insert(*id);
        }
        if let Fact::Booked(booked) = fact {
            self.postings.insert(booked.posting.place());
        }
        self.authorizations.extend(fact.root().cloned());
        self.answers.extend(fact.answered().cloned());
    }
}

impl Ledger {
    /// Writes the rows that the next records touched and moves the watermark behind them.
    ///
    /// # Errors
    /// The store failed; the process must stop.
    pub fn write_rows(&self) -> Result<RowsWritten, StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (cut, mut rows) = self.cut()?;
        if cut == tail.watermark {
            return Ok(RowsWritten { rows: 0, watermark: cut, more: false });
        }
        self.await_durable(cut)?;
        let (mut users, mut watermark, mut written) = (BTreeSet::new(), tail.watermark, 0);
        while watermark < cut && users.len() < USERS_MAX {
            let mut touched = Touched::default();
            let (after, mut read) = (watermark, 0);
            self.records(after, &mut |sequence, record, _| {
                touched.note(sequence, &record.fact);
                users.extend(record.fact.user().cloned());
                watermark = sequence;
                read += 1;
                if read == RECORDS_MAX || sequence >= cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            written += self.put(|rows| self.encode(&touched, rows))?;
        }
        // A user's row is its largest and the one touched most often: it is written once for all of these records.
        let users: Vec<_> = users.into_iter().collect();
        for some in users.chunks(USERS_IN_BATCH) {
            written += self.put(|rows| self.encode_users(some, rows))?;
        }
        let newest = self.encode_lists(tail.watermark, &mut rows)?;
        self.await_durable(newest)?;
        self.store.write_rows(&rows, watermark)?;
        written += rows.len();
        // What is explained, and on the disk, need not stay in memory.
        self.lock_postings().retain(|_, booked| booked.sequence > watermark);
        self.lock_breaks().0.retain(|_, found| found.resolved.is_none() || found.sequence > watermark);
        self.lock_alerts().0.retain(|_, alert| alert.is_open() || alert.sequence > watermark);
        self.lock_prefunds().0.retain(|_, prefund| prefund.is_open() || prefund.sequence > watermark);
        tail.watermark = watermark;
        Ok(RowsWritten { rows: written, watermark, more: watermark < cut })
    }

    /// Ends: makes durable what has its place in the journal, writes the rows of all of it, and has the store rest. With
    /// these rows the next start has nothing to fold.
    ///
    /// # Errors
    /// The store failed; the journal then holds what the rows do not.
    pub fn close(&self) -> Result<(), StoreError> {
        self.journal.close();
        while self.write_rows()?.more {}
        self.store.close();
        Ok(())
    }

    /// Encodes rows and writes them; returns how many.
    fn put(&self, encode: impl FnOnce(&mut Vec<Row>) -> Result<Sequence, StoreError>) -> Result<usize, StoreError> {
        let mut rows = Vec::new();
        let newest = encode(&mut rows)?;
        // A row may already hold records after the cut; it must not reach the disk before they do.
        self.await_durable(newest)?;
        self.store.put_rows(&rows)?;
        Ok(rows.len())
    }

    /// The rows that have no guard of their own, at one place of the journal: while no decision and no change runs.
    fn cut(&self) -> Result<(Sequence, Vec<Row>), StoreError> {
        let admin = self.lock_admin();
        let shared = self.stop_decisions();
        let cut = self.journal.claimed();
        let at = UnixMillis(self.latest.load(Ordering::Acquire));
        let figures: Vec<_> = shared.pools.iter().map(Pool::figures).collect();
        let program = ProgramRow { sequence: cut, program: shared.program.clone(), keys: admin.keys.clone(), at };
        let closures = row(Table::Program, CLOSURES_KEY, &*self.lock_closures())?;
        drop(shared);
        drop(admin);
        let mut rows = vec![row(Table::Program, PROGRAM_KEY, &program)?, closures];
        for figures in figures {
            let key = figures.currency;
            rows.push(row(Table::Pools, key.as_str().as_bytes(), &PoolRow { sequence: cut, figures })?);
        }
        Ok((cut, rows))
    }

    fn encode_users(&self, users: &[UrId], rows: &mut Vec<Row>) -> Result<Sequence, StoreError> {
        let mut newest = Sequence::ZERO;
        for id in users {
            if let Some(user) = self.users.get(id) {
                newest = newest.max(user.sequence);
                rows.push(row(Table::Users, id.as_str().as_bytes(), &*user)?);
            }
        }
        Ok(newest)
    }

    /// Encodes the rows as they are now; returns the newest record that any of them holds.
    fn encode(&self, touched: &Touched, rows: &mut Vec<Row>) -> Result<Sequence, StoreError> {
        let mut newest = Sequence::ZERO;
        for id in &touched.authorizations {
            if let Some(authorization) = self.authorizations.get(id) {
                newest = newest.max(authorization.sequence);
                rows.push(row(Table::Authorizations, id.as_str().as_bytes(), &*authorization)?);
            }
        }
        for id in &touched.answers {
            if let Some(mut slot) = self.answers.get_mut(id) {
                newest = newest.max(slot.answer.sequence);
                rows.push(row(Table::Answers, id.as_str().as_bytes(), &slot.answer)?);
                // What is durable needs no word any more: the answer alone says it.
                let settled = slot.word.as_ref().and_then(|word| word.settled());
                if matches!(settled, Some(Settled::Durable | Settled::Released)) {
                    slot.word = None;
                }
            }
        }
        let postings = self.lock_postings();
        for (hash, booked) in touched.postings.iter().filter_map(|hash| postings.get_key_value(hash)) {
            newest = newest.max(booked.sequence);
            rows.push(row(Table::Postings, hash.as_bytes(), booked)?);
        }
        drop(postings);
        let breaks = self.lock_breaks();
        for found in touched.breaks.iter().filter_map(|id| breaks.0.get(id)) {
            newest = newest.max(found.sequence);
            rows.push(row(Table::Breaks, &break_key(found.id), found)?);
        }
        Ok(newest)
    }

    /// Few, and all that changed since are in memory: they need no notes.
    fn encode_lists(&self, since: Sequence, rows: &mut Vec<Row>) -> Result<Sequence, StoreError> {
        let mut newest = Sequence::ZERO;
        for alert in self.lock_alerts().0.values().filter(|alert| alert.sequence > since) {
            newest = newest.max(alert.sequence);
            rows.push(row(Table::Alerts, &record_key(alert.id.0), alert)?);
        }
        for prefund in self.lock_prefunds().0.values().filter(|prefund| prefund.sequence > since) {
            newest = newest.max(prefund.sequence);
            rows.push(row(Table::Prefunds, &record_key(prefund.id.0), prefund)?);
        }
        for cursor in self.lock_cursors().0.values().filter(|cursor| cursor.sequence > since) {
            newest = newest.max(cursor.sequence);
            rows.push(row(Table::Cursors, cursor.name.as_bytes(), cursor)?);
        }
        Ok(newest)
    }

    /// Forgets, from memory, answers and authorizations that are on disk and were not touched for 15 minutes. Returns
    /// how many.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn evict(&self, now: UnixMillis) -> Result<usize, StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (watermark, since) = (tail.watermark, Self::kept_since(now));
        let mut old = Vec::new();
        let mut evicted = tail.evicted;
        self.records(tail.evicted, &mut |sequence, record, _| {
            if sequence > watermark || record.at >= since || old.len() == RECORDS_MAX {
                return ControlFlow::Break(());
            }
            old.push((sequence, record.fact.answered().cloned(), record.fact.root().cloned()));
            evicted = sequence;
            ControlFlow::Continue(())
        })?;
        let mut forgotten = 0;
        for (sequence, answered, root) in old {
            let answers =
                answered.and_then(|id| self.answers.remove_if(&id, |_, slot| slot.answer.sequence <= sequence));
            let roots = root.and_then(|id| self.authorizations.remove_if(&id, |_, row| row.sequence <= sequence));
            forgotten += usize::from(answers.is_some()) + usize::from(roots.is_some());
        }
        tail.evicted = evicted;
        Ok(forgotten)
    }
}
