//! The evidence on one authorization, and what was recorded of it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::bytes::Fingerprint;
use crate::fact::{
    BreakKind, Closing, Difference, Discrepancy, EVIDENCE_MAX, EndCause, Ended, Evidence, Flow, LayerChange, Mismatch,
    Movement, Overdue, Progress, Shown, Summed, UseChange,
};
use crate::ids::{AuthorizationId, BreakId, Sequence};
use crate::money::{ChfMinor, Currency, Minor};

/// Movements that a row lists; beyond it the oldest final ones become sums.
const MOVEMENTS_MAX: usize = 64;

/// What one record claims of the source, the limit and the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The record that made the claim: proofs are tested against it.
    pub sequence: Sequence,
    /// Held at the source, in the currency paid in.
    pub held: Minor,
    /// Francs counted against the limit.
    pub limit: ChfMinor,
    /// Of `limit`, the part that UR has shown.
    pub shown: ChfMinor,
    /// Debited of the user and not returned, in `currency`.
    pub debit: Minor,
    pub currency: Currency,
    /// Number of the debit within its authorization: the first has the decision's own id.
    pub number: u16,
}

impl Layer {
    pub(crate) fn change(&mut self, change: &LayerChange) {
        self.held += change.held;
        self.limit += change.limit;
        self.shown += change.shown;
        self.debit += change.debit;
    }

    fn is_over(&self) -> bool {
        self.held.is_zero() && self.limit.is_zero() && self.debit.is_zero()
    }
}

/// Sums of movements that the row does not list any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub out: Minor,
    pub out_limit: ChfMinor,
    pub returned: Minor,
    pub returned_limit: ChfMinor,
    pub rejected: Minor,
    pub count: u16,
    /// UR showed one of them completed, and rejected too.
    pub is_contradicted: bool,
}

/// A use of the limit by a return of UR's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnUse {
    /// The record that counted it.
    pub sequence: Sequence,
    pub limit: ChfMinor,
    /// Of `limit`, the part that UR has shown.
    pub shown: ChfMinor,
}

/// How and when we ended the holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// It expired; else a person or the deadline released it.
    pub is_expiry: bool,
    /// Taken by UR until then.
    pub taken: Minor,
}

/// A break that was opened and is still true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldBreak {
    pub id: BreakId,
    pub kind: BreakKind,
    /// Its field and values.
    pub content: Fingerprint,
}

/// Evidence after the decision, and what was recorded of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Announced by callbacks and counted, in the transaction currency.
    pub announced: Minor,
    /// Announced by callbacks in total.
    pub announced_in_total: Minor,
    /// Francs of the callbacks, each rounded as UR does.
    pub announced_limit: ChfMinor,
    /// Francs of `announced`, rounded once: callbacks that announce more than was approved count no more.
    pub announced_limit_max: ChfMinor,
    /// The last callback that contradicts the authorization.
    pub mismatch: Option<Mismatch>,
    pub movements: Vec<Movement>,
    pub sums: Sums,
    /// Pieces of evidence so far.
    pub evidence: u16,
    pub ended: Option<End>,
    /// What UR was to show and has not shown in time.
    pub overdue: SmallVec<[Overdue; 1]>,
    pub is_written_off: bool,
    /// The user owes movements that no decision stands behind.
    pub is_charged: bool,
    /// Taken by UR, as recorded.
    pub taken: Minor,
    /// Claims that rose after the decisions, oldest first.
    pub layers: Vec<Layer>,
    /// Number of the last debit.
    pub debits: u16,
    /// Francs by which UR's returns used the limit, as recorded, oldest first.
    pub return_uses: Vec<ReturnUse>,
    /// Breaks that are true, as recorded.
    pub breaks: Vec<ToldBreak>,
    /// Movements that another root took over.
    pub moved: Vec<(Fingerprint, AuthorizationId)>,
}

