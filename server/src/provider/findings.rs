//! What tapgate could not use of UR's answers, for the watch to alert on: by endpoint and field, with a redacted sample.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compact_str::{CompactString, ToCompactString};
use metrics::counter;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::AccountStatus;
use tapgate_engine::ids::UrId;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;

use crate::wire::Malformed;

/// The most endpoints and fields that are kept apart; further ones are counted and logged only.
const FIELDS_MAX: usize = 64;

/// A field counts as unreadable for this long after its last unreadable value: a day, longer than any account's turn.
const KEPT_MILLIS: u64 = 86_400_000;

/// A field of an endpoint that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The endpoint, or the event of a notification.
    pub of: &'static str,
    pub field: CompactString,
    /// The first error, without the values of people.
    pub sample: CompactString,
    pub count: u64,
    last_at: UnixMillis,
}

/// A rate that is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implausible {
    pub pair: (Currency, Currency),
    pub rate: u32,
    pub spread: u32,
    pub inverse: Option<u32>,
    /// The rate in use.
    pub last: Option<u32>,
}

/// How often UR counts a spend against the limit, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitWeight {
    /// `decision.limit_weight`.
    pub set: u8,
    pub counted: u8,
}

/// The ops account itself, as UR last showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpsAccount {
    pub id: UrId,
    pub status: AccountStatus,
    pub limit: ClientLimit,
}

/// The findings since the start.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// The first look: earlier findings are those of another process.
    began: Option<UnixMillis>,
    unreadable: BTreeMap<(&'static str, CompactString), Unreadable>,
    /// `None` before the first rates of this process.
    implausible: Option<Vec<Implausible>>,
    /// `None` before the first measurement of this process.
    limit_weight: Option<LimitWeight>,
    /// `None` before the ops account's first profile in this process.
    ops_account: Option<OpsAccount>,
}

/// The findings that hold now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    pub unreadable: Vec<Unreadable>,
    /// Whether this process runs for long enough to know that nothing else is unreadable.
    pub is_unreadable_known: bool,
    /// `None` before the first rates of this process.
    pub implausible: Option<Vec<Implausible>>,
    /// `None` before the first measurement of this process.
    pub limit_weight: Option<LimitWeight>,
    /// `None` before the ops account's first profile in this process.
    pub ops_account: Option<OpsAccount>,
}

impl Findings {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and notes a row, field or page marker of an answer or notification.
    pub fn unreadable(&self, of: &'static str, error: &Malformed, at: UnixMillis) {
        counter!("tapgate_ur_unreadable_total", "path" => of).increment(1);
        let mut inside = self.lock();
        let has_room = inside.unreadable.len() < FIELDS_MAX;
        let key = (of, error.field().to_compact_string());
        let known = inside.unreadable.get_mut(&key);
        match known {
            Some(found) => {
                found.count += 1;
                found.last_at = at;
            }
            None if has_room => {
                let (field, sample) = (key.1.clone(), error.redacted());
                inside.unreadable.insert(key, Unreadable { of, field, sample, count: 1, last_at: at });
            }
            None => {}
        }
    }

    /// Replaces the rates that are not used.
    pub fn implausible(&self, rates: Vec<Implausible>) {
        self.lock().implausible = Some(rates);
    }

    /// Replaces the measured weight.
    pub fn limit_weight(&self, measured: LimitWeight) {
        self.lock().limit_weight = Some(measured);
    }

    /// Replaces the ops account's figures.
    pub fn ops_account(&self, shown: OpsAccount) {
        self.lock().ops_account = Some(shown);
    }

    #[must_use]
    pub fn look(&self, now: UnixMillis) -> Looked {
        let mut inside = self.lock();
        let began = *inside.began.get_or_insert(now);
        let is_over = |since: UnixMillis| now.0 > since.0.saturating_add(KEPT_MILLIS);
        inside.unreadable.retain(|_, found| !is_over(found.last_at));
        Looked {
            unreadable: inside.unreadable.values().cloned().collect(),
            is_unreadable_known: is_over(began),
            implausible: inside.implausible.clone(),
            limit_weight: inside.limit_weight,
            ops_account: inside.ops_account.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_once_without_its_values_and_forgotten_after_a_day() {
        let findings = Findings::default();
        let of = "/v1/balance";
        let error = |shown: &str| Malformed(format!("amount of EUR must be an amount such as -6.00, got {shown:?}"));
        assert!(!findings.look(UnixMillis(0)).is_unreadable_known);
        findings.unreadable(of, &error("1,234.50"), UnixMillis(1));
        findings.unreadable(of, &error("9.999"), UnixMillis(2));
        findings.unreadable(of, &Malformed("symbol is missing".to_owned()), UnixMillis(1));
        let found = findings.look(UnixMillis(3)).unreadable;
        let shown: Vec<_> = found.iter().map(|found| (found.field.as_str(), found.count)).collect();
        assert_eq!(shown, [("amount", 2), ("symbol", 1)]);
        assert_eq!(found[0].sample, "amount of EUR must be an amount such as -6.00, got \"9,999.99\"");
        let looked = findings.look(UnixMillis(KEPT_MILLIS + 2));
        assert_eq!((looked.unreadable.len(), looked.is_unreadable_known), (1, true));
        assert_eq!(looked.implausible, None);
    }

    #[test]
    fn strangers_fill_no_memory() {
        let findings = Findings::default();
        for number in 0..2 * FIELDS_MAX {
            findings.unreadable("transaction", &Malformed(format!("field{number} is missing")), UnixMillis(1));
        }
        assert_eq!(findings.look(UnixMillis(1)).unreadable.len(), FIELDS_MAX);
    }
}
