//! An authorization from its first request to its end.

use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::Row;
use super::legal::Broken;
use crate::bytes::Fingerprint;
use crate::fact::{
    AuthorizationState, DRAWS_MAX, Decided, Effect, Fact, HoldReleased, Kind, Posted, Record, ReleaseCause, Request,
    Source, Touches, Verdict,
};
use crate::ids::{AuthorizationId, CardId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::store::Table;

/// The amounts that one approved decision took, and their remaining part. An authorization and each of its increments
/// is a draw of its own, so an increment adds exactly its own amount, whatever was released before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The record of the approval.
    pub sequence: Sequence,
    /// The id of the decision: the authorization's or an increment's.
    pub id: AuthorizationId,
    /// The approved amount, in the transaction currency.
    pub amount: Minor,
    /// The part of `amount` neither released nor settled.
    pub remaining: Minor,
    /// Taken for `amount`, in the currency paid in.
    pub paid: Minor,
    /// Francs counted by velocity.
    pub spent: ChfMinor,
    /// Francs counted against the limit.
    pub limit: ChfMinor,
}

impl Draw {
    /// The held amount when `remaining` of `amount` remains: `ceil(paid × remaining / amount)`.
    #[must_use]
    pub fn held_at(&self, remaining: Minor) -> Minor {
        self.paid.share_rounded_up(remaining.0, self.amount.0)
    }

    /// The francs counted by velocity when `remaining` of `amount` remains.
    #[must_use]
    pub fn spent_at(&self, remaining: Minor) -> ChfMinor {
        self.spent.share_rounded_up(remaining.0, self.amount.0)
    }
}

/// The row of a root authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The last record folded into this row.
    pub sequence: Sequence,
    pub state: AuthorizationState,
    pub user: UrId,
    pub card: CardId,
    /// The transaction currency.
    pub currency: Currency,
    /// `None` until approved.
    pub source: Option<Source>,
    pub paid_currency: Currency,
    /// Approved in total: the authorization and its increments, in the transaction currency.
    pub authorized: Minor,
    /// Released, in the transaction currency.
    pub returned: Minor,
    /// Released on UR's reversals and advices, in the currency paid in: UR's transactions will show it.
    pub announced: Minor,
    /// The approved decisions, oldest first.
    pub draws: SmallVec<[Draw; 1]>,
    /// Every record that touched the authorization, oldest first.
    pub events: SmallVec<[Sequence; 2]>,
    /// Totals of UR's postings; boxed, because most authorizations have none yet.
    pub posted: Option<Box<PostedTotals>>,
}

impl Row for Authorization {
    const TABLE: Table = Table::Authorizations;
    const LOADED_AT_START: bool = false;
    type Key = AuthorizationId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = AuthorizationId> {
        touches.root.cloned().into_iter()
    }

    fn open(_: &AuthorizationId, sequence: Sequence, record: &Record) -> Option<Authorization> {
        let (request, state) = match &record.fact {
            Fact::Decided(decided) if decided.request.kind == Kind::Authorization => {
                (&decided.request, AuthorizationState::Declined)
            }
            Fact::HoldReleased(returned) => match &returned.cause {
                ReleaseCause::Requested { request, .. } => (&**request, AuthorizationState::Tombstoned),
                ReleaseCause::Late { .. } | ReleaseCause::Person { .. } | ReleaseCause::Expired => return None,
            },
            Fact::Posted(booked) => return Some(Authorization::posted(sequence, booked)),
            _ => return None,
        };
        let mut row = Authorization {
            sequence: Sequence::ZERO,
            state,
            user: request.user.clone(),
            card: request.card.clone(),
            currency: request.currency,
            source: None,
            paid_currency: request.currency,
            authorized: Minor::ZERO,
            returned: Minor::ZERO,
            announced: Minor::ZERO,
            draws: SmallVec::new(),
            events: SmallVec::new(),
            posted: None,
        };
        row.apply(sequence, record);
        Some(row)
    }

    fn check(&self, _: &Fact) -> Result<(), Broken> {
        self.check_figures()
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence <= self.sequence {
            return;
        }
        match &record.fact {
            Fact::Decided(decided) => self.decided(sequence, decided),
            Fact::HoldReleased(returned) => self.give_back(returned),
            Fact::Posted(booked) => self.post(booked),
            _ => return,
        }
        self.events.push(sequence);
        self.sequence = sequence;
    }
}

impl Authorization {
    /// The row of a settlement without an authorization.
    fn posted(sequence: Sequence, booked: &Posted) -> Authorization {
        let mut row = Authorization {
            sequence: Sequence::ZERO,
            state: booked.state,
            user: booked.posting.user.clone(),
            card: CardId::unknown(),
            currency: booked.posting.amount.currency,
            source: booked.source,
            paid_currency: booked.posting.amount.currency,
            authorized: Minor::ZERO,
            returned: Minor::ZERO,
            announced: Minor::ZERO,
            draws: SmallVec::new(),
            events: smallvec![sequence],
            posted: None,
        };
        row.post(booked);
        row.sequence = sequence;
        row
    }

