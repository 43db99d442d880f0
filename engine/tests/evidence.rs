//! Evidence by example: what a rejection, an end by us, a late or a missing row, and a return leave standing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use std::sync::Barrier;

use tapgate_engine::fact::{BreakAnswer, Closing, Fact, Flow, FundingPolicy, Import, Kind, Posting, Progress, Request};
use tapgate_engine::ledger::{Change, ChangeError, Policy, Reflected};
use tapgate_engine::money::{Currency, Minor, Money};
use tapgate_engine::rows::Outcome;
use tapgate_engine::testing::MemoryStore;

use crate::postings::completed;
use crate::world::{self, World, at, movement, naming, tap};

/// What happens to the authorization `a1`.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tap(i64),
    More(i64),
    Back(i64),
    /// A reversal that names a card of its user's that `a1` was not tapped with.
    BackOfAnotherCard(i64),
    Shown(&'static str, Flow, Progress, i64),
    Expired,
    Released,
    /// UR's balance of the pool, requested now.
    Balance(i64),
}

use Flow::{In, Out};
use Progress::{Completed, Pending, Rejected};
use Step::{Back, BackOfAnotherCard, Balance, Expired, More, Released, Shown, Tap};

/// A promise, what happens, and how it ends: state, held, debited, used of the limit, available in the pool, open breaks.
const EXAMPLES: &[(&str, &[Step], &str)] = &[
    (
        "a rejected increment frees only itself",
        &[Tap(90_000), More(10_000), Shown("h1", Out, Pending, 90_000), Shown("h2", Out, Rejected, 10_000)],
        "confirmed held 90000 debits 90000 limit 85050 available 10000",
    ),
    (
        "a rejected increment leaves the authorization held",
        &[Tap(90_000), More(10_000), Shown("h2", Out, Rejected, 10_000)],
        "confirmed held 90000 debits 90000 limit 85050 available 10000",
    ),
    (
        "what is left of a rejected increment settles",
        &[Tap(90_000), More(10_000), Shown("h2", Out, Rejected, 10_000), Shown("h1", Out, Completed, 90_000)],
        "cleared held 0 debits 90000 limit 85050 available 10000",
    ),
    (
        "a reversal of more than was approved is told",
        &[Tap(1_000), Back(1_500)],
        "reversed held 0 debits 0 limit 1890 available 100000 amount_mismatch",
    ),
    (
        "a reversal that contradicts its authorization is told",
        &[Tap(1_000), BackOfAnotherCard(1_000)],
        "approved held 1000 debits 1000 limit 945 available 99000 status_conflict",
    ),
    (
        "what UR takes less is given back to the user",
        &[Tap(10_000), Shown("h", Out, Completed, 9_810)],
        "cleared held 0 debits 9810 limit 9450 available 90190",
    ),
    (
        "a hash in another case is the same transaction",
        &[Tap(1_000), Shown("0xab", Out, Completed, 1_000), Shown("0xAB", Out, Completed, 1_000)],
        "cleared held 0 debits 1000 limit 945 available 99000",
    ),
    (
        "what expired and is shown as pending is claimed again",
        &[Tap(90_000), Expired, Shown("h", Out, Pending, 90_000)],
        "confirmed held 90000 debits 90000 limit 85050 available 10000 status_conflict",
    ),
    (
        "what expired and is taken is told",
        &[Tap(90_000), Expired, Shown("h", Out, Completed, 90_000)],
        "cleared held 0 debits 90000 limit 85050 available 10000 status_conflict",
    ),
    (
        "a pending hold that expires uses the limit no longer",
        &[Tap(50_000), Shown("h", Out, Pending, 50_000), Expired],
        "expired held 0 debits 0 limit 0 available 100000",
    ),
    (
        "a reversal of the rest leaves the part",
        &[Tap(1_000), Shown("h1", Out, Completed, 400), Back(600)],
        "cleared held 0 debits 400 limit 1512 available 99600",
    ),
    (
        "a part and a reversal of the rest, which UR takes and gives back",
        &[
            Tap(1_000),
            Shown("h1", Out, Completed, 400),
            Back(600),
            Shown("h2", Out, Completed, 600),
            Shown("h3", In, Completed, 600),
            Balance(99_600),
        ],
        "cleared held 0 debits 400 limit 1512 available 99600",
    ),
    (
        "what was reversed before stays declined",
        &[Back(1_000), Tap(1_000)],
        "tombstoned held 0 debits 0 limit 0 available 100000",
    ),
    (
        "what was reversed before and taken stays declined",
        &[Back(1_000), Shown("h", Out, Completed, 1_000), Tap(1_000)],
        "force_posted held 0 debits 1000 limit 945 available 99000 stand_in",
    ),
    (
        "a pending stand-in is claimed and told",
        &[Tap(200_000), Shown("h", Out, Pending, 90_000)],
        "declined held 90000 debits 90000 limit 85050 available 10000 stand_in",
    ),
    (
        "a stand-in is debited as UR settles it",
        &[Tap(200_000), Shown("h", Out, Pending, 1_000), Shown("h", Out, Completed, 1_200)],
        "force_posted held 0 debits 1200 limit 1134 available 98800 stand_in",
    ),
    (
        "a stand-in that begins with nothing is debited",
        &[Tap(200_000), Shown("h0", Out, Completed, 0), Shown("h", Out, Pending, 0), Shown("h", Out, Completed, 1_000)],
        "force_posted held 0 debits 1000 limit 945 available 99000 stand_in",
    ),
    (
        "a pool that UR says is in the red pays nothing",
        &[Balance(-5), Tap(1_000)],
        "declined held 0 debits 0 limit 0 available -5",
    ),
];

