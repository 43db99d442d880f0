//! The difference that new evidence makes: state, breaks and every claim, read off the standing.

use super::breaks::{breaks, state};
use super::layers::{Layers, Spread};
use super::standing::{Standing, is_uncharged, standing};
use crate::fact::{
    AuthorizationState, Difference, Discrepancy, Effect, EndCause, Evidence, Flow, Progress, Source, SourceChange,
    Tolerance, UseChange,
};
use crate::ids::Sequence;
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::rows::{Authorization, ReturnUse, content};

/// Stands for the record that carries the change, whose sequence is not known yet: it is the youngest.
pub const THIS: Sequence = Sequence(u64::MAX);

/// What the rest of the ledger knows about an authorization's claims.
pub trait Claims {
    /// Whether no person's report of the pool includes a claim of this record.
    fn is_unreflected(&self, pool: Currency, sequence: Sequence) -> bool;
    /// Whether there is a pool in this currency.
    fn has_pool(&self, currency: Currency) -> bool;
    /// The part of a debit that the partner has not made yet.
    fn undebited(&self, sequence: Sequence) -> Minor;
    /// The currency of the user's funds, if the user has any.
    fn funds(&self) -> Option<Currency>;
}

/// The difference between what `after`'s evidence makes stand and what was recorded. `after` is the row with the new
/// evidence and without the new figures.
#[must_use]
pub fn settle(
    before: Option<&Authorization>,
    after: &Authorization,
    evidence: Option<&Evidence>,
    subject: &str,
    tolerance: Tolerance,
    claims: &dyn Claims,
) -> Difference {
    let standing = standing(after, tolerance);
    let state = state(after, &standing);
    let mut change = Difference::none(state, after.paid_currency);
    change.source = after.source;
    change.taken = standing.taken - after.settlement().taken;
    let mut layers = Layers::of(after);
    if evidence.is_none() {
        // An approval made its claims already; what evidence before it claimed is not claimed again.
        layers.turn();
    }
    // A link moves what another root claimed already: it settles nothing again.
    let taken = if matches!(evidence, Some(Evidence::Linked(_))) { Minor::ZERO } else { change.taken };
    // What another pool pays settles nothing here: its share of the hold is free.
    let settled = if abroad(after, evidence, claims).is_some() { Minor::ZERO } else { taken };
    // Nothing is claimed of a source that is not there: an unknown user's, or a pool that nobody reported yet.
    let is_paid = pays(after, after.paid_currency, claims);
    let held = if is_paid { standing.held } else { Minor::ZERO };
    let mut spread = Spread::default();
    if is_paid {
        spread = layers.hold(&standing, taken, settled, claims);
        spread.upcharged = layers.upcharge(&standing);
    }
    layers.limit(&standing);
    layers.owe(&standing, claims);
    sources(after, &standing, held, evidence, &spread, claims, &mut change);
    layers.show(&standing);
    use_by_returns(after, &standing, &mut change);
    change.layers = layers.changes();
    let found = breaks(after, &standing, subject, tolerance);
    let told = &after.settlement().breaks;
    let is_told = |found: &Discrepancy| told.iter().any(|told| told.content == content(found));
    let is_true = |told| found.iter().any(|found| content(found) == told);
    change.resolved = told.iter().filter(|told| !is_true(told.content)).map(|told| told.id).collect();
    change.opened = found.iter().filter(|found| !is_told(found)).cloned().collect();
    change.effect = effect(before, after, evidence, &standing, &change);
    change.is_asked = is_asked(after, &standing);
    change
}

/// Whether something about the authorization is still to be asked, at UR or of time.
fn is_asked(row: &Authorization, standing: &Standing) -> bool {
    !standing.awaited.is_zero() || !standing.pending.is_zero() || is_uncharged(row, standing)
}

/// UR's movement, where it is in another currency than the hold's and a source of ours pays in it.
fn abroad(row: &Authorization, evidence: Option<&Evidence>, claims: &dyn Claims) -> Option<Money> {
    let Some(Evidence::Shown(shown)) = evidence else { return None };
    let money = shown.posting.amount;
    (money.currency != row.paid_currency && pays(row, money.currency, claims)).then_some(money)
}

/// Whether the authorization's source has this currency.
fn pays(row: &Authorization, currency: Currency, claims: &dyn Claims) -> bool {
    match row.source {
        Some(Source::Crypto) => claims.has_pool(currency),
        Some(Source::Fiat) => true,
        None => false,
    }
}

