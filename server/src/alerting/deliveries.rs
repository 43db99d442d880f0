//! Alerts about delivery receivers: parked ones, and those that reject one message while they accept others. The other
//! receivers carry the notification.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::ledger::{ChangeError, Ledger};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::delivery::tail::{Rejected, State, Trouble};
use crate::delivery::worker::{Handle, Status, WINDOW};
use crate::wire::rfc3339;

/// The pause before a failed record of an alert is retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The kinds of alerts of this module.
const JUDGED: [AlertKind; 2] = [AlertKind::DeliveryParked, AlertKind::DeliveryStuck];
/// The fact that names the rejected message.
const MESSAGE: &str = "message";

/// Watches receivers until their workers end.
pub async fn watch<E>(ledger: Arc<Ledger>, clock: Arc<Clock>, receivers: Vec<&Handle<E>>) {
    let names: Vec<_> = receivers.iter().map(|handle| handle.name()).collect();
    resolve_unconfigured(&ledger, &clock, &names);
    let mut alarms = JoinSet::new();
    for handle in receivers {
        let alarm = Alarm::new(Arc::clone(&ledger), Arc::clone(&clock), handle.name(), handle.watch());
        alarms.spawn(alarm.watch());
    }
    alarms.join_all().await;
}

/// Watches one receiver.
struct Alarm {
    ledger: Arc<Ledger>,
    clock: Arc<Clock>,
    name: String,
    status: watch::Receiver<Status>,
    /// The number of accepted messages when the receiver was last parked, or when the process started.
    accepted: u64,
    /// The rejected message that the open alert names.
    told: Option<CompactString>,
}

impl Alarm {
    fn new(ledger: Arc<Ledger>, clock: Arc<Clock>, name: &str, status: watch::Receiver<Status>) -> Alarm {
        let is_ours = |open: &Condition| open.kind == AlertKind::DeliveryStuck && open.subject == name;
        let open = ledger.open_alerts().into_iter().map(|alert| alert.condition).find(is_ours);
        let told = open.and_then(|open| open.facts.into_iter().find(|(fact, _)| fact == MESSAGE));
        Alarm { ledger, clock, name: name.to_owned(), status, accepted: 0, told: told.map(|(_, message)| message) }
    }

