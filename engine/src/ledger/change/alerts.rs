//! Alerts: at most one open per kind and subject; each change is a record.

use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, not_found};
use crate::fact::{AlertKind, Author, Condition, Fact};
use crate::ids::AlertId;
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::ledger::page::Page;
use crate::rows::{Alert, Row, Shelves};
use crate::store::StoreError;
use crate::time::{Moment, UnixMillis};

/// The longest silence: 30 days. An alert silenced for longer would be forgotten.
const SILENCE_MAX_MILLIS: u64 = 30 * 24 * 3600 * 1000;

/// An operator's change to an alert.
#[derive(Clone, Debug)]
pub enum AlertChange {
    /// Acknowledge the alert: no further notification, unless it becomes more severe.
    Acknowledge { id: AlertId, reason: Option<CompactString> },
    /// Suppress notifications until a time, unless the alert becomes more severe.
    Silence {
        id: AlertId,
        /// At most 30 days ahead; a time in the past ends the silence.
        until: UnixMillis,
    },
}

impl Ledger {
    /// Raises an alert. An open alert of the same kind and subject is updated if the severity differs; otherwise
    /// nothing changes: `None`.
    ///
    /// # Errors
    /// The alert was not raised.
    pub fn raise_alert(&self, condition: Condition, now: Moment) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let condition = Box::new(condition.bounded());
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let fact = match open_alert(&shelves, condition.kind, &condition.subject) {
            None => Fact::AlertRaised(condition),
            Some(open) if open.condition.severity == condition.severity => return Ok(None),
            Some(open) => Fact::AlertChanged { id: open.id, condition },
        };
        Ok(Some(self.commit_shelved(shared, shelves, &Author::Engine, self.stamp(now), fact)?))
    }

    /// Notifies again of an open alert, with its current condition. `None` for an alert that is acknowledged, silenced
    /// or resolved.
    ///
    /// # Errors
    /// There is no such alert, or the notification was not recorded.
    pub fn renotify_alert(
        &self,
        id: AlertId,
        condition: Condition,
        now: Moment,
    ) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let condition = Box::new(condition.bounded());
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let at = self.stamp(now);
        let alert: Alert = self.shelved(&shelves, &id)?.ok_or_else(|| not_found("alert", &id))?;
        if alert.is_quiet(at) {
            return Ok(None);
        }
        let fact = if alert.condition == *condition {
            Fact::AlertRenotified { id }
        } else {
            Fact::AlertChanged { id, condition }
        };
        Ok(Some(self.commit_shelved(shared, shelves, &Author::Engine, at, fact)?))
    }

    /// Resolves the open alert of this kind and subject; `None` where none is open.
    ///
    /// # Errors
    /// The alert was not resolved.
    pub fn resolve_alert(
        &self,
        kind: AlertKind,
        subject: &str,
        now: Moment,
    ) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let Some(id) = open_alert(&shelves, kind, subject).map(|alert| alert.id) else { return Ok(None) };
        let fact = Fact::AlertResolved { id };
        Ok(Some(self.commit_shelved(shared, shelves, &Author::Engine, self.stamp(now), fact)?))
    }

    /// An operator's change to an alert.
    pub(in crate::ledger) fn change_alert(
        &self,
        author: &Author,
        at: UnixMillis,
        change: AlertChange,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let (AlertChange::Acknowledge { id, .. } | AlertChange::Silence { id, .. }) = change;
        let alert: Alert = self.shelved(&shelves, &id)?.ok_or_else(|| not_found("alert", &id))?;
        if !alert.is_open() {
            return Err(ChangeError::Conflict(format!("alert {id} is over")));
        }
        let fact = match (change, alert.acknowledged) {
            (AlertChange::Acknowledge { .. }, Some(before)) => {
                return Err(ChangeError::Conflict(format!("alert {id} was acknowledged by {}", before.by)));
            }
            (AlertChange::Acknowledge { reason, .. }, None) => Fact::AlertAcknowledged { id, reason },
            // Saturating: a time in the past is no silence.
            (AlertChange::Silence { until, .. }, _) if until.0.saturating_sub(at.0) > SILENCE_MAX_MILLIS => {
                return Err(ChangeError::Invalid("an alert is silenced for 30 days at most".to_owned()));
            }
            (AlertChange::Silence { until, .. }, _) => Fact::AlertSilenced { id, until },
        };
        Ok(self.commit_shelved(shared, shelves, author, at, fact)?)
    }

    /// The open alerts, oldest first.
    #[must_use]
    pub fn open_alerts(&self) -> Vec<Alert> {
        self.lock_shelves().alerts.open().cloned().collect()
    }

    /// One alert, open or resolved.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        self.read_shelved(&id)
    }

    /// A page of the matching alerts, open and resolved, newest first. Reads the whole table.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn alerts(&self, page: Page, wanted: &dyn Fn(&Alert) -> bool) -> Result<Vec<Alert>, StoreError> {
        self.newest_first(page, |id: &AlertId| id.0, wanted)
    }
}

fn open_alert<'a>(shelves: &'a Shelves, kind: AlertKind, subject: &str) -> Option<&'a Alert> {
    shelves.alerts.open().find(|alert| alert.condition.kind == kind && alert.condition.subject == subject)
}
