//! Pools as they are reported, limited and credited.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::Sequence;
use crate::money::{Currency, Minor};

/// A pool's balance as reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReported {
    /// Which pool.
    pub currency: Currency,
    /// The balance.
    pub reported: Minor,
    /// Never to be spent.
    pub floor: Minor,
    /// Kept back from approvals.
    pub reserve: Minor,
    /// Debits up to this record are in the balance.
    pub reflected_through: Sequence,
    /// By how much `available` changes.
    pub available_change: Minor,
}

/// A pool's balance as UR reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSynced {
    /// Which pool.
    pub currency: Currency,
    /// The balance.
    pub reported: Minor,
    /// The last record before UR was asked: what was shown completed up to here is in the balance.
    pub seen_through: Sequence,
    /// By how much `available` changes.
    pub available_change: Minor,
    /// How much of the recorded credits the balance shows.
    pub credits_shown: Minor,
}

/// What is kept back in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolLimited {
    /// Which pool.
    pub currency: Currency,
    /// Never to be spent.
    pub floor: Minor,
    /// Kept back from approvals.
    pub reserve: Minor,
    /// By how much `available` changes.
    pub available_change: Minor,
}

/// A credit as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCredited {
    /// Which pool.
    pub currency: Currency,
    /// The credit.
    pub amount: Minor,
    /// The payment's reference.
    pub reference: CompactString,
    /// The part that counts at once: all of it with feeds off, nothing where UR's report must prove it first.
    pub counted: Minor,
}
