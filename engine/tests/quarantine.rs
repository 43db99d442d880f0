//! Going on with a journal in which records cannot be used: what is left out, what stays proved, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected stops"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tapgate_engine::fact::{
    Author, Fact, Flow, InQuarantine, Kind, PoolCredited, Progress, Quarantined, Record, Request, RowsHeld, Verdict,
};
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::Refusal;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::recovery::{Quarantine, QuarantineError, RecoveryError, recount, recover, reindex, verify};
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::rocks::{Damaged, Rocks, SyncMode};
use tapgate_engine::store::{Entry, Original, RowBytes, StandIn, Store, StoreError, StoredTree, Table};
use tapgate_engine::testing::cases;
use tapgate_engine::time::UnixMillis;
use tapgate_engine::tree::{Frontier, Head};
use tempfile::TempDir;

use crate::loss::{copied, files, fill};
use crate::world::{World, at, movement, naming, report, tap};

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

/// What the command does: what is recorded, and why a start is refused all the same.
fn quarantine(
    directory: &Path,
    sequences: &[u64],
) -> Result<(Vec<Quarantined>, Option<RecoveryError>), QuarantineError> {
    let judge = || {
        let damaged = Damaged::open(directory)?;
        judged(&damaged, sequences, "the disk of host 7").map(|judged| (damaged, judged))
    };
    let (mut damaged, mut judged) = judge()?;
    if judged.must_forget_rows() {
        damaged.forget_rows()?;
        (damaged, judged) = judge()?;
        assert!(!judged.must_forget_rows());
    }
    match judged.anew() {
        Some((records, nodes)) => drop(damaged.write_anew(records, nodes)?),
        None => {
            drop(damaged);
            judged.place(&open(directory))?;
        }
    }
    Ok((judged.named().to_vec(), judged.next().cloned()))
}

/// What the command does last, where a start is not refused.
fn write_rows(directory: &Path) {
    World::resumed(Arc::new(open(directory))).ledger.close().unwrap();
    recount(&open(directory)).unwrap();
}

fn judged(damaged: &Damaged, sequences: &[u64], reason: &str) -> Result<Quarantine, QuarantineError> {
    let author = Author::Person { name: "offline".into(), idempotency: None };
    let sequences: Vec<_> = sequences.iter().copied().map(Sequence).collect();
    let store: Arc<dyn Store> = damaged.store.clone();
    Quarantine::judge(&store, &sequences, &author, UnixMillis(1), reason)
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

/// A copy of a directory that nobody serves.
fn copy_of(directory: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    ["journal", "rows"].into_iter().for_each(|part| copied(directory.path(), copy.path(), part));
    std::fs::copy(directory.path().join("head"), copy.path().join("head")).unwrap();
    copy
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

fn in_quarantine(original: Original) -> Fact {
    Fact::RecordQuarantined(Box::new(InQuarantine::of(original)))
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
    let whole = copy_of(&directory);
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
    assert!(found.rows_hold_more && quarantined[0].rows == RowsHeld::All);
    assert_eq!(reindex(&*left), Err(RecoveryError::RowsAlone(Sequence(first))));
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
            assert_eq!(record(&*left, sequence).fact, in_quarantine(expected.clone()));
        }
        verify(&left).unwrap();
        drop(left);
        // The tile is completed, and its hash is that of the walk from the first record.
        let world = World::resumed(Arc::new(open(directory.path())));
        fill(&world, 300);
        world.ledger.write_rows().unwrap();
        let found = world.ledger.head_at(Sequence(records)).map(|head| head.map(|head| head == told));
        let hidden = Err(StoreError::Quarantined(Sequence(first)));
        assert_eq!(found, if is_told { hidden } else { Ok(Some(false)) });
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
    assert_eq!(record(&*left, illegal).fact, in_quarantine(Original::Written(bytes)));
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
        Fact::RecordQuarantined(quarantined) => quarantined.original,
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
        let damaged = Damaged::open(directory.path()).unwrap();
        let refusal = judged(&damaged, &[first, second.0], &reason).err().unwrap();
        assert_eq!(refusal, QuarantineError::Reason);
    }
    assert!(files(directory.path()) == before);
    let (quarantined, next) = quarantine(directory.path(), &[second.0, first]).unwrap();
    assert_eq!((quarantined.len(), next), (2, None));
    assert!(verify(&store(directory.path())).unwrap().is_equal());
}

