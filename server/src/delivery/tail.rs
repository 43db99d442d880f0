//! What one receiver is sent next: a pure state machine over the ordered messages that are meant for it.
//!
//! - Within a lane a message waits until the one before it is accepted; lanes do not wait for each other.
//! - What is held in memory is bounded: a message whose lane fails keeps its place, and once [`Limits::window`] messages
//!   are held or accepted behind it, no more are read.
//! - A message that fails is tried again after a pause of its own. If the receiver fails [`DOWN_AFTER`] times in a row,
//!   whatever the message, it counts as down: then one attempt at a time finds out when it is back.
//! - If others pass between two failures of a message, the message is to blame and not the receiver: it is tried again all
//!   the same, and people, who may skip it, are told when it is stuck.
//! - A receiver that accepted nothing for [`Limits::park_after`], or that refused, is parked: nothing is attempted until
//!   a person resumes it. What it missed is still in the journal.

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

/// How long a message may be rejected while others pass before people are told: longer than a receiver takes to be
/// deployed anew.
pub const STUCK_AFTER: Duration = Duration::from_secs(3_600);
/// As [`STUCK_AFTER`], once nothing else passes because the window is full behind it: a few attempts.
pub const STANDSTILL_AFTER: Duration = Duration::from_secs(300);

/// The bounds of a tail; each at least one.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages held, and accepted ones remembered, beyond the position.
    pub window: usize,
    /// Attempts at once.
    pub concurrency: usize,
    /// How long a receiver may accept nothing before it is parked.
    pub park_after: Duration,
}

/// How far a receiver is. Whoever continues from it attempts everything again that may not have been accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Everything up to here is accepted.
    pub through: Place,
    /// What is accepted beyond it; fewer than [`Limits::window`].
    pub accepted: BTreeSet<Place>,
    /// The failure that lasts since the last success, so that a restart does not forgive it.
    pub failing: Option<Trouble>,
    /// Why it is parked.
    pub parked: Option<Trouble>,
    /// The message that people must see to, so that a restart does not forgive it: rejected while others pass, or the
    /// longest by a receiver that is parked.
    pub rejected: Option<Rejected>,
}

/// What is wrong with a receiver, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The first failure after the last success, or the moment of parking.
    pub since: UnixMillis,
    /// What the last attempt said; for people.
    pub reason: String,
}

/// A message that failed and was not accepted since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub place: Place,
    /// What kind of thing it tells of, for people.
    pub kind: CompactString,
    /// Since when, and what the last attempt said. It begins anew with each failure as long as nothing else passes either:
    /// until then the receiver may be to blame.
    pub trouble: Trouble,
    /// Others were accepted between two of its failures: the message is to blame.
    pub others_pass: bool,
}

/// A message that cannot be skipped: it was accepted, was never attempted, or is not meant for the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRejected {
    /// Which was asked for.
    pub asked: Place,
    /// Which could be skipped.
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

/// How a receiver does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last attempt was accepted, or there was none yet.
    Delivering,
    /// Its last attempts failed; they are tried again.
    Failing(Trouble),
    /// Nothing is attempted until a person resumes it.
    Parked(Trouble),
}

/// One attempt that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why; for people.
    pub reason: String,
    /// How long the receiver wants to be left alone, whatever the message.
    pub retry_after: Option<Duration>,
    /// A random number of its whole range.
    pub draw: u32,
}

