//! Follows the durable journal: the tail behind forecasts and statements.
//!
//! It starts at the journal's first record, on a thread of its own that yields to decisions, so that serving never
//! waits for it. Every few minutes it stores its state in a file of the data directory. The file is only a cache: if it
//! is missing, damaged, of another version, or of another journal, it is ignored and everything is read again.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tapgate_engine::fact::Day;
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::money::Currency;
use tapgate_engine::rows::PoolFigures;
use tapgate_engine::store::StoreError;
use tapgate_engine::time::UnixMillis;

use super::burn::Burn;
use super::calendar::CreditCalendar;
use super::forecast::{Forecast, NoForecast, PoolNow, Rules, forecast};
use super::outcomes::Outcomes;
use super::position::position;
use super::statement::Statement;
use super::tail::Tail;
use crate::clock::Clock;
use crate::stopping::Stopping;

/// In real time. After a crash, the records since the last write are read again.
const CACHE_INTERVAL: Duration = Duration::from_secs(300);
/// The interval of looking for new records, once all of the journal is read.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Its minimum in real time, for a fast virtual clock.
const FOLLOW_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// The interval of log lines about the progress.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Records per batch.
const RECORDS_MAX: usize = 10_000;

/// Where what is known is kept from one run of the process to the next.
pub trait Cache: Send + Sync {
    /// What was kept last, whole or torn: a check sum in it tells.
    fn read(&self) -> Option<Vec<u8>>;

    /// Keeps this in its place.
    ///
    /// # Errors
    /// It could not be written.
    fn replace(&self, bytes: &[u8]) -> std::io::Result<()>;
}

/// When top-ups are credited and needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Without people's closures.
    pub calendar: CreditCalendar,
    pub rules: Rules,
}

/// The pools' history, folded from the journal.
#[derive(Debug)]
pub struct Follower {
    /// As configured, without people's closures.
    calendar: CreditCalendar,
    rules: Rules,
    tail: Mutex<Tail>,
    /// Whether all of the journal has been read once.
    is_caught_up: AtomicBool,
}

/// A pool with its forecast.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolForecast {
    /// Its figures, and the money in flight.
    pub pool: PoolNow,
    pub forecast: Result<Forecast, NoForecast>,
    /// The mean expected spending per hour, until the credit of the cut-off after the next; in smallest units.
    pub burn_per_hour: Option<f64>,
}

impl PoolForecast {
    /// The probability that the pool runs dry before money can arrive, 0 to 1; `None` without a forecast.
    #[must_use]
    pub fn probability_empty(&self) -> Option<f64> {
        match &self.forecast {
            Ok(forecast) => Some(forecast.probability_empty),
            Err(NoForecast::NoWindow { probability_empty }) => Some(*probability_empty),
            Err(NoForecast::TooLittleHistory | NoForecast::TooLarge) => None,
        }
    }
}

/// The journal is still being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is still being read: {known} of {all} records; ask again in a while")]
pub struct CatchingUp {
    /// The last record read.
    pub known: Sequence,
    /// The journal's last record.
    pub all: Sequence,
}

impl Follower {
    #[must_use]
    pub fn new(settings: Settings) -> Follower {
        let Settings { calendar, rules } = settings;
        let tail = Mutex::new(Tail::new(&calendar));
        Follower { rules, tail, calendar, is_caught_up: AtomicBool::new(false) }
    }

    /// The configured calendar with people's closures.
    #[must_use]
    pub fn calendar(&self, ledger: &Ledger) -> CreditCalendar {
        self.calendar.with_closures(ledger.closures().into_iter().map(|(_, closed)| closed))
    }

    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether all of the journal has been read once.
    ///
    /// # Errors
    /// The progress, while the journal is still being read.
    pub fn ready(&self, ledger: &Ledger) -> Result<(), CatchingUp> {
        if self.is_caught_up.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(CatchingUp { known: self.tail().cursor, all: ledger.journal().durable() })
    }

    /// The pool's forecast at `now`.
    #[must_use]
    pub fn forecast_pool(&self, ledger: &Ledger, figures: &PoolFigures, now: UnixMillis) -> PoolForecast {
        let calendar = self.calendar(ledger);
        let pool = position(figures, &ledger.in_flight(figures.currency), &calendar, now);
        let burn = self.burn(figures.currency, now);
        let forecast = forecast(&burn, &calendar, (&pool, &self.rules), now);
        let burn_per_hour = forecast.as_ref().ok().zip(burn.outlook()).map(|(forecast, outlook)| {
            let until = forecast.next_window.credited_at;
            outlook.spend(now, until).mean * 3_600_000.0 / (until.0.saturating_sub(now.0).max(1)) as f64
        });
        PoolForecast { pool, forecast, burn_per_hour }
    }

