//! The queue between decisions and the disk: a ring of places, claimed in order and filled as records are encoded.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crossbeam::utils::CachePadded;

use super::Journal;
use super::ticket::Ticket;
use super::writer::GROUP_RECORDS_MAX;
use crate::ids::Sequence;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, Place, fence};

/// Maximum records claimed and not yet durable. At 200 bytes each a full queue is 13 MB; at 100,000 decisions a second
/// it is more than half a second of work, beyond which shedding serves the caller better.
pub const QUEUE_RECORDS_MAX: u64 = if cfg!(tapgate_loom) {
    8
} else if cfg!(tapgate_shuttle) {
    64
} else {
    65_536
};

/// The queue has no place for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The bound is reached: shed the request, retry later.
    #[error("the journal's queue is full")]
    Full,
    /// The journal failed or is closing: it accepts no more records.
    #[error("the journal is not available")]
    Unavailable,
}

/// The waiter that a durable record resolves.
#[derive(Debug, Default)]
pub enum Resolves {
    #[default]
    Nothing,
    /// A record whose waiter waits for as long as it takes.
    Change(Arc<Ticket>),
    /// A decision: its waiter may give up, and the place of its release is reserved with its own.
    Decision(Arc<Ticket>),
    /// The release of a late decision.
    Release(Arc<Ticket>),
}

#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) payload: Vec<u8>,
    pub(super) resolves: Resolves,
}

/// A record as it travels between threads: its memory stays where it is.
pub(super) type Travelling = Box<Published>;

/// A place in the ring: empty, or one published record.
pub(super) type Slot = Place<Published>;

pub(super) struct Queue {
    /// [`QUEUE_RECORDS_MAX`] of them.
    pub(super) slots: Box<[Slot]>,
    /// The last place claimed.
    pub(super) claimed: CachePadded<AtomicU64>,
    /// Places reserved or claimed and not yet durable.
    pub(super) occupied: CachePadded<AtomicU64>,
    /// The last durable place.
    pub(super) durable: CachePadded<AtomicU64>,
    /// The last place whose waiter has been told, at or behind the last durable one.
    pub(super) settled: CachePadded<AtomicU64>,
    pub(super) idle: AtomicBool,
    pub(super) closing: AtomicBool,
    pub(super) failed: AtomicBool,
    /// Readers that wait for a place to be durable, one ticket a place: bounded by the queue, because each place is
    /// claimed and not durable.
    pub(super) awaited: Mutex<BTreeMap<Sequence, Arc<Ticket>>>,
    /// Records that were written, without their bytes: their memory is used again, and no thread frees what another
    /// allocated.
    pub(super) spare: Mutex<Vec<Travelling>>,
}

/// Spare records kept: two groups, one being filled while the other is written.
const SPARE_MAX: usize = 2 * GROUP_RECORDS_MAX;

/// Spare records that a thread takes at once.
const TAKEN_AT_ONCE: usize = 64;

/// Bytes of a spare record kept: a rare large one gives its memory back.
const SPARE_BYTES_MAX: usize = 1_024;

thread_local! {
    /// Spare records of this thread.
    static SPARE: RefCell<Vec<Travelling>> = const { RefCell::new(Vec::new()) };
}

impl Queue {
    /// A record to be filled.
    fn spare(&self) -> Travelling {
        if cfg!(any(tapgate_loom, tapgate_shuttle)) {
            // What a thread kept of the order before would make the next one different.
            return Travelling::default();
        }
        SPARE.with_borrow_mut(|own| {
            if own.is_empty() {
                let mut shared = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
                let rest = shared.len().saturating_sub(TAKEN_AT_ONCE);
                own.extend(shared.drain(rest..));
            }
            own.pop().unwrap_or_default()
        })
    }

    /// Keeps the memory of records that were written.
    pub(super) fn keep(&self, written: impl Iterator<Item = Travelling>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SPARE_MAX.saturating_sub(spare.len());
        spare.extend(written.filter(|record| record.payload.capacity() <= SPARE_BYTES_MAX).take(room));
    }

    /// The slot of a record. Every sequence has one: a record is never dropped for lack of a slot.
    #[expect(clippy::indexing_slicing, reason = "the index is below the ring's length")]
    pub(super) fn slot(&self, sequence: Sequence) -> &Slot {
        &self.slots[(sequence.0 % QUEUE_RECORDS_MAX) as usize]
    }

    /// The ticket of everything up to `sequence`; `None` if it is durable.
    pub(super) fn await_durable(&self, sequence: Sequence) -> Option<Arc<Ticket>> {
        // The writer moves `durable` or `failed` before it takes this lock: either it finds the ticket, or the new state
        // is seen here.
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if self.durable.load(Ordering::Acquire) >= sequence.0 {
            return None;
        }
        let ticket = awaited.entry(sequence).or_insert_with(Ticket::pending);
        if self.failed.load(Ordering::Acquire) {
            ticket.failed();
        }
        Some(Arc::clone(ticket))
    }

    /// Resolves the tickets of durable places, or all of them after a failure.
    pub(super) fn resolve_awaited(&self) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Acquire) {
            for ticket in awaited.values() {
                ticket.failed();
            }
            return;
        }
        let rest = awaited.split_off(&Sequence(self.durable.load(Ordering::Acquire)).next());
        let durable = std::mem::replace(&mut *awaited, rest);
        drop(awaited);
        for ticket in durable.values() {
            ticket.record_durable();
        }
    }
}

/// Places that a decision reserves: its record's, and that of its release. So a full queue never makes a late decision
/// one whose end is unknown.
pub(super) const DECISION_PLACES: u64 = 2;

/// A reserved place in the queue: its record can no longer be refused. Dropping the permit gives it back.
#[derive(Debug)]
pub struct Permit<'a> {
    pub(super) journal: &'a Journal,
    pub(super) places: u64,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.journal.queue.occupied.fetch_sub(self.places, Ordering::AcqRel);
    }
}

/// A claimed place: the record's sequence. The holder must publish it; the journal waits until then.
#[derive(Debug)]
#[must_use = "the journal waits for every claimed record"]
pub struct Claim<'a> {
    pub(super) journal: &'a Journal,
    pub sequence: Sequence,
}

impl<'a> Permit<'a> {
    /// Claims the next place in the journal.
    pub fn claim(self) -> Claim<'a> {
        let journal = self.journal;
        // The places stay occupied until the record is durable.
        std::mem::forget(self);
        let sequence = Sequence(journal.queue.claimed.fetch_add(1, Ordering::AcqRel) + 1);
        Claim { journal, sequence }
    }
}

impl Claim<'_> {
    /// Hands the record to the journal thread.
    ///
    /// # Panics
    /// Another record is still in the slot: the queue's bound is broken, and a record would be lost.
    pub fn publish(self, payload: &[u8], resolves: Resolves) {
        let queue = &self.journal.queue;
        let mut published = queue.spare();
        published.payload.clear();
        published.payload.extend_from_slice(payload);
        published.resolves = resolves;
        let before = queue.slot(self.sequence).swap(Some(published));
        assert!(before.is_none(), "record {}: its place in the journal's queue is taken", self.sequence);
        // Pairs with the fence in `Writer::rest`: either it sees the record, or this sees it idle.
        fence(Ordering::SeqCst);
        if queue.idle.load(Ordering::Relaxed) {
            self.journal.writer.wake_by_ref();
        }
    }
}
