//! Alerts by example, and any history of them: one open at most of a kind and subject, and the same rows whichever way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use std::sync::Arc;

use proptest::prelude::*;
use tapgate_engine::fact::{AlertKind, Author, Condition, Severity};
use tapgate_engine::ids::{AlertId, Sequence};
use tapgate_engine::journal::{Durability, Ticket};
use tapgate_engine::ledger::{AlertChange, Change, ChangeError, Page};
use tapgate_engine::rows::{Alert, Row};
use tapgate_engine::testing::{MemoryStore, cases};
use tapgate_engine::time::UnixMillis;

use crate::world::{World, at, author, history, tap};

const ALL: Page = Page { before: Sequence(u64::MAX), limit: 1_000 };

fn condition(kind: AlertKind, subject: &str, severity: Severity) -> Condition {
    Condition {
        kind,
        subject: subject.into(),
        severity,
        title: "The pool runs low".into(),
        text: "Send a top-up today.".into(),
        facts: vec![("available".into(), "1000 EUR".into())],
    }
}

fn low(subject: &str, severity: Severity) -> Condition {
    condition(AlertKind::PoolLow, subject, severity)
}

fn millis(seconds: u64) -> UnixMillis {
    at(seconds).at
}

fn made(ticket: Option<Arc<Ticket>>) -> bool {
    ticket.map(|ticket| assert_eq!(ticket.block(), Durability::Durable)).is_some()
}

impl World {
    /// Whether anything was raised or changed.
    fn raised(&self, condition: Condition, seconds: u64) -> bool {
        made(self.ledger.raise_alert(condition, at(seconds)).unwrap())
    }

    fn over(&self, kind: AlertKind, subject: &str, seconds: u64) -> bool {
        made(self.ledger.resolve_alert(kind, subject, at(seconds)).unwrap())
    }

    fn told_again(&self, id: AlertId, seconds: u64) -> bool {
        let condition = self.ledger.alert(id).unwrap().unwrap().condition;
        made(self.ledger.renotify_alert(id, condition, at(seconds)).unwrap())
    }

    fn by_person(&self, change: AlertChange, seconds: u64) -> Result<(), ChangeError> {
        let receipt = self.ledger.change(&author(), Change::Alert(change), at(seconds))?;
        assert!(made(receipt.ticket));
        Ok(())
    }

    fn acknowledged(&self, id: AlertId, seconds: u64) -> Result<(), ChangeError> {
        self.by_person(AlertChange::Acknowledge { id, reason: Some("on it".into()) }, seconds)
    }

    fn silenced(&self, id: AlertId, until: u64, seconds: u64) -> Result<(), ChangeError> {
        self.by_person(AlertChange::Silence { id, until: millis(until) }, seconds)
    }

    fn open(&self) -> Alert {
        let [alert] = &self.ledger.open_alerts()[..] else { unreachable!("one is open") };
        alert.clone()
    }
}

#[test]
fn one_alert_becomes_worse_and_better_until_it_is_over() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    assert!(world.raised(low("EUR", Severity::Notice), 10));
    let before = world.ledger.journal().claimed();
    assert!(!world.raised(low("EUR", Severity::Notice), 20), "it is open already");
    assert_eq!(world.ledger.journal().claimed(), before, "what changes nothing is no record");
    assert!(world.raised(low("EUR", Severity::Critical), 30));
    let alert = world.open();
    assert_eq!((alert.id, alert.condition.severity), (AlertId(before), Severity::Critical));
    assert_eq!((alert.raised_at, alert.last_notified_at, alert.notified), (millis(10), millis(30), 2));
    assert!(world.raised(low("USD", Severity::Notice), 40), "another subject");
    assert!(world.raised(condition(AlertKind::Drift, "EUR", Severity::Notice), 40), "another kind");
    assert_eq!(world.ledger.open_alerts().len(), 3);
    assert!(world.over(AlertKind::PoolLow, "EUR", 50));
    assert!(!world.over(AlertKind::PoolLow, "EUR", 60), "it is over");
    assert!(!world.over(AlertKind::StandIn, "", 60), "there never was one");
    let end = world.ledger.alert(alert.id).unwrap().unwrap().resolved.unwrap();
    assert_eq!((end.at, end.by.as_str()), (millis(50), "engine"));
    assert!(world.raised(low("EUR", Severity::Notice), 70), "it begins again, as another alert");
    assert_ne!(world.ledger.open_alerts()[2].id, alert.id);
    world.close_and_check(&store);
}