/// What the record means to receivers and operators.
fn effect(
    before: Option<&Authorization>,
    after: &Authorization,
    evidence: Option<&Evidence>,
    standing: &Standing,
    change: &Difference,
) -> Effect {
    let stood = before.map_or(AuthorizationState::ForcePosted, |row| row.state);
    match evidence {
        None | Some(Evidence::Overdue(_) | Evidence::Closed { .. }) => Effect::Noted,
        Some(Evidence::Announced(announced)) => {
            let ends = stood.is_open() && !change.state.is_open();
            if ends || !announced.released.is_zero() { Effect::Reversed } else { Effect::Noted }
        }
        Some(Evidence::Ended(ended)) => match ended.cause {
            EndCause::Expired => Effect::Expired,
            EndCause::Late { .. } | EndCause::Person { .. } => Effect::Released,
        },
        Some(Evidence::Shown(_) | Evidence::Linked(_)) => {
            if change.taken > Minor::ZERO {
                if after.draws.is_empty() {
                    return Effect::ForcePosted;
                }
                if change.state == AuthorizationState::Reversed {
                    // UR shows a reversed debit as both: taken, and given back.
                    return Effect::Noted;
                }
                if matches!(stood, AuthorizationState::Released | AuthorizationState::Expired) {
                    return Effect::LateCleared;
                }
                return if standing.held.is_zero() { Effect::Cleared } else { Effect::PartlyCleared };
            }
            let Some(Evidence::Shown(shown)) = evidence else { return Effect::Noted };
            let progress = (shown.posting.flow, shown.posting.progress);
            match progress {
                (Flow::In, Progress::Completed) if standing.returned > standing.announced && !shown.value.is_zero() => {
                    Effect::Refunded
                }
                (Flow::Out, Progress::Rejected) if change.layers.iter().any(|layer| layer.held < Minor::ZERO) => {
                    Effect::Reversed
                }
                (Flow::Out, _) if stood != change.state && change.state == AuthorizationState::Confirmed => {
                    Effect::Confirmed
                }
                _ => Effect::Noted,
            }
        }
    }
}

/// UR's returns use the limit once, whether a callback or a row came first: a rise is this record's own use, a fall lowers
/// the youngest. What UR shows of them is of the oldest.
fn use_by_returns(row: &Authorization, standing: &Standing, change: &mut Difference) {
    let uses = &row.settlement().return_uses;
    let recorded: ChfMinor = uses.iter().map(|used| used.limit).sum();
    let mut over = (recorded - standing.return_limit).max(ChfMinor::ZERO);
    let mut changes: Vec<(ReturnUse, UseChange)> = Vec::with_capacity(uses.len() + 1);
    for used in uses.iter().rev() {
        let part = over.min(used.limit);
        over -= part;
        changes.push((*used, UseChange { sequence: Some(used.sequence), limit: -part, shown: ChfMinor::ZERO }));
    }
    changes.reverse();
    let own = ReturnUse { sequence: THIS, limit: ChfMinor::ZERO, shown: ChfMinor::ZERO };
    let rise = (standing.return_limit - recorded).max(ChfMinor::ZERO);
    changes.push((own, UseChange { sequence: None, limit: rise, shown: ChfMinor::ZERO }));
    let mut shown = standing.return_limit_shown;
    for (used, change) in &mut changes {
        let part = shown.min(used.limit + change.limit);
        shown -= part;
        change.shown = part - used.shown;
    }
    let changes = changes.into_iter().map(|(_, change)| change);
    change.return_uses = changes.filter(|change| !change.limit.is_zero() || !change.shown.is_zero()).collect();
}

/// The changes of pools and balances.
fn sources(
    row: &Authorization,
    standing: &Standing,
    held: Minor,
    evidence: Option<&Evidence>,
    spread: &Spread,
    claims: &dyn Claims,
    change: &mut Difference,
) {
    let held_before: Minor = row.layers().map(|layer| layer.held).sum();
    let mut own = SourceChange {
        currency: row.paid_currency,
        held: held - held_before,
        available: spread.freed_unreflected - spread.risen,
        upcharged: spread.upcharged,
        completed: Minor::ZERO,
        returned: Minor::ZERO,
    };
    own.returned = own.available.max(Minor::ZERO);
    // UR never had it: its balance does not rise by it.
    own.available -= spread.upcharged;
    if let Some(Evidence::Announced(announced)) = evidence {
        // UR gives it back, whatever of it we held on to.
        let back = row.paid().share_rounded_up(announced.counted.0, row.authorized().0);
        own.returned = own.returned.max(back);
    }
    if let Some(Evidence::Shown(shown)) = evidence
        && shown.posting.flow == Flow::In
        && shown.posting.progress == Progress::Completed
    {
        // A return of what UR took raises UR's balance, which its next report shows; it raises no available figure. A
        // return of what was freed was noted when it was freed.
        let taken = standing.returned.min(standing.taken);
        let beyond = (standing.returned - standing.announced).max(Minor::ZERO);
        own.returned += shown.value.min(taken.max(beyond));
    }
    let list = match row.source {
        Some(Source::Crypto) => &mut change.pools,
        Some(Source::Fiat) => &mut change.fiat,
        None => return,
    };
    if !own.is_none() && pays(row, own.currency, claims) {
        list.push(own);
    }
    if change.taken > Minor::ZERO
        && let Some(Money { amount, currency }) = abroad(row, evidence, claims)
    {
        list.push(SourceChange { available: -amount, completed: amount, ..SourceChange::none(currency) });
    }
}
