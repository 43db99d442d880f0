//! A receiver that is parked is an alert: the other receivers tell of it.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::alert::{AlertKind, Condition, Severity};
use tapgate_engine::ledger::{ChangeError, Ledger};
use tokio::sync::watch;

use crate::app::App;
use crate::clock::Clock;
use crate::deliver::tail::{State, Trouble};
use crate::deliver::worker::{Handle, Status};
use crate::wire::rfc3339;

/// How long to wait until an alert that could not be recorded is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Watches one receiver.
pub(super) struct Alarm {
    ledger: Arc<Ledger>,
    clock: Arc<Clock>,
    name: String,
    status: watch::Receiver<Status>,
    /// Messages it had accepted when it was last seen parked, or when the process began.
    accepted: u64,
}

impl Alarm {
    pub(super) fn new<E>(ledger: Arc<Ledger>, clock: Arc<Clock>, handle: &Handle<E>) -> Alarm {
        Alarm { ledger, clock, name: handle.name().to_owned(), status: handle.watch(), accepted: 0 }
    }

    /// Raises and resolves until the worker ends.
    pub(super) async fn watch(mut self) {
        loop {
            let status = self.status.borrow_and_update().clone();
            if let Err(error) = self.judge(&status) {
                let receiver = &self.name;
                tracing::warn!(receiver, %error, "the alert of a parked receiver was not recorded; tried again");
                tokio::time::sleep(RETRY_INTERVAL).await;
                // The journal may have failed for good, and the worker ended meanwhile.
                if self.status.has_changed().is_err() {
                    return;
                }
                self.status.mark_changed();
            }
            if self.status.changed().await.is_err() {
                return;
            }
        }
    }

    fn judge(&mut self, status: &Status) -> Result<(), ChangeError> {
        let (name, now) = (&*self.name, self.clock.now());
        if let State::Parked(trouble) = &status.state {
            // Where it is open already nothing is recorded.
            self.ledger.raise_alert(condition(name, trouble), now)?;
            self.accepted = status.accepted;
        } else if status.accepted > self.accepted {
            // Being resumed alone proves nothing.
            self.ledger.resolve_alert(AlertKind::DeliveryParked, name, now)?;
            self.accepted = u64::MAX;
        }
        Ok(())
    }
}

fn condition(name: &str, trouble: &Trouble) -> Condition {
    Condition {
        kind: AlertKind::DeliveryParked,
        subject: name.into(),
        severity: Severity::Urgent,
        title: format!("Deliveries to {name} are parked").into(),
        text: format!(
            "Nothing is sent to it any more; nothing is lost, and the journal grows behind it. See to the receiver, then: \
             tapgate deliveries resume {name}"
        )
        .into(),
        facts: vec![
            ("receiver".into(), name.into()),
            ("since".into(), rfc3339(trouble.since).into()),
            ("reason".into(), trouble.reason.as_str().into()),
        ],
    }
}

/// Nobody resumes a receiver that is not configured any more: its alert is over.
pub(super) fn forget_strangers(app: &App) {
    let is_ours = |subject: &str| app.deliveries.iter().any(|delivery| delivery.handle.name() == subject);
    for alert in app.ledger.open_alerts() {
        let Condition { kind, subject, .. } = &alert.condition;
        if *kind == AlertKind::DeliveryParked
            && !is_ours(subject)
            && let Err(error) = app.ledger.resolve_alert(*kind, subject, app.clock.now())
        {
            tracing::warn!(%error, receiver = &**subject, "the alert of a receiver that is gone was not resolved");
        }
    }
}
