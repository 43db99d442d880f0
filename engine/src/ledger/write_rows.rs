//! Rows follow the journal lazily: a tail collects the rows that records touched, writes their current state, and then
//! moves the watermark. Then the ids of those records leave memory: the index on disk leads to them.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use compact_str::CompactString;

use super::Ledger;
use super::pool::Pool;
use crate::fact::Fact;
use crate::ids::{Sequence, UrId};
use crate::rows::encoding::encode;
use crate::rows::index::{EntryKey, IndexSum, entry_bytes};
use crate::rows::{CallersKey, KeyRow, PROGRAM_KEY, PoolRow, PostingRow, ProgramRow, Row, User, encode_row};
use crate::store::{Original, RowBytes, StoreError, StoredTree, Table};
use crate::sync::Ordering;
use crate::time::UnixMillis;
use crate::tree::Span;

/// Records whose rows are written in one pass, in key order.
const RECORDS_MAX: usize = 50_000;

/// Records per turn: each user's row is written once per turn, however many of these records touched it.
const RECORDS_IN_TURN: usize = 500_000;

/// Rows per write and records per read: mostly less than a millisecond of work, in memory that the next batch reuses.
pub(super) const BATCH: usize = 128;

/// Position of the tail.
#[derive(Debug)]
pub(super) struct Progress {
    /// Every row on disk holds at least the records up to here.
    pub(super) watermark: Sequence,
    /// No key used up to here has a row on disk. Zero at a start: the first turn looks again.
    pub(super) keys_collected: Sequence,
    /// Of the index of ids on disk.
    pub(super) index: IndexSum,
}

impl Progress {
    pub(super) fn at(watermark: Sequence, index: IndexSum) -> Progress {
        Progress { watermark, keys_collected: Sequence::ZERO, index }
    }
}

/// Result of one turn of the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsWritten {
    pub rows: usize,
    /// Every row on disk now holds at least the records up to here.
    pub watermark: Sequence,
    /// Whether more records wait for another turn.
    pub more: bool,
}

/// Keys of the rows that a run of records touched, with repeats until sorted.
#[derive(Default)]
struct Touched {
    /// The index of ids, with the last record about each.
    entries: Vec<(EntryKey, Sequence)>,
    postings: Vec<CompactString>,
    keys: Vec<CallersKey>,
}

/// Sorts in key order, which is cheapest for the store, and removes repeats.
fn in_order<T: Ord>(touched: &mut Vec<T>) -> &[T] {
    touched.sort_unstable();
    touched.dedup();
    touched
}

impl Ledger {
    /// Writes the rows that the next records touched and moves the watermark past those records.
    ///
    /// # Errors
    /// The store failed; the process must stop.
    pub fn write_rows(&self) -> Result<RowsWritten, StoreError> {
        self.write_rows_with_rests(&mut || {})
    }

    /// As [`Ledger::write_rows`], with a rest after about each millisecond of work, so that decisions keep running.
    ///
    /// # Errors
    /// As there.
    pub fn write_rows_with_rests(&self, rest: &mut dyn FnMut()) -> Result<RowsWritten, StoreError> {
        self.write_rows_of(RECORDS_IN_TURN, rest)
    }

    /// As [`Ledger::write_rows`], of about so many records.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "testing")]
    pub fn write_some_rows(&self, most: usize) -> Result<RowsWritten, StoreError> {
        self.write_rows_of(most, &mut || {})
    }