fn play(world: &World, number: usize, step: Step) {
    let of = |kind, amount| {
        let original = Some("a1".parse().unwrap());
        Request { kind, original, ..tap(&format!("n{number}"), amount) }
    };
    match step {
        Tap(amount) => _ = world.durable(tap("a1", amount)),
        More(amount) => _ = world.durable(of(Kind::Incremental, amount)),
        Back(amount) => _ = world.durable(of(Kind::Reversal, amount)),
        BackOfAnotherCard(amount) => {
            _ = world.durable(Request { card: "card2".parse().unwrap(), ..of(Kind::Reversal, amount) });
        }
        Shown(hash, flow, progress, amount) => _ = world.book(&movement(hash, flow, progress, amount), "a1"),
        // What holds nothing is not ended.
        Expired => _ = world.ledger.expire(&"a1".parse().unwrap(), at(90_000)),
        Released => _ = world.change(Change::Release { root: "a1".parse().unwrap(), reason: "test".into() }),
        Balance(balance) => _ = world.sync(balance),
    }
}

fn ending(world: &World) -> String {
    let row = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
    let user = world.user();
    let debits: i64 = row.layers().map(|layer| layer.debit.0).sum();
    let limit = user.spends().unreflected(at(100).at.seconds());
    let breaks: Vec<_> = world.ledger.open_breaks().iter().map(|found| found.discrepancy.kind.name()).collect();
    let (held, available) = (row.held().amount, world.available());
    format!("{} held {held} debits {debits} limit {limit} available {available} {}", row.state.name(), breaks.join(" "))
}

#[test]
fn each_example_ends_as_it_says() {
    for (promise, steps, expected) in EXAMPLES {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        for (number, step) in steps.iter().enumerate() {
            play(&world, number, *step);
        }
        assert_eq!(&ending(&world).trim_end(), expected, "{promise}: {steps:?}");
        world.close_and_check(&store);
    }
}

fn orders(steps: &[Step]) -> Vec<Vec<Step>> {
    let Some((first, rest)) = steps.split_first() else { return vec![Vec::new()] };
    let insert = |shorter: Vec<Step>| {
        let longer = move |place: usize| [&shorter[..place], &[*first], &shorter[place..]].concat();
        (0..=rest.len()).map(longer)
    };
    orders(rest).into_iter().flat_map(insert).collect()
}

