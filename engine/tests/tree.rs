//! The tree over a journal: what recovery and verification find, what grouping and crashes leave, proofs after a prune.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that meets the unexpected stops")]

use std::sync::Arc;

use tapgate_engine::fact::Record;
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::{Scrub, Scrubbed};
use tapgate_engine::recovery::{RecoveryError, recover, verify};
use tapgate_engine::store::{Entry, Store, StoreError, StoredTree, TreeError};
use tapgate_engine::testing::{Gated, MemoryStore};
use tapgate_engine::tree::{Frontier, Head, Span, TILE_LEVEL, TILE_RECORDS};

use crate::world::{World, at, tap};

/// Two tiles and what is above them, and the beginning of a third.
const TAPS: usize = 2 * TILE_RECORDS as usize + 40;

fn taps(world: &World, name: &str, count: usize) {
    for number in 0..count {
        world.ledger.submit(tap(&format!("{name}{number}"), 1), at(10)).unwrap();
    }
    world.drained();
}

fn written() -> (Arc<MemoryStore>, World) {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    taps(&world, "a", TAPS);
    (store, world)
}

/// The frontier over these records, none of their stored hashes asked.
fn computed(entries: &[Entry]) -> Frontier {
    let mut frontier = Frontier::default();
    for entry in entries {
        let (_, leaf) = Entry::new(entry.sequence, entry.payload.clone());
        frontier.append(leaf, |_| {});
    }
    frontier
}

fn tile(index: u64) -> Span {
    Span { level: TILE_LEVEL, index }
}

#[test]
fn grouping_never_shows() {
    let single = MemoryStore::new();
    let world = World::with_store(single.clone());
    for number in 0..TAPS {
        world.durable(tap(&format!("a{number}"), 1));
    }
    world.ledger.journal().close();

    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    world.drained();
    store.set_open(false);
    for number in 0..TAPS {
        world.ledger.submit(tap(&format!("a{number}"), 1), at(10)).unwrap();
    }
    store.set_open(true);
    world.ledger.journal().close();

    let grouped = &store.inner;
    assert!(single.appends() > TAPS && grouped.appends() < 10, "{} and {}", single.appends(), grouped.appends());
    assert_eq!(single.entries(), grouped.entries());
    assert_eq!(single.nodes(), grouped.nodes());
    let spans: Vec<_> = single.nodes().into_keys().collect();
    assert_eq!(spans, [tile(0), tile(1), Span { level: TILE_LEVEL + 1, index: 0 }]);
}

#[test]
fn a_damaged_record_is_named() {
    let (first, second) = (Sequence(40), Sequence(41));
    type Damage = fn(&MemoryStore);
    let check = |damage: Damage, expected: RecoveryError| {
        let (store, world) = written();
        world.ledger.journal().close();
        damage(&store);
        let store: Arc<dyn Store> = store;
        assert_eq!(recover(&store).map(|recovered| recovered.head).unwrap_err(), expected);
        assert_eq!(verify(&store).unwrap_err(), expected);
    };
    let swap = |store: &MemoryStore| {
        let [one, other] = [40, 41].map(|place| store.entries()[place - 1].clone());
        store.alter(Sequence(40), |entry| (entry.payload, entry.leaf) = (other.payload, other.leaf));
        store.alter(Sequence(41), |entry| (entry.payload, entry.leaf) = (one.payload, one.leaf));
    };
    check(|store| store.alter(Sequence(40), |entry| entry.payload[3] ^= 1), RecoveryError::Altered(first));
    check(|store| store.alter(Sequence(40), |entry| entry.leaf[7] ^= 1), RecoveryError::Altered(first));
    check(|store| store.alter(Sequence(40), |entry| entry.payload.truncate(20)), RecoveryError::Altered(first));
    check(|store| store.alter(Sequence(40), |entry| entry.payload.push(0)), RecoveryError::Altered(first));
    check(swap, RecoveryError::Altered(first));
    check(|store| store.lose(Sequence(41)), RecoveryError::Gap(second));
    // With its hash replaced, too, the tile finds it.
    check(
        |store| {
            store.alter(Sequence(40), |entry| {
                let mut record = Record::decode(&entry.payload).unwrap();
                record.at.0 += 1;
                *entry = Entry::new(entry.sequence, record.encode()).0;
            });
        },
        RecoveryError::Tree(tile(0)),
    );
}