    /// Raises and resolves alerts until the worker ends.
    async fn watch(mut self) {
        loop {
            let status = self.status.borrow_and_update().clone();
            if let Err(error) = self.judge(&status) {
                let receiver = &self.name;
                tracing::warn!(receiver, %error, "an alert about a receiver was not recorded; tried again");
                tokio::time::sleep(RETRY_INTERVAL).await;
                // The journal may have failed permanently, and the worker ended since.
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
        self.judge_parked(status)?;
        self.judge_stuck(status)
    }

    fn judge_parked(&mut self, status: &Status) -> Result<(), ChangeError> {
        let (name, now) = (&*self.name, self.clock.now());
        if let State::Parked(trouble) = &status.state {
            // An alert that is already open is not recorded again.
            self.ledger.raise_alert(parked(name, trouble), now)?;
            self.accepted = status.accepted;
        } else if status.accepted > self.accepted {
            // A resume alone proves nothing.
            self.ledger.resolve_alert(AlertKind::DeliveryParked, name, now)?;
            self.accepted = u64::MAX;
        }
        Ok(())
    }

    fn judge_stuck(&mut self, status: &Status) -> Result<(), ChangeError> {
        let (name, now) = (&*self.name, self.clock.now());
        let rejected = status.rejected.as_ref().filter(|rejected| rejected.others_pass);
        let message = rejected.map(|rejected| CompactString::from(rejected.place.message_id()));
        if self.told.is_some() && self.told != message {
            self.ledger.resolve_alert(AlertKind::DeliveryStuck, name, now)?;
            self.told = None;
        }
        if let Some(rejected) = rejected.filter(|_| status.is_stuck && self.told.is_none()) {
            self.ledger.raise_alert(stuck(name, rejected), now)?;
            self.told = message;
        }
        Ok(())
    }
}

fn stuck(name: &str, rejected: &Rejected) -> Condition {
    let Rejected { place, kind, trouble, .. } = rejected;
    let (message, since) = (place.message_id(), rfc3339(trouble.since));
    Condition {
        kind: AlertKind::DeliveryStuck,
        subject: name.into(),
        severity: Severity::Urgent,
        title: format!("{name} rejects a message").into(),
        text: format!(
            "It has rejected {message} ({kind}) since {since}, and accepts others. What must keep its order with this message \
             waits behind it; {WINDOW} messages later everything does. It is tried again until the receiver takes it. If it \
             never can, do by hand what the message is for, then: \
             tapgate deliveries skip {name} {message} --reason \"…\""
        )
        .into(),
        facts: vec![
            ("receiver".into(), name.into()),
            (MESSAGE.into(), message.into()),
            ("kind".into(), kind.clone()),
            ("since".into(), since.into()),
            ("reason".into(), trouble.reason.as_str().into()),
        ],
    }
}

fn parked(name: &str, trouble: &Trouble) -> Condition {
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

/// A receiver that is no longer configured has no worker: its alerts are resolved.
fn resolve_unconfigured(ledger: &Ledger, clock: &Clock, names: &[&str]) {
    let is_ours = |subject: &str| names.contains(&subject);
    for alert in ledger.open_alerts() {
        let Condition { kind, subject, .. } = &alert.condition;
        if JUDGED.contains(kind)
            && !is_ours(subject)
            && let Err(error) = ledger.resolve_alert(*kind, subject, clock.now())
        {
            tracing::warn!(%error, receiver = &**subject, "the alert of a receiver that is gone was not resolved");
        }
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{Author, Tolerance};
    use tapgate_engine::ids::Sequence;
    use tapgate_engine::ledger::{Change, Page, Policy};
    use tapgate_engine::money::{Currency, Minor};
    use tapgate_engine::recovery::recover;
    use tapgate_engine::rows::Row;
    use tapgate_engine::store::Store;
    use tapgate_engine::testing::MemoryStore;
    use tapgate_engine::time::{UnixMillis, UnixSeconds};

    use super::*;
    use crate::beside::Beside;
    use crate::delivery::outbox::LedgerOutbox;
    use crate::delivery::outbox::events::Events;
    use crate::delivery::worker::{Setup, Worker, limits};
    use crate::delivery::{Event, EventKind, Order, Outcome, Place, Receiver};
    use crate::randomness::Randomness;

    fn ledger() -> Arc<Ledger> {
        let store: Arc<dyn Store> = MemoryStore::new();
        let recovered = recover(&store).unwrap();
        Arc::new(Ledger::start(store, recovered.state, Policy::default(), 1, Box::new(|_| {})).unwrap())
    }

    fn watching(ledger: &Arc<Ledger>) -> Alarm {
        Alarm::new(Arc::clone(ledger), Arc::new(Clock::start()), "core", watch::channel(status(None, false)).1)
    }

    /// The status of a receiver that rejects this record's message.
    fn status(record: Option<u64>, is_stuck: bool) -> Status {
        let rejected = record.map(|record| Rejected {
            place: Place { record: Sequence(record), part: 1 },
            kind: "debit.requested".into(),
            trouble: Trouble { since: UnixMillis(1_768_659_501_000), reason: "HTTP 422".to_owned() },
            others_pass: true,
        });
        Status { state: State::Delivering, through: Place::default(), oldest: None, rejected, is_stuck, accepted: 1 }
    }

    /// Each alert so far, oldest first: the message that it names, and whether it is open.
    fn told(ledger: &Ledger) -> Vec<(String, bool)> {
        let all = Page { before: Sequence(u64::MAX), limit: 100 };
        let mut alerts = ledger.alerts(all, &|alert| alert.condition.kind == AlertKind::DeliveryStuck).unwrap();
        alerts.reverse();
        alerts.iter().map(|alert| (alert.condition.facts[1].1.to_string(), alert.is_open())).collect()
    }

    #[test]
    fn a_message_that_is_stuck_is_an_alert_until_it_is_accepted_or_skipped() {
        let ledger = ledger();
        let mut alarm = watching(&ledger);
        alarm.judge(&status(Some(91), false)).unwrap();
        assert_eq!(told(&ledger), [], "not yet");
        for _ in 0..2 {
            alarm.judge(&status(Some(91), true)).unwrap();
        }
        let open = ("msg_91_1".to_owned(), true);
        assert_eq!(told(&ledger), std::slice::from_ref(&open));
        let condition = ledger.open_alerts().remove(0).condition;
        assert_eq!((&*condition.title, &*condition.subject), ("core rejects a message", "core"));
        let text = &condition.text;
        assert!(text.contains("deliveries skip core msg_91_1") && text.contains("(debit.requested)"), "{text}");

        let mut alarm = watching(&ledger);
        alarm.judge(&status(Some(91), false)).unwrap();
        assert_eq!(told(&ledger), [open], "a restart, or a clock set back, is no end of it");
        alarm.judge(&status(Some(95), true)).unwrap();
        let over = |record: u64| (format!("msg_{record}_1"), false);
        assert_eq!(told(&ledger), [over(91), ("msg_95_1".to_owned(), true)], "one at a time");
        alarm.judge(&status(None, false)).unwrap();
        assert_eq!(told(&ledger), [over(91), over(95)]);
    }

    /// A receiver that rejects credits.
    struct RejectsCredits;

    impl Receiver for RejectsCredits {
        type Content = Event;

        async fn send(&self, event: &Event, _: UnixSeconds) -> Outcome {
            if event.kind == EventKind::PoolCredited { Outcome::failed("HTTP 422") } else { Outcome::Accepted }
        }
    }

    #[tokio::test]
    async fn a_rejected_message_is_an_alert_until_a_person_skips_it() {
        let ledger = ledger();
        // An hour is 36 ms.
        let clock = Arc::new(Clock::accelerated(100_000));
        let wanted = Events { wanted: EventKind::ALL.to_vec(), tolerance: Tolerance::default() };
        let outbox = Arc::new(LedgerOutbox::new(Arc::clone(&ledger), Arc::clone(&clock), wanted));
        let limits = limits(Duration::from_secs(10 * 365 * 86_400));
        let setup = Setup {
            name: "core".to_owned(),
            limits,
            clock: Arc::clone(&clock),
            randomness: Randomness::of_system(),
            beside: Beside::on_threads(),
        };
        let (worker, handle) = Worker::new(setup, outbox, RejectsCredits).unwrap();
        tokio::spawn(worker.run(std::future::pending()));
        tokio::spawn(Alarm::new(Arc::clone(&ledger), Arc::clone(&clock), "core", handle.watch()).watch());

        let change = |change: Change| drop(ledger.change(&Author::Engine, change, clock.now()).unwrap());
        let (currency, amount) = (Currency::EUR, Minor(500));
        let (floor, reserve, reflected) = (None, None, None);
        change(Change::ReportPool { currency, reported: Some(amount), floor, reserve, reflected });
        change(Change::CreditPool { currency, amount, reference: "wire 7".into() });
        let credited = Place { record: ledger.journal().claimed(), part: 0 };
        let until = async |what: &str, holds: &dyn Fn() -> bool| {
            let waiting = async {
                while !holds() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            assert!(
                tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(),
                "waited in vain until {what}"
            );
        };
        until("it is rejected", &|| handle.status().rejected.is_some()).await;
        change(Change::SuspendProgram { suspended: true, reason: "drill".into() });
        until("people are told", &|| told(&ledger) == [(credited.message_id(), true)]).await;
        let skip = Order::Skip { place: credited, reason: "booked by hand".to_owned() };
        handle.order(skip, Author::Person { name: "ops".into(), idempotency: None }).await.unwrap();
        until("it is over", &|| told(&ledger) == [(credited.message_id(), false)]).await;
        assert_eq!(handle.status().rejected, None);
    }

    #[test]
    fn a_receiver_that_fails_altogether_rejects_no_single_message() {
        let ledger = ledger();
        let mut down = status(Some(91), false);
        down.rejected.as_mut().unwrap().others_pass = false;
        watching(&ledger).judge(&down).unwrap();
        assert_eq!(told(&ledger), []);
    }
}