/// Decisions and ends by us are facts, whose order counts. Yet no order of them may lose money: once UR reports its
/// balance, what is available is that balance less what is held.
#[test]
fn an_end_or_an_increment_in_any_place_loses_no_money() {
    let (taken, back) = (Shown("h1", Out, Completed, 1_000), Shown("h2", In, Completed, 1_000));
    let sets: [&[Step]; 6] = [
        &[Expired, Shown("h1", Out, Pending, 1_000), taken, back],
        &[Released, Back(1_000), taken, back],
        &[Expired, Back(300), taken, Shown("h3", In, Completed, 300)],
        &[More(500), Shown("h4", Out, Rejected, 500), taken, Released],
        &[More(500), Back(300), Shown("h1", Out, Completed, 1_500), Shown("h3", In, Completed, 300)],
        &[More(500), taken, Shown("h4", Out, Completed, 500), Expired],
    ];
    for (order, reports_each) in
        sets.into_iter().flat_map(orders).flat_map(|order| [(order.clone(), false), (order, true)])
    {
        let world = World::new();
        play(&world, 99, Tap(1_000));
        let mut balance = 100_000;
        for (number, step) in order.iter().enumerate() {
            play(&world, number, *step);
            if let Shown(_, flow, Completed, amount) = *step {
                balance += if flow == Out { -amount } else { amount };
            }
            if reports_each || number + 1 == order.len() {
                play(&world, number, Balance(balance));
                let held = world.ledger.pool(Currency::EUR).unwrap().held.0;
                assert_eq!(world.available(), balance - held, "after {step:?} of {order:?}, reports {reports_each}");
            }
        }
    }
}

#[test]
fn one_hash_settles_two_authorizations_that_its_rows_name() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for id in ["a1", "a2"] {
        world.durable(tap(id, 350));
        world.book(&completed("h", 350), id).unwrap();
    }
    assert!(world.book(&completed("h", 350), "a1").is_none(), "told again");
    let pool = world.ledger.pool(Currency::EUR).unwrap();
    assert_eq!((pool.held.0, world.available(), world.ledger.open_breaks().len()), (0, 99_300, 0));
    world.close_and_check(&store);
}

#[test]
fn two_notifications_at_once_are_booked_on_two_holds() {
    const ROUNDS: usize = 100;
    let world = World::new();
    for round in 0..ROUNDS {
        for name in ["a", "b"] {
            assert!(matches!(world.durable(tap(&format!("{name}{round}"), 350)), Outcome::Approved { .. }));
        }
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for name in ["x", "y"] {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    start.wait();
                    world.book(&completed(&format!("{name}{round}"), 350), "").unwrap();
                });
            }
        });
        let pool = world.ledger.pool(Currency::EUR).unwrap();
        assert_eq!((pool.held.0, world.ledger.open_breaks().len()), (0, 0), "in round {round}");
    }
}

#[test]
fn a_tombstone_of_another_account_takes_nothing_from_a_user() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let mut other = world::import();
    other.user = "other".parse().unwrap();
    other.cards.iter_mut().for_each(|card| card.id = "card_other".parse().unwrap());
    world.change(Change::ImportUser(Box::new(other))).unwrap();
    let theirs = Request { user: "other".parse().unwrap(), card: "card_other".parse().unwrap(), ..tap("r1", 1_000) };
    world.durable(Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..theirs });
    world.book(&Posting { user: "other".parse().unwrap(), ..completed("h", 1_000) }, "a1").unwrap();
    let declined = world.durable(tap("a1", 1_000));
    assert!(matches!(declined, Outcome::Declined(_)), "{declined:?}");
    let user = world.user();
    assert_eq!((user.holds().len(), user.funds.unwrap().held.0, world.available()), (0, 0, 99_000));
    world.close_and_check(&store);
}

#[test]
fn what_ur_took_before_a_persons_report_is_proven_by_urs_next() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let before = world.ledger.journal().claimed();
    world.durable(tap("a1", 10_000));
    world.book(&completed("h", 10_000), "a1").unwrap();
    let report = world::report(Currency::EUR, 100_000, 0);
    let Change::ReportPool { currency, reported, floor, reserve, .. } = report else {
        unreachable!("it reports a pool")
    };
    let reflected = Some(Reflected::Through(before));
    world.change(Change::ReportPool { currency, reported, floor, reserve, reflected }).unwrap();
    assert_eq!(world.available(), 90_000, "the person's figure is older");
    assert_eq!((world.sync(90_000), world.available()), (0, 90_000));
    world.close_and_check(&store);
}

