//! What names a person: durable before the record of its import, in no record, and erased for good.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use tapgate_engine::fact::{Author, Fact, Record};
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::{Change, ChangeError};
use tapgate_engine::person::Person;
use tapgate_engine::store::{RowBytes, Store, Table};
use tapgate_engine::testing::MemoryStore;

use crate::world::{World, at, author, import};

fn person(external_id: &str, label: &str) -> Person {
    Person { external_id: external_id.parse().ok(), label: label.parse().ok() }
}

fn user(id: &str) -> UrId {
    id.parse().unwrap()
}

/// Whether any record or row holds the text.
fn holds(store: &MemoryStore, text: &str) -> bool {
    let mut rows = store.entries().into_iter().map(|entry| entry.payload).collect::<Vec<_>>();
    for table in Table::ALL {
        store
            .rows(table, &mut |_, value| {
                rows.push(value.to_vec());
                Ok(())
            })
            .unwrap();
    }
    rows.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn what_names_a_person_stays_through_restarts_until_it_is_erased() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let ann = person("c-7", "Ann");
    world.ledger.keep_persons(&[(user("user"), ann.clone()), (user("other"), Person::default())]).unwrap();
    world.change(Change::ImportUser(Box::new(import()))).unwrap();
    world.drained();
    let resumed = World::resumed(store.crashed_after(world.ledger.journal().durable()));
    assert_eq!(resumed.ledger.person(&user("user")), Ok(ann));
    assert_eq!(resumed.ledger.person(&user("other")), Ok(Person::default()));

    world.ledger.keep_persons(&[(user("user"), person("", "Anna")), (user("user"), person("c-8", ""))]).unwrap();
    assert_eq!(world.ledger.person(&user("user")), Ok(person("c-8", "Anna")), "what is not given stays");

    let receipt = world.ledger.erase_person(&author(), &user("user"), at(5)).unwrap();
    assert!(receipt.ticket.is_some_and(|ticket| ticket.block() == tapgate_engine::journal::Durability::Durable));
    assert_eq!(world.ledger.person(&user("user")), Ok(Person::default()));
    assert!(!holds(&store, "Anna") && !holds(&store, "c-8"));
    let last = Record::decode(&store.entries().last().unwrap().payload).unwrap();
    assert_eq!((last.author, last.fact), (author(), Fact::PersonErased { user: user("user") }));
    world.close_and_check(&store);
}

#[test]
fn erasing_again_is_harmless_and_a_wrong_id_is_named() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for _ in 0..2 {
        world.ledger.erase_person(&author(), &user("user"), at(5)).unwrap();
    }
    let wrong = world.ledger.erase_person(&author(), &user("nobody"), at(5));
    assert!(matches!(wrong, Err(ChangeError::NotFound { what: "user", .. })));
    // What cannot be read can be erased.
    let damaged = RowBytes { table: Table::Persons, key: b"user".to_vec(), value: b"damaged".to_vec() };
    store.put_synced(&[damaged]).unwrap();
    let read = world.ledger.person(&user("user")).unwrap_err().to_string();
    assert!(read.contains("user user: a person's version 100 is not known"), "{read}");
    world.ledger.erase_person(&author(), &user("user"), at(5)).unwrap();
    assert_eq!(world.ledger.person(&user("user")), Ok(Person::default()));
    // The record of its import never came.
    world.ledger.keep_persons(&[(user("half"), person("", "Bob"))]).unwrap();
    world.ledger.erase_person(&author(), &user("half"), at(5)).unwrap();
    assert!(!holds(&store, "Bob"));
    world.close_and_check(&store);
}

#[test]
fn a_repeated_erasure_leaves_what_was_imported_since() {
    let world = World::new();
    let fingerprint = tapgate_engine::bytes::Fingerprint::of(b"erase");
    let key = tapgate_engine::fact::IdempotencyKey { key: "k".into(), fingerprint };
    let once = Author::Person { name: "ops".into(), idempotency: Some(key) };
    world.ledger.erase_person(&once, &user("user"), at(5)).unwrap();
    world.ledger.keep_persons(&[(user("user"), person("", "Ann"))]).unwrap();
    assert!(world.ledger.erase_person(&once, &user("user"), at(6)).unwrap().ticket.is_none());
    assert_eq!(world.ledger.person(&user("user")), Ok(person("", "Ann")));
}

#[test]
fn an_import_that_would_be_refused_says_so_before_it_names_anybody() {
    let world = World::new();
    let taken = tapgate_engine::fact::Import { user: user("thief"), ..import() };
    for expected in [Ok(()), Err("card card is another user's".to_owned())] {
        let import = if expected.is_ok() { import() } else { taken.clone() };
        let checked = world.ledger.check_import(&import).map_err(|error| error.to_string());
        assert_eq!(checked, expected);
        assert_eq!(world.change(Change::ImportUser(Box::new(import))).is_ok(), expected.is_ok());
    }
}
