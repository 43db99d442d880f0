//! What grows with use must end by itself: spends, idempotency keys, explained breaks, awaited credits.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::{Author, Fact, Flow, IdempotencyKey, Import, Posting, Progress, ReportedAccount};
use tapgate_engine::ids::Sequence;
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, Policy};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::recovery::verify;
use tapgate_engine::rows::CREDIT_AWAITED_MILLIS;
use tapgate_engine::store::{Store, Table};
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::UnixSeconds;

use crate::world::{self, START_SECONDS, World, at, import, movement, naming, tap};

const DAY: u64 = 86_400;

fn rows(store: &MemoryStore, table: Table) -> usize {
    let mut rows = 0;
    store
        .rows(table, &mut |_, _| {
            rows += 1;
            Ok(())
        })
        .unwrap();
    rows
}

fn is_equal(store: &Arc<MemoryStore>) {
    let store: Arc<dyn Store> = store.clone();
    assert!(verify(&store).unwrap().is_equal(), "rows and journal lead to the same state");
}

fn settled(id: &str, amount: i64, seconds: u64) -> Posting {
    let at = UnixSeconds((START_SECONDS + seconds).cast_signed());
    let shown = movement(&format!("hash_{id}"), Flow::Out, Progress::Completed, amount);
    naming(&Posting { at, ..shown }, id)
}

#[test]
fn a_year_of_one_busy_user_keeps_its_row_small() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let limit = ClientLimit {
        used: ChfMinor(0),
        client: ChfMinor(1_000_000_000_000),
        start: UnixSeconds(START_SECONDS.cast_signed()),
    };
    let funds = Some(Money { amount: Minor(1_000_000_000), currency: Currency::EUR });
    world.change(Change::ImportUser(Box::new(Import { limit, funds, ..import() }))).unwrap();
    world.change(world::report(Currency::EUR, 1_000_000_000, 0)).unwrap();
    let mut largest = 0;
    for day in 0..365_u64 {
        let mut ids = Vec::new();
        for n in 0..70 {
            let (id, seconds) = (format!("auth_{day}_{n}"), day * DAY + n * DAY / 70);
            world.ledger.submit(tap(&id, 1_250), at(seconds)).unwrap();
            // UR never shows one a day.
            if n != 35 {
                world.ledger.post(&settled(&id, 1_250, seconds), at(seconds)).unwrap();
            } else {
                let reason = "never shown".into();
                world.change(Change::Release { root: id.parse().unwrap(), reason }).unwrap();
            }
            ids.push(id);
        }
        let now = at((day + 1) * DAY);
        let debited: Vec<&str> = ids.iter().map(String::as_str).collect();
        world.change(world::funds(1_000_000_000, day + 1, &debited)).unwrap();
        world.change(world::report(Currency::EUR, 1_000_000_000, 0)).unwrap();
        let account = ReportedAccount { status: import().status, limit, allowances: Vec::new() };
        let through = world.ledger.journal().claimed();
        world.ledger.report_user(&"user".parse().unwrap(), Some(account), None, through, now).unwrap();
        world.ledger.age_with_rests(now, &mut || {}).unwrap();
        if day % 30 == 29 {
            world.drained();
            world.ledger.write_rows().unwrap();
            largest = largest.max(store.row(Table::Users, b"user").unwrap().unwrap().len());
        }
    }
    assert!(largest < 20_000, "{largest} bytes");
    assert!(world.user().holds().is_empty());
    let unreflected = world.user().spends().unreflected(at(365 * DAY).at.seconds());
    assert!(unreflected <= ChfMinor(31 * 1_181), "{unreflected}: what UR never showed is released, the rest reported");
}

