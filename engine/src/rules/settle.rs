//! The difference that new evidence makes: state, breaks and every claim, read off the standing.

use compact_str::{CompactString, format_compact};
use smallvec::SmallVec;

use super::standing::{Standing, is_uncharged, standing};
use crate::fact::{
    AuthorizationState, BreakKind, Difference, Discrepancy, Effect, EndCause, Evidence, Flow, LayerChange, Movement,
    Overdue, Progress, Source, SourceChange, Tolerance,
};
use crate::ids::Sequence;
use crate::money::{ChfMinor, Currency, Minor, Money, ROOM_MAX};
use crate::rows::{Authorization, Layer, content};

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
    if settlement.movements.iter().any(|movement| movement.is_contradicted) {
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
    if taken > standing.approved {
        let twice = standing.approved + standing.approved;
        let is_twice = taken == twice && !tolerance.holds(standing.approved, taken);
        let kind = if is_twice { BreakKind::Duplicate } else { drift(standing.approved, taken) };
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
    let is_unsettled =
        |movement: &&Movement| movement.flow == Flow::Out && movement.progress.is_unsettled() && !movement.is_ended;
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
        layers.order.reverse();
    }
    // A link moves what another root claimed already: it settles nothing again.
    let taken = if matches!(evidence, Some(Evidence::Linked(_))) { Minor::ZERO } else { change.taken };
    // What another pool pays settles nothing here: its share of the hold is free.
    let settled = if abroad(after, evidence, claims).is_some() { Minor::ZERO } else { taken };
    let spread = layers.hold(&standing, taken, settled, claims);
    layers.limit(&standing);
    layers.owe(&standing, claims);
    sources(after, &standing, evidence, &spread, claims, &mut change);
    change.completes = layers.completes(&standing);
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
        None | Some(Evidence::Overdue(_) | Evidence::Closed(_)) => Effect::Noted,
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
/// the youngest.
fn use_by_returns(row: &Authorization, standing: &Standing, change: &mut Difference) {
    let uses = &row.settlement().return_uses;
    let recorded: ChfMinor = uses.iter().map(|used| used.limit).sum();
    change.return_shown = standing.is_return_shown;
    if standing.return_limit > recorded {
        change.return_uses.push((None, standing.return_limit - recorded));
    }
    let mut over = (recorded - standing.return_limit).max(ChfMinor::ZERO);
    for used in uses.iter().rev() {
        let part = over.min(used.limit);
        over -= part;
        if !part.is_zero() {
            change.return_uses.push((Some(used.sequence), -part));
        }
    }
    if standing.is_return_shown {
        change.completes.extend(uses.iter().map(|used| used.sequence));
    }
}

/// Where a change of the held amount goes.
#[derive(Default)]
struct Spread {
    /// Newly claimed.
    risen: Minor,
    /// Given up: what no report includes.
    freed_unreflected: Minor,
}

/// The layers while a change is made.
struct Layers<'a> {
    row: &'a Authorization,
    /// Oldest first; the record's own is last.
    order: Vec<usize>,
    layers: Vec<(Layer, LayerChange)>,
}

