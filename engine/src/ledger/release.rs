//! Ends holds and notes returns: by UR's reversals and advices, by the engine at the deadline, by an operator.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use smallvec::SmallVec;

use super::change::{ChangeError, not_found};
use super::commit::fold;
use super::settle::Books;
use super::{Ledger, Shared};
use crate::bytes::Fingerprint;
use crate::contract::limit::to_chf;
use crate::fact::{
    Announced, Author, BreakAnswer, Closing, EndCause, Ended, Evidence, Fact, Flow, Kind, Mismatch, Movement, Overdue,
    Request, Source,
};
use crate::ids::{AuthorizationId, Sequence};
use crate::journal::Ticket;
use crate::money::{ChfMinor, Minor, Money};
use crate::rows::{Authorization, User};
use crate::rules::standing;
use crate::time::{Moment, UnixMillis};

impl Ledger {
    /// Notes UR's reversal or advice, which is always acknowledged. An amount above the approved one is clamped; a
    /// reversal before its authorization leaves a tombstone; another user, card or currency has no effect.
    pub(super) fn announced(
        &self,
        request: Request,
        fingerprint: Fingerprint,
        shared: &Shared,
        user: Option<&User>,
        id: &AuthorizationId,
        root: Option<&Authorization>,
    ) -> Fact {
        let books = Books { shared, user, policy: &self.policy };
        let mismatch = root.and_then(|row| mismatch(row, &request));
        let room = root.map_or(Minor::ZERO, |row| row.authorized() - row.settlement().announced);
        let asked = if request.amount.is_zero() { Minor(1) } else { request.amount };
        let counted = if mismatch.is_none() { asked.min(room) } else { Minor::ZERO };
        let used = |row: &Authorization, announced| self.limit_used_again(shared, row, announced);
        let (limit, limit_max) = match (root, &mismatch) {
            (Some(row), None) => (used(row, asked), used(row, row.settlement().announced + counted)),
            _ => (ChfMinor::ZERO, ChfMinor::ZERO),
        };
        let mut announced =
            Announced { request, fingerprint, counted, released: Minor::ZERO, limit, limit_max, mismatch };
        if let Some(row) = root {
            // What is held is recorded: only a return of what UR took needs to be worked out.
            let releases = !row.held().amount.is_zero() || self.lowers_debit(row, &announced);
            announced.released = if releases { counted } else { Minor::ZERO };
        }
        Fact::Settled(Box::new(books.settled(id, root, Evidence::Announced(Box::new(announced)))))
    }

    fn lowers_debit(&self, row: &Authorization, announced: &Announced) -> bool {
        let mut after = row.clone();
        after.note(row.sequence, &Evidence::Announced(Box::new(announced.clone())));
        standing(&after, self.policy.tolerance).owed < standing(row, self.policy.tolerance).owed
    }

    /// The contract counts returned money as a use of the limit, too, at the rates of the day.
    fn limit_used_again(&self, shared: &Shared, row: &Authorization, announced: Minor) -> ChfMinor {
        let authorized = row.authorized();
        let stays = row.paid().share_rounded_up((authorized - announced).max(Minor::ZERO).0, authorized.0);
        let paid = row.paid() - stays;
        let by_rate = shared.program.rates.chf_rate(row.paid_currency).and_then(|rate| to_chf(paid, rate));
        let as_spent = || {
            let spent: ChfMinor = row.draws.iter().map(|draw| draw.spent).sum();
            spent.share_rounded_up(announced.min(authorized).0, authorized.0)
        };
        by_rate.unwrap_or_else(as_spent).times(self.policy.limit_weight)
    }

    /// Ends a decision that was not durable in time: its own draw only, whatever else its authorization holds.
    pub(super) fn late(
        &self,
        id: &AuthorizationId,
        root: &AuthorizationId,
        decided: Sequence,
        shared: &Shared,
        user: Option<&User>,
        row: Option<&Authorization>,
    ) -> Fact {
        let books = Books { shared, user, policy: &self.policy };
        let draws = row.into_iter().flat_map(|row| &row.draws).map(|draw| draw.sequence);
        // An id that was answered is never decided again as an authorization.
        let of_increment = id != root || row.is_none_or(|row| !row.is_decided);
        let ended = Ended {
            cause: EndCause::Late { id: id.clone(), decided, of_increment },
            draws: draws.filter(|draw| *draw == decided).collect(),
            despite: Vec::new(),
        };
        Fact::Settled(Box::new(books.settled(root, row, Evidence::Ended(ended))))
    }

