//! Sets a journal right whose last record lies in the future.

use std::sync::Arc;

use compact_str::CompactString;

use super::ChangeError;
use crate::fact::{Author, CLOCK_REASON_BYTES_MAX, ClockSet, Fact};
use crate::ids::UrId;
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::ledger::pool::Pool;
use crate::sync::Ordering;
use crate::time::{UnixMillis, UnixSeconds};

impl Ledger {
    /// Sets the journal's time back to `to`, and with it everything that only the wrong clock stamped later: the ages of
    /// reports and rates, and the times of users' spends. Call it while nothing else runs.
    ///
    /// # Errors
    /// The journal's last record is not later than `to`, or the reason is missing; nothing has changed.
    pub fn set_clock(&self, author: &Author, to: UnixMillis, reason: &str) -> Result<Arc<Ticket>, ChangeError> {
        if !(1..=CLOCK_REASON_BYTES_MAX).contains(&reason.len()) {
            return Err(ChangeError::Invalid(format!("the reason has 1 to {CLOCK_REASON_BYTES_MAX} bytes")));
        }
        let mut admin = self.lock_admin();
        let shared = self.stop_decisions();
        let from = UnixMillis(self.latest.load(Ordering::Acquire));
        if from <= to {
            return Err(ChangeError::Conflict(
                "the journal's last record is not in the future: there is nothing to set right".to_owned(),
            ));
        }
        let pools = shared.pools.iter().map(Pool::currency).collect();
        let fact = Fact::ClockSet(Box::new(ClockSet { from, to, reason: CompactString::from(reason), pools }));
        let ticket = self.commit(shared, author, to, fact, |shared, sequence, record| {
            shared.apply(&record.fact.touches(sequence), sequence, record);
            admin.aged.apply(sequence, record.at, &record.fact);
            self.latest.store(to.0, Ordering::Release);
        })?;
        drop(admin);
        let ids: Vec<UrId> = self.users.iter().map(|row| row.key().clone()).collect();
        for id in ids {
            self.age_user(&id, to, UnixSeconds(i64::MIN), to)?;
        }
        Ok(ticket)
    }
}
