//! Going on after a journal has lost its end: what is kept, what is named, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapgate_engine::fact::{Author, Fact, LossAccepted, Record};
use tapgate_engine::ids::Sequence;
use tapgate_engine::recovery::{AcceptError, Loss, RecoveryError, recover, verify};
use tapgate_engine::store::rocks::{Rocks, SyncMode};
use tapgate_engine::store::{HeadError, RowBytes, Store, StoreError, Table};
use tapgate_engine::time::UnixMillis;
use tempfile::TempDir;

use crate::world::{World, at, tap};

pub(crate) fn copied(from: &Path, to: &Path, part: &str) {
    std::fs::create_dir_all(to.join(part)).unwrap();
    for file in std::fs::read_dir(from.join(part)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(part).join(file.file_name())).unwrap();
    }
}

fn open(directory: &Path) -> Result<Rocks, StoreError> {
    Rocks::open(directory, SyncMode::Os)
}

/// Decides taps, until the journal has so many records.
pub(crate) fn fill(world: &World, records: u64) {
    while world.ledger.journal().claimed().0 < records {
        let id = format!("tap{}", world.ledger.journal().claimed());
        world.ledger.submit(tap(&id, 1), at(10)).unwrap();
    }
    world.drained();
}

/// A directory whose journal had so many records, of which the last are lost; with rows up to them, or older ones.
fn truncated(records: u64, left: u64, rows_are_ahead: bool) -> TempDir {
    let [directory, truncated] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let world = World::with_store(Arc::new(open(directory.path()).unwrap()));
    let turn = || while world.ledger.write_rows().unwrap().more {};
    turn();
    fill(&world, left);
    copied(directory.path(), truncated.path(), "journal");
    if !rows_are_ahead {
        copied(directory.path(), truncated.path(), "rows");
    }
    fill(&world, records);
    if rows_are_ahead {
        turn();
        copied(directory.path(), truncated.path(), "rows");
    }
    std::fs::copy(directory.path().join("head"), truncated.path().join("head")).unwrap();
    truncated
}

fn accept(directory: &Path, at_least: Option<u64>) -> Result<(LossAccepted, u64), AcceptError> {
    let (found, known) = Rocks::find_loss(directory, at_least.map(Sequence))?;
    let loss = judged(found, known, "the machine burnt")?;
    Ok(loss.accept(&Rocks::open_at_loss(directory, known)?).map(|(loss, at)| (loss, at.0))?)
}

fn judged(found: Rocks, known: Sequence, reason: &str) -> Result<Loss, AcceptError> {
    let author = Author::Person { name: "offline".into(), idempotency: None };
    Loss::judge(&(Arc::new(found) as Arc<dyn Store>), known, &author, UnixMillis(1), reason)
}

/// Every file of records, rows and head, with its bytes: what RocksDB says of itself is none of them.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = ["journal", "rows"].map(|half| std::fs::read_dir(directory.join(half)).unwrap());
    let paths = all.into_iter().flatten().map(|file| file.unwrap().path());
    let own = paths.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with("LOG"));
    own.chain([directory.join("head")]).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// What a refusal says, which changes nothing.
fn refused(directory: &Path, at_least: Option<u64>) -> AcceptError {
    let before = files(directory);
    let refusal = accept(directory, at_least).unwrap_err();
    assert!(files(directory) == before, "{refusal}");
    refusal
}

fn is_shorter(directory: &Path) -> bool {
    matches!(open(directory), Err(StoreError::Head(HeadError::Shorter { .. })))
}

#[test]
fn lost_records_keep_their_places_and_are_named() {
    // Within a tile, and over the end of one.
    for (records, left) in [(60, 43), (300, 250)] {
        let directory = truncated(records, left, false);
        assert!(is_shorter(directory.path()));
        let (loss, accepted) = accept(directory.path(), None).unwrap();
        assert_eq!((loss.first.0, loss.last.0, accepted), (left + 1, records, records + 1));

        let store: Arc<dyn Store> = Arc::new(open(directory.path()).unwrap());
        let record = |sequence| Record::decode(&store.entry(Sequence(sequence)).unwrap().unwrap().payload).unwrap();
        assert!((left + 1..=records).all(|sequence| record(sequence).fact == Fact::RecordLost));
        assert_eq!(record(accepted).fact, Fact::LossAccepted(Box::new(loss)));
        assert_eq!(record(accepted).at, record(left).at, "never before the last record");
        assert!(verify(&store).unwrap().is_equal());
        drop(store);

        // The ledger goes on: what it knows is answered as before, what is lost is decided anew.
        let world = World::resumed(Arc::new(open(directory.path()).unwrap()));
        let claimed = world.ledger.journal().claimed();
        world.ledger.submit(tap(&format!("tap{}", left - 1), 1), at(10)).unwrap();
        assert_eq!(world.ledger.journal().claimed(), claimed);
        world.ledger.submit(tap(&format!("tap{left}"), 1), at(10)).unwrap();
        assert_eq!(world.ledger.journal().claimed(), claimed.next());
        world.ledger.close().unwrap();
        drop(world);
        assert!(verify(&(Arc::new(open(directory.path()).unwrap()) as Arc<dyn Store>)).unwrap().is_equal());
    }
}

