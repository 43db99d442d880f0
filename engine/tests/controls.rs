//! Controls by example.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use proptest::prelude::*;
use tapgate_engine::fact::{
    CardStatus, CardUse, Channel, Controls, Decided, Flow, FundingPolicy, Import, ImportedCard, ImportedFiat, Kind,
    Merchant, Period, Progress, Reason, Request, StressTier, VelocityRule,
};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::rows::{Card, Outcome};
use tapgate_engine::rules::explain;
use tapgate_engine::testing::{Gated, MemoryStore, Operation, cases, run};
use tapgate_engine::time::UnixSeconds;

use crate::world::{self, World, at, movement, naming, tap};

/// The answer to a tap: `approved`, or the reason.
fn answer(world: &World, request: Request) -> &'static str {
    match world.durable(request) {
        Outcome::Approved { .. } => "approved",
        Outcome::Declined(reason) => reason.name(),
        Outcome::Acknowledged { .. } => "acknowledged",
    }
}

fn merchant(mcc: &str, id: &str, country: &str) -> Merchant {
    Merchant {
        mcc: Controls::category(mcc).ok(),
        id: Controls::merchant(id).ok(),
        country: Controls::country(country).ok(),
        ..Merchant::default()
    }
}

fn increment(id: &str, root: &str, amount: i64) -> Request {
    Request { kind: Kind::Incremental, original: Some(root.parse().unwrap()), ..tap(id, amount) }
}

fn set_single_use(world: &World, single_use: bool) {
    world.change(Change::SetCardUse { card: "card".parse().unwrap(), single_use }).unwrap();
}

fn set_status(world: &World, status: CardStatus) {
    world.change(Change::ChangeCard { card: "card".parse().unwrap(), status }).unwrap();
}

fn card(world: &World) -> Card {
    world.user().card(&"card".parse().unwrap()).unwrap().clone()
}

fn control_user(world: &World, controls: Controls) {
    world.change(Change::ControlUser { user: "user".parse().unwrap(), controls }).unwrap();
}

#[test]
fn an_allow_list_declines_whatever_it_does_not_name() {
    let countries = vec![Controls::country("CH").unwrap()];
    let mcc = || Controls { mcc_allow: vec![5_411, 5_912], ..Controls::default() };
    let merchants = || Controls { merchant_allow: vec!["m_1".into()], ..Controls::default() };
    let country = || Controls { country_allow: countries.clone(), ..Controls::default() };
    let channel = || Controls { channel_allow: vec![Channel::Pos], ..Controls::default() };
    let named = || merchant("5411", "m_1", "CHE");
    for (number, (controls, merchant, channel, expected)) in [
        (Controls::default(), Merchant::default(), Channel::Atm, "approved"),
        (mcc(), named(), Channel::Atm, "approved"),
        (mcc(), merchant("5412", "m_1", "CHE"), Channel::Pos, "mcc_blocked"),
        (mcc(), merchant("none", "m_1", "CHE"), Channel::Pos, "mcc_blocked"),
        (merchants(), named(), Channel::Pos, "approved"),
        (merchants(), merchant("5411", "m_2", "CHE"), Channel::Pos, "merchant_blocked"),
        (merchants(), merchant("5411", "", "CHE"), Channel::Pos, "merchant_blocked"),
        (country(), named(), Channel::Pos, "approved"),
        (country(), merchant("5411", "m_1", "AUT"), Channel::Pos, "country_blocked"),
        (country(), merchant("5411", "m_1", ""), Channel::Pos, "country_blocked"),
        (channel(), named(), Channel::Pos, "approved"),
        (channel(), named(), Channel::Other, "channel_blocked"),
        // The country comes first on the ladder.
        (Controls { mcc_allow: vec![1_000], ..country() }, Merchant::default(), Channel::Pos, "country_blocked"),
        // What one list allows another still blocks.
        (Controls { channel_block: vec![Channel::Pos], ..mcc() }, named(), Channel::Pos, "channel_blocked"),
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new();
        control_user(&world, controls.clone());
        let request = Request { merchant, channel, ..tap("a1", 1_000) };
        assert_eq!(answer(&world, request), expected, "{number}: {controls:?}");
    }
}

