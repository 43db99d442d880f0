//! Prefunds by example, and any history of them: never money, one per reference, and the same rows whichever way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tapgate_engine::fact::{Author, Flow, Kind, PrefundOrdered, PrefundProposed, PrefundSent, Progress, Request};
use tapgate_engine::ids::{PrefundId, Sequence};
use tapgate_engine::ledger::{Change, ChangeError, Page, Policy, PrefundChange};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::{Prefund, PrefundState};
use tapgate_engine::testing::{MemoryStore, cases};
use tapgate_engine::time::UnixMillis;

use crate::world::{World, at, history, movement, naming, tap};

const ALL: Page = Page { before: Sequence(u64::MAX), limit: 1_000 };

fn proposed(reference: &str, amount: i64) -> PrefundChange {
    PrefundChange::Propose(PrefundProposed {
        currency: Currency::EUR,
        amount: Minor(amount),
        reference: reference.into(),
        request_id: format!("request of {reference}").into(),
        expected_at: None,
    })
}

fn sent(proposal: Option<PrefundId>, reference: &str, amount: i64) -> PrefundChange {
    PrefundChange::Send(PrefundSent {
        proposal,
        currency: Currency::EUR,
        amount: Minor(amount),
        reference: reference.into(),
        expected_at: Some(at(1_000).at),
    })
}

fn ordered(id: PrefundId, paid: i64) -> PrefundChange {
    PrefundChange::Order(PrefundOrdered {
        id,
        base_url: "https://ur.example".into(),
        partner: "0x1".into(),
        account: "9999".parse().unwrap(),
        token: "EUR".into(),
        paid: Minor(paid),
        quoted: Minor(4_990),
    })
}

fn cancelled(id: PrefundId) -> PrefundChange {
    PrefundChange::Cancel { id, reason: "never mind".into(), not_executed: false }
}

fn not_executed(id: PrefundId) -> PrefundChange {
    PrefundChange::Cancel { id, reason: "UR says so".into(), not_executed: true }
}

impl World {
    fn prefund(&self, change: PrefundChange) -> Result<(), ChangeError> {
        if let PrefundChange::Approve { .. } = change {
            let treasurer = Author::Person { name: "treasurer".into(), idempotency: None };
            return self.ledger.change(&treasurer, Change::Prefund(change), at(0)).map(drop);
        }
        self.change(Change::Prefund(change))
    }

    /// The newest one with this reference.
    fn named(&self, reference: &str) -> Option<Prefund> {
        let named = |prefund: &Prefund| prefund.reference == reference;
        self.ledger.prefunds(Page { limit: 1, ..ALL }, &named).unwrap().pop()
    }

    fn state(&self, reference: &str) -> PrefundState {
        self.named(reference).unwrap().state(at(0).at)
    }

    fn credit(&self, reference: &str, amount: i64) {
        let change = Change::CreditPool { currency: Currency::EUR, amount: Minor(amount), reference: reference.into() };
        self.change(change).unwrap();
    }

    fn in_flight(&self) -> i64 {
        self.ledger.in_flight(Currency::EUR).iter().map(|prefund| prefund.amount.0).sum()
    }
}

#[test]
fn a_proposal_is_approved_sent_and_credited_and_only_the_credit_is_money() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let before = world.available();
    world.ledger.change(&Author::Engine, Change::Prefund(proposed("wire 1", 5_000)), at(0)).unwrap();
    let prefund = world.named("wire 1").unwrap();
    let id = prefund.id;
    assert_eq!(prefund.proposed.as_ref().unwrap().by, "engine");
    assert_eq!(prefund.request_id.as_deref(), Some("request of wire 1"), "on the disk before UR is called");
    let early = world.prefund(sent(Some(id), "wire 1", 5_000));
    assert!(matches!(early, Err(ChangeError::Conflict(_))), "nobody approved it: {early:?}");
    world.prefund(PrefundChange::Approve { id }).unwrap();
    let twice = world.prefund(PrefundChange::Approve { id });
    assert!(matches!(twice, Err(ChangeError::Conflict(_))), "{twice:?}");
    assert_eq!((world.state("wire 1"), world.in_flight()), (PrefundState::Approved, 0));
    // UR's quote is another amount than was proposed, and its reference another one.
    world.prefund(sent(Some(id), "deposit 9", 4_990)).unwrap();
    assert_eq!((world.state("deposit 9"), world.in_flight()), (PrefundState::Sent, 4_990));
    assert_eq!(world.named("deposit 9").unwrap().id, id);
    assert_eq!(world.available(), before, "what is on its way is no money");
    world.credit("deposit 8", 10);
    assert_eq!(world.state("deposit 9"), PrefundState::Sent, "another one's credit");
    world.credit("deposit 9", 4_990);
    assert_eq!((world.state("deposit 9"), world.in_flight()), (PrefundState::Credited, 0));
    assert_eq!(world.available(), before + 5_000);
    world.close_and_check(&store);
}