#[test]
fn an_idle_users_spends_go_by_a_record() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    let none = &mut || {};
    assert_eq!(world.ledger.age_with_rests(at(11), none).unwrap(), 0);
    assert_eq!(world.ledger.age_with_rests(at(31 * DAY), none).unwrap(), 1, "UR's period is over");
    assert!(world.user().spends().newest().is_some(), "a calendar month may still hold it");
    assert_eq!(world.ledger.age_with_rests(at(33 * DAY), none).unwrap(), 1);
    assert_eq!(world.user().spends().newest(), None);
    assert_eq!(world.ledger.age_with_rests(at(33 * DAY + 60), none).unwrap(), 0, "once a day");
    assert_eq!(world.ledger.age_with_rests(at(35 * DAY), none).unwrap(), 0, "nothing is left to age");
    let mut wrong = at(90 * DAY);
    wrong.trusted = false;
    let before = world.ledger.journal().claimed();
    world.ledger.age_with_rests(wrong, none).unwrap();
    assert_eq!(world.ledger.journal().claimed(), before, "a clock that may be wrong ages nothing");
    world.close_and_check(&store);
}

#[test]
fn a_user_who_spent_is_as_small_as_before_once_that_is_over() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.change(Change::ImportUser(Box::new(Import { fiat: Vec::new(), ..import() }))).unwrap();
    let idle = world.user();
    for (id, ends_by_us) in [("a1", false), ("a2", false), ("a3", true)] {
        world.durable(tap(id, 1_000));
        if ends_by_us {
            world.change(Change::Release { root: id.parse().unwrap(), reason: "never shown".into() }).unwrap();
        } else {
            world.ledger.post(&settled(id, 1_000, 60), at(60)).unwrap();
        }
    }
    world.change(world::funds(100_000, 1, &["a1", "a2"])).unwrap();
    let is_idle = |day: u64| {
        world.ledger.age_with_rests(at(day * DAY), &mut || {}).unwrap();
        let mut user = world.user();
        // What the partner reported since is no larger than what it replaced.
        (user.sequence, user.funds) = (idle.sequence, idle.funds);
        user == idle
    };
    assert!(!is_idle(33), "a late movement may still belong to the hold that we ended");
    assert_eq!(world.user().spends().newest(), None);
    assert!(!is_idle(119));
    assert!(is_idle(121), "{:?}", world.user());
    let before = world.ledger.journal().claimed();
    assert!(is_idle(122) && world.ledger.journal().claimed() == before.next(), "nothing is left to age");
    world.close_and_check(&store);
}

fn keyed(key: &str, body: &str) -> Author {
    let idempotency = Some(IdempotencyKey { key: key.into(), fingerprint: Fingerprint::of(body.as_bytes()) });
    Author::Person { name: "ops".into(), idempotency }
}

#[test]
fn idempotency_keys_are_rows_that_are_known_for_a_day_and_forgotten_by_records() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let change = |key: &str, body: &str, seconds: u64| {
        let made = world.ledger.change(&keyed(key, body), world::suspend(true), at(seconds))?;
        assert!(made.ticket.as_ref().is_none_or(|ticket| ticket.block() == Durability::Durable));
        Ok::<_, ChangeError>(made.ticket.is_some())
    };
    let none = &mut || {};
    world.ledger.age_with_rests(at(0), none).unwrap();
    for n in 0..300 {
        assert_eq!(change(&format!("k{n}"), "body", 10), Ok(true));
    }
    assert_eq!(change("k7", "body", 11), Ok(false), "from memory");
    let program = || store.row(Table::Program, b"program").unwrap().map_or(0, |row| row.len());
    world.ledger.write_rows().unwrap();
    assert!(program() < 300, "{} bytes: no key is in the row that every turn writes", program());
    assert_eq!(change("k7", "body", DAY + 10), Ok(false), "from the disk, for 24 hours");
    assert!(matches!(change("k7", "another", 12), Err(ChangeError::Conflict(_))));
    assert_eq!(rows(&store, Table::Keys), 300);
    assert_eq!(change("k7", "another", DAY + 11), Ok(true), "a second later the key is free");
    // Forgotten by the second day's end after its use: then each key is a day old.
    world.ledger.age_with_rests(at(DAY + 20), none).unwrap();
    assert_eq!(rows(&store, Table::Keys), 300, "used after the day before ended");
    world.ledger.write_rows().unwrap();
    world.ledger.age_with_rests(at(2 * DAY + 30), none).unwrap();
    assert_eq!(rows(&store, Table::Keys), 0, "k7's second use was before the last day's end");
    is_equal(&store);
    world.ledger.write_rows().unwrap();
    is_equal(&store);
    assert_eq!(change("k7", "third", 2 * DAY + 40), Ok(true));
    world.close_and_check(&store);
}