#[test]
fn every_allow_list_must_allow_a_tap_and_the_explanation_names_the_list() {
    let controls = Controls { mcc_allow: vec![5_411, 5_812], ..Controls::default() };
    let policy = Policy { controls, ..Policy::default() };
    let world = World::with_policy(MemoryStore::new(), policy);
    control_user(&world, Controls { mcc_allow: vec![5_411], ..Controls::default() });
    let card = "card".parse().unwrap();
    let controls = Controls { mcc_allow: vec![5_411, 4_111], ..Controls::default() };
    world.change(Change::ControlCard { card, controls }).unwrap();
    for (mcc, expected) in [("5411", "approved"), ("5812", "mcc_blocked"), ("4111", "mcc_blocked")] {
        let request = Request { merchant: merchant(mcc, "m_1", "CHE"), ..tap(mcc, 1_000) };
        assert_eq!(answer(&world, request), expected, "{mcc}");
    }
    let Decided { request, inputs, .. } = world.last_decision();
    let explanation = explain(&request, &inputs);
    let rung = explanation.sources[0].rungs.last().unwrap();
    assert_eq!(rung.values, [("mcc", "4111".to_owned()), ("list", "allow".to_owned())]);
}

#[test]
fn a_single_use_card_is_frozen_by_its_first_approval_and_what_it_approved_goes_on() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    set_single_use(&world, true);
    assert_eq!(answer(&world, tap("a0", 100_001)), "insufficient_user_funds", "a decline uses nothing");
    assert_eq!(card(&world).shown_status(), CardStatus::Active);
    assert_eq!(answer(&world, tap("a1", 1_000)), "approved");
    assert_eq!((card(&world).shown_status(), card(&world).card_use), (CardStatus::Frozen, CardUse::Used));
    assert_eq!(answer(&world, tap("a2", 1_000)), "card_frozen");
    assert_eq!(seen(&world, Reason::UnknownCard), "card Active, use Used");
    let of_any_use = World::new();
    assert_eq!(answer(&of_any_use, tap("a1", 1_000)), "approved");
    assert_eq!(seen(&of_any_use, Reason::UnknownCard), "card Active");
    assert_eq!(answer(&world, tap("a1", 1_000)), "approved", "the same request once more");
    assert_eq!(answer(&world, increment("i1", "a1", 500)), "approved");
    let back = Request { kind: Kind::Reversal, original: Some("a1".parse().unwrap()), ..tap("r1", 1_500) };
    assert_eq!(answer(&world, back), "acknowledged");
    assert_eq!(answer(&world, tap("a3", 1_000)), "card_frozen", "a reversal does not make it new");
    let told = world.ledger.report_card(&"card".parse().unwrap(), CardStatus::Active, UnixSeconds(1), at(100)).unwrap();
    assert!(told.is_some_and(|ticket| ticket.block() == Durability::Durable));
    assert_eq!(answer(&world, tap("a4", 1_000)), "card_frozen", "UR's word does not, either");
    set_status(&world, CardStatus::Active);
    assert_eq!(answer(&world, tap("a5", 0)), "approved", "a person's does, once; and zero is an approval");
    assert_eq!(answer(&world, tap("a6", 1_000)), "card_frozen");
    set_single_use(&world, false);
    assert_eq!(answer(&world, tap("a7", 1_000)), "card_frozen", "until a person activates it");
    set_status(&world, CardStatus::Active);
    assert_eq!(answer(&world, tap("a8", 1_000)), "approved");
    assert_eq!(answer(&world, tap("a9", 1_000)), "approved");
    world.close_and_check(&store);
}

#[test]
fn a_person_who_freezes_a_used_card_stops_what_it_approved_too() {
    let world = World::new();
    set_single_use(&world, true);
    assert_eq!(answer(&world, tap("a1", 1_000)), "approved");
    set_status(&world, CardStatus::Frozen);
    assert_eq!(answer(&world, increment("i1", "a1", 500)), "card_frozen");
}

