//! Automatic prefunds: the job proposes the forecast's suggestions, asks for quotes, orders from UR and follows orders
//! until they are credited.
//!
//! **Money leaves at most once.** The `requestId` is on disk with the proposal and the whole call with the order, each
//! before the step that depends on it; until UR answers, this process or the next one repeats exactly the same call.
//! UR's final refusal ends an order only if it answers the order's first call: an earlier call whose answer was lost
//! may have been executed. The daily bounds count the orders in the ledger.

pub mod credits;
pub mod plan;
pub mod quote;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::prefund::REFERENCE_BYTES_MAX;
use tapgate_engine::fact::{Author, PrefundOrdered, PrefundProposed, PrefundSent};
use tapgate_engine::ids::{PrefundId, Sequence, UrId};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, Ledger, Page, PrefundChange};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::{PoolFigures, Prefund, Row};
use tapgate_engine::store::StoreError;
use tapgate_engine::time::{Moment, UnixMillis};

use self::plan::{Desk, Need, Note, Planned, Seen, Step, Subject, plan};
use self::quote::{corrected, fiat, usdc};
pub use self::settings::{AutoPrefund, AutoPrefundMode, Settings};
use crate::beside::Beside;
use crate::clock::Clock;
use crate::health::Health;
use crate::provider::api::{DepositOrder, Priority, QuoteAsked, UrApi, UrError};
use crate::randomness::Randomness;
use crate::signature::Address;
use crate::treasury::calendar::CreditCalendar;
use crate::treasury::follow::Follower;
use crate::treasury::position::is_unused;
use crate::wire::Malformed;

/// UR's name for the token that pays.
const USDC: &str = "USDC";

/// Steps of one turn: each pool needs four from the proposal to the answer.
const STEPS_MAX: usize = 100;

/// Quotes per order: the first ignores fees, the second corrects for them, the third for rounding.
const QUOTES_MAX: usize = 3;

/// Pause before an unanswered order is repeated; each further pause is twice as long, up to the maximum.
const AGAIN_MS: u64 = 5_000;
const AGAIN_MS_MAX: u64 = 600_000;

/// Failed attempts after which an alert is raised.
const ATTEMPTS_TOLD: u32 = 5;

/// Pause after an unacceptable quote, and between the quotes of a dry run.
const QUOTE_AGAIN_MS: u64 = 600_000;

/// Age up to which closed prefunds count: longer than any wait after a refusal.
const LOOK_BACK_MS: u64 = 30 * 86_400_000;

/// The shortest interval in real time, for a fast virtual clock.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The last check, for people.
#[derive(Clone, Debug)]
pub struct Looked {
    pub at: UnixMillis,
    /// Orders of the day, in millionths of a USDC.
    pub ordered_today: Minor,
    pub day_ends: UnixMillis,
    pub planned: Vec<Planned>,
}

/// The job's state, for others to show.
#[derive(Debug, Default)]
pub struct Board(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    looked: Option<Looked>,
    notes: BTreeMap<Subject, Note>,
    /// Orders that this process has recorded and not called yet: only for these it is certain that no call went out.
    uncalled: BTreeSet<PrefundId>,
    /// Start of each rejection at UR.
    rejected: BTreeMap<PrefundId, UnixMillis>,
}

