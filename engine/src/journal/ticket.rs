//! The ticket of a request: one small state, changed once, that shows whether its record is durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use super::Unpark;
use crate::sync::{AtomicU8, Mutex, Ordering, thread};

const PENDING: u8 = 0;

const DURABLE: u8 = 1;

const LATE: u8 = 2;

const RELEASED: u8 = 3;

const FAILED: u8 = 4;

/// The outcome of a request's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The decision is durable: its answer may be sent.
    Durable,
    /// The decision was late and its release is durable: the answer is `deadline_exceeded`.
    Released,
    /// The journal failed after the record had its place: its durability is unknown.
    Failed,
}

/// Pending → Durable by the journal, or Pending → Late by the waiter: the first compare-and-swap wins. The durability
/// of its release resolves a late ticket.
#[derive(Debug, Default)]
pub struct Ticket {
    state: AtomicU8,
    /// Nearly always one waker: only duplicates of a pending request add more.
    waiting: Mutex<SmallVec<[Waker; 1]>>,
}

impl Ticket {
    /// A ticket for a record not yet durable.
    #[must_use]
    pub fn pending() -> Arc<Ticket> {
        Arc::new(Ticket::default())
    }

    /// The outcome, once known.
    #[must_use]
    pub fn durability(&self) -> Option<Durability> {
        match self.state.load(Ordering::Acquire) {
            DURABLE => Some(Durability::Durable),
            RELEASED => Some(Durability::Released),
            FAILED => Some(Durability::Failed),
            _ => None,
        }
    }

    /// Abandons the wait. True if the decision was not durable yet: the caller must then record its release.
    #[must_use]
    pub(crate) fn give_up(&self) -> bool {
        self.state.compare_exchange(PENDING, LATE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Notes that the record is durable; true if its waiter had not given up. A late ticket stays late until its release is
    /// durable.
    pub(crate) fn record_durable(&self) -> bool {
        let in_time = self.state.compare_exchange(PENDING, DURABLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if in_time {
            self.wake();
        }
        in_time
    }

    /// Notes that the release of a late decision is durable.
    pub(crate) fn release_durable(&self) {
        self.state.store(RELEASED, Ordering::Release);
        self.wake();
    }

    /// Notes that the journal failed; true if its waiter had not given up.
    pub(crate) fn failed(&self) -> bool {
        let fail = |state| (state == PENDING || state == LATE).then_some(FAILED);
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, fail);
        if before.is_ok() {
            self.wake();
        }
        before == Ok(PENDING)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits until the durability is known. Any number of tasks may wait on one ticket: duplicates of a pending request
    /// do.
    pub fn wait(&self) -> Wait<'_> {
        Wait { ticket: self }
    }

    /// Blocks this thread until the durability is known.
    #[expect(clippy::disallowed_methods, reason = "of a journal with a thread")]
    pub fn block(&self) -> Durability {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut wait = self.wait();
        loop {
            match Pin::new(&mut wait).poll(&mut context) {
                Poll::Ready(durability) => return durability,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// The future of [`Ticket::wait`].
#[derive(Debug)]
pub struct Wait<'a> {
    ticket: &'a Ticket,
}

impl Future for Wait<'_> {
    type Output = Durability;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Durability> {
        if let Some(durability) = self.ticket.durability() {
            return Poll::Ready(durability);
        }
        let mut waiting = self.ticket.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Resolved between the check and the lock: the wakers are already taken.
        if let Some(durability) = self.ticket.durability() {
            return Poll::Ready(durability);
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(all(test, not(any(tapgate_loom, tapgate_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_word_moves_once_from_pending() {
        let ticket = Ticket::pending();
        assert_eq!(ticket.durability(), None);
        ticket.record_durable();
        assert!(!ticket.give_up(), "durable first: the waiter may answer");
        assert_eq!(ticket.durability(), Some(Durability::Durable));

        let ticket = Ticket::pending();
        assert!(ticket.give_up());
        ticket.record_durable();
        assert_eq!(ticket.durability(), None, "late first: the decision's durability no longer counts");
        ticket.release_durable();
        assert_eq!(ticket.durability(), Some(Durability::Released));
    }

    #[test]
    fn every_waiter_is_woken() {
        let ticket = Ticket::pending();
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..8).map(|_| scope.spawn(|| ticket.block())).collect();
            ticket.failed();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Durability::Failed);
            }
        });
    }
}