#[test]
fn what_somebody_else_knows_of_is_lost_too() {
    let directory = truncated(60, 43, false);
    let (loss, accepted) = accept(directory.path(), Some(62)).unwrap();
    assert_eq!((loss.last.0, accepted), (62, 63));
    // Without a head, too, and where nothing is known to be missing.
    for (at_least, last) in [(70, 70), (7, 71)] {
        std::fs::remove_file(directory.path().join("head")).unwrap();
        let said = accept(directory.path(), None).unwrap_err().to_string();
        assert!(said.contains("--at-least"), "{said}");
        let (loss, accepted) = accept(directory.path(), Some(at_least)).unwrap();
        assert_eq!((loss.last.0, accepted), (last, last + 1));
        assert_eq!(open(directory.path()).unwrap().head().unwrap().0, last + 1);
    }
}

#[test]
fn nothing_is_accepted_where_nothing_is_lost_or_too_much_or_rows_know_more() {
    let directory = truncated(60, 60, false);
    let whole = refused(directory.path(), Some(60));
    assert_eq!(whole, AcceptError::Store(HeadError::Whole { end: Sequence(60) }.into()));
    let too_much = refused(directory.path(), Some(1 << 40));
    assert!(matches!(too_much, AcceptError::TooMuch { first: Sequence(61), .. }), "{too_much}");
    let store: Arc<dyn Store> = Arc::new(open(directory.path()).unwrap());
    assert_eq!(recover(&store).unwrap().head, Sequence(60), "a refusal changes nothing");

    let directory = truncated(60, 43, true);
    let ahead = refused(directory.path(), None);
    assert!(matches!(ahead, AcceptError::Recovery(RecoveryError::Ahead { .. })), "{ahead}");
    assert!(is_shorter(directory.path()));
}

#[test]
fn a_reason_is_asked_for() {
    let directory = truncated(60, 43, false);
    let before = files(directory.path());
    for reason in [String::new(), "x".repeat(1_025)] {
        let (found, known) = Rocks::find_loss(directory.path(), None).unwrap();
        assert_eq!(judged(found, known, &reason).unwrap_err(), AcceptError::Reason);
    }
    assert!(files(directory.path()) == before && is_shorter(directory.path()));
}

#[test]
fn an_index_that_is_ahead_of_the_log_is_seen() {
    let directory = truncated(60, 43, false);
    let store = Rocks::open_at_loss(directory.path(), Sequence(60)).unwrap();
    let entry = RowBytes { table: Table::Ids, key: vec![7; 16], value: 50_u64.to_be_bytes().to_vec() };
    store.put_synced(&[entry]).unwrap();
    drop(store);
    let ahead = RecoveryError::Ahead { watermark: Sequence(50), head: Sequence(43) };
    assert_eq!(refused(directory.path(), None), AcceptError::Recovery(ahead));
}

#[test]
fn wherever_it_is_cut_short_it_is_refused_or_whole() {
    let directory = truncated(60, 43, false);
    let (found, known) = Rocks::find_loss(directory.path(), None).unwrap();
    let loss = judged(found, known, "the machine burnt").unwrap();
    let store = Rocks::open_at_loss(directory.path(), known).unwrap();
    // The head is promised, and nothing is appended.
    let cut = || {
        let cut = tempfile::tempdir().unwrap();
        ["journal", "rows"].into_iter().for_each(|part| copied(directory.path(), cut.path(), part));
        cut
    };
    let promised = cut();
    let head = std::fs::read(directory.path().join("head")).unwrap();
    std::fs::write(promised.path().join("head"), &head).unwrap();
    assert!(is_shorter(promised.path()));
    assert_eq!(accept(promised.path(), None).unwrap().1, 61, "it is asked for again");
    // Appended, and the head is still the one that was promised.
    loss.accept(&store).unwrap();
    let appended = cut();
    std::fs::write(appended.path().join("head"), &head).unwrap();
    assert_eq!(open(appended.path()).unwrap().head().unwrap(), Sequence(61));
}
