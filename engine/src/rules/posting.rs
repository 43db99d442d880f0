//! Judges UR's transactions: their effect on our authorizations.
//!
//! A posting shows a debit's progress (pending, completed, rejected) or returns money. Its effect is decided here,
//! purely, from the authorization; the ledger only applies it.

use compact_str::CompactString;

use super::Tolerance;
use crate::bytes::Fingerprint;
use crate::fact::{AuthorizationState, BreakKind, Discrepancy, DrawPosting, Effect, Flow, Posting, Progress};
use crate::ids::{AuthorizationId, Sequence};
use crate::money::{ChfMinor, Minor, Money};
use crate::rows::{Authorization, Draw, PostedTotals};

impl DrawPosting {
    /// The draw holds nothing any more, and UR shows that it used the limit.
    fn settled_late(draw: &Draw) -> DrawPosting {
        DrawPosting {
            sequence: draw.sequence,
            amount: Minor::ZERO,
            paid: Minor::ZERO,
            is_back: false,
            funds: Minor::ZERO,
            spent: ChfMinor::ZERO,
            unreflected: ChfMinor::ZERO,
        }
    }
}

/// The effect of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub effect: Effect,
    /// The authorization's state after the posting.
    pub state: AuthorizationState,
    /// The consumed part of each draw, oldest first.
    pub draws: Vec<DrawPosting>,
    /// Taken by UR: a debit of the source that `draws` does not account for in full.
    pub captured: Minor,
    /// Returned by UR.
    pub given_back: Minor,
    /// Returns whose use of the limit UR shows with this transaction.
    pub completes: Vec<Sequence>,
    /// Differences for an operator.
    pub discrepancies: Vec<Discrepancy>,
}

/// The id of the row for an unmatched posting: UR cannot assign it to an authorization of its own.
#[must_use]
pub fn unmatched_id(posting: &Posting) -> Option<AuthorizationId> {
    let Fingerprint(bytes) = Fingerprint::of(posting.place().as_bytes());
    format!("posted:{:032x}", u128::from_be_bytes(bytes)).parse().ok()
}

/// Judges a posting for its matched authorization, if any. `None`: the posting is already known, or is pending and
/// unmatched.
#[must_use]
pub fn judge(posting: &Posting, row: Option<&Authorization>, tolerance: Tolerance) -> Option<Judged> {
    let Some(row) = row else { return unmatched(posting) };
    if row.posted.as_ref().is_some_and(|posted| posted.seen.contains(&posting.key())) {
        return None;
    }
    let case = Case { posting, row, tolerance };
    Some(match (posting.flow, posting.progress) {
        (Flow::Out, Progress::Pending) => {
            let state =
                if row.state == AuthorizationState::Approved { AuthorizationState::Confirmed } else { row.state };
            let effect = if row.state == AuthorizationState::Approved { Effect::Confirmed } else { Effect::Noted };
            Judged { state, ..case.nothing(effect) }
        }
        (Flow::Out, Progress::Completed) => case.settled(),
        (Flow::Out, Progress::Rejected) => case.rejected(),
        (Flow::In, Progress::Completed) => case.given_back(),
        (Flow::In, Progress::Pending | Progress::Rejected) => case.nothing(Effect::Noted),
    })
}

/// Money that moved without a matched authorization. A pending posting may still match one.
fn unmatched(posting: &Posting) -> Option<Judged> {
    if posting.progress != Progress::Completed {
        return None;
    }
    let amount = posting.amount.amount;
    let (captured, given_back, effect) = match posting.flow {
        Flow::Out => (amount, Minor::ZERO, Effect::ForcePosted),
        Flow::In => (Minor::ZERO, amount, Effect::Refunded),
    };
    let discrepancy = Discrepancy {
        kind: BreakKind::OrphanAtProvider,
        subject: posting.hash.clone(),
        field: "authorization".into(),
        ours: CompactString::default(),
        theirs: shown(posting.amount),
    };
    Some(Judged {
        effect,
        state: AuthorizationState::ForcePosted,
        draws: Vec::new(),
        captured,
        given_back,
        completes: Vec::new(),
        discrepancies: vec![discrepancy],
    })
}

fn shown(money: Money) -> CompactString {
    compact_str::format_compact!("{} {}", money.amount, money.currency)
}

struct Case<'a> {
    posting: &'a Posting,
    row: &'a Authorization,
    tolerance: Tolerance,
}