#[test]
fn a_damaged_node_is_named_with_its_records() {
    let (store, world) = written();
    world.ledger.journal().close();
    let nodes = store.nodes();
    let checked: Arc<dyn Store> = store.clone();
    for (span, hash) in &nodes {
        let mut bent = *hash;
        bent[9] ^= 16;
        for damaged in [None, Some(bent)] {
            store.set_node(*span, damaged);
            let found = verify(&checked).unwrap_err();
            assert_eq!(found, RecoveryError::Tree(*span));
            assert_eq!(recover(&checked).map(|recovered| recovered.head).unwrap_err(), found);
        }
        store.set_node(*span, Some(*hash));
    }
    store.set_node(tile(0), nodes.get(&tile(1)).copied());
    let said = verify(&checked).unwrap_err().to_string();
    assert!(said.starts_with("records 1 to 256 do not fit the tree's hash of them"), "{said}");
}

#[test]
fn a_start_checks_the_nodes_up_to_the_watermark_and_verification_its_frontier() {
    let (store, world) = written();
    while world.ledger.write_rows().unwrap().more {}
    world.ledger.journal().close();
    let checked: Arc<dyn Store> = store.clone();
    assert_eq!(recover(&checked).unwrap().records_folded, 0);
    let above = Span { level: TILE_LEVEL + 1, index: 0 };
    let hash = store.nodes().get(&above).copied();
    store.set_node(above, None);
    assert_eq!(recover(&checked).map(|recovered| recovered.head).unwrap_err(), RecoveryError::Tree(above));
    store.set_node(above, hash);

    let head = store.head().unwrap();
    let mut entries = store.entries();
    let last = entries.last_mut().unwrap();
    last.payload.push(0);
    store.write_rows(&[], &computed(&entries)).unwrap();
    assert_eq!(verify(&checked).unwrap_err(), RecoveryError::Frontier(head));
}

#[test]
fn after_every_crash_the_tree_is_that_of_its_records_and_goes_on_as_without_one() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    taps(&world, "early", 20);
    world.ledger.write_rows().unwrap();
    taps(&world, "late", TAPS);
    world.ledger.journal().close();
    let (entries, nodes) = (store.entries(), store.nodes());
    let (watermark, head) = (store.watermark().unwrap(), store.head().unwrap());
    assert!(watermark.0 < TILE_RECORDS && nodes.len() == 3, "every level is completed after the watermark");
    for last in watermark.0..=head.0 {
        let crashed = store.crashed_after(Sequence(last));
        let expected = computed(&entries[..last as usize]);
        assert_eq!(StoredTree::of(&*crashed).unwrap().frontier(Sequence(last)).unwrap(), expected);
        assert!(crashed.nodes().iter().all(|(span, hash)| nodes.get(span) == Some(hash)), "after record {last}");
        // Folding all of them each time would take minutes.
        if last % 16 >= 14 {
            let shared: Arc<dyn Store> = crashed;
            assert_eq!(recover(&shared).unwrap().frontier, expected, "after record {last}");
        }
    }
    for last in [watermark.0, TILE_RECORDS - 1, TILE_RECORDS, head.0] {
        let crashed = store.crashed_after(Sequence(last));
        let world = World::resumed(crashed.clone());
        taps(&world, "again", TILE_RECORDS as usize);
        world.ledger.journal().close();
        let shared: Arc<dyn Store> = crashed;
        assert!(verify(&shared).unwrap().is_equal(), "after a crash at {last}");
    }
}

/// Records that mean nothing, with a watermark in the middle of a tile.
fn filled(size: u64, watermark: u64) -> (Arc<MemoryStore>, Vec<Head>) {
    let (store, mut frontier) = (MemoryStore::new(), Frontier::default());
    let mut heads = vec![frontier.head()];
    for record in 1..=size {
        let (entry, leaf) = Entry::new(Sequence(record), record.to_string().into_bytes());
        let mut completed = Vec::new();
        frontier.append(leaf, |node| completed.push(node));
        store.append(&[entry], &completed).unwrap();
        heads.push(frontier.head());
        if record == watermark {
            store.write_rows(&[], &frontier).unwrap();
        }
    }
    (store, heads)
}

