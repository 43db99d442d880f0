//! The order of one receiver's attempts: a pure state machine over the receiver's messages.
//!
//! - Within a lane a message waits until the one before it is accepted; lanes do not wait for each other.
//! - Memory is bounded: a message whose lane fails keeps its place, and once [`Limits::window`] messages are held or
//!   accepted behind it, the tail reads no more.
//! - A failed message is retried after its own pause. A receiver that fails [`DOWN_AFTER`] times in a row, with any
//!   messages, counts as down: single attempts then probe whether it is back.
//! - If other messages pass between two failures of a message, the message is at fault and not the receiver: it is
//!   retried all the same, and an alert tells the operator, who may skip it, when it is stuck.
//! - A receiver that accepts nothing for [`Limits::park_after`], or that refuses, is parked: the tail attempts nothing
//!   until a person resumes it. The journal keeps the messages it missed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tapgate_engine::time::UnixMillis;

use super::schedule::{PAUSE_MAX, pause};
use super::{Message, Place};

/// Failures in a row after which a receiver counts as down.
pub const DOWN_AFTER: u32 = 5;

/// Time of rejecting one message, while others pass, before the alert: longer than a new deployment of the receiver
/// takes.
pub const STUCK_AFTER: Duration = Duration::from_secs(3_600);
/// The same once nothing else passes because the window is full behind the message: a few attempts.
pub const STANDSTILL_AFTER: Duration = Duration::from_secs(300);

/// The bounds of a tail; each at least one.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages held, and accepted ones remembered, beyond the position.
    pub window: usize,
    /// Concurrent attempts.
    pub concurrency: usize,
    /// Time without an accepted message before a receiver is parked.
    pub park_after: Duration,
}

/// A receiver's progress. A tail that continues from it attempts again every message that may not have been accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Every message up to here is accepted.
    pub through: Place,
    /// Messages accepted beyond `through`; fewer than [`Limits::window`].
    pub accepted: BTreeSet<Place>,
    /// The failure since the last success, stored so that a restart does not reset its age.
    pub failing: Option<Trouble>,
    /// The reason for parking.
    pub parked: Option<Trouble>,
    /// The message that needs a person, stored so that a restart does not reset its age: rejected while others pass,
    /// or, if the receiver is parked, rejected for the longest time.
    pub rejected: Option<Rejected>,
}

/// A receiver's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The first failure after the last success, or the moment of parking.
    pub since: UnixMillis,
    /// The last attempt's reason, for people.
    pub reason: String,
}

/// A message that failed and has not been accepted since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    pub place: Place,
    /// The message's kind, for people.
    pub kind: CompactString,
    /// The failure. While no other message passes either, each attempt restarts `since`: until then the receiver may be
    /// at fault.
    pub trouble: Trouble,
    /// Others were accepted between two of its failures: the message is at fault.
    pub others_pass: bool,
}

/// A message that cannot be skipped: accepted, never attempted, or not for this receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRejected {
    /// The message of the request.
    pub asked: Place,
    /// The message that could be skipped.
    pub rejected: Option<Place>,
}

impl std::error::Error for NotRejected {}

impl fmt::Display for NotRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asked.message_id();
        if self.rejected == Some(self.asked) {
            return write!(f, "{asked} is being sent, or comes after others since a replay: ask again in a moment");
        }
        write!(f, "only a message that the receiver was sent and does not accept can be skipped: {asked} is none, ")?;
        match self.rejected {
            Some(rejected) => write!(f, "{} is", rejected.message_id()),
            None => f.write_str("nor is any other"),
        }
    }
}

/// A receiver's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The last attempt was accepted, or there was none yet.
    Delivering,
    /// The last attempts failed; retries continue.
    Failing(Trouble),
    /// No attempts until a person resumes the receiver.
    Parked(Trouble),
}

/// One failed attempt.
#[derive(Clone, Debug)]
pub struct Failure {
    /// For people.
    pub reason: String,
    /// The receiver's requested pause for all messages.
    pub retry_after: Option<Duration>,
    /// A random number of its whole range.
    pub draw: u32,
}

