//! Changes to the state that all decisions share.

use std::sync::Arc;

use super::ChangeError;
use crate::contract::pricing::Rates;
use crate::fact::{Author, Fact, Record, Touches};
use crate::ids::Sequence;
use crate::journal::Ticket;
use crate::ledger::pool::Pool;
use crate::ledger::{Ledger, Shared};
use crate::rows::PoolFigures;
use crate::sync::ShardedLockWriteGuard;
use crate::time::{Moment, UnixMillis};

impl Ledger {
    /// Commits a change to the state that all decisions share, while no decision runs.
    pub(in crate::ledger) fn program_change(
        &self,
        author: &Author,
        at: UnixMillis,
        shared: ShardedLockWriteGuard<'_, Shared>,
        fact: Fact,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let ticket = self.commit(shared, author, at, fact, |shared, sequence, record| {
            let touches = record.fact.touches(sequence);
            shared.apply(&touches, sequence, record);
            // Decisions wait meanwhile, so the shelves' lock is taken only for the one change that touches a shelf: a credit.
            if touches.credit.is_some() {
                self.lock_shelves().apply(&touches, sequence, record);
            }
        })?;
        Ok(ticket)
    }

    pub(in crate::ledger) fn change_rates(
        &self,
        author: &Author,
        at: UnixMillis,
        change: impl FnOnce(&Rates) -> Result<Rates, ChangeError>,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.stop_decisions();
        let mut rates = change(&shared.program.rates)?;
        rates.sort().map_err(ChangeError::Invalid)?;
        self.program_change(author, at, shared, Fact::RatesReplaced(Box::new(rates)))
    }

    /// Records the decision settings, unless the last recorded ones are the same.
    ///
    /// # Errors
    /// They were not recorded.
    pub fn record_policy(&self, now: Moment) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let shared = self.stop_decisions();
        if shared.program.policy.as_deref() == Some(&self.policy) {
            return Ok(None);
        }
        let fact = Fact::PolicyApplied(Box::new(self.policy.clone()));
        self.program_change(&Author::Engine, self.stamp(now), shared, fact).map(Some)
    }
}

impl Shared {
    /// Folds a record into the program and its pools.
    pub(in crate::ledger) fn apply(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) {
        self.program.apply(record.at, &record.fact);
        for &currency in &touches.pools {
            if self.pool(currency).is_none() {
                self.pools.push(Pool::new(PoolFigures::empty(currency)));
            }
            let pool = self.pools.iter_mut().find(|pool| pool.currency() == currency);
            pool.into_iter().for_each(|pool| pool.apply(sequence, record));
        }
    }
}
