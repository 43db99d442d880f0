//! What people see of a standing: the state and the open breaks.

use compact_str::{CompactString, format_compact};

use super::standing::Standing;
use crate::fact::{AuthorizationState, BreakKind, Discrepancy, Flow, Movement, Overdue, Progress, Tolerance};
use crate::money::{Minor, Money, ROOM_MAX};
use crate::rows::Authorization;

/// The state of an authorization, in this order of precedence: without a decision; given back in full; open; taken;
/// ended by us.
#[must_use]
pub fn state(row: &Authorization, standing: &Standing) -> AuthorizationState {
    if row.draws.is_empty() {
        return match (standing.taken.is_zero(), row.is_tombstone, row.is_decided) {
            (true, true, _) => AuthorizationState::Tombstoned,
            (true, false, true) => AuthorizationState::Declined,
            _ => AuthorizationState::ForcePosted,
        };
    }
    let is_given_back = !row.settlement().announced.is_zero() || standing.approved < row.paid();
    if is_given_back && standing.net().is_zero() && standing.owed.is_zero() {
        return AuthorizationState::Reversed;
    }
    if !standing.held.is_zero() {
        return match (standing.taken.is_zero(), row.is_confirmed()) {
            (false, _) => AuthorizationState::PartlyCleared,
            (true, true) => AuthorizationState::Confirmed,
            (true, false) => AuthorizationState::Approved,
        };
    }
    if !standing.taken.is_zero() {
        return AuthorizationState::Cleared;
    }
    match &row.settlement().ended {
        Some(end) if row.draws.iter().all(|draw| draw.is_ended) => {
            if end.is_expiry {
                AuthorizationState::Expired
            } else {
                AuthorizationState::Released
            }
        }
        _ if row.is_confirmed() => AuthorizationState::Confirmed,
        _ => AuthorizationState::Approved,
    }
}

