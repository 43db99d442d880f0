//! Changes of what all decisions share.

use std::sync::Arc;

use super::ChangeError;
use crate::fact::{Author, Fact};
use crate::journal::{Settles, Word};
use crate::ledger::commit::append;
use crate::ledger::pool::Pool;
use crate::ledger::{Ledger, Shared};
use crate::rows::PoolFigures;
use crate::time::UnixMillis;

impl Ledger {
    /// A change of what all decisions share, made while none runs.
    pub(in crate::ledger) fn program_change(
        &self,
        author: &Author,
        at: UnixMillis,
        mut shared: crossbeam::sync::ShardedLockWriteGuard<'_, Shared>,
        fact: Fact,
    ) -> Result<Arc<Word>, ChangeError> {
        let permit = self.journal.reserve()?;
        let word = Word::pending();
        let (sequence, fact) = append(permit, author.clone(), at, fact, Settles::Decision(Arc::clone(&word)));
        shared.program.apply(at, &fact);
        for currency in fact.pools() {
            let mut figures = shared.pool(currency).map_or_else(|| PoolFigures::empty(currency), Pool::figures);
            figures.apply(sequence, at, &fact);
            match shared.pools.iter_mut().find(|pool| pool.currency() == currency) {
                Some(pool) => pool.replace(figures),
                None => shared.pools.push(Pool::new(figures)),
            }
        }
        if let Fact::PoolCredited(_) = &fact {
            self.lock_prefunds().apply(sequence, at, author, &fact);
        }
        Ok(word)
    }
}
