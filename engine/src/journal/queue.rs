//! The queue between decisions and the disk: a ring of places, claimed in order and filled as records are encoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crossbeam::atomic::AtomicCell;
use crossbeam::utils::CachePadded;

use super::Journal;
use super::ticket::Ticket;
use crate::ids::Sequence;

/// Maximum records claimed and not yet durable. At 200 bytes each a full queue is 13 MB; at 100,000 decisions a second
/// it is more than half a second of work, beyond which shedding serves the caller better.
pub const QUEUE_RECORDS_MAX: u64 = 65_536;

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
#[derive(Debug)]
pub enum Resolves {
    Nothing,
    /// A decision, or any other record with a waiter.
    Decision(Arc<Ticket>),
    /// The release of a late decision.
    Release(Arc<Ticket>),
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) payload: Vec<u8>,
    pub(super) resolves: Resolves,
}

/// A place in the ring: empty, or one published record.
pub(super) type Slot = AtomicCell<Option<Box<Published>>>;

const _: () = assert!(Slot::is_lock_free(), "a slot is one pointer");

pub(super) struct Queue {
    /// [`QUEUE_RECORDS_MAX`] of them.
    pub(super) slots: Box<[Slot]>,
    /// The last place claimed.
    pub(super) claimed: CachePadded<AtomicU64>,
    /// Places reserved or claimed and not yet durable.
    pub(super) occupied: CachePadded<AtomicU64>,
    /// The last durable place.
    pub(super) durable: CachePadded<AtomicU64>,
    pub(super) idle: AtomicBool,
    pub(super) closing: AtomicBool,
    pub(super) failed: AtomicBool,
}

impl Queue {
    /// The slot of a record. Every sequence has one: a record is never dropped for lack of a slot.
    #[expect(clippy::indexing_slicing, reason = "the index is below the ring's length")]
    pub(super) fn slot(&self, sequence: Sequence) -> &Slot {
        &self.slots[(sequence.0 % QUEUE_RECORDS_MAX) as usize]
    }
}

/// A reserved place in the queue: its record can no longer be refused. Dropping the permit releases the place.
#[derive(Debug)]
pub struct Permit<'a> {
    pub(super) journal: &'a Journal,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.journal.queue.occupied.fetch_sub(1, Ordering::AcqRel);
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
        // The place stays occupied until the record is durable.
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
    pub fn publish(self, payload: Vec<u8>, resolves: Resolves) {
        let queue = &self.journal.queue;
        let before = queue.slot(self.sequence).swap(Some(Box::new(Published { payload, resolves })));
        assert!(before.is_none(), "record {}: its place in the journal's queue is taken", self.sequence);
        // Pairs with the fence in `Writer::rest`: either it sees the record, or this sees it idle.
        fence(Ordering::SeqCst);
        if queue.idle.load(Ordering::Relaxed) {
            self.journal.writer.unpark();
        }
    }
}