impl Settlement {
    pub(crate) const NONE: &'static Settlement = &Settlement {
        announced: Minor::ZERO,
        announced_in_total: Minor::ZERO,
        announced_limit: ChfMinor::ZERO,
        announced_limit_max: ChfMinor::ZERO,
        mismatch: None,
        movements: Vec::new(),
        sums: Sums {
            out: Minor::ZERO,
            out_limit: ChfMinor::ZERO,
            returned: Minor::ZERO,
            returned_limit: ChfMinor::ZERO,
            rejected: Minor::ZERO,
            count: 0,
            is_contradicted: false,
        },
        evidence: 0,
        ended: None,
        overdue: SmallVec::new_const(),
        is_written_off: false,
        is_charged: false,
        taken: Minor::ZERO,
        layers: Vec::new(),
        debits: 0,
        return_uses: Vec::new(),
        breaks: Vec::new(),
        moved: Vec::new(),
    };

    pub(crate) fn is_shown(&self) -> bool {
        !self.movements.is_empty() || self.sums.count > 0
    }

    /// Whether this is overdue.
    #[must_use]
    pub fn is_overdue(&self, overdue: Overdue) -> bool {
        self.overdue.contains(&overdue)
    }

    /// Whether one more piece of evidence has an effect.
    #[must_use]
    pub fn has_room(&self) -> bool {
        usize::from(self.evidence) < EVIDENCE_MAX
    }

    /// All movements together, whatever their direction and status: a bound of every sum of them.
    #[must_use]
    pub fn value(&self) -> Minor {
        let listed: Minor = self.movements.iter().map(|movement| movement.value).sum();
        listed + self.sums.out + self.sums.returned + self.sums.rejected
    }

    /// The movement of this identity, while the row lists it.
    #[must_use]
    pub fn movement(&self, key: Fingerprint) -> Option<&Movement> {
        self.movements.iter().find(|movement| movement.key == key)
    }

    /// The number of a new debit.
    pub(crate) fn next_debit(&self) -> u16 {
        // Saturating: evidence is bounded far below.
        self.debits.max(1).saturating_add(1)
    }

    pub(crate) fn note(&mut self, sequence: Sequence, paid_in: Currency, evidence: &Evidence) {
        // Saturating: from its bound on, evidence has no effect.
        self.evidence = self.evidence.saturating_add(1);
        match evidence {
            Evidence::Announced(announced) => match &announced.mismatch {
                Some(mismatch) => self.mismatch = Some(mismatch.clone()),
                None => {
                    self.announced += announced.counted;
                    self.announced_limit += announced.limit;
                    self.announced_limit_max = self.announced_limit_max.max(announced.limit_max);
                    self.announced_in_total += announced.request.amount;
                }
            },
            Evidence::Shown(shown) => self.show(sequence, paid_in, shown),
            // A late decline took nothing: nothing ends.
            Evidence::Ended(Ended { draws, despite, .. }) if draws.is_empty() && despite.is_empty() => {}
            Evidence::Ended(Ended { cause, despite, .. }) => {
                self.ended = Some(End { is_expiry: matches!(cause, EndCause::Expired), taken: self.taken });
                for movement in self.movements.iter_mut().filter(|movement| despite.contains(&movement.key)) {
                    movement.is_ended = true;
                }
            }
            Evidence::Overdue(overdue) => {
                self.overdue.retain(|own| own != overdue);
                self.overdue.push(*overdue);
            }
            Evidence::Closed { closing, owed, .. } => match closing {
                Closing::WillCome => self.overdue.retain(|own| *own != Overdue::Return),
                Closing::Listed => self.overdue.retain(|own| *own != Overdue::Listing),
                Closing::WrittenOff => self.is_written_off = true,
                Closing::Charged => {
                    self.is_charged = true;
                    for (key, funds) in owed {
                        let own = self.movements.iter_mut().find(|movement| movement.key == *key);
                        own.into_iter().for_each(|movement| movement.funds = Some(*funds));
                    }
                }
            },
            Evidence::Linked(linked) => {
                self.movements.extend(linked.movements.iter().cloned());
                self.shorten(paid_in);
                self.moved.retain(|(key, _)| linked.movements.iter().all(|movement| movement.key != *key));
            }
        }
    }

    fn show(&mut self, sequence: Sequence, paid_in: Currency, shown: &Shown) {
        let (key, posting) = (shown.key(), &shown.posting);
        self.overdue.retain(|own| *own != Overdue::Listing);
        self.is_charged |= shown.is_charged;
        let mut is_contradicted = false;
        if let Some(Summed { progress, amount }) = shown.summed {
            if progress == Progress::Completed {
                self.sums.is_contradicted = true;
                return;
            }
            // It was refused, and is not: it counts by itself again.
            is_contradicted = posting.progress == Progress::Completed;
            self.sums.rejected -= if posting.flow == Flow::Out { amount } else { Minor::ZERO };
            // Saturating, as the count is.
            self.sums.count = self.sums.count.saturating_sub(1);
        }
        let Some(movement) = self.movements.iter_mut().find(|movement| movement.key == key) else {
            self.movements.push(Movement {
                key,
                flow: posting.flow,
                progress: posting.progress,
                is_contradicted,
                amount: posting.amount,
                value: shown.value,
                limit: shown.limit,
                funds: shown.funds,
                rates: shown.rates,
                draw: shown.draw,
                is_final: shown.is_final,
                is_ended: false,
                first: sequence,
                at: posting.at,
            });
            return self.shorten(paid_in);
        };
        let is_end = |progress: Progress| progress >= Progress::Rejected;
        movement.is_contradicted |=
            is_end(movement.progress) && is_end(posting.progress) && movement.progress != posting.progress;
        // Amounts may change until the movement is completed; what a status that it has passed says is old.
        if posting.progress >= movement.progress {
            movement.progress = posting.progress;
            movement.amount = posting.amount;
            (movement.value, movement.limit, movement.funds) = (shown.value, shown.limit, shown.funds);
            movement.rates = shown.rates;
        }
        movement.draw = movement.draw.or(shown.draw);
        movement.is_final |= shown.is_final;
    }

    /// Beyond [`MOVEMENTS_MAX`] the oldest final movements become part of the sums.
    fn shorten(&mut self, paid_in: Currency) {
        while self.movements.len() > MOVEMENTS_MAX {
            let Some(place) = self.movements.iter().position(|movement| movement.is_plain(paid_in)) else { return };
            let old = self.movements.remove(place);
            self.sum(&old);
        }
    }

    fn sum(&mut self, old: &Movement) {
        // Saturating: the count of movements is bounded by that of evidence.
        self.sums.count = self.sums.count.saturating_add(1);
        match (old.flow, old.progress) {
            (Flow::Out, Progress::Completed) => {
                self.sums.out += old.value;
                self.sums.out_limit += old.limit;
            }
            (Flow::In, Progress::Completed) => {
                self.sums.returned += old.value;
                self.sums.returned_limit += old.limit;
            }
            (Flow::Out, _) => self.sums.rejected += old.value,
            (Flow::In, _) => {}
        }
    }

    /// Removes movements that another root takes over.
    pub(crate) fn give_up(&mut self, movements: &[Movement], to: &AuthorizationId) {
        self.movements.retain(|own| movements.iter().all(|given| given.key != own.key));
        self.moved.extend(movements.iter().map(|movement| (movement.key, to.clone())));
    }

    pub(crate) fn change_layer(&mut self, sequence: Sequence, change: &LayerChange) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.sequence == sequence) {
            layer.change(change);
        } else {
            let mut layer = Layer {
                sequence,
                held: Minor::ZERO,
                limit: ChfMinor::ZERO,
                shown: ChfMinor::ZERO,
                debit: Minor::ZERO,
                currency: change.currency,
                number: 0,
            };
            if change.debit > Minor::ZERO {
                self.debits = change.number;
                layer.number = change.number;
            }
            layer.change(change);
            self.layers.push(layer);
        }
        self.layers.retain(|layer| !layer.is_over());
    }

    pub(crate) fn change(&mut self, sequence: Sequence, change: &Difference, breaks_before: usize) {
        self.taken += change.taken;
        for UseChange { sequence: made_by, limit, shown } in change.return_uses.iter().copied() {
            let made_by = made_by.unwrap_or(sequence);
            if let Some(used) = self.return_uses.iter_mut().find(|used| used.sequence == made_by) {
                used.limit += limit;
                used.shown += shown;
            } else {
                self.return_uses.push(ReturnUse { sequence: made_by, limit, shown });
            }
        }
        self.return_uses.retain(|used| !used.limit.is_zero());
        self.breaks.retain(|told| !change.resolved.contains(&told.id));
        // Saturating: a record opens few breaks.
        let first = u16::try_from(breaks_before).unwrap_or(u16::MAX);
        for (number, found) in (first..).zip(&change.opened) {
            let id = BreakId { opened: sequence, number };
            self.breaks.push(ToldBreak { id, kind: found.kind, content: content(found) });
        }
    }
}

/// What a break says, beside its kind and subject.
pub(crate) fn content(found: &Discrepancy) -> Fingerprint {
    let Discrepancy { kind, subject: _, field, ours, theirs } = found;
    let text: CompactString = compact_str::format_compact!("{} {field} {ours} {theirs}", kind.name());
    Fingerprint::of(text.as_bytes())
}
