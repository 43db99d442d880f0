//! Submits one callback: replays the stored answer, decides by the ladder, or acknowledges.

use std::sync::Arc;

use super::commit::{commit_reserved, fold, fold_into, is_first};
use super::gather::{Known, Scene};
use super::ids::AnswerSlot;
use super::settle::Books;
use super::{Ledger, Shared};
use crate::bytes::Fingerprint;
use crate::fact::{
    Author, Capacity, Decided, Difference, EncodedRequest, Fact, Inputs, Kind, Provider, Reason, Record, Request,
    Source, Verdict,
};
use crate::ids::{AuthorizationId, Sequence};
use crate::journal::{Durability, NoPlace, Resolves, Ticket};
use crate::money::{CurrencyCode, Minor};
use crate::rows::{Answer, Outcome, Row};
use crate::rules::{Plan, decide, largest_approvable};
use crate::store::StoreError;
use crate::sync::{Entry as MapEntry, Ordering};
use crate::time::Moment;

/// Attempts to take from a pool before declining: one for each funding route, one for the partial amount, and one
/// spare. Each failure lowers the pool figure that the next attempt decides on.
const TAKE_ATTEMPTS_MAX: usize = 4;

/// The reply to a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub id: AuthorizationId,
    pub root: AuthorizationId,
    pub currency: CurrencyCode,
    /// `None` for a known id with other data (`duplicate_mismatch`), which is not stored.
    pub outcome: Option<Outcome>,
}

/// An accepted callback. The reply may be sent once `ticket` is durable.
#[derive(Clone, Debug)]
pub struct Submission {
    pub reply: Reply,
    /// `None`: the reply may be sent at once.
    pub ticket: Option<Arc<Ticket>>,
}

impl Submission {
    /// The reply for a resolved ticket; `None` where the journal failed (`outcome_unknown`).
    #[must_use]
    pub fn reply_when(self, durability: Durability) -> Option<Reply> {
        match durability {
            Durability::Durable => Some(self.reply),
            // The mismatch is with the id, whatever became of its decision.
            Durability::Released if self.reply.outcome.is_none() => Some(self.reply),
            Durability::Released => {
                Some(Reply { outcome: Some(Outcome::Declined(Reason::DeadlineExceeded)), ..self.reply })
            }
            Durability::Failed => None,
        }
    }
}

/// A refused callback; it had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The journal's queue is full.
    #[error("too many requests are waiting for the journal; try again")]
    Overloaded,
    /// Rows on disk could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Result of abandoning a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The ticket is resolved, or the release will resolve it: wait for the ticket again.
    WaitAgain,
    /// The hold stays and its durability is unknown: `outcome_unknown`.
    Unknown,
}

impl Ledger {
    /// Submits one callback: answers a known id, decides an authorization or increment, or acknowledges a reversal or
    /// advice. Runs in the caller's thread; the caller then waits for the ticket only.
    ///
    /// # Errors
    /// The callback was refused and had no effect.
    pub fn submit(&self, request: Request, now: Moment) -> Result<Submission, Refusal> {
        let mut encoded = EncodedRequest::of(&request);
        let fingerprint = encoded.fingerprint();
        let mut request = request;
        if let Some(root) = self.root_of_named(&request)? {
            (request, encoded) = rooted(request, root);
        }
        let shared = self.read_shared();
        let own = self.ids.key(&request.id);
        let (mut places, root) = loop {
            let root = if *request.root() == request.id { own } else { self.ids.key(request.root()) };
            let mut places = self.places([(own, &request.id), (root, request.root())])?;
            if let Some(slot) = places.answer(own) {
                return Ok(known(&request, fingerprint, slot));
            }
            // The message that it names may have been answered since it was looked up.
            match places.answer(root).map(|slot| slot.answer.root.clone()) {
                Some(other) if other != *request.root() => (request, encoded) = rooted(request, other),
                _ => break (places, root),
            }
        };
        // Of an increment, a reversal that named it may have come before it.
        let reversed_before = own != root && places.authorization(own).is_some_and(|row| row.is_tombstone);
        let reversed_before = reversed_before && request.kind == Kind::Incremental;
        // The map entry stays locked even for an unknown user: an import must come before or after, not between.
        let owner = self.users.entry(request.user.clone());
        let user = match &owner {
            MapEntry::Occupied(row) => Some(&**row.get()),
            MapEntry::Vacant(_) => None,
        };
        let author = Author::of(user.map_or(Provider::Ur, |user| user.provider));
        let permit = match self.journal.reserve_decision() {
            Ok(permit) => permit,
            Err(NoPlace::Full) => return Err(Refusal::Overloaded),
            Err(NoPlace::Unavailable) => return Ok(unavailable(&request)),
        };
        let moment = Moment { at: self.stamp(now), ..now };
        let existing = places.authorization(root).map(|row| &*row);
        let fact = if request.kind.is_decided() || !request.amount_is_valid() {
            let known = Known { user, root: existing, reversed_before };
            self.decided(request, fingerprint, &shared, known, moment)
        } else {
            let holder = user.filter(|_| existing.is_none_or(|row| row.user == request.user));
            let id = request.root().clone();
            self.announced(request, fingerprint, &shared, holder, &id, existing)
        };
        let ticket = Ticket::pending();
        let resolves = Resolves::Decision(Arc::clone(&ticket));
        let record = Record { at: moment.at, author, fact };
        let other;
        let payload = if let Fact::Decided(decided) = &record.fact {
            encoded.decided(&record, decided)
        } else {
            other = record.encode();
            &other
        };
        let reply = commit_reserved(permit, shared, &record, payload, resolves, |_, sequence, record| {
            // Only a return that changes nothing touches no user: this look costs a decision less than all that
            // `touches` gathers.
            let touches_user = !matches!(&record.fact, Fact::Settled(settled) if settled.user.is_none());
            debug_assert_eq!(touches_user, record.fact.touches(sequence).user.is_some());
            if touches_user {
                fold_into(owner, sequence, record);
            }
            // A first authorization has no difference to look at.
            let tells = |change: &Difference| !change.opened.is_empty() || !change.resolved.is_empty();
            if !is_first(&record.fact) && record.fact.differences().any(tells) {
                self.lock_shelves().apply(&record.fact.touches(sequence), sequence, record);
            }
            let request = answered(&record.fact);
            let answer = answer_of(&request.id, sequence, record);
            let reply = reply(request.id.clone(), &answer);
            let slot = AnswerSlot { answer, ticket: Some(Arc::clone(&ticket)) };
            places.answer_with([own, root], request, slot, sequence, record);
            reply
        });
        Ok(Submission { reply, ticket: Some(ticket) })
    }

