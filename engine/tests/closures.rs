//! Closures of the calendar: what people add survives every crash, and what is no closure is refused.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use tapgate_engine::fact::calendar::{CLOSURE_DAYS_MAX, CLOSURES_MAX, REASON_BYTES_MAX};
use tapgate_engine::fact::{Closed, Day};
use tapgate_engine::ids::{ClosureId, Sequence};
use tapgate_engine::ledger::{Change, ChangeError, ClosureChange};
use tapgate_engine::testing::MemoryStore;

use crate::world::World;

fn add(from: u32, through: u32, reason: &str) -> Change {
    Change::Closure(ClosureChange::Add(Closed { from: Day(from), through: Day(through), reason: reason.into() }))
}

fn remove(id: ClosureId) -> Change {
    Change::Closure(ClosureChange::Remove { id })
}

/// First and last days, in the order in which they were added.
fn closed(world: &World) -> Vec<(u32, u32)> {
    world.ledger.closures().iter().map(|(_, closed)| (closed.from.0, closed.through.0)).collect()
}

#[test]
fn closures_survive_and_are_taken_back() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.change(add(20_000, 20_000, "UR moves")).unwrap();
    world.change(add(20_100, 20_107, "new year")).unwrap();
    let head = world.ledger.journal().durable();
    assert_eq!(closed(&world), [(20_000, 20_000), (20_100, 20_107)]);
    let id = world.ledger.closures().first().unwrap().0;
    world.change(remove(id)).unwrap();
    assert!(matches!(world.change(remove(id)), Err(ChangeError::NotFound { .. })));
    assert_eq!(closed(&world), [(20_100, 20_107)]);
    assert_eq!(closed(&World::resumed(store.crashed_after(head))), [(20_000, 20_000), (20_100, 20_107)]);
    world.ledger.write_rows().unwrap();
    let last = world.ledger.journal().durable();
    let resumed = World::resumed(store.crashed_after(last));
    assert_eq!(closed(&resumed), [(20_100, 20_107)], "from the row");
    resumed.change(add(20_000, 20_001, "again")).unwrap();
    assert_eq!(closed(&resumed), [(20_100, 20_107), (20_000, 20_001)]);
    world.close_and_check(&store);
}

#[test]
fn what_is_no_closure_is_refused() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let invalid = |change: Change| assert!(matches!(world.change(change), Err(ChangeError::Invalid(_))));
    invalid(add(20_001, 20_000, "backwards"));
    invalid(add(20_000, 20_000 + CLOSURE_DAYS_MAX, "too long"));
    invalid(add(20_000, 20_000, ""));
    invalid(add(20_000, 20_000, &"x".repeat(REASON_BYTES_MAX + 1)));
    assert!(matches!(world.change(remove(ClosureId(Sequence(1)))), Err(ChangeError::NotFound { .. })));
    for day in (0..).take(CLOSURES_MAX) {
        world.change(add(day, day + CLOSURE_DAYS_MAX - 1, "long")).unwrap();
    }
    assert!(matches!(world.change(add(0, CLOSURE_DAYS_MAX - 1, "again")), Err(ChangeError::Conflict(_))));
    assert!(matches!(world.change(add(7_000, 7_000, "one too many")), Err(ChangeError::Conflict(_))));
    assert_eq!(closed(&world).len(), CLOSURES_MAX);
    world.close_and_check(&store);
}
