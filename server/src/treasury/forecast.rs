//! Forecasts from a pool's burn and the calendar: the probability of running dry before money can arrive, and the
//! suggested top-up.

use tapgate_engine::money::{AMOUNT_MAX, Currency, Minor};
use tapgate_engine::time::UnixMillis;

use super::burn::{Burn, Outlook};
use super::calendar::{CreditCalendar, DAYS_AHEAD_MAX, Window};
use super::level::{Level, Observation, Thresholds};
use super::words;

/// The search for the hour in which a pool is empty: eight weeks.
const DRY_AHEAD_MS: u64 = 8 * 7 * DAY_MS;

const DAY_MS: u64 = 86_400_000;

const BPS: f64 = 10_000.0;

#[derive(Clone, Debug, PartialEq)]
pub struct PoolNow {
    pub currency: Currency,
    /// The ledger's available balance.
    pub available: Minor,
    /// The part of `available` that approvals must leave.
    pub reserve: Minor,
    /// Top-ups that are sent but not in `available` yet.
    pub in_flight: Vec<TopUp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopUp {
    pub amount: Minor,
    /// The expected time; once it is past, the top-up is overdue, and no probability counts on it.
    pub credited_at: UnixMillis,
}

impl PoolNow {
    /// The amount that approvals can still take.
    #[must_use]
    pub fn spendable(&self) -> Minor {
        self.available - self.reserve
    }

    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.spendable() <= Minor::ZERO
    }

    /// The alert's input.
    #[must_use]
    pub fn observation(&self, forecast: &Forecast) -> Observation {
        let dry = self.is_dry();
        Observation { dry, was_dry: dry, probability_empty: Some(forecast.probability_empty) }
    }

    /// The balance for spending until a moment: the current balance, and the credits before that moment. Nobody bounds how
    /// many top-ups are open: at the end of `i64` they cover everything.
    fn until(&self, until: UnixMillis, now: UnixMillis) -> Minor {
        let arrives = |top_up: &&TopUp| top_up.credited_at > now && top_up.credited_at < until;
        let arriving = self.in_flight.iter().filter(arrives).map(|top_up| top_up.amount);
        arriving.fold(self.spendable(), Minor::saturating_add)
    }

    /// Includes overdue top-ups. Saturates as [`Self::until`].
    fn in_flight(&self, before: UnixMillis) -> Minor {
        let arriving = self.in_flight.iter().filter(|top_up| top_up.credited_at < before).map(|top_up| top_up.amount);
        arriving.fold(Minor::ZERO, Minor::saturating_add)
    }
}

/// Treasury's caution, and the sizes of its top-ups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The standard deviations of spending kept above the expectation, 0 to 10.
    pub z: f64,
    /// Top-ups are multiples of this, 1 to 10^12.
    pub step: Minor,
    /// The smallest top-up, 0 to 10^12.
    pub minimum: Minor,
    /// The days that a top-up should last, 1 to 60.
    pub cycle_days: u16,
    /// The capture beyond authorizations (tips, fuel), in basis points of spending, 0 to 5,000.
    pub over_capture_bps: u16,
    pub thresholds: Thresholds,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The first possible credit of money sent now.
    pub window: Window,
    /// The next window, which applies if nobody sends money before the cut-off of `window`. The decision now is whether
    /// the pool lasts until its credit.
    pub next_window: Window,
    /// The expected spending until the credit of `next_window`.
    pub expected_spend: Minor,
    /// The standard deviation of that spending.
    pub sigma: Minor,
    /// The probability that the pool is empty at some time before the credit of `next_window`, without further top-ups:
    /// 0 to 1.
    pub probability_empty: f64,
    /// The same before the credit of `window`: no top-up sent now can prevent it.
    pub probability_unavoidable: f64,
    /// The end of the hour by which the probability of an empty pool reaches one half, within eight weeks.
    pub runs_dry_at: Option<UnixMillis>,
    /// μ(L) + z·σ(L), with L until the credit of `next_window`: below it, money must be sent before the cut-off.
    pub reorder_point: Minor,
    /// The top-up to send now; zero while the balance and the money in flight reach the reorder point.
    pub suggested: Minor,
    /// The level of this forecast alone; an alert adds hysteresis.
    pub level: Level,
    pub why: String,
}

/// The reason for no forecast.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoForecast {
    /// Less than a week of spending.
    #[error("there is less than a week of spending to go by")]
    TooLittleHistory,
    /// No day is open for credits.
    #[error("no day is open for credits within {DAYS_AHEAD_MAX} days: look at the closures and holidays of [treasury]")]
    NoWindow {
        /// The probability that the pool is empty at some time within the days searched: 0 to 1.
        probability_empty: f64,
    },
    /// The needed amount exceeds the largest amount.
    #[error("the spending expected is larger than any amount that can be sent")]
    TooLarge,
}

