//! What stands: a pure function of the evidence on one authorization, in whatever order it came.
//!
//! All figures are in the currency paid in. The letters are those of docs/adr/0009-standing.md.

use super::layers::owed_beyond;
use crate::fact::{Claimed, Flow, Movement, Progress, Tolerance, Upcharge};
use crate::ids::Sequence;
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::rows::{Authorization, Draw, Settlement};

/// What stands of one authorization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// A: approved and not rejected by UR.
    pub approved: Minor,
    /// R: announced as given back by callback, at most `approved`.
    pub announced: Minor,
    /// O: UR took it.
    pub taken: Minor,
    /// I: UR gave it back.
    pub returned: Minor,
    /// P: UR is about to take it.
    pub pending: Minor,
    /// Announced, taken by UR, and not yet shown as given back.
    pub awaited: Minor,
    /// What the source still claims, without what is held above the approved amounts.
    pub held: Minor,
    /// What movements claim of the upcharges.
    pub upcharge_claimed: Upcharge,
    /// What the user owes, whatever pays it.
    pub owed: Minor,
    /// Francs that count against the limit beyond the draws.
    pub beyond_limit: ChfMinor,
    /// Francs by which UR's returns use the limit.
    pub return_limit: ChfMinor,
    /// The part of `return_limit` whose returns UR showed.
    pub return_limit_shown: ChfMinor,
    pub draws: Vec<DrawStanding>,
}

/// What stands of one draw: totals are allotted, never arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrawStanding {
    /// Approved and not rejected.
    pub approved: Minor,
    /// The part of what the user owes.
    pub owed: Minor,
    /// Francs that count against the limit.
    pub limit: ChfMinor,
    /// Taken by UR.
    pub taken: Minor,
    /// Held above what is approved.
    pub upcharge: Minor,
}

impl Standing {
    /// N: what UR approved and nobody announced as given back.
    #[must_use]
    pub fn net(&self) -> Minor {
        self.approved - self.announced
    }

    /// Whether UR took all that it was to take.
    #[must_use]
    pub fn is_all_taken(&self) -> bool {
        self.held.is_zero() && !self.taken.is_zero()
    }
}

/// The sums over the movements that UR shows.
#[derive(Default)]
struct Shown {
    out: Minor,
    /// Francs of `out` and `pending` together.
    out_limit: ChfMinor,
    back: Minor,
    back_limit: ChfMinor,
    pending: Minor,
    is_final: bool,
}

impl Shown {
    fn of(row: &Authorization) -> Shown {
        let Settlement { movements, sums, .. } = row.settlement();
        let mut shown = Shown {
            out: sums.out,
            out_limit: sums.out_limit,
            back: sums.returned,
            back_limit: sums.returned_limit,
            ..Shown::default()
        };
        for movement in movements {
            match (movement.flow, movement.progress) {
                (Flow::Out, Progress::Completed) => {
                    shown.out += movement.value;
                    shown.out_limit += movement.limit;
                    shown.is_final |= movement.is_final;
                }
                (Flow::Out, _) if movement.is_pending() => {
                    shown.pending += movement.value;
                    shown.out_limit += movement.limit;
                }
                (Flow::In, Progress::Completed) => {
                    shown.back += movement.value;
                    shown.back_limit += movement.limit;
                }
                (Flow::Out | Flow::In, _) => {}
            }
        }
        shown
    }
}

