//! The journal thread: takes published records in order, adds them to the tree and appends them in groups.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{DECISION_PLACES, QUEUE_RECORDS_MAX, Queue, Resolves, Travelling};
use crate::ids::Sequence;
use crate::store::{Entry, Store, StoreError};
use crate::sync::{Ordering, fence, fence_of_accesses, park_for, thread};
use crate::tree::{Frontier, Node};

/// Maximum records in one group: 200-byte records fill it in about 1 ms of writing, so that a group never delays the
/// next.
pub const GROUP_RECORDS_MAX: usize = if cfg!(any(tapgate_loom, tapgate_shuttle)) { 4 } else { 4_096 };

const _: () = assert!((GROUP_RECORDS_MAX as u64) < QUEUE_RECORDS_MAX);

/// How often a closing journal checks whether the last reserved place was used or released.
const CLOSING_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Called once, with the error, when the journal has failed.
pub type OnFailure = Box<dyn FnOnce(StoreError) + Send>;

pub(super) struct Writer {
    queue: Arc<Queue>,
    store: Arc<dyn Store>,
    /// The tree over every record taken.
    frontier: Frontier,
    /// The next record, if a check before resting found it.
    found: Option<Travelling>,
    group: Group,
    on_failure: Option<OnFailure>,
}

/// Records written as one, and the tree's nodes that they complete. Empty between turns.
struct Group {
    entries: Vec<Entry>,
    completed: Vec<Node>,
    /// Where the entries' bytes came from, and where they go again.
    published: Vec<Travelling>,
    resolves: Vec<Resolves>,
}

/// The places that a decision gives back: one that was given up has its release still to come.
fn decision_places(is_settled: bool) -> u64 {
    if is_settled { DECISION_PLACES } else { 1 }
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, store: Arc<dyn Store>, frontier: Frontier, on_failure: OnFailure) -> Writer {
        let group = Group {
            entries: Vec::with_capacity(GROUP_RECORDS_MAX),
            completed: Vec::new(),
            published: Vec::with_capacity(GROUP_RECORDS_MAX),
            resolves: Vec::with_capacity(GROUP_RECORDS_MAX),
        };
        Writer { queue, store, frontier, found: None, group, on_failure: Some(on_failure) }
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The journal's thread.
    pub(super) fn run(mut self) {
        loop {
            if !self.turn() {
                if self.is_done() {
                    return;
                }
                self.rest();
            }
        }
    }

    /// Writes the records that have gathered, at most one group. False if there was none.
    pub(super) fn turn(&mut self) -> bool {
        self.gather();
        if self.group.entries.is_empty() {
            return false;
        }
        // While every core is busy deciding, more records are a moment away, and one write serves them all; with an
        // idle core this returns at once.
        thread::yield_now();
        self.gather();
        let durable = self.append();
        self.queue.resolve_awaited();
        self.settle(durable);
        self.group.completed.clear();
        let spare = self.group.published.drain(..).zip(self.group.entries.drain(..));
        self.queue.keep(spare.map(|(mut published, entry)| {
            published.payload = entry.payload;
            published
        }));
        true
    }

    /// Takes published records in order, up to a group.
    fn gather(&mut self) {
        while self.group.entries.len() < GROUP_RECORDS_MAX {
            let next = self.next();
            let found = self.found.take().or_else(|| self.queue.slot(next).take());
            let Some(mut published) = found else { return };
            let (entry, leaf) = Entry::new(next, std::mem::take(&mut published.payload));
            self.frontier.append(leaf, |node| self.group.completed.push(node));
            self.group.entries.push(entry);
            self.group.resolves.push(std::mem::take(&mut published.resolves));
            self.group.published.push(published);
        }
    }

    fn next(&self) -> Sequence {
        Sequence(self.frontier.size()).next()
    }

    /// Never retries after a failure: a second attempt may report records as written that are not.
    fn append(&mut self) -> bool {
        if self.queue.failed.load(Ordering::Acquire) {
            return false;
        }
        match self.store.append(&self.group.entries, &self.group.completed) {
            Ok(()) => {
                let last = self.group.entries.last().map_or(Sequence::ZERO, |entry| entry.sequence);
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

    fn settle(&mut self, durable: bool) {
        let last = self.queue.durable.load(Ordering::Relaxed);
        let mut places = 0;
        for resolved in self.group.resolves.drain(..) {
            places += match (resolved, durable) {
                (Resolves::Nothing, _) => 1,
                (Resolves::Decision(ticket), true) => decision_places(ticket.record_durable()),
                (Resolves::Decision(ticket), false) => decision_places(ticket.failed()),
                (Resolves::Change(ticket), true) => {
                    ticket.record_durable();
                    1
                }
                (Resolves::Release(ticket), true) => {
                    ticket.release_durable();
                    1
                }
                (Resolves::Change(ticket) | Resolves::Release(ticket), false) => {
                    ticket.failed();
                    1
                }
            };
        }
        self.queue.occupied.fetch_sub(places, Ordering::AcqRel);
        self.queue.settled.store(last, Ordering::Release);
    }

    /// Whether the journal is closing and no place is reserved or claimed.
    fn is_done(&self) -> bool {
        if !self.queue.closing.load(Ordering::SeqCst) {
            return false;
        }
        fence_of_accesses();
        self.queue.occupied.load(Ordering::SeqCst) == 0
    }

    #[expect(clippy::disallowed_methods, reason = "only the journal's thread rests")]
    fn rest(&mut self) {
        self.queue.idle.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Claim::publish`.
        fence(Ordering::SeqCst);
        self.found = self.queue.slot(self.next()).take();
        if self.found.is_none() {
            if self.queue.closing.load(Ordering::SeqCst) {
                // A place released unused wakes no thread.
                park_for(CLOSING_LOOK_INTERVAL);
            } else {
                thread::park();
            }
        }
        self.queue.idle.store(false, Ordering::Relaxed);
    }
}
