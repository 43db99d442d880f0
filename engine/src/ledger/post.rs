//! Posts UR's transactions on our authorizations.

use std::sync::Arc;

use dashmap::mapref::entry::Entry as MapEntry;

use super::change::{ChangeError, in_range};
use super::commit::{fold, fold_into};
use super::{Ledger, Shared};
use crate::contract::limit::to_chf;
use crate::fact::{
    Author, BreakKind, Discrepancy, DrawPosting, Effect, Fact, Flow, FundingPolicy, Posted, Posting, Source,
    SourcePosting,
};
use crate::ids::{AuthorizationId, Sequence};
use crate::journal::Ticket;
use crate::money::{ChfMinor, Currency, Minor, Money, ROOM_MAX};
use crate::rows::encoding::load;
use crate::rows::{Authorization, PostingRow, Shelf, User};
use crate::rules::{Judged, Tolerance, judge, unmatched_id};
use crate::store::StoreError;
use crate::time::Moment;

/// Result of posting a transaction.
#[derive(Clone, Debug)]
pub struct PostingReceipt {
    /// The authorization that the transaction was posted on.
    pub root: AuthorizationId,
    pub effect: Effect,
    /// Number of breaks that the posting opened.
    pub breaks: usize,
    /// Resolved once the posting is durable.
    pub ticket: Arc<Ticket>,
}

impl Ledger {
    /// Posts a UR transaction on the matched authorization, or on one of its own. `None`: the transaction is already
    /// posted, or is still pending and matches nothing.
    ///
    /// # Errors
    /// The posting had no effect; the feed will deliver the transaction again.
    pub fn post(
        &self,
        posting: &Posting,
        matched: Option<&AuthorizationId>,
        tolerance: Tolerance,
        now: Moment,
    ) -> Result<Option<PostingReceipt>, ChangeError> {
        in_range("amount", posting.amount.amount)?;
        let own = unmatched_id(posting).ok_or_else(|| ChangeError::Invalid("a transaction needs a name".to_owned()))?;
        // Held to the end: two concurrent deliveries of one transaction post it once.
        let mut postings = self.lock_postings();
        let known = self.posted_on_locked(&postings, posting)?;
        let root = known.or_else(|| matched.cloned()).unwrap_or(own);
        let shared = self.read_shared();
        let place = self.authorization(&root)?;
        if let MapEntry::Occupied(row) = &place
            && row.get().user != posting.user
        {
            return Err(ChangeError::Invalid(format!("{root} is another account's than {}", posting.user)));
        }
        let row = match &place {
            MapEntry::Occupied(row) => Some(&**row.get()),
            MapEntry::Vacant(_) => None,
        };
        let Some(judged) = judge(posting, row, tolerance) else {
            // A row fetched only for this check is on disk and need not stay in memory.
            if let MapEntry::Occupied(row) = place
                && row.get().sequence <= self.store.watermark()?
            {
                row.remove();
            }
            return Ok(None);
        };
        let owner = row.map_or(&posting.user, |row| &row.user).clone();
        let mut user = self.users.get_mut(&owner);
        let at = self.stamp(now);
        let owned = user.as_deref().map(|user| &**user);
        let booked = self.posted(posting, root.clone(), row, owned, &shared, judged);
        let booked = if has_room(&booked, row, owned, &shared) { booked } else { beyond_bounds(booked, row) };
        let (effect, breaks) = (booked.effect, booked.breaks.len());
        let fact = Fact::Posted(Box::new(booked));
        let ticket = self.commit(shared, &Author::Ur, at, fact, |_, sequence, record| {
            if let Some(user) = &mut user {
                fold(&mut ***user, sequence, record);
            }
            fold_into(place, sequence, record);
            let touches = record.fact.touches(sequence);
            postings.apply(&touches, sequence, record);
            if !touches.breaks.is_empty() {
                self.lock_shelves().apply(&touches, sequence, record);
            }
        })?;
        Ok(Some(PostingReceipt { root, effect, breaks, ticket }))
    }