/// Everything about an authorization that an operator must know.
#[must_use]
pub fn breaks(row: &Authorization, standing: &Standing, subject: &str, tolerance: Tolerance) -> Vec<Discrepancy> {
    let settlement = row.settlement();
    let mut found = Vec::new();
    let shown = |amount: Minor| format_compact!("{}", Money { amount, currency: row.paid_currency });
    let mut add = |kind: BreakKind, field: &str, ours: CompactString, theirs: CompactString| {
        found.push(Discrepancy { kind, subject: subject.into(), field: field.into(), ours, theirs });
    };
    if let Some(mismatch) = &settlement.mismatch {
        let kind = if mismatch.field == "currency" { BreakKind::CurrencyMismatch } else { BreakKind::StatusConflict };
        add(kind, &mismatch.field, mismatch.ours.clone(), mismatch.theirs.clone());
    }
    if !settlement.has_room() {
        add(BreakKind::AmountMismatch, "evidence", format_compact!("{}", settlement.evidence), "more".into());
    }
    if settlement.sums.is_contradicted || settlement.movements.iter().any(|movement| movement.is_contradicted) {
        add(BreakKind::StatusConflict, "status", "completed".into(), "rejected".into());
    }
    // What no figure has room for moved nothing.
    let is_beyond = |movement: &&Movement| movement.value.is_zero() && !movement.amount.amount.is_zero();
    let beyond = settlement.movements.iter().filter(is_beyond).map(|movement| movement.amount);
    for money in beyond.filter(|money| money.currency == row.paid_currency) {
        add(BreakKind::AmountMismatch, "bound", shown(ROOM_MAX), format_compact!("{money}"));
    }
    let (taken, pending, returned) = (standing.taken, standing.pending, standing.returned);
    if row.draws.is_empty() {
        let largest = if !taken.is_zero() {
            taken
        } else if !pending.is_zero() {
            pending
        } else {
            returned
        };
        if largest.is_zero() {
            return found;
        }
        if !row.is_decided && !row.is_tombstone {
            add(BreakKind::OrphanAtProvider, "authorization", CompactString::default(), shown(largest));
            return found;
        }
        let ours = if row.is_tombstone { AuthorizationState::Tombstoned } else { AuthorizationState::Declined };
        if !taken.is_zero() || !pending.is_zero() {
            let theirs = if taken.is_zero() { "pending" } else { "completed" };
            add(BreakKind::StandIn, "state", ours.name().into(), theirs.into());
        }
        if returned > taken.max(pending) {
            add(BreakKind::DirectionMismatch, "direction", "none".into(), "IN".into());
        }
        return found;
    }
    let is_abroad = |money: &&Money| money.currency != row.paid_currency;
    let abroad = settlement.movements.iter().map(|movement| &movement.amount).filter(is_abroad);
    if let Some(abroad) = abroad.min_by_key(|money| (money.currency, money.amount)) {
        add(BreakKind::CurrencyMismatch, "currency", shown(standing.approved), format_compact!("{abroad}"));
    }
    let drift = |ours: Minor, theirs: Minor| {
        if tolerance.holds(ours, theirs) { BreakKind::FxDrift } else { BreakKind::AmountMismatch }
    };
    // What may be taken above an approved amount was held for it.
    let upcharges = row.draws.iter().zip(&standing.draws);
    let upcharge: Minor = upcharges.map(|(draw, stands)| draw.upcharge_on(stands.approved)).sum();
    if taken > standing.approved + upcharge {
        let twice = standing.approved + standing.approved;
        let is_twice = taken == twice && !tolerance.holds(standing.approved, taken);
        let kind = if is_twice { BreakKind::Duplicate } else { drift(standing.approved + upcharge, taken) };
        add(kind, "amount", shown(standing.approved), shown(taken));
    }
    let due = standing.net();
    if !taken.is_zero() && taken < due && standing.held.is_zero() && tolerance.holds(due, taken) {
        add(BreakKind::FxDrift, "amount", shown(due), shown(taken));
    }
    let limit = taken.max(standing.approved);
    if returned > limit {
        add(drift(limit, returned), "refunded", shown(limit), shown(returned));
    } else if returned > standing.announced && tolerance.holds(standing.announced, returned) {
        add(BreakKind::FxDrift, "returned", shown(standing.announced), shown(returned));
    }
    if settlement.announced_in_total > row.requested {
        let money = |amount| format_compact!("{}", Money { amount, currency: row.currency });
        add(BreakKind::AmountMismatch, "reversed", money(row.requested), money(settlement.announced_in_total));
    }
    if let Some(end) = &settlement.ended
        && row.draws.iter().all(|draw| draw.is_ended)
        && (taken > end.taken || !pending.is_zero())
    {
        let ours = if end.is_expiry { AuthorizationState::Expired } else { AuthorizationState::Released };
        let theirs = if taken > end.taken { "completed" } else { "pending" };
        add(BreakKind::StatusConflict, "state", ours.name().into(), theirs.into());
    }
    if settlement.is_overdue(Overdue::Return) && !standing.awaited.is_zero() {
        add(BreakKind::ReturnMissing, "returned", shown(standing.awaited), shown(Minor::ZERO));
    }
    let is_unsettled = |movement: &&Movement| movement.flow == Flow::Out && movement.is_pending();
    let unsettled = settlement.movements.iter().filter(is_unsettled).map(|movement| movement.progress).min();
    if let Some(progress) = unsettled.filter(|_| settlement.is_overdue(Overdue::Settlement)) {
        let (kind, theirs) = match progress {
            Progress::Shown => (BreakKind::StatusConflict, "unknown"),
            _ => (BreakKind::Timing, "pending"),
        };
        add(kind, "pending", shown(pending), theirs.into());
    }
    if settlement.is_overdue(Overdue::Listing) && !standing.held.is_zero() {
        add(BreakKind::Unsweepable, "account", "listed".into(), "refused".into());
    }
    let is_expired = settlement.ended.as_ref().is_some_and(|end| end.is_expiry);
    if is_expired && !row.is_shown() && !standing.net().is_zero() && row.draws.iter().all(|draw| draw.is_ended) {
        add(BreakKind::MissingAtProvider, "state", AuthorizationState::Expired.name().into(), "none".into());
    }
    found
}