/// The tail of one receiver. [`Tail::next`] starts an attempt; `done`, `failed` or `refused` must end it.
#[derive(Clone, Debug)]
pub struct Tail<C> {
    limits: Limits,
    /// The tail knows every message up to here.
    read: Place,
    waiting: BTreeMap<Place, Waiting<C>>,
    /// Places beyond the first waiting message.
    accepted: BTreeSet<Place>,
    /// The first message of each lane by due time, except those under way.
    heads: BTreeSet<(UnixMillis, Place)>,
    /// The waiting messages of each lane, in order; the first one is in `heads` or under way.
    lanes: HashMap<CompactString, VecDeque<Place>>,
    under_way: BTreeSet<Place>,
    failing: Option<Trouble>,
    parked: Option<Trouble>,
    /// From the stored position, until that message is read.
    rejected_before: Option<Rejected>,
    /// Messages accepted, and the time of the last.
    passes: u64,
    passed_at: UnixMillis,
    failures_in_a_row: u32,
    /// Failed attempts since the receiver counts as down; those that were under way then count as one.
    failures_while_down: u32,
    quiet_until: UnixMillis,
}

#[derive(Clone, Debug)]
struct Waiting<C> {
    message: Arc<Message<C>>,
    failures: u32,
    rejection: Option<Rejection>,
}

/// See [`Rejected`].
#[derive(Clone, Debug)]
struct Rejection {
    trouble: Trouble,
    others_pass: bool,
    /// Messages accepted by the time of the last failure.
    passes: u64,
}

impl<C> Waiting<C> {
    /// Notes a failure; `passes` other messages had been accepted by then.
    fn reject(&mut self, now: UnixMillis, reason: &str, passes: u64) {
        let before = self.rejection.take();
        let others_pass = before.as_ref().is_some_and(|before| before.others_pass || before.passes < passes);
        let since = before.filter(|_| others_pass).map_or(now, |before| before.trouble.since);
        self.rejection = Some(Rejection { trouble: Trouble { since, reason: reason.to_owned() }, others_pass, passes });
    }

    fn rejected(&self) -> Option<Rejected> {
        let Rejection { trouble, others_pass, .. } = self.rejection.clone()?;
        Some(Rejected { place: self.message.place, kind: self.message.kind.into(), trouble, others_pass })
    }
}

impl<C> Tail<C> {
    /// Continues from a position.
    #[must_use]
    pub fn new(limits: Limits, position: Position) -> Tail<C> {
        Tail {
            limits,
            read: position.through,
            waiting: BTreeMap::new(),
            accepted: position.accepted,
            heads: BTreeSet::new(),
            lanes: HashMap::new(),
            under_way: BTreeSet::new(),
            failing: position.failing,
            parked: position.parked,
            rejected_before: position.rejected,
            passes: 0,
            passed_at: UnixMillis(0),
            failures_in_a_row: 0,
            failures_while_down: 0,
            quiet_until: UnixMillis(0),
        }
    }

    /// The place to read on from.
    #[must_use]
    pub fn read(&self) -> Place {
        self.read
    }

    /// The number of messages that the tail can take now.
    #[must_use]
    pub fn room(&self) -> usize {
        let room = self.limits.window.saturating_sub(self.waiting.len() + self.accepted.len());
        // A position may hold more places than the window; reading one at a time still makes progress.
        if self.waiting.is_empty() { room.max(1) } else { room }
    }

    /// Takes the next message; ignores one that it already knows.
    pub fn offer(&mut self, message: Message<C>, now: UnixMillis) {
        let place = message.place;
        if place <= self.read {
            return;
        }
        self.read = place;
        if self.accepted.contains(&place) {
            self.forget_accepted();
            return;
        }
        let is_head = match &message.lane {
            None => true,
            Some(lane) => {
                let lane = self.lanes.entry(lane.clone()).or_default();
                lane.push_back(place);
                lane.len() == 1
            }
        };
        if is_head {
            self.heads.insert((now, place));
        }
        let rejected = self.rejected_before.take_if(|rejected| rejected.place == place);
        let rejection = rejected.map(|Rejected { trouble, others_pass, .. }| Rejection {
            trouble,
            others_pass,
            passes: self.passes,
        });
        self.waiting.insert(place, Waiting { message: Arc::new(message), failures: 0, rejection });
    }

    /// Notes that the receiver has no other messages up to here.
    pub fn read_through(&mut self, place: Place) {
        self.read = self.read.max(place);
        self.forget_accepted();
    }

