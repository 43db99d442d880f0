//! The ladder by example: a few lines of text say what happens and what is answered.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::fact::{
    Author, CardStatus, Channel, Controls, Fact, FundingPolicy, IdempotencyKey, Import, Kind, Merchant, Period,
    Request, VelocityRule,
};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, Policy};
use tapgate_engine::money::{Currency, CurrencyCode, Minor};
use tapgate_engine::rows::Outcome;
use tapgate_engine::rules::{explain, largest_approvable};
use tapgate_engine::testing::{FailAfter, MemoryStore};
use tapgate_engine::time::UnixSeconds;

use crate::world::{self, World, at, import, report, tap};

/// Runs lines of the form `verb arguments -> answer` in a world of 1,000.00 EUR of everything:
/// `tap ID AMOUNT [CURRENCY]`, `more ID ROOT AMOUNT`, `back ID ROOT AMOUNT`, `pool CURRENCY BALANCE [RESERVE]`,
/// `funds AMOUNT VERSION [DEBITED]`, `fiat AMOUNT`, `suspend`, `resume`, `release ROOT`.
fn check_with(policy: Policy, script: &str) {
    let world = World::with_policy(MemoryStore::new(), policy);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (asked, expected) = line.split_once(" -> ").unwrap_or((line, "done"));
        let words: Vec<&str> = asked.split_whitespace().collect();
        assert_eq!(run(&world, &words), expected, "{line}");
    }
}

fn check(script: &str) {
    check_with(Policy::default(), script);
}

fn number(word: &str) -> i64 {
    word.parse().unwrap()
}

fn run(world: &World, words: &[&str]) -> String {
    let of = |kind: Kind, id: &str, root: &str, amount: &str| Request {
        kind,
        original: Some(root.parse().unwrap()),
        ..tap(id, number(amount))
    };
    match *words {
        ["tap", id, amount] => answered(world, tap(id, number(amount))),
        ["tap", id, amount, code] => {
            answered(world, Request { currency: code.parse().unwrap(), ..tap(id, number(amount)) })
        }
        ["more", id, root, amount] => answered(world, of(Kind::Incremental, id, root, amount)),
        ["back", id, root, amount] => answered(world, of(Kind::Reversal, id, root, amount)),
        ["pool", code, balance] => changed(world, report(code.parse().unwrap(), number(balance), 0)),
        ["pool", code, balance, reserve] => {
            changed(world, report(code.parse().unwrap(), number(balance), number(reserve)))
        }
        ["funds", amount, version] => changed(world, world::funds(number(amount), number(version).unsigned_abs(), &[])),
        ["funds", amount, version, debited] => {
            changed(world, world::funds(number(amount), number(version).unsigned_abs(), &[debited]))
        }
        ["fiat", amount] => {
            let mut import = import();
            import.fiat.iter_mut().for_each(|balance| balance.amount = Minor(number(amount)));
            changed(world, Change::ImportUser(Box::new(import)))
        }
        ["suspend"] => changed(world, world::suspend(true)),
        ["resume"] => changed(world, world::suspend(false)),
        ["release", root] => changed(world, Change::Release { root: root.parse().unwrap(), reason: "test".into() }),
        ["available"] => world.available().to_string(),
        ["held"] => world.user().holds().iter().map(|hold| hold.paid.amount.0).sum::<i64>().to_string(),
        ["headroom"] => world.user().headroom(&"user".parse().unwrap(), at(10).at.seconds()).to_string(),
        ["funds"] => world.user().funds.unwrap().available().to_string(),
        _ => panic!("{words:?}"),
    }
}

fn answered(world: &World, request: Request) -> String {
    match world.durable(request) {
        Outcome::Approved { source, amount, partial: false } => format!("{} {amount}", source.name()),
        Outcome::Approved { source, amount, partial: true } => format!("{} {amount} partly", source.name()),
        Outcome::Acknowledged { amount } => format!("back {amount}"),
        Outcome::Declined(reason) => reason.name().to_owned(),
    }
}

