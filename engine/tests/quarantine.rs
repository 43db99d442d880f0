//! Going on with a journal in which records cannot be used: what is left out, what stays proved, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected stops"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapgate_engine::fact::{Author, Fact, PoolCredited, Quarantined, Record};
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::Refusal;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::recovery::{Quarantine, QuarantineError, RecoveryError, recover, reindex, verify};
use tapgate_engine::store::rocks::{Rocks, SyncMode};
use tapgate_engine::store::{Entry, HeadError, Original, StandIn, Store, StoreError, StoredTree};
use tapgate_engine::time::UnixMillis;
use tapgate_engine::tree::{Frontier, Head};
use tempfile::TempDir;

use crate::loss::{copied, files, fill};
use crate::world::{World, at, tap};

fn open(directory: &Path) -> Rocks {
    Rocks::open(directory, SyncMode::Os).unwrap()
}

fn store(directory: &Path) -> Arc<dyn Store> {
    Arc::new(open(directory))
}

/// What a start says of the directory.
fn start(directory: &Path) -> Result<Sequence, RecoveryError> {
    recover(&store(directory)).map(|recovered| recovered.head)
}

/// Tells in order what the command does.
fn quarantine(
    directory: &Path,
    sequences: &[u64],
) -> Result<(Vec<Quarantined>, Option<RecoveryError>), QuarantineError> {
    let judged = judged(directory, sequences, "the disk of host 7")?;
    if !judged.unreadable().is_empty() {
        Rocks::leave_out(directory, judged.unreadable())?;
    }
    let store = Rocks::open_at_loss(directory, judged.last())?;
    Ok(judged.place(&store)?)
}

fn judged(directory: &Path, sequences: &[u64], reason: &str) -> Result<Quarantine, QuarantineError> {
    let (found, end) = Rocks::find_damage(directory)?;
    let author = Author::Person { name: "offline".into(), idempotency: None };
    let sequences: Vec<_> = sequences.iter().copied().map(Sequence).collect();
    Quarantine::judge(&(Arc::new(found) as Arc<dyn Store>), end, &sequences, &author, UnixMillis(1), reason)
}

/// A refusal, which changes nothing.
fn refused(directory: &Path, sequences: &[u64]) -> QuarantineError {
    let before = files(directory);
    let refusal = quarantine(directory, sequences).unwrap_err();
    assert!(files(directory) == before, "{refusal}");
    refusal
}

/// A directory with so many records, the rows of which were written up to `rows`.
fn written(records: u64, rows: u64) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with_store(Arc::new(open(directory.path())));
    fill(&world, rows);
    while world.ledger.write_rows().unwrap().more {}
    fill(&world, records);
    world.ledger.journal().close();
    drop(world);
    // What was in the log is now in tables.
    drop(open(directory.path()));
    directory
}

fn tables(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory.join("journal")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect()
}

/// Changes a bit in each of the journal's largest table's parts, of a hundred.
fn damage(directory: &Path, parts: &[usize]) {
    let size = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
    let table = tables(directory).into_iter().max_by_key(size).unwrap();
    let mut bytes = std::fs::read(&table).unwrap();
    for part in parts {
        let place = bytes.len() * part / 100;
        bytes[place] ^= 1;
    }
    std::fs::write(&table, bytes).unwrap();
}

/// The record that the disk has changed first, as a reader of everything meets it.
fn first_unreadable(directory: &Path) -> u64 {
    match verify(&(Arc::new(Rocks::open_read_only(directory).unwrap()) as Arc<dyn Store>)) {
        Err(RecoveryError::Unreadable { sequence, .. }) => sequence.0,
        other => panic!("{other:?}"),
    }
}

fn head_at(store: &dyn Store, size: u64) -> Head {
    StoredTree::of(store).unwrap().frontier(Sequence(size)).unwrap().head()
}

fn record(store: &dyn Store, sequence: u64) -> Record {
    Record::decode(&store.entry(Sequence(sequence)).unwrap().unwrap().payload).unwrap()
}