    pub(super) fn release(
        &self,
        author: &Author,
        at: UnixMillis,
        root: &AuthorizationId,
        cause: EndCause,
    ) -> Result<Arc<Ticket>, ChangeError> {
        self.settle_known(author, at, root, |row, _| {
            if !row.can_end() {
                let state = row.state.name();
                return Err(ChangeError::Conflict(format!("authorization {root} is {state}: it holds nothing")));
            }
            Ok(Evidence::Ended(all_ended(row, cause)))
        })
    }

    /// Expires an authorization that UR never settled, where nothing at UR contradicts that.
    ///
    /// # Errors
    /// There is no such authorization, or it holds nothing.
    pub fn expire(&self, root: &AuthorizationId, now: Moment) -> Result<Arc<Ticket>, ChangeError> {
        self.release(&Author::Engine, self.stamp(now), root, EndCause::Expired)
    }

    /// Notes that UR has not shown in time what it was to show.
    ///
    /// # Errors
    /// There is no such authorization, or nothing of it is due.
    pub fn note_overdue(
        &self,
        root: &AuthorizationId,
        overdue: Overdue,
        now: Moment,
    ) -> Result<Arc<Ticket>, ChangeError> {
        self.settle_known(&Author::Engine, self.stamp(now), root, |row, _| {
            let standing = standing(row, self.policy.tolerance);
            let due = match overdue {
                Overdue::Return => standing.awaited,
                Overdue::Settlement => standing.pending,
                Overdue::Listing => standing.held,
            };
            if due.is_zero() {
                return Err(ChangeError::Conflict(format!("authorization {root} awaits no {}", overdue.name())));
            }
            Ok(Evidence::Overdue(overdue))
        })
    }

    /// Debits the user for a movement that no decision stands behind.
    ///
    /// # Errors
    /// There is no such movement, or the user is debited already.
    pub fn charge(&self, root: &AuthorizationId, now: Moment) -> Result<Arc<Ticket>, ChangeError> {
        self.close_question(&Author::Engine, self.stamp(now), root, Closing::Charged, None)
    }

    /// Notes that UR lists the account of a hold again.
    ///
    /// # Errors
    /// There is no such authorization, or UR did not refuse.
    pub fn note_listed(&self, root: &AuthorizationId, now: Moment) -> Result<Arc<Ticket>, ChangeError> {
        self.close_question(&Author::Engine, self.stamp(now), root, Closing::Listed, None)
    }

    /// Notes a person's, or a rule's, word about a question that UR leaves open.
    pub(super) fn close_question(
        &self,
        author: &Author,
        at: UnixMillis,
        root: &AuthorizationId,
        closing: Closing,
        answer: Option<BreakAnswer>,
    ) -> Result<Arc<Ticket>, ChangeError> {
        self.settle_known(author, at, root, |row, books| {
            let standing = standing(row, self.policy.tolerance);
            let owed = if closing == Closing::Charged { books.owed_at_last(row) } else { Vec::new() };
            let is_asked = match closing {
                Closing::WillCome | Closing::WrittenOff => !standing.awaited.is_zero(),
                Closing::Listed => row.settlement().is_overdue(Overdue::Listing),
                Closing::Charged if row.settlement().is_charged && owed.is_empty() => {
                    return Err(ChangeError::Conflict(format!("authorization {root} is charged already")));
                }
                Closing::Charged if answer.is_some() && owed.is_empty() && !is_debitable(row) => {
                    let why = "the user's funds do not pay for it, so there is nothing to debit";
                    return Err(ChangeError::Conflict(format!("authorization {root}: {why}")));
                }
                Closing::Charged => row.is_alone() && !(standing.taken + standing.pending).is_zero(),
            };
            if is_asked {
                Ok(Evidence::Closed { closing, owed, answer })
            } else {
                Err(ChangeError::Conflict(format!("authorization {root} leaves no such question open")))
            }
        })
    }

