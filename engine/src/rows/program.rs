//! State of the whole program.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::contract::pricing::Rates;
use crate::fact::{Fact, Policy, Provider, ProviderSuspended, Record};
use crate::ids::Sequence;
use crate::time::UnixMillis;

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
    /// The decision settings last recorded.
    pub policy: Option<Box<Policy>>,
    /// The last word about each provider's card service; empty until a provider suspends or resumes it.
    pub providers: SmallVec<[ProviderSuspended; 1]>,
}

impl Program {
    /// The provider's suspension of its card service, if it is suspended.
    #[must_use]
    pub fn suspension(&self, provider: Provider) -> Option<&ProviderSuspended> {
        self.providers.iter().find(|word| word.provider == provider && word.suspended)
    }

    /// Whether a word about a provider's card service is newer than the last, or another one of the same second. A first
    /// word is news even if it resumes: the suspension that it ends may arrive later.
    pub(crate) fn is_news_of(&self, word: &ProviderSuspended) -> bool {
        let last = self.providers.iter().find(|last| last.provider == word.provider);
        last.is_none_or(|last| word.at > last.at || (word.at == last.at && word.suspended != last.suspended))
    }

    /// Folds one record.
    pub(crate) fn apply(&mut self, at: UnixMillis, fact: &Fact) {
        match fact {
            Fact::RatesReplaced(rates) => self.rates = Rates { set_at: Some(at), ..(**rates).clone() },
            Fact::ProgramSuspended { suspended, reason } => {
                self.suspended = *suspended;
                self.reason = reason.clone();
            }
            Fact::ProviderSuspended(word) => {
                self.providers.retain(|last| last.provider != word.provider);
                self.providers.push((**word).clone());
            }
            Fact::PolicyApplied(policy) => self.policy = Some(policy.clone()),
            // Rates from the future would never be stale.
            Fact::ClockSet(set) => self.rates.set_back(set.to),
            _ => {}
        }
    }
}

/// The last record that ended a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aged {
    pub(crate) sequence: Sequence,
    pub(crate) at: UnixMillis,
    /// Idempotency keys of records up to here are forgotten.
    pub(crate) keys_through: Sequence,
}

/// The program's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramRow {
    pub(crate) sequence: Sequence,
    pub(crate) program: Program,
    pub(crate) aged: Aged,
    /// The latest time of any record since the clock was last set: decisions never go back before it.
    pub(crate) at: UnixMillis,
}

impl ProgramRow {
    /// Folds one record; every record advances the time.
    pub(crate) fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence {
            self.program.apply(record.at, &record.fact);
            self.aged.apply(sequence, record.at, &record.fact);
            self.at = if let Fact::ClockSet(set) = &record.fact { set.to } else { self.at.max(record.at) };
            self.sequence = sequence;
        }
    }
}

impl Aged {
    pub(crate) fn apply(&mut self, sequence: Sequence, at: UnixMillis, fact: &Fact) {
        match fact {
            Fact::Aged { keys_through } => *self = Aged { sequence, at, keys_through: *keys_through },
            Fact::ClockSet(set) => self.at = self.at.min(set.to),
            _ => {}
        }
    }
}
