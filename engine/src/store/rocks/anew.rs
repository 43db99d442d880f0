//! The journal written anew, where records cannot be written over.
//!
//! RocksDB checks blocks of many records as one, and reads over none that is damaged. So the journal is written anew beside
//! the old one, with everything that is to be in it, and the two change places in one step.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FlockOperation, RenameFlags};

use super::{
    ColumnFamilyRef, DB, JOURNAL, JOURNAL_DAMAGED, JOURNAL_NEW, META, RECORDS, ROWS, Recorded, Rocks, Store,
    StoreError, TILES, TablesOpen, WATERMARK, WriteBatch, failed, families, journal_families, journal_options, missing,
    node_key, once_read, options, table_name, unlogged, waited_for,
};
use crate::ids::Sequence;
use crate::store::Table;
use crate::tree::{Frontier, Node};

/// Longer than any row's key.
const KEY_BYTES_MAX: usize = 1_024;

/// In a copy that is not whole.
const HALF: &str = "HALF";

/// Bytes of one write.
const BATCH_BYTES: usize = 1 << 20;

/// A data directory in whose journal records may be unreadable, read-only. Nobody serves it meanwhile.
#[derive(Debug)]
pub struct Damaged {
    /// What can be read of it.
    pub store: Arc<Rocks>,
    directory: PathBuf,
    /// Ends when it is dropped.
    _lock: File,
}

impl Damaged {
    /// Opens a directory as [`Rocks::open_read_only`] does, but for what cannot be read.
    ///
    /// # Errors
    /// As there, or somebody serves it.
    pub fn open(directory: &Path) -> Result<Damaged, StoreError> {
        // Refuses what is no data directory.
        drop(Rocks::read_as_it_is(directory)?);
        let lock = locked(&directory.join(JOURNAL))?;
        let recorded = Recorded::read(directory)?;
        let store = Rocks::read_as_it_is(directory)?;
        match store.check_head(directory, recorded.as_ref()) {
            Err(StoreError::Corrupt(_)) => {}
            fits => fits?,
        }
        Ok(Damaged { store: Arc::new(store), directory: directory.to_owned(), _lock: lock })
    }

    /// Puts a journal of these records into the place of this one, with the tree's nodes of this one and these. Returns
    /// where this one is from now on. Cut short, it has changed nothing, or everything.
    ///
    /// # Errors
    /// Something else cannot be read, the disk has no room for two journals, or an old one is kept already.
    pub fn write_anew(self, records: &dyn Store, completed: &[Node]) -> Result<PathBuf, StoreError> {
        let [journal, new, damaged] = [JOURNAL, JOURNAL_NEW, JOURNAL_DAMAGED].map(|name| self.directory.join(name));
        if new.exists() && !new.join(HALF).exists() {
            // What was in the journal's place before, where the last step was cut short.
            keep(&new, &damaged)?;
        }
        if damaged.exists() {
            return Err(StoreError::Failed(format!(
                "{} is what an earlier quarantine has left: move it away first",
                damaged.display()
            )));
        }
        remove(&new)?;
        if let Err(error) = self.write(&new, records, completed) {
            // It may be what fills the disk.
            remove(&new)?;
            return Err(error);
        }
        on_disk("synced", File::open(&new).and_then(|new| new.sync_all()))?;
        if let Err(error) = rustix::fs::renameat_with(CWD, &new, CWD, &journal, RenameFlags::EXCHANGE) {
            remove(&new)?;
            return Err(StoreError::Failed(format!(
                "the file system of {} cannot exchange two directories ({error}): nothing was changed; copy the data \
                 directory to one that can, such as ext4 or xfs, and give the command there",
                self.directory.display()
            )));
        }
        let sync = || File::open(&self.directory).and_then(|directory| directory.sync_all());
        on_disk("synced", sync())?;
        keep(&new, &damaged)?;
        on_disk("synced", sync())?;
        Ok(damaged)
    }