    fn decided(&mut self, sequence: Sequence, decided: &Decided) {
        let Verdict::Approved(approval) = &decided.verdict else { return };
        // An increment on a confirmed authorization leaves it confirmed.
        if !self.state.is_open() {
            self.state = AuthorizationState::Approved;
        }
        self.source = Some(approval.source);
        self.paid_currency = approval.paid.currency;
        self.authorized += approval.amount;
        self.draws.push(Draw {
            sequence,
            id: decided.request.id.clone(),
            amount: approval.amount,
            remaining: approval.amount,
            paid: approval.paid.amount,
            spent: approval.spent,
            limit: approval.limit,
        });
    }

    fn give_back(&mut self, returned: &HoldReleased) {
        if let ReleaseCause::Requested { request, .. } = &returned.cause
            && !returned.mismatch
        {
            let paid = self.paid().share_rounded_up(request.amount.0, self.authorized.0);
            self.announced += paid;
        }
        self.returned += returned.amount;
        self.state = returned.state;
        for given in &returned.draws {
            if let Some(draw) = self.draws.iter_mut().find(|draw| draw.sequence == given.sequence) {
                draw.remaining -= given.amount;
                draw.limit -= given.unreflected;
            }
        }
    }

    fn post(&mut self, booked: &Posted) {
        self.state = booked.state;
        for lost in &booked.draws {
            if let Some(draw) = self.draws.iter_mut().find(|draw| draw.sequence == lost.sequence) {
                draw.remaining -= lost.amount;
                draw.limit -= lost.unreflected;
            }
            if lost.is_back {
                self.returned += lost.amount;
            }
        }
        let posted = self.posted.get_or_insert_default();
        posted.seen.push(booked.posting.key());
        posted.captured += booked.captured;
        let back = if booked.effect == Effect::Refunded { &mut posted.refunded } else { &mut posted.returned };
        *back += booked.given_back;
    }

    /// The total approved, in the currency paid in.
    #[must_use]
    pub fn paid(&self) -> Minor {
        self.draws.iter().map(|draw| draw.paid).sum()
    }

    /// The amount paid for draws that count against the limit, without draws released as never taken.
    #[must_use]
    pub fn paid_and_counted(&self) -> Minor {
        let counted = self.draws.iter().filter(|draw| !draw.limit.is_zero());
        counted.map(|draw| draw.paid).sum()
    }

    /// The amount that UR has settled, in the currency paid in.
    #[must_use]
    pub fn captured(&self) -> Minor {
        self.posted.as_ref().map_or(Minor::ZERO, |posted| posted.captured)
    }

    /// The amount that UR's transactions returned before a callback announced it, in the transaction currency, rounded
    /// down.
    #[must_use]
    pub fn shown_before(&self) -> Minor {
        let shown = self.posted.as_ref().map_or(Minor::ZERO, |posted| posted.returned - self.announced);
        let paid = self.paid();
        if shown <= Minor::ZERO || paid.is_zero() {
            return Minor::ZERO;
        }
        let amount = i128::from(self.authorized.0) * i128::from(shown.0) / i128::from(paid.0);
        // Saturating: an amount above any request covers the whole request.
        Minor(i64::try_from(amount).unwrap_or(i64::MAX))
    }

    /// The id of the authorization itself, if approved.
    #[must_use]
    pub fn root_of_draws(&self) -> Option<&AuthorizationId> {
        self.draws.first().map(|draw| &draw.id)
    }

    /// The amount neither released nor settled, in the transaction currency.
    #[must_use]
    pub fn remaining(&self) -> Minor {
        self.draws.iter().map(|draw| draw.remaining).sum()
    }

    /// The held amount, in the currency paid in: the sum over the draws, zero at the end.
    #[must_use]
    pub fn held(&self) -> Money {
        let held = self.draws.iter().map(|draw| draw.held_at(draw.remaining));
        Money { amount: held.sum(), currency: self.paid_currency }
    }

    /// Whether the authorization accepts this increment.
    #[must_use]
    pub fn accepts(&self, request: &Request) -> bool {
        self.state.is_open() && self.is_of(request) && self.draws.len() < DRAWS_MAX
    }

    /// Whether the settled and returned totals have room for one more amount each.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.posted
            .as_ref()
            .is_none_or(|posted| posted.captured.has_room() && posted.returned.has_room() && posted.refunded.has_room())
    }

    /// Whether the request names the same user, card and currency.
    #[must_use]
    pub fn is_of(&self, request: &Request) -> bool {
        self.user == request.user && self.card == request.card && self.currency == request.currency
    }
}

/// Totals of the postings on an authorization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedTotals {
    /// The keys of the postings.
    pub seen: Vec<Fingerprint>,
    /// Total taken by UR, in the currency paid in.
    pub captured: Minor,
    /// Reversed by UR before settlement, in the currency paid in.
    pub returned: Minor,
    /// Refunded by UR after settlement, in the currency paid in.
    pub refunded: Minor,
}