/// Whether the tree proves that the record is under the head.
fn includes(tree: &StoredTree<'_>, record: u64, head: &Head) -> Result<bool, TreeError> {
    let proof = tree.inclusion(Sequence(record), Sequence(head.size))?;
    Ok(proof.proves(record, record.to_string().as_bytes(), head))
}

fn extends(tree: &StoredTree<'_>, older: &Head, newer: &Head) -> Result<bool, TreeError> {
    Ok(tree.consistency(Sequence(older.size), Sequence(newer.size))?.proves(older, newer))
}

#[test]
fn proofs_hold_across_a_prune() {
    let (watermark, size) = (700, 1_030);
    let (store, heads) = filled(size, watermark);
    store.prune(Sequence(watermark));
    let tree = StoredTree::of(&*store).unwrap();
    assert_eq!(tree.frontier(Sequence(size)).unwrap().head(), heads[size as usize]);
    for newer in [watermark, 701, 768, 769, 1_000, 1_024, size] {
        let head = &heads[newer as usize];
        for record in (watermark + 1..=newer).step_by(9) {
            assert_eq!(includes(&tree, record, head), Ok(true), "record {record} in {newer}");
        }
        for older in [0, 256, 512, watermark, 701, 767, 768, 1_000, 1_024].into_iter().filter(|older| *older <= newer) {
            assert_eq!(extends(&tree, &heads[older as usize], head), Ok(true), "{older} to {newer}");
        }
    }
    // Between the pruned records of its tile and the watermark nothing is left of the tree at 600.
    assert_eq!(
        extends(&tree, &heads[600], &heads[1_000]),
        Err(TreeError::Unknown(Span { level: 3, index: 74 })),
        "records 593 to 600"
    );
}

#[test]
fn a_size_in_a_pruned_tile_is_proved_with_its_frontier() {
    let (store, heads) = filled(1_030, 900);
    let frontier = StoredTree::of(&*store).unwrap().frontier(Sequence(600)).unwrap();
    store.prune(Sequence(600));
    let tree = StoredTree::of(&*store).unwrap();
    assert!(matches!(extends(&tree, &heads[600], &heads[1_000]), Err(TreeError::Unknown(_))));
    let tree = tree.with(frontier);
    assert_eq!(extends(&tree, &heads[600], &heads[1_000]), Ok(true));
    assert_eq!(includes(&tree, 601, &heads[1_000]), Ok(true));
    assert_eq!(tree.frontier(Sequence(650)).unwrap().head(), heads[650]);
    // Without the records after it: by a proof to the end of its tile, kept from before.
    let kept = tree.consistency(Sequence(600), Sequence(768)).unwrap();
    store.prune(Sequence(900));
    assert!(extends(&tree, &heads[600], &heads[1_000]).is_err());
    assert!(kept.proves(&heads[600], &heads[768]));
    assert_eq!(extends(&tree, &heads[768], &heads[1_000]), Ok(true));
}

#[test]
fn no_proof_is_made_from_an_altered_record() {
    let (store, heads) = filled(300, 0);
    store.alter(Sequence(290), |entry| entry.payload.push(b'!'));
    let tree = StoredTree::of(&*store).unwrap();
    assert_eq!(includes(&tree, 10, &heads[256]), Ok(true));
    let corrupt = StoreError::Corrupt("record 290 is not what was written".to_owned());
    assert_eq!(includes(&tree, 289, &heads[300]), Err(TreeError::Store(corrupt)));
}

#[test]
fn a_pruned_journal_starts_and_goes_on() {
    let (store, world) = written();
    while world.ledger.write_rows().unwrap().more {}
    world.ledger.journal().close();
    let (watermark, before) = (store.watermark().unwrap(), store.entries());
    let world = World::resumed(store.clone());
    world.durable(tap("b1", 1));
    world.ledger.journal().close();
    store.prune(watermark);
    let shared: Arc<dyn Store> = store.clone();
    let recovered = recover(&shared).unwrap();
    assert_eq!(recovered.frontier, computed(&[before, store.entries()].concat()));
    let world = World::resumed(store.clone());
    world.durable(tap("b2", 1));
    world.ledger.journal().close();
    assert_eq!(recover(&shared).unwrap().records_folded, 2);
}