#[test]
fn wherever_it_is_cut_short_nothing_is_changed_or_everything() {
    let directory = written(600, 20);
    damage(directory.path(), &[40]);
    let first = first_unreadable(directory.path());
    // The copy is half made.
    std::fs::create_dir(directory.path().join("journal.new")).unwrap();
    for file in ["HALF", "000009.sst"] {
        std::fs::write(directory.path().join("journal.new").join(file), b"half").unwrap();
    }
    let refusal = start(directory.path()).unwrap_err();
    assert!(matches!(&refusal, RecoveryError::Unreadable { sequence, .. } if sequence.0 == first), "{refusal}");
    let head = std::fs::read(directory.path().join("head")).unwrap();
    let (quarantined, next) = quarantine(directory.path(), &[first]).unwrap();
    assert_eq!((quarantined[0].first.0, next), (first, None));
    // The journals have changed places, and the head still says where the old one ended.
    assert!(std::fs::read(directory.path().join("head")).unwrap() == head);
    assert!(verify(&store(directory.path())).unwrap().is_equal());
    // What is kept of one quarantine is not overwritten by another.
    let other = written(600, 20);
    damage(other.path(), &[40]);
    let first = first_unreadable(other.path());
    copied(directory.path(), other.path(), "journal.damaged");
    let kept = || refused(other.path(), &[first]).to_string();
    assert!(kept().contains("move it away first"), "{}", kept());
    // Nor is what the last step of it has left.
    let [new, damaged] = ["journal.new", "journal.damaged"].map(|name| other.path().join(name));
    std::fs::rename(&damaged, &new).unwrap();
    assert!(kept().contains("move it away first") && damaged.exists() && !new.exists());
    std::fs::remove_dir_all(&damaged).unwrap();
    quarantine(other.path(), &[first]).unwrap();
}

#[test]
fn a_journal_that_is_served_is_left_alone() {
    let directory = written(300, 20);
    let served = open(directory.path());
    // Another process: a lock of one's own is no obstacle.
    let said = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "quarantine::a_directory_that_another_process_serves_is_refused", "--ignored", "--nocapture"])
        .env("TAPGATE_TEST_DIRECTORY", directory.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && stdout.contains("1 passed"), "{stdout}");
    drop(served);
}