fn changed(world: &World, change: Change) -> String {
    match world.change(change) {
        Ok(()) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_approval_holds_each_capacity_once_and_a_reversal_frees_it() {
    check(
        "tap a1 60000 -> CRYPTO 60000
         available -> 40000
         funds -> 40000
         headroom -> 43300
         tap a2 50000 -> limit_exceeded
         back r1 a1 20000 -> back 20000
         available -> 60000
         funds -> 60000
         headroom -> 24400
         back r2 a1 99999 -> back 40000
         held -> 0
         available -> 100000
         back r3 a1 1 -> back 0",
    );
}

#[test]
fn an_increment_adds_and_needs_a_live_parent() {
    check(
        "tap a1 1000 -> CRYPTO 1000
         back r1 a1 400 -> back 400
         more i1 a1 500 -> CRYPTO 500
         held -> 1100
         more i2 nobody 500 -> parent_not_found
         back r2 a1 1100 -> back 1100
         more i3 a1 500 -> parent_not_found
         held -> 0",
    );
}

#[test]
fn a_reversal_before_its_authorization_leaves_a_tombstone() {
    check(
        "back r1 a1 500 -> back 0
         tap a1 500 -> already_reversed
         more i1 a1 500 -> parent_not_found
         available -> 100000",
    );
}

#[test]
fn what_a_debit_ended_does_not_come_back_to_the_funds() {
    check(
        "tap a1 1000 -> CRYPTO 1000
         funds 99000 1 a1
         funds -> 99000
         back r1 a1 1000 -> back 1000
         funds -> 99000
         available -> 100000
         funds 98000 1 -> version 1 is not above the stored 1",
    );
}

#[test]
fn a_release_gives_the_limit_back_and_a_reversal_uses_it_again() {
    check(
        "tap a1 10000 -> CRYPTO 10000
         headroom -> 90550
         release a1
         headroom -> 100000
         release a1 -> authorization a1 is released: it holds nothing
         tap a2 10000 -> CRYPTO 10000
         back r2 a2 10000 -> back 10000
         headroom -> 81100",
    );
}

#[test]
fn the_reserve_is_kept_and_then_the_pool_is_exhausted() {
    check(
        "pool EUR 1000 400
         tap a1 700 -> pool_reserve_held
         tap a2 600 -> CRYPTO 600
         tap a3 0 -> pool_reserve_held
         tap a4 401 -> pool_exhausted",
    );
}

#[test]
fn a_pool_in_the_transaction_currency_pays_without_a_rate_while_it_covers() {
    check(
        "pool USD 1000
         tap a1 1000 USD -> CRYPTO 1000
         available -> 100000
         tap a2 1000 USD -> CRYPTO 1000
         available -> 99070
         tap a3 1000 XXX -> currency_unsupported",
    );
}

#[test]
fn the_other_source_pays_when_the_first_cannot() {
    let policy = |funding| Policy { funding, ..Policy::default() };
    check_with(
        policy(FundingPolicy::CryptoThenFiat),
        "pool EUR 500\n tap a1 600 -> FIAT 600\n tap a2 400 -> CRYPTO 400",
    );
    check_with(policy(FundingPolicy::FiatThenCrypto), "fiat 500\n tap a1 600 -> CRYPTO 600\n tap a2 400 -> FIAT 400");
    check_with(policy(FundingPolicy::Fiat), "fiat 500\n tap a1 600 -> insufficient_user_funds");
    check_with(
        policy(FundingPolicy::CryptoThenFiat),
        "pool EUR 500\n fiat 100\n tap a1 600 -> insufficient_user_funds",
    );
}

#[test]
fn the_runway_is_protected_by_paying_from_fiat() {
    let policy = Policy { protect_runway: true, ..Policy::default() };
    check_with(policy, "tap a1 100 -> CRYPTO 100\n pool EUR 300 400\n tap a2 100 -> FIAT 100");
}

#[test]
fn a_part_is_approved_only_where_both_sides_allow_it() {
    let partly = |allowed, enabled| {
        let policy = Policy { partial_approval: enabled, ..Policy::default() };
        let world = World::with_policy(MemoryStore::new(), policy);
        world.change(report(Currency::EUR, 70_000, 0)).unwrap();
        answered(&world, Request { partial_approval_allowed: allowed, ..tap("a1", 80_000) })
    };
    assert_eq!(partly(true, true), "CRYPTO 70000 partly");
    assert_eq!(partly(true, false), "pool_exhausted");
    assert_eq!(partly(false, true), "pool_exhausted");
}

#[test]
fn the_explanation_is_the_ladder_itself_and_says_what_would_have_passed() {
    let world = World::new();
    assert_eq!(answered(&world, tap("a1", 100_001)), "insufficient_user_funds");
    let head = world.ledger.journal().durable();
    let record = world.ledger.record(head).unwrap().unwrap();
    let Fact::Decided(decided) = record.fact else { panic!("{record:?}") };
    let explanation = explain(&decided.request, &decided.inputs);
    let rungs = &explanation.sources[0].rungs;
    let last = rungs.last().unwrap();
    assert_eq!((last.check.name(), last.passed), ("insufficient_user_funds", false));
    assert!(rungs[..rungs.len() - 1].iter().all(|rung| rung.passed));
    assert!(rungs.windows(2).all(|two| two[0].check < two[1].check), "in the order of precedence");
    assert_eq!(explanation.approved_up_to, Some(Minor(100_000)));
    let smaller = Request { amount: Minor(99_999), ..decided.request.clone() };
    assert_eq!(largest_approvable(&smaller, &decided.inputs), smaller.amount, "all of it");
    let nothing = Request { amount: Minor(-1), ..decided.request };
    assert_eq!(largest_approvable(&nothing, &decided.inputs), Minor::ZERO);
}

#[test]
fn a_card_left_out_of_an_import_may_become_another_users() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let without = Import { cards: Vec::new(), ..import() };
    let another = Import { user: "another".parse().unwrap(), ..import() };
    assert!(world.change(Change::ImportUser(Box::new(another.clone()))).is_err(), "the card is taken");
    world.change(Change::ImportUser(Box::new(without))).unwrap();
    world.change(Change::ImportUser(Box::new(another))).unwrap();
    let of_another = |id: &str| Request { user: "another".parse().unwrap(), ..tap(id, 1) };
    assert_eq!(answered(&world, of_another("1")), "CRYPTO 1");
    assert_eq!(answered(&world, tap("2", 1)), "unknown_card");
    drop(world);
    let again = World::resumed(store);
    assert_eq!(answered(&again, of_another("3")), "CRYPTO 1");
}

#[test]
fn a_repeated_change_is_not_said_to_have_happened_if_the_first_failed() {
    let world = World::with_store(FailAfter::new(MemoryStore::new(), World::SET_UP_RECORDS));
    let key = IdempotencyKey { key: "once".into(), fingerprint: Fingerprint::of(b"the same") };
    let author = Author::Person { name: "test".into(), idempotency: Some(key) };
    let first = world.ledger.change(&author, world::suspend(true), at(0)).unwrap();
    assert_eq!(first.ticket.unwrap().block(), Durability::Failed);
    assert!(world.ledger.change(&author, world::suspend(true), at(1)).is_err());
}

#[test]
fn an_idempotency_key_is_free_again_after_a_day() {
    let world = World::new();
    let asked = |what: &[u8]| {
        let key = IdempotencyKey { key: "once".into(), fingerprint: Fingerprint::of(what) };
        Author::Person { name: "test".into(), idempotency: Some(key) }
    };
    let day = 24 * 3_600;
    world.ledger.change(&asked(b"one"), world::suspend(true), at(0)).unwrap();
    assert!(world.ledger.change(&asked(b"another"), world::suspend(false), at(day)).is_err());
    world.ledger.change(&asked(b"another"), world::suspend(false), at(day + 1)).unwrap();
}

#[test]
fn a_repeat_that_describes_the_tap_otherwise_is_the_same_request() {
    let world = World::new();
    let is_known = |request: Request| world.ledger.submit(request, at(10)).unwrap().reply.outcome.is_some();
    let settled = |id: &str, currency: Currency, amount| Request {
        currency,
        settlement_amount: Some(Minor(amount)),
        settlement_currency: Some(Currency::EUR),
        ..tap(id, 1_250)
    };
    let (held, foreign) = (Currency::EUR, "SEK".parse().unwrap());
    for first in [tap("a", 1_250), settled("s", foreign, 1_250)] {
        world.durable(first);
    }
    let merchant = Merchant { name: Some("Café GmbH".into()), mcc: Some(5_812), ..Merchant::default() };
    assert!(is_known(Request { merchant, channel: Channel::Atm, ..tap("a", 1_250) }));
    assert!(is_known(settled("a", held, 1_250)) && is_known(settled("a", held, 1_253)), "no price depends on it");
    assert!(is_known(settled("s", foreign, 1_250)) && !is_known(settled("s", foreign, 1_253)), "priced by it");
    for other in [
        tap("a", 1_251),
        Request { user: "other".parse().unwrap(), ..tap("a", 1_250) },
        Request { card: "other".parse().unwrap(), ..tap("a", 1_250) },
        Request { currency: Currency::USD, ..tap("a", 1_250) },
        Request { partial_approval_allowed: true, ..tap("a", 1_250) },
        Request { kind: Kind::Advice, original: Some("b".parse().unwrap()), ..tap("a", 1_250) },
    ] {
        assert!(!is_known(other.clone()), "{other:?}");
    }
}

#[test]
fn an_answer_repeats_the_currency_code_that_ur_gave() {
    let world = World::new();
    let yuan = |code: &str| {
        let code: CurrencyCode = code.parse().unwrap();
        Request { currency: code.currency(), currency_given: code.alias(), ..tap("a", 1_250) }
    };
    let answered_in = |request: Request| {
        let reply = world.ledger.submit(request, at(10)).unwrap().reply;
        assert!(reply.outcome.is_some(), "no mismatch");
        reply.currency.as_str().to_owned()
    };
    assert_eq!(answered_in(yuan("CNY")), "CNY");
    assert_eq!(answered_in(yuan("CNY")), "CNY");
    assert_eq!(answered_in(yuan("CNH")), "CNY", "the stored answer: both are one currency");
    assert_eq!(answered_in(Request { id: "b".parse().unwrap(), ..yuan("CNH") }), "CNH");
}

#[test]
fn a_user_who_owes_gets_nothing_more() {
    check(
        "
        tap a1 4500 -> CRYPTO 4500
        funds -1000 1 a1
        tap a2 1 -> insufficient_user_funds
        tap a3 0 -> insufficient_user_funds
        ",
    );
    check_with(
        Policy { funding: FundingPolicy::Fiat, ..Policy::default() },
        "
        fiat -1
        tap a1 1 -> insufficient_user_funds
        ",
    );
}

#[test]
fn an_import_revives_no_card_unless_it_says_so() {
    let statuses = |world: &World| {
        let user = world.ledger.user(&"user".parse().unwrap()).unwrap();
        user.cards.iter().map(|card| format!("{} {:?}", card.id, card.status)).collect::<Vec<_>>()
    };
    let blocked = |status| Change::ChangeCard { card: "card".parse().unwrap(), status };
    for (status, kept) in [(CardStatus::Frozen, "card Frozen"), (CardStatus::Deleted, "card Deleted")] {
        let world = World::new();
        assert_eq!(changed(&world, blocked(status)), "done");
        let without = Import { cards: Vec::new(), ..import() };
        for again in [import(), without, import()] {
            assert_eq!(changed(&world, Change::ImportUser(Box::new(again))), "done");
            assert_eq!(statuses(&world), [kept]);
        }
        let overriding = Import { overrides: true, ..import() };
        assert_eq!(changed(&world, Change::ImportUser(Box::new(overriding))), "done");
        assert_eq!(statuses(&world), ["card Active"]);
    }
}

#[test]
fn a_card_follows_urs_latest_word_and_stays_as_the_partner_froze_or_deleted_it() {
    use CardStatus::{Active, Deleted, Frozen};
    enum Said {
        Ur(CardStatus, i64, bool),
        Partner(CardStatus),
    }
    use Said::{Partner, Ur};
    #[track_caller]
    fn check(words: &[Said], status: CardStatus) {
        let (world, card) = (World::new(), "card".parse().unwrap());
        for word in words {
            match *word {
                Partner(status) => {
                    assert_eq!(changed(&world, Change::ChangeCard { card: "card".parse().unwrap(), status }), "done");
                }
                Ur(status, said_at, is_news) => {
                    let ticket = world.ledger.report_card(&card, status, UnixSeconds(said_at), at(100)).unwrap();
                    assert_eq!(ticket.is_some(), is_news, "{status:?} at {said_at}");
                }
            }
        }
        let user = world.ledger.user(&"user".parse().unwrap()).unwrap();
        assert_eq!(user.card(&card).unwrap().status, status);
    }
    check(&[Ur(Frozen, 10, true)], Frozen);
    check(&[Ur(Frozen, 10, true), Ur(Active, 20, true)], Active);
    check(&[Ur(Active, 20, true), Ur(Frozen, 10, false)], Active);
    check(&[Ur(Frozen, 10, true), Ur(Frozen, 10, false), Ur(Active, 10, true)], Active);
    check(&[Ur(Frozen, 10, true), Partner(Active), Ur(Frozen, 10, false)], Active);
    check(&[Partner(Frozen), Ur(Active, 20, true)], Frozen);
    check(&[Partner(Frozen), Partner(Active), Ur(Frozen, 20, true), Ur(Active, 30, true)], Active);
    check(&[Partner(Deleted), Ur(Active, 20, false)], Deleted);
    check(&[Ur(Deleted, 10, true), Ur(Active, 20, false)], Deleted);
    check(&[Partner(Frozen), Ur(Deleted, 20, true)], Deleted);
    // A word from the future counts as of its arrival: it outlasts no later one.
    check(&[Ur(Frozen, i64::MAX, true), Ur(Active, i64::MAX, true)], Active);
    let refused = World::new().ledger.report_card(&"other".parse().unwrap(), Frozen, UnixSeconds(1), at(1));
    assert!(matches!(refused, Err(ChangeError::NotFound { .. })));
}

#[test]
fn allowances_follow_urs_latest_word() {
    let (world, user) = (World::new(), "user".parse().unwrap());
    let said = |allowances: &[(Currency, bool)], said_at: i64| {
        world.ledger.report_allowances(&user, allowances.to_vec(), UnixSeconds(said_at), at(100)).unwrap().is_some()
    };
    let allowed = |currency| world.ledger.user(&user).unwrap().fiat_in(currency).map(|balance| balance.allowance);
    assert!(said(&[(Currency::EUR, false), (Currency::USD, true)], 20));
    assert_eq!((allowed(Currency::EUR), allowed(Currency::USD)), (Some(false), Some(true)));
    assert!(!said(&[(Currency::EUR, false)], 20), "a second delivery");
    assert!(!said(&[(Currency::EUR, true)], 10), "older");
    assert!(said(&[(Currency::EUR, true)], 30));
    assert_eq!((allowed(Currency::EUR), allowed(Currency::USD)), (Some(true), Some(true)));
}

#[test]
fn a_control_that_could_never_match_is_refused() {
    let world = World::new();
    let refused = |controls: Controls| {
        let user = "user".parse().unwrap();
        changed(&world, Change::ControlUser { user, controls })
    };
    let rule = VelocityRule { period: Period::Sliding(60), amount_max: None, count_max: None };
    assert!(refused(Controls { velocity: vec![rule], ..Controls::default() }).contains("bounds nothing"));
    assert!(refused(Controls { mcc_block: vec![10_000], ..Controls::default() }).contains("10000"));
    assert!(refused(Controls { mcc_allow: vec![10_000], ..Controls::default() }).contains("10000"));
    let both = Controls { channel_block: vec![Channel::Atm], channel_allow: vec![Channel::Atm], ..Controls::default() };
    assert!(refused(both).contains("atm is in channel_allow and in channel_block"));
    for id in ["", " m_1", &"x".repeat(257)] {
        assert!(refused(Controls { merchant_block: vec![id.into()], ..Controls::default() }).contains("merchant id"));
    }
    for (read, named) in [
        (Controls::country("North Korea").map(drop), "North Korea"),
        (Controls::category("7").map(drop), "7"),
        (Controls::channel("moto").map(drop), "moto"),
        (Controls::merchant(" ").map(drop), " "),
    ] {
        assert!(read.unwrap_err().to_string().contains(named));
    }
    let [country, other] = ["KP", "408"].map(|code| Controls::country(code).unwrap());
    assert_eq!((country.as_str(), other), ("PRK", country));
}
