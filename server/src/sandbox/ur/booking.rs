//! What the books expect of a tap, and what they hold of an authorization.

use super::contract::Code;
use crate::sandbox::tap::Tap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Payment {
    pub(in crate::sandbox) source: &'static str,
    pub(in crate::sandbox) currency: Code,
    pub(in crate::sandbox) paid: u64,
    pub(in crate::sandbox) chf: u64,
    pub(in crate::sandbox) funds: u64,
}

/// The result that the books expect of a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Expected {
    Approved(Payment),
    Declined(&'static str),
    /// The amount that a reversal or advice returns, in the transaction currency.
    Returned(u64),
}

/// One approved decision of an authorization.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    pub(super) id: String,
    pub(super) amount: u64,
    pub(super) remaining: u64,
    pub(super) paid: u64,
    /// The hold on the user's funds.
    pub(super) funds: u64,
    /// Debited of the user's funds for the whole amount, now or later.
    pub(super) debit: u64,
    /// Francs counted against the limit.
    pub(super) chf: u64,
}

impl Draw {
    /// The hold for the remaining amount.
    pub(super) fn held(&self, remaining: u64) -> u64 {
        share_up(self.paid, remaining, self.amount)
    }
}

/// `ceil(whole × part / of)`.
pub(super) fn share_up(whole: u64, part: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    u64::try_from((u128::from(whole) * u128::from(part)).div_ceil(u128::from(of))).unwrap_or(u64::MAX)
}

#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Booking {
    pub(in crate::sandbox) ur_id: String,
    card: String,
    pub(super) currency: Code,
    pub(super) state: &'static str,
    pub(super) source: &'static str,
    pub(super) paid_in: Code,
    /// The amount that UR took and has not returned, in the currency paid in.
    pub(super) booked: u64,
    /// Given back in tapgate's books while UR shows the debit whole: claimed again once a row is told.
    pub(super) reclaimable: u64,
    pub(super) draws: Vec<Draw>,
}

impl Booking {
    pub(super) fn open(tap: &Tap, state: &'static str) -> Booking {
        Booking {
            ur_id: tap.ur_id.clone(),
            card: tap.card.clone(),
            currency: tap.merchant.currency,
            state,
            source: "",
            paid_in: tap.merchant.currency,
            booked: 0,
            reclaimable: 0,
            draws: Vec::new(),
        }
    }

    pub(super) fn is_of(&self, tap: &Tap) -> bool {
        self.ur_id == tap.ur_id && self.card == tap.card && self.currency == tap.merchant.currency
    }

    /// Whether it is this user's.
    pub(super) fn is_of_user(&self, ur_id: &str) -> bool {
        self.ur_id == ur_id
    }

    /// The amounts, in the currency paid in, by which a settlement without a reference may be taken for its own.
    pub(super) fn amounts(&self) -> impl Iterator<Item = u64> {
        let whole = self.draws.iter().map(|draw| draw.paid);
        let left = self.draws.iter().map(|draw| draw.held(draw.remaining));
        whole.chain(left.clone()).chain([left.sum(), self.booked])
    }

    /// What the user owes where UR took so much in the currency paid in, and the units by which it may differ: of a price
    /// each draw and return is rounded by itself, and UR prices a return anew.
    #[cfg(test)]
    pub(in crate::sandbox) fn owed_for(&self, took: i64) -> (i64, u64) {
        let sum = |of: fn(&Draw) -> u64| self.draws.iter().map(of).sum::<u64>();
        let (paid, debit) = (sum(|draw| draw.paid), sum(|draw| draw.debit));
        let owed = if paid == 0 { took } else { took * debit.cast_signed() / paid.cast_signed() };
        let is_given_back = self.draws.iter().any(|draw| draw.remaining < draw.amount);
        let units = self.draws.len() as u64 + 1;
        let differs = match (paid == debit, self.currency == self.paid_in, is_given_back) {
            (true, true, _) => 0,
            (_, false, true) => 2 * units + debit / 90,
            _ => 2 * units,
        };
        (owed, differs)
    }

    /// In the transaction currency.
    pub(in crate::sandbox) fn remaining(&self) -> u64 {
        self.draws.iter().map(|draw| draw.remaining).sum()
    }
}
