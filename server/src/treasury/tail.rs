//! Treasury's state: a fold of the journal from its first record, and the bytes of its cache.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::fact::{Day, Fact, Record};
use tapgate_engine::ids::Sequence;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;
use tapgate_engine::tree::{Hash, Head};

use super::burn::Burn;
use super::calendar::CreditCalendar;
use super::movement::spent;
use super::outcomes::Outcomes;
use super::statement::Statements;

/// The version of the bytes. Another form, or another meaning of a figure, needs another version.
const VERSION: u8 = 3;

/// The state after one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The last record folded.
    pub cursor: Sequence,
    /// The time zone of the days.
    time_zone: String,
    /// The current day there, and its end.
    day: (Day, UnixMillis),
    burns: BTreeMap<Currency, Burn>,
    pub statements: Statements,
    pub outcomes: Outcomes,
}

impl Tail {
    /// The state before the first record.
    #[must_use]
    pub fn new(calendar: &CreditCalendar) -> Tail {
        Tail {
            cursor: Sequence::ZERO,
            time_zone: calendar.zone_name(),
            day: (Day(0), UnixMillis(0)),
            burns: BTreeMap::new(),
            statements: Statements::default(),
            outcomes: Outcomes::default(),
        }
    }

    /// Folds the next record.
    pub fn apply(&mut self, sequence: Sequence, record: &Record, calendar: &CreditCalendar) {
        self.cursor = sequence;
        let Record { at, fact, .. } = record;
        if let Fact::ProgramSuspended { suspended, .. } = fact {
            self.outcomes.suspend(*suspended);
        }
        if !matches!(fact, Fact::Decided(_)) && fact.touches(sequence).pools.is_empty() {
            return;
        }
        if *at >= self.day.1 {
            self.day = calendar.day(*at);
        }
        for (currency, amount) in spent(fact) {
            self.burns.entry(currency).or_default().add(*at, amount);
        }
        self.statements.add(self.day.0, fact);
        if let Fact::Decided(decided) = fact {
            self.outcomes.add(*at, &decided.verdict);
        }
    }

    /// A pool's burn up to the last record.
    #[must_use]
    pub fn burn(&self, currency: Currency) -> Burn {
        self.burns.get(&currency).cloned().unwrap_or_default()
    }

    #[must_use]
    pub fn has_spent(&self, currency: Currency) -> bool {
        self.burns.contains_key(&currency)
    }

    /// The bytes of the cache. `head` is that of the journal at the cursor: it differs in another journal.
    ///
    /// # Errors
    /// The state cannot be encoded.
    pub fn encode(&self, head: &Head) -> Result<Vec<u8>, postcard::Error> {
        let mut bytes = postcard::to_stdvec(&(VERSION, head.root, self))?;
        let check = Fingerprint::of(&bytes);
        bytes.extend_from_slice(&check.0);
        Ok(bytes)
    }

    /// Reads the cache, and the journal's head at its cursor. `None` if it is damaged, of another version, or of another
    /// time zone: then everything is read again.
    #[must_use]
    pub fn decode(bytes: &[u8], calendar: &CreditCalendar) -> Option<(Tail, Head)> {
        let (bytes, check) = bytes.split_last_chunk::<16>()?;
        if Fingerprint::of(bytes) != Fingerprint(*check) || bytes.first() != Some(&VERSION) {
            return None;
        }
        let (_, root, tail) = postcard::from_bytes::<(u8, Hash, Tail)>(bytes).ok()?;
        let head = Head { size: tail.cursor.0, root };
        (tail.time_zone == calendar.zone_name()).then_some((tail, head))
    }
}
