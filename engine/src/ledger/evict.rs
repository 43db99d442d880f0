//! Evicts ids from memory that have long been on disk.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use super::Ledger;
use super::write_rows::BATCH;
use crate::store::StoreError;
use crate::time::UnixMillis;

impl Ledger {
    /// Evicts the ids that are on disk and were not touched for 15 minutes. Returns their number.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn evict(&self, now: UnixMillis) -> Result<usize, StoreError> {
        self.evict_with_rests(now, &mut || {})
    }

    /// As [`Ledger::evict`], with a rest after about each millisecond of work, so that decisions keep running.
    ///
    /// # Errors
    /// As there.
    pub fn evict_with_rests(&self, now: UnixMillis, rest: &mut dyn FnMut()) -> Result<usize, StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (watermark, since) = (tail.watermark, Self::kept_since(now));
        let mut forgotten = 0;
        self.records(tail.evicted, &mut |sequence, record| {
            if sequence > watermark || record.at >= since {
                return ControlFlow::Break(());
            }
            let ids = record.fact.indexed().map(|entry| self.ids.key(entry.id));
            forgotten += ids.filter(|key| self.ids.evict(*key, sequence, true)).count();
            tail.evicted = sequence;
            if sequence.0 % BATCH as u64 == 0 {
                rest();
            }
            ControlFlow::Continue(())
        })?;
        Ok(forgotten)
    }
}
