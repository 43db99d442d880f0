//! Prefunds: from proposal to UR's credit.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Row, Stored};
use crate::fact::{Fact, PoolCredited, PrefundOrdered, PrefundProposed, PrefundSent, Record, Touches};
use crate::ids::{PrefundId, Sequence};
use crate::money::{Currency, Minor};
use crate::store::Table;
use crate::time::UnixMillis;

/// State of a prefund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrefundState {
    /// Awaits approval.
    Proposed,
    /// Approved; may be sent.
    Approved,
    /// The order to UR was sent, or is about to be: whether money has left is unknown until UR answers.
    Ordered,
    /// The money is on its way.
    Sent,
    /// The money is on its way past the expected time.
    Overdue,
    /// The credit was below the amount sent.
    Short,
    /// Credited in full.
    Credited,
    Cancelled,
}

impl PrefundState {
    /// Every state.
    pub const ALL: &[PrefundState] = &[
        PrefundState::Proposed,
        PrefundState::Approved,
        PrefundState::Ordered,
        PrefundState::Sent,
        PrefundState::Overdue,
        PrefundState::Short,
        PrefundState::Credited,
        PrefundState::Cancelled,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PrefundState::Proposed => "proposed",
            PrefundState::Approved => "approved",
            PrefundState::Ordered => "ordered",
            PrefundState::Sent => "sent",
            PrefundState::Overdue => "overdue",
            PrefundState::Short => "short",
            PrefundState::Credited => "credited",
            PrefundState::Cancelled => "cancelled",
        }
    }
}

/// A step in a prefund's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundStep {
    pub at: UnixMillis,
    /// A person's name, or `engine`.
    pub by: CompactString,
}

/// A top-up of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefund {
    /// The last record folded into this row.
    pub sequence: Sequence,
    pub id: PrefundId,
    pub currency: Currency,
    /// The expected credit.
    pub amount: Minor,
    /// The reference that the credit will carry; unique among a pool's open prefunds.
    pub reference: CompactString,
    /// The `requestId` of the calls to UR; `None` where a person sent the money.
    pub request_id: Option<CompactString>,
    /// `None` is never overdue.
    pub expected_at: Option<UnixMillis>,
    /// `None` where a person sent the money without a proposal.
    pub proposed: Option<PrefundStep>,
    /// `None` without a proposal, or before approval.
    pub approved: Option<PrefundStep>,
    /// The order to UR; `None` where a person sent the money.
    pub ordered: Option<(PrefundStep, PrefundOrdered)>,
    pub sent: Option<PrefundStep>,
    /// The amount credited so far.
    pub credited: Minor,
    /// Time of the last credit.
    pub credited_at: Option<UnixMillis>,
    /// The cancellation and its reason.
    pub cancelled: Option<(PrefundStep, CompactString)>,
}

impl Row for Prefund {
    type Key = PrefundId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = PrefundId> {
        touches.prefund.into_iter()
    }

    fn touches_unnamed(touches: &Touches<'_>) -> bool {
        touches.credit.is_some()
    }

    fn open(id: &PrefundId, sequence: Sequence, record: &Record) -> Option<Prefund> {
        let Record { at, author, fact } = record;
        let step = || Some(PrefundStep { at: *at, by: author.name().into() });
        let begun = |currency, amount, reference: &CompactString, expected_at| Prefund {
            sequence,
            id: *id,
            currency,
            amount,
            reference: reference.clone(),
            request_id: None,
            expected_at,
            proposed: None,
            approved: None,
            ordered: None,
            sent: None,
            credited: Minor::ZERO,
            credited_at: None,
            cancelled: None,
        };
        match fact {
            Fact::PrefundProposed(proposed) => {
                let PrefundProposed { currency, amount, reference, request_id, expected_at } = &**proposed;
                let prefund = begun(*currency, *amount, reference, *expected_at);
                Some(Prefund { request_id: Some(request_id.clone()), proposed: step(), ..prefund })
            }
            Fact::PrefundSent(sent) if sent.proposal.is_none() => {
                let PrefundSent { currency, amount, reference, expected_at, .. } = &**sent;
                Some(Prefund { sent: step(), ..begun(*currency, *amount, reference, *expected_at) })
            }
            _ => None,
        }
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A closed prefund does not change.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        let Record { at, author, fact } = record;
        if sequence <= self.sequence || !self.is_open() {
            return;
        }
        let step = || PrefundStep { at: *at, by: author.name().into() };
        match fact {
            Fact::PrefundApproved { .. } => self.approved = Some(step()),
            Fact::PrefundOrdered(ordered) => self.ordered = Some((step(), (**ordered).clone())),
            Fact::PrefundSent(sent) => {
                // A repeated report of the transfer only changes the expectation.
                self.sent.get_or_insert_with(step);
                self.amount = sent.amount;
                self.reference = sent.reference.clone();
                self.expected_at = sent.expected_at;
            }
            Fact::PrefundCancelled { reason, .. } => self.cancelled = Some((step(), reason.clone())),
            Fact::PoolCredited(credit) if self.awaits(credit) => {
                self.credited += credit.amount;
                self.credited_at = Some(*at);
            }
            _ => return,
        }
        self.sequence = sequence;
    }

    /// A short prefund stays open until the rest is credited or a person cancels it.
    fn is_open(&self) -> bool {
        self.cancelled.is_none() && self.credited < self.amount
    }
}

impl Stored for Prefund {
    const TABLE: Table = Table::Prefunds;
}

impl Prefund {
    /// The state at `now`.
    #[must_use]
    pub fn state(&self, now: UnixMillis) -> PrefundState {
        if self.cancelled.is_some() {
            PrefundState::Cancelled
        } else if self.credited >= self.amount {
            PrefundState::Credited
        } else if self.credited > Minor::ZERO {
            PrefundState::Short
        } else if self.sent.is_some() {
            let is_late = self.expected_at.is_some_and(|expected| expected < now);
            if is_late { PrefundState::Overdue } else { PrefundState::Sent }
        } else if self.ordered.is_some() {
            PrefundState::Ordered
        } else if self.approved.is_some() {
            PrefundState::Approved
        } else {
            PrefundState::Proposed
        }
    }

    /// Whether the money was sent and nothing was credited. Excludes the rest of a short prefund: a deducted fee does
    /// not arrive.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.sent.is_some() && self.is_open() && self.credited.is_zero()
    }

    /// Whether a credit belongs to this prefund, at any stage: a credit that names it proves that it was sent.
    #[must_use]
    pub fn awaits(&self, credit: &PoolCredited) -> bool {
        self.is_open() && self.currency == credit.currency && self.is_named(&credit.reference)
    }

    /// Whether a payment's reference names this prefund: by its own reference, or by the `requestId`, which people saw
    /// before UR assigned another reference.
    #[must_use]
    pub fn is_named(&self, reference: &str) -> bool {
        self.reference == reference || self.request_id.as_deref() == Some(reference)
    }
}