    /// See [`super::statement::Statements::of`].
    #[must_use]
    pub fn statement(&self, currency: Currency, day: Day, now: UnixMillis) -> Option<Statement> {
        self.tail().statements.of(currency, day, self.calendar.day(now).0)
    }

    #[must_use]
    pub fn outcomes(&self, now: UnixMillis) -> Outcomes {
        let mut outcomes = self.tail().outcomes.clone();
        outcomes.roll(now);
        outcomes
    }

    #[must_use]
    pub fn has_spent(&self, currency: Currency) -> bool {
        self.tail().has_spent(currency)
    }

    fn burn(&self, currency: Currency, now: UnixMillis) -> Burn {
        // A copy, so that other readers do not wait while it learns the hours since.
        let mut burn = self.tail().burn(currency);
        burn.roll(now);
        burn
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds all durable records.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn catch_up(&self, ledger: &Ledger) -> Result<(), StoreError> {
        while self.turn(ledger)? {}
        Ok(())
    }

    /// Folds the next batch of records; returns whether there may be more.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn turn(&self, ledger: &Ledger) -> Result<bool, StoreError> {
        let mut read = 0;
        let cursor = self.tail().cursor;
        ledger.records(cursor, &mut |sequence, record| {
            let mut tail = self.tail();
            // Another reader may have folded this record already.
            if sequence > tail.cursor {
                tail.apply(sequence, &record, &self.calendar);
            }
            read += 1;
            if read == RECORDS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let more = read == RECORDS_MAX;
        if !more {
            self.is_caught_up.store(true, Ordering::Release);
        }
        Ok(more)
    }

    /// Loads the cache, if it fits the journal. Returns the last record that it covers.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn resume(&self, ledger: &Ledger, cache: &dyn Cache) -> Result<Sequence, StoreError> {
        let cached = cache.read();
        if let Some((cached, head)) = cached.and_then(|bytes| Tail::decode(&bytes, &self.calendar))
            && ledger.head_at(cached.cursor)? == Some(head)
        {
            *self.tail() = cached;
        }
        Ok(self.tail().cursor)
    }

    /// Replaces the cache.
    ///
    /// # Errors
    /// The journal could not be read, or the cache not written.
    pub fn save(&self, ledger: &Ledger, cache: &dyn Cache) -> std::io::Result<()> {
        let snapshot = self.tail().clone();
        let head = ledger.head_at(snapshot.cursor).map_err(std::io::Error::other)?;
        let head = head.ok_or_else(|| std::io::Error::other("the journal lacks the records read last"))?;
        cache.replace(&snapshot.encode(&head).map_err(std::io::Error::other)?)
    }
}

/// The job that keeps the follower behind the journal.
pub struct Following {
    /// What is kept.
    pub follower: Arc<Follower>,
    /// The journal.
    pub ledger: Arc<Ledger>,
    /// Whose time it lives in.
    pub clock: Arc<Clock>,
    /// Spares a restart reading the whole journal.
    pub cache: Arc<dyn Cache>,
}

impl Following {
    /// Follows until the end is asked for.
    pub async fn run(self, stopping: Stopping) {
        let Following { follower, ledger, clock, .. } = &self;
        let resumed = follower.resume(ledger, &*self.cache).unwrap_or_else(|error| {
            tracing::warn!(%error, "treasury's cache could not be compared with the journal; all of it is read again");
            Sequence::ZERO
        });
        let began = clock.running();
        let (mut logged, mut saved) = (began, began);
        let mut was_caught_up = false;
        while !stopping.is_set() {
            let more = follower.turn(ledger).unwrap_or_else(|error| {
                tracing::warn!(%error, "the journal could not be read by treasury; tried again");
                false
            });
            let now = clock.running();
            let is_caught_up = follower.is_caught_up.load(Ordering::Acquire);
            if is_caught_up && !was_caught_up {
                was_caught_up = true;
                let (millis, records) = ((now - began).as_millis(), follower.tail().cursor.0 - resumed.0);
                tracing::info!(records, cached = resumed.0, millis, "treasury has read the journal");
            } else if !is_caught_up && now - logged > LOG_INTERVAL {
                logged = now;
                let (known, all) = (follower.tail().cursor.0, ledger.journal().durable().0);
                tracing::info!(known, all, "treasury reads the journal; there are no forecasts until it has");
            }
            if now - saved > CACHE_INTERVAL {
                saved = now;
                self.save();
            }
            if more {
                tokio::task::yield_now().await;
            } else {
                clock.rest(FOLLOW_INTERVAL, FOLLOW_INTERVAL_MIN, &stopping).await;
            }
        }
        self.save();
    }

    fn save(&self) {
        if let Err(error) = self.follower.save(&self.ledger, &*self.cache) {
            tracing::warn!(%error, "treasury's cache was not written: the next start reads more");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