/// The burn must have been rolled to `now`.
///
/// # Errors
/// The reason for no forecast. An alert then depends on the pool's figures alone.
pub fn forecast(
    burn: &Burn,
    calendar: &CreditCalendar,
    (pool, rules): (&PoolNow, &Rules),
    now: UnixMillis,
) -> Result<Forecast, NoForecast> {
    let outlook = burn.outlook().ok_or(NoForecast::TooLittleHistory)?;
    let windows = calendar.window(now).and_then(|window| Some((calendar.window(window.cut_off)?, window)));
    let (next_window, window) = windows.ok_or_else(|| {
        let until = UnixMillis(now.0.saturating_add(DAYS_AHEAD_MAX as u64 * DAY_MS));
        NoForecast::NoWindow { probability_empty: probability_empty(&outlook, pool, now, until) }
    })?;
    let lead = outlook.spend(now, next_window.credited_at);
    let reorder_point = rounded_up(buffered(lead.mean + rules.z * lead.sigma(), rules))?;
    let probability_empty = probability_empty(&outlook, pool, now, next_window.credited_at);
    let mut forecast = Forecast {
        expected_spend: rounded_up(lead.mean)?,
        sigma: rounded_up(lead.sigma())?,
        probability_empty,
        probability_unavoidable: self::probability_empty(&outlook, pool, now, window.credited_at),
        runs_dry_at: runs_dry_at(&outlook, pool, now),
        reorder_point,
        suggested: suggested(&outlook, (pool, rules), reorder_point, next_window.credited_at)?,
        level: Level::None,
        why: String::new(),
        window,
        next_window,
    };
    forecast.level = rules.thresholds.level(pool.observation(&forecast));
    forecast.why = words::why(&forecast, calendar, pool, now);
    Ok(forecast)
}

/// Spending by holds, plus the capture beyond them.
fn buffered(spend: f64, rules: &Rules) -> f64 {
    spend * (1.0 + f64::from(rules.over_capture_bps) / BPS)
}

/// The probability that the pool is empty at some time before `until`. The critical moments are those just before each
/// credit. These events nearly contain one another (a pool short on Saturday is short on Sunday), so the likeliest
/// stands for all.
fn probability_empty(outlook: &Outlook, pool: &PoolNow, now: UnixMillis, until: UnixMillis) -> f64 {
    let credits = pool.in_flight.iter().map(|top_up| top_up.credited_at);
    let before = credits.filter(|at| (now..until).contains(at)).chain([until]);
    let empty = before.map(|at| outlook.spend(now, at).reaches(pool.until(at, now).0 as f64));
    empty.fold(if pool.is_dry() { 1.0 } else { 0.0 }, f64::max)
}

fn runs_dry_at(outlook: &Outlook, pool: &PoolNow, now: UnixMillis) -> Option<UnixMillis> {
    let is_dry = |(at, mean): &(UnixMillis, f64)| {
        let left = pool.until(*at, now).0 as f64;
        // The median is at most the mean.
        *mean >= left && outlook.around(*mean, now, *at).median() >= left
    };
    let until = UnixMillis(now.0.saturating_add(DRY_AHEAD_MS));
    outlook.running(now, until).find(is_dry).map(|(at, _)| at)
}

/// Below the reorder point, the top-up reaches it and covers the spending of a cycle after the credit, less the balance
/// and the money in flight, in steps.
fn suggested(
    outlook: &Outlook,
    (pool, rules): (&PoolNow, &Rules),
    reorder_point: Minor,
    credited_at: UnixMillis,
) -> Result<Minor, NoForecast> {
    // An estimate has no bound, nor has the money in flight: at the ends of i64, all is covered or nothing is.
    let in_time = pool.spendable().saturating_add(pool.in_flight(credited_at));
    if in_time >= reorder_point {
        return Ok(Minor::ZERO);
    }
    let cycle_end = UnixMillis(credited_at.0.saturating_add(u64::from(rules.cycle_days) * DAY_MS));
    let cycle = rounded_up(buffered(outlook.spend(credited_at, cycle_end).mean, rules))?;
    let in_the_end = pool.spendable().saturating_add(pool.in_flight(UnixMillis(u64::MAX)));
    let for_the_cycle = reorder_point.saturating_add(cycle).saturating_sub(in_the_end);
    // Money that arrives too late does not help until the credit.
    let missing = for_the_cycle.max(reorder_point.saturating_sub(in_time)).max(rules.minimum);
    let step = rules.step.0.max(1);
    let steps = missing.0.checked_add(step - 1).ok_or(NoForecast::TooLarge)? / step;
    steps.checked_mul(step).map(Minor).ok_or(NoForecast::TooLarge)
}

