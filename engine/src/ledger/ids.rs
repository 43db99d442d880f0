//! One place for an id: its answer, and its authorization where the id is a root.
//!
//! A place is found by the hash of its id, in shards of their own. A decision locks the place of its own id and that of
//! its root together: the shards in ascending order, one guard where they coincide. The disk is asked before any guard;
//! what it said holds if no place of the shard was evicted meanwhile, and is asked again otherwise. A place that the disk
//! filled and no record changed is forgotten with its guard: nothing would evict it.

use std::sync::{Arc, PoisonError};

use crossbeam::utils::CachePadded;
use hashbrown::HashTable;

use super::Ledger;
use super::commit::fold;
use super::write_rows::BATCH;
use crate::fact::{Record, Request, Subject};
use crate::ids::{AuthorizationId, Sequence};
use crate::journal::Ticket;
use crate::rows::index::{IdKey, LastRecords};
use crate::rows::{Answer, Authorization, Row, Told};
use crate::store::StoreError;
use crate::sync::{Mutex, MutexGuard};

/// Shards: at this count two cores meet on a lock in less than one of a thousand decisions.
const SHARDS: usize = if cfg!(tapgate_shuttle) { 4 } else { 1024 };

/// Every id in memory.
pub(super) struct Ids {
    seed: u64,
    shards: Box<[CachePadded<Mutex<Shard>>]>,
}

#[derive(Default)]
struct Shard {
    places: HashTable<Place>,
    /// Places evicted so far: what the disk said before one of these evictions may be out of date.
    evictions: u64,
}

struct Place {
    key: IdKey,
    /// Records that recovery found after the index on disk: folded when somebody asks.
    named: LastRecords,
    live: Option<Box<Live>>,
}

impl Place {
    /// The last record about its id that memory knows.
    fn newest(&self) -> Sequence {
        self.live.as_ref().map_or(self.named.newest(), |live| live.newest())
    }
}

/// What memory holds of an id.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) answer: Option<AnswerSlot>,
    pub(super) authorization: Option<Authorization>,
}

/// The answer to an id in memory, with the ticket of its record.
#[derive(Debug)]
pub(super) struct AnswerSlot {
    pub(super) answer: Answer,
    /// `None` for an answer loaded from disk: it is durable.
    pub(super) ticket: Option<Arc<Ticket>>,
}

impl Live {
    fn of(told: Told) -> Live {
        let Told { answer, authorization } = told;
        Live { answer: answer.map(|answer| AnswerSlot { answer, ticket: None }), authorization }
    }

    pub(super) fn copy(&self) -> Told {
        Told { answer: self.answer.as_ref().map(|slot| slot.answer.clone()), authorization: self.authorization.clone() }
    }

    /// The last record in it.
    fn newest(&self) -> Sequence {
        let answer = self.answer.as_ref().map_or(Sequence::ZERO, |slot| slot.answer.sequence);
        let authorization = self.authorization.as_ref().map_or(Sequence::ZERO, |row| row.sequence);
        answer.max(authorization)
    }
}

/// What was found of an id without keeping its guard.
enum Asked {
    InMemory,
    OnDisk {
        /// What memory knew of it.
        named: LastRecords,
        evictions: u64,
        /// `None` for an unknown id.
        live: Option<Box<Live>>,
    },
}

