//! The bounds of money: what comes near them is refused where it enters, and nothing that entered stops a start.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::contract::pricing::Conversion;
use tapgate_engine::fact::{
    Author, AuthorizationState, BREAKS_MAX, BreakKind, Controls, DRAWS_MAX, Difference, Discrepancy, EVIDENCE_MAX,
    Effect, Evidence, Fact, Flow, IdempotencyKey, Kind, LayerChange, Linked, Movement, MovementRates, PoolCredited,
    Posting, Progress, RECORD_BYTES_MAX, Reason, Record, Request, Settled, Source, SourceChange, Upcharge, UseChange,
};
use tapgate_engine::ids::{AuthorizationId, BreakId, Sequence};
use tapgate_engine::ledger::{Change, ChangeError, Policy};
use tapgate_engine::money::{AMOUNT_MAX, ChfMinor, Currency, Minor, Money, SUM_MAX};
use tapgate_engine::recovery::{RecoveryError, recover, verify};
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::{Entry, Store};
use tapgate_engine::testing::{MemoryStore, cases, fold_anything, fold_extremes};
use tapgate_engine::time::{UnixMillis, UnixSeconds};

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

const MOST: Minor = Minor(2 * SUM_MAX.0);

const LAST: Sequence = Sequence(u64::MAX);

/// A change of an authorization with every list at its bound.
fn largest_change() -> Difference {
    let (minor, chf, text) = (MOST, ChfMinor(MOST.0), "x".repeat(AuthorizationId::BYTES_MAX));
    let layer = LayerChange {
        sequence: Some(LAST),
        held: minor,
        settled: SUM_MAX,
        limit: chf,
        spent: chf,
        debit: minor,
        funds: minor,
        currency: Currency::EUR,
        number: u16::MAX,
        shown: chf,
        upcharge: Upcharge { paid: minor, funds: minor },
    };
    let source = SourceChange {
        currency: Currency::EUR,
        held: minor,
        available: minor,
        upcharged: minor,
        completed: SUM_MAX,
        returned: SUM_MAX,
    };
    let broken = Discrepancy {
        kind: BreakKind::Unsweepable,
        subject: text.as_str().into(),
        field: "authorization".into(),
        ours: text.as_str().into(),
        theirs: text.as_str().into(),
    };
    Difference {
        source: Some(Source::Fiat),
        taken: minor,
        layers: vec![layer; DRAWS_MAX + EVIDENCE_MAX].into(),
        pools: vec![source; 2].into(),
        fiat: vec![source; 2].into(),
        return_uses: vec![UseChange { sequence: Some(LAST), limit: chf, shown: chf }; EVIDENCE_MAX + 1].into(),
        opened: vec![broken; BREAKS_MAX],
        resolved: vec![BreakId { opened: LAST, number: u16::MAX }; BREAKS_MAX],
        is_asked: true,
        ..Difference::none(AuthorizationState::ForcePosted, Currency::EUR)
    }
}

#[test]
fn the_largest_record_that_evidence_makes_has_room() {
    let conversion = Conversion { rate: u32::MAX, spread: u32::MAX };
    let money = Money { amount: AMOUNT_MAX, currency: Currency::EUR };
    let id: AuthorizationId = "x".repeat(AuthorizationId::BYTES_MAX).parse().unwrap();
    let movement = Movement {
        key: Fingerprint([0xff; 16]),
        flow: Flow::In,
        progress: Progress::Completed,
        is_contradicted: true,
        amount: money,
        value: SUM_MAX,
        limit: ChfMinor(SUM_MAX.0),
        funds: Some(money),
        rates: MovementRates { value: Some(conversion), chf: Some(u32::MAX), funds: Some((Currency::EUR, conversion)) },
        draw: Some(LAST),
        is_final: true,
        is_ended: true,
        first: LAST,
        at: UnixSeconds(i64::MIN),
    };
    let movements = vec![movement; EVIDENCE_MAX];
    let linked = Linked { from: id.clone(), previous: LAST, movements, change: largest_change() };
    let settled = Settled {
        root: id,
        previous: LAST,
        user: "x".repeat(64).parse().ok(),
        evidence: Evidence::Linked(Box::new(linked)),
        change: largest_change(),
    };
    let fact = Fact::Settled(Box::new(settled));
    fact.check_bounds().unwrap();
    let key = IdempotencyKey { key: "x".repeat(128).into(), fingerprint: Fingerprint([0xff; 16]) };
    let author = Author::Person { name: "x".repeat(64).into(), idempotency: Some(key) };
    let bytes = Record { at: UnixMillis(u64::MAX), author, fact }.encode().len();
    assert!((RECORD_BYTES_MAX / 2..=RECORD_BYTES_MAX).contains(&bytes), "{bytes} bytes");
}

