//! Time that was wrong, and gates before a decision.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use tapgate_engine::fact::Reason;
use tapgate_engine::ledger::{ChangeError, Policy};
use tapgate_engine::money::Currency;
use tapgate_engine::recovery::recover;
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::Store;
use tapgate_engine::testing::MemoryStore;

use crate::world::{self, World, at, tap};

const YEAR: u64 = 365 * 86_400;

#[test]
fn a_journal_from_the_future_is_set_right_at_once() {
    let store = MemoryStore::new();
    let aged = Policy { rates_max_age_seconds: Some(3_600), state_max_age_seconds: Some(3_600), ..Policy::default() };
    let world = World::with_policy(store.clone(), aged.clone());
    // The clock was a year ahead for a while.
    for change in [world::rates(), world::report(Currency::EUR, 100_000, 0)] {
        world.ledger.change(&world::author(), change, at(YEAR)).unwrap();
    }
    world
        .ledger
        .change(&world::author(), tapgate_engine::ledger::Change::ImportUser(Box::new(world::import())), at(YEAR))
        .unwrap();
    assert!(matches!(world.durable_at(tap("future", 1_000), YEAR), Outcome::Approved { .. }));
    let nothing = world.ledger.set_clock(&world::author(), at(2 * YEAR).at, "no need");
    assert!(matches!(nothing, Err(ChangeError::Conflict(_))));
    assert!(matches!(world.ledger.set_clock(&world::author(), at(60).at, ""), Err(ChangeError::Invalid(_))));
    world.ledger.set_clock(&world::author(), at(60).at, "the clock was a year ahead").unwrap();
    assert!(matches!(world.durable_at(tap("now", 1_000), 60), Outcome::Approved { .. }));
    let user = world.user();
    assert_eq!(user.spends().newest(), Some(at(60).at.seconds()));
    assert_eq!((user.reported_at, world.ledger.pool(Currency::EUR).unwrap().reported_at), (at(60).at, at(60).at));
    // Ages count from there: a year later they would still have been fresh.
    assert_eq!(world.durable_at(tap("stale", 1_000), 60 + 3_601), Outcome::Declined(Reason::RatesStale));
    world.drained();
    let latest = recover(&(store.clone() as std::sync::Arc<dyn Store>)).unwrap().state.latest();
    assert_eq!(latest, at(60 + 3_601).at);
    world.ledger.write_rows().unwrap();
    world.close_and_check(&store);
}

#[test]
fn a_disk_that_is_nearly_full_gates_approvals_and_the_decision_says_so() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("before", 1_000));
    world.ledger.set_disk_low(true);
    assert_eq!(world.durable(tap("low", 1_000)), Outcome::Declined(Reason::StateStale));
    world.ledger.set_disk_low(false);
    assert!(matches!(world.durable(tap("after", 1_000)), Outcome::Approved { .. }));
    world.close_and_check(&store);
}
