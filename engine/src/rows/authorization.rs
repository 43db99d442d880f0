//! An authorization from its first request to its end: its draws, the evidence on it, and what was recorded of both.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Row;
use super::legal::Broken;
use super::settlement::{Layer, Settlement};
use crate::fact::{
    AuthorizationState, DRAWS_MAX, Decided, Difference, Ended, Evidence, Fact, Kind, Movement, Progress, Record,
    Request, Source, Touches, Upcharge, Verdict,
};
use crate::ids::{AuthorizationId, CardId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor, Money};

/// What one approved decision took. An authorization and each of its increments is a draw of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The record of the approval.
    pub sequence: Sequence,
    /// The id of the decision: the authorization's or an increment's.
    pub id: AuthorizationId,
    pub source: Source,
    /// The approved amount, in the transaction currency. An authorization of zero is a draw of 1 for 1.
    pub amount: Minor,
    /// Taken for `amount`.
    pub paid: Money,
    /// Francs counted by velocity at the approval.
    pub spent: ChfMinor,
    /// Francs counted against the limit at the approval.
    pub limit: ChfMinor,
    /// Held from the user's funds at the approval.
    pub funds: Option<Money>,
    /// Held in addition, even where it is nothing of nothing: increments have its percentage. Boxed, because most draws
    /// have none.
    pub upcharge: Option<Box<DrawUpcharge>>,
    /// We ended it: late, released or expired.
    pub is_ended: bool,
    /// Francs that velocity counts now.
    pub counted: ChfMinor,
    /// What it claims now.
    pub layer: Layer,
}

/// What is held above a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawUpcharge {
    /// Of the approved amount.
    pub percent: u8,
    /// At the approval.
    pub approved: Upcharge,
    /// Now.
    pub held: Upcharge,
}

impl Draw {
    /// What was held above it at the approval.
    #[must_use]
    pub fn upcharge(&self) -> Upcharge {
        self.upcharge.as_ref().map_or(Upcharge::default(), |upcharge| upcharge.approved)
    }

    /// What may be taken above a part of it.
    #[must_use]
    pub(crate) fn upcharge_on(&self, part: Minor) -> Minor {
        self.upcharge().paid.share_rounded_up(part.0, self.paid.amount.0)
    }

    /// What is held above it now.
    #[must_use]
    pub fn upcharge_held(&self) -> Upcharge {
        self.upcharge.as_ref().map_or(Upcharge::default(), |upcharge| upcharge.held)
    }

    /// The held amount when `remaining` of `amount` remains: `ceil(paid × remaining / amount)`.
    #[must_use]
    pub fn held_at(&self, remaining: Minor) -> Minor {
        self.paid.amount.share_rounded_up(remaining.0, self.amount.0)
    }
}

/// The row of a root authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The last record folded into this row: each record names the one before it.
    pub sequence: Sequence,
    pub state: AuthorizationState,
    pub user: UrId,
    pub card: CardId,
    /// The transaction currency.
    pub currency: Currency,
    /// `None` until approved, or until a movement without a decision is paid.
    pub source: Option<Source>,
    pub paid_currency: Currency,
    /// UR reversed it before it was decided: it is declined for ever.
    pub is_tombstone: bool,
    /// Its own request was decided.
    pub is_decided: bool,
    /// Requested in total: the authorization and its increments, in the transaction currency.
    pub requested: Minor,
    /// The approved decisions, oldest first.
    pub draws: SmallVec<[Draw; 1]>,
    /// Evidence after the decision; boxed, because most authorizations have none yet.
    pub settlement: Option<Box<Settlement>>,
}

impl Row for Authorization {
    type Key = AuthorizationId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = AuthorizationId> {
        touches.root.cloned().into_iter().chain(touches.other_root.cloned())
    }

    fn open(_: &AuthorizationId, sequence: Sequence, record: &Record) -> Option<Authorization> {
        let mut row = match &record.fact {
            Fact::Decided(decided) if decided.request.kind == Kind::Authorization => {
                Authorization::of_request(&decided.request, AuthorizationState::Declined)
            }
            Fact::Settled(settled) => match &settled.evidence {
                Evidence::Announced(announced) => {
                    Authorization::of_request(&announced.request, AuthorizationState::Tombstoned)
                }
                Evidence::Shown(shown) => {
                    Authorization::of_movement(&shown.posting.user, shown.posting.amount.currency)
                }
                Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } | Evidence::Linked(_) => {
                    return None;
                }
            },
            _ => return None,
        };
        row.fold(sequence, record);
        row.sequence = sequence;
        Some(row)
    }

    fn check(&self, _: &Fact) -> Result<(), Broken> {
        self.check_figures()
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence {
            self.fold(sequence, record);
            self.sequence = sequence;
        }
    }
}

