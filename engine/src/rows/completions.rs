//! Settled debits that no report is proven to hold yet.

use serde::{Deserialize, Serialize};

use crate::ids::Sequence;
use crate::money::{Currency, Minor, SUM_MAX};

/// Completions kept apart; beyond it the two oldest become one that is proven as late as the later of them.
const COMPLETIONS_MAX: usize = 8_192;

/// A pool's or balance's debits that UR has completed and no report is proven to hold yet, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions(std::collections::VecDeque<Completion>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Completion {
    /// The record that showed it.
    at: Sequence,
    currency: Currency,
    amount: Minor,
}

impl Completions {
    /// Notes one; nothing is noted as nothing.
    pub fn add(&mut self, at: Sequence, currency: Currency, amount: Minor) {
        if amount <= Minor::ZERO {
            return;
        }
        self.0.push_back(Completion { at, currency, amount });
        if self.0.len() > COMPLETIONS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            match self.0.iter_mut().find(|next| next.currency == oldest.currency) {
                // Each is above zero and none is ever lowered: at the end of i64 they are only more than any balance.
                Some(next) => next.amount = next.amount.saturating_add(oldest.amount),
                None => self.0.push_front(oldest),
            }
        }
    }

    /// What a report in `currency` that was asked for after `through` proves; more than [`SUM_MAX`] proves no more than
    /// that, because no figure exceeds it.
    #[must_use]
    pub fn through(&self, through: Sequence, currency: Currency) -> Minor {
        let proven = self.0.iter().filter(|done| done.at <= through && done.currency == currency);
        proven.fold(Minor::ZERO, |sum, done| sum.saturating_add(done.amount)).min(SUM_MAX)
    }

    /// Forgets what [`Completions::through`] counts.
    pub fn forget(&mut self, through: Sequence, currency: Currency) {
        self.0.retain(|done| done.at > through || done.currency != currency);
    }
}
