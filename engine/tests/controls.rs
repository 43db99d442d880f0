//! Controls by example.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use tapgate_engine::fact::{Channel, Controls, Decided, Fact, Merchant, Request};
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::rows::Outcome;
use tapgate_engine::rules::explain;
use tapgate_engine::testing::MemoryStore;

use crate::world::{World, tap};

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
