//! Alerts: conditions that need an operator's attention, from raising to resolution.
//!
//! Kind and subject identify a condition, and at most one alert of a condition is open: a pool that runs lower changes
//! the severity of the open alert instead of raising a second one.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Row, Stored};
use crate::fact::{Condition, Fact, Record, Touches};
use crate::ids::{AlertId, Sequence};
use crate::store::Table;
use crate::time::UnixMillis;

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The last record folded into this row.
    pub sequence: Sequence,
    pub id: AlertId,
    /// The condition as last notified.
    pub condition: Condition,
    pub raised_at: UnixMillis,
    pub last_notified_at: UnixMillis,
    /// Number of notifications; raising is the first.
    pub notified: u32,
    pub acknowledged: Option<Acknowledgement>,
    /// No notification before this time.
    pub silenced_until: Option<UnixMillis>,
    /// `None` while open.
    pub resolved: Option<AlertEnd>,
    /// Every record that changed the alert, oldest first: enough to show its state at any of them.
    pub events: Vec<Sequence>,
}

/// An operator's acknowledgement of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub at: UnixMillis,
    /// The operator's name.
    pub by: CompactString,
    pub reason: Option<CompactString>,
}

/// The resolution of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEnd {
    pub at: UnixMillis,
    /// A person's name, or `engine` where the condition ended.
    pub by: CompactString,
}

impl Row for Alert {
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

    /// A resolved alert does not change.
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

impl Stored for Alert {
    const TABLE: Table = Table::Alerts;
}

impl Alert {
    /// Whether notifications are off at `now`: the alert is acknowledged, silenced or resolved.
    #[must_use]
    pub fn is_quiet(&self, now: UnixMillis) -> bool {
        !self.is_open() || self.acknowledged.is_some() || self.silenced_until.is_some_and(|until| now < until)
    }

    fn change(&mut self, at: UnixMillis, condition: &Condition) {
        if condition.severity > self.condition.severity {
            // An acknowledgement of a notice does not cover a later, more severe condition.
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
