//! Alerts: conditions that somebody must know of, from the moment they are raised until they are over.
//!
//! A condition is named by its kind and its subject, and at most one alert of that name is open at a time: a pool that
//! runs lower is the same alert with another severity, not a second one.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::fact::{Condition, Fact, Record, Touches};
use crate::ids::{AlertId, Sequence};
use crate::store::Table;
use crate::time::UnixMillis;

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// Which it is.
    pub id: AlertId,
    /// The condition as it was last told.
    pub condition: Condition,
    /// When it was raised.
    pub raised_at: UnixMillis,
    /// When it was last told to anybody.
    pub last_notified_at: UnixMillis,
    /// How often; the raising is the first time.
    pub notified: u32,
    /// Who has taken it on.
    pub acknowledged: Option<Acknowledgement>,
    /// It is not told again before this time.
    pub silenced_until: Option<UnixMillis>,
    /// How it ended, once it has.
    pub resolved: Option<AlertEnd>,
    /// Every record that changed it, oldest first: with them it can be shown as it stood at any of them.
    pub events: Vec<Sequence>,
}

/// Who has taken an alert on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// When.
    pub at: UnixMillis,
    /// The person's name.
    pub by: CompactString,
    /// As the person gave it.
    pub reason: Option<CompactString>,
}

/// How an alert ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEnd {
    /// When.
    pub at: UnixMillis,
    /// Who said so; `engine` where the condition was seen to be over.
    pub by: CompactString,
}

impl Row for Alert {
    const TABLE: Table = Table::Alerts;
    type Key = AlertId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = AlertId> {
        touches.alert.into_iter()
    }

    fn open(id: &AlertId, sequence: Sequence, record: &Record) -> Option<Alert> {
        let Fact::AlertRaised(condition) = &record.fact else { return None };
        Some(Alert {
            sequence,
            id: *id,
            condition: (**condition).clone(),
            raised_at: record.at,
            last_notified_at: record.at,
            notified: 1,
            acknowledged: None,
            silenced_until: None,
            resolved: None,
            events: vec![sequence],
        })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// An alert that is over stays as it is.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        let Record { at, author, fact } = record;
        let at = *at;
        if sequence <= self.sequence || !self.is_open() {
            return;
        }
        match fact {
            Fact::AlertChanged { condition, .. } => self.change(at, condition),
            Fact::AlertRenotified { .. } => self.told(at),
            Fact::AlertAcknowledged { reason, .. } => {
                self.acknowledged = Some(Acknowledgement { at, by: author.name().into(), reason: reason.clone() });
            }
            Fact::AlertSilenced { until, .. } => self.silenced_until = (*until > at).then_some(*until),
            Fact::AlertResolved { .. } => self.resolved = Some(AlertEnd { at, by: author.name().into() }),
            _ => return,
        }
        self.events.push(sequence);
        self.sequence = sequence;
    }

    fn is_open(&self) -> bool {
        self.resolved.is_none()
    }
}

impl Alert {
    /// Whether nobody wants to be told again at `now`: somebody has taken it on, silenced it, or it is over.
    #[must_use]
    pub fn is_quiet(&self, now: UnixMillis) -> bool {
        !self.is_open() || self.acknowledged.is_some() || self.silenced_until.is_some_and(|until| now < until)
    }

    fn change(&mut self, at: UnixMillis, condition: &Condition) {
        if condition.severity > self.condition.severity {
            // Who has taken on a notice has not taken on what became critical.
            self.acknowledged = None;
            self.silenced_until = None;
        }
        self.condition = condition.clone();
        if !self.is_quiet(at) {
            self.told(at);
        }
    }

    fn told(&mut self, at: UnixMillis) {
        self.last_notified_at = at;
        self.notified = self.notified.saturating_add(1);
    }
}
