//! Controls by example.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use tapgate_engine::fact::{
    CardStatus, CardUse, Channel, Controls, Decided, Fact, Import, ImportedCard, Kind, Merchant, Request,
};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::rows::{Card, Outcome};
use tapgate_engine::rules::explain;
use tapgate_engine::testing::{Gated, MemoryStore};
use tapgate_engine::time::UnixSeconds;

use crate::world::{self, World, at, tap};

/// The answer to a tap: `approved`, or the reason.
fn answer(world: &World, request: Request) -> &'static str {
    match world.durable(request) {
        Outcome::Approved { .. } => "approved",
        Outcome::Declined(reason) => reason.name(),
        Outcome::Acknowledged { .. } => "acknowledged",
    }
}

fn last_decision(world: &World) -> Decided {
    let record = world.ledger.record(world.ledger.journal().durable()).unwrap().unwrap();
    let Fact::Decided(decided) = record.fact else { panic!("{record:?}") };
    *decided
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
    let Decided { request, inputs, .. } = last_decision(&world);
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