    /// The next message to attempt, if one is due.
    pub fn next(&mut self, now: UnixMillis) -> Option<Arc<Message<C>>> {
        let (due, place) = *self.heads.first().filter(|_| self.may_attempt())?;
        // No pause exceeds the longest: a due time further away dates from before the clock was set back.
        if now < due.max(self.quiet_until) && due.max(self.quiet_until) <= later(now, PAUSE_MAX) {
            return None;
        }
        let message = Arc::clone(&self.waiting.get(&place)?.message);
        self.heads.pop_first();
        self.under_way.insert(place);
        Some(message)
    }

    /// The earliest time at which [`Tail::next`] has a message, unless an attempt ends before.
    #[must_use]
    pub fn next_at(&self) -> Option<UnixMillis> {
        self.heads.first().filter(|_| self.may_attempt()).map(|(due, _)| (*due).max(self.quiet_until))
    }

    /// The receiver accepted the message.
    pub fn done(&mut self, place: Place, now: UnixMillis) {
        if !self.under_way.remove(&place) {
            return;
        }
        self.passes = self.passes.saturating_add(1);
        self.passed_at = now;
        self.pass(place, now);
        if self.is_down() {
            self.hurry(now);
        }
        self.trust_again();
    }

    /// Accepts or skips a message, and releases the next one of its lane.
    fn pass(&mut self, place: Place, now: UnixMillis) {
        let lane = self.waiting.remove(&place).and_then(|waiting| waiting.message.lane.clone());
        if let Some(lane) = lane {
            let next = self.lanes.get_mut(&lane).and_then(|places| {
                places.pop_front();
                places.front().copied()
            });
            if let Some(next) = next {
                self.heads.insert((now, next));
            } else {
                self.lanes.remove(&lane);
            }
        }
        self.accepted.insert(place);
        self.forget_accepted();
    }

    /// The attempt failed and will be retried. Parks the receiver if it has accepted nothing for too long.
    pub fn failed(&mut self, place: Place, now: UnixMillis, failure: Failure) {
        let Failure { reason, retry_after, draw } = failure;
        if !self.under_way.remove(&place) {
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(&place) {
            waiting.failures = waiting.failures.saturating_add(1);
            waiting.reject(now, &reason, self.passes);
            self.heads.insert((later(now, pause(waiting.failures, draw, retry_after)), place));
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        // Attempts that were under way when the receiver went down add no news.
        if self.is_down() && now >= self.quiet_until {
            self.failures_while_down = self.failures_while_down.saturating_add(1);
            self.quiet_until = later(now, pause(self.failures_while_down, draw, None));
        }
        if let Some(retry_after) = retry_after {
            self.quiet_until = self.quiet_until.max(later(now, retry_after.min(PAUSE_MAX)));
        }
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        // Down as well: the time may have passed without attempts, while the process was not running.
        if self.is_down() && now >= later(since, self.limits.park_after) {
            self.park(now, reason.clone());
        }
        self.failing = Some(Trouble { since, reason });
    }

    /// The receiver refused for good: parks it.
    pub fn refused(&mut self, place: Place, now: UnixMillis, reason: String) {
        if self.under_way.remove(&place) {
            self.heads.insert((now, place));
            if let Some(waiting) = self.waiting.get_mut(&place) {
                waiting.reject(now, &reason, self.passes);
            }
            self.park(now, reason);
        }
    }

    /// Resumes the receiver: everything is attempted again, from its position.
    pub fn resume(&mut self, now: UnixMillis) {
        self.parked = None;
        self.waiting.values_mut().for_each(|waiting| waiting.failures = 0);
        self.trust_again();
        self.hurry(now);
    }

    /// Sends every message from a place on again. Forgets running attempts: the caller must not report their outcomes.
    pub fn replay(&mut self, from: Place) {
        let mut position = self.position();
        position.through = position.through.min(from.before());
        position.accepted.retain(|place| *place < from);
        *self = Tail::new(self.limits, position);
    }

    /// Skips a message that is rejected, first in its lane and not under way: it counts as accepted, and the next one
    /// of its lane follows. As with a resume, other failed messages are attempted again; a parked receiver stays
    /// parked.
    ///
    /// # Errors
    /// The message is not rejected.
    pub fn skip(&mut self, place: Place, now: UnixMillis) -> Result<(), NotRejected> {
        let is_rejected = self.waiting.get(&place).is_some_and(|waiting| waiting.rejection.is_some());
        // After a replay, earlier messages of its lane may precede it again, and it is not the next attempt.
        let is_next = self.heads.iter().any(|(_, head)| *head == place);
        if !is_rejected || !is_next {
            return Err(NotRejected { asked: place, rejected: self.rejected().map(|rejected| rejected.place) });
        }
        self.heads.retain(|(_, head)| *head != place);
        self.pass(place, now);
        self.trust_again();
        self.hurry(now);
        Ok(())
    }

    /// Whether an attempt at this message is running.
    #[must_use]
    pub fn is_under_way(&self, place: Place) -> bool {
        self.under_way.contains(&place)
    }

    /// The message rejected for the longest time while others pass; else the one that failed longest ago.
    #[must_use]
    pub fn rejected(&self) -> Option<Rejected> {
        if let Some(unread) = self.rejected_before.as_ref().filter(|rejected| rejected.place > self.read) {
            return Some(unread.clone());
        }
        let rejections = self.waiting.values().filter_map(|waiting| Some((waiting, waiting.rejection.as_ref()?)));
        let longest = rejections.min_by_key(|(_, rejection)| (!rejection.others_pass, rejection.trouble.since));
        longest.and_then(|(waiting, _)| waiting.rejected())
    }

    /// Whether the rejected message needs an alert.
    #[must_use]
    pub fn is_stuck(&self, now: UnixMillis) -> bool {
        let patience = if self.stands_still() { STANDSTILL_AFTER } else { STUCK_AFTER };
        let rejected = self.rejected().filter(|rejected| rejected.others_pass && !self.rejects_all());
        rejected.is_some_and(|rejected| now >= later(rejected.trouble.since, patience))
    }

    /// Whether the receiver is down for other messages too: some passed once, and none has since.
    fn rejects_all(&self) -> bool {
        let fails = |rejection: &Rejection| !rejection.others_pass && rejection.trouble.since >= self.passed_at;
        self.is_down() && self.waiting.values().filter_map(|waiting| waiting.rejection.as_ref()).any(fails)
    }

    /// Whether the window is full, and everything in it is accepted or waits for messages at fault.
    fn stands_still(&self) -> bool {
        let is_to_blame = |place: &Place| {
            let rejection = self.waiting.get(place).and_then(|waiting| waiting.rejection.as_ref());
            rejection.is_some_and(|rejection| rejection.others_pass)
        };
        self.room() == 0 && self.heads.iter().map(|(_, place)| place).chain(&self.under_way).all(is_to_blame)
    }

    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            through: self.through(),
            accepted: self.accepted.clone(),
            failing: self.failing.clone(),
            parked: self.parked.clone(),
            // While the receiver is down, each failure would otherwise change the position.
            rejected: self.rejected().filter(|rejected| rejected.others_pass || self.parked.is_some()),
        }
    }