#[test]
fn nobody_is_told_again_of_what_is_taken_on_or_silenced_unless_it_becomes_worse() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.raised(low("EUR", Severity::Urgent), 10);
    let id = world.open().id;
    assert!(world.told_again(id, 20));
    assert_eq!((world.open().notified, world.open().last_notified_at), (2, millis(20)));
    world.acknowledged(id, 30).unwrap();
    assert!(matches!(world.acknowledged(id, 31), Err(ChangeError::Conflict(_))));
    assert!(!world.told_again(id, 40));
    assert!(world.raised(low("EUR", Severity::Notice), 50), "it became better");
    let better = world.open();
    assert_eq!((better.notified, better.acknowledged.unwrap().by.as_str()), (2, "test"), "and nobody need be told");
    assert!(world.raised(low("EUR", Severity::Critical), 60));
    let worse = world.open();
    assert_eq!((worse.notified, worse.acknowledged), (3, None), "who took on a notice did not take on this");
    world.silenced(id, 100, 70).unwrap();
    assert!(!world.told_again(id, 99));
    assert!(world.told_again(id, 100));
    world.silenced(id, 1_000, 110).unwrap();
    world.silenced(id, 0, 120).unwrap();
    assert_eq!(world.open().silenced_until, None);
    assert!(world.told_again(id, 130), "a time that has passed ends the silence");
    let too_long = world.silenced(id, 131 + 30 * 86_400, 130);
    assert!(matches!(too_long, Err(ChangeError::Invalid(_))), "{too_long:?}");
    world.close_and_check(&store);
}

#[test]
fn an_alert_can_be_shown_as_it_stood_at_any_of_its_records() {
    let world = World::new();
    world.raised(low("EUR", Severity::Notice), 10);
    let id = world.open().id;
    let mut stood = vec![world.open()];
    world.told_again(id, 20);
    stood.push(world.open());
    world.acknowledged(id, 30).unwrap();
    stood.push(world.open());
    world.raised(low("EUR", Severity::Critical), 40);
    stood.push(world.open());
    world.silenced(id, 100, 50).unwrap();
    stood.push(world.open());
    world.over(AlertKind::PoolLow, "EUR", 60);
    stood.push(world.ledger.alert(id).unwrap().unwrap());

    let events = stood.last().unwrap().events.clone();
    assert_eq!(events.len(), stood.len());
    let mut row: Option<Alert> = None;
    for (sequence, stood) in events.into_iter().zip(stood) {
        let record = world.ledger.record(sequence).unwrap().unwrap();
        match &mut row {
            Some(row) => row.apply(sequence, &record),
            None => row = Alert::open(&id, sequence, &record),
        }
        assert_eq!(row, Some(stood), "at {sequence}");
    }
}

#[test]
fn alerts_outlive_restarts_and_leave_memory_once_they_are_over_and_on_the_disk() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.raised(low("EUR", Severity::Urgent), 10);
    world.raised(low("USD", Severity::Notice), 20);
    world.ledger.write_rows().unwrap();
    let [euros, dollars] = &world.ledger.open_alerts()[..] else { unreachable!("two were raised") };
    let (euros, dollars) = (euros.id, dollars.id);
    drop(world);
    let world = World::resumed(store.clone());
    assert!(!world.raised(low("EUR", Severity::Urgent), 30), "it is open since before the restart");
    world.over(AlertKind::PoolLow, "EUR", 40);
    let listed = |world: &World, page: Page| -> Vec<AlertId> {
        world.ledger.alerts(page, &|_| true).unwrap().iter().map(|alert| alert.id).collect()
    };
    assert_eq!(listed(&world, ALL), [dollars, euros], "newest first, from memory");
    let open = world.ledger.alerts(ALL, &Alert::is_open).unwrap();
    assert_eq!(open.len(), 1, "memory knows better than the disk, where both are open");
    world.ledger.write_rows().unwrap();
    let in_memory = format!("{:?}", world.ledger.snapshot().unwrap());
    assert!(!in_memory.contains("Urgent"), "what is over is on the disk only");
    assert_eq!(listed(&world, ALL), [dollars, euros], "newest first, from memory and the disk");
    assert_eq!(listed(&world, Page { limit: 1, ..ALL }), [dollars]);
    assert_eq!(listed(&world, Page { before: dollars.0, limit: 1 }), [euros]);
    let over = world.ledger.alerts(ALL, &|alert| !alert.is_open()).unwrap();
    assert_eq!(over.iter().map(|alert| alert.id).collect::<Vec<_>>(), [euros]);
    assert!(matches!(world.acknowledged(euros, 50), Err(ChangeError::Conflict(_))), "it is over");
    assert!(!world.told_again(euros, 50));
    let nowhere = AlertId(Sequence(999));
    assert!(matches!(world.acknowledged(nowhere, 50), Err(ChangeError::NotFound { .. })));
    assert!(matches!(
        world.ledger.renotify_alert(nowhere, condition(AlertKind::PoolLow, "EUR", Severity::Notice), at(50)),
        Err(ChangeError::NotFound { .. })
    ));
    world.close_and_check(&store);
}