/// The whole of what stands, by these rules.
#[must_use]
pub fn standing(row: &Authorization, tolerance: Tolerance) -> Standing {
    let settlement = row.settlement();
    let shown = Shown::of(row);
    let (taken, returned, pending) = (shown.out, shown.back, shown.pending);
    let approved_by_draw = less_rejected(row, taken);
    let approved: Minor = approved_by_draw.iter().copied().sum();
    let (announced_value, announced) = announced(row, approved);
    let net = approved - announced;
    let back = returned.min(announced);
    // A single return above all that was announced is a refund: the authorization's own return is not shown yet.
    let refunds: Minor = refunds(row, announced, tolerance);
    let kept = kept_by_draw(&approved_by_draw, announced);
    let of_ended = of_ended(row, &kept);
    let base = base(row, &kept, (returned - refunds).min(announced)) + of_ended;
    let base = if pending.is_zero() && is_last(&shown, base, tolerance) { base.min(taken) } else { base };
    let pend = if pending.is_zero() {
        taken
    } else if approved > Minor::ZERO {
        (taken + pending).min(approved.max(taken).max(pending))
    } else {
        taken + pending
    };
    let not_back = if settlement.is_written_off {
        Minor::ZERO
    } else {
        ((taken - net).clamp(Minor::ZERO, announced) - back).max(Minor::ZERO)
    };
    // UR converts what it gives back itself: a cent less is the whole return, and nobody is debited for it.
    let is_return_shown = returned >= announced || tolerance.holds(announced, returned);
    let awaited = if is_return_shown { Minor::ZERO } else { not_back };
    let claimed = taken.max(base).max(pend);
    let to_come = if pending.is_zero() { taken } else { pend - announced };
    let owed = (taken.max(base).max(to_come) - returned - not_back).max(Minor::ZERO);
    let owed = if row.is_alone() && !settlement.is_charged { Minor::ZERO } else { owed };
    let return_limit = if announced_value.is_zero() {
        shown.back_limit
    } else {
        let announced_limit = settlement.announced_limit.min(settlement.announced_limit_max);
        let announced_limit = announced_limit.share_rounded_up(announced.0, announced_value.0);
        announced_limit.max(shown.back_limit)
    };
    let return_limit_shown = if is_return_shown { return_limit } else { shown.back_limit.min(return_limit) };
    let mut standing = Standing {
        approved,
        announced,
        taken,
        returned,
        pending,
        awaited,
        held: claimed - taken,
        owed,
        return_limit,
        return_limit_shown,
        ..Standing::default()
    };
    allot(row, &shown, (&approved_by_draw, &kept), (pend, of_ended), &mut standing);
    // Where UR took all, only what it is about to take may still be added. What movements claim above the approved amount
    // is of the upcharge.
    let beyond = upcharges(row, &kept).sum::<Minor>() + base - claimed;
    let upcharged = if taken < base { beyond } else { beyond.min(taken + pending - claimed) };
    let mut left = upcharged.max(Minor::ZERO);
    for ((part, most), draw) in standing.draws.iter_mut().zip(upcharges(row, &kept)).zip(&row.draws) {
        part.upcharge = most.min(left);
        left -= part.upcharge;
        standing.upcharge_claimed += draw.upcharge().of_paid(most) - draw.upcharge().of_paid(part.upcharge);
    }
    standing
}

/// What UR's movements claim beyond what was approved, so that the next decision finds it claimed already. `funds`: the
/// currency of the user's funds.
#[must_use]
pub fn claimed(row: &Authorization, tolerance: Tolerance, funds: Option<Currency>) -> Option<Claimed> {
    row.settlement.as_ref().filter(|settlement| settlement.is_shown())?;
    let standing = standing(row, tolerance);
    // What movements claim of the upcharges is held again once an increment covers it.
    let of_upcharges = standing.upcharge_claimed;
    let amount = (standing.taken + standing.held - standing.approved - of_upcharges.paid).max(Minor::ZERO);
    let owed = owed_beyond(row, &standing).filter(|owed| Some(owed.currency) == funds);
    let claimed = Claimed {
        paid: Money { amount, currency: row.paid_currency },
        limit: standing.beyond_limit,
        funds: owed.map_or(Minor::ZERO, |owed| (owed.amount - of_upcharges.funds).max(Minor::ZERO)),
    };
    let Claimed { paid, limit, funds } = claimed;
    (!paid.amount.is_zero() || !limit.is_zero() || !funds.is_zero()).then_some(claimed)
}

