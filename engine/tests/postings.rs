//! UR's transactions and reports by example: what is booked on what is held, and when a report may raise a figure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use std::sync::Arc;

use proptest::prelude::*;
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::{Conversion, Rates};
use tapgate_engine::fact::{
    AccountStatus, Author, AuthorizationState, BreakKind, CardStatus, Effect, Flow, FundingPolicy, IdempotencyKey,
    Import, ImportedCard, ImportedFiat, Kind, Posting, Progress, ReportedAccount, Request, Tolerance,
};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, Policy, PostingReceipt};
use tapgate_engine::money::{AMOUNT_MAX, ChfMinor, Currency, Minor, Money};
use tapgate_engine::recovery::verify;
use tapgate_engine::rows::Outcome;
use tapgate_engine::rules::standing;
use tapgate_engine::store::Store;
use tapgate_engine::testing::{MemoryStore, cases};
use tapgate_engine::time::UnixSeconds;

use crate::world::{self, START_SECONDS, World, at, funds, history, movement, naming, tap};

pub(crate) fn completed(hash: &str, amount: i64) -> Posting {
    movement(hash, Flow::Out, Progress::Completed, amount)
}

fn given_back(hash: &str, amount: i64) -> Posting {
    movement(hash, Flow::In, Progress::Completed, amount)
}

impl World {
    pub(crate) fn book(&self, posting: &Posting, root: &str) -> Option<PostingReceipt> {
        let booking = self.ledger.post(&naming(posting, root), at(100)).unwrap();
        if let Some(booking) = &booking {
            assert_eq!(booking.ticket.block(), Durability::Durable);
        }
        booking
    }

    /// Books, and says what that did: effect, state of the root, what it still holds, and the breaks open now.
    fn booked(&self, posting: &Posting, root: &str) -> (Effect, AuthorizationState, i64, Vec<&'static str>) {
        let booking = self.book(posting, root).expect("it was not known");
        let row = self.ledger.find(&booking.root).unwrap().unwrap().authorization.unwrap();
        let breaks = self.ledger.open_breaks();
        let kinds = breaks.iter().map(|found| found.discrepancy.kind.name()).collect();
        (booking.effect, row.state, row.held().amount.0, kinds)
    }

    /// UR reports a pool of so much, asked for now.
    pub(crate) fn sync(&self, balance: i64) -> i64 {
        let through = self.ledger.journal().claimed();
        let (ticket, unexplained) = self.ledger.sync_pool(Currency::EUR, Minor(balance), through, at(100)).unwrap();
        assert_eq!(ticket.block(), Durability::Durable);
        unexplained.0
    }
}

#[test]
fn a_debit_is_confirmed_and_cleared_and_counts_until_a_report_asked_for_later() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    assert_eq!(world.sync(100_000), 0, "UR has taken nothing yet");
    assert_eq!(world.available(), 99_000);
    let pending = movement("h", Flow::Out, Progress::Pending, 1_000);
    assert_eq!(world.booked(&pending, "a1"), (Effect::Confirmed, AuthorizationState::Confirmed, 1_000, vec![]));
    // Asked for before the settlement is shown: it may or may not hold it, so it counts on.
    let early = world.ledger.journal().claimed();
    assert_eq!(world.booked(&completed("h", 1_000), "a1"), (Effect::Cleared, AuthorizationState::Cleared, 0, vec![]));
    assert_eq!(world.ledger.pool(Currency::EUR).unwrap().held.0, 0);
    assert_eq!(world.available(), 99_000);
    let (_, unexplained) = world.ledger.sync_pool(Currency::EUR, Minor(99_000), early, at(100)).unwrap();
    assert_eq!((world.available(), unexplained.0), (98_000, 0), "counted twice rather than not at all");
    assert_eq!(world.sync(99_000), 0);
    assert_eq!(world.available(), 99_000);
    assert!(world.book(&completed("h", 1_000), "a1").is_none(), "told again");
    assert!(world.book(&pending, "a1").is_none(), "told again, and late");
    assert_eq!(world.user().holds().len(), 1, "the partner has not debited the user yet");
    world.change(funds(99_000, 1, &["a1"])).unwrap();
    assert!(world.user().holds().is_empty());
    world.close_and_check(&store);
}

/// A start folds no movement, it notes the records that the rows do not hold. Whatever needs the movement first finds it
/// whole: UR's next row of it, or the turn that writes it.
#[test]
fn what_a_start_notes_of_movements_is_whole_when_it_is_needed() {
    for (is_begun_on_disk, writes_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 1_000));
        world.durable(tap("a2", 500));
        let pending = |amount| movement("h", Flow::Out, Progress::Pending, amount);
        world.book(&pending(1_000), "a1");
        if is_begun_on_disk {
            world.ledger.write_rows().unwrap();
        }
        world.book(&completed("h", 1_000), "a1");
        world.book(&pending(500), "a2");
        drop(world);
        let world = World::resumed(store.clone());
        if writes_first {
            world.ledger.write_rows().unwrap();
        }
        assert!(world.book(&completed("h", 1_000), "a1").is_none(), "told again");
        assert!(world.book(&pending(1_000), "a1").is_none(), "told again, and late");
        let (effect, ..) = world.booked(&completed("h", 500), "a2");
        assert_eq!(
            (effect, world.user().holds()[1].paid.amount),
            (Effect::Cleared, Minor(0)),
            "the second of one name"
        );
        drop(world);
        let world = World::resumed(store.clone());
        assert!(world.book(&completed("h", 500), "a2").is_none(), "told again after another start");
        world.ledger.write_rows().unwrap();
        assert!(world.book(&completed("h", 500), "a2").is_none(), "told again after its row was written");
        world.close_and_check(&store);
    }
}