    /// The authorization that a transaction was posted on.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn posted_on(&self, posting: &Posting) -> Result<Option<AuthorizationId>, StoreError> {
        self.posted_on_locked(&self.lock_postings(), posting)
    }

    fn posted_on_locked(
        &self,
        postings: &Shelf<PostingRow>,
        posting: &Posting,
    ) -> Result<Option<AuthorizationId>, StoreError> {
        let place = posting.place();
        if let Some(row) = postings.get(&place) {
            return Ok(Some(row.root.clone()));
        }
        let row: Option<PostingRow> = load(&*self.store, &place)?;
        Ok(row.map(|row| row.root))
    }

    fn posted(
        &self,
        posting: &Posting,
        root: AuthorizationId,
        row: Option<&Authorization>,
        user: Option<&User>,
        shared: &Shared,
        judged: Judged,
    ) -> Posted {
        let Judged { effect, state, mut draws, captured, given_back, completes, discrepancies } = judged;
        for draw in draws.iter_mut().filter(|draw| draw.is_back) {
            draw.funds = funds_back(user, draw);
        }
        let own = user.and_then(|user| user.funding).unwrap_or(self.policy.funding);
        let first = match own {
            FundingPolicy::Crypto | FundingPolicy::CryptoThenFiat => Source::Crypto,
            FundingPolicy::Fiat | FundingPolicy::FiatThenCrypto => Source::Fiat,
        };
        // A spend without an authorization is paid from the user's usual source.
        let source = row.and_then(|row| row.source).or((captured > Minor::ZERO && user.is_some()).then_some(first));
        let held_in = row.map_or(posting.amount.currency, |row| row.paid_currency);
        let mut taken = Taken { draws: &draws, captured: Money { amount: captured, ..posting.amount } };
        if source == Some(Source::Crypto)
            && posting.amount.currency != held_in
            && shared.pool(posting.amount.currency).is_none()
        {
            // UR settled in a currency without a pool: the amount held for it is consumed all the same.
            let held = draws.iter().map(|draw| draw.paid).sum();
            taken.captured = Money { amount: held, currency: held_in };
        }
        let changed = |is_unreflected: &dyn Fn(Sequence) -> bool| {
            taken.bookings(held_in, is_unreflected).into_iter().filter(|booking| !booking.is_nothing()).collect()
        };
        let (mut pools, mut fiat) = (Vec::new(), Vec::new());
        match source {
            Some(Source::Crypto) => {
                pools = changed(&|sequence| shared.pool(held_in).is_none_or(|pool| pool.is_unreflected(sequence)));
                if effect == Effect::Refunded {
                    // A refund raises no hold, only UR's balance.
                    pools.push(SourcePosting::nothing(posting.amount.currency));
                }
                // A currency without a pool is not ours.
                pools.retain(|pool: &SourcePosting| shared.pool(pool.currency).is_some());
            }
            Some(Source::Fiat) => fiat = changed(&|_| true),
            None => {}
        }
        Posted {
            posting: posting.clone(),
            root,
            user: user.is_some().then(|| row.map_or(&posting.user, |row| &row.user).clone()),
            source,
            effect,
            state,
            limit_added: self.limit_used_unasked(shared, row, effect, posting),
            draws,
            captured,
            given_back,
            completes,
            pools,
            fiat,
            breaks: discrepancies,
        }
    }

    /// Use of the limit that UR counts beyond the draws: settlements without a hold, amounts above a hold, and money
    /// that comes back (the contract counts that as a use, too).
    fn limit_used_unasked(
        &self,
        shared: &Shared,
        row: Option<&Authorization>,
        effect: Effect,
        posting: &Posting,
    ) -> ChfMinor {
        let francs = |amount: Minor, currency: Currency| {
            let rate = shared.program.rates.chf_rate(currency);
            rate.and_then(|rate| to_chf(amount, rate)).unwrap_or(ChfMinor::ZERO)
        };
        let Money { amount, currency } = posting.amount;
        let used = match effect {
            Effect::ForcePosted | Effect::Refunded => francs(amount, currency),
            Effect::Reversed if posting.flow == Flow::In => francs(amount, currency),
            Effect::Cleared | Effect::LateCleared => {
                // Settled in another currency than the hold, the counted part is unknown: count all of it again.
                let row = row.filter(|row| row.paid_currency == currency);
                let due = row.map_or(Minor::ZERO, |row| row.paid_and_counted() - row.captured());
                francs((amount - due.max(Minor::ZERO)).max(Minor::ZERO), currency)
            }
            Effect::Confirmed | Effect::PartlyCleared | Effect::Reversed | Effect::Noted => ChfMinor::ZERO,
        };
        used.times(self.policy.limit_weight)
    }
}

