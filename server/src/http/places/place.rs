//! One connection's place: what it is doing, since when, and who it is.
//!
//! Every request changes these, so they are atomics that the connection alone writes; whoever looks for a victim reads
//! them. A look may come a moment early or late: so a connection that is asked to end looks itself whether a request came
//! in meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use tokio::sync::Notify;

use super::peer::Peer;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Doing {
    /// Nothing yet.
    Fresh,
    /// A request's header is coming.
    Header,
    /// The next piece of a body is awaited.
    Body,
    /// A request is worked on of which a piece of the body, at most, has come; nothing is expected of the client.
    Working,
    /// A request is complete and waits for its answer.
    Answering,
    /// The answer is being sent.
    Answered,
    /// Waits for the next request.
    Idle,
}

impl Doing {
    const ALL: [Doing; 7] =
        [Doing::Fresh, Doing::Header, Doing::Body, Doing::Working, Doing::Answering, Doing::Answered, Doing::Idle];
}

/// Who a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// Of a peer that has not proven itself.
    Stranger,
    /// Of a peer that has, within a day.
    Known,
    /// It has itself.
    Proven,
    /// One of our proxies.
    Trusted,
}

impl Standing {
    const ALL: [Standing; 4] = [Standing::Stranger, Standing::Known, Standing::Proven, Standing::Trusted];
}

/// Ticks after which a connection is too slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    pub(super) header: u32,
    pub(super) body: u32,
    pub(super) answer: u32,
    pub(super) idle: u32,
}

/// The place of one connection.
#[derive(Debug)]
pub(in crate::http) struct Place {
    pub(super) peer: Peer,
    /// In order of arrival.
    pub(super) number: u64,
    clock: Arc<AtomicU32>,
    /// What it is doing (upper half), and since which tick.
    doing: AtomicU64,
    /// Whether something is written that the client has not taken, and since which tick.
    is_unsent: AtomicBool,
    unsent_since: AtomicU32,
    /// Whether nothing is known of the client since the latest answer was sent.
    is_fresh_answer: AtomicBool,
    was_gone: AtomicBool,
    standing: AtomicU8,
    proven_at: AtomicU32,
    end: Notify,
}

impl Place {
    pub(super) fn new(peer: Peer, number: u64, standing: Standing, clock: Arc<AtomicU32>) -> Place {
        let now = clock.load(Ordering::Relaxed);
        Place {
            peer,
            number,
            clock,
            doing: AtomicU64::new(u64::from(now)),
            is_unsent: AtomicBool::new(false),
            unsent_since: AtomicU32::new(now),
            is_fresh_answer: AtomicBool::new(false),
            was_gone: AtomicBool::new(false),
            standing: AtomicU8::new(standing as u8),
            proven_at: AtomicU32::new(now),
            end: Notify::new(),
        }
    }

    fn set(&self, doing: Doing) {
        let since = u64::from(self.clock.load(Ordering::Relaxed));
        self.doing.store(u64::from(doing as u8) << 32 | since, Ordering::Relaxed);
    }

    fn doing(&self) -> (Doing, u32) {
        let [_, _, _, doing, since @ ..] = self.doing.load(Ordering::Relaxed).to_be_bytes();
        (Doing::ALL.get(usize::from(doing)).copied().unwrap_or(Doing::Fresh), u32::from_be_bytes(since))
    }

    /// Bytes came: of a request's header, unless a request is under way.
    pub(super) fn heard(&self) {
        self.is_fresh_answer.store(false, Ordering::Relaxed);
        if matches!(self.doing().0, Doing::Fresh | Doing::Idle) {
            self.set(Doing::Header);
        }
    }

    /// Nothing came yet: the client is there.
    pub(super) fn hears_nothing(&self) {
        self.is_fresh_answer.store(false, Ordering::Relaxed);
    }