/// Whether UR took a movement that no decision stands behind, and nobody is debited for it.
#[must_use]
pub fn is_uncharged(row: &Authorization, standing: &Standing) -> bool {
    row.is_alone() && !standing.taken.is_zero() && !row.settlement().is_charged
}

/// Whether UR takes no more than it has: its last capture, or one within tolerance of all that it may take.
fn is_last(shown: &Shown, base: Minor, tolerance: Tolerance) -> bool {
    shown.is_final || (!shown.out.is_zero() && base > shown.out && tolerance.holds(base, shown.out))
}

/// The approved part of each draw that UR did not reject.
fn less_rejected(row: &Authorization, taken: Minor) -> Vec<Minor> {
    let mut approved: Vec<Minor> = row.draws.iter().map(|draw| draw.paid.amount).collect();
    let is_rejected = |movement: &&Movement| movement.flow == Flow::Out && movement.progress == Progress::Rejected;
    let mut rejected: Vec<&Movement> = row.settlement().movements.iter().filter(is_rejected).collect();
    // The order of arrival must not matter: those that name their draw first, then by amount.
    rejected.sort_by_key(|movement| (movement.draw.is_none(), std::cmp::Reverse(movement.value), movement.key.0));
    let mut lower = |value: Minor, draw: Option<Sequence>| {
        // Never more than is not taken.
        let room = (approved.iter().copied().sum::<Minor>() - taken).max(Minor::ZERO);
        let mut left = value.min(room);
        let exact = || row.draws.iter().zip(&approved).position(|(_, stands)| *stands == left);
        let named = draw.and_then(|draw| row.draws.iter().position(|own| own.sequence == draw));
        let first = named.or_else(exact);
        let order = first.into_iter().chain((0..approved.len()).rev());
        for place in order.collect::<Vec<_>>() {
            if let Some(stands) = approved.get_mut(place) {
                let part = left.min(*stands);
                *stands -= part;
                left -= part;
            }
        }
    };
    for movement in rejected {
        lower(movement.value, movement.draw);
    }
    lower(row.settlement().sums.rejected, None);
    approved
}

/// What callbacks announced, in the currency paid in, at the draws' ratios; and the part of it that counts.
fn announced(row: &Authorization, approved: Minor) -> (Minor, Minor) {
    let mut left = row.settlement().announced;
    let value = |draw: &Draw| {
        let part = left.min(draw.amount);
        left -= part;
        draw.paid.amount - draw.held_at(draw.amount - part)
    };
    let value: Minor = row.draws.iter().map(value).sum();
    (value, value.min(approved))
}

/// The returns that are each more than all that was announced.
fn refunds(row: &Authorization, announced: Minor, tolerance: Tolerance) -> Minor {
    let is_more = |value| value > announced && !tolerance.holds(announced, value);
    let returns = row.settlement().movements.iter().filter(|movement| movement.flow == Flow::In);
    let completed = returns.filter(|movement| movement.progress == Progress::Completed && is_more(movement.value));
    completed.map(|movement| movement.value).sum()
}

/// The part of each draw that nobody announced as given back: a return comes off the oldest draw first.
fn kept_by_draw(approved: &[Minor], announced: Minor) -> Vec<Minor> {
    let mut left = announced;
    let keep = |approved: &Minor| {
        let given = left.min(*approved);
        left -= given;
        *approved - given
    };
    approved.iter().map(keep).collect()
}

/// What the draws that we did not end may still take in total.
fn base(row: &Authorization, kept: &[Minor], back: Minor) -> Minor {
    let is_open = row.draws.iter().any(|draw| !draw.is_ended);
    let open = row.draws.iter().zip(kept).filter(|(draw, _)| !draw.is_ended);
    let base: Minor = open.map(|(_, kept)| *kept).sum();
    if is_open { base + back } else { Minor::ZERO }
}