/// The tail of one receiver. Attempts are taken by [`Tail::next`]; each must be answered by `done`, `failed` or `refused`.
#[derive(Clone, Debug)]
pub struct Tail<C> {
    limits: Limits,
    /// Everything up to here was offered or is not meant for this receiver.
    read: Place,
    waiting: BTreeMap<Place, Waiting<C>>,
    /// Beyond the first that waits.
    accepted: BTreeSet<Place>,
    /// The first of each lane by when it is due, those under way aside.
    heads: BTreeSet<(UnixMillis, Place)>,
    /// What waits in each lane, in order; its first is in `heads` or under way.
    lanes: HashMap<CompactString, VecDeque<Place>>,
    under_way: BTreeSet<Place>,
    failing: Option<Trouble>,
    parked: Option<Trouble>,
    /// Of the position it continued from, until that message is read.
    rejected_before: Option<Rejected>,
    /// Messages accepted, and when the last was.
    passes: u64,
    passed_at: UnixMillis,
    failures_in_a_row: u32,
    /// Attempts that failed since it counts as down, what was under way then as one.
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
    /// Messages accepted when it failed last.
    passes: u64,
}

impl<C> Waiting<C> {
    /// It failed, when so many other messages had been accepted.
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

    /// After which place to read on.
    #[must_use]
    pub fn read(&self) -> Place {
        self.read
    }

    /// How many messages may be offered now.
    #[must_use]
    pub fn room(&self) -> usize {
        let room = self.limits.window.saturating_sub(self.waiting.len() + self.accepted.len());
        // Of a position with more places than the window holds, everything can still be read again, one by one.
        if self.waiting.is_empty() { room.max(1) } else { room }
    }

    /// Takes the next message. One that was offered before is known already.
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

    /// Up to here there are no messages for this receiver but those offered.
    pub fn read_through(&mut self, place: Place) {
        self.read = self.read.max(place);
        self.forget_accepted();
    }

    /// The next message to attempt, if there is one whose time has come.
    pub fn next(&mut self, now: UnixMillis) -> Option<Arc<Message<C>>> {
        let (due, place) = *self.heads.first().filter(|_| self.may_attempt())?;
        // No pause is longer than the longest: what is further away was set before the clock was set back.
        if now < due.max(self.quiet_until) && due.max(self.quiet_until) <= later(now, PAUSE_MAX) {
            return None;
        }
        let message = Arc::clone(&self.waiting.get(&place)?.message);
        self.heads.pop_first();
        self.under_way.insert(place);
        Some(message)
    }

    /// When [`Tail::next`] has something at the earliest, unless an attempt ends before.
    #[must_use]
    pub fn next_at(&self) -> Option<UnixMillis> {
        self.heads.first().filter(|_| self.may_attempt()).map(|(due, _)| (*due).max(self.quiet_until))
    }

    /// The attempt was accepted.
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

    /// A message is accepted or given up: what waits behind it goes on.
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