fn is_in_quarantine(record: &Record) -> bool {
    matches!(record.fact, Fact::RecordQuarantined(_))
}

/// Every record but these is what it was, these are named with their reason, and a start goes on.
fn assert_left_out(directory: &Path, whole: &Path, quarantined: &[Quarantined]) {
    let (left, whole) = (store(directory), store(whole));
    let end = whole.head().unwrap().0;
    let out: BTreeSet<u64> = quarantined.iter().flat_map(|named| named.first.0..=named.last.0).collect();
    for sequence in 1..=end {
        let is_out = is_in_quarantine(&record(&*left, sequence));
        assert_eq!(is_out, out.contains(&sequence), "record {sequence}");
        assert!(is_out || left.entry(Sequence(sequence)) == whole.entry(Sequence(sequence)), "record {sequence}");
    }
    for (after, named) in (1..).zip(quarantined) {
        assert_eq!(record(&*left, end + after).fact, Fact::Quarantined(Box::new(named.clone())));
        assert_eq!(named.reason, "the disk of host 7");
    }
    assert_eq!(recover(&left).unwrap().head.0, end + quarantined.len() as u64);
}

#[test]
fn what_was_read_at_a_start_is_left_out_and_every_full_tile_stays_proved() {
    let directory = written(1_000, 20);
    let whole = tempfile::tempdir().unwrap();
    ["journal", "rows"].into_iter().for_each(|part| copied(directory.path(), whole.path(), part));
    std::fs::copy(directory.path().join("head"), whole.path().join("head")).unwrap();
    damage(directory.path(), &[40]);
    let Err(RecoveryError::Unreadable { sequence, .. }) = start(directory.path()) else { panic!("it is read") };
    let (quarantined, next) = quarantine(directory.path(), &[sequence.0]).unwrap();
    assert_eq!(next, None);
    assert_eq!((quarantined.len(), quarantined[0].first), (1, sequence));
    // A block has some records more.
    assert!(quarantined[0].last > sequence, "{quarantined:?}");
    assert!(directory.path().join("journal.damaged").exists());
    assert_left_out(directory.path(), whole.path(), &quarantined);

    let (left, before) = (store(directory.path()), store(whole.path()));
    for size in [256, 512, 768, 1_000] {
        assert_eq!(head_at(&*left, size), head_at(&*before, size), "of {size} records");
    }
    let found = verify(&left).unwrap();
    assert!(found.is_equal());
    let records: u64 = quarantined.iter().map(|named| named.last.0 - named.first.0 + 1).sum();
    assert_eq!(found.quarantined, records);
    drop((left, before));

    // The ledger goes on, and writes rows over the tile in which nobody knows the tree's inner hashes.
    let world = World::resumed(Arc::new(open(directory.path())));
    while world.ledger.write_some_rows(10).unwrap().more {}
    let lost = format!("tap{}", sequence.0 - 1);
    let claimed = world.ledger.journal().claimed();
    world.ledger.submit(tap(&format!("tap{}", sequence.0 - 2), 1), at(10)).unwrap();
    assert_eq!(world.ledger.journal().claimed(), claimed, "what can be read is known");
    world.ledger.submit(tap(&lost, 1), at(10)).unwrap();
    assert_eq!(world.ledger.journal().claimed(), claimed.next(), "what cannot is decided anew");
    world.ledger.close().unwrap();
    drop(world);
    assert!(verify(&store(directory.path())).unwrap().is_equal());
}