impl Authorization {
    /// An empty row for a request's root.
    pub(crate) fn of_request(request: &Request, state: AuthorizationState) -> Authorization {
        Authorization {
            sequence: Sequence::ZERO,
            state,
            user: request.user.clone(),
            card: request.card.clone(),
            currency: request.currency,
            source: None,
            paid_currency: request.currency,
            is_tombstone: state == AuthorizationState::Tombstoned,
            is_decided: false,
            requested: Minor::ZERO,
            draws: SmallVec::new(),
            settlement: None,
        }
    }

    /// An empty row for a movement without an authorization.
    pub(crate) fn of_movement(user: &UrId, currency: Currency) -> Authorization {
        Authorization {
            sequence: Sequence::ZERO,
            state: AuthorizationState::ForcePosted,
            user: user.clone(),
            card: CardId::unknown(),
            currency,
            source: None,
            paid_currency: currency,
            is_tombstone: false,
            is_decided: false,
            requested: Minor::ZERO,
            draws: SmallVec::new(),
            settlement: None,
        }
    }

    fn fold(&mut self, sequence: Sequence, record: &Record) {
        match &record.fact {
            Fact::Decided(decided) => {
                self.decide(sequence, decided);
                if let Some(change) = &decided.settled {
                    self.change(sequence, change, 0);
                }
            }
            Fact::Settled(settled) => match &settled.evidence {
                // One record changes both roots: the one that has the movements gives them up.
                Evidence::Linked(linked) if self.has(&linked.movements) => {
                    self.give_up(&linked.movements, &settled.root);
                    self.change(sequence, &linked.change, settled.change.opened.len());
                }
                evidence => {
                    self.note(sequence, evidence);
                    self.change(sequence, &settled.change, 0);
                }
            },
            _ => {}
        }
    }

    /// Adds a decision as its verdict says, as if there were no evidence.
    pub(crate) fn decide(&mut self, sequence: Sequence, decided: &Decided) {
        let request = &decided.request;
        if request.kind == Kind::Authorization {
            self.is_decided = true;
            (self.card, self.currency) = (request.card.clone(), request.currency);
            if self.draws.is_empty() && self.settlement.is_none() && !self.is_tombstone {
                self.state = AuthorizationState::Declined;
            }
        }
        let Verdict::Approved(approval) = &decided.verdict else { return };
        // An increment on a confirmed authorization leaves it confirmed.
        if !self.state.is_open() {
            self.state = AuthorizationState::Approved;
        }
        self.source = Some(approval.source);
        self.paid_currency = approval.paid.currency;
        self.requested += request.amount.max(Minor(1));
        let funds = approval.funds;
        self.draws.push(Draw {
            sequence,
            id: request.id.clone(),
            source: approval.source,
            amount: approval.amount.max(Minor(1)),
            paid: approval.paid,
            spent: approval.spent,
            limit: approval.limit,
            funds,
            upcharge: (decided.inputs.upcharge_percent != 0).then(|| {
                let (percent, approved) = (decided.inputs.upcharge_percent, approval.upcharge);
                Box::new(DrawUpcharge { percent, approved, held: approved })
            }),
            is_ended: false,
            counted: approval.spent,
            layer: Layer {
                sequence,
                held: approval.paid.amount,
                limit: approval.limit,
                shown: ChfMinor::ZERO,
                debit: funds.map_or(Minor::ZERO, |funds| funds.amount),
                currency: funds.map_or(approval.paid.currency, |funds| funds.currency),
                number: 1,
            },
        });
    }