    /// The attempt failed: it is tried again later. Parks the receiver if it has accepted nothing for too long.
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
        // What was under way when it went down says nothing new.
        if self.is_down() && now >= self.quiet_until {
            self.failures_while_down = self.failures_while_down.saturating_add(1);
            self.quiet_until = later(now, pause(self.failures_while_down, draw, None));
        }
        if let Some(retry_after) = retry_after {
            self.quiet_until = self.quiet_until.max(later(now, retry_after.min(PAUSE_MAX)));
        }
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        // Down as well: the time may have passed while nobody tried, because the process was not running.
        if self.is_down() && now >= later(since, self.limits.park_after) {
            self.park(now, reason.clone());
        }
        self.failing = Some(Trouble { since, reason });
    }

    /// The receiver refused for good: it is parked.
    pub fn refused(&mut self, place: Place, now: UnixMillis, reason: String) {
        if self.under_way.remove(&place) {
            self.heads.insert((now, place));
            if let Some(waiting) = self.waiting.get_mut(&place) {
                waiting.reject(now, &reason, self.passes);
            }
            self.park(now, reason);
        }
    }

    /// A person has looked: everything is attempted again, from where it stopped.
    pub fn resume(&mut self, now: UnixMillis) {
        self.parked = None;
        self.waiting.values_mut().for_each(|waiting| waiting.failures = 0);
        self.trust_again();
        self.hurry(now);
    }

    /// Has everything from a place on sent again. Attempts under way are forgotten: their outcomes must not be told.
    pub fn replay(&mut self, from: Place) {
        let mut position = self.position();
        position.through = position.through.min(from.before());
        position.accepted.retain(|place| *place < from);
        *self = Tail::new(self.limits, position);
    }

    /// A person gives up a message that is rejected, is the next of its lane and not under way: it counts as accepted, and what waits behind it
    /// goes on. As when the receiver is resumed, what else failed is attempted again; one that is parked stays so.
    ///
    /// # Errors
    /// It is not rejected.
    pub fn skip(&mut self, place: Place, now: UnixMillis) -> Result<(), NotRejected> {
        let is_rejected = self.waiting.get(&place).is_some_and(|waiting| waiting.rejection.is_some());
        // After a replay others of its lane may be before it again, and it is not the one that would be attempted.
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

    /// Whether an attempt at this message has not ended.
    #[must_use]
    pub fn is_under_way(&self, place: Place) -> bool {
        self.under_way.contains(&place)
    }

    /// The message that is rejected longest while others pass; else the one that failed longest ago.
    #[must_use]
    pub fn rejected(&self) -> Option<Rejected> {
        if let Some(unread) = self.rejected_before.as_ref().filter(|rejected| rejected.place > self.read) {
            return Some(unread.clone());
        }
        let rejections = self.waiting.values().filter_map(|waiting| Some((waiting, waiting.rejection.as_ref()?)));
        let longest = rejections.min_by_key(|(_, rejection)| (!rejection.others_pass, rejection.trouble.since));
        longest.and_then(|(waiting, _)| waiting.rejected())
    }

    /// Whether people must be told of the message that is rejected.
    #[must_use]
    pub fn is_stuck(&self, now: UnixMillis) -> bool {
        let patience = if self.stands_still() { STANDSTILL_AFTER } else { STUCK_AFTER };
        let rejected = self.rejected().filter(|rejected| rejected.others_pass && !self.rejects_all());
        rejected.is_some_and(|rejected| now >= later(rejected.trouble.since, patience))
    }

    /// Whether the receiver is down for others, too: they passed once, and since the last of them nothing has.
    fn rejects_all(&self) -> bool {
        let fails = |rejection: &Rejection| !rejection.others_pass && rejection.trouble.since >= self.passed_at;
        self.is_down() && self.waiting.values().filter_map(|waiting| waiting.rejection.as_ref()).any(fails)
    }

    /// Whether the window is full, and everything in it is accepted or waits for messages that are to blame.
    fn stands_still(&self) -> bool {
        let is_to_blame = |place: &Place| {
            let rejection = self.waiting.get(place).and_then(|waiting| waiting.rejection.as_ref());
            rejection.is_some_and(|rejection| rejection.others_pass)
        };
        self.room() == 0 && self.heads.iter().map(|(_, place)| place).chain(&self.under_way).all(is_to_blame)
    }

    /// How far it is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            through: self.through(),
            accepted: self.accepted.clone(),
            failing: self.failing.clone(),
            parked: self.parked.clone(),
            // Of a receiver that is down each failure would be another position.
            rejected: self.rejected().filter(|rejected| rejected.others_pass || self.parked.is_some()),
        }
    }

    /// How it does.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.parked, &self.failing) {
            (Some(parked), _) => State::Parked(parked.clone()),
            (None, Some(failing)) => State::Failing(failing.clone()),
            (None, None) => State::Delivering,
        }
    }

    /// The oldest message that is not accepted, of those read.
    #[must_use]
    pub fn oldest(&self) -> Option<&Message<C>> {
        self.waiting.first_key_value().map(|(_, waiting)| &*waiting.message)
    }

    /// Everything up to here is accepted.
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

    /// Whether the receiver failed so often in a row that it is only asked whether it is back.
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

    /// Whatever waits for its pause need not any more: the pause was the receiver's, not the message's.
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
