//! Prefunds: top-ups of a pool, from the day they are proposed until UR has credited them.
//!
//! A prefund is a promise and no money: what approvals may take rises by what is credited (`PoolCredited`) or reported,
//! never by what is on its way.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{PrefundId, UrId};
use crate::money::{Currency, Minor};
use crate::time::UnixMillis;

/// The longest reference or request id, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 128;

/// A top-up as it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundProposed {
    /// Which pool.
    pub currency: Currency,
    /// What the pool is to be credited.
    pub amount: Minor,
    /// What the credit will name.
    pub reference: CompactString,
    /// The `requestId` of the calls to UR. It is on the disk before the first of them, and every retry repeats it.
    pub request_id: CompactString,
    /// When the credit is expected, if it is sent at once.
    pub expected_at: Option<UnixMillis>,
}

/// What is asked of UR for an approved top-up. With the `requestId` of its proposal it is the whole call, so that every
/// retry is the very same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundOrdered {
    /// The proposal that it carries out.
    pub id: PrefundId,
    /// The UR that is asked, by the base URL of its API. Another one knows nothing of the `requestId`.
    pub base_url: CompactString,
    /// The address of the partner's key that signs the call, to whom the `requestId` belongs.
    pub partner: CompactString,
    /// The ops account that pays and is credited.
    pub account: UrId,
    /// The pool's currency as UR's tokens name it.
    pub token: CompactString,
    /// What is paid, in millionths of a USDC.
    pub paid: Minor,
    /// What UR's quote gives for it, in smallest units of the pool's currency.
    pub quoted: Minor,
}

/// A top-up as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundSent {
    /// The proposal it carries out; `None` where a person says that money was sent.
    pub proposal: Option<PrefundId>,
    /// Which pool.
    pub currency: Currency,
    /// What the pool is to be credited: UR's quote, or what the person says.
    pub amount: Minor,
    /// What the credit will name.
    pub reference: CompactString,
    /// When the credit is expected; one that nobody expects at any time is never overdue.
    pub expected_at: Option<UnixMillis>,
}
