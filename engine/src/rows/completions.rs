//! Settled debits that no report provably includes yet.

use serde::{Deserialize, Serialize};

use crate::ids::Sequence;
use crate::money::{Currency, Minor, SUM_MAX};

/// Maximum separate completions; beyond it the two oldest merge into one that needs the later proof.
const COMPLETIONS_MAX: usize = 8_192;

/// Debits of a pool or balance that UR has settled and no report provably includes yet, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions(std::collections::VecDeque<Completion>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Completion {
    /// The record that showed the settlement.
    at: Sequence,
    currency: Currency,
    amount: Minor,
}

impl Completions {
    /// Adds a completion; ignores a zero amount.
    pub fn add(&mut self, at: Sequence, currency: Currency, amount: Minor) {
        if amount <= Minor::ZERO {
            return;
        }
        self.0.push_back(Completion { at, currency, amount });
        if self.0.len() > COMPLETIONS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            match self.0.iter_mut().find(|next| next.currency == oldest.currency) {
                // Saturating: each amount is above zero and never lowered, so a sum at the end of i64 only exceeds any
                // balance.
                Some(next) => next.amount = next.amount.saturating_add(oldest.amount),
                None => self.0.push_front(oldest),
            }
        }
    }

    /// The debits that a report in `currency`, requested after `through`, proves. Capped at [`SUM_MAX`], because no
    /// figure exceeds it.
    #[must_use]
    pub fn through(&self, through: Sequence, currency: Currency) -> Minor {
        let proven = self.0.iter().filter(|done| done.at <= through && done.currency == currency);
        proven.fold(Minor::ZERO, |sum, done| sum.saturating_add(done.amount)).min(SUM_MAX)
    }

    /// Removes the debits that [`Completions::through`] counts.
    pub fn forget(&mut self, through: Sequence, currency: Currency) {
        self.0.retain(|done| done.at > through || done.currency != currency);
    }
}
