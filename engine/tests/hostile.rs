//! What a hostile clock, a hostile schedule and a hostile disk must not bring about.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected stops")]

use std::sync::{Arc, Barrier};

use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::{
    CardStatus, FundingPolicy, Import, ImportedCard, ImportedFiat, Kind, Reason, Request, Source,
};
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::money::{ChfMinor, Currency, Minor};
use tapgate_engine::recovery::{RecoveryError, recover, verify};
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::{Store, StoredTree};
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::Moment;

use crate::world::{World, at, import, report, tap};

const DAY_SECONDS: u64 = 86_400;

fn outcome(world: &World, request: Request, now: Moment) -> Outcome {
    let submission = world.ledger.submit(request, now).unwrap();
    submission.ticket.as_ref().unwrap().block();
    submission.reply.outcome.unwrap()
}

fn is_equal(store: &Arc<MemoryStore>) -> bool {
    let store: Arc<dyn Store> = store.clone();
    verify(&store).unwrap().is_equal()
}

#[test]
fn a_clock_that_jumped_ends_no_limit_period_after_the_restart() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let used_up = ClientLimit { used: ChfMinor(100_000), ..import().limit };
    world.change(Change::ImportUser(Box::new(Import { limit: used_up, ..import() }))).unwrap();
    let jumped = Moment { trusted: false, ..at(40 * DAY_SECONDS) };
    assert_eq!(outcome(&world, tap("gated", 1_000), jumped), Outcome::Declined(Reason::StateStale));
    drop(world);
    let again = World::resumed(store);
    assert_eq!(outcome(&again, tap("later", 1_000), at(20)), Outcome::Declined(Reason::LimitExceeded));
}

#[test]
fn a_reversal_under_a_clock_that_jumped_forgets_no_use() {
    let world = World::new();
    outcome(&world, tap("spent", 90_000), at(10));
    let before = world.user().headroom(&"user".parse().unwrap(), at(20).at.seconds());
    let back = Request { kind: Kind::Reversal, original: Some("spent".parse().unwrap()), ..tap("back", 10) };
    outcome(&world, back, Moment { trusted: false, ..at(40 * DAY_SECONDS) });
    let after = world.user().headroom(&"user".parse().unwrap(), at(20).at.seconds());
    assert!(after <= before, "UR counts reversals as uses: {before:?}, then {after:?}");
}

#[test]
fn an_id_that_leaves_memory_while_it_is_asked_again_is_still_known() {
    const ROUNDS: u64 = 1_000;
    let world = World::new();
    let mut anew = 0;
    for round in 0..ROUNDS {
        world.durable(tap(&format!("id_{round}"), 0));
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            let turn = scope.spawn(|| {
                start.wait();
                world.ledger.write_rows().unwrap();
            });
            // Asked again and again, with another amount, until the turn is over: one of them meets its end.
            start.wait();
            while !turn.is_finished() {
                let answered = world.ledger.submit(tap(&format!("id_{round}"), 1), at(0)).unwrap().reply.outcome;
                anew += u64::from(answered.is_some());
            }
        });
    }
    assert_eq!(anew, 0, "of {ROUNDS} known ids were decided anew");
}

#[test]
fn an_import_between_two_taps_of_an_unknown_user_leaves_one_history() {
    for round in 0..100 {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            let import = scope.spawn(|| {
                let imported = Import { user: "stranger".parse().unwrap(), cards: Vec::new(), ..import() };
                start.wait();
                world.change(Change::ImportUser(Box::new(imported))).unwrap();
            });
            start.wait();
            let mut number = 0;
            while !import.is_finished() {
                number += 1;
                let id = format!("{round}_{number}");
                world.ledger.submit(Request { user: "stranger".parse().unwrap(), ..tap(&id, 1) }, at(1)).unwrap();
            }
        });
        world.drained();
        while world.ledger.write_rows().unwrap().more {}
        assert!(is_equal(&store), "round {round}");
    }
}

#[test]
fn an_approval_of_nothing_makes_no_pool() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let dollars = ImportedCard {
        id: "card".parse().unwrap(),
        status: CardStatus::Active,
        currency: Currency::USD,
        single_use: None,
    };
    world.change(Change::ImportUser(Box::new(Import { cards: vec![dollars], ..import() }))).unwrap();
    outcome(&world, Request { currency: Currency::USD, ..tap("nothing", 0) }, at(1));
    while world.ledger.write_rows().unwrap().more {}
    assert!(is_equal(&store));
    drop(world);
    assert_eq!(World::resumed(store).ledger.pools().len(), 1, "the one that was reported");
}

#[test]
fn protecting_the_runway_spends_no_pool_on_a_user_who_pays_by_fiat() {
    let policy = Policy { funding: FundingPolicy::Fiat, protect_runway: true, ..Policy::default() };
    let world = World::with_policy(MemoryStore::new(), policy);
    world.change(report(Currency::EUR, 100, 1_000)).unwrap();
    world.change(report(Currency::USD, 1_000_000, 0)).unwrap();
    let little = ImportedFiat { currency: Currency::EUR, amount: Minor(1_000), allowance: true };
    world.change(Change::ImportUser(Box::new(Import { fiat: vec![little], ..import() }))).unwrap();
    let asked = Request { currency: Currency::USD, ..tap("dear", 50_000) };
    let answered = outcome(&world, asked, at(1));
    assert!(!matches!(answered, Outcome::Approved { source: Source::Crypto, .. }), "{answered:?}");
}

#[test]
fn a_deleted_card_stays_deleted() {
    let world = World::new();
    let set = |status| Change::ChangeCard { card: "card".parse().unwrap(), status };
    world.change(set(CardStatus::Deleted)).unwrap();
    assert!(world.change(set(CardStatus::Active)).is_err());
    assert_eq!(outcome(&world, tap("again", 1), at(1)), Outcome::Declined(Reason::CardDeleted));
}

#[test]
fn rows_that_know_more_than_the_journal_stop_the_start() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let before = world.ledger.journal().durable();
    outcome(&world, tap("lost", 1_000), at(1));
    while world.ledger.write_rows().unwrap().more {}
    drop(world);
    // The disk kept the rows and lost the end of the journal, and the watermark with it.
    let torn = store.crashed_after(before);
    let frontier = StoredTree::of(&*torn).unwrap().frontier(before).unwrap();
    torn.write_rows(&[], &frontier).unwrap();
    let torn: Arc<dyn Store> = torn;
    assert!(matches!(recover(&torn), Err(RecoveryError::Ahead { .. })));
}
