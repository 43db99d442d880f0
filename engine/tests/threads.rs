//! Several threads on the same users and pools: nothing is approved twice or beyond what covers it, and memory is the
//! fold of the journal in whatever order the threads came.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::sync::{Arc, Barrier};

use tapgate_engine::fact::{Kind, Record, Request};
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::{Outcome, State};
use tapgate_engine::store::Store;
use tapgate_engine::testing::{MemoryStore, check_prefixes};

use crate::world::{self, World, at, import, tap};

const THREADS: u64 = 4;
const USERS: u64 = 3;
const ROUNDS: u64 = 300;

/// A small generator with a fixed seed: one thread's sequence is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn user_import(number: u64) -> Change {
    let mut import = import();
    import.user = format!("user{number}").parse().unwrap();
    for card in &mut import.cards {
        card.id = format!("card{number}").parse().unwrap();
    }
    Change::ImportUser(Box::new(import))
}

fn hammer(world: &World, thread: u64, approved: &mut Vec<(String, u64)>) {
    let mut random = Random(thread + 1);
    for round in 0..ROUNDS {
        let user = random.next(USERS);
        let id = format!("t{thread}-{round}");
        let mut request = tap(&id, i64::try_from(random.next(400)).unwrap());
        request.user = format!("user{user}").parse().unwrap();
        request.card = format!("card{user}").parse().unwrap();
        match (random.next(6), approved.last()) {
            (0, Some((root, owner))) => {
                request.kind = Kind::Reversal;
                request.original = Some(root.parse().unwrap());
                request.user = format!("user{owner}").parse().unwrap();
                request.card = format!("card{owner}").parse().unwrap();
            }
            // An id that every thread asks, with the same data: one of them decides it.
            (1, _) => {
                request = tap(&format!("shared-{}", round / 8), 50);
                request.user = "user0".parse().unwrap();
                request.card = "card0".parse().unwrap();
            }
            _ => {}
        }
        let new = request.kind == Kind::Authorization && request.id.as_str() == id;
        let submission = world.ledger.submit(request, at(round)).unwrap();
        if new && matches!(submission.reply.outcome, Some(Outcome::Approved { .. })) {
            approved.push((id, user));
        }
    }
}

#[test]
fn threads_never_overspend_and_memory_is_the_fold() {
    let store = MemoryStore::new();
    let world = World::with_store(Arc::clone(&store));
    for user in 0..USERS {
        world.change(user_import(user)).unwrap();
    }
    // Less than the threads ask for, so that the pool runs dry while they compete for it.
    world.change(world::report(Currency::EUR, 90_000, 500)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let world = &world;
            scope.spawn(move || hammer(world, thread, &mut Vec::new()));
        }
        scope.spawn(|| {
            for _ in 0..20 {
                world.ledger.write_rows().unwrap();
            }
        });
    });
    world.ledger.journal().close();
    let pool = world.ledger.pool(Currency::EUR).unwrap();
    assert!(pool.available >= Minor(500), "the reserve is untouched: {pool:?}");

    let mut folded = State::empty(&*store);
    let mut answered = std::collections::BTreeSet::new();
    for entry in store.entries() {
        let record = Record::decode(&entry.payload).unwrap();
        folded.fold(entry.sequence, &record).unwrap();
        if let Some(id) = record.fact.touches(entry.sequence).answer {
            assert!(answered.insert(id.clone()), "{id} was decided twice");
        }
    }
    let plain: Arc<dyn Store> = store.clone();
    let mut memory = world.ledger.snapshot().unwrap();
    memory.load_rest(&*plain).unwrap();
    assert!(memory.tells_as(&folded), "what is told of an id = fold of the journal");
    assert_eq!(memory.hash().unwrap(), folded.hash().unwrap(), "memory and rows = fold of the journal");
    check_prefixes(&store);
}

/// The increment and a reversal that names it lock the increment's place: one of them comes first, whichever it is.
#[test]
fn a_reversal_never_passes_the_increment_that_it_names() {
    let store = MemoryStore::new();
    let world = World::with_store(Arc::clone(&store));
    for round in 0..300 {
        let [root, increment, reversal] = ["root", "increment", "reversal"].map(|name| format!("{name}-{round}"));
        world.durable(tap(&root, 100));
        let of = |kind, id: &str, original: &str| {
            let original = Some(original.parse().unwrap());
            world.ledger.submit(Request { kind, original, ..tap(id, 50) }, at(10)).unwrap().reply.outcome.unwrap()
        };
        let together = Barrier::new(2);
        std::thread::scope(|scope| {
            let added = scope.spawn(|| {
                together.wait();
                of(Kind::Incremental, &increment, &root)
            });
            together.wait();
            of(Kind::Reversal, &reversal, &increment);
            added.join().unwrap();
        });
        let found = world.ledger.find(&root.parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.authorization.unwrap().held().amount, Minor(100), "of {root}");
        if round % 16 == 0 {
            world.ledger.write_rows().unwrap();
        }
    }
    world.close_and_check(&store);
}
