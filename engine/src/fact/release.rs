//! Releases: lower a hold before UR settles it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{AuthorizationState, Request};
use crate::bytes::Fingerprint;
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor};

/// A reversal, an advice or a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    pub cause: ReleaseCause,
    pub root: AuthorizationId,
    /// The account holder whose row changes; `None` where nothing was held.
    pub user: Option<UrId>,
    /// Released, in the transaction currency.
    pub amount: Minor,
    /// The request exceeded the remaining amount, or named another user, card or currency than the authorization's.
    pub mismatch: bool,
    /// The authorization's state after the release.
    pub state: AuthorizationState,
    /// Oldest first.
    pub draws: Vec<DrawRelease>,
    /// The part released to a pool.
    pub pool: Option<PoolRelease>,
    /// UR's reversal uses the limit again, as the contract does (docs/ur-facts.md, "What reversals do").
    pub limit_added: ChfMinor,
}

/// The cause of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseCause {
    /// UR's reversal or advice.
    Requested {
        request: Box<Request>,
        /// Hash of the request's bytes, to recognize a repeat.
        fingerprint: Fingerprint,
    },
    /// The decision was not durable in time; its answer becomes `deadline_exceeded`.
    Late {
        /// The id of the decision: an authorization's or an increment's.
        id: AuthorizationId,
    },
    /// A person released the hold.
    Person { reason: CompactString },
    /// UR did not settle the authorization within its time.
    Expired,
}

/// The part released of one draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawRelease {
    /// The record that approved the draw.
    pub sequence: Sequence,
    /// In the transaction currency.
    pub amount: Minor,
    /// In the currency paid in.
    pub paid: Minor,
    /// Released of the user's funds, where still held.
    pub funds: Minor,
    /// No longer counted by velocity.
    pub spent: ChfMinor,
    /// No longer counted against the limit (only use that UR never booked).
    pub unreflected: ChfMinor,
}

/// The part released to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRelease {
    pub currency: Currency,
    /// Subtracted from `held`.
    pub held: Minor,
    /// Added to `available`: only the part that no report provably reflects.
    pub available: Minor,
}
