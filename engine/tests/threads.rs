//! Several threads on the same users and pools: nothing is approved twice or beyond what covers it, and memory is the
//! fold of the journal in whatever order the threads came. `make shuttle` plays the first of these in many orders of its
//! threads' steps, over the ledger's own locks.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use tapgate_engine::fact::{CardStatus, Evidence, Fact, Flow, Kind, Progress, Reason, Record, Request};
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::{Change, ChangeError};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::{Outcome, State};
use tapgate_engine::store::Store;
use tapgate_engine::testing::{MemoryStore, check_prefixes};

use crate::world::{self, World, at, import, tap};

#[cfg(tapgate_shuttle)]
use shuttle::thread;
#[cfg(not(tapgate_shuttle))]
use std::thread;

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

/// Taps, reversals, and ids that every thread asks with the same data.
fn hammer(world: &World, thread: u64, rounds: u64) {
    let (mut random, mut approved) = (Random(thread + 1), Vec::<(String, u64)>::new());
    for round in 0..rounds {
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
            // One of the threads decides it.
            (1, _) => {
                request = tap(&format!("shared-{}", round / 8), 50);
                request.user = "user0".parse().unwrap();
                request.card = "card0".parse().unwrap();
            }
            _ => {}
        }
        let new = request.kind == Kind::Authorization && request.id.as_str() == id;
        let submission = world.ledger.submit(request, at(round)).unwrap();
        if random.next(8) == 0 {
            world.ledger.give_up(&submission, at(round));
        }
        if new && matches!(submission.reply.outcome, Some(Outcome::Approved { .. })) {
            approved.push((id, user));
        }
    }
}

/// What UR shows, with and without a reference, and its balances.
fn settle(world: &World, rounds: u64) {
    let mut random = Random(97);
    for round in 0..rounds {
        let amount = i64::try_from(random.next(300)).unwrap() + 1;
        let mut posting = world::movement(&format!("hash{round}"), Flow::Out, Progress::Completed, amount);
        posting.user = format!("user{}", random.next(USERS)).parse().unwrap();
        if random.next(2) == 0 {
            posting = world::naming(&posting, &format!("t{}-{}", random.next(THREADS), random.next(round + 1)));
        }
        world.ledger.post(&posting, at(round)).unwrap();
        if random.next(4) == 0 {
            let seen_through = world.ledger.journal().durable();
            let synced = world.ledger.sync_pool(Currency::EUR, Minor(80_000), seen_through, at(round));
            // A person's report may have come in between.
            assert!(matches!(synced, Ok(_) | Err(ChangeError::Conflict(_))), "{synced:?}");
        }
    }
}

/// Every kind of change that takes guards of its own: of a card, a user, the program, and a pool.
fn administer(world: &World, rounds: u64) {
    let mut random = Random(53);
    for _ in 0..rounds {
        let user = random.next(USERS);
        let status = if random.next(2) == 0 { CardStatus::Frozen } else { CardStatus::Active };
        let change = match random.next(5) {
            0 => Change::ChangeCard { card: format!("card{user}").parse().unwrap(), status },
            1 => Change::SuspendUser {
                user: format!("user{user}").parse().unwrap(),
                suspended: status == CardStatus::Frozen,
            },
            2 => user_import(user),
            3 => world::rates(),
            _ => world::report(Currency::EUR, 90_000, RESERVE),
        };
        world.change(change).unwrap();
    }
}