#[test]
fn an_import_keeps_a_used_card_used_unless_it_overrides() {
    let import = |single_use: Option<bool>, overrides: bool, with_card: bool| {
        let cards = world::import().cards.into_iter().filter(|_| with_card);
        let cards = cards.map(|card| ImportedCard { single_use, ..card }).collect();
        Change::ImportUser(Box::new(Import { cards, overrides, ..world::import() }))
    };
    for (again, expected) in [
        (import(None, false, true), "card_frozen"),
        (import(Some(true), false, true), "card_frozen"),
        (import(Some(false), false, true), "card_frozen"),
        (import(None, false, false), "card_frozen"),
        (import(None, true, true), "approved"),
        (import(Some(true), true, true), "approved"),
    ] {
        let world = World::new();
        world.change(import(Some(true), false, true)).unwrap();
        assert_eq!(answer(&world, tap("a1", 1_000)), "approved");
        world.change(again.clone()).unwrap();
        assert_eq!(answer(&world, tap("a2", 1_000)), expected, "{again:?}");
        if expected == "approved" {
            assert_eq!(answer(&world, tap("a3", 1_000)), "card_frozen", "{again:?}");
        }
    }
}

#[test]
fn a_late_approval_leaves_a_single_use_card_unused() {
    let policies = [Policy::default(), Policy { zero_amount_holds: 0, ..Policy::default() }];
    for (policy, amount) in policies.into_iter().zip([1_000, 0]) {
        let store = Gated::new(MemoryStore::new(), true);
        let world = World::with_policy(store.clone(), policy);
        set_single_use(&world, true);
        store.set_open(false);
        let submission = world.ledger.submit(tap("a1", amount), at(10)).unwrap();
        assert_eq!(card(&world).card_use, CardUse::Used, "from the decision on");
        world.ledger.give_up(&submission, at(10));
        store.set_open(true);
        assert_eq!(submission.ticket.unwrap().block(), Durability::Released);
        assert_eq!(card(&world).card_use, CardUse::Single, "a decline is what UR was answered");
        assert_eq!(answer(&world, tap("a2", 1_000)), "approved");
        // A late increment uses nothing, and frees nothing.
        store.set_open(false);
        let submission = world.ledger.submit(increment("i1", "a2", 500), at(11)).unwrap();
        world.ledger.give_up(&submission, at(11));
        store.set_open(true);
        assert_eq!(submission.ticket.unwrap().block(), Durability::Released);
        assert_eq!(answer(&world, tap("a3", 1_000)), "card_frozen");
        world.close_and_check(&store.inner);
    }
}

#[test]
fn a_late_approval_counts_for_no_velocity() {
    let policies = [Policy::default(), Policy { zero_amount_holds: 0, ..Policy::default() }];
    for (policy, amount) in policies.into_iter().zip([1_000, 0]) {
        let store = Gated::new(MemoryStore::new(), true);
        let world = World::with_policy(store.clone(), policy);
        let rule = VelocityRule { period: Period::Sliding(3_600), amount_max: None, count_max: Some(2) };
        control_user(&world, Controls { velocity: vec![rule], ..Controls::default() });
        let late = |request: Request| {
            store.set_open(false);
            let submission = world.ledger.submit(request, at(10)).unwrap();
            world.ledger.give_up(&submission, at(10));
            store.set_open(true);
            assert_eq!(submission.ticket.unwrap().block(), Durability::Released);
        };
        late(tap("a1", amount));
        assert_eq!(answer(&world, tap("a2", 1_000)), "approved");
        late(increment("i1", "a2", 500));
        assert_eq!(answer(&world, tap("a3", amount)), "approved");
        assert_eq!(answer(&world, tap("a4", 1_000)), "velocity_count");
        world.close_and_check(&store.inner);
    }
}

#[test]
fn a_late_approval_that_ur_took_all_the_same_uses_a_single_use_card() {
    for (progress, expected) in [
        (Progress::Completed, "card_frozen"),
        (Progress::Pending, "card_frozen"),
        (Progress::Shown, "card_frozen"),
        (Progress::Rejected, "approved"),
    ] {
        let store = Gated::new(MemoryStore::new(), true);
        let world = World::with_policy(store.clone(), Policy::default());
        set_single_use(&world, true);
        store.set_open(false);
        let submission = world.ledger.submit(tap("a1", 1_000), at(10)).unwrap();
        world.ledger.give_up(&submission, at(10));
        store.set_open(true);
        assert_eq!(submission.ticket.unwrap().block(), Durability::Released);
        world.ledger.post(&naming(&movement("0xabc", Flow::Out, progress, 1_000), "a1"), at(20)).unwrap();
        assert_eq!(answer(&world, tap("a2", 1_000)), expected, "{progress:?}");
        set_status(&world, CardStatus::Active);
        assert_eq!(answer(&world, tap("a3", 1_000)), "approved", "a person's word makes it new");
        world.close_and_check(&store.inner);
    }
}

