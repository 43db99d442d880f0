//! A user's money: the partner's funds, and fiat balances at UR.

use serde::{Deserialize, Serialize};

use super::{Rest, User};
use crate::fact::{FundsReplaced, Import};
use crate::money::{Currency, Minor, Money};

/// The partner's figure of the user's funds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funds {
    /// As the partner last set it.
    pub amount: Minor,
    pub currency: Currency,
    /// The partner's version of the figure; only rises, except that an import resets it to 0.
    pub version: u64,
    /// Held for approvals that the partner has not debited yet.
    pub held: Minor,
}

impl Funds {
    /// The amount that further approvals may take.
    #[must_use]
    pub fn available(&self) -> Minor {
        self.amount - self.held
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiatBalance {
    pub currency: Currency,
    /// As UR last reported it.
    pub amount: Minor,
    /// Whether the user allows UR's card contract to debit it.
    pub allowance: bool,
    /// Held for approvals that `amount` does not reflect.
    pub held: Minor,
}

impl FiatBalance {
    /// The amount that further approvals may take.
    #[must_use]
    pub fn available(&self) -> Minor {
        self.amount - self.held
    }
}

impl User {
    /// Changes the balance in a currency; a new balance starts empty and without an allowance.
    pub(super) fn with_balance(&mut self, currency: Currency, change: impl FnOnce(&mut FiatBalance)) {
        let fiat = &mut self.rare_mut().fiat;
        if let Some(balance) = fiat.iter_mut().find(|balance| balance.currency == currency) {
            return change(balance);
        }
        let mut fresh = FiatBalance { currency, amount: Minor::ZERO, allowance: false, held: Minor::ZERO };
        change(&mut fresh);
        fiat.push(fresh);
    }

    pub(super) fn hold_fiat(&mut self, currency: Currency, change: Minor) {
        self.with_balance(currency, |balance| balance.held += change);
    }

    pub(super) fn import_fiat(&mut self, import: &Import) {
        let fiat = &mut self.rare_mut().fiat;
        let before = std::mem::take(fiat);
        let held_in = |currency| before.iter().find(|old| old.currency == currency).map_or(Minor::ZERO, |old| old.held);
        fiat.extend(import.fiat.iter().map(|new| FiatBalance {
            currency: new.currency,
            amount: new.amount,
            allowance: new.allowance,
            held: held_in(new.currency),
        }));
        for old in before.into_iter().filter(|old| !old.held.is_zero()) {
            if fiat.iter().all(|new| new.currency != old.currency) {
                // A balance missing from the import still owes its holds.
                fiat.push(FiatBalance { amount: Minor::ZERO, allowance: false, ..old });
            }
        }
    }

    pub(super) fn replace_funds(&mut self, replaced: &FundsReplaced) {
        let mut held = self.funds.map_or(Minor::ZERO, |funds| funds.held);
        if let Some(Rest { holds, .. }) = self.rest.as_deref_mut() {
            for ended in &replaced.ended {
                if let Some(hold) = holds.iter_mut().find(|hold| hold.sequence == *ended) {
                    held -= hold.funds;
                    hold.funds = Minor::ZERO;
                }
            }
            holds.retain(|hold| !hold.is_over());
        }
        let Money { amount, currency } = replaced.funds;
        self.funds = Some(Funds { amount, currency, version: replaced.version, held });
    }
}
