//! The floors as they were first built. They stay as they are, so that a ratio of today stands beside one of last month.

use std::sync::atomic::AtomicI64;

use ahash::RandomState;
use compact_str::CompactString;
use dashmap::{DashMap, Entry};
use tapgate_bench::{take, ur_id};
use tapgate_engine::fact::Request;
use tapgate_engine::ids::{AuthorizationId, UrId};

/// What every decision must do at least: find the user, check and raise the limit, take from a pool, insert the id.
pub(crate) struct Floor {
    users: DashMap<CompactString, (i64, i64), RandomState>,
    answers: DashMap<CompactString, u64, RandomState>,
    pool: AtomicI64,
}

impl Floor {
    pub(crate) fn new(users: u64) -> Floor {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let floor = Floor {
            users: DashMap::with_hasher_and_shard_amount(hasher.clone(), 1_024),
            answers: DashMap::with_hasher_and_shard_amount(hasher, 1_024),
            pool: AtomicI64::new(i64::MAX / 2),
        };
        for index in 0..users {
            floor.users.insert(ur_id(index).into(), (0, i64::MAX / 2));
        }
        floor
    }

    pub(crate) fn decide(&self, user: &str, id: CompactString, amount: i64) -> bool {
        let Some(mut row) = self.users.get_mut(user) else { return false };
        if row.0 + amount > row.1 {
            return false;
        }
        if !take(&self.pool, amount) {
            return false;
        }
        row.0 += amount;
        self.answers.insert(id, 1).is_none()
    }
}

/// The floor of whoever remembers as much as the engine does: rows of the engine's sizes, the request encoded and
/// fingerprinted, a record. Nothing is judged, explained or hashed.
pub(crate) struct Remembering {
    users: DashMap<UrId, Box<Account>, RandomState>,
    answers: DashMap<AuthorizationId, Box<[u64; 11]>, RandomState>,
    authorizations: DashMap<AuthorizationId, Box<[u64; 22]>, RandomState>,
    pool: AtomicI64,
}

struct Account {
    used: i64,
    limit: i64,
    /// The rest of a user's row, all of which a decision looks at.
    others: [u64; 17],
    spend_and_hold: Option<Box<[u64; 26]>>,
}

/// Bytes of a record beside its request: the values seen and the verdict.
const VALUES_BYTES: usize = 120;

impl Remembering {
    pub(crate) fn new(users: u64) -> Remembering {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let floor = Remembering {
            users: DashMap::with_hasher_and_shard_amount(hasher.clone(), 1_024),
            answers: DashMap::with_hasher_and_shard_amount(hasher.clone(), 1_024),
            authorizations: DashMap::with_hasher_and_shard_amount(hasher, 1_024),
            pool: AtomicI64::new(i64::MAX / 2),
        };
        for index in 0..users {
            let account = Account { used: 0, limit: i64::MAX / 2, others: [1; 17], spend_and_hold: None };
            floor.users.insert(ur_id(index).parse().expect("an id"), Box::new(account));
        }
        floor
    }

    /// The record, where it is approved.
    pub(crate) fn decide(&self, request: &Request) -> Option<Vec<u8>> {
        let mut record = Vec::with_capacity(320);
        record = postcard::to_extend(request, record).ok()?;
        let fingerprint = blake3::hash(&record);
        let Entry::Vacant(answer) = self.answers.entry(request.id.clone()) else { return None };
        let Entry::Vacant(root) = self.authorizations.entry(request.id.clone()) else { return None };
        let mut account = self.users.get_mut(&request.user)?;
        if account.used + request.amount.0 > account.limit || !take(&self.pool, request.amount.0) {
            return None;
        }
        record.extend_from_slice(fingerprint.as_bytes());
        record.extend_from_slice(&[1; VALUES_BYTES]);
        account.used += request.amount.0;
        account.spend_and_hold = Some(Box::new([account.others.iter().sum(); 26]));
        root.insert(Box::new([1; 22]));
        answer.insert(Box::new([1; 11]));
        Some(record)
    }
}
