//! The ledger: memory that decides, and the journal it is the fold of.
//!
//! **Locks, in their one order:** `admin` (changes by people, one at a time) or `postings` (UR's transactions, one at a
//! time) → `program` (what all decisions share;
//! read by decisions through a sharded lock, written only by changes to the program itself) → `answers` → `authorizations`
//! → `users` → `breaks`, `alerts`, `prefunds`, `cursors` or `closures`, one of them at a time. Never two guards in one map, never
//! one across an await: nothing here is async.
//!
//! **Order of change:** what lowers a pool's available figure changes memory first and then claims its place in the
//! journal; what raises one claims first. Whoever spends what was raised claims later, so every durable prefix of the
//! journal is a legal state. Rows of users and authorizations change under their guards, where order cannot be seen.

mod alerts;
mod book;
mod cards;
mod change;
mod closures;
mod cursors;
mod decide;
mod fold;
mod gather;
mod lists;
mod prefunds;
mod query;
mod returns;
mod rows;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use crossbeam::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use dashmap::DashMap;

pub use alerts::AlertChange;
pub use book::Booking;
pub use change::{Change, ChangeError, Receipt, Reflected};
pub use closures::ClosureChange;
pub use cursors::CursorChange;
pub use decide::{GaveUp, Refusal, Reply, Submission};
pub use fold::{Program, State};
pub use lists::Page;
pub use prefunds::PrefundChange;
pub use query::Found;
pub use rows::RowsWritten;

use crate::account::{FundingPolicy, User};
use crate::authorization::{Answer, Authorization};
use crate::closure::Closures;
use crate::controls::Controls;
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::journal::{Journal, OnFailure, Store, StoreError, Word};
use crate::money::Currency;
use crate::pool::Pool;
use crate::time::{Moment, UnixMillis};

/// Shards of each map: with so many, two cores meet on a lock in less than one of a thousand decisions.
const SHARDS: usize = 1024;

/// How long an answered id and its authorization stay in memory once their rows are on disk: longer than UR retries.
const KEPT_IN_MEMORY_MILLIS: u64 = 15 * 60 * 1000;

/// What the operator configured: the same for every decision of a run.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which source pays.
    pub funding: FundingPolicy,
    /// Prefer FIAT while the pool is below its reserve.
    pub protect_runway: bool,
    /// How often a use counts against the client limit: 0, 1 or 2.
    pub limit_weight: u8,
    /// Our own addition to cross-currency holds, in hundredths of a percent.
    pub fx_buffer_bps: u16,
    /// Approve less than was asked, where UR allows it.
    pub partial_approval: bool,
    /// Rates older than this price nothing; `None`: figures set by people do not age.
    pub rates_max_age_seconds: Option<u64>,
    /// Reports of users and pools older than this are not decided on; `None` as above.
    pub state_max_age_seconds: Option<u64>,
    /// A recorded credit counts at once, because no report of UR's will prove it.
    pub credits_count_at_once: bool,
    /// Controls on every transaction.
    pub controls: Controls,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            funding: FundingPolicy::Crypto,
            protect_runway: false,
            limit_weight: 1,
            fx_buffer_bps: 0,
            partial_approval: false,
            rates_max_age_seconds: None,
            state_max_age_seconds: None,
            credits_count_at_once: true,
            controls: Controls::default(),
        }
    }
}

/// An answered id in memory, with the word of its record.
#[derive(Debug)]
struct AnswerSlot {
    answer: Answer,
    /// `None` once loaded from disk: durable.
    word: Option<Arc<Word>>,
}

/// What every decision shares.
struct Shared {
    program: Program,
    pools: Vec<Pool>,
}

impl Shared {
    fn pool(&self, currency: Currency) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.currency() == currency)
    }
}

/// What only changes by people need.
struct Admin {
    keys: fold::Keys,
    cards: cards::Cards,
}

