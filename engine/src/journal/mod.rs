//! The journal: one ordered list of records, written ahead of every answer by one thread, in groups.
//!
//! A record's place in the bounded queue *is* its sequence: it is claimed where the decision is made, under the guards
//! of the rows it changes, so every row knows the last record it holds. Claiming is one atomic addition; the journal
//! thread takes the records in that order, chains their hashes and appends them as one group. While it waits for the
//! disk the next group gathers, so there is no added delay.

mod overlay;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod store;
mod word;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crossbeam::atomic::AtomicCell;
use crossbeam::utils::CachePadded;

pub use overlay::Overlay;
pub use store::{Chain, Entry, GENESIS, Row, Store, StoreError, Table, Visit, VisitRow, chained};
pub use word::{Settled, Wait, Word};

use crate::ids::Sequence;

/// Records that may be claimed and not yet durable. At 200 bytes each a full queue is 13 MB; at 100,000 decisions a
/// second it is more than half a second of work, beyond which a caller is better served by being shed.
pub const QUEUE_RECORDS_MAX: u64 = 65_536;

/// Records in one group: what 200-byte records fill in about 1 ms of writing, so that a group never delays the next.
pub const GROUP_RECORDS_MAX: usize = 4_096;
const _: () = assert!((GROUP_RECORDS_MAX as u64) < QUEUE_RECORDS_MAX);

/// How often a closing journal looks whether the last reserved place was used or given back.
const CLOSING_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Why there is no place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The bound is reached: shed the request, try later.
    #[error("the journal's queue is full")]
    Full,
    /// The journal failed or is closing: nothing can be recorded any more.
    #[error("the journal is not available")]
    Unavailable,
}

/// What a durable record settles.
#[derive(Debug)]
pub enum Settles {
    /// Nobody waits.
    Nothing,
    /// A decision, or any other record somebody waits for.
    Decision(Arc<Word>),
    /// The release of a late decision.
    Release(Arc<Word>),
}

/// Called once, with the error, when the journal has failed.
pub type OnFailure = Box<dyn FnOnce(StoreError) + Send>;

#[derive(Debug)]
struct Published {
    payload: Vec<u8>,
    settles: Settles,
}

/// A place in the ring: empty, or one published record.
type Slot = AtomicCell<Option<Box<Published>>>;
const _: () = assert!(Slot::is_lock_free(), "a slot is one pointer");

struct Queue {
    slots: Box<[Slot]>,
    /// The last place claimed.
    claimed: CachePadded<AtomicU64>,
    /// Places reserved or claimed and not yet durable.
    occupied: CachePadded<AtomicU64>,
    /// The last durable place.
    durable: CachePadded<AtomicU64>,
    idle: AtomicBool,
    closing: AtomicBool,
    failed: AtomicBool,
}

impl Queue {
    fn slot(&self, sequence: Sequence) -> Option<&Slot> {
        let index = usize::try_from(sequence.0 % QUEUE_RECORDS_MAX).ok()?;
        self.slots.get(index)
    }
}

/// The journal. Dropping it writes what was published and stops its thread.
pub struct Journal {
    queue: Arc<Queue>,
    writer: Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
}

/// A reserved place in the queue: holding it, a record can no longer be refused. Dropping it gives the place back.
#[derive(Debug)]
pub struct Permit<'a> {
    journal: &'a Journal,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("durable", &self.durable()).field("claimed", &self.claimed()).finish()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.journal.queue.occupied.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A claimed place: the record's sequence. It must be published; until then the journal waits for it.
#[derive(Debug)]
#[must_use = "the journal waits for every claimed record"]
pub struct Claim<'a> {
    journal: &'a Journal,
    /// The record's place.
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
    pub fn publish(self, payload: Vec<u8>, settles: Settles) {
        let queue = &self.journal.queue;
        if let Some(slot) = queue.slot(self.sequence) {
            slot.store(Some(Box::new(Published { payload, settles })));
        }
        // Pairs with the fence in `Writer::rest`: either it sees the record, or this sees it idle.
        fence(Ordering::SeqCst);
        if queue.idle.load(Ordering::Relaxed) {
            self.journal.writer.unpark();
        }
    }
}