    /// Forgets every row that the journal tells, so that a start folds the whole journal again. Cut short, some rows are
    /// still there, and fold no less of it.
    ///
    /// # Errors
    /// The rows cannot be written.
    pub fn forget_rows(self) -> Result<(), StoreError> {
        let Damaged { store, directory, _lock } = self;
        // It has the rows open, too.
        drop(store);
        let mut options = options(TablesOpen::USUAL);
        options.create_missing_column_families(true);
        let database = DB::open_cf_descriptors(&options, directory.join(ROWS), families());
        let database = database.map_err(|error| failed(&error))?;
        let flush = |name: &str| {
            database.flush_cf_opt(&family(&database, name)?, &waited_for()).map_err(|error| failed(&error))
        };
        let put = database.put_cf_opt(&family(&database, META)?, WATERMARK, Frontier::default().encode(), &unlogged());
        put.map_err(|error| failed(&error))?;
        flush(META)?;
        for name in Table::ALL.into_iter().filter(|table| *table != Table::Persons).map(table_name) {
            let mut batch = WriteBatch::default();
            let end: &[u8] = &[u8::MAX; KEY_BYTES_MAX];
            batch.delete_range_cf(&family(&database, name)?, &[][..], end);
            write(&database, &mut batch, true)?;
            flush(name)?;
        }
        database.cancel_all_background_work(true);
        Ok(())
    }

    fn write(&self, new: &Path, records: &dyn Store, completed: &[Node]) -> Result<(), StoreError> {
        on_disk("made", std::fs::create_dir(new))?;
        on_disk("made", File::create(new.join(HALF)).map(drop))?;
        let mut options = journal_options(TablesOpen::USUAL);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let to = DB::open_cf_descriptors(&options, new, journal_families()).map_err(|error| failed(&error))?;
        copy_records(records, &to)?;
        copy_nodes(&self.store.journal, &to, completed)?;
        let families = [family(&to, RECORDS)?, family(&to, TILES)?];
        to.flush_cfs_opt(&families.each_ref(), &waited_for()).map_err(|error| failed(&error))?;
        to.cancel_all_background_work(true);
        drop(to);
        on_disk("made", std::fs::remove_file(new.join(HALF)))
    }
}

fn on_disk(what: &str, done: std::io::Result<()>) -> Result<(), StoreError> {
    done.map_err(|error| StoreError::Failed(format!("the journal's copy cannot be {what}: {error}")))
}

fn keep(old: &Path, damaged: &Path) -> Result<(), StoreError> {
    on_disk("kept", std::fs::rename(old, damaged))
}

fn remove(copy: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(copy) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => on_disk("removed", removed),
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

fn family<'a>(database: &'a DB, name: &str) -> Result<ColumnFamilyRef<'a>, StoreError> {
    database.cf_handle(name).ok_or_else(|| missing(name))
}

/// Writes what is gathered once it is large.
fn write(to: &DB, batch: &mut WriteBatch, is_last: bool) -> Result<(), StoreError> {
    if is_last || batch.size_in_bytes() > BATCH_BYTES {
        to.write_opt(std::mem::take(batch), &unlogged()).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn copy_records(records: &dyn Store, to: &DB) -> Result<(), StoreError> {
    let (mut batch, mut value, mut written) = (WriteBatch::default(), Vec::new(), Ok(()));
    records.read(Sequence::ZERO, &mut |entry| {
        value.clear();
        value.extend_from_slice(&entry.leaf);
        value.extend_from_slice(entry.payload);
        batch.put(entry.sequence.0.to_be_bytes(), &value);
        written = write(to, &mut batch, false);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    write(to, &mut batch, true)
}

fn copy_nodes(from: &DB, to: &DB, completed: &[Node]) -> Result<(), StoreError> {
    let (source, target) = (family(from, TILES)?, family(to, TILES)?);
    let mut batch = WriteBatch::default();
    let mut at = from.raw_iterator_cf_opt(&source, once_read());
    at.seek_to_first();
    while let Some((key, value)) = at.item() {
        batch.put_cf(&target, key, value);
        write(to, &mut batch, false)?;
        at.next();
    }
    at.status().map_err(|error| failed(&error))?;
    completed.iter().for_each(|node| batch.put_cf(&target, node_key(node.span), node.hash));
    write(to, &mut batch, true)
}
