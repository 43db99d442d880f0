//! State of the whole program, and the idempotency keys of people's requests.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::bytes::Fingerprint;
use crate::contract::pricing::Rates;
use crate::fact::{Author, Fact, Record};
use crate::ids::Sequence;
use crate::time::UnixMillis;

/// How long an idempotency key is kept: 24 hours.
const IDEMPOTENCY_KEPT_MILLIS: u64 = 24 * 3600 * 1000;

/// The key of the program's one row.
pub(crate) const PROGRAM_KEY: &[u8] = b"program";

/// State of the whole program, except its pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Nothing is approved while suspended.
    pub suspended: bool,
    /// The person's reason for suspending or resuming.
    pub reason: CompactString,
    pub rates: Rates,
}

impl Program {
    /// Folds one record.
    pub(crate) fn apply(&mut self, at: UnixMillis, fact: &Fact) {
        match fact {
            Fact::RatesReplaced(rates) => self.rates = Rates { set_at: Some(at), ..(**rates).clone() },
            Fact::ProgramSuspended { suspended, reason } => {
                self.suspended = *suspended;
                self.reason = reason.clone();
            }
            _ => {}
        }
    }
}

/// The idempotency keys of the last 24 hours, by the caller's name and key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys(BTreeMap<(CompactString, CompactString), (Fingerprint, UnixMillis)>);

impl Keys {
    pub(crate) fn get(&self, name: &str, key: &str, now: UnixMillis) -> Option<Fingerprint> {
        let (fingerprint, at) = self.0.get(&(name.into(), key.into()))?;
        (at.0 + IDEMPOTENCY_KEPT_MILLIS >= now.0).then_some(*fingerprint)
    }

    pub(crate) fn apply(&mut self, now: UnixMillis, author: &Author) {
        if let Author::Person { name, idempotency: Some(idempotency) } = author {
            self.0.retain(|_, (_, at)| at.0 + IDEMPOTENCY_KEPT_MILLIS >= now.0);
            self.0.insert((name.clone(), idempotency.key.clone()), (idempotency.fingerprint, now));
        }
    }
}

/// The program's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramRow {
    pub(crate) sequence: Sequence,
    pub(crate) program: Program,
    pub(crate) keys: Keys,
    /// The latest time of any record: decisions never go back before it.
    pub(crate) at: UnixMillis,
}

impl ProgramRow {
    /// Folds one record; every record advances the time and adds its author's idempotency key.
    pub(crate) fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence {
            self.program.apply(record.at, &record.fact);
            self.keys.apply(record.at, &record.author);
            self.at = self.at.max(record.at);
            self.sequence = sequence;
        }
    }
}