#[test]
fn rows_of_forgotten_keys_that_a_crash_brings_back_are_not_known() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let none = &mut || {};
    world.ledger.age_with_rests(at(0), none).unwrap();
    world.ledger.change(&keyed("k", "body"), world::suspend(true), at(10)).unwrap();
    world.drained();
    world.ledger.write_rows().unwrap();
    let mut kept = Vec::new();
    store
        .rows(Table::Keys, &mut |key, value| {
            kept.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    for day in 1..=2 {
        world.ledger.age_with_rests(at(day * DAY + 20), none).unwrap();
    }
    world.drained();
    assert_eq!((kept.len(), rows(&store, Table::Keys)), (1, 0));
    let back = kept.into_iter().map(|(key, value)| tapgate_engine::store::RowBytes { table: Table::Keys, key, value });
    store.put_rows(&back.collect::<Vec<_>>()).unwrap();
    is_equal(&store);
    world.ledger.write_rows().unwrap();
    is_equal(&store);
}

#[test]
fn a_cent_of_drift_leaves_nothing_to_read_at_every_start() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for n in 0..20 {
        let id = format!("a{n}");
        world.durable(tap(&id, 1_000));
        world.ledger.post(&settled(&id, 1_001, 20), at(20)).unwrap();
    }
    world.drained();
    world.ledger.write_rows().unwrap();
    assert_eq!((rows(&store, Table::Breaks), world.ledger.open_breaks().len()), (0, 0));
    world.close_and_check(&store);
}

#[test]
fn a_credit_that_ur_never_shows_explains_no_rise_after_a_week() {
    let store = MemoryStore::new();
    let world = World::with_policy(store.clone(), Policy { credits_count_at_once: false, ..Policy::default() });
    let credit = |reference: &str, seconds: u64| {
        let change = Change::CreditPool { currency: Currency::EUR, amount: Minor(500), reference: reference.into() };
        world.ledger.change(&world::author(), change, at(seconds)).unwrap();
    };
    let sync = |balance: i64, seconds: u64| {
        let through = world.ledger.journal().claimed();
        world.ledger.sync_pool(Currency::EUR, Minor(balance), through, at(seconds)).unwrap().1.0
    };
    let pool = || world.ledger.pool(Currency::EUR).unwrap();
    let week = CREDIT_AWAITED_MILLIS / 1_000;
    credit("lost", 10);
    credit("late", 5 * DAY);
    assert_eq!(sync(100_000, 6 * DAY), 0);
    assert_eq!(pool().credits_overdue(at(10 + week).at), Minor(0));
    assert_eq!(pool().credits_overdue(at(11 + week).at), Minor(500));
    assert_eq!(sync(100_500, 11 + week), 0, "the later one is still awaited");
    assert_eq!((pool().credits_due, pool().credits_overdue(at(12 + week).at)), (Minor(0), Minor(0)));
    assert_eq!(sync(101_000, 12 + week), 500, "the lost one explains nothing any more");
    world.drained();
    world.close_and_check(&store);
}

#[test]
fn the_decision_settings_are_recorded_where_they_change() {
    let store = MemoryStore::new();
    let record = |policy: Policy| {
        let world = World::start(store.clone(), policy);
        let recorded = world.ledger.record_policy(at(5)).unwrap();
        assert!(recorded.as_ref().is_none_or(|ticket| ticket.block() == Durability::Durable));
        assert!(world.ledger.record_policy(at(6)).unwrap().is_none());
        recorded.is_some().then(|| world.ledger.journal().durable())
    };
    let other = Policy { limit_weight: 2, ..Policy::default() };
    assert!(record(Policy::default()).is_some());
    assert_eq!(record(Policy::default()), None);
    let changed: Sequence = record(other.clone()).unwrap();
    let world = World::resumed(store.clone());
    assert_eq!(world.ledger.program().policy.as_deref(), Some(&other));
    assert_eq!(world.ledger.record(changed).unwrap().unwrap().fact, Fact::PolicyApplied(Box::new(other)));
    world.close_and_check(&store);
}
