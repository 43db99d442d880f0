//! Cursors of readers: kept with the journal, recovered with it, and never more than was durable.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected stops")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::fact::cursor::{CURSORS_MAX, NAME_BYTES_MAX, POSITION_BYTES_MAX, REASON_BYTES_MAX};
use tapgate_engine::fact::{Author, Fact, IdempotencyKey};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, CursorChange};
use tapgate_engine::testing::{MemoryStore, cases};

use crate::world::{World, at, author, history, tap};

const NAMES: [&str; 3] = ["webhook", "slack", "mail"];

impl World {
    fn moves(&self, name: &str, position: &[u8], seconds: u64) -> Result<(), ChangeError> {
        let ticket = self.ledger.move_cursor(name, position.to_vec(), at(seconds))?;
        assert_eq!(ticket.block(), Durability::Durable);
        Ok(())
    }

    fn stand(&self) -> BTreeMap<&'static str, Option<Vec<u8>>> {
        NAMES.into_iter().map(|name| (name, self.ledger.cursor(name))).collect()
    }
}

#[test]
fn a_position_is_kept_by_name_and_has_bounds() {
    let world = World::new();
    assert_eq!(world.ledger.cursor("webhook"), None);
    world.moves("webhook", b"one", 1).unwrap();
    world.moves("slack", b"", 2).unwrap();
    world.moves("webhook", b"two", 3).unwrap();
    assert_eq!(world.ledger.cursor("webhook"), Some(b"two".to_vec()));
    assert_eq!(world.ledger.cursor("slack"), Some(Vec::new()));

    let before = world.ledger.journal().durable();
    let longest = "x".repeat(NAME_BYTES_MAX + 1);
    let large = vec![0; POSITION_BYTES_MAX + 1];
    for (name, position) in [("", &b"x"[..]), (&longest, b"x"), ("webhook", &large)] {
        let refused = world.moves(name, position, 4);
        assert!(matches!(refused, Err(ChangeError::Invalid(_))), "{name}: {refused:?}");
    }
    assert_eq!(world.ledger.journal().durable(), before, "what is refused leaves no record");
    world.moves("webhook", &large[1..], 5).unwrap();
    for number in 2..CURSORS_MAX {
        world.moves(&format!("reader-{number}"), b"x", 6).unwrap();
    }
    assert!(matches!(world.moves("one-more", b"x", 7), Err(ChangeError::Invalid(_))));
    world.moves("slack", b"there already", 8).unwrap();
}

fn asked(key: &str, request: &str) -> Author {
    let fingerprint = Fingerprint::of(request.as_bytes());
    Author::Person { name: author().name().into(), idempotency: Some(IdempotencyKey { key: key.into(), fingerprint }) }
}

fn moved(position: &[u8]) -> Change {
    Change::Cursor(CursorChange::Move { name: "webhook".into(), position: position.to_vec() })
}

fn skipped(message: &str, reason: &str, position: &[u8]) -> Change {
    let (name, position) = ("webhook".into(), position.to_vec());
    Change::Cursor(CursorChange::Skip { name, message: message.into(), reason: reason.into(), position })
}

#[test]
fn a_person_moves_a_reader_once_however_often_it_is_asked() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.moves("webhook", b"one", 1).unwrap();
    let back = asked("key", "back");
    assert!(!world.ledger.is_repeated(&back, at(2)).unwrap());
    let receipt = world.ledger.change(&back, moved(b"zero"), at(2)).unwrap();
    assert_eq!(receipt.ticket.unwrap().block(), Durability::Durable);
    let record = world.ledger.record(world.ledger.journal().durable()).unwrap().unwrap();
    assert_eq!((record.author, matches!(record.fact, Fact::CursorMoved { .. })), (back.clone(), true));
    world.moves("webhook", b"two", 3).unwrap();

    let check = |world: &World| {
        assert!(world.ledger.is_repeated(&back, at(4)).unwrap());
        assert!(world.ledger.change(&back, moved(b"zero"), at(4)).unwrap().ticket.is_none());
        assert_eq!(world.ledger.cursor("webhook"), Some(b"two".to_vec()), "it goes back once");
        let other = asked("key", "further back");
        assert!(matches!(world.ledger.is_repeated(&other, at(4)), Err(ChangeError::Conflict(_))));
        assert!(matches!(world.ledger.change(&other, moved(b""), at(4)), Err(ChangeError::Conflict(_))));
    };
    check(&world);
    world.ledger.journal().close();
    check(&World::resumed(store));
}

#[test]
fn what_a_person_gives_up_is_in_the_journal_with_its_reason() {
    let world = World::new();
    world.moves("webhook", b"one", 1).unwrap();
    let before = world.ledger.journal().durable();
    let long = "x".repeat(REASON_BYTES_MAX + 1);
    for refused in [skipped("", "no use", b"two"), skipped("msg_7_0", "", b"two"), skipped("msg_7_0", &long, b"two")] {
        let refused = world.ledger.change(&author(), refused, at(2));
        assert!(matches!(refused, Err(ChangeError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(world.ledger.journal().durable(), before, "what is refused leaves no record");
    let receipt = world.ledger.change(&author(), skipped("msg_7_0", "no use", b"two"), at(2)).unwrap();
    assert_eq!(receipt.ticket.unwrap().block(), Durability::Durable);
    assert_eq!(world.ledger.cursor("webhook"), Some(b"two".to_vec()));
    let record = world.ledger.record(world.ledger.journal().durable()).unwrap().unwrap();
    assert_eq!(record.author, author());
    let expected = Fact::MessageSkipped {
        name: "webhook".into(),
        message: "msg_7_0".into(),
        reason: "no use".into(),
        position: b"two".to_vec(),
    };
    assert_eq!(record.fact, expected);
}

/// One step of a history of readers.
#[derive(Clone, Debug)]
enum Happens {
    Moved(usize, u8),
    Skipped(u8),
    Tapped,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..NAMES.len(), any::<u8>()).prop_map(|(which, to)| Happens::Moved(which, to)),
        1 => any::<u8>().prop_map(Happens::Skipped),
        1 => Just(Happens::Tapped),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(80), failure_persistence: None, ..ProptestConfig::default() })]

    /// After a crash at any record each reader stands where it stood then.
    #[test]
    fn any_history_of_cursors_survives_a_crash_after_any_record(history in history(happens(), 1..40)) {
        let play = |world: &World, happens, seconds| match happens {
            Happens::Moved(which, to) => world.moves(NAMES.get(which).unwrap(), &[to], seconds).unwrap(),
            Happens::Skipped(to) => {
                let receipt = world.ledger.change(&author(), skipped("msg_7_0", "no use", &[to]), at(seconds)).unwrap();
                assert_eq!(receipt.ticket.unwrap().block(), Durability::Durable);
            }
            Happens::Tapped => drop(world.durable(tap(&format!("tap{seconds}"), 1))),
        };
        World::replay(history, play, World::stand);
    }
}
