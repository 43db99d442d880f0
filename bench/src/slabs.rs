//! The floor of an engine that remembers as much in slabs: one table of places for ids, authorizations in slots that are
//! used again, a record encoded in its thread's scratch and copied into a recycled buffer. Nothing is judged, explained or
//! hashed. The decision bench times it alone, the durable floor before a group commit.

use std::cell::RefCell;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tapgate_engine::fact::Request;
use tapgate_engine::ids::UrId;
use tapgate_engine::store::{RowBytes, Store, StoreError, Table};
use tapgate_engine::tree::Frontier;
use twox_hash::XxHash3_128;

use crate::{take, ur_id};

/// As many as the engine's maps have.
const SHARDS: usize = 1_024;

/// Buffers of records that a thread hands out in turn: a batch's, as many as wait for the journal at most.
const BUFFERS: usize = 1_024;

/// With its place, an open authorization takes the 400 bytes of the target.
const SLOT_BYTES: usize = 400 - size_of::<Place>();

/// Rows put at once, as the engine puts them.
const ROWS_AT_ONCE: usize = 128;

/// Bytes of a user's row in the engine, without spends and of each spend.
const USER_ROW_BYTES: usize = 200;
const SPEND_BYTES: usize = 28;

/// Slots that a slab grows by: it never moves what it holds.
const CHUNK_SLOTS: usize = 64;

/// Where an id is remembered. Its identity is the hash: the id itself is in the journal.
#[expect(dead_code, reason = "a floor remembers, and is asked nothing")]
struct Place {
    id: u128,
    last: u64,
    slot: u32,
    flags: u32,
}

const _: () = assert!(size_of::<Place>() == 32);

/// Fixed-size slots in chunks.
#[derive(Default)]
struct Slab {
    chunks: Vec<Box<[[u8; SLOT_BYTES]; CHUNK_SLOTS]>>,
    used: u32,
}

impl Slab {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let slot = self.used;
        self.used += 1;
        let (chunk, place) = (slot as usize / CHUNK_SLOTS, slot as usize % CHUNK_SLOTS);
        if chunk == self.chunks.len() {
            self.chunks.push(Box::new([[0; SLOT_BYTES]; CHUNK_SLOTS]));
        }
        if let Some(slot) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.get_mut(place)) {
            // The record's head stands for what an open authorization keeps of it; the rest is written, too.
            let (head, rest) = slot.split_at_mut(bytes.len().min(SLOT_BYTES));
            head.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            rest.fill(1);
        }
        slot
    }
}

#[derive(Default)]
struct Ids {
    places: HashTable<Place>,
    authorizations: Slab,
    /// Not in rows yet.
    fresh: Vec<u128>,
}

/// A user's slot, with room for the hold and the spend that an approval adds.
struct Account {
    user: UrId,
    used: i64,
    limit: i64,
    /// The rest of a user's row, all of which a decision looks at.
    others: [u64; 17],
    hold_and_spend: [u64; 13],
    spends: usize,
    /// Spent since its row was written.
    is_fresh: bool,
}

#[derive(Default)]
struct Accounts {
    places: HashTable<u32>,
    slots: Vec<Account>,
    /// Those to be written with the next turn.
    fresh: Vec<u32>,
}

/// What a thread encodes in, and the buffers that the journal gave back to it.
struct Scratch {
    record: Vec<u8>,
    recycled: Vec<Vec<u8>>,
    next: usize,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { record: Vec::new(), recycled: Vec::new(), next: 0 }) };
}

/// What an engine in this layout remembers.
pub struct Slabs {
    ids: Vec<Mutex<Ids>>,
    accounts: Vec<Mutex<Accounts>>,
    pool: AtomicI64,
    record_bytes: usize,
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a hash: the shard's bits are not those that a table uses.
#[expect(clippy::cast_possible_truncation, reason = "the high half is what is wanted")]
fn parts(hash: u128) -> (usize, u64) {
    ((hash >> 64) as usize % SHARDS, hash as u64)
}

impl Slabs {
    /// So many users, and records of so many bytes.
    #[must_use]
    pub fn new(users: u64, record_bytes: usize) -> Slabs {
        let slabs = Slabs {
            ids: (0..SHARDS).map(|_| Mutex::default()).collect(),
            accounts: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pool: AtomicI64::new(i64::MAX / 2),
            record_bytes,
        };
        for index in 0..users {
            let user: UrId = ur_id(index).parse().expect("an id");
            let (shard, hash) = parts(XxHash3_128::oneshot(user.as_str().as_bytes()));
            let mut accounts = lock(slabs.accounts.get(shard).expect("a shard"));
            let Accounts { places, slots, .. } = &mut *accounts;
            let slot = u32::try_from(slots.len()).expect("users of a shard");
            slots.push(Account::new(user));
            places.insert_unique(hash, slot, |slot| hash_of(slots, *slot));
        }
        slabs
    }

    /// Ids so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ids.iter().map(|shard| lock(shard).places.len() as u64).sum()
    }