#[test]
fn settlements_in_parts_leave_the_rest_held() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    assert_eq!(
        world.booked(&completed("h1", 400), "a1"),
        (Effect::PartlyCleared, AuthorizationState::PartlyCleared, 600, vec![])
    );
    assert_eq!(world.available(), 99_000, "settled or held, it is taken");
    let more = Request { kind: Kind::Incremental, original: Some("a1".parse().unwrap()), ..tap("a1+1", 100) };
    assert!(matches!(world.durable(more), Outcome::Approved { .. }), "what holds may take more");
    assert_eq!(world.booked(&completed("h2", 700), "a1"), (Effect::Cleared, AuthorizationState::Cleared, 0, vec![]));
    assert_eq!((world.sync(98_900), world.available()), (0, 98_900));
    world.close_and_check(&store);
}

#[test]
fn a_return_is_given_back_once_whichever_comes_first() {
    let callback = || Request { kind: Kind::Advice, original: Some("a1".parse().unwrap()), ..tap("adv", 300) };
    for callback_first in [true, false] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 1_000));
        if callback_first {
            world.durable(callback());
            world.book(&given_back("h", 300), "a1");
        } else {
            world.book(&given_back("h", 300), "a1");
            world.durable(callback());
        }
        // UR shows the return and will show the whole debit: until then the whole is claimed.
        assert_eq!(world.available(), 99_000, "callback first: {callback_first}");
        let row = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
        assert_eq!((row.held().amount.0, world.user().funds.unwrap().held.0), (1_000, 700));
        world.close_and_check(&store);
    }
}

#[test]
fn one_hash_may_hold_movements_of_several_accounts() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let other = Import { user: "other".parse().unwrap(), cards: Vec::new(), ..world::import() };
    world.change(Change::ImportUser(Box::new(other))).unwrap();
    world.durable(tap("a1", 1_000));
    world.booked(&completed("h", 1_000), "a1");
    let theirs = Posting { user: "other".parse().unwrap(), ..completed("h", 1_000) };
    assert_eq!(world.booked(&theirs, "").0, Effect::ForcePosted, "it is not the first account's again");
    let wrong = world.booked(&Posting { hash: "h2".into(), ..theirs }, "a1");
    assert_eq!(wrong.0, Effect::ForcePosted, "nor is it booked on another account's, whose id it names");
    world.close_and_check(&store);
}

#[test]
fn figures_that_a_person_reported_later_are_not_overtaken() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    let early = world.ledger.journal().claimed();
    world.change(world::report(Currency::EUR, 99_000, 0)).unwrap();
    assert!(world.ledger.sync_pool(Currency::EUR, Minor(100_000), early, at(100)).is_err(), "asked for before");
    assert_eq!(world.available(), 99_000);
    // A balance in a currency that nobody named holds nothing it does not have.
    let dollars = Posting { amount: Money { amount: Minor(5_000), currency: Currency::USD }, ..completed("h", 0) };
    world
        .change(Change::ImportUser(Box::new(Import { funding: Some(FundingPolicy::Fiat), ..world::import() })))
        .unwrap();
    world.book(&dollars, "");
    let user = "user".parse().unwrap();
    let balances = vec![Money { amount: Minor(20_000), currency: Currency::USD }];
    let stale = world.ledger.report_user(&user, None, Some(balances.clone()), early, at(100));
    assert!(stale.is_err(), "asked for before the import");
    let through = world.ledger.journal().claimed();
    world.ledger.report_user(&user, None, Some(balances), through, at(100)).unwrap();
    assert_eq!(world.user().fiat_in(Currency::USD).unwrap().available(), Minor(20_000));
    world.close_and_check(&store);
}

#[test]
fn a_part_too_small_to_be_missed_is_no_mismatch() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 10_000));
    let more = Request { kind: Kind::Incremental, original: Some("a1".parse().unwrap()), ..tap("a1+1", 50) };
    world.durable(more);
    assert_eq!(world.booked(&completed("h1", 10_000), "a1"), (Effect::Cleared, AuthorizationState::Cleared, 0, vec![]));
    assert_eq!(world.booked(&completed("h2", 50), "a1"), (Effect::Cleared, AuthorizationState::Cleared, 0, vec![]));
    assert_eq!((world.sync(89_950), world.available()), (0, 89_950));
    assert_eq!(world.booked(&completed("h3", 10_000), "a1").3, vec!["amount_mismatch"], "and that is too much");
    world.close_and_check(&store);
}

#[test]
fn what_ur_takes_is_what_counts() {
    for (taken, available, breaks) in
        [(1_010, 98_990, vec![]), (990, 99_010, vec![]), (1_500, 98_500, vec!["amount_mismatch"])]
    {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 1_000));
        let (effect, state, held, found) = world.booked(&completed("h", taken), "a1");
        assert_eq!((effect, state, held, found), (Effect::Cleared, AuthorizationState::Cleared, 0, breaks), "{taken}");
        assert_eq!(world.available(), available, "{taken}");
        assert_eq!((world.sync(100_000 - taken), world.available()), (0, available), "{taken}");
        world.close_and_check(&store);
    }
}

#[test]
fn a_return_that_ur_converts_itself_is_the_announced_one() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 7_790));
    world.booked(&movement("h1", Flow::Out, Progress::Pending, 7_790), "a1");
    world.durable(Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 7_761) });
    let owed = |world: &World| {
        let row = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
        row.layers().map(|layer| layer.debit.0).sum::<i64>()
    };
    assert_eq!(owed(&world), 29);
    world.booked(&given_back("h2", 7_762), "a1");
    assert_eq!(owed(&world), 28, "a cent more than announced is a cent less to pay, and no refund of all");
    world.booked(&completed("h1", 7_790), "a1");
    assert_eq!(owed(&world), 28);
    world.close_and_check(&store);
}

#[test]
fn a_reversal_that_frees_nothing_explains_the_balance_that_it_raises() {
    let world = World::new();
    world.durable(tap("a1", 1_000));
    assert_eq!(world.sync(100_000), 0);
    world.booked(&movement("h1", Flow::Out, Progress::Pending, 1_000), "a1");
    assert_eq!(world.sync(99_000), 0);
    world.durable(Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 600) });
    assert_eq!(world.sync(99_600), 0, "UR gave it back at once");
}