    /// Adds evidence; no figure changes.
    pub(crate) fn note(&mut self, sequence: Sequence, evidence: &Evidence) {
        if let Evidence::Ended(Ended { draws, .. }) = evidence {
            for draw in self.draws.iter_mut().filter(|draw| draws.contains(&draw.sequence)) {
                draw.is_ended = true;
            }
        }
        if let Evidence::Announced(announced) = evidence
            && self.draws.is_empty()
            && !self.is_decided
            && announced.mismatch.is_none()
        {
            self.is_tombstone = true;
        }
        let first = match evidence {
            Evidence::Shown(shown) => Some(shown.posting.amount.currency),
            Evidence::Linked(linked) => linked.movements.first().map(|movement| movement.amount.currency),
            Evidence::Announced(_) | Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } => None,
        };
        if let Some(first) = first {
            self.paid_currency = self.paid_in(first);
        }
        let paid_in = self.paid_currency;
        self.settlement_mut().note(sequence, paid_in, evidence);
    }

    /// Adds the differences of a record, of whose breaks so many are another root's.
    pub(crate) fn change(&mut self, sequence: Sequence, change: &Difference, breaks_before: usize) {
        self.state = change.state;
        if self.source.is_none() {
            self.source = change.source;
        }
        for layer in &change.layers {
            let at = layer.sequence.unwrap_or(sequence);
            if let Some(draw) = self.draws.iter_mut().find(|draw| draw.sequence == at) {
                draw.layer.change(layer);
                if let Some(upcharge) = &mut draw.upcharge {
                    upcharge.held += layer.upcharge;
                }
                draw.counted += layer.spent;
            } else {
                self.settlement_mut().change_layer(at, layer);
            }
        }
        self.settlement_mut().change(sequence, change, breaks_before);
    }

    /// The currency that movements are kept in: where nothing was approved, that of the first, because nothing says what a
    /// declined request would have been paid in.
    pub(crate) fn paid_in(&self, first: Currency) -> Currency {
        if self.draws.is_empty() && !self.is_shown() { first } else { self.paid_currency }
    }

    fn has(&self, movements: &[Movement]) -> bool {
        movements.iter().any(|movement| self.settlement().movement(movement.key).is_some())
    }

    /// Removes movements that another root takes over; no figure changes.
    pub(crate) fn give_up(&mut self, movements: &[Movement], to: &AuthorizationId) {
        self.settlement_mut().give_up(movements, to);
    }

    fn settlement_mut(&mut self) -> &mut Settlement {
        self.settlement.get_or_insert_default()
    }

    /// Whether its movements stand alone: no decision of ours stands behind them, and none was declined.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.draws.is_empty() && !self.is_decided && !self.is_tombstone
    }

    /// The evidence and what was recorded of it.
    #[must_use]
    pub fn settlement(&self) -> &Settlement {
        self.settlement.as_deref().unwrap_or(Settlement::NONE)
    }

    /// Every layer that claims something, oldest first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.draws.iter().map(|draw| &draw.layer).chain(&self.settlement().layers)
    }

    /// The total approved, in the transaction currency.
    #[must_use]
    pub fn authorized(&self) -> Minor {
        self.draws.iter().map(|draw| draw.amount).sum()
    }

    /// The total approved, in the currency paid in.
    #[must_use]
    pub fn paid(&self) -> Minor {
        self.draws.iter().map(|draw| draw.paid.amount).sum()
    }

    /// The amount that UR has settled, in the currency paid in.
    #[must_use]
    pub fn captured(&self) -> Minor {
        self.settlement().taken
    }

    /// The id of the authorization itself, if approved.
    #[must_use]
    pub fn root_of_draws(&self) -> Option<&AuthorizationId> {
        self.draws.first().map(|draw| &draw.id)
    }

    /// What the source still claims, in the currency paid in.
    #[must_use]
    pub fn held(&self) -> Money {
        Money { amount: self.layers().map(|layer| layer.held).sum(), currency: self.paid_currency }
    }

    /// What is held above the approved amounts.
    #[must_use]
    pub fn upcharge(&self) -> Upcharge {
        let mut sum = Upcharge::default();
        self.draws.iter().for_each(|draw| sum += draw.upcharge_held());
        sum
    }

    /// Whether there is something to end: it is open, or holds something. Of a tip that is pending by itself, the upcharge
    /// stays held though the bill was taken.
    #[must_use]
    pub fn can_end(&self) -> bool {
        self.state.is_open() || !self.held().amount.is_zero() || !self.upcharge().paid.is_zero()
    }

    /// Whether UR showed a movement of it, with whatever status.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.settlement.as_ref().is_some_and(|settlement| settlement.is_shown())
    }

    /// Whether UR showed a movement of it with a status that is understood.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        let settlement = self.settlement();
        settlement.sums.count > 0 || settlement.movements.iter().any(|shown| shown.progress > Progress::Shown)
    }

    /// Whether the authorization accepts this increment.
    #[must_use]
    pub fn accepts(&self, request: &Request) -> bool {
        self.state.is_open() && !self.draws.is_empty() && self.is_of(request) && self.draws.len() < DRAWS_MAX
    }

    /// Whether the request names the same user, card and currency.
    #[must_use]
    pub fn is_of(&self, request: &Request) -> bool {
        self.user == request.user && self.card == request.card && self.currency == request.currency
    }
}
