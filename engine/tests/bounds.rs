//! The bounds of money: what comes near them is refused where it enters, and nothing that entered stops a start.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tapgate_engine::fact::{
    Author, DRAWS_MAX, Effect, Fact, Flow, Kind, PoolCredited, Posting, Progress, Reason, Record, Request,
};
use tapgate_engine::ledger::{Change, ChangeError};
use tapgate_engine::money::{AMOUNT_MAX, Currency, Minor};
use tapgate_engine::recovery::{RecoveryError, recover, verify};
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::{Entry, Store, chained};
use tapgate_engine::testing::{MemoryStore, cases, fold_anything, fold_extremes};

use crate::world::{World, at, movement, naming, report, tap};

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_ledger_accepts_it_recovers(bytes in vec(any::<u8>(), 0..600)) {
        fold_extremes(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(2_000), max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn a_record_that_no_ledger_wrote_is_refused_by_name(bytes in vec(any::<u8>(), 0..600)) {
        fold_anything(&bytes);
    }
}

fn posting(hash: &str, flow: Flow) -> Posting {
    naming(&movement(hash, flow, Progress::Completed, AMOUNT_MAX.0), "a1")
}

#[test]
fn a_posting_that_nothing_has_room_for_opens_a_break_and_moves_nothing() {
    for flow in [Flow::Out, Flow::In] {
        let store = MemoryStore::new();
        let world = World::with_store(Arc::clone(&store));
        world.durable(tap("a1", 1_000));
        let root = "a1".parse().unwrap();
        let mut refused = 0;
        for number in 0..600 {
            let posting = posting(&format!("h{number}"), flow);
            let before = (world.available(), world.user().fiat().to_vec());
            let booking = world.ledger.post(&posting, at(100)).unwrap().unwrap();
            let row = world.ledger.find(&root).unwrap().unwrap().authorization.unwrap();
            if number > 501 {
                refused += 1;
                assert_eq!(booking.effect, Effect::Noted, "{flow:?} {number}");
                assert_eq!((world.available(), world.user().fiat().to_vec()), before, "{flow:?} {number}");
            }
            assert!(row.captured() <= Minor(502 * AMOUNT_MAX.0), "{flow:?} {number}");
            assert!(world.ledger.post(&posting, at(100)).unwrap().is_none(), "again");
        }
        assert!(refused > 0);
        let bound = world.ledger.open_breaks().into_iter().find(|found| found.discrepancy.field == "bound").unwrap();
        assert_eq!(bound.discrepancy.ours, format!("{} EUR", 500 * AMOUNT_MAX.0));
        world.drained();
        let store: Arc<dyn Store> = store;
        assert!(verify(&store).unwrap().is_equal());
    }
}

#[test]
fn a_pool_is_credited_up_to_its_bound() {
    let world = World::new();
    let credit = |number: u32| Change::CreditPool {
        currency: Currency::EUR,
        amount: AMOUNT_MAX,
        reference: format!("credit {number}").into(),
    };
    let refused = (0..600).find_map(|number| world.change(credit(number)).err()).unwrap();
    let ChangeError::Invalid(message) = refused else { panic!("{refused:?}") };
    assert!(message.contains("the engine adds up to 500000000000000000 only"), "{message}");
    assert_eq!(world.available(), 100_000 + 499 * AMOUNT_MAX.0);
    world.change(report(Currency::EUR, 5, 0)).unwrap();
    assert_eq!(world.available(), 5, "a person's report sets it right");
}

#[test]
fn an_authorization_has_a_bounded_number_of_draws() {
    let world = World::new();
    world.durable(tap("a1", 1));
    let increment = |number: usize| Request {
        kind: Kind::Incremental,
        original: Some("a1".parse().unwrap()),
        ..tap(&format!("i{number}"), 1)
    };
    for number in 1..DRAWS_MAX {
        let outcome = world.ledger.submit(increment(number), at(10)).unwrap().reply.outcome;
        assert!(matches!(outcome, Some(Outcome::Approved { .. })), "{number}: {outcome:?}");
    }
    assert_eq!(world.durable(increment(DRAWS_MAX)), Outcome::Declined(Reason::ParentNotFound));
}

#[test]
fn a_start_stops_at_a_record_that_no_ledger_wrote_and_names_it() {
    let store = MemoryStore::new();
    let world = World::with_store(Arc::clone(&store));
    world.drained();
    drop(world);
    let (head, chain) = store.head().unwrap();
    let credit = PoolCredited {
        currency: Currency::EUR,
        amount: Minor(i64::MAX),
        reference: "forged".into(),
        counted: Minor(i64::MAX),
    };
    let payload = Record { at: at(20).at, author: Author::Ur, fact: Fact::PoolCredited(credit) }.encode();
    let chain = chained(&chain, &payload);
    store.append(&[Entry { sequence: head.next(), chain, payload }]).unwrap();
    let store: Arc<dyn Store> = store;
    let error = recover(&store).unwrap_err();
    assert!(
        matches!(&error, RecoveryError::Illegal { sequence, reason } if *sequence == head.next() && reason.starts_with("amount is 9223372036854775807")),
        "{error}"
    );
    assert_eq!(verify(&store).unwrap_err(), error);
}