#[test]
fn nobody_but_the_engine_approves_what_they_proposed() {
    let world = World::new();
    world.prefund(proposed("wire 1", 5_000)).unwrap();
    let id = world.named("wire 1").unwrap().id;
    let own = world.change(Change::Prefund(PrefundChange::Approve { id }));
    assert!(matches!(&own, Err(ChangeError::Conflict(words)) if words.contains("another treasurer must")), "{own:?}");
    world.prefund(PrefundChange::Approve { id }).unwrap();
    let engine = |change| world.ledger.change(&Author::Engine, Change::Prefund(change), at(0)).map(drop);
    engine(proposed("wire 2", 5_000)).unwrap();
    engine(PrefundChange::Approve { id: world.named("wire 2").unwrap().id }).unwrap();
    assert_eq!([world.state("wire 1"), world.state("wire 2")], [PrefundState::Approved; 2]);
}

#[test]
fn what_is_ordered_is_given_up_only_where_ur_has_not_carried_it_out_and_credited_once() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let before = world.available();
    let engine = |change| world.ledger.change(&Author::Engine, change, at(0)).map(drop);
    let conflict = |done: Result<(), ChangeError>, words: &str| {
        assert!(matches!(&done, Err(ChangeError::Conflict(said)) if said.contains(words)), "{words}: {done:?}");
    };
    for reference in ["one", "two"] {
        world.prefund(proposed(reference, 5_000)).unwrap();
        let id = world.named(reference).unwrap().id;
        conflict(world.prefund(ordered(id, 1)), "is proposed, not approved");
        world.prefund(PrefundChange::Approve { id }).unwrap();
        world.prefund(ordered(id, 5_450_000)).unwrap();
        conflict(world.prefund(ordered(id, 5_450_000)), "is ordered, not approved");
        conflict(world.prefund(cancelled(id)), "cancel it with notExecuted (--not-executed)");
        conflict(engine(Change::Prefund(cancelled(id))), "record the credit with the reference");
        conflict(engine(Change::CreditPrefund { id, amount: Minor(1) }), "is ordered, not sent");
    }
    let one = world.named("one").unwrap();
    let (_, asked) = one.ordered.clone().unwrap();
    assert_eq!((one.state(at(0).at), asked.paid, world.in_flight()), (PrefundState::Ordered, Minor(5_450_000), 0));
    world.prefund(not_executed(world.named("two").unwrap().id)).unwrap();
    assert_eq!(world.state("two"), PrefundState::Cancelled);
    world.prefund(sent(Some(one.id), "0xab", 4_990)).unwrap();
    assert_eq!((world.in_flight(), world.available()), (4_990, before), "on its way, and no money");
    let credit = Change::CreditPrefund { id: one.id, amount: Minor(4_990) };
    engine(credit.clone()).unwrap();
    conflict(engine(credit), "is credited, not sent or overdue");
    for name in ["0xab", "request of one"] {
        let again = Change::CreditPool { currency: Currency::EUR, amount: Minor(4_990), reference: name.into() };
        conflict(world.change(again).map(drop), "is recorded already");
    }
    assert_eq!((world.available(), world.state("0xab")), (before + 4_990, PrefundState::Credited));
    // UR may answer that it arrived before it says how it is called.
    world.prefund(proposed("three", 5_000)).unwrap();
    let id = world.named("three").unwrap().id;
    world.prefund(PrefundChange::Approve { id }).unwrap();
    world.prefund(ordered(id, 1)).unwrap();
    world.credit("three", 5_000);
    assert_eq!(world.state("three"), PrefundState::Credited);
    // By the name that people were told before UR gave it another.
    world.prefund(proposed("four", 5_000)).unwrap();
    let id = world.named("four").unwrap().id;
    world.prefund(PrefundChange::Approve { id }).unwrap();
    world.prefund(sent(Some(id), "0xcd", 5_000)).unwrap();
    world.credit("request of four", 5_000);
    assert_eq!(world.state("0xcd"), PrefundState::Credited);
    world.close_and_check(&store);
}