/// The ledger.
pub struct Ledger {
    policy: Policy,
    admin: Mutex<Admin>,
    shared: ShardedLock<Shared>,
    // Boxed: a map that grows moves pointers, not rows.
    answers: DashMap<AuthorizationId, Box<AnswerSlot>, RandomState>,
    authorizations: DashMap<AuthorizationId, Box<Authorization>, RandomState>,
    users: DashMap<UrId, Box<User>, RandomState>,
    breaks: Mutex<book::Breaks>,
    alerts: Mutex<alerts::Alerts>,
    prefunds: Mutex<prefunds::Prefunds>,
    cursors: Mutex<cursors::Cursors>,
    closures: Mutex<Closures>,
    /// Where transactions were booked, as far as the disk does not know it yet.
    postings: Mutex<fold::Postings>,
    journal: Journal,
    store: Arc<dyn Store>,
    /// The latest time stamped on a record.
    latest: AtomicU64,
    tail: Mutex<rows::Tail>,
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
    /// A ledger over recovered rows, appending to `store` behind them. `hash_seed` keeps the maps' layout from being
    /// guessed; benches fix it.
    ///
    /// # Errors
    /// The store cannot be read, or the journal's thread cannot be started.
    pub fn start(
        store: Arc<dyn Store>,
        recovered: State,
        policy: Policy,
        hash_seed: u64,
        on_failure: OnFailure,
    ) -> Result<Ledger, StoreError> {
        let journal = Journal::start(Arc::clone(&store), on_failure)?;
        let hasher =
            RandomState::with_seeds(hash_seed, !hash_seed, hash_seed.rotate_left(17), hash_seed.rotate_left(41));
        let watermark = store.watermark()?;
        let State {
            users,
            authorizations,
            answers,
            pools,
            program,
            breaks,
            postings,
            alerts,
            prefunds,
            cursors,
            closures,
        } = recovered;
        let mut admin = Admin { keys: program.keys, cards: cards::Cards::new(hasher.clone()) };
        for (id, user) in &users {
            user.cards.iter().for_each(|card| admin.cards.add(&card.id, id));
        }
        let pools = pools.into_values().map(|row| Pool::new(row.figures)).collect();
        let ledger = Ledger {
            policy,
            admin: Mutex::new(admin),
            shared: ShardedLock::new(Shared { program: program.program, pools }),
            answers: DashMap::with_hasher_and_shard_amount(hasher.clone(), SHARDS),
            authorizations: DashMap::with_hasher_and_shard_amount(hasher.clone(), SHARDS),
            users: DashMap::with_hasher_and_shard_amount(hasher, SHARDS),
            breaks: Mutex::new(book::Breaks(breaks)),
            alerts: Mutex::new(alerts),
            prefunds: Mutex::new(prefunds),
            cursors: Mutex::new(cursors),
            closures: Mutex::new(closures),
            postings: Mutex::new(postings),
            journal,
            store,
            latest: AtomicU64::new(program.at.0),
            tail: Mutex::new(rows::Tail::at(watermark)),
        };
        for (id, user) in users {
            ledger.users.insert(id, Box::new(user));
        }
        for (id, authorization) in authorizations {
            ledger.authorizations.insert(id, Box::new(authorization));
        }
        for (id, answer) in answers {
            ledger.answers.insert(id, Box::new(AnswerSlot { answer, word: None }));
        }
        Ok(ledger)
    }

    /// The journal, for its figures and to close it.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What the operator configured.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The time to stamp on a record: never before any record's, whatever the clock says. A time that is not trusted is
    /// stamped on none: it would stand in the way of the right one, and end every limit period before it.
    fn stamp(&self, now: Moment) -> UnixMillis {
        if !now.trusted {
            return UnixMillis(self.latest.load(Ordering::Acquire));
        }
        UnixMillis(self.latest.fetch_max(now.at.0, Ordering::AcqRel).max(now.at.0))
    }

    fn lock_admin(&self) -> MutexGuard<'_, Admin> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_breaks(&self) -> MutexGuard<'_, book::Breaks> {
        self.breaks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_alerts(&self) -> MutexGuard<'_, alerts::Alerts> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_prefunds(&self) -> MutexGuard<'_, prefunds::Prefunds> {
        self.prefunds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_cursors(&self) -> MutexGuard<'_, cursors::Cursors> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_closures(&self) -> MutexGuard<'_, Closures> {
        self.closures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_postings(&self) -> MutexGuard<'_, fold::Postings> {
        self.postings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_shared(&self) -> ShardedLockReadGuard<'_, Shared> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no decision runs. From then on the journal's last claimed place and memory agree exactly.
    fn stop_decisions(&self) -> ShardedLockWriteGuard<'_, Shared> {
        self.shared.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything up to `sequence` is durable.
    fn await_durable(&self, sequence: Sequence) -> Result<(), StoreError> {
        while self.journal.durable() < sequence {
            if self.journal.has_failed() {
                return Err(StoreError::Failed("the journal has failed".to_owned()));
            }
            std::thread::park_timeout(std::time::Duration::from_micros(100));
        }
        Ok(())
    }
}