#[test]
fn what_rows_hold_already_is_kept_and_whoever_needs_the_record_is_told() {
    let directory = written(700, 650);
    damage(directory.path(), &[40]);
    start(directory.path()).unwrap();
    let first = first_unreadable(directory.path());
    let (quarantined, next) = quarantine(directory.path(), &[first]).unwrap();
    assert_eq!((quarantined.len(), next), (1, None));
    let left = store(directory.path());
    let found = verify(&left).unwrap();
    assert!(!found.is_equal() && found.quarantined > 0, "{found:?}");
    // An index without their ids would have them decided anew.
    assert_eq!(reindex(&*left), Err(StoreError::Quarantined(Sequence(first)).into()));
    drop(left);

    let world = World::resumed(Arc::new(open(directory.path())));
    let claimed = world.ledger.journal().claimed();
    let again = world.ledger.submit(tap(&format!("tap{}", first - 1), 1), at(10));
    assert!(matches!(&again, Err(Refusal::Store(StoreError::Quarantined(at))) if at.0 == first), "{again:?}");
    world.ledger.submit(tap(&format!("tap{}", first - 2), 1), at(10)).unwrap();
    assert_eq!(world.ledger.journal().claimed(), claimed);
    world.ledger.close().unwrap();
}

#[test]
fn in_the_last_tile_the_watermarks_frontier_tells_or_the_stand_ins_count() {
    for (records, rows, is_told) in [(220, 210, true), (220, 20, false)] {
        let directory = written(records, rows);
        let told = head_at(&*store(directory.path()), records);
        damage(directory.path(), &[50]);
        let first = first_unreadable(directory.path());
        let (quarantined, next) = quarantine(directory.path(), &[first]).unwrap();
        assert_eq!(next, None);
        let left = store(directory.path());
        let expected = if is_told { Original::Hashed } else { Original::Lost };
        for sequence in quarantined[0].first.0..=quarantined[0].last.0 {
            assert_eq!(record(&*left, sequence).fact, Fact::RecordQuarantined(Box::new(expected.clone())));
        }
        verify(&left).unwrap();
        drop(left);
        // The tile is completed, and its hash is that of the walk from the first record.
        let world = World::resumed(Arc::new(open(directory.path())));
        fill(&world, 300);
        world.ledger.write_rows().unwrap();
        let found = world.ledger.head_at(Sequence(records)).unwrap();
        assert_eq!(found.map(|head| head == told), if is_told { None } else { Some(false) });
        assert!(world.ledger.head_at(Sequence(256)).unwrap().is_some());
        world.ledger.close().unwrap();
        drop(world);
        verify(&store(directory.path())).unwrap();
    }
}

/// A credit that no ledger writes, and two records after it.
fn with_an_illegal_record(directory: &Path) -> (u64, Head) {
    let store = open(directory);
    let mut frontier = StoredTree::of(&store).unwrap().frontier(store.head().unwrap()).unwrap();
    let illegal = PoolCredited {
        currency: Currency::EUR,
        amount: Minor(i64::MAX),
        reference: "forged".into(),
        counted: Minor(i64::MAX),
    };
    let suspended = |suspended| Fact::ProgramSuspended { suspended, reason: "a test".into() };
    let first = store.head().unwrap().next();
    append(&store, &mut frontier, [Fact::PoolCredited(illegal), suspended(true), suspended(false)]);
    (first.0, frontier.head())
}

fn append(store: &dyn Store, frontier: &mut Frontier, facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        let payload = Record { at: at(20).at, author: Author::Ur, fact }.encode();
        let (entry, leaf) = Entry::new(Sequence(frontier.size() + 1), payload);
        let mut completed = Vec::new();
        frontier.append(leaf, |node| completed.push(node));
        store.append(&[entry], &completed).unwrap();
    }
}