#[test]
fn a_rejection_gives_everything_back() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    let rejected = movement("h", Flow::Out, Progress::Rejected, 1_000);
    assert_eq!(world.booked(&rejected, "a1"), (Effect::Reversed, AuthorizationState::Reversed, 0, vec![]));
    let user = world.user();
    assert_eq!((world.available(), user.funds.unwrap().held.0, user.holds().len()), (100_000, 0, 0));
    assert_eq!(user.headroom(&"user".parse().unwrap(), at(100).at.seconds()), ChfMinor(100_000));
    world.close_and_check(&store);
}

#[test]
fn money_that_comes_back_confirms_a_reversal_or_makes_one_or_is_a_refund() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    let reversal = Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 300) };
    world.durable(reversal);
    let held = |effect| (effect, AuthorizationState::Confirmed, 1_000, vec![]);
    assert_eq!(world.booked(&given_back("h1", 300), "a1"), held(Effect::Noted), "it will show the debit whole");
    assert_eq!(world.booked(&given_back("h2", 200), "a1"), held(Effect::Refunded));
    assert_eq!((world.available(), world.user().funds.unwrap().held.0), (99_000, 500));
    assert_eq!(
        world.booked(&completed("h3", 1_000), "a1"),
        (Effect::Cleared, AuthorizationState::Cleared, 0, vec![]),
        "shown whole"
    );
    assert_eq!(world.available(), 99_000, "what came back counts once a report shows it");
    assert_eq!(world.booked(&given_back("h4", 500), "a1"), (Effect::Refunded, AuthorizationState::Cleared, 0, vec![]));
    assert_eq!((world.sync(100_000), world.available()), (0, 100_000));
    assert_eq!(world.booked(&given_back("h5", 500), "a1").3, vec!["amount_mismatch"], "more than was ever taken");
    world.close_and_check(&store);
}

#[test]
fn what_nobody_approved_is_force_posted_and_a_break() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    assert!(matches!(world.durable(tap("a1", 200_000)), Outcome::Declined(_)));
    let stand_in = (Effect::ForcePosted, AuthorizationState::ForcePosted, 0, vec!["stand_in"]);
    assert_eq!(world.booked(&completed("h1", 200_000), "a1"), stand_in);
    assert_eq!(world.available(), -100_000, "UR did not ask; the pool pays all the same");
    let orphan = world.booked(&completed("h2", 500), "");
    assert_eq!(
        orphan,
        (Effect::ForcePosted, AuthorizationState::ForcePosted, 0, vec!["stand_in", "orphan_at_provider"])
    );
    assert!(world.book(&completed("h2", 500), "").is_none(), "told again");
    let pending = movement("h3", Flow::Out, Progress::Pending, 500);
    let (_, _, held, breaks) = world.booked(&pending, "");
    assert_eq!((held, breaks.len(), world.available()), (500, 3, -101_000), "UR is about to take it");
    world.close_and_check(&store);
}

#[test]
fn what_expired_may_still_be_settled() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    let expired = world.ledger.expire(&"a1".parse().unwrap(), at(200)).unwrap();
    assert_eq!(expired.block(), Durability::Durable);
    assert_eq!(world.available(), 100_000);
    assert_eq!(
        world.booked(&completed("h", 1_000), "a1"),
        (Effect::LateCleared, AuthorizationState::Cleared, 0, vec!["status_conflict"])
    );
    assert_eq!(world.available(), 99_000);
    assert!(matches!(world.ledger.expire(&"a1".parse().unwrap(), at(200)), Err(ChangeError::Conflict(_))));
    world.close_and_check(&store);
}

#[test]
fn what_was_given_up_and_is_settled_in_parts_uses_the_limit_for_each() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let headroom = || world.user().headroom(&"user".parse().unwrap(), at(100).at.seconds()).0;
    world.durable(tap("a1", 1_000));
    world.change(Change::Release { root: "a1".parse().unwrap(), reason: "test".into() }).unwrap();
    assert_eq!(headroom(), 100_000);
    assert_eq!(world.booked(&completed("h1", 600), "a1").0, Effect::LateCleared);
    assert_eq!(headroom(), 100_000 - 567);
    assert_eq!(world.booked(&completed("h2", 400), "a1").0, Effect::Cleared);
    assert_eq!(headroom(), 100_000 - 567 - 378);
    world.close_and_check(&store);
}

#[test]
fn a_refund_where_no_pool_is_open_opens_none() {
    let store = MemoryStore::new();
    let world = World::with_policy(store.clone(), Policy { zero_amount_holds: 0, ..Policy::default() });
    let card = ImportedCard {
        id: "dollars".parse().unwrap(),
        status: CardStatus::Active,
        currency: Currency::USD,
        single_use: None,
    };
    world.change(Change::AddCard { user: "user".parse().unwrap(), card }).unwrap();
    let checked = Request { card: "dollars".parse().unwrap(), currency: Currency::USD, ..tap("a1", 0) };
    assert!(matches!(world.durable(checked), Outcome::Approved { .. }), "a card is checked");
    let in_dollars =
        |posting: Posting| Posting { amount: Money { currency: Currency::USD, ..posting.amount }, ..posting };
    world.book(&in_dollars(completed("h1", 500)), "a1");
    let refunded = world.book(&in_dollars(given_back("h2", 500)), "a1").unwrap();
    assert_eq!(refunded.effect, Effect::Refunded);
    assert!(world.ledger.pool(Currency::USD).is_none());
    world.ledger.write_rows().unwrap();
    let kept: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    assert!(verify(&kept).unwrap().is_equal(), "nor does the journal know of one");
    world.close_and_check(&store);
}