/// What may be taken above the part of each draw that nobody announced as given back.
fn upcharges(row: &Authorization, kept: &[Minor]) -> impl Iterator<Item = Minor> {
    let of_draw = |(draw, kept): (&Draw, &Minor)| {
        if draw.is_ended { Minor::ZERO } else { draw.upcharge_on(*kept) }
    };
    row.draws.iter().zip(kept).map(of_draw)
}

/// What UR takes of draws that we ended while others are open: movements that name such a draw, or are of its amount and
/// of no open one's. An open draw may be taken beside them.
fn of_ended(row: &Authorization, kept: &[Minor]) -> Minor {
    let (mut ended, mut open): (Vec<(Sequence, Minor)>, Vec<Minor>) = (Vec::new(), Vec::new());
    for (draw, kept) in row.draws.iter().zip(kept) {
        if draw.is_ended { ended.push((draw.sequence, *kept)) } else { open.push(*kept) }
    }
    if ended.is_empty() || open.is_empty() {
        return Minor::ZERO;
    }
    let all_open: Minor = open.iter().copied().sum();
    let is_of_ended = |movement: &&Movement| match movement.draw {
        Some(draw) => ended.iter().any(|(sequence, _)| *sequence == draw),
        None => {
            let is_of = |(_, amount): &(Sequence, Minor)| *amount == movement.value;
            ended.iter().any(is_of) && !open.contains(&movement.value) && movement.value != all_open
        }
    };
    let is_taken = |movement: &&Movement| movement.progress == Progress::Completed || movement.is_pending();
    let debits = row.settlement().movements.iter().filter(|movement| movement.flow == Flow::Out);
    let taken: Minor = debits.filter(is_taken).filter(is_of_ended).map(|movement| movement.value).sum();
    taken.min(ended.iter().map(|(_, amount)| *amount).sum())
}

/// Allots the totals to the draws: oldest first, those that we ended last.
fn allot(
    row: &Authorization,
    shown: &Shown,
    (approved, kept): (&[Minor], &[Minor]),
    (pend, of_ended): (Minor, Minor),
    standing: &mut Standing,
) {
    let reversed = !row.settlement().announced.is_zero();
    // UR counts a spend when it approves it, and keeps counting what it reverses.
    let counts = |draw: &Draw| !draw.is_ended || reversed;
    let counted: Minor = row.draws.iter().zip(approved).filter(|(draw, _)| counts(draw)).map(|(_, part)| *part).sum();
    let of_ended = if reversed { Minor::ZERO } else { of_ended };
    let gross = (counted + of_ended).max(standing.taken).max(pend);
    let draws = row.draws.iter().zip(approved);
    standing.draws =
        draws.map(|(_, approved)| DrawStanding { approved: *approved, ..DrawStanding::default() }).collect();
    let (mut owed, mut taken, mut limit) = (standing.owed, standing.taken, gross);
    for ended in [false, true] {
        let draws = row.draws.iter().zip(&mut standing.draws).zip(kept);
        for ((draw, part), kept) in draws.filter(|((draw, _), _)| draw.is_ended == ended) {
            // What is owed in spite of a return is owed of its draw last.
            part.owed = owed.min(*kept);
            owed -= part.owed;
            part.taken = taken.min(part.approved);
            taken -= part.taken;
            let used = limit.min(part.approved);
            limit -= used;
            part.limit = draw.limit.share_rounded_up(used.0, draw.paid.amount.0);
            if draw.paid.amount.is_zero() && !draw.is_ended {
                part.limit = draw.limit;
            }
        }
    }
    for part in &mut standing.draws {
        let more = owed.min(part.approved - part.owed);
        part.owed += more;
        owed -= more;
    }
    standing.beyond_limit = shown.out_limit.share_rounded_up(limit.0, (standing.taken + standing.pending).0);
}
