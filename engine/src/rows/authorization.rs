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

/// What one approved decision took and what of it still stands. An authorization and each of its increments is one, so
/// an increment adds exactly what it took, whatever was given back before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The record that approved it.
    pub sequence: Sequence,
    /// Its own id: the authorization's or an increment's.
    pub id: AuthorizationId,
    /// The approved amount, in the transaction currency.
    pub amount: Minor,
    /// What of it was neither given back nor settled.
    pub remaining: Minor,
    /// Taken for `amount`, in the currency paid in.
    pub paid: Minor,
    /// Francs it was counted with in velocity.
    pub spent: ChfMinor,
    /// Francs that count against the limit for it.
    pub limit: ChfMinor,
}

impl Draw {
    /// What stands held of it when `remaining` of its amount remains: `ceil(paid × remaining / amount)`.
    #[must_use]
    pub fn held_at(&self, remaining: Minor) -> Minor {
        self.paid.share_rounded_up(remaining.0, self.amount.0)
    }

    /// What it counts for in velocity when `remaining` of its amount remains.
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
    /// Where it stands.
    pub state: AuthorizationState,
    /// The account holder.
    pub user: UrId,
    /// The card.
    pub card: CardId,
    /// The transaction currency.
    pub currency: Currency,
    /// Where it is paid from, once approved.
    pub source: Option<Source>,
    /// The currency it is paid in.
    pub paid_currency: Currency,
    /// Approved in all: the authorization and its increments, in the transaction currency.
    pub authorized: Minor,
    /// Given back, in the transaction currency.
    pub returned: Minor,
    /// Given back on the word of UR's reversals and advices, in the currency paid in: UR's transactions will show it.
    pub announced: Minor,
    /// The approved decisions, oldest first.
    pub draws: SmallVec<[Draw; 1]>,
    /// Every record that concerns it, oldest first.
    pub events: SmallVec<[Sequence; 2]>,
    /// What UR's transactions did to it; boxed, because most have none yet.
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
    /// The row of what UR settled without asking us.
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
        // More on one that UR knows already leaves it known.
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

    /// What was approved in all, in the currency it is paid in.
    #[must_use]
    pub fn paid(&self) -> Minor {
        self.draws.iter().map(|draw| draw.paid).sum()
    }

    /// What was paid for the draws that count against the limit; those given back as never taken do not.
    #[must_use]
    pub fn paid_and_counted(&self) -> Minor {
        let counted = self.draws.iter().filter(|draw| !draw.limit.is_zero());
        counted.map(|draw| draw.paid).sum()
    }

    /// What UR has settled of it, in the currency paid in.
    #[must_use]
    pub fn captured(&self) -> Minor {
        self.posted.as_ref().map_or(Minor::ZERO, |posted| posted.captured)
    }

    /// What UR's transactions gave back before a callback announced it, in the transaction currency, rounded down.
    #[must_use]
    pub fn shown_before(&self) -> Minor {
        let shown = self.posted.as_ref().map_or(Minor::ZERO, |posted| posted.returned - self.announced);
        let paid = self.paid();
        if shown <= Minor::ZERO || paid.is_zero() {
            return Minor::ZERO;
        }
        let amount = i128::from(self.authorized.0) * i128::from(shown.0) / i128::from(paid.0);
        // More than any request is all of a request.
        Minor(i64::try_from(amount).unwrap_or(i64::MAX))
    }

    /// The id of the authorization itself, where it was approved.
    #[must_use]
    pub fn root_of_draws(&self) -> Option<&AuthorizationId> {
        self.draws.first().map(|draw| &draw.id)
    }

    /// What was neither given back nor settled, in the transaction currency.
    #[must_use]
    pub fn remaining(&self) -> Minor {
        self.draws.iter().map(|draw| draw.remaining).sum()
    }

    /// What stands held, in the currency it is paid in: the sum over its draws, nothing in the end.
    #[must_use]
    pub fn held(&self) -> Money {
        let held = self.draws.iter().map(|draw| draw.held_at(draw.remaining));
        Money { amount: held.sum(), currency: self.paid_currency }
    }

    /// Whether an increment of this request may be added to it.
    #[must_use]
    pub fn accepts(&self, request: &Request) -> bool {
        self.state.is_open() && self.is_of(request) && self.draws.len() < DRAWS_MAX
    }

    /// Whether what UR settled and gave back of it has room for one more amount each.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.posted
            .as_ref()
            .is_none_or(|posted| posted.captured.has_room() && posted.returned.has_room() && posted.refunded.has_room())
    }

    /// Whether the request is of the same user, card and currency.
    #[must_use]
    pub fn is_of(&self, request: &Request) -> bool {
        self.user == request.user && self.card == request.card && self.currency == request.currency
    }
}

/// What postings did to an authorization so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedTotals {
    /// The keys of all of them.
    pub seen: Vec<Fingerprint>,
    /// Taken by UR in all, in the currency paid in.
    pub captured: Minor,
    /// Given back by UR of what it had not taken: reversals, in the currency paid in.
    pub returned: Minor,
    /// Given back by UR of what it had taken.
    pub refunded: Minor,
}
