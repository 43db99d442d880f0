//! The public listener's counters, looked up once: a look-up per request costs more than the decision.

use metrics::{Counter, Histogram, counter, histogram};
use tapgate_engine::fact::{DUPLICATE_MISMATCH, Reason, Source};
use tapgate_engine::ledger::Reply;
use tapgate_engine::rows::Outcome;

use crate::wire::callback::CARD_AUTHORIZATION;
use crate::wire::ur::EVENTS;

/// Handles of the callbacks' metrics (`docs/metrics.md`). Each series exists from the start, at 0.
#[derive(Debug)]
pub(super) struct Meters {
    /// From the arrival of an authorization callback to its durable answer.
    pub(super) decision_seconds: Histogram,
    /// Requests answered with 200.
    pub(super) answered: Counter,
    /// Requests answered with 503.
    pub(super) unavailable: Counter,
    approved_crypto: Counter,
    approved_fiat: Counter,
    acknowledged: Counter,
    /// By reason, in the ladder's order.
    declined: Vec<Counter>,
    mismatched: Counter,
    callbacks: Counter,
    events: [Counter; EVENTS.len()],
    unknown_event: Counter,
}

impl Meters {
    /// Registers with the process's recorder, which must be installed first.
    pub(super) fn new() -> Meters {
        let decisions = |outcome: &'static str, reason: &'static str, source: &'static str| counter!("tapgate_decisions_total", "outcome" => outcome, "reason" => reason, "source" => source);
        let event = |name: &'static str| counter!("tapgate_events_total", "event" => name);
        let answers =
            |code: &'static str| counter!("tapgate_http_requests_total", "listener" => "public", "code" => code);
        Meters {
            decision_seconds: histogram!("tapgate_decision_seconds"),
            answered: answers("200"),
            unavailable: answers("503"),
            approved_crypto: decisions("approved", "", Source::Crypto.name()),
            approved_fiat: decisions("approved", "", Source::Fiat.name()),
            acknowledged: decisions("acknowledged", "", ""),
            declined: Reason::ALL.iter().map(|reason| decisions("declined", reason.name(), "")).collect(),
            mismatched: decisions("declined", DUPLICATE_MISMATCH.0, ""),
            callbacks: event(CARD_AUTHORIZATION),
            events: EVENTS.map(event),
            unknown_event: event("unknown"),
        }
    }

    pub(super) fn event(&self, name: &str) {
        if name == CARD_AUTHORIZATION {
            return self.callbacks.increment(1);
        }
        let known = EVENTS.iter().zip(&self.events).find(|(known, _)| **known == name);
        known.map_or(&self.unknown_event, |(_, counter)| counter).increment(1);
    }

    pub(super) fn decision(&self, reply: &Reply) {
        let counter = match reply.outcome {
            Some(Outcome::Approved { source: Source::Crypto, .. }) => &self.approved_crypto,
            Some(Outcome::Approved { source: Source::Fiat, .. }) => &self.approved_fiat,
            Some(Outcome::Acknowledged { .. }) => &self.acknowledged,
            Some(Outcome::Declined(reason)) => self.declined.get(reason as usize).unwrap_or(&self.mismatched),
            None => &self.mismatched,
        };
        counter.increment(1);
    }
}