#[test]
fn a_record_that_no_ledger_wrote_keeps_its_bytes_and_its_hash() {
    let directory = written(60, 20);
    let (illegal, told) = with_an_illegal_record(directory.path());
    let bytes = store(directory.path()).entry(Sequence(illegal)).unwrap().unwrap().payload;
    assert!(matches!(start(directory.path()), Err(RecoveryError::Illegal { sequence, .. }) if sequence.0 == illegal));
    let (quarantined, next) = quarantine(directory.path(), &[illegal]).unwrap();
    assert_eq!((quarantined[0].first.0, quarantined[0].last.0, next), (illegal, illegal, None));
    let left = store(directory.path());
    assert_eq!(record(&*left, illegal).fact, Fact::RecordQuarantined(Box::new(Original::Written(bytes))));
    assert_eq!(head_at(&*left, illegal + 2), told, "no hash of the tree has changed");
    let found = verify(&left).unwrap();
    assert_eq!((found.is_equal(), found.quarantined), (true, 1));
    drop(left);
    assert!(!directory.path().join("journal.damaged").exists(), "nothing had to be left out");
    World::resumed(Arc::new(open(directory.path()))).ledger.close().unwrap();
}

#[test]
fn bytes_that_are_no_record_and_bytes_that_were_changed_are_told_apart() {
    let directory = written(60, 20);
    let (unknown, altered) = (61, 30);
    {
        let store = open(directory.path());
        let mut frontier = StoredTree::of(&store).unwrap().frontier(Sequence(60)).unwrap();
        let (entry, leaf) = Entry::new(Sequence(unknown), b"\x09a record of a later version".to_vec());
        frontier.append(leaf, |_| {});
        store.append(&[entry], &[]).unwrap();
        let mut entry = store.entry(Sequence(altered)).unwrap().unwrap();
        entry.payload[7] ^= 1;
        store.append(&[entry], &[]).unwrap();
        store.append(&[store.entry(Sequence(unknown)).unwrap().unwrap()], &[]).unwrap();
    }
    assert_eq!(start(directory.path()), Err(RecoveryError::Altered(Sequence(altered))));
    let another = refused(directory.path(), &[altered]);
    assert!(matches!(another, QuarantineError::Another { sequence, .. } if sequence.0 == unknown), "{another}");
    let another = refused(directory.path(), &[unknown]);
    assert!(matches!(another, QuarantineError::Another { sequence, .. } if sequence.0 == altered), "{another}");
    let (quarantined, next) = quarantine(directory.path(), &[unknown, altered]).unwrap();
    assert_eq!((quarantined.len(), next), (2, None));
    let left = store(directory.path());
    let original = |sequence| match record(&*left, sequence).fact {
        Fact::RecordQuarantined(original) => *original,
        other => panic!("{other:?}"),
    };
    assert_eq!(original(altered), Original::Lost);
    assert!(matches!(original(unknown), Original::Written(bytes) if bytes.starts_with(b"\x09a record")));
    assert!(verify(&left).unwrap().is_equal());
}

#[test]
fn only_what_stops_a_journal_is_left_out_of_it_and_all_of_that() {
    let directory = written(900, 20);
    assert_eq!(refused(directory.path(), &[700]), QuarantineError::Usable(Sequence(700)));
    for beyond in [0, 901] {
        let refusal = refused(directory.path(), &[beyond]);
        assert!(matches!(refusal, QuarantineError::NoSuch { end: Sequence(900), .. }), "{refusal}");
    }
    damage(directory.path(), &[30, 70]);
    let first = first_unreadable(directory.path());
    let Err(QuarantineError::Another { sequence: second, .. }) = quarantine(directory.path(), &[first]) else {
        panic!("the second is read")
    };
    assert!(second.0 > first + 1);
    assert_eq!(refused(directory.path(), &[first, second.0, 10]), QuarantineError::Usable(Sequence(10)));
    let before = files(directory.path());
    for reason in [String::new(), "x".repeat(1_025)] {
        assert_eq!(judged(directory.path(), &[first, second.0], &reason).unwrap_err(), QuarantineError::Reason);
    }
    assert!(files(directory.path()) == before);
    let (quarantined, next) = quarantine(directory.path(), &[second.0, first]).unwrap();
    assert_eq!((quarantined.len(), next), (2, None));
    assert!(verify(&store(directory.path())).unwrap().is_equal());
}