/// Reads everything; the first damage, and where the scrub ended.
fn scrubbed(world: &World) -> (Option<String>, Sequence) {
    let (mut at, mut damage) = (Scrub::default(), None);
    loop {
        match world.ledger.scrub(&mut at) {
            Ok(Scrubbed::Part) => {}
            Ok(Scrubbed::All(last)) => return (damage, last),
            Err(error) => {
                damage.get_or_insert(error.to_string());
            }
        }
    }
}

#[test]
fn a_scrub_names_what_has_changed_and_reads_on() {
    let (store, world) = written();
    let end = Sequence(2 * TILE_RECORDS);
    assert_eq!(scrubbed(&world), (None, end));
    let is_named = |name: &str| {
        let (damage, last) = scrubbed(&world);
        assert!(last == end && damage.as_ref().is_some_and(|damage| damage.contains(name)), "{name}: {damage:?}");
    };
    store.alter(Sequence(300), |entry| entry.payload[5] ^= 1);
    is_named("record 300 is not what was written");
    store.alter(Sequence(300), |entry| entry.payload[5] ^= 1);
    for (span, name) in
        [(tile(1), "records 257 to 512"), (Span { level: TILE_LEVEL + 1, index: 0 }, "records 1 to 512")]
    {
        let hash = store.node(span).unwrap();
        store.set_node(span, Some([7; 32]));
        is_named(name);
        store.set_node(span, hash);
    }
    assert_eq!(scrubbed(&world), (None, end));
    store.prune(Sequence(256));
    assert_eq!(scrubbed(&world), (None, end), "what is no longer kept is no damage");
    store.lose(Sequence(400));
    is_named("records 257 to 512 is not known");
}

#[test]
#[cfg(feature = "rocksdb")]
fn a_scrub_finds_a_changed_bit_in_every_table() {
    use tapgate_engine::store::rocks::{Rocks, SyncMode};

    use crate::loss::copied;

    let directory = tempfile::tempdir().unwrap();
    let open = |directory: &tempfile::TempDir| Rocks::open(directory.path(), SyncMode::Os);
    let world = World::with_store(Arc::new(open(&directory).unwrap()));
    taps(&world, "a", TAPS);
    world.ledger.close().unwrap();
    drop(world);
    // What was in the log is now in tables.
    drop(open(&directory).unwrap());
    let whole = || {
        let copy = tempfile::tempdir().unwrap();
        ["journal", "rows"].into_iter().for_each(|part| copied(directory.path(), copy.path(), part));
        std::fs::copy(directory.path().join("head"), copy.path().join("head")).unwrap();
        copy
    };
    let files = ["journal", "rows"].map(|half| std::fs::read_dir(directory.path().join(half)).unwrap());
    let files = files.into_iter().flatten().map(|file| file.unwrap().path());
    let tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect();
    assert!(tables.len() >= 4, "{tables:?}");
    for table in &tables {
        let copy = whole();
        let damaged = copy.path().join(table.strip_prefix(directory.path()).unwrap());
        let mut bytes = std::fs::read(&damaged).unwrap();
        // In its first block.
        bytes[20] ^= 1;
        std::fs::write(&damaged, bytes).unwrap();
        // A start refuses what it reads itself.
        let started = open(&copy).map_err(RecoveryError::from).and_then(|store| {
            let store = Arc::new(store);
            recover(&(store.clone() as Arc<dyn Store>)).map(|_| store)
        });
        let damage = match started {
            Ok(store) => scrubbed(&World::resumed(store)).0,
            Err(refusal) => Some(refusal.to_string()),
        };
        assert!(damage.as_ref().is_some_and(|damage| damage.contains("mismatch")), "{}: {damage:?}", table.display());
    }
    let world = World::resumed(Arc::new(open(&whole()).unwrap()));
    assert_eq!(scrubbed(&world), (None, Sequence(2 * TILE_RECORDS)));
}
