//! Alerts in the ledger: at most one open per kind and subject, each change a record.

use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, not_found};
use crate::fact::{AlertKind, Author, Condition, Fact};
use crate::ids::AlertId;
use crate::journal::{Permit, Settles, Word};
use crate::ledger::Ledger;
use crate::ledger::commit::append;
use crate::ledger::page::{Page, newest_first};
use crate::rows::encoding::{load, record_key};
use crate::rows::{Alert, Alerts};
use crate::store::{StoreError, Table};
use crate::time::{Moment, UnixMillis};

/// The longest silence: 30 days. What is silenced for longer is forgotten.
const SILENCE_MAX_MILLIS: u64 = 30 * 24 * 3600 * 1000;

/// What a person does about an alert.
#[derive(Clone, Debug)]
pub enum AlertChange {
    /// Take it on: it is not told again, unless it becomes worse.
    Acknowledge {
        /// Which.
        id: AlertId,
        /// As the person gives it.
        reason: Option<CompactString>,
    },
    /// Have it told no more before a time, unless it becomes worse.
    Silence {
        /// Which.
        id: AlertId,
        /// The time, at most 30 days ahead; one that has passed ends the silence.
        until: UnixMillis,
    },
}

impl Ledger {
    /// Raises an alert. Where one of the same kind and subject is open it is changed if the severity is another, and left
    /// alone else: `None`.
    ///
    /// # Errors
    /// It was not raised.
    pub fn raise_alert(&self, condition: Condition, now: Moment) -> Result<Option<Arc<Word>>, ChangeError> {
        let condition = Box::new(condition.bounded());
        let _shared = self.read_shared();
        let mut alerts = self.lock_alerts();
        let fact = match alerts.open(condition.kind, &condition.subject) {
            None => Fact::AlertRaised(condition),
            Some(open) if open.condition.severity == condition.severity => return Ok(None),
            Some(open) => Fact::AlertChanged { id: open.id, condition },
        };
        let permit = self.journal.reserve()?;
        Ok(Some(alerts.append(permit, &Author::Engine, self.stamp(now), fact)))
    }

    /// Tells an open alert again, with its condition as it is now. `None` where nobody wants to be told: it is
    /// acknowledged, silenced or over.
    ///
    /// # Errors
    /// There is no such alert, or it was not noted.
    pub fn renotify_alert(
        &self,
        id: AlertId,
        condition: Condition,
        now: Moment,
    ) -> Result<Option<Arc<Word>>, ChangeError> {
        let condition = Box::new(condition.bounded());
        let _shared = self.read_shared();
        let mut alerts = self.lock_alerts();
        let at = self.stamp(now);
        let Some(alert) = alerts.0.get(&id) else {
            return if self.alert_on_disk(id)?.is_some() { Ok(None) } else { Err(not_found("alert", &id)) };
        };
        if alert.is_quiet(at) {
            return Ok(None);
        }
        let fact = if alert.condition == *condition {
            Fact::AlertRenotified { id }
        } else {
            Fact::AlertChanged { id, condition }
        };
        let permit = self.journal.reserve()?;
        Ok(Some(alerts.append(permit, &Author::Engine, at, fact)))
    }

    /// Resolves the open alert of this kind and subject, whose condition is over; `None` where none is open.
    ///
    /// # Errors
    /// It was not resolved.
    pub fn resolve_alert(&self, kind: AlertKind, subject: &str, now: Moment) -> Result<Option<Arc<Word>>, ChangeError> {
        let _shared = self.read_shared();
        let mut alerts = self.lock_alerts();
        let Some(id) = alerts.open(kind, subject).map(|alert| alert.id) else { return Ok(None) };
        let permit = self.journal.reserve()?;
        Ok(Some(alerts.append(permit, &Author::Engine, self.stamp(now), Fact::AlertResolved { id })))
    }

    /// What a person does about an alert.
    pub(in crate::ledger) fn change_alert(
        &self,
        author: &Author,
        at: UnixMillis,
        change: AlertChange,
    ) -> Result<Arc<Word>, ChangeError> {
        let _shared = self.read_shared();
        let mut alerts = self.lock_alerts();
        let (AlertChange::Acknowledge { id, .. } | AlertChange::Silence { id, .. }) = change;
        let in_memory = alerts.0.get(&id).cloned();
        let alert = in_memory.map_or_else(|| self.alert_on_disk(id), |alert| Ok(Some(alert)))?;
        let alert = alert.ok_or_else(|| not_found("alert", &id))?;
        if !alert.is_open() {
            return Err(ChangeError::Conflict(format!("alert {id} is over")));
        }
        let fact = match (change, alert.acknowledged) {
            (AlertChange::Acknowledge { .. }, Some(before)) => {
                return Err(ChangeError::Conflict(format!("alert {id} was acknowledged by {}", before.by)));
            }
            (AlertChange::Acknowledge { reason, .. }, None) => Fact::AlertAcknowledged { id, reason },
            (AlertChange::Silence { until, .. }, _) if until.0.saturating_sub(at.0) > SILENCE_MAX_MILLIS => {
                return Err(ChangeError::Invalid("an alert is silenced for 30 days at most".to_owned()));
            }
            (AlertChange::Silence { until, .. }, _) => Fact::AlertSilenced { id, until },
        };
        let permit = self.journal.reserve()?;
        Ok(alerts.append(permit, author, at, fact))
    }

    /// The alerts that are open, oldest first.
    #[must_use]
    pub fn open_alerts(&self) -> Vec<Alert> {
        self.lock_alerts().0.values().filter(|alert| alert.is_open()).cloned().collect()
    }

    /// One alert, open or over.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let in_memory = self.lock_alerts().0.get(&id).cloned();
        in_memory.map_or_else(|| self.alert_on_disk(id), |alert| Ok(Some(alert)))
    }

    /// A page of the alerts that are wanted, open ones and those over, newest first. Reads the whole table.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn alerts(&self, page: Page, wanted: &dyn Fn(&Alert) -> bool) -> Result<Vec<Alert>, StoreError> {
        let in_memory: Vec<_> = self.lock_alerts().0.iter().map(|(id, alert)| (id.0, alert.clone())).collect();
        newest_first(&*self.store, Table::Alerts, in_memory, page, wanted)
    }

    fn alert_on_disk(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        load(&*self.store, Table::Alerts, &record_key(id.0))
    }
}

impl Alerts {
    /// Gives a fact its place in the journal and applies it. All that can fail has not.
    fn append(&mut self, permit: Permit<'_>, author: &Author, at: UnixMillis, fact: Fact) -> Arc<Word> {
        let word = Word::pending();
        let (sequence, fact) = append(permit, author.clone(), at, fact, Settles::Decision(Arc::clone(&word)));
        self.apply(sequence, at, author, &fact);
        word
    }
}
