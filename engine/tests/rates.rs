//! Rates age by themselves, and a pinned one not at all.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use tapgate_engine::contract::pricing::{Conversion, Rates};
use tapgate_engine::fact::{Reason, Request};
use tapgate_engine::ledger::{Change, ChangeError, Policy};
use tapgate_engine::money::Currency;
use tapgate_engine::rows::Outcome;
use tapgate_engine::testing::MemoryStore;

use crate::world::{self, World, at, tap};

const USD_EUR: (Currency, Currency) = (Currency::USD, Currency::EUR);
const HOUR: u64 = 3_600;

/// A world whose rates, of its start, are too old after an hour.
fn world(store: &std::sync::Arc<MemoryStore>) -> World {
    World::with_policy(store.clone(), Policy { rates_max_age_seconds: Some(HOUR), ..Policy::default() })
}

fn change(world: &World, change: Change, seconds: u64) {
    world.ledger.change(&world::author(), change, at(seconds)).unwrap();
}

fn dollars(id: &str) -> Request {
    Request { currency: Currency::USD, ..tap(id, 1_000) }
}

fn conversion(rate: u32) -> Conversion {
    Conversion { rate, spread: 10_000 }
}

#[test]
fn a_decision_asks_only_for_the_age_of_the_rates_that_it_needs() {
    let store = MemoryStore::new();
    let world = world(&store);
    // Half an hour later UR gives every rate but that from dollars to euros.
    let Change::ReplaceRates(renewed) = world::rates() else { unreachable!() };
    let before = world.ledger.program().rates;
    let renewed =
        Rates { kept: before.aged().kept.into_iter().filter(|(pair, _)| *pair == USD_EUR).collect(), ..*renewed };
    change(&world, Change::ReplaceRates(Box::new(renewed)), HOUR / 2);
    assert!(matches!(world.durable_at(dollars("fresh"), HOUR), Outcome::Approved { .. }));
    assert_eq!(world.durable_at(dollars("stale"), HOUR + 1), Outcome::Declined(Reason::RatesStale));
    assert!(matches!(world.durable_at(tap("euros", 1_000), HOUR + 1), Outcome::Approved { .. }));
    assert_eq!(world.durable_at(tap("francs_stale", 1_000), 2 * HOUR), Outcome::Declined(Reason::RatesStale));
    world.close_and_check(&store);
}

#[test]
fn a_pinned_rate_stays_until_it_is_unpinned() {
    let store = MemoryStore::new();
    let world = world(&store);
    change(&world, Change::PinRate { pair: USD_EUR, conversion: conversion(8_000) }, 10);
    change(&world, world::rates(), 20);
    assert_eq!(world.ledger.program().rates.conversion(Currency::USD, Currency::EUR), Some(conversion(8_000)));
    change(&world, world::rates(), 10 * HOUR);
    assert!(matches!(world.durable_at(dollars("pinned"), 10 * HOUR), Outcome::Approved { .. }));
    let pinned = world.ledger.program().rates.aged();
    change(&world, Change::UnpinRate { pair: USD_EUR }, 10 * HOUR + 1);
    let again = world.ledger.change(&world::author(), Change::UnpinRate { pair: USD_EUR }, at(10 * HOUR + 2));
    assert!(matches!(again, Err(ChangeError::NotFound { .. })));
    change(&world, Change::ReplaceRates(Box::new(pinned)), 10 * HOUR + 2);
    assert!(!world.ledger.program().rates.is_pinned(USD_EUR), "rates read before it was unpinned pin nothing again");
    assert!(matches!(world.durable_at(dollars("unpinned"), 10 * HOUR + 3), Outcome::Approved { .. }));
    change(&world, world::rates(), 10 * HOUR + 4);
    let spread = Conversion { rate: 9_168, spread: 10_150 };
    assert_eq!(world.ledger.program().rates.conversion(Currency::USD, Currency::EUR), Some(spread));
    world.close_and_check(&store);
}

#[test]
fn a_rate_pinned_to_francs_is_the_francs_per_unit() {
    let store = MemoryStore::new();
    let world = world(&store);
    change(&world, Change::PinRate { pair: (Currency::EUR, Currency::CHF), conversion: conversion(9_999) }, 10);
    change(&world, world::rates(), 20);
    let rates = world.ledger.program().rates;
    assert_eq!((rates.chf_rate(Currency::EUR), rates.chf_rate(Currency::USD)), (Some(9_999), Some(8_630)));
    assert!(matches!(world.durable_at(tap("old", 1_000), 100 * HOUR), Outcome::Approved { .. }));
    world.close_and_check(&store);
}