/// Threads that decide beside one that writes rows and, with `others`, one that settles and one that changes.
fn all_at_once(rounds: u64, others: Option<u64>) {
    let store = MemoryStore::new();
    let world = World::with_store(Arc::clone(&store));
    for user in 0..USERS {
        world.change(user_import(user)).unwrap();
    }
    // Less than the threads ask for, so that the pool runs dry while they compete for it.
    world.change(world::report(Currency::EUR, 90_000, RESERVE)).unwrap();
    thread::scope(|scope| {
        let world = &world;
        for number in 0..THREADS {
            scope.spawn(move || hammer(world, number, rounds));
        }
        if let Some(rounds) = others {
            scope.spawn(move || settle(world, rounds));
            scope.spawn(move || administer(world, rounds));
        }
        scope.spawn(move || {
            for _ in 0..rounds.div_ceil(15) {
                world.ledger.write_rows().unwrap();
            }
        });
    });
    world.ledger.journal().close();
    let pool = world.ledger.pool(Currency::EUR).unwrap();
    assert!(others.is_some() || pool.available >= Minor(RESERVE), "the reserve is untouched: {pool:?}");

    let mut folded = State::empty(&*store);
    let mut answered = std::collections::BTreeSet::new();
    for entry in store.entries() {
        let record = Record::decode(&entry.payload).unwrap();
        folded.fold(entry.sequence, &record).unwrap();
        // What is released changes the answer that it had.
        let is_release =
            matches!(&record.fact, Fact::Settled(settled) if matches!(settled.evidence, Evidence::Ended(_)));
        if let Some(id) = record.fact.touches(entry.sequence).answer.filter(|_| !is_release) {
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

#[cfg(not(tapgate_shuttle))]
#[test]
fn threads_never_overspend_and_memory_is_the_fold() {
    all_at_once(ROUNDS, None);
}

#[cfg(not(tapgate_shuttle))]
#[test]
fn what_settles_and_what_people_change_beside_them_is_in_the_fold_too() {
    all_at_once(ROUNDS, Some(ROUNDS / 3));
}

/// Many orders of the threads' steps, drawn; a deadlock is found as well.
#[cfg(tapgate_shuttle)]
mod in_many_orders {
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, Runner};

    use super::all_at_once;

    /// Rounds of each thread, as few as let every two of them meet.
    const ROUNDS: u64 = 4;

    fn play(scheduler: impl Scheduler + 'static) {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(|| all_at_once(ROUNDS, Some(ROUNDS)));
    }

    fn orders() -> usize {
        std::env::var("TAPGATE_ORDERS").map_or(500, |orders| orders.parse().unwrap())
    }

    #[test]
    fn drawn_step_by_step() {
        play(RandomScheduler::new_from_seed(1, orders()));
    }

    /// One thread runs as long as it can; up to so many times another goes first.
    #[test]
    fn with_few_switches() {
        play(PctScheduler::new_from_seed(1, 4, orders()));
    }
}

const RESERVE: i64 = 500;

fn is_approved(asked: &Asked) -> bool {
    matches!(asked.outcome, Some(Outcome::Approved { .. }))
}

/// What a thread asked, between which two looks at one clock it was answered, and how.
struct Asked {
    id: String,
    began: u64,
    ended: u64,
    outcome: Option<Outcome>,
}

/// The journal's order is one in which the threads may have come one after the other: no answer was given before a question
/// that the journal has earlier was asked, and whoever asks in that order is answered alike. But for one thing: a pool is
/// taken from before the record has its place, so that a decline may come before the record that left it too little. The
/// two were under way together, and the decline may have come after.
#[test]
fn the_journals_order_explains_every_answer() {
    let set_up = |store: &Arc<MemoryStore>| {
        let world = World::with_store(Arc::clone(store));
        for user in 0..USERS {
            world.change(user_import(user)).unwrap();
        }
        world.change(world::report(Currency::EUR, 90_000, RESERVE)).unwrap();
        world
    };
    let store = MemoryStore::new();
    let world = set_up(&store);
    let begun = world.ledger.journal().claimed();
    let clock = AtomicU64::new(0);
    let look = || clock.fetch_add(1, Ordering::SeqCst);
    let asked: Vec<Asked> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (world, look) = (&world, &look);
                scope.spawn(move || {
                    let (mut random, mut asked) = (Random(thread + 11), Vec::new());
                    for round in 0..ROUNDS {
                        let (user, id) = (random.next(USERS), format!("t{thread}-{round}"));
                        let mut request = tap(&id, i64::try_from(random.next(400)).unwrap());
                        request.user = format!("user{user}").parse().unwrap();
                        request.card = format!("card{user}").parse().unwrap();
                        let began = look();
                        let submission = world.ledger.submit(request, at(10)).unwrap();
                        submission.ticket.as_ref().map(|ticket| ticket.block());
                        asked.push(Asked { id, began, ended: look(), outcome: submission.reply.outcome });
                    }
                    asked
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let place = |id: &str| world.ledger.find(&id.parse().unwrap()).unwrap().unwrap().answer.unwrap().decided;
    let mut in_order: Vec<(Sequence, &Asked)> = asked.iter().map(|asked| (place(&asked.id), asked)).collect();
    in_order.sort_unstable_by_key(|(sequence, _)| *sequence);
    let mut latest_beginning = 0;
    for (sequence, asked) in &in_order {
        assert!(latest_beginning < asked.ended, "record {sequence} was answered before an earlier one was asked");
        latest_beginning = latest_beginning.max(asked.began);
    }

    let alone = set_up(&MemoryStore::new());
    for entry in store.entries().into_iter().filter(|entry| entry.sequence > begun) {
        let Fact::Decided(decided) = Record::decode(&entry.payload).unwrap().fact else { continue };
        let (_, asked) = in_order.iter().find(|(sequence, _)| *sequence == entry.sequence).unwrap();
        let is_of_pool =
            matches!(asked.outcome, Some(Outcome::Declined(Reason::PoolReserveHeld | Reason::PoolExhausted)));
        if is_of_pool && alone.available() - decided.request.amount.0 >= RESERVE {
            let takes = |other: &Asked| other.began < asked.ended && is_approved(other);
            let later = in_order.iter().filter(|(sequence, _)| *sequence > entry.sequence);
            assert!(later.map(|(_, other)| *other).any(takes), "record {}: nothing left it too little", entry.sequence);
            continue;
        }
        let answered = alone.ledger.submit(decided.request, at(10)).unwrap().reply.outcome;
        assert_eq!(answered, asked.outcome, "record {}, {}", entry.sequence, asked.id);
    }
    assert_eq!(alone.available(), world.available());
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
        thread::scope(|scope| {
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