#[test]
fn contradictions_are_breaks_and_lose_no_money() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    world.durable(Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 1_000) });
    assert_eq!(
        world.booked(&completed("h1", 1_000), "a1"),
        (Effect::Noted, AuthorizationState::Reversed, 0, vec![]),
        "and then back"
    );
    assert_eq!(world.available(), 99_000, "what came back is not shown yet");
    assert_eq!(world.booked(&given_back("h1b", 1_000), "a1"), (Effect::Noted, AuthorizationState::Reversed, 0, vec![]));
    assert_eq!((world.sync(100_000), world.available()), (0, 100_000));
    let (effect, _, _, breaks) = world.booked(&completed("h1c", 1_000), "a1");
    assert_eq!((effect, breaks), (Effect::Cleared, vec!["duplicate"]), "and once more");
    assert_eq!(world.available(), 99_000);
    world.durable(tap("a2", 1_000));
    world.booked(&completed("h2", 1_000), "a2");
    assert!(world.booked(&completed("h3", 1_000), "a2").3.contains(&"duplicate"));
    assert_eq!(world.available(), 97_000);
    world.durable(tap("a3", 1_000));
    let dollars = Posting { amount: Money { amount: Minor(1_100), currency: Currency::USD }, ..completed("h4", 0) };
    assert!(world.booked(&dollars, "a3").3.contains(&"currency_mismatch"));
    world.close_and_check(&store);
}

#[test]
fn one_transaction_is_booked_once_whatever_it_is_matched_with() {
    let store = MemoryStore::new();
    let world = Arc::new(World::with_store(store.clone()));
    world.durable(tap("a1", 1_000));
    world.durable(tap("a2", 1_000));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| world.book(&completed("h", 1_000), ""));
        }
    });
    world.drained();
    assert_eq!(world.ledger.pool(Currency::EUR).unwrap().held.0, 1_000, "one of the two still holds");
    world.ledger.write_rows().unwrap();
    assert_eq!(world.ledger.ids_in_memory(), 0, "both left memory, the open one and the one that is over");
    assert!(world.book(&completed("h", 1_000), "").is_none());
}

#[test]
fn a_users_limit_and_balance_are_reported_plus_unreflected() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let user = "user".parse().unwrap();
    let headroom = || world.user().headroom(&user, at(100).at.seconds()).0;
    world.durable(tap("a1", 1_000));
    assert_eq!(headroom(), 100_000 - 945);
    let account = |used| ReportedAccount {
        status: AccountStatus::Live,
        limit: ClientLimit {
            used: ChfMinor(used),
            client: ChfMinor(100_000),
            start: UnixSeconds(START_SECONDS.cast_signed()),
        },
        allowances: vec![(Currency::EUR, false)],
    };
    let report = |used| {
        let through = world.ledger.journal().claimed();
        world.ledger.report_user(&user, Some(account(used)), None, through, at(100)).unwrap().block()
    };
    report(945);
    assert_eq!(headroom(), 100_000 - 2 * 945, "not proven to be in it");
    world.booked(&completed("h", 1_000), "a1");
    report(945);
    assert_eq!(headroom(), 100_000 - 945);
    assert!(!world.user().fiat()[0].allowance, "UR said so");
    world.close_and_check(&store);
}

#[test]
fn what_was_given_back_before_the_settlement_uses_the_limit_once_more_and_not_twice() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let user = "user".parse().unwrap();
    let headroom = || world.user().headroom(&user, at(100).at.seconds()).0;
    world.durable(tap("a1", 1_000));
    world.durable(Request { kind: Kind::Advice, original: Some("a1".parse().unwrap()), ..tap("adv", 700) });
    // The contract counts what it takes, and what it gives back: 945 and 661 francs.
    assert_eq!(headroom(), 100_000 - 945 - 661);
    assert_eq!(world.booked(&completed("h1", 1_000), "a1"), (Effect::Cleared, AuthorizationState::Cleared, 0, vec![]));
    world.book(&given_back("h2", 700), "a1");
    assert_eq!(headroom(), 100_000 - 945 - 661);
    assert_eq!(world.user().limit_used_min(world.ledger.journal().claimed()).0, (945 + 661) / 2);
    world.close_and_check(&store);
}

#[test]
fn whether_ur_counts_at_the_authorization_or_at_the_settlement_its_figure_must_hold_what_settled() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let user = "user".parse().unwrap();
    let report = |used| {
        let limit = ClientLimit {
            used: ChfMinor(used),
            client: ChfMinor(100_000),
            start: UnixSeconds(START_SECONDS.cast_signed()),
        };
        let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: Vec::new() };
        let through = world.ledger.journal().claimed();
        world.ledger.report_user(&user, Some(account), None, through, at(100)).unwrap();
    };
    let used_min = || world.user().limit_used_min(world.ledger.journal().claimed()).0;
    world.durable(tap("a1", 1_000));
    assert_eq!(used_min(), 0, "UR may count it at the settlement");
    report(945);
    assert_eq!(used_min(), 945, "or it counted it at once");
    world.booked(&completed("h1", 1_000), "a1");
    assert_eq!(used_min(), 945, "which is no second use");
    report(945);
    world.durable(tap("a2", 2_000));
    world.booked(&completed("h2", 2_000), "a2");
    assert_eq!(used_min(), 3 * 945 / 2, "half of what settled since: it may settle for less than it was approved for");
    world.close_and_check(&store);
}

#[test]
fn what_was_given_up_and_comes_back_proves_no_second_use() {
    for given_up in [
        Posting { progress: Progress::Rejected, ..completed("h1", 1_000) },
        Posting { progress: Progress::Pending, ..completed("h1", 1_000) },
    ] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        let (user, root) = ("user".parse().unwrap(), "a1".parse().unwrap());
        world.durable(tap("a1", 1_000));
        // UR counted it at its authorization, which began a new period.
        let limit = ClientLimit {
            used: ChfMinor(945),
            client: ChfMinor(100_000),
            start: UnixSeconds(START_SECONDS.cast_signed() + 1),
        };
        let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: Vec::new() };
        let through = world.ledger.journal().claimed();
        world.ledger.report_user(&user, Some(account), None, through, at(100)).unwrap();
        if given_up.progress == Progress::Pending {
            world.ledger.expire(&root, at(200)).unwrap();
        }
        world.book(&given_up, "a1");
        world.book(&completed("h1", 1_000), "a1");
        world.book(&Posting { mcc: Some("5812".parse().unwrap()), ..completed("h1", 1_000) }, "a1");
        assert_eq!(world.user().limit_used_min(world.ledger.journal().claimed()).0, 945, "{given_up:?}");
        world.close_and_check(&store);
    }
}