    fn write_rows_of(&self, most: usize, rest: &mut dyn FnMut()) -> Result<RowsWritten, StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (cut, mut rows) = self.cut()?;
        if cut == tail.watermark {
            return Ok(RowsWritten { rows: 0, watermark: cut, more: false });
        }
        self.await_durable(cut)?;
        let (mut users, mut ids, mut watermark, mut read, mut written) = (Vec::new(), Vec::new(), tail.watermark, 0, 0);
        let seed = self.store.id_seed();
        // Within a tile nobody knows the frontier after a record whose hash is hidden.
        let mut hidden_through = Sequence::ZERO;
        while watermark < cut && (read < most || watermark < hidden_through) {
            let mut touched = Touched::default();
            let (after, upto) = (watermark, read + most.min(RECORDS_MAX));
            self.records(after, &mut |sequence, record| {
                let touches = record.touches(sequence);
                if matches!(&record.fact, Fact::RecordQuarantined(quarantined) if quarantined.original == Original::Hashed) {
                    hidden_through = Sequence(Span::tile_of(sequence.0).last());
                }
                for (id, subject) in tail.index.apply(seed, sequence, &record.fact) {
                    touched.entries.push((id.entry(subject), sequence));
                    ids.push(id);
                }
                touched.postings.extend(PostingRow::touched(&touches));
                touched.keys.extend(KeyRow::touched(&touches));
                users.extend(User::touched(&touches));
                watermark = sequence;
                read += 1;
                if read % BATCH == 0 {
                    rest();
                }
                if read == upto || sequence >= cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            written += self.put_index(in_order(&mut touched.entries), rest)?;
            written += self.put(in_order(&mut touched.postings), rest, Self::encode_posting)?;
            written += self.put(in_order(&mut touched.keys), rest, Self::encode_key)?;
        }
        // Users' rows are the largest and the most often touched: write each once for all of these records.
        written += self.put(in_order(&mut users), rest, Self::encode_user)?;
        // Few rows, and every changed one is in memory: no need to collect keys.
        let newest = self.lock_shelves().encode_changed(tail.watermark, &mut |row| rows.push(row))?;
        self.await_durable(newest)?;
        let frontier = StoredTree::of(&*self.store)?.frontier(watermark)?;
        rows.push(tail.index.encode()?);
        self.store.write_rows(&rows, &frontier)?;
        written += rows.len();
        self.lock_postings().forget(watermark);
        self.lock_keys().forget(watermark);
        self.lock_shelves().forget(watermark);
        tail.watermark = watermark;
        // The next message about one of them is rare, and reads its records from the disk. Such an answer has no ticket and
        // may be sent at once, so that the waiters of these records must have been told first.
        self.journal.wait_settled(watermark);
        self.ids.evict(ids, watermark, rest);
        Ok(RowsWritten { rows: written, watermark, more: watermark < cut })
    }

    /// Makes survive the machine's end what says up to where the journal reaches: call it once a second. It waits for the
    /// disk, and no decision waits for it.
    ///
    /// # Errors
    /// The disk failed: the process is to stop, as after a failed append.
    pub fn sync_head(&self) -> Result<(), StoreError> {
        self.store.sync_head()
    }

    /// Closes the ledger: makes every claimed record durable, writes all rows, and closes the store. The next start
    /// then has nothing to fold.
    ///
    /// # Errors
    /// The store failed; the journal then holds records that the rows do not.
    pub fn close(&self) -> Result<(), StoreError> {
        self.journal.close();
        while self.write_rows()?.more {}
        self.store.sync_head()?;
        self.store.close();
        Ok(())
    }

    /// Encodes the current rows of these keys and writes them in batches; returns their number. `encode_one` returns
    /// the newest record in the row, or `None` where memory has no such row.
    fn put<T>(
        &self,
        keys: &[T],
        rest: &mut dyn FnMut(),
        encode_one: impl Fn(&Self, &T) -> Result<Option<(Sequence, RowBytes)>, StoreError>,
    ) -> Result<usize, StoreError> {
        let mut written = 0;
        for some in keys.chunks(BATCH) {
            let mut newest = Sequence::ZERO;
            let mut rows = Vec::with_capacity(some.len());
            for key in some {
                let Some((sequence, row)) = encode_one(self, key)? else { continue };
                newest = newest.max(sequence);
                rows.push(row);
            }
            // A row may already hold records after the cut; it must not reach the disk before they do.
            self.await_durable(newest)?;
            self.store.put_rows(&rows)?;
            written += rows.len();
            rest();
        }
        Ok(written)
    }

    /// Writes entries of the index of ids, of each the last; returns their number.
    fn put_index(&self, entries: &[(EntryKey, Sequence)], rest: &mut dyn FnMut()) -> Result<usize, StoreError> {
        for some in entries.chunks(BATCH) {
            // In the order of their records: the last write of a key stays.
            let rows: Vec<RowBytes> = some.iter().map(|(key, sequence)| entry_bytes(*key, *sequence)).collect();
            self.store.put_rows(&rows)?;
            rest();
        }
        Ok(entries.len())
    }

    /// The program's and the pools' rows, which have no guard of their own, at one place of the journal: taken while no
    /// decision and no change runs.
    fn cut(&self) -> Result<(Sequence, Vec<RowBytes>), StoreError> {
        let admin = self.lock_admin();
        let shared = self.stop_decisions();
        let cut = self.journal.claimed();
        let at = UnixMillis(self.latest.load(Ordering::Acquire));
        let figures: Vec<_> = shared.pools.iter().map(Pool::figures).collect();
        let program = ProgramRow { sequence: cut, program: shared.program.clone(), aged: admin.aged, at };
        drop(shared);
        drop(admin);
        let mut rows = vec![encode(Table::Program, PROGRAM_KEY, &program)?];
        for figures in figures {
            let key = figures.currency;
            rows.push(encode_row(&key, &PoolRow { sequence: cut, figures })?);
        }
        Ok((cut, rows))
    }

    fn encode_user(&self, id: &UrId) -> Result<Option<(Sequence, RowBytes)>, StoreError> {
        let Some(user) = self.users.get(id) else { return Ok(None) };
        Ok(Some((user.sequence, encode_row(id, &**user)?)))
    }

    fn encode_posting(&self, place: &CompactString) -> Result<Option<(Sequence, RowBytes)>, StoreError> {
        self.read_posting(place, |row| Ok((row.sequence, encode_row(place, row)?)))?.transpose()
    }

    fn encode_key(&self, key: &CallersKey) -> Result<Option<(Sequence, RowBytes)>, StoreError> {
        let keys = self.lock_keys();
        let Some(made) = keys.get(key) else { return Ok(None) };
        Ok(Some((made.sequence, encode_row(key, made)?)))
    }
}
