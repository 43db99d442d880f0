//! Releases: what lowers a hold before UR settles it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{AuthorizationState, Request};
use crate::bytes::Fingerprint;
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor};

/// A reversal, an advice or a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    /// Why.
    pub cause: ReleaseCause,
    /// The root authorization.
    pub root: AuthorizationId,
    /// The account holder whose row it changes; `None` where nothing was held.
    pub user: Option<UrId>,
    /// Given back, in the transaction currency.
    pub amount: Minor,
    /// Asked for more than remained, or for another user, card or currency than the authorization's.
    pub mismatch: bool,
    /// The state of the authorization after it.
    pub state: AuthorizationState,
    /// Per draw, oldest first.
    pub draws: Vec<DrawRelease>,
    /// What a pool gets back.
    pub pool: Option<PoolRelease>,
    /// UR's own reversal uses the limit again, as the contract does (docs/ur-facts.md, "What reversals do").
    pub limit_added: ChfMinor,
}

/// Why something is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseCause {
    /// UR's reversal or advice.
    Requested {
        /// The callback.
        request: Box<Request>,
        /// Of its bytes, to know it again.
        fingerprint: Fingerprint,
    },
    /// The decision was not durable in time; it is answered `deadline_exceeded`.
    Late {
        /// The decision's own id.
        id: AuthorizationId,
    },
    /// A person released the hold.
    Person {
        /// As the person gave it.
        reason: CompactString,
    },
    /// UR never settled it, and it is long ago.
    Expired,
}

/// What one draw gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawRelease {
    /// The record that took it.
    pub sequence: Sequence,
    /// Of its amount, in the transaction currency.
    pub amount: Minor,
    /// Of the amount paid.
    pub paid: Minor,
    /// Of the user's funds, where they are still held.
    pub funds: Minor,
    /// No longer counted by velocity.
    pub spent: ChfMinor,
    /// No longer counted against the limit (only what UR never booked).
    pub unreflected: ChfMinor,
}

/// What a pool gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRelease {
    /// Which pool.
    pub currency: Currency,
    /// Leaves `held`.
    pub held: Minor,
    /// Returns to `available`: only the part that no report is proven to reflect.
    pub available: Minor,
}
