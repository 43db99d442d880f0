//! The durable head: a small file beside the journal that says up to which record answers were given.
//!
//! The journal's log alone cannot say that it has lost its end: a log that was cut or deleted is a shorter log. So each
//! append is followed by one write here, before anything is answered, and a start compares both before it writes
//! anything or reads any log for good.
//!
//! The file has three slots in blocks of their own, each with a checksum, and each sync goes on to the next: one is being
//! written, one may be on its way to the disk, and the one before is there whole, whatever the machine's end tears. Of the
//! valid ones the higher counts. The process's end loses nothing of it; of a machine's end it may have missed the last
//! second ([`DurableHead::sync`]), never more than the log.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{StoreError, SyncMode};
use crate::ids::Sequence;
use crate::store::Entry;
use crate::tree::{Hash, LeafPart, Node, TILE_LEVEL, checksum};

/// The file's name in the data directory.
pub(super) const FILE: &str = "head";

/// Bytes between the slots' beginnings: blocks of a disk, so that no write touches both.
const BLOCK_BYTES: usize = 4096;

const SLOTS: usize = 3;

const MAGIC: [u8; 8] = *b"taphead1";

/// Magic, sequence, leaf, tile, run of the machine, mode, checksum.
const RECORDED_BYTES: usize = 8 + 8 + 8 + 32 + 16 + 1 + 8;

/// The random name of the machine's present run; zeros where the system gives none.
type BootId = [u8; 16];

/// What a slot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The last record.
    pub(super) sequence: Sequence,
    /// Of the last record; zeros of none, and where the record is still to be written ([`DurableHead::promise`]).
    pub(super) leaf: LeafPart,
    /// The hash of the last full tile; zeros before the first.
    pub(super) tile: Hash,
    /// The machine's run in which it was written.
    boot: BootId,
    /// How appends were made durable then.
    sync_mode: SyncMode,
}

impl Recorded {
    /// What a journal's end is to say from now on.
    pub(super) fn now(sequence: Sequence, leaf: LeafPart, tile: Hash, sync_mode: SyncMode) -> Recorded {
        Recorded { sequence, leaf, tile, boot: boot_id(), sync_mode }
    }

    /// Whether it says nothing of the record: there was none, or it was still to be written.
    pub(super) fn is_promise(&self) -> bool {
        self.leaf == LeafPart::default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORDED_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.sequence.0.to_be_bytes());
        bytes.extend_from_slice(&self.leaf);
        bytes.extend_from_slice(&self.tile);
        bytes.extend_from_slice(&self.boot);
        bytes.push(u8::from(self.sync_mode == SyncMode::Os));
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// `None`: never written, torn, or damaged.
    fn decode(bytes: &[u8]) -> Option<Recorded> {
        let (summed, sum) = bytes.split_last_chunk()?;
        let (magic, rest) = summed.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (leaf, rest) = rest.split_first_chunk()?;
        let (tile, rest) = rest.split_first_chunk()?;
        let (boot, [is_os]) = rest.split_first_chunk()? else { return None };
        let sync_mode = if *is_os == 0 { SyncMode::Fsync } else { SyncMode::Os };
        let sequence = Sequence(u64::from_be_bytes(*sequence));
        let is_whole = *magic == MAGIC && *sum == checksum(summed);
        is_whole.then_some(Recorded { sequence, leaf: *leaf, tile: *tile, boot: *boot, sync_mode })
    }