impl<'a> Layers<'a> {
    fn of(row: &'a Authorization) -> Layers<'a> {
        let mut layers: Vec<(Layer, LayerChange)> = row
            .layers()
            .map(|layer| {
                let sequence = (layer.sequence != THIS).then_some(layer.sequence);
                (layer.clone(), LayerChange::none(sequence, layer.currency))
            })
            .collect();
        if layers.iter().all(|(layer, _)| layer.sequence != THIS) {
            let own = Layer {
                sequence: THIS,
                held: Minor::ZERO,
                limit: ChfMinor::ZERO,
                debit: Minor::ZERO,
                currency: row.paid_currency,
                number: 0,
            };
            layers.push((own, LayerChange::none(None, row.paid_currency)));
        }
        let mut order: Vec<usize> = (0..layers.len()).collect();
        order.sort_by_key(|place| layers.get(*place).map(|(layer, _)| layer.sequence));
        Layers { row, order, layers }
    }

    /// Visits the layers in order.
    fn each(&mut self, mut visit: impl FnMut(usize, &Layer, &mut LayerChange)) {
        for place in self.order.clone() {
            if let Some((layer, change)) = self.layers.get_mut(place) {
                visit(place, layer, change);
            }
        }
    }

    fn own(&mut self) -> Option<&mut (Layer, LayerChange)> {
        self.layers.iter_mut().find(|(layer, _)| layer.sequence == THIS)
    }

    /// Changes the held amounts: a rise is this record's own claim; what UR took and what is given up comes off the
    /// oldest claims first, because a report likeliest includes those already.
    fn hold(&mut self, standing: &Standing, taken: Minor, mut settled: Minor, claims: &dyn Claims) -> Spread {
        let held: Minor = self.layers.iter().map(|(layer, _)| layer.held).sum();
        let mut spread = Spread { risen: (standing.held + taken - held).max(Minor::ZERO), ..Spread::default() };
        if let Some((_, own)) = self.own() {
            own.held += spread.risen;
        }
        // A rejection frees its own draw first.
        let caps: Vec<Option<Minor>> = {
            let draws = self.row.draws.len();
            let cap = |place: usize| standing.draws.get(place).map(|draw| draw.approved);
            (0..self.layers.len()).map(|place| if place < draws { cap(place) } else { None }).collect()
        };
        let mut free = held + spread.risen - settled - standing.held;
        // A report of a user's balance says nothing about single claims; a person's report of a pool does.
        let (row, is_pool) = (self.row, self.row.source == Some(Source::Crypto));
        let is_open = |layer: &Layer| {
            !is_pool || layer.sequence == THIS || claims.is_unreflected(row.paid_currency, layer.sequence)
        };
        let mut give = |spread: &mut Spread, layer: &Layer, change: &mut LayerChange, most: Minor| {
            let part = free.min(most).max(Minor::ZERO);
            free -= part;
            change.held -= part;
            if is_open(layer) {
                spread.freed_unreflected += part;
            }
        };
        self.each(|place, layer, change| {
            if let Some(Some(cap)) = caps.get(place) {
                give(&mut spread, layer, change, layer.held - *cap);
            }
        });
        self.each(|_, layer, change| {
            let part = settled.min(layer.held + change.held).max(Minor::ZERO);
            settled -= part;
            change.held -= part;
            change.settled += part;
        });
        self.each(|_, layer, change| give(&mut spread, layer, change, layer.held + change.held));
        spread
    }

    /// Changes the uses of the limit: a draw's own use only falls; a later use is this record's own.
    fn limit(&mut self, standing: &Standing) {
        let draws = self.row.draws.len();
        let mut rest = standing.beyond_limit + standing.draws.iter().map(|draw| draw.limit).sum::<ChfMinor>();
        let mut later = ChfMinor::ZERO;
        for (place, (layer, change)) in self.layers.iter_mut().enumerate() {
            match standing.draws.get(place).filter(|_| place < draws) {
                Some(draw) => {
                    let stays = layer.limit.min(draw.limit);
                    change.limit = stays - layer.limit;
                    rest -= stays;
                }
                None => later += layer.limit,
            }
        }
        if rest >= later {
            if let Some((_, own)) = self.own() {
                own.limit += rest - later;
                own.is_shown = standing.is_all_taken();
            }
            return;
        }
        let mut over = later - rest;
        for (layer, change) in self.layers.iter_mut().skip(draws).rev() {
            let part = over.min(layer.limit);
            change.limit -= part;
            over -= part;
        }
    }

    /// Changes what the user is debited and what velocity counts. A debit only falls; what is owed beyond is a new debit.
    fn owe(&mut self, standing: &Standing, claims: &dyn Claims) {
        let draws = self.row.draws.len();
        // What is owed beyond the draws' own debits, by the currency of the user's funds: it may change between draws.
        let mut beyond: SmallVec<[Money; 1]> = SmallVec::new();
        beyond.extend(self.owed_beyond(standing));
        for (layer, change) in self.layers.iter_mut().take(draws) {
            let Some((draw, stands)) =
                self.row.draws.iter().zip(&standing.draws).find(|(draw, _)| draw.sequence == layer.sequence)
            else {
                continue;
            };
            let paid = draw.paid.amount.0;
            let counted = if paid == 0 && !draw.is_ended && standing.announced.is_zero() {
                draw.spent
            } else {
                draw.spent.share_rounded_up(stands.owed.0, paid)
            };
            change.spent = counted - draw.counted;
            let Some(funds) = draw.funds else { continue };
            let owed = if paid == 0 { funds.amount } else { funds.amount.share_rounded_up(stands.owed.0, paid) };
            let stays = layer.debit.min(owed);
            change.debit = stays - layer.debit;
            add(&mut beyond, Money { amount: owed - stays, currency: funds.currency });
        }
        for (layer, _) in self.layers.iter().skip(draws) {
            add(&mut beyond, Money { amount: -layer.debit, currency: layer.currency });
        }
        let number = self.row.settlement().next_debit();
        for Money { amount, currency } in beyond {
            if amount > Minor::ZERO {
                // One record makes one debit; in another currency the next record makes it.
                if let Some((_, own)) = self.own().filter(|(_, own)| own.debit.is_zero() || own.currency == currency) {
                    own.debit += amount;
                    (own.currency, own.number) = (currency, number);
                }
                continue;
            }
            let mut over = -amount;
            let later = self.layers.iter_mut().skip(draws).rev();
            for (layer, change) in later.filter(|(layer, _)| layer.currency == currency) {
                let part = over.min(layer.debit);
                change.debit -= part;
                over -= part;
            }
        }
        for (layer, change) in &mut self.layers {
            let is_own = layer.sequence == THIS && layer.debit.is_zero();
            change.funds = if is_own || change.debit > Minor::ZERO {
                // Held until the partner has made the debit, where the user's funds are in its currency.
                if claims.funds() == Some(change.currency) { change.debit } else { Minor::ZERO }
            } else {
                let open = if layer.sequence == THIS { layer.debit } else { claims.undebited(layer.sequence) };
                -open.min(-change.debit)
            };
        }
    }

    /// What the user's funds owe beyond every draw, at the first draw's rate or the first movement's.
    fn owed_beyond(&self, standing: &Standing) -> Option<Money> {
        let beyond = standing.owed - standing.draws.iter().map(|draw| draw.owed).sum();
        if self.row.source != Some(Source::Crypto) || beyond.is_zero() {
            return None;
        }
        let (funds, paid) = match self.row.draws.first() {
            Some(draw) => (draw.funds?, draw.paid.amount),
            None => funds_of_movements(self.row)?,
        };
        Some(Money { amount: proportion(funds.amount, beyond, paid), currency: funds.currency })
    }

    /// The uses of the limit that UR shows now: of draws and claims that it took, or rejected.
    fn completes(&self, standing: &Standing) -> SmallVec<[Sequence; 1]> {
        let all = standing.is_all_taken();
        let draws = self.row.draws.len();
        let mut done = SmallVec::new();
        for (place, (layer, _)) in self.layers.iter().enumerate() {
            let draw = standing.draws.get(place).filter(|_| place < draws);
            let is_shown = all || draw.is_some_and(|draw| draw.taken >= draw.approved && !draw.taken.is_zero());
            if is_shown && layer.sequence != THIS && !layer.limit.is_zero() {
                done.push(layer.sequence);
            }
        }
        done
    }

    fn changes(self) -> SmallVec<[LayerChange; 1]> {
        self.layers.into_iter().map(|(_, change)| change).filter(|change| !change.is_none()).collect()
    }
}

/// Adds to the sum in the same currency.
fn add(sums: &mut SmallVec<[Money; 1]>, money: Money) {
    match sums.iter_mut().find(|sum| sum.currency == money.currency) {
        Some(sum) => sum.amount += money.amount,
        None => sums.push(money),
    }
}

/// What the user's funds owe for the movements of an authorization without a draw, and what the movements are worth.
fn funds_of_movements(row: &Authorization) -> Option<(Money, Minor)> {
    let with_funds = row.settlement().movements.iter().filter(|movement| movement.flow == Flow::Out);
    let movement = with_funds.filter(|movement| movement.funds.is_some()).min_by_key(|movement| movement.first)?;
    Some((movement.funds?, movement.value))
}

/// `ceil(amount × part / whole)`: the part may be larger than the whole.
fn proportion(amount: Minor, part: Minor, whole: Minor) -> Minor {
    if whole <= Minor::ZERO {
        return Minor::ZERO;
    }
    let (amount, part, whole) = (i128::from(amount.0), i128::from(part.0), i128::from(whole.0));
    let share = (amount * part + whole - 1) / whole;
    // Saturating: the figure is bounded before the record is written.
    Minor(i64::try_from(share).unwrap_or(i64::MAX))
}

/// The changes of pools and balances.
fn sources(
    row: &Authorization,
    standing: &Standing,
    evidence: Option<&Evidence>,
    spread: &Spread,
    claims: &dyn Claims,
    change: &mut Difference,
) {
    let held_before: Minor = row.layers().map(|layer| layer.held).sum();
    let mut own = SourceChange {
        currency: row.paid_currency,
        held: standing.held - held_before,
        available: spread.freed_unreflected - spread.risen,
        completed: Minor::ZERO,
        returned: Minor::ZERO,
    };
    own.returned = own.available.max(Minor::ZERO);
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