#[test]
fn a_calendar_day_ends_at_its_zones_midnight_and_the_explanation_names_its_start() {
    // The world begins on 2026-01-17 at 15:18:21 in Zurich: 31,299 seconds before midnight.
    const MIDNIGHT: u64 = 31_299;
    let world = World::new();
    let period = Period::calendar("day", "Europe/Zurich").unwrap();
    let rule = VelocityRule { period, amount_max: None, count_max: Some(1) };
    control_user(&world, Controls { velocity: vec![rule], ..Controls::default() });
    let at = |id: &str, seconds: u64| matches!(world.durable_at(tap(id, 100), seconds), Outcome::Approved { .. });
    assert!(at("a1", MIDNIGHT - 1), "the last second of a day");
    assert!(at("a2", MIDNIGHT), "the first of the next");
    assert!(!at("a3", MIDNIGHT + 86_399));
    let Decided { request, inputs, .. } = world.last_decision();
    let explanation = explain(&request, &inputs);
    let shown = |name: &str| {
        let rungs = explanation.sources[0].rungs.iter();
        let values = rungs.filter(|rung| rung.check == Reason::VelocityCount).flat_map(|rung| &rung.values);
        values.filter(|(own, _)| *own == name).map(|(_, value)| value.as_str()).collect::<String>()
    };
    assert_eq!((shown("window"), shown("window_seconds")), ("day".to_owned(), "none".to_owned()));
    assert_eq!(shown("since"), "2026-01-18T00:00:00+01:00[Europe/Zurich]");
    let next = (world::START_SECONDS + MIDNIGHT + 86_400).cast_signed();
    assert_eq!(explanation.approved_after, Some(UnixSeconds(next)));
    assert!(at("a4", MIDNIGHT + 86_400));
}

#[test]
fn a_pool_under_stress_pays_essentials_from_its_reserve_and_little_else() {
    let tier = |percent, most: Option<i64>, mcc: &[u16]| StressTier {
        below_reserve_percent: percent,
        amount_max: most.map(ChfMinor),
        mcc: mcc.to_vec(),
    };
    let essential = || vec![tier(100, Some(1_000), &[5_411])];
    let early = || vec![tier(150, Some(1_000), &[5_411])];
    let twice = || vec![tier(100, Some(2_000), &[5_411]), tier(50, Some(500), &[])];
    // A reserve of 100.00 EUR; 1 EUR is 0.945 francs.
    for (number, (tiers, balance, mcc, amount, expected)) in [
        (vec![], 10_999, "5411", 1_000, "pool_reserve_held"),
        (vec![], 1_000, "5411", 1_000, "pool_reserve_held"),
        (vec![], 999, "5411", 1_000, "pool_exhausted"),
        (essential(), 11_000, "5812", 1_000, "approved"),
        (essential(), 10_999, "5812", 1_000, "pool_reserve_held"),
        (essential(), 10_999, "none", 1_000, "pool_reserve_held"),
        (essential(), 10_999, "5411", 1_000, "approved"),
        (essential(), 10_999, "5411", 1_060, "pool_reserve_held"),
        (essential(), 11_060, "5411", 1_060, "approved"),
        (essential(), 1_000, "5411", 1_000, "approved"),
        (essential(), 999, "5411", 1_000, "pool_exhausted"),
        (early(), 16_000, "5812", 1_000, "approved"),
        (early(), 15_999, "5812", 1_000, "pool_stressed"),
        (early(), 15_999, "5411", 1_060, "pool_stressed"),
        (early(), 11_000, "5812", 1_000, "pool_stressed"),
        (early(), 10_999, "5812", 1_000, "pool_reserve_held"),
        (early(), 5_000, "5411", 1_000, "approved"),
        (twice(), 6_500, "5411", 1_500, "approved"),
        (twice(), 6_499, "5411", 1_500, "pool_reserve_held"),
        (twice(), 6_499, "5812", 500, "pool_reserve_held"),
        (twice(), 5_499, "5411", 500, "approved"),
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::with_policy(MemoryStore::new(), Policy { stress: tiers.clone(), ..Policy::default() });
        world.change(world::report(Currency::EUR, balance, 10_000)).unwrap();
        let request = Request { merchant: merchant(mcc, "m_1", "CHE"), ..tap("a1", amount) };
        assert_eq!(answer(&world, request), expected, "{number}: {tiers:?}");
    }
}