#[test]
#[ignore = "started by the test above"]
fn a_directory_that_another_process_serves_is_refused() {
    let directory = PathBuf::from(std::env::var_os("TAPGATE_TEST_DIRECTORY").unwrap());
    let said = Damaged::open(&directory).unwrap_err().to_string();
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

#[test]
fn wherever_the_disk_has_changed_it_the_journal_goes_on() {
    for (records, rows) in [(400, 20), (400, 400), (256, 256), (130, 125)] {
        let written = written(records, rows);
        let mut quarantines = 0;
        for part in (0..100).step_by(11).chain([96, 98]) {
            let directory = copy_of(&written);
            damage(directory.path(), &[part]);
            // What names a table's blocks is no matter of quarantine.
            let Ok(damaged) = Damaged::open(directory.path()) else { continue };
            let whole = verify(&(damaged.store.clone() as Arc<dyn Store>));
            drop(damaged);
            let Err(RecoveryError::Unreadable { sequence, .. }) = whole else { continue };
            quarantines += 1;
            let (quarantined, next) = quarantine(directory.path(), &[sequence.0]).unwrap();
            assert_eq!(next, None);
            assert_left_out(directory.path(), written.path(), &quarantined);
            // A start, more records than the tile takes, a stop, and all of it again.
            let world = World::resumed(Arc::new(open(directory.path())));
            fill(&world, records + 300);
            world.ledger.close().unwrap();
            drop(world);
            let found = verify(&store(directory.path())).unwrap();
            assert_eq!(found.is_equal(), !found.rows_hold_more, "{records} {rows} {part}");
        }
        assert!(quarantines >= 4, "{quarantines} of {records}");
    }
}

#[test]
fn damage_at_the_beginning_of_any_table_is_named_by_its_own_record() {
    let several = written(300, 20);
    for records in [600, 900] {
        let world = World::resumed(Arc::new(open(several.path())));
        fill(&world, records);
        world.ledger.journal().close();
        drop(world);
        drop(open(several.path()));
    }
    let of_records: Vec<_> =
        tables(several.path()).into_iter().filter(|table| std::fs::metadata(table).unwrap().len() > 10_000).collect();
    assert_eq!(of_records.len(), 3, "{of_records:?}");
    for table in of_records {
        let directory = copy_of(&several);
        let damaged = directory.path().join("journal").join(table.file_name().unwrap());
        let mut bytes = std::fs::read(&damaged).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&damaged, bytes).unwrap();
        let first = first_unreadable(directory.path());
        assert_eq!(first % 300, 1, "{first}");
        let (quarantined, next) = quarantine(directory.path(), &[first]).unwrap();
        assert_eq!((quarantined[0].first.0, next), (first, None));
        assert_left_out(directory.path(), several.path(), &quarantined);
    }
}

#[test]
fn what_names_a_record_in_quarantine_may_itself_be_put_there() {
    let directory = written(60, 20);
    let (illegal, _) = with_an_illegal_record(directory.path());
    let (_, next) = quarantine(directory.path(), &[illegal]).unwrap();
    assert_eq!(next, None);
    let names = illegal + 3;
    {
        let store = open(directory.path());
        let mut entry = store.entry(Sequence(names)).unwrap().unwrap();
        assert!(matches!(record(&store, names).fact, Fact::Quarantined(_)));
        entry.payload[7] ^= 1;
        store.append(&[entry], &[]).unwrap();
    }
    assert_eq!(start(directory.path()), Err(RecoveryError::Altered(Sequence(names))));
    let (quarantined, next) = quarantine(directory.path(), &[names]).unwrap();
    assert_eq!(next, None);
    let named: Vec<_> = quarantined.iter().map(|named| (named.first.0, named.last.0)).collect();
    assert_eq!(named, [(illegal, illegal), (names, names)]);
    assert!(verify(&store(directory.path())).unwrap().is_equal());
}

#[test]
fn a_stand_in_beside_one_that_is_told_of_is_refused() {
    let directory = written(60, 20);
    let (illegal, _) = with_an_illegal_record(directory.path());
    quarantine(directory.path(), &[illegal]).unwrap();
    for beside in [illegal - 1, illegal + 1] {
        let forged = copy_of(&directory);
        {
            let store = open(forged.path());
            let bytes = store.entry(Sequence(beside)).unwrap().unwrap().payload;
            let stand_in = StandIn { at: UnixMillis(0), original: Original::Written(bytes) };
            let last = store.entry(store.head().unwrap()).unwrap().unwrap();
            store.append(&[Entry::stand_in(Sequence(beside), &stand_in), last], &[]).unwrap();
        }
        assert_eq!(start(forged.path()), Err(RecoveryError::Unnamed(Sequence(beside))));
    }
}