#[test]
fn a_reversal_uses_the_limit_once_whoever_counts_it() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let user = "user".parse().unwrap();
    world.durable(tap("a1", 1_000));
    world.durable(Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 1_000) });
    world.book(&completed("h1", 1_000), "a1");
    world.book(&given_back("h2", 1_000), "a1");
    let limit = ClientLimit {
        used: ChfMinor(2 * 945),
        client: ChfMinor(100_000),
        start: UnixSeconds(START_SECONDS.cast_signed()),
    };
    let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: Vec::new() };
    let through = world.ledger.journal().claimed();
    world.ledger.report_user(&user, Some(account), None, through, at(100)).unwrap();
    assert_eq!(world.user().headroom(&user, at(100).at.seconds()), ChfMinor(100_000 - 2 * 945));
    world.close_and_check(&store);
}

#[test]
fn two_debits_of_one_hash_are_two_in_each_answer_that_shows_both() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    let answer =
        |progress, amounts: [i64; 2]| amounts.map(|amount| naming(&movement("h", Flow::Out, progress, amount), "a1"));
    let list = |answer: [Posting; 2]| -> usize {
        let news = answer.each_ref().map(|row| world.ledger.post_listed(row, &answer, at(100)).unwrap());
        world.drained();
        news.iter().flatten().count()
    };
    let row = || world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
    assert_eq!(list(answer(Progress::Pending, [300, 700])), 2);
    assert_eq!(standing(&row(), Tolerance::default()).pending, Minor(1_000));
    assert_eq!(list(answer(Progress::Pending, [700, 300])), 0, "UR may list them in another order");
    assert_eq!(list(answer(Progress::Pending, [700, 320])), 1, "the amount of one changed");
    assert_eq!(list(answer(Progress::Completed, [640, 300])), 2);
    assert_eq!((row().captured(), row().held().amount), (Minor(940), Minor(60)));
    assert_eq!(standing(&row(), Tolerance::default()).pending, Minor::ZERO);
    assert_eq!(row().settlement().movements.len(), 2);
    world.close_and_check(&store);
}

#[test]
fn however_much_was_said_of_a_debit_it_settles() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    for amount in (0..600).flat_map(|_| [300, 700]) {
        world.ledger.post(&naming(&movement("h", Flow::Out, Progress::Pending, amount), "a1"), at(100)).unwrap();
    }
    let (_, state, held, breaks) = world.booked(&completed("h", 1_000), "a1");
    assert_eq!(
        (state, held, breaks),
        (AuthorizationState::Cleared, 0, vec!["amount_mismatch"]),
        "1,000 pieces are many"
    );
    assert!(world.book(&completed("new", 10), "a1").is_none(), "a new debit has no effect any more");
    world.close_and_check(&store);
}

#[test]
fn what_ur_shows_of_a_tap_before_it_is_decided_is_not_asked_for_twice() {
    for progress in [Progress::Pending, Progress::Completed] {
        for source in [FundingPolicy::Crypto, FundingPolicy::Fiat] {
            let store = MemoryStore::new();
            let world = World::with_store(store.clone());
            let enough_for_one = Import {
                funds: Some(Money { amount: Minor(1_000), currency: Currency::EUR }),
                funding: Some(source),
                limit: ClientLimit { client: ChfMinor(950), ..world::import().limit },
                fiat: vec![ImportedFiat { currency: Currency::EUR, amount: Minor(1_000), allowance: true }],
                ..world::import()
            };
            world.change(Change::ImportUser(Box::new(enough_for_one))).unwrap();
            world.change(world::report(Currency::EUR, 1_000, 0)).unwrap();
            world.book(
                &Posting { awaits: Some("a1".parse().unwrap()), ..movement("h", Flow::Out, progress, 900) },
                "a1",
            );
            let outcome = world.durable(tap("a1", 900));
            let name = format!("{progress:?} {source:?}: {outcome:?}");
            assert!(matches!(outcome, Outcome::Approved { amount: Minor(900), .. }), "{name}");
            let left = || {
                let user = world.user();
                let funds = user.funds.map(|funds| funds.available());
                (world.available(), funds, user.fiat_in(Currency::EUR).map(|balance| balance.available()))
            };
            let (pool, funds) = if source == FundingPolicy::Crypto { (100, Minor(100)) } else { (1_000, Minor(1_000)) };
            let fiat = if source == FundingPolicy::Crypto { Minor(1_000) } else { Minor(100) };
            assert_eq!(left(), (pool, Some(funds), Some(fiat)), "{name}");
            let user = world.user();
            let chf = user.headroom(&world::import().user, at(100).at.seconds());
            assert_eq!(chf, ChfMinor(950 - 850), "{name}");
            let next = world.durable(tap("a2", 200));
            assert!(matches!(next, Outcome::Declined(_)), "what is left is no more than that: {next:?}");
            // UR's report, asked for after it took the money, shows the spend once.
            let last = naming(&completed("h", 900), "a1");
            world.ledger.post(&last, at(100)).unwrap();
            let limit = ClientLimit { used: ChfMinor(850), client: ChfMinor(950), ..world::import().limit };
            let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: vec![] };
            let through = world.ledger.journal().claimed();
            world.ledger.report_user(&world::import().user, Some(account), None, through, at(100)).unwrap();
            assert_eq!(world.user().headroom(&world::import().user, at(100).at.seconds()), ChfMinor(100), "{name}");
            world.close_and_check(&store);
        }
    }
}