impl Journal {
    /// Starts the journal thread behind what `store` already holds.
    ///
    /// # Errors
    /// The store cannot be read, or the thread cannot be started.
    pub fn start(store: Arc<dyn Store>, on_failure: OnFailure) -> Result<Journal, StoreError> {
        let (head, chain) = store.head()?;
        let slots = (0..QUEUE_RECORDS_MAX).map(|_| AtomicCell::new(None)).collect();
        let queue = Arc::new(Queue {
            slots,
            claimed: CachePadded::new(AtomicU64::new(head.0)),
            occupied: CachePadded::new(AtomicU64::new(0)),
            durable: CachePadded::new(AtomicU64::new(head.0)),
            idle: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let writer = Writer {
            queue: Arc::clone(&queue),
            store,
            next: head.next(),
            found: None,
            chain,
            on_failure: Some(on_failure),
        };
        let handle = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Failed(format!("the journal thread did not start: {error}")))?;
        Ok(Journal { queue, writer: handle.thread().clone(), handle: Mutex::new(Some(handle)) })
    }

    /// Reserves a place: the step of a decision that can fail for want of room, before anything is changed.
    ///
    /// # Errors
    /// No place is free, or the journal is not available.
    pub fn reserve(&self) -> Result<Permit<'_>, NoPlace> {
        // Occupied first, then the look at `closing`; the writer looks the other way round. So either this sees it
        // closing or the writer sees the place and waits for its record.
        let before = self.queue.occupied.fetch_add(1, Ordering::SeqCst);
        let permit = Permit { journal: self };
        if self.queue.failed.load(Ordering::Acquire) || self.queue.closing.load(Ordering::SeqCst) {
            return Err(NoPlace::Unavailable);
        }
        if before >= QUEUE_RECORDS_MAX { Err(NoPlace::Full) } else { Ok(permit) }
    }

    /// The last place claimed.
    #[must_use]
    pub fn claimed(&self) -> Sequence {
        Sequence(self.queue.claimed.load(Ordering::Acquire))
    }

    /// The last durable place.
    #[must_use]
    pub fn durable(&self) -> Sequence {
        Sequence(self.queue.durable.load(Ordering::Acquire))
    }

    /// Whether it has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.queue.failed.load(Ordering::Acquire)
    }

    /// Refuses new records, makes durable what has a place, and stops the thread.
    pub fn close(&self) {
        self.queue.closing.store(true, Ordering::SeqCst);
        self.writer.unpark();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            // The thread ends by itself; if it panicked, the process has aborted.
            let _ = handle.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    queue: Arc<Queue>,
    store: Arc<dyn Store>,
    next: Sequence,
    /// The record at `next`, where a look before resting found it.
    found: Option<Box<Published>>,
    chain: Chain,
    on_failure: Option<OnFailure>,
}

impl Writer {
    fn run(mut self) {
        let mut entries = Vec::with_capacity(GROUP_RECORDS_MAX);
        let mut settles = Vec::with_capacity(GROUP_RECORDS_MAX);
        loop {
            self.gather(&mut entries, &mut settles);
            if entries.is_empty() {
                if self.is_done() {
                    return;
                }
                self.rest();
                continue;
            }
            // Where every core is busy deciding, more records are a moment away, and one write serves them all; where
            // one is free this returns at once.
            std::thread::yield_now();
            self.gather(&mut entries, &mut settles);
            let durable = self.append(&entries);
            self.settle(&mut settles, durable);
            entries.clear();
        }
    }

    /// Takes what was published, in order, up to a group.
    fn gather(&mut self, entries: &mut Vec<Entry>, settles: &mut Vec<Settles>) {
        while entries.len() < GROUP_RECORDS_MAX {
            let found = self.found.take().or_else(|| self.queue.slot(self.next).and_then(AtomicCell::take));
            let Some(published) = found else { return };
            let Published { payload, settles: settled } = *published;
            self.chain = chained(&self.chain, &payload);
            entries.push(Entry { sequence: self.next, chain: self.chain, payload });
            settles.push(settled);
            self.next = self.next.next();
        }
    }

    /// Never tries again after a failure: what a second attempt reports as written may not be.
    fn append(&mut self, entries: &[Entry]) -> bool {
        if self.queue.failed.load(Ordering::Acquire) {
            return false;
        }
        match self.store.append(entries) {
            Ok(()) => {
                let last = entries.last().map_or(Sequence::ZERO, |entry| entry.sequence);
                self.queue.durable.store(last.0, Ordering::Release);
                true
            }
            Err(error) => {
                self.queue.failed.store(true, Ordering::Release);
                if let Some(on_failure) = self.on_failure.take() {
                    on_failure(error);
                }
                false
            }
        }
    }

    fn settle(&self, settles: &mut Vec<Settles>, durable: bool) {
        self.queue.occupied.fetch_sub(settles.len() as u64, Ordering::AcqRel);
        for settled in settles.drain(..) {
            match (settled, durable) {
                (Settles::Nothing, _) => {}
                (Settles::Decision(word), true) => word.decision_durable(),
                (Settles::Release(word), true) => word.release_durable(),
                (Settles::Decision(word) | Settles::Release(word), false) => word.failed(),
            }
        }
    }

    /// Closing, and nothing is reserved or claimed any more.
    fn is_done(&self) -> bool {
        self.queue.closing.load(Ordering::SeqCst) && self.queue.occupied.load(Ordering::SeqCst) == 0
    }

    fn rest(&mut self) {
        self.queue.idle.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Claim::publish`.
        fence(Ordering::SeqCst);
        self.found = self.queue.slot(self.next).and_then(AtomicCell::take);
        if self.found.is_none() {
            if self.queue.closing.load(Ordering::SeqCst) {
                // A place that is given back unused wakes nobody.
                std::thread::park_timeout(CLOSING_LOOK_INTERVAL);
            } else {
                std::thread::park();
            }
        }
        self.queue.idle.store(false, Ordering::Relaxed);
    }
}