    /// The receiver's health.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.parked, &self.failing) {
            (Some(parked), _) => State::Parked(parked.clone()),
            (None, Some(failing)) => State::Failing(failing.clone()),
            (None, None) => State::Delivering,
        }
    }

    /// The oldest known message that is not accepted.
    #[must_use]
    pub fn oldest(&self) -> Option<&Message<C>> {
        self.waiting.first_key_value().map(|(_, waiting)| &*waiting.message)
    }

    /// Every message up to here is accepted.
    #[must_use]
    pub fn through(&self) -> Place {
        self.waiting.first_key_value().map_or(self.read, |(place, _)| place.before())
    }

    fn forget_accepted(&mut self) {
        let through = self.through();
        while self.accepted.first().is_some_and(|place| *place <= through) {
            self.accepted.pop_first();
        }
    }

    fn may_attempt(&self) -> bool {
        let at_once = if self.is_down() { 1 } else { self.limits.concurrency };
        self.parked.is_none() && self.under_way.len() < at_once
    }

    /// Whether the receiver failed so often in a row that single attempts only probe it.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.failures_in_a_row >= DOWN_AFTER
    }

    fn park(&mut self, now: UnixMillis, reason: String) {
        self.parked.get_or_insert(Trouble { since: now, reason });
    }

    fn trust_again(&mut self) {
        self.failing = None;
        (self.failures_in_a_row, self.failures_while_down) = (0, 0);
    }

    /// Ends the pauses of waiting messages: the receiver caused them.
    fn hurry(&mut self, now: UnixMillis) {
        self.quiet_until = UnixMillis(0);
        self.heads = self.heads.iter().map(|(due, place)| ((*due).min(now), *place)).collect();
    }
}

fn later(at: UnixMillis, by: Duration) -> UnixMillis {
    UnixMillis(at.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
