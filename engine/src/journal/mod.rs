//! The journal: one ordered list of records; one thread appends them in groups, before any answer is sent.
//!
//! A record's place in the bounded queue *is* its sequence. The decision claims it under the guards of the rows it
//! changes, so every row knows its last record. Claiming is one atomic addition; the journal thread takes the records
//! in that order, adds them to the tree and appends them as one group. While it waits for the disk the next group
//! gathers, so there is no added delay.

#[cfg(all(test, tapgate_loom))]
mod models;
mod queue;
mod ticket;
mod writer;

pub use queue::{Claim, NoPlace, Permit, QUEUE_RECORDS_MAX, Resolves};
pub use ticket::{Durability, Ticket, Wait};
pub use writer::{GROUP_RECORDS_MAX, OnFailure};

use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use crossbeam::utils::CachePadded;

use crate::ids::Sequence;
use crate::store::{Store, StoreError, StoredTree};
use crate::sync::thread::{self, JoinHandle, Thread};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Place, fence_of_accesses};
use queue::{DECISION_PLACES, Queue};
use writer::Writer;

/// Dropping the journal writes published records and stops its thread.
pub struct Journal {
    queue: Arc<Queue>,
    /// Woken when a record is published while the writer rests.
    writer: Waker,
    runs: Mutex<Runs>,
}

/// Who has the writer take its turns.
enum Runs {
    /// A thread of its own.
    Thread(JoinHandle<()>),
    /// Whoever calls [`Journal::turn`].
    ByHand(Box<Writer>),
    /// It has ended.
    Ended,
}

/// Wakes the journal's thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("durable", &self.durable()).field("claimed", &self.claimed()).finish()
    }
}

impl Journal {
    /// Starts the journal thread after the last record in `store`.
    ///
    /// # Errors
    /// The store cannot be read, or the thread cannot be started.
    pub fn start(store: Arc<dyn Store>, on_failure: OnFailure) -> Result<Journal, StoreError> {
        let writer = Journal::writer(store, on_failure)?;
        let queue = Arc::clone(writer.queue());
        #[expect(clippy::disallowed_methods, reason = "the journal's thread")]
        let handle = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Failed(format!("the journal thread did not start: {error}")))?;
        let writer = Waker::from(Arc::new(Unpark(handle.thread().clone())));
        Ok(Journal { queue, writer, runs: Mutex::new(Runs::Thread(handle)) })
    }

    /// A journal without a thread: records are written when [`Journal::turn`] is called, and by who waits for them in
    /// [`Journal::block_on`]. A simulation decides when that is. `woken` is told that there is something to write.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn by_hand(store: Arc<dyn Store>, on_failure: OnFailure, woken: Waker) -> Result<Journal, StoreError> {
        let writer = Journal::writer(store, on_failure)?;
        let queue = Arc::clone(writer.queue());
        // Nobody parks, so every published record wakes.
        queue.idle.store(true, Ordering::Release);
        Ok(Journal { queue, writer: woken, runs: Mutex::new(Runs::ByHand(Box::new(writer))) })
    }

    fn writer(store: Arc<dyn Store>, on_failure: OnFailure) -> Result<Writer, StoreError> {
        let head = store.head()?;
        let frontier = StoredTree::of(&*store)?.frontier(head)?;
        let slots = (0..QUEUE_RECORDS_MAX).map(|_| Place::empty()).collect();
        let queue = Arc::new(Queue {
            slots,
            claimed: CachePadded::new(AtomicU64::new(head.0)),
            occupied: CachePadded::new(AtomicU64::new(0)),
            durable: CachePadded::new(AtomicU64::new(head.0)),
            settled: CachePadded::new(AtomicU64::new(head.0)),
            idle: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            awaited: Mutex::default(),
            spare: Mutex::default(),
        });
        Ok(Writer::new(queue, store, frontier, on_failure))
    }

    /// Has a journal [by hand](Journal::by_hand) write what has gathered, at most one group. False if there was nothing,
    /// or a thread does it.
    pub fn turn(&self) -> bool {
        match &mut *self.runs() {
            Runs::ByHand(writer) => writer.turn(),
            Runs::Thread(_) | Runs::Ended => false,
        }
    }

    /// Blocks this thread until a ticket of this journal's is resolved.
    pub fn block_on(&self, ticket: &Ticket) -> Durability {
        while self.turn() {}
        ticket.block()
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place: the step of a change that can fail for lack of room, before any change.
    ///
    /// # Errors
    /// No place is free, or the journal is not available.
    pub fn reserve(&self) -> Result<Permit<'_>, NoPlace> {
        self.reserve_places(1)
    }

    /// Reserves the places of a decision and of its release ([`Resolves::Decision`]).
    ///
    /// # Errors
    /// As for [`Journal::reserve`].
    pub fn reserve_decision(&self) -> Result<Permit<'_>, NoPlace> {
        self.reserve_places(DECISION_PLACES)
    }

    fn reserve_places(&self, places: u64) -> Result<Permit<'_>, NoPlace> {
        // Increment `occupied` first, then read `closing`; the writer reads in the opposite order. So either this
        // thread sees `closing`, or the writer sees the place and waits for its record.
        let before = self.queue.occupied.fetch_add(places, Ordering::SeqCst);
        fence_of_accesses();
        let permit = Permit { journal: self, places };
        if self.queue.failed.load(Ordering::Acquire) || self.queue.closing.load(Ordering::SeqCst) {
            return Err(NoPlace::Unavailable);
        }
        if before + places > QUEUE_RECORDS_MAX { Err(NoPlace::Full) } else { Ok(permit) }
    }

    /// The place of a release, reserved with its decision, whose waiter has just given up.
    pub(crate) fn reserved_release(&self) -> Permit<'_> {
        Permit { journal: self, places: 1 }
    }

    /// The last claimed place.
    #[must_use]
    pub fn claimed(&self) -> Sequence {
        Sequence(self.queue.claimed.load(Ordering::Acquire))
    }

    /// The last durable place.
    #[must_use]
    pub fn durable(&self) -> Sequence {
        Sequence(self.queue.durable.load(Ordering::Acquire))
    }

    /// Waits until the tickets of every place up to a durable one are resolved, which the journal thread does right after
    /// it has made them durable.
    pub(crate) fn wait_settled(&self, sequence: Sequence) {
        while self.queue.settled.load(Ordering::Acquire) < sequence.0 {
            thread::yield_now();
        }
    }

    /// A ticket that resolves once every place up to `sequence` is durable; `None` if they are.
    #[must_use]
    pub fn await_durable(&self, sequence: Sequence) -> Option<Arc<Ticket>> {
        self.queue.await_durable(sequence)
    }

    /// Whether the journal has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.queue.failed.load(Ordering::Acquire)
    }

    /// Refuses new records, makes claimed records durable, and ends the writer.
    pub fn close(&self) {
        self.queue.closing.store(true, Ordering::SeqCst);
        self.writer.wake_by_ref();
        let runs = std::mem::replace(&mut *self.runs(), Runs::Ended);
        match runs {
            Runs::Thread(handle) => {
                // The thread ends by itself; if it panicked, the process has aborted.
                let _ = handle.join();
            }
            Runs::ByHand(mut writer) => while writer.turn() {},
            Runs::Ended => {}
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}