/// The guards of one or two places. Dropped, they leave in memory only what a record changed.
pub(super) struct Places<'a> {
    low: (usize, MutexGuard<'a, Shard>),
    high: Option<(usize, MutexGuard<'a, Shard>)>,
    /// Neither memory nor the disk knows any of the ids: nothing needs to be looked up.
    are_new: bool,
    /// The places that the disk filled, each with its last record.
    from_disk: Vec<(IdKey, Sequence)>,
}

/// What became of an answer from the disk.
enum Taken {
    Known,
    New,
    /// Memory has changed since: ask again.
    Outdated,
}

impl Places<'_> {
    #[expect(clippy::expect_used, reason = "a place outside its guards is a bug, seen before anything has changed")]
    fn shard(&mut self, key: IdKey) -> &mut Shard {
        let number = shard_of(key);
        let held = [Some(&mut self.low), self.high.as_mut()].into_iter().flatten();
        &mut held.into_iter().find(|(held, _)| *held == number).expect("the guard of the place's shard").1
    }

    fn get(&mut self, key: IdKey) -> Option<&mut Live> {
        if self.are_new {
            return None;
        }
        self.shard(key).find_mut(key)?.live.as_deref_mut()
    }

    pub(super) fn answer(&mut self, key: IdKey) -> Option<&mut AnswerSlot> {
        self.get(key)?.answer.as_mut()
    }

    pub(super) fn authorization(&mut self, key: IdKey) -> Option<&mut Authorization> {
        self.get(key)?.authorization.as_mut()
    }

    /// What memory holds of an id, made if it is new.
    fn live(&mut self, key: IdKey) -> &mut Live {
        self.are_new = false;
        self.shard(key).place(key).live.get_or_insert_default()
    }

    /// Folds a record into the authorization of a root, or begins it, as [`crate::rows::Shelf::apply`] does.
    pub(super) fn fold_authorization(
        &mut self,
        key: IdKey,
        root: &AuthorizationId,
        sequence: Sequence,
        record: &Record,
    ) {
        if let Some(row) = self.authorization(key) {
            fold(row, sequence, record);
        } else if let Some(row) = Authorization::open(root, sequence, record) {
            self.live(key).authorization = Some(row);
        }
    }

    /// Folds the record that answers an id, and its root.
    pub(super) fn answer_with(
        &mut self,
        [own, root]: [IdKey; 2],
        request: &Request,
        slot: AnswerSlot,
        sequence: Sequence,
        record: &Record,
    ) {
        if self.are_new && own == root {
            let authorization = Authorization::open(&request.id, sequence, record);
            let live = Some(Box::new(Live { answer: Some(slot), authorization }));
            self.are_new = false;
            return self.shard(own).insert(Place { key: own, named: LastRecords::default(), live });
        }
        self.fold_authorization(root, request.root(), sequence, record);
        self.live(own).answer = Some(slot);
    }

    /// Takes in what the disk said.
    fn take_in(&mut self, key: IdKey, asked: Asked) -> Taken {
        let shard = self.shard(key);
        let evicted_so_far = shard.evictions;
        let newest = match (shard.find_mut(key), asked) {
            (Some(Place { live: Some(_), .. }), _) => return Taken::Known,
            (Some(place), Asked::OnDisk { named, live, .. }) if place.named == named => {
                place.live = Some(live.unwrap_or_default());
                place.newest()
            }
            (None, Asked::OnDisk { named, evictions, live }) if evicted_so_far == evictions && named.is_none() => {
                let Some(live) = live else { return Taken::New };
                let newest = live.newest();
                shard.insert(Place { key, named, live: Some(live) });
                newest
            }
            _ => return Taken::Outdated,
        };
        self.from_disk.push((key, newest));
        Taken::Known
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        for (key, newest) in std::mem::take(&mut self.from_disk) {
            self.shard(key).forget(key, newest);
        }
    }
}

impl Shard {
    fn find_mut(&mut self, key: IdKey) -> Option<&mut Place> {
        self.places.find_mut(key.spread(), |place| place.key == key)
    }

    /// The place of an id, made if it is new.
    fn place(&mut self, key: IdKey) -> &mut Place {
        let place = self.places.entry(key.spread(), |place| place.key == key, |place| place.key.spread());
        place.or_insert_with(|| Place { key, named: LastRecords::default(), live: None }).into_mut()
    }

    /// Forgets what the disk said of a place, if no record came after the last one `newest`.
    fn forget(&mut self, key: IdKey, newest: Sequence) {
        let Ok(mut found) = self.places.find_entry(key.spread(), |place| place.key == key) else { return };
        let place = found.get_mut();
        if place.newest() > newest {
            return;
        }
        place.live = None;
        if place.named.is_none() {
            found.remove();
        }
    }

    fn evict(&mut self, key: IdKey, through: Sequence) {
        let Ok(place) = self.places.find_entry(key.spread(), |place| place.key == key) else { return };
        if place.get().newest() <= through {
            place.remove();
            self.evictions += 1;
        }
    }

    fn insert(&mut self, place: Place) {
        self.places.insert_unique(place.key.spread(), place, |place| place.key.spread());
    }
}

fn shard_of(key: IdKey) -> usize {
    // The table takes a hash's highest and lowest bits.
    (key.spread() >> 32) as usize % SHARDS
}

impl Ids {
    /// `named`: the records that the index on disk does not name yet.
    pub(super) fn new(seed: u64, named: impl IntoIterator<Item = (IdKey, Subject, Sequence)>) -> Ids {
        let ids = Ids { seed, shards: (0..SHARDS).map(|_| CachePadded::default()).collect() };
        for (key, subject, sequence) in named {
            ids.shard(key).place(key).named.take(subject, sequence);
        }
        ids
    }

    pub(super) fn key(&self, id: &AuthorizationId) -> IdKey {
        IdKey::of(self.seed, id)
    }