#[test]
fn with_feeds_a_credit_ends_the_prefund_and_ur_s_report_alone_raises_the_pool() {
    let store = MemoryStore::new();
    let policy = Policy { credits_count_at_once: false, ..Policy::default() };
    let world = World::with_policy(store.clone(), policy);
    let before = world.available();
    world.prefund(sent(None, "wire 1", 5_000)).unwrap();
    world.credit("wire 1", 5_000);
    assert_eq!((world.state("wire 1"), world.available()), (PrefundState::Credited, before));
    let through = world.ledger.journal().claimed();
    let (_, unexplained) = world.ledger.sync_pool(Currency::EUR, Minor(before + 5_000), through, at(1)).unwrap();
    assert_eq!((world.available(), unexplained.0), (before + 5_000, 0));
    world.drained();
    world.close_and_check(&store);
}

/// A world with a credit of so much under way, and what a report leaves: the unexplained part, and what is due.
fn credited(amount: i64) -> (World, Arc<MemoryStore>, impl Fn(&World, i64) -> (i64, i64)) {
    let store = MemoryStore::new();
    let policy = Policy { credits_count_at_once: false, ..Policy::default() };
    let world = World::with_policy(store.clone(), policy);
    let begun = world.available();
    world.durable(tap("a1", 3_000));
    world.durable(tap("a2", 500));
    world.credit("wire", amount);
    let report = move |world: &World, change: i64| {
        let through = world.ledger.journal().claimed();
        let synced = world.ledger.sync_pool(Currency::EUR, Minor(begun + change), through, at(100));
        let (_, unexplained) = synced.unwrap();
        (unexplained.0, world.ledger.pool(Currency::EUR).unwrap().credits_due.0)
    };
    (world, store, report)
}

fn show(world: &World, id: &str, amount: i64) {
    let debit = naming(&movement(id, Flow::Out, Progress::Completed, amount), id);
    world.ledger.post(&debit, at(50)).unwrap();
}

#[test]
fn what_a_balance_fell_by_before_it_was_shown_is_no_part_of_a_credit() {
    for credit in [5_000, 1_000] {
        // Whether the balance falls by the debit before it is shown as settled, and whether the credit comes with that.
        for (falls_before, comes_with_it) in [(true, false), (false, true), (true, true), (false, false)] {
            let case = format!("{credit} {falls_before} {comes_with_it}");
            let (world, store, report) = credited(credit);
            assert_eq!(report(&world, if falls_before { -3_000 } else { 0 }), (0, credit), "{case}");
            show(&world, "a1", 3_000);
            let (arrived, due) = if comes_with_it { (credit, 0) } else { (0, credit) };
            assert_eq!(report(&world, arrived - 3_000), (0, due), "{case}");
            assert_eq!(report(&world, credit - 3_000), (0, 0), "{case}");
            world.close_and_check(&store);
        }
    }
}

#[test]
fn a_credit_that_came_with_debits_is_all_shown_once_those_are() {
    let (world, store, report) = credited(5_000);
    assert_eq!(report(&world, 5_000 - 3_000 - 500), (0, 3_500), "as far as a rise tells");
    show(&world, "a1", 3_000);
    assert_eq!(report(&world, 1_500), (0, 500));
    show(&world, "a2", 500);
    assert_eq!(report(&world, 1_500), (0, 0));
    world.close_and_check(&store);
}

#[test]
fn what_a_balance_fell_by_and_is_given_back_is_no_credit_either() {
    let (world, store, report) = credited(5_000);
    assert_eq!(report(&world, -3_000), (0, 5_000));
    let back = Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 3_000) };
    world.durable(back);
    assert_eq!(report(&world, -3_000), (0, 5_000), "not given back yet");
    assert_eq!(report(&world, 0), (0, 5_000));
    assert_eq!(report(&world, 5_000), (0, 0));
    world.close_and_check(&store);
}

