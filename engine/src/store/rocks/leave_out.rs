//! A copy of the journal without what cannot be read, in the journal's place.
//!
//! RocksDB checks blocks of many records as one, and reads over none that is damaged: a record in one has no place to be
//! written over. So the journal is written anew beside the old one, and the two change places in one step.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rocksdb::{DB, WriteBatch};
use rustix::fs::{CWD, FlockOperation, RenameFlags};

use super::{
    JOURNAL, JOURNAL_DAMAGED, JOURNAL_NEW, RECORDS, Rocks, StoreError, TILES, TablesOpen, failed, journal_families,
    journal_options, once_read, unlogged, waited_for,
};
use crate::ids::Sequence;

/// Bytes of one write.
const BATCH_BYTES: usize = 1 << 20;

impl Rocks {
    /// Writes the journal of a directory that nobody serves anew, without these records, which are in order. Returns where
    /// the old one is from now on. Cut short, it has changed nothing, or everything.
    ///
    /// # Errors
    /// More cannot be read, the disk has no room for two journals, or an old one is kept already.
    pub fn leave_out(directory: &Path, records: &[RangeInclusive<Sequence>]) -> Result<PathBuf, StoreError> {
        let [journal, new, damaged] = [JOURNAL, JOURNAL_NEW, JOURNAL_DAMAGED].map(|name| directory.join(name));
        let on_disk = |what: &str, done: std::io::Result<()>| {
            done.map_err(|error| StoreError::Failed(format!("the journal's copy cannot be {what}: {error}")))
        };
        if damaged.exists() {
            return Err(StoreError::Failed(format!(
                "{} is what an earlier quarantine has kept: move it away first",
                damaged.display()
            )));
        }
        if new.exists() {
            // Of a quarantine that was cut short.
            on_disk("made", std::fs::remove_dir_all(&new))?;
        }
        let _unserved = locked(&journal)?;
        let mut options = journal_options(TablesOpen::USUAL);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let to = DB::open_cf_descriptors(&options, &new, journal_families()).map_err(|error| failed(&error))?;
        let from = journal_options(TablesOpen::USUAL);
        let from = DB::open_cf_descriptors_read_only(&from, &journal, journal_families(), false);
        let from = from.map_err(|error| failed(&error))?;
        let mut next = Sequence::ZERO.next();
        for range in records {
            if next < *range.start() {
                let last = Sequence(range.start().0 - 1);
                copy(&from, &to, RECORDS, &next.0.to_be_bytes(), Some(&last.0.to_be_bytes()))?;
            }
            next = range.end().next();
        }
        copy(&from, &to, RECORDS, &next.0.to_be_bytes(), None)?;
        copy(&from, &to, TILES, &[], None)?;
        let families = [RECORDS, TILES].map(|name| to.cf_handle(name));
        let families: Vec<_> = families.iter().flatten().collect();
        to.flush_cfs_opt(&families, &waited_for()).map_err(|error| failed(&error))?;
        to.cancel_all_background_work(true);
        drop(to);
        on_disk("synced", File::open(&new).and_then(|new| new.sync_all()))?;
        let exchanged = rustix::fs::renameat_with(CWD, &new, CWD, &journal, RenameFlags::EXCHANGE);
        on_disk("put into its place", exchanged.map_err(std::io::Error::from))?;
        on_disk("put into its place", std::fs::rename(&new, &damaged))?;
        on_disk("synced", File::open(directory).and_then(|directory| directory.sync_all()))?;
        Ok(damaged)
    }
}

/// Takes the lock that RocksDB has on a database that it writes.
fn locked(journal: &Path) -> Result<File, StoreError> {
    let file = File::options().write(true).create(true).truncate(false).open(journal.join("LOCK"));
    let locked = file.and_then(|file| {
        rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    });
    locked.map_err(|error| StoreError::Failed(format!("{} is in use: stop tapgate first ({error})", journal.display())))
}

/// Copies from one key through another, or to the end. Never steps further: the next block may be damaged.
fn copy(from: &DB, to: &DB, family: &str, first: &[u8], last: Option<&[u8]>) -> Result<(), StoreError> {
    let missing = || super::missing(family);
    let (source, target) = (from.cf_handle(family).ok_or_else(missing)?, to.cf_handle(family).ok_or_else(missing)?);
    let mut at = from.raw_iterator_cf_opt(&source, once_read());
    at.seek(first);
    let mut batch = WriteBatch::default();
    let write =
        |batch: &mut WriteBatch| to.write_opt(std::mem::take(batch), &unlogged()).map_err(|error| failed(&error));
    while let Some((key, value)) = at.item() {
        batch.put_cf(&target, key, value);
        if last.is_some_and(|last| key >= last) {
            break;
        }
        if batch.size_in_bytes() > BATCH_BYTES {
            write(&mut batch)?;
        }
        at.next();
    }
    at.status().map_err(|error| failed(&error))?;
    write(&mut batch)
}
