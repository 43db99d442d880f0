//! The layers of an authorization's claims: which draw or later record holds, owes and uses how much of the limit.

use smallvec::SmallVec;

use super::settle::{Claims, THIS};
use super::standing::{DrawStanding, Standing};
use crate::fact::{Flow, LayerChange, Movement, Source};
use crate::money::{ChfMinor, Minor, Money};
use crate::rows::{Authorization, Layer};

/// Where a change of the held amount goes.
#[derive(Default)]
pub(super) struct Spread {
    /// Newly claimed.
    pub(super) risen: Minor,
    /// Given up: what no report includes.
    pub(super) freed_unreflected: Minor,
    /// Change of what is held above the approved amounts.
    pub(super) upcharged: Minor,
}

/// The layers while a change is made.
pub(super) struct Layers<'a> {
    row: &'a Authorization,
    /// Oldest first; the record's own is last.
    order: Vec<usize>,
    layers: Vec<(Layer, LayerChange)>,
}

impl<'a> Layers<'a> {
    pub(super) fn of(row: &'a Authorization) -> Layers<'a> {
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
                shown: ChfMinor::ZERO,
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

    /// Takes the youngest first from now on.
    pub(super) fn turn(&mut self) {
        self.order.reverse();
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
    pub(super) fn hold(
        &mut self,
        standing: &Standing,
        taken: Minor,
        mut settled: Minor,
        claims: &dyn Claims,
    ) -> Spread {
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

    /// Changes what is held above the approved amounts. Returns the change at the source.
    pub(super) fn upcharge(&mut self, standing: &Standing) -> Minor {
        let draws = self.row.draws.iter().zip(&standing.draws);
        let mut changed = Minor::ZERO;
        for ((draw, stands), (_, change)) in draws.zip(&mut self.layers) {
            change.upcharge = draw.upcharge().of_paid(stands.upcharge) - draw.upcharge_held();
            changed += change.upcharge.paid;
        }
        changed
    }

    /// Changes the uses of the limit: a draw's own use only falls; a later use is this record's own.
    pub(super) fn limit(&mut self, standing: &Standing) {
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
    pub(super) fn owe(&mut self, standing: &Standing, claims: &dyn Claims) {
        let draws = self.row.draws.len();
        // What is owed beyond the draws' own debits, by the currency of the user's funds: it may change between draws.
        let mut beyond: SmallVec<[Money; 1]> = SmallVec::new();
        beyond.extend(owed_beyond(self.row, standing));
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

    /// What UR shows of the uses of the limit: those of all draws that it took, and where it took all, every use. UR may
    /// show more of an authorization later, so that one is not all taken any more.
    pub(super) fn show(&mut self, standing: &Standing) {
        let is_taken = |draw: &&DrawStanding| draw.taken >= draw.approved && !draw.taken.is_zero();
        let uses = self.layers.iter().map(|(layer, change)| layer.limit + change.limit);
        let mut shown = if standing.is_all_taken() {
            uses.sum()
        } else {
            standing.draws.iter().filter(is_taken).map(|draw| draw.limit).sum::<ChfMinor>()
        };
        for (layer, change) in &mut self.layers {
            let part = shown.min(layer.limit + change.limit);
            shown -= part;
            change.shown = part - layer.shown;
        }
    }

    pub(super) fn changes(self) -> SmallVec<[LayerChange; 1]> {
        self.layers.into_iter().map(|(_, change)| change).filter(|change| !change.is_none()).collect()
    }
}

/// What the user's funds owe beyond every draw, at the first draw's rate or the first movement's.
pub(super) fn owed_beyond(row: &Authorization, standing: &Standing) -> Option<Money> {
    let beyond = standing.owed - standing.draws.iter().map(|draw| draw.owed).sum();
    if row.source != Some(Source::Crypto) || beyond.is_zero() {
        return None;
    }
    let (funds, paid) = match row.draws.first() {
        Some(draw) => (draw.funds?, draw.paid.amount),
        None => funds_of_movements(row)?,
    };
    Some(Money { amount: proportion(funds.amount, beyond, paid), currency: funds.currency })
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
    let tells = |movement: &&Movement| movement.funds.is_some() && !movement.value.is_zero();
    let movement = with_funds.filter(tells).min_by_key(|movement| movement.first)?;
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
