//! The ledger: decides in memory, and memory is always the fold of the journal.
//!
//! `locks` holds the guards and their order, `commit` the order of changes.

mod age;
mod card_owners;
mod change;
mod commit;
mod gather;
mod ids;
mod locks;
mod page;
mod pool;
mod post;
mod provider;
mod read;
mod release;
mod report;
mod scrub;
mod settle;
mod submit;
mod write_rows;

pub use crate::fact::Policy;
pub use change::{AlertChange, Change, ChangeError, ClosureChange, CursorChange, PrefundChange, Receipt, Reflected};
pub use page::Page;
pub use post::PostingReceipt;
pub use provider::Heard;
pub use read::Found;
pub use scrub::{Scrub, Scrubbed};
pub use submit::{GaveUp, Refusal, Reply, Submission};
pub use write_rows::RowsWritten;

use std::sync::Arc;
use std::task::Waker;

use ahash::RandomState;

use card_owners::Cards;
use ids::Ids;
use pool::Pool;
use write_rows::Progress;

use crate::contract::limit::LIMIT_WEIGHT_MAX;
use crate::ids::UrId;
use crate::journal::{Journal, OnFailure};
use crate::money::Currency;
use crate::rows::index::IndexSum;
use crate::rows::{Aged, KeyRow, Postings, Program, Shelf, Shelves, State, User, hasher};
use crate::store::{Store, StoreError};
use crate::sync::{AtomicBool, AtomicU64, DashMap, Mutex, Ordering, ShardedLock};
use crate::time::{Moment, UnixMillis};

/// Shards of the users: at this count two cores meet on a lock in less than one of a thousand decisions.
const SHARDS: usize = if cfg!(tapgate_shuttle) { 4 } else { 1024 };

/// Locks among which users are spread while their movements are matched.
const MATCHING_LOCKS: usize = 64;

/// State that every decision shares.
struct Shared {
    program: Program,
    pools: Vec<Pool>,
}

impl Shared {
    fn pool(&self, currency: Currency) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.currency() == currency)
    }
}

/// State that only changes by people use.
struct Admin {
    cards: Cards,
    /// The end of the journal's last day.
    aged: Aged,
}

/// Decides authorizations, posts transactions and applies changes; each is one record of the journal.
pub struct Ledger {
    policy: Policy,
    admin: Mutex<Admin>,
    shared: ShardedLock<Shared>,
    ids: Ids,
    users: DashMap<UrId, Box<User>, RandomState>,
    shelves: Mutex<Shelves>,
    /// One matching of a user's movements at a time.
    matching: [Mutex<()>; MATCHING_LOCKS],
    /// Postings not yet written to disk.
    postings: Mutex<Postings>,
    /// Idempotency keys not yet written to disk.
    keys: Mutex<Shelf<KeyRow>>,
    /// One writer at a time of what names users.
    persons: Mutex<()>,
    /// The disk is nearly full: nothing is approved, so that reversals and settlements still find room.
    disk_low: AtomicBool,
    journal: Journal,
    store: Arc<dyn Store>,
    /// The latest time stamped on a record.
    latest: AtomicU64,
    tail: Mutex<Progress>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("users", &self.users.len())
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Starts a ledger over recovered rows; new records follow those in `store`. `hash_seed` keeps the maps' layout
    /// unpredictable; benches fix it.
    ///
    /// # Errors
    /// The store cannot be read, or the journal's thread cannot be started.
    ///
    /// # Panics
    /// The policy's `limit_weight` is above the bound.
    pub fn start(
        store: Arc<dyn Store>,
        recovered: State,
        policy: Policy,
        hash_seed: u64,
        on_failure: OnFailure,
    ) -> Result<Ledger, StoreError> {
        let journal = Journal::start(Arc::clone(&store), on_failure)?;
        Ledger::over(journal, store, recovered, policy, hash_seed)
    }

    /// The same without a thread of its own ([`Journal::by_hand`]).
    ///
    /// # Errors
    /// The store cannot be read.
    ///
    /// # Panics
    /// As for [`Ledger::start`].
    pub fn by_hand(
        store: Arc<dyn Store>,
        recovered: State,
        policy: Policy,
        hash_seed: u64,
        (on_failure, woken): (OnFailure, Waker),
    ) -> Result<Ledger, StoreError> {
        let journal = Journal::by_hand(Arc::clone(&store), on_failure, woken)?;
        Ledger::over(journal, store, recovered, policy, hash_seed)
    }

    fn over(
        journal: Journal,
        store: Arc<dyn Store>,
        recovered: State,
        policy: Policy,
        hash_seed: u64,
    ) -> Result<Ledger, StoreError> {
        assert!(policy.limit_weight <= LIMIT_WEIGHT_MAX, "a use counts {LIMIT_WEIGHT_MAX} times at most");
        let hasher = hasher(hash_seed);
        let (watermark, sum) = (store.watermark()?, IndexSum::load(&*store)?);
        let State { users, index, postings, noted, keys, pools, shelves, program, .. } = recovered;
        let mut admin = Admin { cards: Cards::new(hasher.clone()), aged: program.aged };
        for (id, user) in users.iter() {
            user.cards.iter().for_each(|card| admin.cards.add(&card.id, id));
        }
        let pools = pools.into_iter().map(|(_, row)| Pool::new(row.figures)).collect();
        let ledger = Ledger {
            policy,
            admin: Mutex::new(admin),
            shared: ShardedLock::new(Shared { program: program.program, pools }),
            ids: Ids::new(store.id_seed(), index.named()),
            users: DashMap::with_hasher_and_shard_amount(hasher, SHARDS),
            shelves: Mutex::new(shelves),
            matching: std::array::from_fn(|_| Mutex::new(())),
            postings: Mutex::new(Postings::new(postings, noted)),
            keys: Mutex::new(keys),
            persons: Mutex::new(()),
            disk_low: AtomicBool::new(false),
            journal,
            store,
            latest: AtomicU64::new(program.at.0),
            tail: Mutex::new(Progress::at(watermark, sum)),
        };
        for (id, user) in users {
            ledger.users.insert(id, user);
        }
        Ok(ledger)
    }

    /// The journal: for metrics and for closing.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The operator's settings.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Gates approvals while the disk is nearly full.
    pub fn set_disk_low(&self, low: bool) {
        self.disk_low.store(low, Ordering::Release);
    }

    /// The time to stamp on a record: never before a time stamped already, whatever the clock says. An untrusted time
    /// is never stamped: a time too far ahead would hold back every later stamp and end limit periods early.
    fn stamp(&self, now: Moment) -> UnixMillis {
        if !now.trusted {
            return UnixMillis(self.latest.load(Ordering::Acquire));
        }
        UnixMillis(self.latest.fetch_max(now.at.0, Ordering::AcqRel).max(now.at.0))
    }
}
