//! Lowers holds: by UR's reversals and advices, by the engine at the deadline, by an operator.

use std::sync::Arc;

use dashmap::mapref::entry::Entry as MapEntry;

use super::change::{ChangeError, not_found};
use super::commit::fold;
use super::{Ledger, Shared};
use crate::bytes::Fingerprint;
use crate::contract::limit::to_chf;
use crate::fact::{
    Author, AuthorizationState, DrawRelease, Fact, HoldReleased, PoolRelease, ReleaseCause, Request, Source,
};
use crate::ids::{AuthorizationId, Sequence};
use crate::journal::Ticket;
use crate::money::{ChfMinor, Minor};
use crate::rows::{Answer, Authorization, Draw, User};
use crate::time::{Moment, UnixMillis};

/// A planned release from an existing authorization.
struct ReleasePlan<'a> {
    row: &'a Authorization,
    user: Option<&'a User>,
    amount: Minor,
    /// This draw is released first; the others follow, oldest first. The oldest are the likeliest to be reflected in
    /// the pool's report already, so this never raises a pool too early.
    first: Option<Sequence>,
    /// UR never booked the authorization: the limit that its draws used is restored.
    unbooked: bool,
}

impl ReleasePlan<'_> {
    fn draws(&self) -> Vec<DrawRelease> {
        let mut left = self.amount;
        let mut order: Vec<&Draw> = self.row.draws.iter().collect();
        order.sort_by_key(|draw| Some(draw.sequence) != self.first);
        let mut draws = Vec::with_capacity(order.len());
        for draw in order {
            let amount = draw.remaining.min(left);
            let whole = self.unbooked && (self.first.is_none() || self.first == Some(draw.sequence));
            let unreflected = if whole { draw.limit } else { ChfMinor::ZERO };
            if amount.is_zero() && unreflected.is_zero() {
                continue;
            }
            left -= amount;
            let stays = draw.remaining - amount;
            let (held, held_after) = (draw.held_at(draw.remaining), draw.held_at(stays));
            let own = self.user.and_then(|user| user.holds().iter().find(|hold| hold.sequence == draw.sequence));
            let funds = own.map_or(Minor::ZERO, |hold| hold.funds);
            draws.push(DrawRelease {
                sequence: draw.sequence,
                amount,
                paid: held - held_after,
                funds: funds - funds.share_rounded_up(held_after.0, held.0),
                spent: draw.spent_at(draw.remaining) - draw.spent_at(stays),
                unreflected,
            });
        }
        draws
    }

    fn pool(&self, shared: &Shared, draws: &[DrawRelease]) -> Option<PoolRelease> {
        if self.row.source != Some(Source::Crypto) {
            return None;
        }
        let currency = self.row.paid_currency;
        let pool = shared.pool(currency)?;
        let sum = |draws: &mut dyn Iterator<Item = &DrawRelease>| draws.map(|draw| draw.paid).sum();
        Some(PoolRelease {
            currency,
            held: sum(&mut draws.iter()),
            available: sum(&mut draws.iter().filter(|draw| pool.is_unreflected(draw.sequence))),
        })
    }
}

impl Ledger {
    /// Releases for UR's reversal or advice, which is always acknowledged. An amount above the remaining one is
    /// clamped; a reversal before its authorization leaves a tombstone; another user, card or currency has no effect.
    pub(super) fn returned(
        &self,
        request: Request,
        fingerprint: Fingerprint,
        shared: &Shared,
        user: Option<&User>,
        root: Option<&Authorization>,
    ) -> Fact {
        let id = request.root().clone();
        let requested = request.amount;
        let ours = root.is_none_or(|row| row.is_of(&request));
        let cause = ReleaseCause::Requested { request: Box::new(request), fingerprint };
        let Some(row) = root.filter(|_| ours) else {
            let state = root.map_or(AuthorizationState::Tombstoned, |row| row.state);
            return nothing_returned(cause, id, state, !ours);
        };
        // Do not release again an amount that UR's transactions already released.
        let shown = row.shown_before().min(requested);
        let amount = (requested - shown).min(row.remaining());
        let held_something = !matches!(row.state, AuthorizationState::Declined | AuthorizationState::Tombstoned);
        let mismatch = held_something && requested - shown > row.remaining();
        let plan = ReleasePlan { row, user, amount, first: None, unbooked: false };
        let draws = plan.draws();
        let pool = plan.pool(shared, &draws);
        let limit_added = self.limit_used_again(shared, row, &draws);
        let state =
            if row.state.is_open() && amount == row.remaining() { AuthorizationState::Reversed } else { row.state };
        Fact::HoldReleased(Box::new(HoldReleased {
            cause,
            root: id,
            user: Some(row.user.clone()),
            amount,
            mismatch,
            state,
            draws,
            pool,
            limit_added,
        }))
    }

