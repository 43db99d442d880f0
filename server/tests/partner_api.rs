//! The core is not tied to one wire form: the second provider's webhooks, from their golden file, drive the same ledger.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use serde_json::Value;
use tapgate::provider::partner_api::{Applied, Told, apply};
use tapgate::wire::partner_api::{Envelope, Event};
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::Rates;
use tapgate_engine::fact::{AccountStatus, Author, CardStatus, Import, ImportedCard, Provider};
use tapgate_engine::ids::UrId;
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, Ledger, Policy, Reflected};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::rows::{Outcome, State};
use tapgate_engine::store::Store;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::{Moment, UnixMillis, UnixSeconds};

const AT: Moment = Moment { at: UnixMillis(1_768_659_600_000), trusted: true };

fn ledger() -> Ledger {
    let store: Arc<dyn Store> = MemoryStore::new();
    let ledger = Ledger::start(store, State::default(), Policy::default(), 1, Box::new(|_| {})).unwrap();
    let limit = ClientLimit { used: ChfMinor(0), client: ChfMinor(100_000), start: UnixSeconds(1_768_659_000) };
    let card = |id: &str| ImportedCard {
        id: id.parse().unwrap(),
        status: CardStatus::Active,
        currency: Currency::EUR,
        single_use: None,
    };
    let import = |user: &str, provider, cards| Import {
        user: user.parse().unwrap(),
        status: AccountStatus::Live,
        limit,
        funds: Some(Money { amount: Minor(100_000), currency: Currency::EUR }),
        fiat: Vec::new(),
        funding: None,
        overrides: false,
        provider: Some(provider),
        cards,
    };
    let theirs = import("user", Provider::PartnerApi, Vec::new());
    let other = import("other", Provider::Ur, vec![card("card_1")]);
    let rates =
        Rates { chf: vec![(Currency::EUR, 9_450)], pairs: Vec::new(), interchange_percent: 1, ..Rates::default() };
    let pool = Change::ReportPool {
        currency: Currency::EUR,
        reported: Some(Minor(100_000)),
        floor: None,
        reserve: None,
        reflected: Some(Reflected::Now),
    };
    for change in [
        Change::ReplaceRates(Box::new(rates)),
        pool,
        Change::ImportUser(Box::new(theirs)),
        Change::ImportUser(Box::new(other)),
    ] {
        ledger.change(&Author::Ur, change, AT).unwrap();
    }
    ledger
}

/// Carries an event out, and says in a few words what is to be seen of it.
fn play(ledger: &Ledger, event: &Value) -> String {
    let envelope = Envelope::parse(event.to_string().as_bytes()).unwrap();
    let Some(event) = envelope.event().unwrap() else { return "unknown".to_owned() };
    if let Event::Asked(request) = event {
        let reply = ledger.submit(*request, AT).unwrap().reply;
        return match reply.outcome.unwrap() {
            Outcome::Approved { amount, .. } => format!("{} approved {amount}", reply.id),
            Outcome::Declined(reason) => format!("{} declined {}", reply.id, reason.name()),
            Outcome::Acknowledged { amount } => format!("{} returned {amount}", reply.id),
        };
    }
    let told = Told { at: envelope.at.unwrap(), card_currency: Currency::EUR };
    let ticket = match apply(ledger, event.clone(), told, AT).unwrap() {
        Applied::Recorded(ticket) => ticket,
        Applied::Known => return "known".to_owned(),
        Applied::NotOurs => return "not ours".to_owned(),
    };
    assert_eq!(ticket.block(), Durability::Durable);
    let of_user = |user: &UrId| format!("{user} {:?}", ledger.user(user).unwrap().status);
    match event {
        Event::Opened(user) | Event::Account { user, .. } => of_user(&user),
        Event::Issued { card, .. } | Event::Card { card, .. } | Event::Limits { card, .. } => {
            let owner = ledger.card_owner(&card).unwrap();
            let card = ledger.user(&owner).unwrap().card(&card).cloned().unwrap();
            let limited = if card.controls.is_some() { " limited" } else { "" };
            format!("card {} {}{limited}", card.id, format!("{:?}", card.status).to_lowercase())
        }
        Event::Service { .. } => {
            let suspended = ledger.program().suspension(Provider::PartnerApi).is_some();
            format!("service {}", if suspended { "suspended" } else { "running" })
        }
        Event::Posted(posting) => {
            let root = posting.awaits.unwrap();
            let row = ledger.find(&root).unwrap().unwrap().authorization.unwrap();
            format!("{root} {} holds {}", row.state.name(), row.held().amount)
        }
        Event::Asked(_) => "nothing".to_owned(),
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
    assert_eq!((pool.available, pool.held), (Minor(98_000), Minor(400)), "a refund counts once a report shows it");
}