#[test]
fn a_later_row_that_names_its_authorization_takes_the_movement_there() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 5_000));
    let alone = world.book(&completed("h", 7_777), "").unwrap();
    assert_eq!(world.available(), 100_000 - 5_000 - 7_777, "nobody knows yet that they are one");
    assert_eq!(world.ledger.open_breaks().len(), 1);
    world.book(&completed("h", 7_777), "a1");
    let taken = |root| world.ledger.find(root).unwrap().unwrap().authorization.unwrap().captured().0;
    assert_eq!((taken(&"a1".parse().unwrap()), taken(&alone.root), world.available()), (7_777, 0, 92_223));
    let kinds: Vec<_> = world.ledger.open_breaks().iter().map(|found| found.discrepancy.kind.name()).collect();
    assert_eq!(kinds, ["amount_mismatch"], "the orphan is explained");
    assert!(world.book(&completed("h", 7_777), "a1").is_none(), "told again");
    world.close_and_check(&store);
}

/// UR's row that names `a1`, which may not be known yet.
fn shown_in(currency: Currency, hash: &str, progress: Progress, amount: i64) -> Posting {
    let amount = Money { amount: Minor(amount), currency };
    let row = Posting { amount, ..movement(hash, Out, progress, amount.amount.0) };
    Posting { awaits: Some("a1".parse().unwrap()), ..naming(&row, "a1") }
}

#[test]
fn a_stand_in_of_a_decline_is_claimed_in_the_currency_that_ur_shows() {
    let bahts = |request: Request| Request { currency: "THB".parse().unwrap(), ..request };
    let reversal = Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 40_000) };
    for (request, ours) in [(tap("a1", 40_000), "declined"), (reversal, "tombstoned")] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(bahts(request));
        world.book(&shown_in(Currency::EUR, "h", Pending, 1_000), "a1").unwrap();
        assert_eq!(ending(&world), format!("{ours} held 1000 debits 1000 limit 945 available 99000 stand_in"));
        world.book(&shown_in(Currency::EUR, "h", Completed, 1_000), "a1").unwrap();
        assert_eq!(ending(&world), "force_posted held 0 debits 1000 limit 945 available 99000 stand_in");
        world.close_and_check(&store);
    }
}

#[test]
fn a_decline_that_a_person_links_a_movement_to_has_that_movements_currency() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(Request { currency: "THB".parse().unwrap(), ..tap("a1", 40_000) });
    let alone = world.book(&completed("h", 1_000), "").unwrap();
    let itself = Change::Link { from: alone.root.clone(), to: alone.root.clone() };
    assert!(world.change(itself).is_err(), "a movement counts once");
    world.change(Change::Link { from: alone.root, to: "a1".parse().unwrap() }).unwrap();
    assert_eq!(ending(&world), "force_posted held 0 debits 1000 limit 945 available 99000 stand_in");
    world.close_and_check(&store);
}

/// What came before a decision claimed a source in a currency: the decision takes the rest there, or declines.
#[test]
fn a_decision_pays_from_the_source_and_in_the_currency_of_what_ur_showed_before() {
    let dollars = Request { currency: Currency::USD, ..tap("a1", 1_000) };
    let fallback = Import { funding: Some(FundingPolicy::CryptoThenFiat), ..world::import() };
    for (shown, request, pools, expected) in [
        (Currency::EUR, &dollars, [100_000, 100_000], "cleared held 0 debits 917 limit 878 available 99083"),
        (Currency::USD, &dollars, [100_000, 500], "force_posted held 0 debits 854 limit 791 available 100000 stand_in"),
        (Currency::EUR, &tap("a1", 917), [1_000, 500], "cleared held 0 debits 917 limit 866 available 83"),
    ] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.change(Change::ImportUser(Box::new(fallback.clone()))).unwrap();
        let currencies = [Currency::EUR, Currency::USD];
        for (currency, balance) in currencies.into_iter().zip(pools) {
            world.change(world::report(currency, balance, 0)).unwrap();
        }
        world.book(&shown_in(shown, "h", Pending, 917), "a1").unwrap();
        world.durable(request.clone());
        world.book(&shown_in(shown, "h", Completed, 917), "a1").unwrap();
        assert_eq!(ending(&world).trim_end(), expected);
        let claimed = currencies.map(|currency| {
            let pool = world.ledger.pool(currency).unwrap();
            (pool.held.0, pool.unreflected().0)
        });
        let expected = currencies.map(|currency| (0, if currency == shown { 917 } else { 0 }));
        assert_eq!(claimed, expected, "{shown} {request:?}");
        world.close_and_check(&store);
    }
}