    /// What the file in this directory says; `None` where there is none, or no slot holds what was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(directory: &Path) -> Result<Option<Recorded>, StoreError> {
        let bytes = match std::fs::read(directory.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &error)),
        };
        let slots = (0..SLOTS).filter_map(|slot| bytes.get(slot * BLOCK_BYTES..)?.get(..RECORDED_BYTES));
        Ok(slots.filter_map(Recorded::decode).max_by_key(|recorded| recorded.sequence))
    }

    /// Why a journal may end before it, in words.
    pub(super) fn reason(&self) -> &'static str {
        let is_same_run = self.boot == boot_id() && self.boot != BootId::default();
        match (is_same_run, self.sync_mode) {
            (true, _) => "the machine has run ever since, so its files were cut, deleted or replaced",
            (false, SyncMode::Os) => {
                "the machine was restarted, which with durability = \"os\" may take what was answered last; or its files \
                 were cut, deleted or replaced"
            }
            (false, SyncMode::Fsync) => {
                "the machine was restarted: its disk has lost what it confirmed as written, or its files were cut, deleted \
                 or replaced"
            }
        }
    }
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct DurableHead {
    file: File,
    next: Mutex<Next>,
}

/// What the last write said, and where the next one goes.
#[derive(Debug)]
struct Next {
    recorded: Recorded,
    slot: usize,
    /// Whether something was written since the last sync.
    is_ahead: bool,
}

impl DurableHead {
    /// Opens the file for writing, and makes it where it is missing. It says what it said until the first write.
    ///
    /// # Errors
    /// The file cannot be opened, made or synced.
    pub(super) fn open(directory: &Path, journal: Recorded) -> Result<DurableHead, StoreError> {
        let path = directory.join(FILE);
        let is_new = !path.try_exists().map_err(|error| failed("opened", &error))?;
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| failed("opened", &error))?;
        if is_new {
            // Blocks that are there once are written again without asking the file system for room.
            file.write_all_at(&[0; SLOTS * BLOCK_BYTES], 0).map_err(|error| failed("made", &error))?;
        }
        // Also of one that was made before a start was cut short.
        let synced = file.sync_all().and_then(|()| File::open(directory)?.sync_all());
        synced.map_err(|error| failed("made", &error))?;
        Ok(DurableHead { file, next: Mutex::new(Next { recorded: journal, slot: 0, is_ahead: false }) })
    }

    /// Says in every slot, and for good, where the journal ended when the file was opened.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub(super) fn start(&self) -> Result<(), StoreError> {
        (0..SLOTS).try_for_each(|_| {
            self.write(|_| {})?;
            self.sync(|| Ok(()))
        })
    }

    /// Says in every slot, and for good, that the journal is going to reach this record: until it does it is too short, and
    /// then whole, whatever the record is.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub(super) fn promise(&self, known: Sequence) -> Result<(), StoreError> {
        (0..SLOTS).try_for_each(|_| {
            self.write(|recorded| (recorded.sequence, recorded.leaf) = (known, LeafPart::default()))?;
            self.sync(|| Ok(()))
        })
    }

    /// Says that these are in the log.
    ///
    /// # Errors
    /// The file cannot be written: nothing may be answered.
    pub(super) fn follow(&self, appended: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let Some(last) = appended.last() else { return Ok(()) };
        self.write(|recorded| {
            (recorded.sequence, recorded.leaf) = (last.sequence, last.leaf);
            if let Some(tile) = completed.iter().rev().find(|node| node.span.level == TILE_LEVEL) {
                recorded.tile = tile.hash;
            }
        })
    }

    fn write(&self, change: impl FnOnce(&mut Recorded)) -> Result<(), StoreError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut next.recorded);
        let written = self.file.write_all_at(&next.recorded.encode(), (next.slot * BLOCK_BYTES) as u64);
        written.map_err(|error| failed("written", &error))?;
        next.is_ahead = true;
        Ok(())
    }

    /// Makes what was written survive the machine; `log` first does so for the journal's log. One thread calls it.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn sync(&self, log: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut next.is_ahead) {
                return Ok(());
            }
            next.slot = (next.slot + 1) % SLOTS;
        }
        log()?;
        self.file.sync_data().map_err(|error| failed("synced", &error))
    }
}

fn failed(done: &str, error: &std::io::Error) -> StoreError {
    StoreError::Failed(format!("the file `{FILE}` of the data directory cannot be {done}: {error}"))
}

fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = BootId::default();
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    id
}