#[test]
fn a_credit_that_a_report_showed_before_it_was_recorded_is_not_waited_for() {
    let store = MemoryStore::new();
    let policy = Policy { credits_count_at_once: false, ..Policy::default() };
    let world = World::with_policy(store.clone(), policy);
    let before = world.available();
    let report = |balance: i64, seconds: u64| {
        let through = world.ledger.journal().claimed();
        let (_, unexplained) = world.ledger.sync_pool(Currency::EUR, Minor(balance), through, at(seconds)).unwrap();
        unexplained.0
    };
    let due = || world.ledger.pool(Currency::EUR).unwrap().credits_due.0;
    assert_eq!(report(before + 5_000, 1), 5_000, "nobody has said so yet");
    world.credit("wire 1", 5_000);
    assert_eq!((due(), world.available()), (0, before + 5_000));
    world.credit("wire 2", 3_000);
    assert_eq!(due(), 3_000, "a rise is one credit's");
    assert_eq!((report(before + 8_000, 2), due()), (0, 0));
    // What rose and fell again was no credit.
    assert_eq!((report(before + 9_000, 3), report(before + 8_000, 4)), (1_000, -1_000));
    // Nor was what fell and rose again.
    assert_eq!((report(before + 7_000, 5), report(before + 8_000, 6)), (-1_000, 1_000));
    // And what rose more than a day ago is another matter.
    assert_eq!(report(before + 8_500, 7), 500);
    let later = at(7 + 86_401);
    let credit = Change::CreditPool { currency: Currency::EUR, amount: Minor(1_000), reference: "wire 3".into() };
    world.ledger.change(&Author::Engine, credit, later).unwrap();
    assert_eq!(due(), 1_000);
    // A person's word on the balance ends the waiting.
    let reported = Change::ReportPool {
        currency: Currency::EUR,
        reported: Some(Minor(before + 8_000)),
        floor: None,
        reserve: None,
        reflected: None,
    };
    world.change(reported).unwrap();
    assert_eq!(due(), 0);
    world.close_and_check(&store);
}

#[test]
fn what_is_short_waits_for_the_rest_or_for_a_person_and_is_not_counted_on() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for reference in ["wire 1", "wire 2"] {
        world.prefund(sent(None, reference, 5_000)).unwrap();
        world.credit(reference, 4_000);
    }
    assert_eq!((world.state("wire 1"), world.in_flight()), (PrefundState::Short, 0));
    world.credit("wire 1", 1_000);
    assert_eq!(world.state("wire 1"), PrefundState::Credited);
    world.prefund(cancelled(world.named("wire 2").unwrap().id)).unwrap();
    world.credit("wire 2", 1_000);
    let given_up = world.named("wire 2").unwrap();
    assert_eq!((given_up.state(at(0).at), given_up.credited.0), (PrefundState::Cancelled, 4_000), "over is over");
    world.close_and_check(&store);
}

#[test]
fn a_prefund_is_overdue_once_its_credit_was_expected_and_still_in_flight() {
    let world = World::new();
    world.prefund(sent(None, "wire 1", 5_000)).unwrap();
    let prefund = world.named("wire 1").unwrap();
    assert_eq!(prefund.state(at(1_000).at), PrefundState::Sent);
    assert_eq!(prefund.state(UnixMillis(at(1_000).at.0 + 1)), PrefundState::Overdue);
    assert_eq!(world.in_flight(), 5_000);
    world.credit("wire 1", 5_000);
    let credited = world.named("wire 1").unwrap();
    assert_eq!(credited.state(at(2_000).at), PrefundState::Credited);
}

#[test]
fn a_credit_can_be_one_prefund_s_only() {
    let world = World::new();
    let conflict = |change: PrefundChange| assert!(matches!(world.prefund(change), Err(ChangeError::Conflict(_))));
    world.prefund(sent(None, "wire 1", 5_000)).unwrap();
    conflict(sent(None, "wire 1", 1));
    conflict(proposed("wire 1", 1));
    world.prefund(proposed("wire 2", 1)).unwrap();
    let again = PrefundProposed {
        currency: Currency::EUR,
        amount: Minor(1),
        reference: "wire 3".into(),
        request_id: "request of wire 2".into(),
        expected_at: None,
    };
    conflict(PrefundChange::Propose(again));
    world.credit("wire 1", 5_000);
    world.prefund(sent(None, "wire 1", 7)).unwrap();
    assert_eq!(world.in_flight(), 7, "the first one is over");
}

#[test]
fn what_is_no_transfer_is_refused() {
    let world = World::new();
    let refused = |change: PrefundChange| world.prefund(change).unwrap_err();
    assert!(matches!(refused(sent(None, "wire", 0)), ChangeError::Invalid(_)));
    assert!(matches!(refused(sent(None, "", 1)), ChangeError::Invalid(_)));
    assert!(matches!(refused(sent(None, &"x".repeat(129), 1)), ChangeError::Invalid(_)));
    assert!(matches!(refused(sent(Some(PrefundId(Sequence(9))), "wire", 1)), ChangeError::NotFound { .. }));
    let nowhere = PrefundSent {
        proposal: None,
        currency: Currency::USD,
        amount: Minor(1),
        reference: "wire".into(),
        expected_at: None,
    };
    assert!(matches!(refused(PrefundChange::Send(nowhere)), ChangeError::NotFound { .. }), "no such pool");
    assert!(matches!(refused(cancelled(PrefundId(Sequence(9)))), ChangeError::NotFound { .. }));
    assert_eq!(world.ledger.journal().claimed(), Sequence(World::SET_UP_RECORDS.into()), "and is no record");
}