#[test]
fn a_use_before_ur_s_period_ended_counts_no_more_after_it() {
    const PERIOD: i64 = 2_592_000;
    for is_reported in [true, false] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        let (user, start) = (world::import().user, world::import().limit.start);
        let left = || world.user().headroom(&user, start.plus(PERIOD + 61)).0;
        let report = |started: i64| {
            let limit = ClientLimit { start: start.plus(started), ..world::import().limit };
            let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: vec![] };
            let through = world.ledger.journal().claimed();
            world.ledger.report_user(&user, Some(account), None, through, at(3_000_000)).unwrap().block()
        };
        world.ledger.age_with_rests(at(0), &mut || {}).unwrap();
        for (id, seconds) in [("early", PERIOD - 7_200), ("late", PERIOD - 60), ("after", PERIOD + 60)] {
            world.durable_at(tap(id, 1_000), seconds.unsigned_abs());
        }
        report(0);
        assert_eq!(left(), 100_000 - 3 * 945, "nothing says that the period is over");
        if is_reported {
            report(PERIOD + 30);
        } else {
            world.ledger.age_with_rests(at(PERIOD.unsigned_abs() + 61), &mut || {}).unwrap();
        }
        assert_eq!(left(), 100_000 - 2 * 945, "UR may have taken the late one after its reset");
        world.close_and_check(&store);
    }
}

#[test]
fn an_increment_is_given_no_more_than_movements_claim_beyond_what_was_approved() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let tight = Import {
        funds: Some(Money { amount: Minor(1_000), currency: Currency::EUR }),
        limit: ClientLimit { client: ChfMinor(1_000), ..world::import().limit },
        ..world::import()
    };
    world.change(Change::ImportUser(Box::new(tight))).unwrap();
    world.durable(tap("a1", 900));
    // The user's debit fell and rose again: it is still a part of what was approved.
    for progress in [Progress::Rejected, Progress::Completed] {
        world.book(&movement("h", Flow::Out, progress, 300), "a1").unwrap();
    }
    let increment = Request { kind: Kind::Incremental, original: Some("a1".parse().unwrap()), ..tap("i1", 300) };
    assert!(matches!(world.durable(increment), Outcome::Declined(_)), "100 are left of the funds");
    world.close_and_check(&store);
}

#[test]
fn what_ur_takes_of_an_ended_hold_is_claimed_beside_an_open_one() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 900));
    world.change(Change::Release { root: "a1".parse().unwrap(), reason: "lost".into() }).unwrap();
    world.book(&movement("h", Flow::Out, Progress::Pending, 900), "a1").unwrap();
    let increment = Request { kind: Kind::Incremental, original: Some("a1".parse().unwrap()), ..tap("i1", 300) };
    assert!(matches!(world.durable(increment), Outcome::Approved { .. }));
    assert_eq!((world.available(), world.user().funds.unwrap().held), (98_800, Minor(1_200)));
    world.book(&completed("h", 900), "a1").unwrap();
    assert_eq!((world.available(), world.user().funds.unwrap().held), (98_800, Minor(1_200)), "300 are open");
    world.close_and_check(&store);
}

#[test]
fn rows_that_share_a_reference_are_as_many_movements() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    for own in [["x1", "x2"], ["x2", "x1"]] {
        let row =
            |own: &str| Posting { references: ["a1".into(), own.into()].into_iter().collect(), ..completed("h", 500) };
        let answer = [row(own[0]), Posting { ordinal: 1, ..row(own[1]) }];
        for row in &answer {
            world.ledger.post_listed(row, &answer, at(100)).unwrap();
        }
        world.drained();
        assert_eq!(
            world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap().captured(),
            Minor(1_000)
        );
    }
    world.close_and_check(&store);
}

#[test]
fn one_of_two_equal_debits_is_refused_and_the_other_taken() {
    for statuses in [[Progress::Completed, Progress::Rejected], [Progress::Rejected, Progress::Completed]] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 1_000));
        let row = |progress, ordinal| Posting { ordinal, ..naming(&movement("h", Flow::Out, progress, 500), "a1") };
        for answer in [[Progress::Pending; 2].map(|status| (status, 1)), statuses.map(|status| (status, 0))] {
            let [(first, _), (second, ordinal)] = answer;
            let answer = [row(first, 0), row(second, ordinal)];
            for row in &answer {
                world.ledger.post_listed(row, &answer, at(100)).unwrap();
            }
        }
        world.drained();
        let found = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
        assert_eq!((found.captured(), found.held().amount), (Minor(500), Minor(0)), "{statuses:?}");
        assert!(world.ledger.open_breaks().is_empty(), "UR contradicts nothing");
        world.close_and_check(&store);
    }
}

#[test]
fn an_amount_that_changed_is_priced_at_the_first_rate_and_not_by_a_rounded_figure() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let in_dollars = Some(Money { amount: Minor(100_000), currency: Currency::USD });
    world.change(Change::ImportUser(Box::new(Import { funds: in_dollars, ..world::import() }))).unwrap();
    world.book(&movement("h", Flow::Out, Progress::Pending, 1), "").unwrap();
    world.book(&completed("h", 5_000), "").unwrap();
    let (user, now) = (world.user(), at(100).at.seconds());
    assert_eq!((user.funds.unwrap().held, user.spends().unreflected(now)), (Minor(5_536), ChfMinor(4_725)));
    world.close_and_check(&store);
}

#[test]
fn a_debit_beyond_every_figure_is_a_break_and_no_end() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let dong: Currency = "VND".parse().unwrap();
    let rates = Rates {
        chf: vec![(Currency::EUR, 9_450), (dong, 1)],
        pairs: vec![((Currency::EUR, dong), Conversion { rate: 270_000_000, spread: 10_000 })],
        interchange_percent: 1,
        ..Rates::default()
    };
    world.change(Change::ReplaceRates(Box::new(rates))).unwrap();
    let in_dong = Some(Money { amount: Minor(1_000_000_000_000), currency: dong });
    world.change(Change::ImportUser(Box::new(Import { funds: in_dong, ..world::import() }))).unwrap();
    world.durable(tap("a1", 500));
    let (.., breaks) = world.booked(&completed("h", AMOUNT_MAX.0 / 10), "a1");
    assert_eq!(breaks, ["amount_mismatch"]);
    world.close_and_check(&store);
}