    /// The root of the earlier message that a request names: UR may name any of an authorization's. `None`: it is the root.
    fn root_of_named(&self, request: &Request) -> Result<Option<AuthorizationId>, StoreError> {
        let named = request.original.as_ref().filter(|_| request.kind != Kind::Authorization);
        let Some(named) = named else { return Ok(None) };
        let root = self.read_id(named, |live| live.answer.as_ref().map(|slot| slot.answer.root.clone()))?;
        Ok(root.flatten().filter(|root| root != named))
    }

    /// Decides by the ladder. An approval from a pool takes from it as the last step that can fail.
    fn decided(
        &self,
        request: Request,
        fingerprint: Fingerprint,
        shared: &Shared,
        known: Known<'_>,
        moment: Moment,
    ) -> Fact {
        let disk_low = self.disk_low.load(Ordering::Relaxed);
        let scene = Scene { policy: &self.policy, shared, request: &request, known, moment, disk_low };
        let mut inputs = scene.inputs();
        if known.root.is_some() {
            scene.leave_claimed(&mut inputs);
        }
        let verdict = self.reach_verdict(&request, &mut inputs, shared);
        let Known { user, root, .. } = known;
        let previous = root.map_or(Sequence::ZERO, |row| row.sequence);
        let mut decided = Decided { request, fingerprint, inputs, verdict, previous, settled: None };
        let changes_root =
            matches!(decided.verdict, Verdict::Approved(_)) || decided.request.kind == Kind::Authorization;
        if changes_root {
            decided.settled = Books { shared, user, policy: &self.policy }.decided(root, &decided);
        }
        Fact::Decided(Box::new(decided))
    }

    fn reach_verdict(&self, request: &Request, inputs: &mut Inputs, shared: &Shared) -> Verdict {
        if !request.kind.is_decided() {
            // The ladder does not decide reversals and advices; one that reaches it has an invalid amount.
            return Verdict::Declined(Reason::AmountInvalid);
        }
        for _ in 0..TAKE_ATTEMPTS_MAX {
            let plan = match self.plan(request, inputs) {
                Ok(plan) => plan,
                Err(reason) => return Verdict::Declined(reason),
            };
            let claimed = inputs.claimed.as_ref().map(|claimed| claimed.paid);
            let claimed = claimed.filter(|paid| paid.currency == plan.approval.paid.currency);
            let claimed = claimed.map_or(Minor::ZERO, |paid| paid.amount);
            match take(shared, &plan, claimed) {
                Ok(()) => return Verdict::Approved(plan.approval),
                Err(left) => note_pool(inputs, plan.route, left + claimed),
            }
        }
        Verdict::Declined(Reason::PoolExhausted)
    }

    fn plan(&self, request: &Request, inputs: &Inputs) -> Result<Plan, Reason> {
        let full = decide(request, request.amount, inputs);
        if full.is_ok() || !self.policy.partial_approval || !request.partial_approval_allowed {
            return full;
        }
        let part = largest_approvable(request, inputs);
        if part.is_zero() { full } else { decide(request, part, inputs) }
    }