#[test]
fn what_a_provider_says_of_a_movement_is_bounded_and_matched_alike() {
    let long = "H".repeat(70_000);
    let posting = |hash: &str| Posting {
        merchant: Some(format!(" {long}").into()),
        references: ["auth_7Q2", &long, "a reference with spaces"].map(Into::into).into_iter().collect(),
        ..movement(hash, Flow::Out, Progress::Completed, 5)
    };
    let bounded = posting("h").bounded();
    assert_eq!((bounded.hash.as_str(), bounded.merchant.as_deref()), ("h", Some(&*"H".repeat(256))));
    assert_eq!(bounded.references.as_slice(), ["auth_7Q2", "a reference with spaces"]);
    assert_eq!(bounded.clone().bounded(), bounded);
    let places = [long.clone(), long.to_ascii_lowercase(), format!("{long}1")].map(|hash| posting(&hash).bounded());
    assert_eq!(places[0].place(), places[1].place(), "hashes of any case are one");
    assert_ne!(places[0].place(), places[2].place());
    assert!(places.iter().all(|posting| posting.place().len() < 512));
}

#[test]
fn a_change_whose_record_is_too_large_is_refused_and_changes_nothing() {
    let store = MemoryStore::new();
    let world = World::with_store(Arc::clone(&store));
    let credit = |reference: String| Change::CreditPool {
        currency: Currency::EUR,
        amount: Minor(5),
        reference: reference.into(),
    };
    world.drained();
    let before = (world.ledger.journal().claimed(), world.available());
    // The record's other fields take a few bytes.
    let refused = world.change(credit("x".repeat(RECORD_BYTES_MAX))).unwrap_err();
    assert!(matches!(&refused, ChangeError::Invalid(message) if message.contains("change less at once")), "{refused}");
    assert_eq!((world.ledger.journal().claimed(), world.available()), before);
    for _ in 0..3 {
        world.change(credit("x".repeat(RECORD_BYTES_MAX))).unwrap_err();
    }
    world.change(credit("x".repeat(RECORD_BYTES_MAX - 100))).unwrap();
    assert_eq!(world.available(), before.1 + 5);
    world.close_and_check(&store);
}

#[test]
fn the_largest_controls_have_room() {
    let controls = Controls {
        mcc_block: (9_000..10_000).collect(),
        mcc_allow: (8_000..9_000).collect(),
        merchant_block: (0..1_000).map(|number| format!("{number:0>256}").into()).collect(),
        merchant_allow: (0..1_000).map(|number| format!("{number:x>256}").into()).collect(),
        ..Controls::default()
    };
    controls.validate().unwrap();
    let policy = Policy { controls, ..Policy::default() };
    let record = Record { at: at(0).at, author: Author::Engine, fact: Fact::PolicyApplied(Box::new(policy)) };
    assert!(record.encode().len() < RECORD_BYTES_MAX / 2);
}

#[test]
fn a_start_stops_at_a_record_that_no_ledger_wrote_and_names_it() {
    let store = MemoryStore::new();
    let world = World::with_store(Arc::clone(&store));
    world.drained();
    drop(world);
    let head = store.head().unwrap();
    let credit = PoolCredited {
        currency: Currency::EUR,
        amount: Minor(i64::MAX),
        reference: "forged".into(),
        counted: Minor(i64::MAX),
    };
    let payload = Record { at: at(20).at, author: Author::Ur, fact: Fact::PoolCredited(credit) }.encode();
    let unreadable = Entry::new(head.next().next(), b"no record".to_vec()).0;
    store.append(&[Entry::new(head.next(), payload).0, unreadable], &[]).unwrap();
    let store: Arc<dyn Store> = store;
    let error = recover(&store).unwrap_err();
    assert!(
        matches!(&error, RecoveryError::Illegal { sequence, reason } if *sequence == head.next() && reason.starts_with("amount is 9223372036854775807")),
        "{error}"
    );
    assert_eq!(verify(&store).unwrap_err(), error);
}
