//! The core is not tied to one wire form: the second provider's webhooks, from their golden file, drive the same ledger.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use serde_json::Value;
use tapgate::wire::partner_api::{Mapped, read};
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::Rates;
use tapgate_engine::fact::{AccountStatus, Author, Import, ReportedAccount};
use tapgate_engine::ledger::{Change, Ledger, Policy, Reflected};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::rows::{Outcome, State};
use tapgate_engine::store::Store;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::{Moment, UnixMillis, UnixSeconds};

const AT: Moment = Moment { at: UnixMillis(1_768_659_510_000), trusted: true };

fn ledger() -> Ledger {
    let store: Arc<dyn Store> = MemoryStore::new();
    let ledger = Ledger::start(store, State::default(), Policy::default(), 1, Box::new(|_| {})).unwrap();
    let limit = ClientLimit { used: ChfMinor(0), client: ChfMinor(100_000), start: UnixSeconds(1_768_659_000) };
    let import = Import {
        user: "user".parse().unwrap(),
        status: AccountStatus::Live,
        limit,
        funds: Some(Money { amount: Minor(100_000), currency: Currency::EUR }),
        fiat: Vec::new(),
        funding: None,
        overrides: false,
        cards: Vec::new(),
    };
    let rates =
        Rates { chf: vec![(Currency::EUR, 9_450)], pairs: Vec::new(), interchange_percent: 1, ..Rates::default() };
    let pool = Change::ReportPool {
        currency: Currency::EUR,
        reported: Some(Minor(100_000)),
        floor: None,
        reserve: None,
        reflected: Some(Reflected::Now),
    };
    for change in [Change::ReplaceRates(Box::new(rates)), pool, Change::ImportUser(Box::new(import))] {
        ledger.change(&Author::Ur, change, AT).unwrap();
    }
    ledger
}

/// Carries an event out, and says in a few words what is to be seen of it.
fn play(ledger: &Ledger, event: &Value) -> String {
    let user = "user".parse().unwrap();
    match read(event.to_string().as_bytes()).unwrap() {
        Mapped::Change(change) => {
            let card = match &change {
                Change::AddCard { card, .. } => Some(card.id.clone()),
                Change::ChangeCard { card, .. } | Change::ControlCard { card, .. } => Some(card.clone()),
                _ => None,
            };
            let of_program = matches!(change, Change::SuspendProgram { .. });
            ledger.change(&Author::Ur, change, AT).unwrap();
            let row = ledger.user(&user).unwrap();
            match card.and_then(|card| row.card(&card).cloned()) {
                Some(card) => {
                    let limited = if card.controls.is_some() { " limited" } else { "" };
                    format!("card {} {}{limited}", card.id, format!("{:?}", card.status).to_lowercase())
                }
                None if of_program && ledger.program().suspended => "program suspended".to_owned(),
                None if of_program => "program running".to_owned(),
                None if row.suspended => "suspended".to_owned(),
                None => "not suspended".to_owned(),
            }
        }
        Mapped::Status { user, status } => {
            let limit = ledger.user(&user).unwrap().limit;
            let account = ReportedAccount { status, limit, allowances: Vec::new() };
            ledger.report_user(&user, Some(account), None, ledger.journal().claimed(), AT).unwrap();
            format!("{:?}", ledger.user(&user).unwrap().status)
        }
        Mapped::Asked(request) => {
            let reply = ledger.submit(*request, AT).unwrap().reply;
            match reply.outcome.unwrap() {
                Outcome::Approved { amount, .. } => format!("{} approved {amount}", reply.id),
                Outcome::Declined(reason) => format!("{} declined {}", reply.id, reason.name()),
                Outcome::Acknowledged { amount } => format!("{} returned {amount}", reply.id),
            }
        }
        Mapped::Posted(posting) => {
            let booking = ledger.post(&posting, AT).unwrap().unwrap();
            let row = ledger.find(&booking.root).unwrap().unwrap().authorization.unwrap();
            format!("{} {} holds {}", booking.root, row.state.name(), row.held().amount)
        }
        Mapped::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn the_golden_events_come_to_the_same_records() {
    let golden: Value = serde_json::from_str(include_str!("../src/wire/golden/partner_api.json")).unwrap();
    let ledger = ledger();
    for case in golden.as_array().unwrap() {
        assert_eq!(play(&ledger, &case["event"]), case["seen"].as_str().unwrap(), "{}", case["event"]);
    }
    assert!(ledger.open_breaks().is_empty(), "{:?}", ledger.open_breaks());
    let pool = ledger.pool(Currency::EUR).unwrap();
    assert_eq!((pool.available, pool.held), (Minor(99_000), Minor(0)), "a refund counts once a report shows it");
}