/// Whether every figure that the posting raises has room for it. Each UR amount is bounded; their sum is not.
fn has_room(booked: &Posted, row: Option<&Authorization>, user: Option<&User>, shared: &Shared) -> bool {
    let pool_has_room = |booking: &SourcePosting| {
        booking.available >= Minor::ZERO || shared.pool(booking.currency).is_none_or(|pool| pool.available().has_room())
    };
    let balance_has_room = |booking: &SourcePosting| {
        let balance = user.and_then(|user| user.fiat_in(booking.currency));
        balance.is_none_or(|balance| balance.held.has_room())
    };
    row.is_none_or(Authorization::has_room)
        && booked.pools.iter().all(pool_has_room)
        && booked.fiat.iter().all(balance_has_room)
}

/// A transaction that exceeds the room of a figure: it moves nothing and opens a break for an operator. The posting is
/// recorded, so that the transaction is not delivered again.
fn beyond_bounds(booked: Posted, row: Option<&Authorization>) -> Posted {
    let Money { amount, currency } = booked.posting.amount;
    let found = Discrepancy {
        kind: BreakKind::AmountMismatch,
        subject: booked.root.as_str().into(),
        field: "bound".into(),
        ours: compact_str::format_compact!("{ROOM_MAX} {currency}"),
        theirs: compact_str::format_compact!("{amount} {currency}"),
    };
    Posted {
        effect: Effect::Noted,
        state: row.map_or(booked.state, |row| row.state),
        draws: Vec::new(),
        captured: Minor::ZERO,
        given_back: Minor::ZERO,
        pools: Vec::new(),
        fiat: Vec::new(),
        limit_added: ChfMinor::ZERO,
        completes: Vec::new(),
        breaks: vec![found],
        ..booked
    }
}

/// Amounts that one transaction takes from its hold.
struct Taken<'a> {
    draws: &'a [DrawPosting],
    captured: Money,
}

impl Taken<'_> {
    /// One posting per currency: nearly always one, two where UR settled in another currency than the hold.
    fn bookings(&self, held_in: Currency, is_unreflected: &dyn Fn(Sequence) -> bool) -> Vec<SourcePosting> {
        let paid = |draws: &mut dyn Iterator<Item = &DrawPosting>| draws.map(|draw| draw.paid).sum();
        let held = paid(&mut self.draws.iter());
        let open = paid(&mut self.draws.iter().filter(|draw| is_unreflected(draw.sequence)));
        let is_back = self.draws.iter().any(|draw| draw.is_back);
        let Money { amount, currency } = self.captured;
        if is_back {
            return vec![SourcePosting { currency: held_in, held, available: open, completed: Minor::ZERO }];
        }
        if currency != held_in {
            let freed = SourcePosting { currency: held_in, held, available: open, completed: Minor::ZERO };
            let taken = SourcePosting { currency, held: Minor::ZERO, available: -amount, completed: amount };
            return vec![freed, taken];
        }
        let beyond = amount - held;
        // A report that already includes the debit need not hold less of it: release only the part that no report
        // includes.
        let available = if beyond > Minor::ZERO { -beyond } else { (-beyond).min(open) };
        let completed = open - available;
        vec![SourcePosting { currency, held, available, completed }]
    }
}

/// The part of the user's funds to release for a draw that UR never took.
fn funds_back(user: Option<&User>, draw: &DrawPosting) -> Minor {
    let hold = user.and_then(|user| user.holds().iter().find(|hold| hold.sequence == draw.sequence));
    hold.map_or(Minor::ZERO, |hold| {
        let stays = hold.paid.amount - draw.paid;
        hold.funds - hold.funds.share_rounded_up(stays.0, hold.paid.amount.0)
    })
}