    /// The contract counts returned money as a use of the limit, too, at the rates of the day.
    fn limit_used_again(&self, shared: &Shared, row: &Authorization, draws: &[DrawRelease]) -> ChfMinor {
        let paid = draws.iter().map(|draw| draw.paid).sum::<Minor>();
        let by_rate = shared.program.rates.chf_rate(row.paid_currency).and_then(|rate| to_chf(paid, rate));
        let as_spent = || draws.iter().map(|draw| draw.spent).sum::<ChfMinor>();
        by_rate.unwrap_or_else(as_spent).times(self.policy.limit_weight)
    }

    /// Releases a decision that was not durable in time: its own draw only, whatever else its authorization holds.
    pub(super) fn late(
        id: &AuthorizationId,
        root: &AuthorizationId,
        answer: &Answer,
        shared: &Shared,
        user: Option<&User>,
        row: Option<&Authorization>,
    ) -> Fact {
        let cause = ReleaseCause::Late { id: id.clone() };
        let draw = row.and_then(|row| Some((row, row.draws.iter().find(|draw| draw.sequence == answer.decided)?)));
        let Some((row, draw)) = draw else {
            // A declined decision took nothing; only its answer changes.
            return nothing_returned(
                cause,
                root.clone(),
                row.map_or(AuthorizationState::Declined, |row| row.state),
                false,
            );
        };
        let amount = draw.amount.min(row.remaining());
        released(cause, root, &ReleasePlan { row, user, amount, first: Some(draw.sequence), unbooked: true }, shared)
    }

    /// Releases the whole remaining amount, by an operator or on expiry. The limit is restored only if UR never showed
    /// the authorization as booked.
    pub(super) fn given_up(
        cause: ReleaseCause,
        root: &AuthorizationId,
        shared: &Shared,
        user: Option<&User>,
        row: &Authorization,
    ) -> Fact {
        let unbooked = row.returned.is_zero() && row.posted.is_none();
        released(cause, root, &ReleasePlan { row, user, amount: row.remaining(), first: None, unbooked }, shared)
    }
}

fn released(cause: ReleaseCause, root: &AuthorizationId, plan: &ReleasePlan<'_>, shared: &Shared) -> Fact {
    let row = plan.row;
    let draws = plan.draws();
    let over = row.state.is_open() && plan.amount == row.remaining();
    // An authorization that UR settled in part and left to expire is cleared.
    let end = match (&cause, &row.posted) {
        (ReleaseCause::Expired, Some(posted)) if !posted.captured.is_zero() => AuthorizationState::Cleared,
        (ReleaseCause::Expired, _) => AuthorizationState::Expired,
        _ => AuthorizationState::Released,
    };
    Fact::HoldReleased(Box::new(HoldReleased {
        cause,
        root: root.clone(),
        user: Some(row.user.clone()),
        amount: plan.amount,
        mismatch: false,
        state: if over { end } else { row.state },
        pool: plan.pool(shared, &draws),
        draws,
        limit_added: ChfMinor::ZERO,
    }))
}

fn nothing_returned(cause: ReleaseCause, root: AuthorizationId, state: AuthorizationState, mismatch: bool) -> Fact {
    Fact::HoldReleased(Box::new(HoldReleased {
        cause,
        root,
        user: None,
        amount: Minor::ZERO,
        mismatch,
        state,
        draws: Vec::new(),
        pool: None,
        limit_added: ChfMinor::ZERO,
    }))
}

impl Ledger {
    pub(super) fn release(
        &self,
        author: &Author,
        at: UnixMillis,
        root: &AuthorizationId,
        cause: ReleaseCause,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let MapEntry::Occupied(mut row) = self.authorization(root)? else {
            return Err(not_found("authorization", root));
        };
        let row = row.get_mut();
        if !row.state.is_open() {
            return Err(ChangeError::Conflict(format!(
                "authorization {root} is {}: it holds nothing",
                row.state.name()
            )));
        }
        let mut user = self.users.get_mut(&row.user.clone());
        let fact = Self::given_up(cause, root, &shared, user.as_deref().map(|user| &**user), row);
        Ok(self.commit(shared, author, at, fact, |_, sequence, record| {
            if let Some(user) = &mut user {
                fold(&mut ***user, sequence, record);
            }
            fold(&mut **row, sequence, record);
        })?)
    }

    /// Expires an authorization that UR never settled, where nothing at UR contradicts that.
    ///
    /// # Errors
    /// There is no such authorization, or it holds nothing.
    pub fn expire(&self, root: &AuthorizationId, now: Moment) -> Result<Arc<Ticket>, ChangeError> {
        self.release(&Author::Engine, self.stamp(now), root, ReleaseCause::Expired)
    }
}