/// Rounds an estimate up to an amount, because too little is worse than too much.
fn rounded_up(estimate: f64) -> Result<Minor, NoForecast> {
    let estimate = estimate.ceil();
    if !(0.0..=AMOUNT_MAX.0 as f64).contains(&estimate) {
        return Err(NoForecast::TooLarge);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the bounds looked at above")]
    let amount = estimate as i64;
    Ok(Minor(amount))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;
    use crate::treasury::calendar::tests::zurich;

    const HOUR_MS: u64 = 3_600_000;

    /// Friday 2026-09-11 10:00 in Zurich: four hours before the last cut-off of the week. The later credit, Monday
    /// 18:00, is 80 hours away, the first eight.
    const FRIDAY: UnixMillis = UnixMillis(1_789_113_600_000);

    const RULES: Rules = Rules {
        z: 3.0,
        step: Minor(100_000),
        minimum: Minor(300_000),
        cycle_days: 7,
        over_capture_bps: 0,
        thresholds: Thresholds { notice: 0.01, urgent: 0.10 },
    };

    /// 100.00 every hour, for twenty weeks before that.
    fn steady() -> Burn {
        let mut burn = Burn::default();
        let hours = (1..=20 * 168).rev().map(|ago| UnixMillis(FRIDAY.0 - ago * HOUR_MS));
        hours.for_each(|at| burn.add(at, Minor(10_000)));
        burn.roll(FRIDAY);
        burn
    }

    fn pool(available: i64, reserve: i64, in_flight: &[(i64, u64)]) -> PoolNow {
        let top_up = |(amount, hours): &(i64, u64)| TopUp {
            amount: Minor(*amount),
            credited_at: UnixMillis(FRIDAY.0 + hours * HOUR_MS - 24 * HOUR_MS),
        };
        let in_flight = in_flight.iter().map(top_up).collect();
        PoolNow { currency: Currency::EUR, available: Minor(available), reserve: Minor(reserve), in_flight }
    }

    fn said(pool: &PoolNow, rules: Rules) -> Forecast {
        forecast(&steady(), &zurich(), (pool, &rules), FRIDAY).unwrap()
    }

    #[test]
    fn the_figures_follow_the_formulas() {
        let said = said(&pool(700_000, 0, &[]), RULES);
        assert!((800_000..=800_001).contains(&said.expected_spend.0), "{}", said.expected_spend);
        let expected = said.expected_spend.0 + 3 * said.sigma.0;
        assert!((expected - 4..=expected).contains(&said.reorder_point.0), "{} {expected}", said.reorder_point);
        // μ(L) + z·σ(L) + a week of 1,680,000 − 700,000, up to the step.
        let missing = said.reorder_point.0 + 1_680_000 - 700_000;
        assert!((missing..missing + 100_002).contains(&said.suggested.0) && said.suggested.0 % 100_000 == 0);
        assert!(said.probability_empty > 0.9 && said.probability_unavoidable < 0.001);
        assert_eq!((said.level, said.runs_dry_at), (Level::Urgent, Some(UnixMillis(FRIDAY.0 + 71 * HOUR_MS))));
        let over_captured = tests::said(&pool(700_000, 0, &[]), Rules { over_capture_bps: 500, ..RULES });
        let buffered = over_captured.reorder_point.0 - said.reorder_point.0 * 105 / 100;
        assert!((-1..=2).contains(&buffered), "{buffered}");
    }

    #[test]
    fn balance_and_money_in_flight_decide() {
        // In flight: an amount and its credit, in hours from the day before; 24 is now.
        let check = |pool: PoolNow, level: Level, suggests: bool| {
            let said = said(&pool, RULES);
            assert_eq!((said.level, said.suggested > Minor::ZERO), (level, suggests), "{pool:?}: {}", said.why);
        };
        check(pool(2_000_000, 0, &[]), Level::None, false);
        check(pool(900_000, 0, &[]), Level::Notice, true);
        check(pool(700_000, 0, &[]), Level::Urgent, true);
        check(pool(0, 0, &[]), Level::Critical, true);
        check(pool(2_000_000, 1_300_000, &[]), Level::Urgent, true);
        check(pool(2_000_000, 2_000_000, &[]), Level::Critical, true);
        // Arrives in time; arrives after the pool is dry; arrives after the later credit.
        check(pool(700_000, 0, &[(2_000_000, 24 + 8)]), Level::None, false);
        check(pool(200_000, 0, &[(2_000_000, 24 + 40)]), Level::Urgent, false);
        check(pool(700_000, 0, &[(2_000_000, 24 + 200)]), Level::Urgent, true);
        // Overdue: its arrival is unknown, and the suggestion does not ask for it again.
        check(pool(700_000, 0, &[(2_000_000, 23)]), Level::Urgent, false);
    }

    #[test]
    fn a_small_need_is_the_minimum_and_a_top_up_too_late_is_bridged() {
        let rules = Rules { minimum: Minor(4_000_000), step: Minor(3_000_000), ..RULES };
        assert_eq!(said(&pool(700_000, 0, &[]), rules).suggested, Minor(6_000_000));
        let late = said(&pool(700_000, 0, &[(9_000_000, 24 + 200)]), RULES);
        let bridge = late.reorder_point.0 - 700_000;
        assert!((bridge..bridge + 100_000).contains(&late.suggested.0), "{}", late.suggested);
    }

    #[test]
    fn it_says_why() {
        let said = said(&pool(700_000, 0, &[(100_000, 24 + 8), (50_000, 22)]), Rules { z: 0.0, ..RULES });
        let sigma = said.sigma.0 / 100;
        let probability = (said.probability_empty * 100.0).round();
        let expected = format!(
            "Fri 11 Sep 14:00 is the last cut-off before Monday; expected spend until the later one credits, Mon 14 Sep 18:00: \
             8,000 EUR, give or take {sigma} EUR; to spend: 7,000 EUR, 1,000 EUR expected Fri 11 Sep 18:00, \
             500 EUR overdue since Fri 11 Sep 08:00; probability of running dry before: {probability} %, as likely as not \
             by Mon 14 Sep 19:00. Nothing needs to be sent before this cut-off"
        );
        assert_eq!(said.why, expected);
        let said = tests::said(&pool(0, 0, &[]), RULES);
        let send = ". Send 30,000 EUR: sent before Fri 11 Sep 14:00 it is credited Fri 11 Sep 18:00";
        assert!(said.why.contains(". Send ") && said.why.ends_with(&send[send.find(": ").unwrap()..]), "{}", said.why);
    }

    #[test]
    fn a_missing_forecast_has_a_reason() {
        let pool = pool(1_000, 0, &[]);
        let check = |burn: &Burn, calendar: &CreditCalendar, expected: NoForecast| {
            assert_eq!(forecast(burn, calendar, (&pool, &RULES), FRIDAY), Err(expected));
        };
        check(&Burn::default(), &zurich(), NoForecast::TooLittleHistory);
        let never = CreditCalendar { working_days: std::collections::BTreeSet::new(), ..zurich() };
        check(&Burn::default(), &never, NoForecast::TooLittleHistory);
        let runs_dry =
            |available: i64| match forecast(&steady(), &never, (&tests::pool(available, 0, &[]), &RULES), FRIDAY) {
                Err(NoForecast::NoWindow { probability_empty }) => probability_empty,
                other => panic!("{other:?}"),
            };
        assert!(runs_dry(1_000) > 0.99 && runs_dry(4 * 400 * 24 * 10_000) < 0.01);
        let mut huge = steady();
        huge.add(FRIDAY, Minor(i64::MAX));
        huge.roll(UnixMillis(FRIDAY.0 + HOUR_MS));
        check(&huge, &zurich(), NoForecast::TooLarge);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(64)))]

        #[test]
        fn more_money_never_raises_the_suggestion_and_money_in_flight_lowers_it(
            available in -2_000_000_i64..4_000_000, more in 0_i64..2_000_000, z in 0.0..6.0_f64,
            step in 1_i64..1_000_000, cycle_days in 1_u16..30,
        ) {
            let rules = Rules { z, step: Minor(step), cycle_days, ..RULES };
            let mut poor = pool(available, 0, &[]);
            let (said, richer) = (said(&poor, rules), said(&pool(available + more, 0, &[]), rules));
            prop_assert!(richer.suggested <= said.suggested && richer.probability_empty <= said.probability_empty);
            prop_assert!(richer.level <= said.level && richer.runs_dry_at.is_none_or(|at| Some(at) >= said.runs_dry_at));
            prop_assert!(said.probability_unavoidable <= said.probability_empty);
            prop_assert!(said.suggested.0 % step == 0);
            prop_assert!(said.suggested.is_zero() || said.suggested >= RULES.minimum);
            poor.in_flight.push(TopUp { amount: said.suggested, credited_at: said.window.credited_at });
            let sent = tests::said(&poor, rules);
            prop_assert_eq!(sent.suggested, Minor::ZERO);
        }
    }
}