#[test]
fn a_pool_opened_between_pending_and_completed_is_claimed_once() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.book(&shown_in(Currency::USD, "h", Pending, 1_000), "").unwrap();
    world.change(world::report(Currency::USD, 100_000, 0)).unwrap();
    world.book(&shown_in(Currency::USD, "h", Completed, 1_000), "").unwrap();
    let pool = world.ledger.pool(Currency::USD).unwrap();
    assert_eq!((pool.held.0, pool.available.0, world.available()), (0, 99_000, 100_000));
    world.close_and_check(&store);
}

#[test]
fn an_account_imported_between_pending_and_completed_is_claimed_once() {
    let store = MemoryStore::new();
    let world = World::start(store.clone(), Policy::default());
    for change in [world::rates(), world::report(Currency::EUR, 100_000, 0)] {
        world.change(change).unwrap();
    }
    world.book(&shown_in(Currency::EUR, "h", Pending, 1_000), "a1").unwrap();
    world.change(Change::ImportUser(Box::new(world::import()))).unwrap();
    world.durable(tap("a1", 1_000));
    assert_eq!(ending(&world), "confirmed held 1000 debits 1000 limit 945 available 99000 ");
    world.book(&shown_in(Currency::EUR, "h", Completed, 1_000), "a1").unwrap();
    assert_eq!(ending(&world), "cleared held 0 debits 1000 limit 945 available 99000 ");
    world.close_and_check(&store);
}

#[test]
fn a_contradiction_that_ur_lists_again_and_again_is_recorded_once() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    world.book(&completed("h", 1_000), "a1").unwrap();
    world.book(&movement("h", Out, Rejected, 1_000), "a1").unwrap();
    for progress in [Rejected, Completed, Rejected] {
        assert!(world.book(&movement("h", Out, progress, 1_000), "a1").is_none(), "{progress:?} says nothing new");
    }
    assert_eq!(ending(&world), "cleared held 0 debits 1000 limit 945 available 99000 status_conflict");
    world.close_and_check(&store);
}

/// What a person says of the one open break.
fn answer(world: &World, closing: Closing) -> Result<(), ChangeError> {
    let found = &world.ledger.open_breaks()[0];
    let Fact::Settled(settled) = world.ledger.record(found.id.opened).unwrap().unwrap().fact else {
        unreachable!("evidence opened it")
    };
    let root = settled.root;
    let answer = BreakAnswer { id: found.id, reason: "UR: ticket 12".into() };
    world.change(Change::AnswerBreak { root, closing, answer })
}

#[test]
fn a_person_charges_a_movement_that_stands_alone_though_a_hold_is_open() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 5_000));
    let alone = world.book(&completed("h", 7_777), "").unwrap();
    let held = || world.user().funds.unwrap().held.0;
    let debits = || {
        let row = world.ledger.find(&alone.root).unwrap().unwrap().authorization.unwrap();
        row.layers().map(|layer| layer.debit.0).sum::<i64>()
    };
    assert_eq!((held(), debits()), (5_000, 0), "the movement may belong to the hold");
    let found = world.ledger.open_breaks().remove(0);
    assert!(matches!(answer(&world, Closing::WrittenOff), Err(ChangeError::Conflict(_))), "no return is awaited");
    answer(&world, Closing::Charged).unwrap();
    assert_eq!((held(), debits()), (12_777, 7_777));
    let resolved = world.ledger.break_by_id(found.id).unwrap().unwrap().resolved.unwrap();
    let said = (resolved.by.as_str(), resolved.outcome, resolved.reason.as_str());
    assert_eq!(said, ("test", Some(Closing::Charged), "UR: ticket 12"));
    assert!(world.ledger.charge(&alone.root, at(200)).is_err(), "the rule finds it charged");
    assert!(world.book(&completed("h", 7_777), "").is_none(), "told again");
    assert!(world.ledger.open_breaks().is_empty());
    world.close_and_check(&store);
}