#[test]
fn wherever_it_is_cut_short_it_is_refused_and_asked_for_again() {
    let directory = written(600, 20);
    damage(directory.path(), &[40]);
    let first = first_unreadable(directory.path());
    // The copy is half made.
    std::fs::create_dir(directory.path().join("journal.new")).unwrap();
    std::fs::write(directory.path().join("journal.new/000009.sst"), b"half").unwrap();
    let judged = judged(directory.path(), &[first], "the disk of host 7").unwrap();
    Rocks::leave_out(directory.path(), judged.unreadable()).unwrap();
    // The copy has the journal's place, and the stand-ins are not in theirs.
    assert_eq!(start(directory.path()), Err(RecoveryError::Gap(Sequence(first))));
    // They are promised.
    drop(Rocks::open_at_loss(directory.path(), judged.last()).unwrap());
    let shorter = Rocks::open(directory.path(), SyncMode::Os).unwrap_err();
    assert!(matches!(shorter, StoreError::Head(HeadError::Shorter { .. })), "{shorter}");
    let (quarantined, next) = quarantine(directory.path(), &[first]).unwrap();
    assert_eq!((quarantined[0].first.0, next), (first, None));
    assert!(verify(&store(directory.path())).unwrap().is_equal());
    // What is kept of one quarantine is not overwritten by another.
    let other = written(600, 20);
    damage(other.path(), &[40]);
    copied(directory.path(), other.path(), "journal.damaged");
    let kept = Rocks::leave_out(other.path(), &[]).unwrap_err().to_string();
    assert!(kept.contains("move it away first"), "{kept}");
}

#[test]
fn a_journal_that_is_served_is_not_copied() {
    let directory = written(300, 20);
    let served = open(directory.path());
    // Another process: a lock of one's own is no obstacle.
    let said = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "quarantine::leaves_out_of_a_directory_that_another_process_serves",
            "--ignored",
            "--nocapture",
        ])
        .env("TAPGATE_TEST_DIRECTORY", directory.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    drop(served);
}

#[test]
#[ignore = "started by the test above"]
fn leaves_out_of_a_directory_that_another_process_serves() {
    let directory = PathBuf::from(std::env::var_os("TAPGATE_TEST_DIRECTORY").unwrap());
    let said = Rocks::leave_out(&directory, &[]).unwrap_err().to_string();
    assert!(said.contains("stop tapgate first"), "{said}");
}

#[test]
fn a_stand_in_that_nobody_tells_of_is_refused() {
    let directory = written(60, 20);
    {
        let store = open(directory.path());
        let bytes = store.entry(Sequence(40)).unwrap().unwrap().payload;
        let stand_in = StandIn { at: UnixMillis(0), original: Original::Written(bytes) };
        let last = store.entry(Sequence(60)).unwrap().unwrap();
        store.append(&[Entry::stand_in(Sequence(40), &stand_in), last], &[]).unwrap();
    }
    assert_eq!(start(directory.path()), Err(RecoveryError::Unnamed(Sequence(40))));
    assert_eq!(verify(&store(directory.path())).unwrap_err(), RecoveryError::Unnamed(Sequence(40)));
}

#[test]
fn a_stand_in_with_other_bytes_than_were_written_is_refused() {
    let directory = written(60, 20);
    let store = open(directory.path());
    let entry = store.entry(Sequence(40)).unwrap().unwrap();
    let stand_in = |original| Entry::stand_in(Sequence(40), &StandIn { at: UnixMillis(0), original });
    let forged = Entry { leaf: entry.leaf, ..stand_in(Original::Written(b"forged".to_vec())) };
    let hidden = Entry { leaf: entry.leaf, ..stand_in(Original::Hashed) };
    let lost = Entry { leaf: entry.leaf, ..stand_in(Original::Lost) };
    assert!([forged, hidden, lost].iter().all(|entry| entry.leaf_hash().is_none()));
    assert_eq!(stand_in(Original::Written(entry.payload.clone())).leaf_hash(), entry.leaf_hash());
}