#[test]
fn a_repeated_acknowledgement_with_one_key_is_one() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.raised(low("EUR", Severity::Urgent), 10);
    let id = world.open().id;
    let key = tapgate_engine::fact::IdempotencyKey {
        key: "k".into(),
        fingerprint: tapgate_engine::bytes::Fingerprint::of(b"one"),
    };
    let person = Author::Person { name: "test".into(), idempotency: Some(key) };
    let change = || Change::Alert(AlertChange::Acknowledge { id, reason: None });
    assert!(made(world.ledger.change(&person, change(), at(20)).unwrap().ticket));
    assert!(world.ledger.change(&person, change(), at(21)).unwrap().ticket.is_none(), "told before");
    world.ledger.write_rows().unwrap();
    world.close_and_check(&store);
}

/// One step of a history of four conditions.
#[derive(Clone, Debug)]
enum Happens {
    Raised(usize, Severity),
    ToldAgain(usize),
    Acknowledged(usize),
    Silenced(usize, u64),
    Over(usize),
    Tapped,
}

const CONDITIONS: [(AlertKind, &str); 4] = [
    (AlertKind::PoolLow, "EUR"),
    (AlertKind::PoolLow, "USD"),
    (AlertKind::FloorBreached, "EUR"),
    (AlertKind::JournalSlow, ""),
];

fn happens() -> impl Strategy<Value = Happens> {
    let which = 0..CONDITIONS.len();
    let severity = prop::sample::select(Severity::ALL);
    prop_oneof![
        6 => (which.clone(), severity).prop_map(|(which, severity)| Happens::Raised(which, severity)),
        2 => which.clone().prop_map(Happens::ToldAgain),
        2 => which.clone().prop_map(Happens::Acknowledged),
        2 => (which.clone(), 0..200_u64).prop_map(|(which, until)| Happens::Silenced(which, until)),
        3 => which.prop_map(Happens::Over),
        1 => Just(Happens::Tapped),
    ]
}

/// The newest alert of that name, open or resolved; 0 is no record.
fn newest(world: &World, which: usize) -> AlertId {
    let (kind, subject) = CONDITIONS[which];
    let named = |alert: &Alert| alert.condition.kind == kind && alert.condition.subject == subject;
    let newest = world.ledger.alerts(Page { limit: 1, ..ALL }, &named).unwrap();
    newest.first().map_or(AlertId(Sequence(0)), |alert| alert.id)
}

#[expect(clippy::needless_pass_by_value, reason = "a replay gives each step away")]
fn happen(world: &World, happens: Happens, seconds: u64) {
    match happens {
        Happens::Raised(which, severity) => {
            let (kind, subject) = CONDITIONS[which];
            world.raised(condition(kind, subject, severity), seconds);
        }
        Happens::ToldAgain(which) => {
            // Every other time in new words.
            let (kind, subject) = CONDITIONS[which];
            let text = if seconds.is_multiple_of(2) { "as before" } else { "as it is now" };
            let said = Condition { text: text.into(), ..condition(kind, subject, Severity::Notice) };
            drop(world.ledger.renotify_alert(newest(world, which), said, at(seconds)));
        }
        Happens::Acknowledged(which) => drop(world.acknowledged(newest(world, which), seconds)),
        Happens::Silenced(which, until) => drop(world.silenced(newest(world, which), until, seconds)),
        Happens::Over(which) => drop(world.over(CONDITIONS[which].0, CONDITIONS[which].1, seconds)),
        Happens::Tapped => drop(world.durable(tap(&format!("tap{seconds}"), 1))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(120), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is raised, repeated and ended, and in whatever order: one open at most of a kind and subject.
    #[test]
    fn any_history_of_alerts_has_one_open_of_a_name(history in history(happens(), 1..60)) {
        World::replay(history, happen, |world| {
            let open = world.ledger.open_alerts();
            for alert in &open {
                let same = |other: &&Alert| {
                    (other.condition.kind, &other.condition.subject) == (alert.condition.kind, &alert.condition.subject)
                };
                assert_eq!(open.iter().filter(same).count(), 1, "{open:?}");
            }
            open
        });
    }
}