    /// Commits new evidence on a known authorization.
    fn settle_known(
        &self,
        author: &Author,
        at: UnixMillis,
        root: &AuthorizationId,
        evidence: impl FnOnce(&Authorization, &Books<'_>) -> Result<Evidence, ChangeError>,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let key = self.ids.key(root);
        let mut places = self.place((key, root))?;
        let row = places.authorization(key).ok_or_else(|| not_found("authorization", root))?;
        let mut user = self.users.get_mut(&row.user.clone());
        let books = Books { shared: &shared, user: user.as_deref().map(|user| &**user), policy: &self.policy };
        let evidence = evidence(row, &books)?;
        let settled = books.settled(root, Some(row), evidence);
        if !books.is_legal(Some(row), &settled) {
            return Err(ChangeError::Conflict(format!("what {root} then owes is beyond every figure")));
        }
        let fact = Fact::Settled(Box::new(settled));
        Ok(self.commit(shared, author, at, fact, |_, sequence, record| {
            let touches = record.fact.touches(sequence);
            if let Some(user) = user.as_mut().filter(|_| touches.user.is_some()) {
                fold(&mut ***user, sequence, record);
            }
            fold(row, sequence, record);
            self.apply_breaks(&touches, sequence, record);
        })?)
    }
}

impl Books<'_> {
    /// What the user's funds owe for movements that had no rate, or no funds, when UR showed them.
    fn owed_at_last(&self, row: &Authorization) -> Vec<(Fingerprint, Money)> {
        let unpriced = row.settlement().movements.iter().filter(|movement| movement.funds.is_none());
        let debits = unpriced.filter(|movement| row.source == Some(Source::Crypto) && movement.flow == Flow::Out);
        let owed = |money: Money| self.movement_rates(money.currency, row.paid_currency, false).owed(money);
        debits.filter_map(|movement| Some((movement.key, owed(movement.amount)?))).collect()
    }
}

/// The end of everything that an authorization still holds.
fn all_ended(row: &Authorization, cause: EndCause) -> Ended {
    let pending = row.settlement().movements.iter().filter(|movement| movement.flow == Flow::Out);
    let draws: SmallVec<[Sequence; 1]> = row.draws.iter().map(|draw| draw.sequence).collect();
    let despite = pending.filter(|movement| movement.progress.is_unsettled()).map(|movement| movement.key).collect();
    Ended { cause, draws, despite }
}

/// Whether the partner debits the user for a movement that no decision stands behind: UR itself debits fiat balances.
fn is_debitable(row: &Authorization) -> bool {
    let with_funds = |movement: &Movement| movement.flow == Flow::Out && movement.funds.is_some();
    row.source == Some(Source::Crypto) && row.settlement().movements.iter().any(with_funds)
}

/// The first field in which a reversal or an advice contradicts its authorization.
fn mismatch(row: &Authorization, request: &Request) -> Option<Mismatch> {
    let differs =
        |field: &str, ours: CompactString, theirs: CompactString| Some(Mismatch { field: field.into(), ours, theirs });
    if row.user != request.user {
        return differs("user", row.user.as_str().into(), request.user.as_str().into());
    }
    if !row.is_decided && !row.is_tombstone {
        // UR's movements came first, and name no card.
        return None;
    }
    if row.card != request.card {
        return differs("card", row.card.as_str().into(), request.card.as_str().into());
    }
    if row.currency != request.currency {
        return differs("currency", row.currency.as_str().into(), request.currency.as_str().into());
    }
    if !row.settlement().has_room() {
        return differs("evidence", format_compact!("{}", row.settlement().evidence), "more".into());
    }
    let approved = row.authorized();
    if request.kind == Kind::Advice && request.amount > row.requested && !approved.is_zero() {
        return differs("advice", format_compact!("{approved}"), format_compact!("{}", request.amount));
    }
    None
}
