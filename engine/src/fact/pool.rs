//! Reports, limits and credits of pools.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::Sequence;
use crate::money::{Currency, Minor};

/// A pool's balance as reported by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReported {
    pub currency: Currency,
    pub reported: Minor,
    /// The part that must never be spent.
    pub floor: Minor,
    /// The part that approvals must leave.
    pub reserve: Minor,
    /// The balance reflects debits up to this record.
    pub reflected_through: Sequence,
    pub available_change: Minor,
}

/// A pool's balance as UR reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSynced {
    pub currency: Currency,
    pub reported: Minor,
    /// The last record before the request to UR: the balance includes everything shown completed up to it.
    pub seen_through: Sequence,
    pub available_change: Minor,
    /// The recorded credits that the balance now includes.
    pub credits_shown: Minor,
}

/// A pool's floor and reserve, set without a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolLimited {
    pub currency: Currency,
    /// The part that must never be spent.
    pub floor: Minor,
    /// The part that approvals must leave.
    pub reserve: Minor,
    pub available_change: Minor,
}

/// A recorded credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCredited {
    pub currency: Currency,
    pub amount: Minor,
    pub reference: CompactString,
    /// The part available at once: all of it with feeds off, nothing where UR's report must prove it first.
    pub counted: Minor,
}