#[test]
fn summed_movements_whose_rows_gain_a_reference_stay_where_they_are_and_say_nothing_new() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let rows = |references: &[&str]| -> Vec<Posting> {
        let row = |number| Posting {
            references: references.iter().map(|reference| (*reference).into()).collect(),
            awaits: Some("a9".parse().unwrap()),
            ..completed(&format!("h{number}"), 10)
        };
        (0..70).map(row).collect()
    };
    let sweep = |rows: &[Posting]| rows.iter().filter_map(|row| world.ledger.post(row, at(100)).unwrap()).count();
    assert_eq!(sweep(&rows(&["a9"])), 70);
    world.durable(tap("a1", 5_000));
    assert_eq!(sweep(&rows(&["a1", "a9"])), 64, "six are parts of the sums");
    assert_eq!(sweep(&rows(&["a1", "a9"])), 0, "UR lists them again and again");
    world.drained();
    let kinds: Vec<_> = world.ledger.open_breaks().iter().map(|found| found.discrepancy.kind.name()).collect();
    assert_eq!(kinds, ["orphan_at_provider"]);
    world.close_and_check(&store);
}

#[test]
fn a_decision_after_ur_s_figure_shows_its_use_uses_nothing_more() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.book(&Posting { awaits: Some("a1".parse().unwrap()), ..completed("h", 900) }, "a1").unwrap();
    let user = world::import().user;
    let limit = ClientLimit { used: ChfMinor(850), ..world::import().limit };
    let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: vec![] };
    let through = world.ledger.journal().claimed();
    world.ledger.report_user(&user, Some(account), None, through, at(100)).unwrap().block();
    world.durable_at(tap("a1", 900), 101);
    assert_eq!(world.user().headroom(&user, at(101).at.seconds()), ChfMinor(100_000 - 850));
    assert_eq!(world.user().limit_used_min(world.ledger.journal().claimed()), ChfMinor(850));
    world.close_and_check(&store);
}

#[test]
fn breaks_outlive_restarts_until_a_person_explains_them() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.booked(&completed("h1", 500), "");
    world.booked(&completed("h2", 600), "");
    world.ledger.write_rows().unwrap();
    drop(world);
    let world = World::resumed(store.clone());
    let [first, second] = &world.ledger.open_breaks()[..] else { unreachable!("two were opened") };
    assert_eq!((first.discrepancy.kind, second.discrepancy.theirs.as_str()), (BreakKind::OrphanAtProvider, "600 EUR"));
    let key = IdempotencyKey { key: "once".into(), fingerprint: Fingerprint::of(b"resolve") };
    let resolve = |idempotency: Option<IdempotencyKey>| {
        let person = Author::Person { name: "test".into(), idempotency };
        let change = Change::ResolveBreak { id: first.id, reason: "a refund of theirs".into() };
        world.ledger.change(&person, change, at(300)).map(|receipt| receipt.ticket.map(|ticket| ticket.block()))
    };
    assert_eq!(resolve(Some(key.clone())).unwrap(), Some(Durability::Durable));
    assert_eq!(resolve(Some(key)).unwrap(), None, "the same request again");
    assert!(matches!(resolve(None), Err(ChangeError::Conflict(_))));
    world.ledger.write_rows().unwrap();
    let found = world.ledger.break_by_id(first.id).unwrap().unwrap();
    assert_eq!(found.resolved.unwrap().by, "test");
    assert_eq!(world.ledger.open_breaks().len(), 1);
    world.close_and_check(&store);
}

/// What happens to one authorization, and to one report, in its own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// We approve.
    Approve(usize),
    /// UR's books change.
    Debit(usize),
    /// UR shows it to us.
    Show(usize),
    /// UR is asked for the balance, and reads it.
    Ask(usize),
    /// The answer arrives.
    Answer(usize),
}