impl Board {
    /// The last check; `None` before the first one, or if the mode is off.
    #[must_use]
    pub fn looked(&self) -> Option<Looked> {
        self.lock().looked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new unpredictable `requestId`, in the form of a random UUID.
#[must_use]
pub fn request_id(randomness: &Randomness) -> CompactString {
    let random = u128::from(randomness.bits()) << 64 | u128::from(randomness.bits());
    let uuid = (random & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format_compact!("{uuid:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format_compact!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// Reasons why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Ur(#[from] UrError),
    #[error("{0}, but an earlier call of this order may have been carried out, so its money may have left")]
    RefusedAgain(UrError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the journal has failed")]
    Journal,
    /// One of our bounds.
    #[error("{0}")]
    Refused(String),
}

/// The job that executes the plan.
pub struct Prefunding<A> {
    given: Given,
    api: Arc<A>,
    desk: Desk,
}

/// The parts that the job needs besides UR.
#[derive(Clone)]
pub struct Given {
    /// Holds prefunds, pools and rates.
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    /// Stops new orders that the store might not keep.
    pub health: Arc<Health>,
    /// Supplies the forecasts.
    pub treasury: Arc<Follower>,
    /// Shows the next steps.
    pub board: Arc<Board>,
    /// Draws request ids.
    pub randomness: Randomness,
    /// Where prefunds are read from the disk.
    pub beside: Beside,
    pub settings: Settings,
}

impl<A: UrApi> Prefunding<A> {
    /// A job for the ops account, which pays and is credited; `partner` is the address of the key that signs the calls
    /// of `api`.
    #[must_use]
    pub fn new(given: Given, api: Arc<A>, account: UrId, partner: Address) -> Prefunding<A> {
        let (base_url, partner) = (given.settings.base_url.clone(), format_compact!("{partner}"));
        Prefunding { given, api, desk: Desk { base_url, partner, account } }
    }

    /// Checks and acts until dropped. It may be cut off at any point: each step is on disk before the next one.
    pub async fn run(self) {
        let interval = self.given.clock.real(self.given.settings.interval).max(INTERVAL_MIN);
        // Counters start at 0, so that the first refusal shows as a rise.
        metrics::counter!("tapgate_prefund_ordered_micro_usdc_total").increment(0);
        for by in ["ur", "bound"] {
            metrics::counter!("tapgate_prefund_refusals_total", "by" => by).increment(0);
        }
        loop {
            if let Err(error) = self.turn(self.given.clock.reckoned()).await {
                tracing::warn!(%error, "automatic prefunds were not looked at; they are again");
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Checks, and takes one step after the other until none is left at `moment`.
    async fn turn(&self, moment: Moment) -> Result<(), StepError> {
        for _ in 0..STEPS_MAX {
            let seen = look(&self.given, &self.desk, moment).await?;
            let planned = plan(&seen);
            let next = planned.iter().find(|planned| planned.step != Step::Wait).cloned();
            let Seen { ordered_today, day_ends, now: at, .. } = seen;
            self.given.board.lock().looked = Some(Looked { at, ordered_today, day_ends, planned });
            // An untrusted time belongs to no day, and a full store must not begin an order.
            let may_act = moment.trusted && self.given.health.ready().is_ok();
            let Some(next) = next.filter(|_| may_act) else { return Ok(()) };
            let subject = next.prefund.map_or(Subject::Pool(next.currency), Subject::Prefund);
            match self.step(&seen, &next, moment).await {
                // A dry run's result is its note.
                Ok(()) if matches!(next.step, Step::Quote(_)) => {}
                Ok(()) => drop(self.given.board.lock().notes.remove(&subject)),
                Err(StepError::Journal) => return Err(StepError::Journal),
                Err(error) => self.note(subject, &seen, &next, &error),
            }
        }
        Ok(())
    }

    /// Notes a failed step, so that it is not retried at once.
    fn note(&self, subject: Subject, seen: &Seen, next: &Planned, error: &StepError) {
        let mut inside = self.given.board.lock();
        let attempts = inside.notes.get(&subject).map_or(0, |note| note.attempts).saturating_add(1);
        let is_refusal = match error {
            StepError::Refused(_) | StepError::RefusedAgain(_) => true,
            StepError::Ur(error) => !error.is_transient(),
            StepError::Change(_) | StepError::Store(_) | StepError::Journal => false,
        };
        let wait = match (next.step, error) {
            (Step::Order(..) | Step::Quote(_), StepError::Refused(_)) => QUOTE_AGAIN_MS,
            _ => (AGAIN_MS << attempts.saturating_sub(1).min(10)).min(AGAIN_MS_MAX),
        };
        let is_refused = is_refusal || attempts >= ATTEMPTS_TOLD;
        let until = UnixMillis(seen.now.0.saturating_add(wait));
        tracing::warn!(
            pool = %next.currency, prefund = next.prefund.map(|id| id.to_string()), step = next.step.name(), attempts,
            %error, "an automatic prefund waits"
        );
        if let StepError::Refused(_) = error {
            metrics::counter!("tapgate_prefund_refusals_total", "by" => "bound").increment(1);
        }
        inside.notes.retain(|_, note| note.until.0.saturating_add(LOOK_BACK_MS) > seen.now.0);
        inside.notes.insert(subject, Note { until, attempts, why: error.to_string(), is_refused });
    }

    async fn step(&self, seen: &Seen, next: &Planned, moment: Moment) -> Result<(), StepError> {
        let currency = next.currency;
        match next.step {
            Step::Wait => Ok(()),
            Step::Propose(amount) => {
                let request_id = request_id(&self.given.randomness);
                tracing::info!(%currency, %amount, why = next.why, "a prefund is proposed");
                let reference = request_id.clone();
                let proposed = PrefundProposed { currency, amount, reference, request_id, expected_at: None };
                self.change(PrefundChange::Propose(proposed), moment).await
            }
            Step::Approve(id) => self.change(PrefundChange::Approve { id }, moment).await,
            Step::Order(id, amount) => {
                let token = self.token(currency).await?;
                let (paid, quoted) = self.quoted(seen, (currency, &token), amount).await?;
                tracing::info!(%currency, prefund = %id, %paid, %quoted, "a prefund is ordered");
                let Desk { base_url, partner, account } = seen.desk.clone();
                let ordered = PrefundOrdered { id, base_url, partner, account, token, paid, quoted };
                self.change(PrefundChange::Order(ordered), moment).await?;
                self.given.board.lock().uncalled.insert(id);
                let paid = u64::try_from(paid.0).unwrap_or(0);
                metrics::counter!("tapgate_prefund_ordered_micro_usdc_total").increment(paid);
                Ok(())
            }
            Step::OrderAgain(id) => self.order(&seen.calendar, id, moment).await,
            Step::GiveUp(id) => {
                tracing::info!(%currency, prefund = %id, why = next.why, "a prefund is given up");
                let reason = next.why.as_str().into();
                self.change(PrefundChange::Cancel { id, reason, not_executed: false }, moment).await
            }
            Step::Quote(amount) => {
                let token = self.token(currency).await?;
                let (paid, quoted) = self.quoted(seen, (currency, &token), amount).await?;
                let why = format!("dry run: {} would be paid for {}", usdc(paid), fiat(quoted, currency));
                tracing::info!(%currency, "{why}");
                let until = UnixMillis(seen.now.0.saturating_add(QUOTE_AGAIN_MS));
                let note = Note { until, attempts: 0, why, is_refused: false };
                self.given.board.lock().notes.insert(Subject::Pool(currency), note);
                Ok(())
            }
        }
    }

    /// Makes the recorded call, and records UR's answer.
    async fn order(&self, calendar: &CreditCalendar, id: PrefundId, moment: Moment) -> Result<(), StepError> {
        // The current row: a person may have abandoned the prefund since the check.
        let prefund = self.given.ledger.open_prefunds().into_iter().find(|prefund| prefund.id == id);
        let Some(prefund) = prefund.filter(|prefund| prefund.sent.is_none()) else { return Ok(()) };
        let Some((_, ordered)) = &prefund.ordered else { return Ok(()) };
        let asked = DepositOrder {
            user: ordered.account.clone(),
            input: USDC.to_owned(),
            output: ordered.token.to_string(),
            amount: ordered.paid,
            request_id: prefund.request_id.as_deref().unwrap_or_default().to_owned(),
        };
        // Removed before the call: if the job is cut off in it, the call's outcome is unknown.
        let is_first = self.given.board.lock().uncalled.remove(&id);
        match self.api.deposit(&asked).await {
            // The ledger would refuse the answer at every attempt.
            Ok(hash) if hash.len() > REFERENCE_BYTES_MAX => {
                let error = Malformed(format!("its txHash has {} bytes, more than {REFERENCE_BYTES_MAX}", hash.len()));
                Err(UrError::Malformed { path: "/v1/deposit", error }.into())
            }
            Ok(hash) => {
                tracing::info!(prefund = %id, hash, "a prefund is on its way");
                let expected_at = calendar.window(self.given.ledger.time(moment.at)).map(|window| window.credited_at);
                let sent = PrefundSent {
                    proposal: Some(id),
                    currency: prefund.currency,
                    amount: ordered.quoted,
                    reference: hash.into(),
                    expected_at,
                };
                let hash = sent.reference.clone();
                self.change(PrefundChange::Send(sent), moment).await.inspect_err(|error| {
                    tracing::error!(prefund = %id, %hash, %error, "UR has carried a prefund out, and that was not recorded");
                })
            }
            Err(UrError::Paused) => {
                // No call went out.
                if is_first {
                    self.given.board.lock().uncalled.insert(id);
                }
                Err(UrError::Paused.into())
            }
            Err(error) if error.is_final() && !is_first => Err(StepError::RefusedAgain(error)),
            Err(error) if error.is_final() => {
                tracing::error!(prefund = %id, %error, "UR refused a prefund");
                metrics::counter!("tapgate_prefund_refusals_total", "by" => "ur").increment(1);
                let reason = format_compact!("{error}");
                self.change(PrefundChange::Cancel { id, reason, not_executed: true }, moment).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The payment that yields `amount`, and its output, by UR's quotes. Every quote is checked, and the last one is
    /// within the bounds.
    async fn quoted(
        &self,
        seen: &Seen,
        (currency, token): (Currency, &str),
        amount: Minor,
    ) -> Result<(Minor, Minor), StepError> {
        let refused = |why: &str| StepError::Refused(why.to_owned());
        let yardstick = seen.yardstick(currency).ok_or_else(|| refused("there is no rate to judge a quote by"))?;
        let mut paid = yardstick.cost(amount).ok_or_else(|| refused("it costs more than can be paid"))?;
        let mut quoted = Minor::ZERO;
        for number in 1..=QUOTES_MAX {
            seen.check_bounds(paid).map_err(StepError::Refused)?;
            let asked = QuoteAsked { user: &self.desk.account, input: USDC, output: token, amount: paid };
            quoted = self.api.deposit_quote(&asked).await?.output;
            yardstick.judge(paid, quoted).map_err(StepError::Refused)?;
            if quoted >= amount || number == QUOTES_MAX {
                break;
            }
            paid = corrected(paid, quoted, amount).ok_or_else(|| refused("UR's quote gives nothing"))?;
        }
        Ok((paid, quoted))
    }

    /// The pool's currency as `/v1/tokens` names it.
    async fn token(&self, currency: Currency) -> Result<CompactString, StepError> {
        let tokens = self.api.tokens(Priority::High).await?;
        let named = |symbol: &str| symbol.trim_end_matches("24").parse::<Currency>();
        let token = tokens.into_iter().find(|token| token.is_fiat && named(&token.symbol) == Ok(currency));
        Ok(token.map_or_else(|| currency.as_str().into(), |token| token.symbol.into()))
    }

    /// Records a change by the engine itself, and waits until it is durable.
    async fn change(&self, change: PrefundChange, moment: Moment) -> Result<(), StepError> {
        let receipt = self.given.ledger.change(&Author::Engine, Change::Prefund(change), moment)?;
        match receipt.ticket {
            Some(ticket) if ticket.wait().await == Durability::Failed => Err(StepError::Journal),
            _ => Ok(()),
        }
    }
}

/// The plan's inputs.
async fn look(given: &Given, desk: &Desk, moment: Moment) -> Result<Seen, StoreError> {
    let (settings, now) = (&given.settings, given.ledger.time(moment.at));
    let (ledger, since) = (Arc::clone(&given.ledger), UnixMillis(now.0.saturating_sub(LOOK_BACK_MS)));
    let matters = move |prefund: &Prefund| {
        let is_recent = prefund.proposed.as_ref().is_some_and(|step| step.at >= since)
            || prefund.ordered.as_ref().is_some_and(|(step, _)| step.at >= since);
        prefund.request_id.is_some() && (prefund.is_open() || is_recent)
    };
    let all = Page { before: Sequence(u64::MAX), limit: usize::MAX };
    let prefunds = given.beside.run(move || ledger.prefunds(all, &matters)).await;
    let prefunds = prefunds.map_err(|error| StoreError::Failed(error.to_string()))??;
    let calendar = given.treasury.calendar(&given.ledger);
    let (today, day_ends) = calendar.day(now);
    let ordered = prefunds.iter().filter_map(|prefund| prefund.ordered.as_ref());
    let ordered_today = ordered.filter(|(step, _)| calendar.day(step.at).0 == today);
    let ordered_today = ordered_today.map(|(_, ordered)| ordered.paid).sum();
    let program = given.ledger.program();
    let held_back = match given.treasury.ready(&given.ledger) {
        _ if !moment.trusted => Some("wall time is not trusted: set the clock right, then restart tapgate".into()),
        _ if given.health.ready().is_err() => Some("the disk does not keep up, or the process is ending".into()),
        Err(catching_up) => Some(catching_up.to_string()),
        Ok(()) if program.suspended => {
            Some("the program is suspended: nothing new is ordered until it is resumed".into())
        }
        Ok(()) => None,
    };
    let is_fresh = |at: UnixMillis| {
        settings.rates_max_age_seconds.is_none_or(|seconds| at.0.saturating_add(seconds.saturating_mul(1_000)) >= now.0)
    };
    Ok(Seen {
        settings: settings.auto_prefund,
        desk: desk.clone(),
        held_back,
        needs: needs(given, &prefunds, now),
        prefunds,
        ordered_today,
        day_ends,
        rates: program.rates.set_at.is_some_and(is_fresh).then(|| program.rates.fresh(is_fresh)),
        calendar,
        notes: given.board.lock().notes.clone(),
        now,
    })
}

/// The pools in use, or about to be.
fn needs(given: &Given, prefunds: &[Prefund], now: UnixMillis) -> Vec<Need> {
    let mut pools = given.ledger.pools();
    pools.sort_by_key(|pool| pool.currency);
    pools.retain(|pool| {
        let is_awaited = prefunds.iter().any(|prefund| prefund.currency == pool.currency && prefund.is_open());
        is_awaited || !is_unused(pool, given.treasury.has_spent(pool.currency))
    });
    let stale_ms = u64::from(given.settings.report_stale_seconds) * 1_000;
    let suggested = |figures: &PoolFigures| {
        if given.settings.auto_prefund.mode == AutoPrefundMode::Off {
            // In this mode the plan proposes nothing.
            return Ok(Minor::ZERO);
        }
        if figures.reported_at.0.saturating_add(stale_ms) < now.0 {
            return Err("UR has not reported the pool's balance for too long".to_owned());
        }
        let pool_forecast = given.treasury.forecast_pool(&given.ledger, figures, now);
        pool_forecast.forecast.map(|forecast| forecast.suggested).map_err(|error| error.to_string())
    };
    let need = |figures: &PoolFigures| Need { currency: figures.currency, suggested: suggested(figures) };
    pools.iter().map(need).collect()
}

#[cfg(test)]
mod tests;