#[test]
fn a_person_s_answer_stands_until_ur_s_figures_change() {
    for (taken, opened) in [(7_777, &[][..]), (8_888, &["8888 EUR"])] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 5_000));
        world.book(&movement("h", Out, Pending, 7_777), "").unwrap();
        answer(&world, Closing::Charged).unwrap();
        world.book(&completed("h", taken), "").unwrap();
        let open: Vec<_> = world.ledger.open_breaks().into_iter().map(|found| found.discrepancy.theirs).collect();
        assert_eq!(open, opened);
        if !opened.is_empty() {
            assert!(matches!(answer(&world, Closing::Charged), Err(ChangeError::Conflict(_))), "it is charged already");
        }
        assert_eq!(world.user().funds.unwrap().held.0, 5_000 + taken);
        world.close_and_check(&store);
    }
}

#[test]
fn a_movement_that_stands_alone_is_debited_by_its_last_amount() {
    for last in [6_666, 8_888] {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        for posting in [movement("h", Out, Pending, 7_777), completed("h", last)] {
            world.book(&posting, "").unwrap();
            assert_eq!(world.user().funds.unwrap().held.0, posting.amount.amount.0, "no hold is open");
        }
        world.close_and_check(&store);
    }
}

/// More movements than a row lists.
const PARTS: i64 = 66;

#[test]
fn a_rejection_of_what_became_a_sum_frees_nothing_and_is_a_contradiction() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 10_000));
    for number in 0..PARTS {
        world.book(&completed(&format!("h{number}"), 100), "a1").unwrap();
    }
    world.book(&movement("h0", Out, Rejected, 100), "a1").expect("UR contradicts itself");
    assert!(world.book(&movement("h0", Out, Rejected, 100), "a1").is_none(), "UR lists it again and again");
    let end = "partly_cleared held 3400 debits 10000 limit 9450 available 90000 status_conflict";
    assert_eq!(ending(&world), end);
    world.close_and_check(&store);
}

#[test]
fn what_was_refused_and_became_a_sum_counts_once_when_it_completes() {
    let ends = [false, true].map(|is_summed| {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 10_000));
        let (first, last) = (movement("h0", Out, Rejected, 10), completed("h0", 10));
        world.book(&first, "a1").unwrap();
        if !is_summed {
            world.book(&last, "a1").unwrap();
        }
        for number in 1..PARTS {
            world.book(&movement(&format!("h{number}"), Out, Rejected, 10), "a1").unwrap();
        }
        if is_summed {
            world.book(&last, "a1").unwrap();
        }
        let end = ending(&world);
        world.close_and_check(&store);
        end
    });
    assert_eq!(ends[0], "partly_cleared held 9340 debits 9350 limit 8836 available 90650 status_conflict");
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn movements_that_are_not_all_listed_or_have_no_room_are_not_linked() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let link =
        |from: &str, to: &str| world.change(Change::Link { from: from.parse().unwrap(), to: to.parse().unwrap() });
    world.durable(tap("a1", 1_000));
    for number in 0..PARTS {
        let waiting = Posting { awaits: Some("x".parse().unwrap()), ..completed(&format!("h{number}"), 1) };
        world.book(&waiting, "x").unwrap();
    }
    assert!(matches!(link("x", "a1"), Err(ChangeError::Conflict(_))), "the sums would stay behind");
    let alone = world.book(&completed("alone", 1), "").unwrap().root;
    for number in 0..1_000 {
        world.book(&movement("h", Out, Pending, 1_000 + number % 2), "a1").unwrap();
    }
    assert!(matches!(link(alone.as_str(), "a1"), Err(ChangeError::Conflict(_))), "it takes no more evidence");
    assert_eq!(world.ledger.find(&alone).unwrap().unwrap().authorization.unwrap().captured(), Minor(1));
    world.close_and_check(&store);
}

#[test]
fn a_movement_shown_before_the_user_had_funds_is_debited_when_a_person_says_so() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.change(Change::ImportUser(Box::new(Import { funds: None, ..world::import() }))).unwrap();
    world.book(&completed("h", 700), "").unwrap();
    assert!(matches!(answer(&world, Closing::Charged), Err(ChangeError::Conflict(_))), "no funds pay for it");
    world.change(Change::ImportUser(Box::new(world::import()))).unwrap();
    answer(&world, Closing::Charged).unwrap();
    assert_eq!(world.user().funds.unwrap().held, Minor(700));
    world.close_and_check(&store);
}