#[test]
fn a_bound_in_another_currency_is_compared_in_francs() {
    // 100.00 USD are 86.30 francs, and 1 EUR is 0.945.
    for (currency, most, amount, expected) in [
        (Currency::EUR, 5_000, 5_000, "approved"),
        (Currency::EUR, 5_000, 5_001, "transaction_amount_limit"),
        (Currency::USD, 10_000, 9_133, "approved"),
        (Currency::USD, 10_000, 9_134, "transaction_amount_limit"),
        // Nothing says what it is worth.
        (Currency::GBP, 10_000, 1, "transaction_amount_limit"),
    ] {
        let world = World::new();
        let max = Money { amount: Minor(most), currency };
        control_user(&world, Controls { transaction_amount_max: Some(max), ..Controls::default() });
        assert_eq!(answer(&world, tap("a1", amount)), expected, "{max} {amount}");
    }
}

/// The values of one check of the last decision's explanation, by its last source.
fn seen(world: &World, check: Reason) -> String {
    let Decided { request, inputs, .. } = world.last_decision();
    let explanation = explain(&request, &inputs);
    let rungs = &explanation.sources.last().unwrap().rungs;
    let rung = rungs.iter().find(|rung| rung.check == check).unwrap_or_else(|| panic!("{check:?} is not in {rungs:?}"));
    rung.values.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_explanation_shows_what_was_compared() {
    let world = World::new();
    world.change(world::report(Currency::EUR, 9_000, 500)).unwrap();
    answer(&world, tap("a1", 8_500));
    assert_eq!(seen(&world, Reason::CurrencyUnsupported), "paid 8500 EUR");
    assert_eq!(seen(&world, Reason::InsufficientUserFunds), "needed 8500 EUR, available 100000 EUR");
    assert_eq!(seen(&world, Reason::PoolExhausted), "pool EUR, needed 8500, available 9000, reserve 500");
    assert_eq!(seen(&world, Reason::PoolStressed), "");

    // UR shows a movement before the increment that it is of: the increment needs only what is not claimed yet.
    let shown = naming(&movement("h", Flow::Out, Progress::Pending, 8_600), "a1");
    world.ledger.post(&shown, at(1)).unwrap();
    answer(&world, increment("i1", "a1", 300));
    let expected = "pool EUR, needed 300, available 500, reserve 500, claimed 100";
    assert_eq!(seen(&world, Reason::PoolReserveHeld), expected);
    assert_eq!(seen(&world, Reason::InsufficientUserFunds), "needed 300 EUR, available 91500 EUR, claimed 100 EUR");

    answer(&world, Request { currency: Currency::USD, ..tap("a2", 100) });
    assert_eq!(seen(&world, Reason::CurrencyUnsupported), "paid 93 EUR, rate 9168, spread 10150");

    let tier = StressTier { below_reserve_percent: 150, amount_max: Some(ChfMinor(1_000)), mcc: vec![5_411] };
    let world = World::with_policy(MemoryStore::new(), Policy { stress: vec![tier], ..Policy::default() });
    world.change(world::report(Currency::EUR, 11_000, 10_000)).unwrap();
    answer(&world, tap("a1", 1_000));
    let expected = "pool EUR, needed 1000, available 11000, reserve 10000, chf 945, kept 15000, \
                    below_reserve_percent 150, amount_max_chf 1000, category not listed";
    assert_eq!(seen(&world, Reason::PoolStressed), expected);
}

#[test]
fn an_explanation_shows_the_balances_that_did_not_cover_it() {
    let policy = Policy { funding: FundingPolicy::Fiat, ..Policy::default() };
    let world = World::with_policy(MemoryStore::new(), policy);
    let balance = |currency, amount, allowance| ImportedFiat { currency, amount: Minor(amount), allowance };
    let fiat = vec![balance(Currency::EUR, 50, true), balance(Currency::USD, 60, false)];
    world.change(Change::ImportUser(Box::new(Import { fiat, ..world::import() }))).unwrap();
    answer(&world, tap("a1", 1_000));
    let expected = "paid 1000 EUR, other_needed 1107 USD, other_available no allowance";
    assert_eq!(seen(&world, Reason::CurrencyUnsupported), expected);
}

#[test]
fn a_tier_is_in_force_below_its_share_of_the_reserve() {
    let check = |percent: u16, available: i64, reserve: i64, expected: bool| {
        let tier = StressTier { below_reserve_percent: percent, amount_max: None, mcc: vec![5_411] };
        assert_eq!(
            tier.is_in_force(Minor(available), Minor(reserve)),
            expected,
            "{percent} % of {reserve}: {available}"
        );
    };
    check(150, 15_000, 10_000, false);
    check(150, 14_999, 10_000, true);
    check(1, 1, 101, true);
    check(1, 2, 101, false);
    check(100, 0, 0, false);
    check(100, -1, 0, true);
    check(u16::MAX, i64::MAX, i64::MAX, false);
    check(u16::MAX, i64::MAX - 1, i64::MAX, true);
}

#[test]
fn a_fiat_balance_pays_what_a_stressed_pool_does_not() {
    let tier = StressTier { below_reserve_percent: 200, amount_max: Some(ChfMinor(500)), mcc: Vec::new() };
    let policy = Policy { stress: vec![tier], funding: FundingPolicy::CryptoThenFiat, ..Policy::default() };
    let world = World::with_policy(MemoryStore::new(), policy);
    world.change(world::report(Currency::EUR, 15_000, 10_000)).unwrap();
    let source = |id: &str, amount: i64| match world.durable(tap(id, amount)) {
        Outcome::Approved { source, .. } => source.name(),
        other => panic!("{other:?}"),
    };
    assert_eq!((source("a1", 500), source("a2", 1_000)), ("CRYPTO", "FIAT"));
}

/// Seconds from the scripts' start, 2026-01-17 at 14:18:21 UTC, to a time in the year after it: mostly near what ends a day
/// or a month in Zurich or New York, the changes of their clocks above all.
fn second_of_year() -> impl Strategy<Value = i64> {
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    /// To the first midnight of UTC.
    const MIDNIGHT: i64 = 9 * HOUR + 41 * 60 + 39;
    // From there to 8 and 29 March, 25 October and 1 November.
    let changes = prop::sample::select(vec![49, 70, 280, 287]);
    // From there to the first of a month.
    let months = prop::sample::select(vec![14, 42, 73, 103, 134, 256, 287, 317, 348]);
    prop_oneof![
        2 => 0..365 * DAY,
        6 => (changes, -3 * HOUR..30 * HOUR).prop_map(|(day, near)| MIDNIGHT + day * DAY + near),
        2 => (months, -3 * HOUR..7 * HOUR).prop_map(|(day, near)| MIDNIGHT + day * DAY + near),
    ]
}

fn year() -> impl Strategy<Value = Vec<Operation>> {
    let (user, root) = (0_u8..3, 0_u8..200);
    let tap = (root.clone(), user.clone(), 0_u16..400, 0_u8..2, 0_u8..4)
        .prop_map(|(id, user, amount, currency, mcc)| Operation::Tap { id, user, amount, currency, mcc });
    let more = (root.clone(), 0_u16..400).prop_map(|(root, amount)| Operation::Increment { root, amount });
    let back = (root, 0_u16..400).prop_map(|(root, amount)| Operation::Reverse { root, amount });
    let single = (user.clone(), any::<bool>()).prop_map(|(user, single_use)| Operation::SingleUse { user, single_use });
    let frozen = (user.clone(), any::<bool>()).prop_map(|(user, frozen)| Operation::Freeze { user, frozen });
    let control = (user, 0_u8..5).prop_map(|(user, controls)| Operation::Control { user, controls });
    let step = prop_oneof![
        20 => tap,
        2 => more,
        1 => back,
        1 => single,
        2 => frozen,
        3 => control,
        1 => Just(Operation::Settle),
        1 => Just(Operation::Restart),
    ];
    prop::collection::vec((second_of_year(), prop::collection::vec(step, 1..8)), 1..30).prop_map(|mut times| {
        times.sort_by_key(|(seconds, _)| *seconds);
        let at = |(seconds, steps): (i64, Vec<Operation>)| [Operation::WaitUntil { seconds }].into_iter().chain(steps);
        times.into_iter().flat_map(at).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn controls_agree_with_the_model_over_a_year_with_both_changes_of_the_clocks(operations in year()) {
        run(&operations);
    }
}