#[test]
fn an_id_of_a_record_that_cannot_be_folded_is_not_decided_again() {
    let directory = written(60, 20);
    // An approval of more than any ledger approves, under an id of its own.
    let illegal = {
        let store = open(directory.path());
        let mut frontier = StoredTree::of(&store).unwrap().frontier(Sequence(60)).unwrap();
        let mut forged = record(&store, 60);
        let Fact::Decided(decided) = &mut forged.fact else { panic!("{forged:?}") };
        decided.request.id = "forged".parse().unwrap();
        let Verdict::Approved(approval) = &mut decided.verdict else { panic!("{decided:?}") };
        approval.amount = Minor(i64::MAX);
        append(&store, &mut frontier, [forged.fact]);
        61
    };
    let (_, next) = quarantine(directory.path(), &[illegal]).unwrap();
    assert_eq!(next, None);
    for _ in 0..2 {
        let world = World::resumed(Arc::new(open(directory.path())));
        let claimed = world.ledger.journal().claimed();
        let again = world.ledger.submit(tap("forged", 1), at(10));
        assert!(matches!(&again, Err(Refusal::Store(StoreError::Quarantined(Sequence(61))))), "{again:?}");
        assert_eq!(world.ledger.journal().claimed(), claimed);
        world.ledger.close().unwrap();
    }
    assert!(verify(&store(directory.path())).unwrap().is_equal());
}

/// What comes to a ledger.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A tap of this number, once more or for the first time.
    Tap(u8),
    Increment(u8),
    Reverse(u8),
    /// UR shows the number's movement, pending or completed.
    Shown(u8, bool),
    /// A pool's balance.
    Reported,
    /// Rows are written, of about so many records.
    RowsWritten(usize),
    Restarted,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..12).prop_map(Step::Tap),
        3 => (0_u8..12).prop_map(Step::Increment),
        3 => (0_u8..12).prop_map(Step::Reverse),
        4 => (0_u8..12, any::<bool>()).prop_map(|(number, completed)| Step::Shown(number, completed)),
        1 => Just(Step::Reported),
        1 => (1_usize..20).prop_map(Step::RowsWritten),
        1 => Just(Step::Restarted),
    ]
}

/// Takes a step; a refusal is as good as any other end, but for one that says that what is stored is wrong.
fn take(world: &World, step: Step, number: usize) {
    let id = |number: u8| format!("a{number}");
    let asked = |kind: Kind, number: u8| Request {
        id: format!("{kind:?}{number}").parse().unwrap(),
        kind,
        original: Some(id(number).parse().unwrap()),
        ..tap(&id(number), 70)
    };
    let seconds = 10 + number as u64;
    let refused = match step {
        Step::Tap(number) => world.ledger.submit(tap(&id(number), 100), at(seconds)).err().map(|it| it.to_string()),
        Step::Increment(number) => {
            world.ledger.submit(asked(Kind::Incremental, number), at(seconds)).err().map(|it| it.to_string())
        }
        Step::Reverse(number) => {
            world.ledger.submit(asked(Kind::Reversal, number), at(seconds)).err().map(|it| it.to_string())
        }
        Step::Shown(number, is_completed) => {
            let progress = if is_completed { Progress::Completed } else { Progress::Pending };
            let shown = movement(&format!("hash{number}"), Flow::Out, progress, 100);
            let shown = if number % 2 == 0 { naming(&shown, &id(number)) } else { shown };
            world.ledger.post(&shown, at(seconds)).err().map(|it| it.to_string())
        }
        Step::Reported => {
            world.change(report(Currency::EUR, 900_000, 0)).unwrap();
            None
        }
        Step::RowsWritten(most) => {
            world.ledger.write_some_rows(most).unwrap();
            None
        }
        Step::Restarted => None,
    };
    assert!(refused.as_ref().is_none_or(|it| !it.contains("corrupt")), "{step:?}: {refused:?}");
}