    /// A turn of rows: an index entry for each new id and a row for each user who spent, both in the order of keys.
    ///
    /// # Errors
    /// The store failed.
    pub fn write_rows(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut ids: Vec<u128> = self.ids.iter().flat_map(|shard| std::mem::take(&mut lock(shard).fresh)).collect();
        ids.sort_unstable();
        for some in ids.chunks(ROWS_AT_ONCE) {
            store.put_rows(&some.iter().map(entry).collect::<Vec<_>>())?;
        }
        let mut users = Vec::new();
        for (number, shard) in self.accounts.iter().enumerate() {
            let Accounts { slots, fresh, .. } = &mut *lock(shard);
            let user = |slot: u32| Some((slots.get(slot as usize)?.user.clone(), number, slot));
            users.extend(fresh.drain(..).filter_map(user));
        }
        users.sort_unstable();
        for some in users.chunks(ROWS_AT_ONCE) {
            let rows: Vec<_> = some.iter().filter_map(|(_, shard, slot)| self.user_row(*shard, *slot)).collect();
            store.put_rows(&rows)?;
        }
        store.write_rows(&[], &Frontier::default())
    }

    fn user_row(&self, shard: usize, slot: u32) -> Option<RowBytes> {
        let mut accounts = lock(self.accounts.get(shard)?);
        let account = accounts.slots.get_mut(slot as usize)?;
        account.is_fresh = false;
        let value = vec![1; USER_ROW_BYTES + SPEND_BYTES * account.spends];
        Some(RowBytes { table: Table::Users, key: account.user.as_str().as_bytes().to_vec(), value })
    }

    /// Whether it is approved: looks first whether the index on the disk knows the id.
    ///
    /// # Errors
    /// The store failed.
    pub fn decide_unknown(&self, store: &dyn Store, request: &Request) -> Result<bool, StoreError> {
        let id = id_of(request);
        Ok(store.row(Table::Ids, &id.to_be_bytes())?.is_none() && self.decide_id(id, request))
    }

    /// Whether it is approved.
    pub fn decide(&self, request: &Request) -> bool {
        self.decide_id(id_of(request), request)
    }

    fn decide_id(&self, id: u128, request: &Request) -> bool {
        SCRATCH.with_borrow_mut(|scratch| self.decide_in(scratch, id, request).is_some())
    }

    fn decide_in(&self, scratch: &mut Scratch, id: u128, request: &Request) -> Option<()> {
        scratch.record.clear();
        let mut record = postcard::to_extend(request, std::mem::take(&mut scratch.record)).ok()?;
        let fingerprint = XxHash3_128::oneshot(&record);
        record.extend_from_slice(&fingerprint.to_be_bytes());
        record.resize(self.record_bytes, 1);

        let (shard, hash) = parts(id);
        let mut ids = lock(self.ids.get(shard)?);
        let Ids { places, authorizations, fresh } = &mut *ids;
        let Entry::Vacant(vacant) = places.entry(hash, |place| place.id == id, |place| parts(place.id).1) else {
            return None;
        };
        let user = request.user.as_str();
        let (shard, hash) = parts(XxHash3_128::oneshot(user.as_bytes()));
        let mut accounts = lock(self.accounts.get(shard)?);
        let Accounts { places, slots, fresh: spenders } = &mut *accounts;
        let slot =
            *places.find(hash, |slot| slots.get(*slot as usize).is_some_and(|known| known.user == request.user))?;
        let account = slots.get_mut(slot as usize)?;
        if account.used + request.amount.0 > account.limit || !take(&self.pool, request.amount.0) {
            return None;
        }
        account.used += request.amount.0;
        account.hold_and_spend = [account.others.iter().sum(); 13];
        account.spends += 1;
        if !std::mem::replace(&mut account.is_fresh, true) {
            spenders.push(slot);
        }
        let slot = authorizations.put(&record);
        let last = scratch.next as u64;
        vacant.insert(Place { id, last, slot, flags: 1 });
        fresh.push(id);
        scratch.hand_out(record);
        Some(())
    }
}

impl Account {
    fn new(user: UrId) -> Account {
        let (limit, others, hold_and_spend) = (i64::MAX / 2, [1; 17], [0; 13]);
        Account { user, used: 0, limit, others, hold_and_spend, spends: 0, is_fresh: false }
    }
}

/// What stands for a request's id.
fn id_of(request: &Request) -> u128 {
    XxHash3_128::oneshot(request.id.as_str().as_bytes())
}

fn entry(id: &u128) -> RowBytes {
    RowBytes { table: Table::Ids, key: id.to_be_bytes().to_vec(), value: vec![0; 8] }
}

fn hash_of(slots: &[Account], slot: u32) -> u64 {
    slots.get(slot as usize).map_or(0, |known| parts(XxHash3_128::oneshot(known.user.as_str().as_bytes())).1)
}

impl Scratch {
    /// Copies the record into the next buffer, and keeps the scratch.
    fn hand_out(&mut self, record: Vec<u8>) {
        if self.recycled.len() < BUFFERS {
            self.recycled.push(record.clone());
        } else if let Some(buffer) = self.recycled.get_mut(self.next % BUFFERS) {
            buffer.clear();
            buffer.extend_from_slice(&record);
        }
        self.next += 1;
        self.record = record;
    }
}
