//! Prefunds: top-ups of a pool, from proposal to UR's credit.
//!
//! A prefund is a promise, not money: the available figure rises by credits (`PoolCredited`) and reports, never by
//! money on its way.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{PrefundId, UrId};
use crate::money::{Currency, Minor};
use crate::time::UnixMillis;

/// The longest reference or request id, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 128;

/// A proposed top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundProposed {
    pub currency: Currency,
    /// The expected credit.
    pub amount: Minor,
    /// The reference that the credit will carry.
    pub reference: CompactString,
    /// The `requestId` of the calls to UR. It is durable before the first call, and every retry repeats it.
    pub request_id: CompactString,
    /// Expected time of the credit, if sent at once.
    pub expected_at: Option<UnixMillis>,
}

/// An order to UR for an approved top-up. With the proposal's `requestId` it is the whole call, so that every retry is
/// identical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundOrdered {
    /// The proposal that the order executes.
    pub id: PrefundId,
    /// The base URL of UR's API: another instance does not know the `requestId`.
    pub base_url: CompactString,
    /// The address of the partner's key that signs the call; UR scopes the `requestId` to it.
    pub partner: CompactString,
    /// The ops account, both debited and credited.
    pub account: UrId,
    /// UR's token of the pool's currency.
    pub token: CompactString,
    /// The payment, in millionths of a USDC.
    pub paid: Minor,
    /// UR's quote for `paid`, in smallest units of the pool's currency.
    pub quoted: Minor,
}

/// A sent top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundSent {
    /// The executed proposal; `None` where a person reports the transfer.
    pub proposal: Option<PrefundId>,
    pub currency: Currency,
    /// The expected credit: UR's quote, or the person's figure.
    pub amount: Minor,
    /// The reference that the credit will carry.
    pub reference: CompactString,
    /// Expected time of the credit; `None` is never overdue.
    pub expected_at: Option<UnixMillis>,
}
