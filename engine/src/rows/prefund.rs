//! Prefunds: from the day they are proposed until UR has credited them.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::fact::{Fact, PoolCredited, PrefundOrdered, PrefundProposed, PrefundSent, Record, Touches};
use crate::ids::{PrefundId, Sequence};
use crate::money::{Currency, Minor};
use crate::store::Table;
use crate::time::UnixMillis;

/// Where a prefund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrefundState {
    /// Nobody has approved it.
    Proposed,
    /// It may be sent.
    Approved,
    /// UR was asked for it, or is about to be: whether money has left is not known before UR answers.
    Ordered,
    /// On its way.
    Sent,
    /// On its way for longer than expected.
    Overdue,
    /// Less was credited than was sent.
    Short,
    /// All of it was credited.
    Credited,
    /// Given up.
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

/// Something that was done to a prefund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefundStep {
    /// When.
    pub at: UnixMillis,
    /// Who: a person's name, or `engine`.
    pub by: CompactString,
}

/// One top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefund {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// Which it is.
    pub id: PrefundId,
    /// Which pool.
    pub currency: Currency,
    /// What the pool is to be credited.
    pub amount: Minor,
    /// What the credit will name; no two open prefunds of a pool have the same.
    pub reference: CompactString,
    /// The `requestId` of the calls to UR; `None` where a person sent it.
    pub request_id: Option<CompactString>,
    /// When the credit is expected.
    pub expected_at: Option<UnixMillis>,
    /// `None` where a person sent it without a proposal.
    pub proposed: Option<PrefundStep>,
    /// `None` as above, or as long as nobody has.
    pub approved: Option<PrefundStep>,
    /// Once it is asked of UR, and what is; `None` where a person sent it.
    pub ordered: Option<(PrefundStep, PrefundOrdered)>,
    /// Once it was.
    pub sent: Option<PrefundStep>,
    /// What was credited of it so far.
    pub credited: Minor,
    /// When something was last credited.
    pub credited_at: Option<UnixMillis>,
    /// Once it was given up, and why.
    pub cancelled: Option<(PrefundStep, CompactString)>,
}

impl Row for Prefund {
    const TABLE: Table = Table::Prefunds;
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

    /// A prefund that is over stays as it is.
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
                // Said again, it is only expected otherwise.
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

    /// What is short waits for the rest, or for a person to give that up.
    fn is_open(&self) -> bool {
        self.cancelled.is_none() && self.credited < self.amount
    }
}

impl Prefund {
    /// Where it stands at `now`.
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

    /// Whether it was sent and nothing of it was credited. The rest of a short one is not counted on: a fee that was
    /// taken off does not come.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.sent.is_some() && self.is_open() && self.credited.is_zero()
    }

    /// Whether a credit is this one's. Whatever stage it is at: a credit that names it proves that it was sent.
    #[must_use]
    pub fn awaits(&self, credit: &PoolCredited) -> bool {
        self.is_open() && self.currency == credit.currency && self.is_named(&credit.reference)
    }

    /// Whether a payment's reference names it: its own, or the `requestId`, which people were told before UR gave it another.
    #[must_use]
    pub fn is_named(&self, reference: &str) -> bool {
        self.reference == reference || self.request_id.as_deref() == Some(reference)
    }
}