    /// Abandons the wait for a decision at its deadline. A decision that is not durable by then is released, and the
    /// durability of the release resolves the ticket.
    pub fn give_up(&self, submission: &Submission, now: Moment) -> GaveUp {
        let Some(ticket) = &submission.ticket else { return GaveUp::WaitAgain };
        let Reply { id, root, outcome, .. } = &submission.reply;
        if !matches!(outcome, Some(Outcome::Approved { .. } | Outcome::Declined(_))) {
            // A reversal's release stays, and a mismatch changes nothing; UR asks again and gets the stored answer.
            return if ticket.durability().is_some() { GaveUp::WaitAgain } else { GaveUp::Unknown };
        }
        let shared = self.read_shared();
        let (own, root_key) = (self.ids.key(id), self.ids.key(root));
        let Ok(mut places) = self.places([(own, id), (root_key, root)]) else { return GaveUp::Unknown };
        let Some(decided) = places.answer(own).map(|slot| slot.answer.decided) else { return GaveUp::WaitAgain };
        let row = places.authorization(root_key).map(|row| &*row);
        let owner = row.map(|row| row.user.clone());
        let mut user = owner.as_ref().and_then(|owner| self.users.get_mut(owner));
        if self.journal.has_failed() {
            return GaveUp::Unknown;
        }
        if !ticket.give_up() {
            return GaveUp::WaitAgain;
        }
        let permit = self.journal.reserved_release();
        let at = self.stamp(now);
        let row = places.authorization(root_key).map(|row| &*row);
        let fact = self.late(id, root, decided, &shared, user.as_deref().map(|user| &**user), row);
        let record = Record { at, author: Author::Engine, fact };
        let payload = record.encode();
        let resolves = Resolves::Release(Arc::clone(ticket));
        commit_reserved(permit, shared, &record, &payload, resolves, |_, sequence, record| {
            if let Some(user) = user.as_mut().filter(|_| record.fact.touches(sequence).user.is_some()) {
                fold(&mut ***user, sequence, record);
            }
            if let Some(row) = places.authorization(root_key) {
                fold(row, sequence, record);
            }
            if let Some(slot) = places.answer(own) {
                slot.answer.apply(sequence, record);
            }
            let touches = record.fact.touches(sequence);
            self.apply_breaks(&touches, sequence, record);
        });
        GaveUp::WaitAgain
    }
}

/// Lets a request name its root.
fn rooted(request: Request, root: AuthorizationId) -> (Request, EncodedRequest) {
    let request = Request { original: Some(root), ..request };
    let encoded = EncodedRequest::of(&request);
    (request, encoded)
}

/// The callback that a record answers.
#[expect(clippy::expect_used, reason = "a callback without an answer, after its record is published, is a bug")]
fn answered(fact: &Fact) -> &Request {
    fact.request().expect("a callback's record answers it")
}

/// The answer in a callback's record.
#[expect(clippy::expect_used, reason = "a callback without an answer, after its record is published, is a bug")]
fn answer_of(id: &AuthorizationId, sequence: Sequence, record: &Record) -> Answer {
    Answer::open(id, sequence, record).expect("a callback's record answers it")
}

fn take(shared: &Shared, Plan { approval, kept, .. }: &Plan, claimed: Minor) -> Result<(), Minor> {
    if approval.source == Source::Fiat || approval.paid.amount.is_zero() {
        return Ok(());
    }
    shared.pool(approval.paid.currency).map_or(Err(Minor::ZERO), |pool| pool.take(approval, claimed, *kept))
}

/// The pool figure was stale: decide again on the current one.
fn note_pool(inputs: &mut Inputs, route: usize, left: Minor) {
    if let Some(route) = inputs.routes.get_mut(route)
        && let Capacity::Pool { available, .. } = &mut route.capacity
    {
        *available = left;
    }
}

fn known(request: &Request, fingerprint: Fingerprint, slot: &AnswerSlot) -> Submission {
    let reply = if slot.answer.fingerprint == fingerprint {
        reply(request.id.clone(), &slot.answer)
    } else {
        Reply { id: request.id.clone(), root: request.root().clone(), currency: request.currency_code(), outcome: None }
    };
    // A mismatch waits too: it says that the id is known, and a crash may yet make it unknown.
    Submission { reply, ticket: slot.ticket.clone() }
}

fn reply(id: AuthorizationId, answer: &Answer) -> Reply {
    Reply { id, root: answer.root.clone(), currency: answer.currency, outcome: Some(answer.outcome) }
}

/// Declines without a record, because the journal is unavailable. Reversals are not acknowledged then either.
fn unavailable(request: &Request) -> Submission {
    let outcome = Some(Outcome::Declined(Reason::JournalUnavailable));
    let reply =
        Reply { id: request.id.clone(), root: request.root().clone(), currency: request.currency_code(), outcome };
    Submission { reply, ticket: None }
}