/// Users' rows and the index beyond the watermark, as a turn leaves them that never came to set it.
fn put_some_rows(directory: &TempDir) {
    let copy = copy_of(directory);
    World::resumed(Arc::new(open(copy.path()))).ledger.close().unwrap();
    let (written, store) = (open(copy.path()), open(directory.path()));
    for table in [Table::Users, Table::Ids] {
        let mut rows = Vec::new();
        let put = &mut |key: &[u8], value: &[u8]| {
            rows.push(RowBytes { table, key: key.to_vec(), value: value.to_vec() });
            Ok(())
        };
        written.rows(table, put).unwrap();
        store.put_synced(&rows).unwrap();
    }
}

fn outcome(world: &World, number: u8) -> Result<Outcome, Refusal> {
    world.ledger.submit(tap(&format!("a{number}"), 100), at(5_000)).map(|answer| answer.reply.outcome.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), ..ProptestConfig::default() })]

    /// Whatever was lost, and whatever the rows hold of it: the ledger goes on, gives no second answer to an id of which it
    /// holds anything, takes whatever comes, and verifies as it says it does.
    #[test]
    fn any_history_goes_on_without_any_of_its_records(
        steps in vec(step(), 1..60),
        later in vec(step(), 1..40),
        lost in any::<prop::sample::Index>(),
        is_turn_cut_short in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::with_store(Arc::new(open(directory.path())));
        for (number, step) in steps.iter().enumerate() {
            take(&world, *step, number);
            if matches!(step, Step::Restarted) {
                world.ledger.journal().close();
                drop(world);
                world = World::resumed(Arc::new(open(directory.path())));
            }
            world.drained();
        }
        let told: BTreeMap<u8, Outcome> = (0..12).filter_map(|number| {
            let known = world.ledger.find(&format!("a{number}").parse().unwrap()).unwrap()?.answer?;
            Some((number, known.outcome))
        }).collect();
        let end = world.ledger.journal().claimed().0;
        world.ledger.journal().close();
        drop(world);
        if is_turn_cut_short {
            put_some_rows(&directory);
        }
        // The rates, the pool's report or the user's import, too.
        let gone = 1 + lost.index(usize::try_from(end).unwrap()) as u64;
        {
            let store = open(directory.path());
            let mut entry = store.entry(Sequence(gone)).unwrap().unwrap();
            entry.payload.push(0);
            let last = store.entry(store.head().unwrap()).unwrap().unwrap();
            store.append(&if gone == last.sequence.0 { vec![entry] } else { vec![entry, last] }, &[]).unwrap();
        }
        let (mut next, mut rounds) = (vec![gone], 0);
        let mut all_rows = true;
        while let Some(sequence) = next.pop() {
            let (named, refusal) = match quarantine(directory.path(), &[sequence]) {
                Err(QuarantineError::RowsApart(_)) => return Ok(()),
                done => done.unwrap(),
            };
            all_rows &= named.iter().all(|named| named.rows == RowsHeld::All);
            match refusal {
                None => {}
                Some(RecoveryError::Illegal { sequence, .. }) => next.push(sequence.0),
                Some(other) => panic!("{other:?}"),
            }
            rounds += 1;
            assert!(rounds <= end, "it never ends");
        }
        if !all_rows {
            write_rows(directory.path());
        }

        let mut world = World::resumed(Arc::new(open(directory.path())));
        if all_rows {
            // Nothing is forgotten: no id is answered otherwise than it was.
            for (number, outcome_before) in &told {
                match outcome(&world, *number) {
                    Ok(outcome) => prop_assert_eq!(&outcome, outcome_before),
                    Err(Refusal::Store(StoreError::Quarantined(_))) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        for (number, step) in later.iter().enumerate() {
            take(&world, *step, 100 + number);
            if matches!(step, Step::Restarted) {
                world.ledger.journal().close();
                drop(world);
                world = World::resumed(Arc::new(open(directory.path())));
            }
        }
        world.drained();
        world.ledger.close().unwrap();
        drop(world);
        let found = verify(&store(directory.path())).unwrap();
        prop_assert!(found.is_equal() || found.rows_hold_more);
        recover(&store(directory.path())).unwrap();
    }
}
