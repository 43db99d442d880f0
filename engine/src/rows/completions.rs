//! Settled debits that no report provably includes yet.

use serde::{Deserialize, Serialize};

use crate::fact::Difference;
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
    /// The record that claimed it.
    claimed: Sequence,
    currency: Currency,
    amount: Minor,
}

impl Completions {
    /// Adds a completion; ignores a zero amount.
    pub fn add(&mut self, at: Sequence, claimed: Sequence, currency: Currency, amount: Minor) {
        if amount <= Minor::ZERO {
            return;
        }
        self.0.push_back(Completion { at, claimed, currency, amount });
        if self.0.len() > COMPLETIONS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            match self.0.iter_mut().find(|next| next.currency == oldest.currency) {
                // Saturating: each amount is above zero and never lowered, so a sum at the end of i64 only exceeds any
                // balance.
                Some(next) => {
                    next.amount = next.amount.saturating_add(oldest.amount);
                    next.claimed = next.claimed.min(oldest.claimed);
                }
                None => self.0.push_front(oldest),
            }
        }
    }

    /// Adds what a difference settles of claims that no report reflects, and what it takes from nothing held.
    pub(crate) fn add_settled(
        &mut self,
        at: Sequence,
        reflected_through: Sequence,
        currency: Currency,
        from_nothing: Minor,
        difference: &Difference,
    ) {
        if currency == difference.currency {
            for layer in &difference.layers {
                let claimed = layer.sequence.unwrap_or(at);
                if claimed > reflected_through {
                    self.add(at, claimed, currency, layer.settled);
                }
            }
        }
        self.add(at, at, currency, from_nothing);
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

    /// Removes the debits whose claim a person declared reflected: a UR report must not deduct them again.
    pub fn forget_claims(&mut self, through: Sequence) {
        self.0.retain(|done| done.claimed > through);
    }
}