    #[expect(clippy::indexing_slicing, reason = "a shard's number is below their count")]
    fn lock_shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, key: IdKey) -> MutexGuard<'_, Shard> {
        self.lock_shard(shard_of(key))
    }

    fn lock(&self, [one, other]: [IdKey; 2]) -> Places<'_> {
        let (one, other) = (shard_of(one), shard_of(other));
        let (low, high) = (one.min(other), one.max(other));
        // The guards are taken in the order of the fields.
        Places {
            low: (low, self.lock_shard(low)),
            high: (high != low).then(|| (high, self.lock_shard(high))),
            are_new: false,
            from_disk: Vec::new(),
        }
    }

    /// Evicts the ids among these whose records are all at or before `through`: their entries in the index lead to them.
    /// It goes shard by shard, because places of one shard lie together, and rests after some.
    pub(super) fn evict(&self, mut ids: Vec<IdKey>, through: Sequence, rest: &mut dyn FnMut()) {
        ids.sort_unstable_by_key(|id| shard_of(*id));
        let of_shards = ids.chunk_by(|one, other| shard_of(*one) == shard_of(*other));
        for (first, some) in of_shards.flat_map(|ids| ids.chunks(BATCH)).filter_map(|some| Some((some.first()?, some)))
        {
            let mut shard = self.shard(*first);
            some.iter().for_each(|id| shard.evict(*id, through));
            drop(shard);
            rest();
        }
    }
}

impl Ledger {
    /// The number of ids that memory knows.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn ids_in_memory(&self) -> usize {
        self.count(|_| true)
    }

    /// The number of ids whose answer or authorization is in memory.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn ids_told_in_memory(&self) -> usize {
        self.count(|place| place.live.is_some())
    }

    #[cfg(feature = "testing")]
    fn count(&self, is_counted: impl Fn(&Place) -> bool) -> usize {
        let counted = |number| self.ids.lock_shard(number).places.iter().filter(|place| is_counted(place)).count();
        (0..SHARDS).map(counted).sum()
    }

    /// Locks the places of an id and of its root, with what the disk says of both.
    pub(super) fn places(&self, ids: [(IdKey, &AuthorizationId); 2]) -> Result<Places<'_>, StoreError> {
        let [own, root] = ids;
        let is_one = own.0 == root.0;
        loop {
            let asked = self.ask(own)?;
            let asked_root = (!is_one).then(|| self.ask(root)).transpose()?;
            let mut places = self.ids.lock([own.0, root.0]);
            let taken = places.take_in(own.0, asked);
            let taken_root = asked_root.map_or(Taken::New, |asked| places.take_in(root.0, asked));
            places.are_new = matches!((&taken, &taken_root), (Taken::New, Taken::New));
            if !matches!(taken, Taken::Outdated) && !matches!(taken_root, Taken::Outdated) {
                return Ok(places);
            }
        }
    }

    /// Locks the place of one id, with what the disk says of it.
    pub(super) fn place(&self, id: (IdKey, &AuthorizationId)) -> Result<Places<'_>, StoreError> {
        self.places([id, id])
    }

    /// Reads an id without keeping its place: what memory holds, else what the disk says.
    pub(super) fn read_id<T>(&self, id: &AuthorizationId, read: impl Fn(&Live) -> T) -> Result<Option<T>, StoreError> {
        let key = self.ids.key(id);
        loop {
            let in_memory = self.ids.shard(key).find_mut(key).and_then(|place| place.live.as_deref().map(&read));
            if in_memory.is_some() {
                return Ok(in_memory);
            }
            if let Asked::OnDisk { live, .. } = self.ask((key, id))? {
                return Ok(live.map(|live| read(&live)));
            }
        }
    }

    /// Asks the disk about an id that memory does not hold.
    fn ask(&self, (key, id): (IdKey, &AuthorizationId)) -> Result<Asked, StoreError> {
        let (named, evictions) = {
            let mut shard = self.ids.shard(key);
            match shard.find_mut(key) {
                Some(Place { live: Some(_), .. }) => return Ok(Asked::InMemory),
                Some(Place { named, live: None, .. }) => (*named, shard.evictions),
                None => (LastRecords::default(), shard.evictions),
            }
        };
        let last = named.or_stored(key, &*self.store)?;
        if last.is_none() {
            return Ok(Asked::OnDisk { named, evictions, live: None });
        }
        self.not_ahead(last.newest())?;
        let live = Some(Box::new(Live::of(Told::load(&*self.store, id, last)?)));
        Ok(Asked::OnDisk { named, evictions, live })
    }

    /// Checks that the index names no record that is not durable: such an entry is never written.
    fn not_ahead(&self, sequence: Sequence) -> Result<(), StoreError> {
        let durable = self.journal.durable();
        if sequence <= durable {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!("the index names record {sequence}, and the journal ends at {durable}")))
    }
}