/// Any interleaving that keeps each one's own order.
fn interleavings(debits: usize, reports: usize) -> impl Strategy<Value = Vec<Step>> {
    let mut slots = Vec::new();
    for number in 0..debits {
        slots.extend([Step::Approve(number); 3]);
    }
    for number in 0..reports {
        slots.extend([Step::Ask(number); 2]);
    }
    Just(slots).prop_shuffle().prop_map(|slots| {
        let mut seen = std::collections::HashMap::new();
        let mut count = |key: (bool, usize)| {
            let times = seen.entry(key).or_insert(0);
            *times += 1;
            *times
        };
        let step = |slot: Step| match slot {
            Step::Approve(number) => match count((true, number)) {
                1 => Step::Approve(number),
                2 => Step::Debit(number),
                _ => Step::Show(number),
            },
            Step::Ask(number) if count((false, number)) == 1 => Step::Ask(number),
            Step::Ask(number) => Step::Answer(number),
            other => other,
        };
        slots.into_iter().map(step).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_may_race_with_approvals_in_every_order(steps in interleavings(4, 3)) {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        // UR's own books: what it has, and what it will still take for what we approved.
        let (mut balance, mut owed) = (100_000_i64, 0_i64);
        // Whoever asks waits for the answer: one that was overtaken is dropped.
        let (mut asked, mut asks, mut answered) = ([None; 3], 0, 0);
        let amount = |number: usize| 1_000 + 10 * i64::try_from(number).unwrap();
        for step in steps.iter().copied() {
            match step {
                Step::Approve(number) => {
                    world.durable(tap(&format!("a{number}"), amount(number)));
                    owed += amount(number);
                }
                Step::Debit(number) => {
                    balance -= amount(number);
                    owed -= amount(number);
                }
                Step::Show(number) => {
                    world.book(&completed(&format!("h{number}"), amount(number)), &format!("a{number}"));
                }
                Step::Ask(number) => {
                    asks += 1;
                    asked[number] = Some((asks, world.ledger.journal().claimed(), balance));
                }
                Step::Answer(number) => {
                    let (order, through, seen) = asked[number].unwrap();
                    if order < answered {
                        continue;
                    }
                    answered = order;
                    let synced = world.ledger.sync_pool(Currency::EUR, Minor(seen), through, at(100));
                    prop_assert_eq!(synced.unwrap().1.0, 0, "{:?} of {:?}", step, steps);
                }
            }
            prop_assert!(world.available() <= balance - owed, "more than there is after {:?} of {:?}", step, steps);
        }
        prop_assert_eq!((world.sync(balance), world.available()), (0, balance));
        world.close_and_check(&store);
    }
}

/// One step of a history of three authorizations.
#[derive(Clone, Debug)]
enum Happens {
    Tap(u8, i64),
    More(u8, i64),
    Back(u8, i64),
    Shown(u8, Flow, Progress, i64, u8),
    Orphan(i64, u8),
    Synced(i64),
    Reported(i64),
    Debited(u8),
    Expired(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    let root = 0..3_u8;
    let amount = prop_oneof![Just(1_000_i64), 1..3_000_i64];
    let flow = prop_oneof![3 => Just(Flow::Out), 1 => Just(Flow::In)];
    let progress = prop_oneof![
        1 => Just(Progress::Pending),
        3 => Just(Progress::Completed),
        1 => Just(Progress::Rejected),
    ];
    prop_oneof![
        4 => (root.clone(), amount.clone()).prop_map(|(root, amount)| Happens::Tap(root, amount)),
        1 => (root.clone(), amount.clone()).prop_map(|(root, amount)| Happens::More(root, amount)),
        2 => (root.clone(), amount.clone()).prop_map(|(root, amount)| Happens::Back(root, amount)),
        8 => (root.clone(), flow, progress, amount.clone(), 0..6_u8)
            .prop_map(|(root, flow, progress, amount, hash)| Happens::Shown(root, flow, progress, amount, hash)),
        1 => (amount.clone(), 0..3_u8).prop_map(|(amount, hash)| Happens::Orphan(amount, hash)),
        2 => (80_000..100_000_i64).prop_map(Happens::Synced),
        1 => (80_000..100_000_i64).prop_map(Happens::Reported),
        2 => root.clone().prop_map(Happens::Debited),
        1 => root.prop_map(Happens::Expired),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever UR shows, and in whatever order: what is available, held and open survives, and every prefix folds.
    #[test]
    fn any_history_keeps_the_books_straight(history in history(happens(), 1..60)) {
        let mut version = 0;
        let play = |world: &World, happens, seconds| {
            let root = |root: u8| format!("a{root}");
            let of = |kind: Kind, original: u8, amount: i64| Request {
                kind,
                original: Some(root(original).parse().unwrap()),
                ..tap(&format!("n{seconds}"), amount)
            };
            match happens {
                Happens::Tap(id, amount) => drop(world.ledger.submit(tap(&root(id), amount), at(1)).unwrap()),
                Happens::More(id, amount) => drop(world.ledger.submit(of(Kind::Incremental, id, amount), at(1)).unwrap()),
                Happens::Back(id, amount) => drop(world.ledger.submit(of(Kind::Reversal, id, amount), at(1)).unwrap()),
                Happens::Shown(id, flow, progress, amount, hash) => {
                    world.book(&movement(&format!("h{hash}"), flow, progress, amount), &root(id));
                }
                Happens::Orphan(amount, hash) => drop(world.book(&completed(&format!("o{hash}"), amount), "")),
                Happens::Synced(balance) => drop(world.sync(balance)),
                Happens::Reported(balance) => world.change(world::report(Currency::EUR, balance, 0)).unwrap(),
                Happens::Debited(id) => {
                    version += 1;
                    world.change(funds(90_000, version, &[&root(id)])).unwrap();
                }
                Happens::Expired(id) => drop(world.ledger.expire(&root(id).parse().unwrap(), at(1))),
            }
        };
        World::replay(history, play, |world| (world.available(), world.user().holds().to_vec(), world.ledger.open_breaks()));
    }

    /// A debit that a callback reversed is shown as taken and as given back, each told twice, in any order: no break.
    #[test]
    fn a_reversed_debit_is_shown_both_ways_in_any_order(order in Just(vec![0, 0, 1, 1]).prop_shuffle()) {
        let shown = [completed("h1", 1_000), given_back("h2", 1_000)];
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 1_000));
        world.durable(Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 1_000) });
        for number in order {
            world.book(&shown[number], "a1");
        }
        let row = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
        prop_assert_eq!((row.state, world.ledger.open_breaks().len()), (AuthorizationState::Reversed, 0));
        prop_assert_eq!((world.sync(100_000), world.available()), (0, 100_000));
        world.close_and_check(&store);
    }

    /// A debit pending, settled and refunded, each told twice, in any order: one end.
    #[test]
    fn any_order_and_repetition_of_what_ur_shows_ends_in_the_same_state(
        order in Just(vec![0, 0, 1, 1, 2, 2]).prop_shuffle(),
    ) {
        let shown = [
            movement("h1", Flow::Out, Progress::Pending, 1_000),
            completed("h1", 1_000),
            given_back("h2", 1_000),
        ];
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 1_000));
        for number in order {
            world.book(&shown[number], "a1");
        }
        let row = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
        let stands = standing(&row, Tolerance::default());
        prop_assert_eq!((row.state, stands.held.0, stands.taken.0, stands.returned.0), (AuthorizationState::Cleared, 0, 1_000, 1_000));
        let headroom = world.user().headroom(&"user".parse().unwrap(), at(100).at.seconds());
        prop_assert_eq!(headroom, ChfMinor(100_000 - 2 * 945), "UR's contract counts both ways");
        prop_assert_eq!(world.available(), 99_000, "the debit counts, the refund is for a report to show");
        prop_assert_eq!((world.sync(100_000), world.available()), (0, 100_000));
        world.close_and_check(&store);
    }
}