#[test]
fn prefunds_outlive_restarts_and_a_credit_after_one_still_finds_its_own() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.prefund(sent(None, "wire 1", 5_000)).unwrap();
    world.prefund(sent(None, "wire 2", 6_000)).unwrap();
    world.ledger.write_rows().unwrap();
    drop(world);
    let world = World::resumed(store.clone());
    assert_eq!(world.in_flight(), 11_000);
    world.credit("wire 1", 5_000);
    world.ledger.write_rows().unwrap();
    assert_eq!(world.ledger.open_prefunds().len(), 1);
    let over = world.named("wire 1").expect("it is on the disk");
    assert_eq!(world.ledger.prefund(over.id).unwrap().unwrap().state(at(0).at), PrefundState::Credited);
    assert!(matches!(world.prefund(cancelled(over.id)), Err(ChangeError::Conflict(_))), "it is over");
    world.close_and_check(&store);
}

/// One step of a history of three references.
#[derive(Clone, Debug)]
enum Happens {
    Proposed(u8, i64),
    Approved(u8),
    Ordered(u8, i64),
    Sent(u8, bool, i64),
    Cancelled(u8, bool),
    Credited(u8, i64),
    Tapped,
}

fn happens() -> impl Strategy<Value = Happens> {
    let (which, amount) = (0..3_u8, 1..4_i64);
    prop_oneof![
        3 => (which.clone(), amount.clone()).prop_map(|(which, amount)| Happens::Proposed(which, amount)),
        3 => which.clone().prop_map(Happens::Approved),
        2 => (which.clone(), amount.clone()).prop_map(|(which, paid)| Happens::Ordered(which, paid)),
        4 => (which.clone(), any::<bool>(), amount.clone())
            .prop_map(|(which, anew, amount)| Happens::Sent(which, anew, amount)),
        2 => (which.clone(), any::<bool>()).prop_map(|(which, proven)| Happens::Cancelled(which, proven)),
        4 => (which, amount).prop_map(|(which, amount)| Happens::Credited(which, amount)),
        1 => Just(Happens::Tapped),
    ]
}

/// Plays one step; returns what it added to the pool.
#[expect(clippy::needless_pass_by_value, reason = "a replay gives each step away")]
fn happen(world: &World, happens: Happens, seconds: u64) -> i64 {
    let reference = |which: u8| format!("wire {which}");
    let id = |which: u8| world.named(&reference(which)).map_or(PrefundId(Sequence(0)), |prefund| prefund.id);
    let change = match happens {
        Happens::Proposed(which, amount) => proposed(&reference(which), amount),
        Happens::Approved(which) => PrefundChange::Approve { id: id(which) },
        Happens::Ordered(which, paid) => ordered(id(which), paid),
        Happens::Sent(which, anew, amount) => sent((!anew).then(|| id(which)), &reference(which), amount),
        Happens::Cancelled(which, true) => not_executed(id(which)),
        Happens::Cancelled(which, false) => cancelled(id(which)),
        Happens::Credited(which, amount) => {
            let (currency, reference) = (Currency::EUR, reference(which).into());
            let credit = Change::CreditPool { currency, amount: Minor(amount), reference };
            return if world.change(credit).is_ok() { amount } else { 0 };
        }
        Happens::Tapped => {
            world.durable(tap(&format!("tap{seconds}"), 1));
            return -1;
        }
    };
    drop(world.prefund(change));
    0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(120), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is proposed, sent, credited and cancelled, and in whatever order: the pool rises by credits alone.
    #[test]
    fn any_history_of_prefunds_is_no_money(history in history(happens(), 1..60)) {
        let added = std::cell::RefCell::new(BTreeMap::from([(Sequence(0), World::new().available())]));
        let play = |world: &World, happens, seconds| {
            let now = added.borrow().last_key_value().map_or(0, |(_, sum)| *sum) + happen(world, happens, seconds);
            world.drained();
            added.borrow_mut().insert(world.ledger.journal().durable(), now);
        };
        World::replay(history, play, |world| {
            let durable = world.ledger.journal().durable();
            let expected = added.borrow().range(..=durable).next_back().map(|(_, sum)| *sum);
            assert_eq!(Some(world.available()), expected);
            world.ledger.open_prefunds()
        });
    }
}