impl Case<'_> {
    fn nothing(&self, effect: Effect) -> Judged {
        Judged {
            effect,
            state: self.row.state,
            draws: Vec::new(),
            captured: Minor::ZERO,
            given_back: Minor::ZERO,
            completes: Vec::new(),
            discrepancies: Vec::new(),
        }
    }

    fn broken(&self, kind: BreakKind, field: &str, ours: CompactString, theirs: CompactString) -> Discrepancy {
        let subject = self.row.root_of_draws().map_or_else(|| self.posting.hash.clone(), |id| id.as_str().into());
        Discrepancy { kind, subject, field: field.into(), ours, theirs }
    }

    fn posted(&self) -> &PostedTotals {
        const NONE: &PostedTotals =
            &PostedTotals { seen: Vec::new(), captured: Minor::ZERO, returned: Minor::ZERO, refunded: Minor::ZERO };
        self.row.posted.as_deref().unwrap_or(NONE)
    }

    /// UR settled a debit.
    fn settled(&self) -> Judged {
        let Case { posting, row, .. } = *self;
        let captured = posting.amount.amount;
        let nothing = Judged { captured, ..self.nothing(Effect::Noted) };
        let state = |row: &Authorization| CompactString::from(row.state.name());
        match row.state {
            AuthorizationState::Declined | AuthorizationState::Tombstoned => {
                let stand_in = self.broken(BreakKind::StandIn, "state", state(row), "completed".into());
                Judged {
                    effect: Effect::ForcePosted,
                    state: AuthorizationState::ForcePosted,
                    discrepancies: vec![stand_in],
                    ..nothing
                }
            }
            // UR shows a reversed debit as both: taken, and returned.
            AuthorizationState::Reversed if self.is_announced(self.row.captured() + captured) => {
                Judged { draws: row.draws.iter().map(DrawPosting::settled_late).collect(), ..nothing }
            }
            AuthorizationState::Reversed | AuthorizationState::Released | AuthorizationState::Expired => {
                // An expired authorization may still be settled: that is why clearings are late. One that UR itself
                // reversed may not.
                let conflict = (row.state == AuthorizationState::Reversed)
                    .then(|| self.broken(BreakKind::StatusConflict, "state", state(row), "completed".into()));
                Judged {
                    effect: Effect::LateCleared,
                    state: AuthorizationState::Cleared,
                    draws: row.draws.iter().map(DrawPosting::settled_late).collect(),
                    discrepancies: conflict.into_iter().collect(),
                    ..nothing
                }
            }
            AuthorizationState::Cleared | AuthorizationState::ForcePosted => {
                let (before, paid) = (self.row.captured(), self.row.paid());
                // The last of several parts may be so small that the earlier parts looked like the whole.
                if before + captured <= paid + self.tolerance.of(paid) {
                    return Judged { effect: Effect::Cleared, ..nothing };
                }
                let ours = shown(Money { amount: before, currency: row.paid_currency });
                let kind = if captured == before { BreakKind::Duplicate } else { BreakKind::AmountMismatch };
                let twice = self.broken(kind, "captured", ours, shown(posting.amount));
                Judged { effect: Effect::Cleared, discrepancies: vec![twice], ..nothing }
            }
            AuthorizationState::Approved | AuthorizationState::Confirmed | AuthorizationState::PartlyCleared => {
                self.captured()
            }
        }
    }

    /// Whether we released this total on UR's request already. The tolerance is that of the whole announced amount,
    /// however many returns it took.
    fn is_announced(&self, amount: Minor) -> bool {
        let announced = self.row.announced;
        !announced.is_zero() && amount <= announced + self.tolerance.of(announced)
    }

    /// A settlement of a held amount.
    fn captured(&self) -> Judged {
        let Case { posting, row, tolerance } = *self;
        let (held, amount) = (row.held(), posting.amount.amount);
        let due = Money { amount: self.row.paid() - self.row.captured(), ..held };
        if posting.amount.currency != held.currency {
            let other = self.broken(BreakKind::CurrencyMismatch, "currency", shown(held), shown(posting.amount));
            return Judged {
                state: AuthorizationState::Cleared,
                draws: draws(row, WHOLE, false),
                captured: amount,
                discrepancies: vec![other],
                ..self.nothing(Effect::Cleared)
            };
        }
        // UR shows the whole debit and the returns beside it; another provider settles the rest.
        let is_left = !tolerance.holds(due.amount, amount) && tolerance.holds(held.amount, amount);
        let due = if is_left { held } else { due };
        let within = tolerance.holds(due.amount, amount);
        if amount < due.amount && !within {
            let draws = draws(row, amount, false);
            let lost = draws.iter().map(|draw| draw.paid).sum::<Minor>();
            if lost < held.amount {
                return Judged {
                    state: AuthorizationState::PartlyCleared,
                    draws,
                    captured: amount,
                    ..self.nothing(Effect::PartlyCleared)
                };
            }
        }
        let kind = if within { BreakKind::FxDrift } else { BreakKind::AmountMismatch };
        let differs = amount > due.amount || (within && amount < due.amount);
        let discrepancy = differs.then(|| self.broken(kind, "amount", shown(due), shown(posting.amount)));
        Judged {
            state: AuthorizationState::Cleared,
            draws: draws(row, WHOLE, false),
            captured: amount,
            discrepancies: discrepancy.into_iter().collect(),
            ..self.nothing(Effect::Cleared)
        }
    }

    /// UR rejected the debit.
    fn rejected(&self) -> Judged {
        let row = self.row;
        if !row.state.is_open() {
            return self.nothing(Effect::Noted);
        }
        let captured = self.row.captured();
        if !captured.is_zero() {
            let ours = shown(Money { amount: captured, currency: row.paid_currency });
            let conflict = self.broken(BreakKind::StatusConflict, "captured", ours, "rejected".into());
            return Judged { discrepancies: vec![conflict], ..self.nothing(Effect::Noted) };
        }
        let mut draws = draws(row, WHOLE, true);
        // UR never took the amount, so it never used the limit.
        for (lost, draw) in draws.iter_mut().zip(&row.draws) {
            lost.unreflected = draw.limit;
        }
        Judged { state: AuthorizationState::Reversed, draws, ..self.nothing(Effect::Reversed) }
    }

    /// UR returned money: an announced release, an unsettled amount, or a refund.
    fn given_back(&self) -> Judged {
        let Case { posting, row, tolerance } = *self;
        let posted = self.posted();
        let amount = posting.amount.amount;
        let nothing = Judged { given_back: amount, ..self.nothing(Effect::Noted) };
        if matches!(row.state, AuthorizationState::Declined | AuthorizationState::Tombstoned) {
            let wrong = self.broken(BreakKind::DirectionMismatch, "direction", "none".into(), "IN".into());
            return Judged { discrepancies: vec![wrong], ..nothing };
        }
        if posting.amount.currency != row.paid_currency {
            let ours = shown(Money { amount: row.held().amount, currency: row.paid_currency });
            let other = self.broken(BreakKind::CurrencyMismatch, "currency", ours, shown(posting.amount));
            return Judged { discrepancies: vec![other], ..nothing };
        }
        let returned = posted.returned + amount;
        if self.is_announced(returned) {
            let drift = (returned > row.announced).then(|| {
                let ours = shown(Money { amount: row.announced, currency: row.paid_currency });
                let theirs = shown(Money { amount: returned, ..posting.amount });
                self.broken(BreakKind::FxDrift, "returned", ours, theirs)
            });
            let is_draw = |event: &&Sequence| row.draws.iter().any(|draw| draw.sequence == **event);
            let completes = row.events.iter().filter(|event| !is_draw(event)).copied().collect();
            return Judged { discrepancies: drift.into_iter().collect(), completes, ..nothing };
        }
        if !posted.captured.is_zero() {
            let given = posted.returned + posted.refunded + amount;
            let over = given > posted.captured && !tolerance.holds(posted.captured, given);
            let mismatch = over.then(|| {
                let ours = shown(Money { amount: posted.captured, currency: row.paid_currency });
                self.broken(BreakKind::AmountMismatch, "refunded", ours, shown(posting.amount))
            });
            return Judged { effect: Effect::Refunded, discrepancies: mismatch.into_iter().collect(), ..nothing };
        }
        let held = row.held().amount;
        if held.is_zero() {
            let nothing_held = self.broken(BreakKind::DirectionMismatch, "held", "0".into(), shown(posting.amount));
            return Judged { discrepancies: vec![nothing_held], ..nothing };
        }
        let whole = amount >= held || tolerance.holds(held, amount);
        let drift = (whole && amount != held).then(|| {
            let kind = if tolerance.holds(held, amount) { BreakKind::FxDrift } else { BreakKind::AmountMismatch };
            let ours = shown(Money { amount: held, currency: row.paid_currency });
            self.broken(kind, "returned", ours, shown(posting.amount))
        });
        Judged {
            effect: Effect::Reversed,
            state: if whole { AuthorizationState::Reversed } else { row.state },
            draws: draws(row, if whole { WHOLE } else { amount }, true),
            discrepancies: drift.into_iter().collect(),
            ..nothing
        }
    }
}

