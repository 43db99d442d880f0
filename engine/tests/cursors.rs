//! Cursors of readers: kept with the journal, recovered with it, and never more than was durable.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected stops")]

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tapgate_engine::cursor::{CURSORS_MAX, NAME_BYTES_MAX, POSITION_BYTES_MAX};
use tapgate_engine::journal::{Settled, Store};
use tapgate_engine::ledger::ChangeError;
use tapgate_engine::record::{Author, Fact, Fingerprint, IdempotencyKey};
use tapgate_engine::testing::MemoryStore;

use world::{World, at, author, tap};

const NAMES: [&str; 3] = ["webhook", "slack", "mail"];

impl World {
    fn moves(&self, name: &str, position: &[u8], seconds: u64) -> Result<(), ChangeError> {
        let word = self.ledger.move_cursor(&Author::Engine, name, position.to_vec(), at(seconds))?;
        assert_eq!(word.block(), Settled::Durable);
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

#[test]
fn whoever_had_it_moved_is_the_author_and_no_key_is_used_up() {
    let world = World::new();
    let idempotency = Some(IdempotencyKey { key: "key".into(), fingerprint: Fingerprint::of(b"asked") });
    let person = Author::Person { name: author().name().into(), idempotency };
    let word = world.ledger.move_cursor(&person, "webhook", b"one".to_vec(), at(1)).unwrap();
    assert_eq!(word.block(), Settled::Durable);
    let record = world.ledger.record(world.ledger.journal().durable()).unwrap().unwrap();
    assert!(matches!(record.fact, Fact::CursorMoved { .. }));
    assert_eq!(record.author.name(), author().name());
    assert!(!matches!(record.author, Author::Person { idempotency: Some(_), .. }));
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Moved(usize, u8),
    Tapped,
    Written,
    Restarted,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..NAMES.len(), any::<u8>()).prop_map(|(which, to)| Happens::Moved(which, to)),
        2 => Just(Happens::Tapped),
        2 => Just(Happens::Written),
        1 => Just(Happens::Restarted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever moves: rows, memory and fold agree, and after a crash at any record each reader stands where it stood then.
    #[test]
    fn any_history_of_cursors_survives_a_crash_after_any_record(history in prop::collection::vec(happens(), 1..40)) {
        let store = MemoryStore::new();
        let mut world = World::with_store(store.clone());
        let mut stood = BTreeMap::new();
        for (happens, seconds) in history.into_iter().zip(1..) {
            match happens {
                Happens::Moved(which, to) => {
                    let name = NAMES.get(which).unwrap();
                    world.moves(name, &[to], seconds).unwrap();
                }
                Happens::Tapped => drop(world.durable(tap(&format!("tap{seconds}"), 1))),
                Happens::Written => drop(world.ledger.write_rows().unwrap()),
                Happens::Restarted => {
                    world.ledger.journal().close();
                    drop(world);
                    world = World::resumed(store.clone());
                }
            }
            world.drained();
            stood.insert(world.ledger.journal().durable(), world.stand());
        }
        let watermark = store.watermark().unwrap();
        for (last, stand) in stood.range(watermark..) {
            let crashed = World::resumed(store.crashed_after(*last));
            prop_assert_eq!(&crashed.stand(), stand, "after a crash at {}", last);
        }
        let head = world.ledger.journal().durable();
        for earlier in stood.range(..watermark).rev().map(|(earlier, _)| *earlier).take(4) {
            let ahead = store.crashed_after(head);
            ahead.write_rows(&[], earlier).unwrap();
            prop_assert_eq!(World::resumed(ahead).stand(), world.stand());
        }
        world.close_and_check(&store);
    }
}