    /// The client has closed its side, or is gone. If that is what came after an answer, it did not wait for it.
    pub(super) fn hangs_up(&self) {
        if self.is_fresh_answer.load(Ordering::Relaxed) {
            self.was_gone.store(true, Ordering::Relaxed);
        }
    }

    /// A request's header is complete.
    pub(in crate::http) fn begins(&self, has_body: bool) {
        self.set(if has_body { Doing::Working } else { Doing::Answering });
    }

    /// The next piece of the body is awaited, since the first time that this is told.
    pub(in crate::http) fn awaits_more(&self) {
        if self.doing().0 != Doing::Body {
            self.set(Doing::Body);
        }
    }

    /// A piece of the body came, which is not the last.
    pub(in crate::http) fn has_a_piece(&self) {
        self.set(Doing::Working);
    }

    /// The request is complete.
    pub(in crate::http) fn is_in(&self) {
        self.set(Doing::Answering);
    }

    /// Whether the request is complete.
    pub(in crate::http) fn has_request(&self) -> bool {
        self.doing().0 == Doing::Answering
    }

    /// The request has its answer, which is not sent yet.
    pub(in crate::http) fn is_answered(&self) {
        self.set(Doing::Answered);
    }

    /// Something is written.
    pub(super) fn writes(&self) {
        if !self.is_unsent.load(Ordering::Relaxed) {
            self.unsent_since.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
            self.is_unsent.store(true, Ordering::Release);
        }
    }

    /// The system has taken all that was written.
    pub(super) fn has_sent(&self) {
        if !self.is_unsent.load(Ordering::Relaxed) {
            return;
        }
        self.is_unsent.store(false, Ordering::Relaxed);
        if self.doing().0 == Doing::Answered {
            self.is_fresh_answer.store(true, Ordering::Relaxed);
            self.set(Doing::Idle);
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let standing = usize::from(self.standing.load(Ordering::Relaxed));
        Standing::ALL.get(standing).copied().unwrap_or(Standing::Stranger)
    }

    /// Written under the lock of the places.
    pub(super) fn set_standing(&self, standing: Standing, now: u32) {
        self.proven_at.store(now, Ordering::Relaxed);
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    /// Whether a proof says something new.
    pub(super) fn needs_proof(&self, now: u32, refreshed: u32) -> bool {
        self.standing() != Standing::Proven || now.wrapping_sub(self.proven_at.load(Ordering::Relaxed)) >= refreshed
    }

    /// Whether a complete request has no answer yet, or one that is being sent.
    fn is_asked(&self) -> bool {
        matches!(self.doing().0, Doing::Answering | Doing::Answered)
    }

    /// Whether the client has not heard the latest answer, as far as can be known: it did not leave in whole, or the client
    /// was gone by then.
    pub(in crate::http) fn is_unheard(&self) -> bool {
        self.is_unsent.load(Ordering::Acquire) || self.is_asked() || self.was_gone.load(Ordering::Relaxed)
    }

    /// Whether a complete request waits for its answer.
    pub(in crate::http) fn is_busy(&self) -> bool {
        self.doing().0 == Doing::Answering
    }

    pub(super) fn is_overdue(&self, now: u32, limits: Overdue) -> bool {
        let (doing, since) = self.doing();
        let limit = match doing {
            Doing::Fresh | Doing::Header => limits.header,
            Doing::Body => limits.body,
            Doing::Idle => limits.idle,
            // The answer has a deadline of its own; then it is written.
            Doing::Working | Doing::Answering | Doing::Answered => u32::MAX,
        };
        let is_unread = self.is_unsent.load(Ordering::Acquire)
            && now.wrapping_sub(self.unsent_since.load(Ordering::Relaxed)) > limits.answer;
        is_unread || now.wrapping_sub(since) > limit
    }

    /// Asks the connection to end.
    pub(super) fn end(&self) {
        self.end.notify_one();
    }

    /// Until it is asked to.
    pub(in crate::http) async fn ended(&self) {
        self.end.notified().await;
    }
}