/// Above any hold.
const WHOLE: Minor = Minor(i64::MAX);

/// Distributes a consumed amount of the hold over the draws, oldest first.
fn draws(row: &Authorization, paid: Minor, is_back: bool) -> Vec<DrawPosting> {
    let mut left = paid;
    let mut lost = Vec::with_capacity(row.draws.len());
    for draw in &row.draws {
        let held = draw.held_at(draw.remaining);
        let amount = if left >= held { draw.remaining } else { amount_for(draw, left) };
        let stays = draw.remaining - amount;
        let paid = held - draw.held_at(stays);
        // A partial amount skips untouched draws; the whole marks every draw as settled.
        if amount.is_zero() && !is_back && left < WHOLE {
            continue;
        }
        if left < WHOLE {
            left = (left - paid).max(Minor::ZERO);
        }
        lost.push(DrawPosting {
            sequence: draw.sequence,
            amount,
            paid,
            is_back,
            funds: Minor::ZERO,
            spent: if is_back { draw.spent_at(draw.remaining) - draw.spent_at(stays) } else { ChfMinor::ZERO },
            unreflected: ChfMinor::ZERO,
        });
    }
    lost
}

/// The part of a draw's amount that a part of its hold pays for, rounded down: the rest of the hold never falls short.
fn amount_for(draw: &Draw, paid: Minor) -> Minor {
    if draw.paid.is_zero() {
        return Minor::ZERO;
    }
    let amount = i128::from(draw.amount.0) * i128::from(paid.0) / i128::from(draw.paid.0);
    Minor(i64::try_from(amount).unwrap_or(i64::MAX)).min(draw.remaining)
}
